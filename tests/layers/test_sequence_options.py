"""Lengths, resets, every state and the learned initial state together, in whatever combination."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
import fastrnn.nn
from fastrnn._core import backend
from fastrnn._core.operators import run_reference
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random, results

F32, F64 = torch.float32, torch.float64


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def layer_and_call(draw, cell, times, batch, hidden, dtype=F64, **options):
    """A layer and what it is called with; ``draw(name)`` says whether it has an option."""
    layer = make(fastrnn.nn, cell, 3, hidden, learn_initial_state=draw("learned"), dtype=dtype, **options)
    for i, name in enumerate(layer._initial_states()):
        getattr(layer, name).data = random(*getattr(layer, name).shape, seed=20 + i, dtype=dtype)
    generator = torch.Generator().manual_seed(times * batch)
    sizes = (batch, times) if options.get("batch_first") else (times, batch)
    called = {}
    if draw("lengths"):
        called["lengths"] = torch.randint(0, times + 1, (batch,), generator=generator)
    if draw("resets"):
        called["resets"] = torch.rand(sizes, generator=generator) < 0.3
    if draw("states"):
        called["return_states"] = True
    return layer, random(*sizes, 3, dtype=dtype), initial(layer, batch, dtype) if draw("hx") else None, called


@settings(max_examples=60)
@given(
    data=st.data(),
    cell=st.sampled_from(list(CELLS)),
    times=st.integers(1, 14),
    batch=st.integers(1, 9),
    hidden=st.integers(2, 20),
    layers=st.integers(1, 2),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans()),
)
def test_any_combination(data, cell, times, batch, hidden, layers, flags):
    names = ("bidirectional", "batch_first", "recompute")
    layer, x, hx, called = layer_and_call(
        lambda name: data.draw(st.booleans(), label=name),
        cell,
        times,
        batch,
        hidden,
        num_layers=layers,
        **dict(zip(names, flags, strict=True)),
    )
    assert_same(results(layer, x, hx, **called), results(layer, x, hx, call=by_reference, **called))


# T, B, H: threads share out rows, and units; and chunks and segments of several kinds.
SHAPES = [(30, 70, 24), (12, 3, 200), (60, 5, 40)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_bits_with_any_number_of_threads(cell, shape, recompute, threads):
    layer, x, hx, called = layer_and_call(
        lambda name: name != "hx", cell, *shape, dtype=F32, bidirectional=True, recompute=recompute
    )
    found = []
    for count in (1, 2):
        threads(count)
        found.append(results(layer, x, hx, **called))
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    exact = layer.double()
    expected = results(exact, x.double(), None, call=by_reference, **called)
    assert_same({name: value.double() for name, value in found[0].items()}, expected, 2e-4)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "gru_reset_before", "lstm_projected"])
def test_narrow_weights(cell):
    """Weights of bfloat16 are what float32 weights of the same numbers are, where products are not rounded to it."""
    narrow, x, _, called = layer_and_call(lambda name: name != "hx", cell, 9, 8, 16, dtype=torch.bfloat16)
    wide = make(fastrnn.nn, cell, 3, 16, learn_initial_state=True)
    wide.load_state_dict(narrow.state_dict())
    for one, other in zip(_flat(narrow(x, **called)), _flat(wide(x.float(), **called)), strict=True):
        assert one.dtype == torch.bfloat16
        assert torch.allclose(one.float(), other, rtol=0, atol=0.05)


def _flat(found):
    return [t for each in found for t in (each if isinstance(each, tuple) else (each,)) if t is not None]


@pytest.mark.parametrize(
    "pack", [fastrnn.freeze, lambda model: fastrnn.quantize(model, dtype="bfloat16"), fastrnn.quantize]
)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "gru_reset_before", "lstm", "lstm_projected"])
def test_packed_layers(cell, pack):
    layer, x, hx, called = layer_and_call(
        lambda name: True, cell, 9, 8, 24, dtype=F32, num_layers=2, bidirectional=True
    )
    packed = pack(torch.nn.Sequential(layer).eval())[0]
    tolerance = {"float32": 1e-6, "bfloat16": 0.05, "int8": 0.1}[packed.numbers]
    with torch.no_grad():
        for given in ({}, called):
            for state in (None, hx):
                found, expected = _flat(packed(x, state, **given)), _flat(layer(x, state, **given))
                assert [t.shape for t in found] == [t.shape for t in expected]
                assert all(torch.allclose(a, b, rtol=0, atol=tolerance) for a, b in zip(found, expected, strict=True))


X = torch.zeros(5, 3, 4)
LENGTHS, RESETS = torch.tensor([1, 5, 0]), torch.zeros(5, 3, dtype=torch.bool)
WRONG = {
    r"lengths to be a tensor of integers, got a list of 3; pass torch.tensor\(lengths\)": {"lengths": [1, 2, 3]},
    r"lengths of an integer dtype, got torch.float32": {"lengths": LENGTHS.float()},
    r"lengths of an integer dtype, got torch.bool": {"lengths": LENGTHS.bool()},
    r"lengths of size \[3\], one for each row of the batch, got size \[2\]": {"lengths": LENGTHS[:2]},
    r"one for each row of the batch, got size \[3, 1\]": {"lengths": LENGTHS[:, None]},
    r"lengths from 0 to 5, the steps of the input, got 6 at 1": {"lengths": LENGTHS + 1},
    r"lengths from 0 to 5, the steps of the input, got -1 at 2": {"lengths": LENGTHS - 1},
    r"lengths with numbers, got a tensor on meta, which has none; pass them": {"lengths": LENGTHS.to("meta")},
    r"lengths to be a dense tensor, got layout torch.sparse_coo; pass lengths": {"lengths": LENGTHS.to_sparse()},
    r"resets to be a dense tensor, got layout torch.sparse_coo; pass resets.to_dense": {"resets": RESETS.to_sparse()},
    r"resets to be a tensor of dtype torch.bool, got a list of 0": {"resets": []},
    r"resets of dtype torch.bool, got torch.int64; convert it with .bool\(\)": {"resets": RESETS.long()},
    r"resets of size \[5, 3\], .*, got size \[3, 5\]": {"resets": RESETS.t()},
    r"resets on the input's device cpu, got meta": {"resets": RESETS.to("meta")},
}


@pytest.mark.parametrize("message", WRONG)
@pytest.mark.parametrize("packed", [False, True])
def test_wrong_input(message, packed):
    layer = fastrnn.GRU(4, 6).eval()
    layer = fastrnn.freeze(layer) if packed else layer
    with torch.no_grad(), pytest.raises(ValueError, match=message):
        layer(X, **WRONG[message])


def test_input_that_cannot_have_them():
    layer, sequence = fastrnn.GRU(4, 6), torch.nn.utils.rnn.pack_padded_sequence(X, [5, 4, 2])
    with pytest.raises(
        ValueError, match="lengths with padded input alone, got lengths and a PackedSequence, which has"
    ):
        layer(sequence, lengths=LENGTHS)
    with pytest.raises(ValueError, match="resets with padded input, got resets and a PackedSequence; pass the padded"):
        layer(sequence, resets=RESETS)
    with pytest.raises(ValueError, match=r"got lengths and one sequence of 2 dimensions; pass input\[:length\]"):
        layer(X[:, 0], lengths=torch.tensor(3))
    with pytest.raises(ValueError, match="got lengths and packed input; its batch_sizes say"):
        fastrnn.functional.gru(
            sequence.data, None, list(layer.parameters()), batch_sizes=sequence.batch_sizes, lengths=LENGTHS
        )
    with pytest.raises(TypeError, match="Expected return_states to be a bool, got str"):
        layer(X, return_states="no")
    with pytest.raises(TypeError, match="unexpected keyword argument 'length'; it takes input, hx, lengths, resets"):
        layer(X, length=LENGTHS)


@pytest.mark.parametrize("besides", [(), ("resets",), ("states",), ("resets", "states")], ids=str)
@pytest.mark.parametrize("by_torch", [False, True])
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("cell", ["rnn_relu", "gru", "lstm", "lstm_projected"])
def test_what_has_no_lengths_is_given_packed_rows(cell, learned, by_torch, besides, monkeypatch):
    """What runs on CUDA: torch's operator by default, or the GPU's kernels, which have resets and every state."""
    layer, x, hx, called = layer_and_call(
        lambda name: name in ("lengths", *besides, "learned" if learned else "hx"),
        *(cell, 9, 8, 6),
        num_layers=2,
        bidirectional=True,
        batch_first=True,
    )
    expected, zeros = results(layer, x, hx, **called), called | {"lengths": torch.zeros(8, dtype=torch.int64)}
    empty = results(layer, x, hx, **zeros) if hx is not None else None
    reference = []
    monkeypatch.setattr(backend._C, "run_layer", lambda *arguments: None)  # the CPU's fast path
    monkeypatch.setattr(backend, "_takes_options_as_given", lambda call: False)
    monkeypatch.setattr(backend, "_kernels_know_options", lambda call: call.lengths is None)
    monkeypatch.setattr(backend.operators, "run_reference", lambda call: reference.append(call) or run_reference(call))
    if by_torch:
        monkeypatch.setattr(backend, "_left_to_torch", lambda call: not call.has_options())
    assert_same(results(layer, x, hx, **called), expected)
    assert not reference
    if empty is not None:
        assert_same(results(layer, x, hx, **zeros), empty)
        assert reference
