"""lengths: ragged batches in a padded tensor, equal to torch.nn with a PackedSequence, and to each sequence alone."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn.nn
from tests.support.twins import CELLS, TORCH_CELLS, assert_same, by_reference, initial, make, random, results, twins

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64
MANY = [i * 5 % 7 for i in range(130)]  # more rows than one thread takes at a time
LENGTHS = [[5, 3, 3, 1], [1, 5, 2, 5], [4], [5, 5, 5], [0, 3, 0, 5], [0, 0], MANY]


def by_packing(lengths, batch_first=False):
    """What torch.nn computes: of the rows that are not empty, packed."""

    def call(layer, x, hx):
        some = [b for b, n in enumerate(lengths) if n]
        rows_with_steps = torch.tensor(some, device=x.device)
        axis = 0 if batch_first else 1
        steps = x.size(1 - axis)
        rows = layer.num_layers * (2 if layer.bidirectional else 1)
        if hx is None:
            h = x.new_zeros(rows, len(lengths), layer.proj_size or layer.hidden_size)
            hx = (h, x.new_zeros(rows, len(lengths), layer.hidden_size)) if layer.mode == "LSTM" else h
        states = hx if isinstance(hx, tuple) else (hx,)
        given = tuple(s[:, some] for s in states)
        packed = pack_padded_sequence(
            x.index_select(axis, rows_with_steps), [lengths[b] for b in some], batch_first, enforce_sorted=False
        )
        output, final = layer(packed, given if isinstance(hx, tuple) else given[0])
        output, _ = pad_packed_sequence(output, batch_first, total_length=steps)
        shape = list(x.shape[:-1])
        whole = x.new_zeros(*shape, output.size(-1)).index_copy(axis, rows_with_steps, output)
        final = final if isinstance(final, tuple) else (final,)
        merged = tuple(s.index_copy(1, rows_with_steps, f) for s, f in zip(states, final, strict=True))
        return whole, merged if isinstance(hx, tuple) else merged[0]

    return call


@pytest.mark.parametrize("lengths", [n for n in LENGTHS if any(n)], ids=len)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_as_torch_computes_a_packed_sequence(cell, bidirectional, layers, lengths):
    theirs, ours = twins(cell, 3, 6, num_layers=layers, bidirectional=bidirectional, dtype=F64)
    steps = max(lengths) + 1
    x, hx = random(steps, len(lengths), 3), initial(ours, len(lengths), F64)
    for state in (hx, None):
        expected = results(theirs, x, state, call=by_packing(lengths))
        assert_same(results(ours, x, state, lengths=torch.tensor(lengths)), expected)


@pytest.mark.parametrize("lengths", LENGTHS, ids=len)
@pytest.mark.parametrize("cell", CELLS)
def test_against_the_reference(cell, lengths):
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, batch_first=True, dtype=F64)
    x, hx, n = random(len(lengths), 9, 3), initial(layer, len(lengths), F64), torch.tensor(lengths)
    assert_same(results(layer, x, hx, lengths=n), results(layer, x, hx, call=by_reference, lengths=n))


@pytest.mark.parametrize("cell", CELLS)
def test_each_sequence_as_if_alone(cell):
    """Whatever lies beyond a sequence's end, infinity too, has no part in it, nor in any gradient."""
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=F64)
    lengths = [2, 7, 4, 1]
    x, hx = random(8, 4, 3), initial(layer, 4, F64)
    for b, n in enumerate(lengths):
        x[n:, b] = torch.tensor([torch.inf, torch.nan, -torch.inf], dtype=F64)
    together = results(layer, x, hx, lengths=torch.tensor(lengths))
    summed = {}
    for b, n in enumerate(lengths):
        row = slice(b, b + 1)
        state = tuple(s[:, row].contiguous() for s in hx) if isinstance(hx, tuple) else hx[:, row].contiguous()
        output, final = layer(x[:n, row], state)
        assert torch.allclose(together["output"][:n, row], output, rtol=0, atol=1e-12)
        assert not together["output"][n:, row].any()
        final = final if isinstance(final, tuple) else (final,)
        for name, value in zip(("h_n", "c_n"), final, strict=False):
            assert torch.allclose(together[name][:, row], value, rtol=0, atol=1e-12)
    assert all(t.isfinite().all() for t in together.values()), summed


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64])
def test_any_integer_dtype_and_layout(dtype):
    layer, x = make(fastrnn.nn, "gru", 3, 6, dtype=F64), random(5, 3, 3)
    lengths = torch.tensor([2, 9, 5, 9, 0, 9], dtype=dtype)[::2]
    expected = layer(x, lengths=torch.tensor([2, 5, 0]))
    found = layer(x, lengths=lengths)
    assert torch.equal(found[0], expected[0])
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("cell", ["gru", "lstm", "lstm_projected"])
def test_derivatives(cell):
    layer = make(fastrnn.nn, cell, 1, 2, bidirectional=True, dtype=F64)
    weights, n = [w.detach().requires_grad_() for w in layer.parameters()], torch.tensor([1, 0, 2])
    x, hx = random(2, 3, 1).requires_grad_(), initial(layer, 3, F64)
    states = tuple(s.requires_grad_() for s in (hx if isinstance(hx, tuple) else (hx,)))
    names = [name for name, _ in layer.named_parameters()]

    def run(x, *rest):
        given = rest[: len(states)]
        parameters = dict(zip(names, rest[len(states) :], strict=True))
        output, final = torch.func.functional_call(
            layer, parameters, (x, given if len(given) == 2 else given[0]), {"lengths": n}
        )
        return output, *(final if isinstance(final, tuple) else (final,))

    assert gradcheck(run, (x, *states, *weights))
    assert gradgradcheck(run, (x, *states, *weights))
