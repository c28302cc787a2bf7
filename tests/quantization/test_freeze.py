"""fastrnn.freeze: the numbers of the plain layers from weights that are packed once, and what such a layer refuses."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from fastrnn import ops
from tests.support.twins import CELLS, initial, make, random

SHAPES = [(1, 1, 3, 2), (2, 5, 17, 9), (5, 33, 16, 129), (151, 1, 1, 16), (9, 7, 64, 64), (1, 4, 70, 130)]
MODULES = [
    lambda: fastrnn.RNNCell(5, 19, nonlinearity="relu"),
    lambda: fastrnn.GRUCell(5, 19),
    lambda: fastrnn.GRUCell(5, 19, bias=False, reset_after=False),
    lambda: fastrnn.LSTMCell(70, 40),
]


def flat(result):
    """Output and states of a layer, as a list."""
    output, state = result
    output = output.data if isinstance(output, torch.nn.utils.rnn.PackedSequence) else output
    return [output, *(state if isinstance(state, tuple) else (state,))]


def both(plain, packed, *arguments):
    with torch.inference_mode():
        return flat(plain(*arguments)), flat(packed(*arguments))


@pytest.mark.parametrize("cell", CELLS)
def test_same_numbers(cell):
    for (times, batch, inputs, hidden), options in itertools.product(
        SHAPES, ({}, {"bidirectional": True, "num_layers": 2}, {"bias": False, "batch_first": True})
    ):
        plain = make(fastrnn.nn, cell, inputs, hidden, **options).eval()
        frozen = fastrnn.freeze(plain)
        sizes = (batch, times, inputs) if "batch_first" in options else (times, batch, inputs)
        for hx in (None, initial(plain, batch, torch.float32)):
            for a, b in zip(*both(plain, frozen, random(*sizes, dtype=torch.float32), hx), strict=True):
                if times * batch > 64:  # where the plain layer packs too: the same chains of sums
                    assert torch.equal(a, b), (times, batch, inputs, hidden, options)
                if not plain.layer_norm:
                    torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.startswith("layer_norm")])
@pytest.mark.parametrize(("times", "batch", "inputs", "hidden"), SHAPES)
def test_as_near_to_float64_as_the_plain_layer(cell, times, batch, inputs, hidden):
    # Normalization magnifies how products are rounded, so two right results may lie far from each other.
    plain = make(fastrnn.nn, cell, inputs, hidden, bidirectional=True, num_layers=2).eval()
    x = random(times, batch, inputs, dtype=torch.float32)
    with torch.inference_mode():
        exact = flat(copy.deepcopy(plain).double()(x.double()))
    for a, b, right in zip(*both(plain, fastrnn.freeze(plain), x), exact, strict=True):
        allowed = 2 * (a - right).abs().max() + 1e-6
        assert (b - right).abs().max() <= allowed


@pytest.mark.parametrize("cell", CELLS)
def test_packed_sequences_and_single_ones(cell):
    plain = make(fastrnn.nn, cell, 6, 20, bidirectional=True).eval()
    frozen = fastrnn.freeze(plain)
    x = pack_padded_sequence(random(9, 4, 6, dtype=torch.float32), [3, 9, 1, 5], enforce_sorted=False)
    for a, b in zip(*both(plain, frozen, x, initial(plain, 4, torch.float32)), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
    for a, b in zip(*both(plain, frozen, random(9, 6, dtype=torch.float32)), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits(dtype):
    """Weights keep their numbers; the results are rounded to the input's dtype."""
    plain = fastrnn.LSTM(7, 33, num_layers=2, bidirectional=True, dtype=dtype).eval()
    frozen = fastrnn.freeze(plain)
    assert frozen.numbers == ("bfloat16" if dtype == torch.bfloat16 else "float32")
    widened = copy.deepcopy(plain).float()
    all_rows = random(5, 40, 7, dtype=dtype)
    for batch in (1, 40):
        x = all_rows[:, :batch]
        # Rows of float32 are not rounded, however many.
        for a, b in zip(*both(widened, frozen, x.float()), strict=True):
            torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)
        with torch.inference_mode():
            results, of_float = flat(frozen(x)), flat(frozen(x.float()))
            many = flat(plain(all_rows))
        if dtype == torch.bfloat16 and fastrnn.info()["instruction_set"] == "avx512_bf16":
            # Rows of bfloat16 are rounded to it and multiplied in it, however few, as many are in the plain layer.
            expected = [t[:, :batch] for t in many]
        else:
            expected = [t.to(dtype) for t in of_float]
        for a, b in zip(results, expected, strict=True):
            assert a.dtype == dtype
            assert torch.equal(a, b)


@pytest.mark.parametrize("construct", MODULES)
def test_cells(construct):
    plain = construct().eval()
    frozen = fastrnn.freeze(plain)
    x = random(3, plain.input_size, dtype=torch.float32)
    for given in (x, x[0]):
        state, expected = None, None
        with torch.inference_mode():
            for _ in range(3):
                state, expected = frozen(given, state), plain(given, expected)
        assert type(state) is type(expected)
        pairs = zip(*(s if isinstance(s, tuple) else (s,) for s in (state, expected)), strict=True)
        for a, b in pairs:
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_fast_and_long_way_agree():
    """The fast path from Python, the operator behind it, and any number of threads: the same bits."""
    frozen = fastrnn.freeze(fastrnn.LSTM(8, 40, num_layers=2, bidirectional=True, proj_size=12).eval())
    x = random(9, 33, 8, dtype=torch.float32)
    with torch.no_grad():
        fast = flat(frozen(x))
        for a, b in zip(fast, flat(frozen._run(x, None)), strict=True):
            assert torch.equal(a, b)
        before = torch.get_num_threads()
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for a, b in zip(fast, flat(frozen(x)), strict=True):
                assert torch.equal(a, b)
        torch.set_num_threads(before)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.rnn = fastrnn.GRU(8, 24, num_layers=2, dropout=0.1)
        self.again = self.rnn
        self.cell = fastrnn.LSTMCell(24, 8)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, words):
        h, _ = self.rnn(self.embedding(words))
        return self.head(self.cell(h[-1])[0])


WORDS = torch.arange(12).view(4, 3) % 10


def test_a_model_and_its_copy():
    model = Model().eval()
    calls = []
    model.rnn.register_forward_hook(lambda *_: calls.append(1))
    model.rnn.note = "mine"
    frozen = fastrnn.freeze(model)
    assert isinstance(model.rnn, fastrnn.GRU)
    assert model.rnn is model.again
    assert frozen.rnn is frozen.again
    assert frozen.rnn.note == "mine"
    assert not frozen.training
    assert str(frozen.rnn) == "PackedGRU(8, 24, num_layers=2, dropout=0.1, numbers=float32)"
    assert str(frozen.cell) == "PackedLSTMCell(24, 8, numbers=float32)"
    with torch.no_grad():
        expected = model(WORDS)
        torch.testing.assert_close(frozen(WORDS), expected)
        assert len(calls) == 2
        for other in (pickle.loads(pickle.dumps(frozen.cell)), copy.deepcopy(frozen.cell), copy.copy(frozen.cell)):
            x = random(2, 24, dtype=torch.float32)
            assert torch.equal(other(x)[0], frozen.cell(x)[0])
        same = fastrnn.freeze(model, inplace=True)
        assert same is model
        assert type(model.rnn) is type(frozen.rnn)
        torch.testing.assert_close(model(WORDS), expected)


def test_state_dict_is_the_plain_one():
    model, other = Model().eval(), Model().eval()
    frozen = fastrnn.freeze(model)
    assert frozen.state_dict().keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        assert torch.equal(frozen.state_dict()[key], value)
    frozen.load_state_dict(other.state_dict())  # new weights are packed
    with torch.no_grad():
        torch.testing.assert_close(frozen(WORDS), other(WORDS))
    model.load_state_dict(frozen.state_dict())
    with torch.no_grad():
        assert torch.equal(model(WORDS), other(WORDS))
    file = io.BytesIO()
    torch.save(frozen.state_dict(), file)
    file.seek(0)
    frozen.load_state_dict(torch.load(file, weights_only=True))


@pytest.mark.parametrize("cell", CELLS)
def test_the_way_back(cell):
    plain = make(fastrnn.nn, cell, 5, 18, num_layers=2, bidirectional=True, batch_first=True).eval()
    back = fastrnn.dequantize(fastrnn.freeze(plain))
    assert type(back) is type(plain)
    assert str(back) == str(plain)
    assert not back.training
    for (name, a), (other, b) in zip(plain.named_parameters(), back.named_parameters(), strict=True):
        assert name == other
        assert torch.equal(a, b)
        assert b.requires_grad
    back.train()(random(2, 3, 5, dtype=torch.float32))[0].sum().backward()


def test_what_is_refused():
    model = Model()
    with pytest.raises(RuntimeError, match=r"eval mode to freeze, got rnn, cell in training mode; call model.eval\(\)"):
        fastrnn.freeze(model)
    frozen = fastrnn.freeze(model.eval())
    with pytest.raises(RuntimeError, match=r"PackedGRU is packed for inference.*dequantize\(model\)"):
        frozen.train()
    with pytest.raises(RuntimeError, match=r"PackedGRU computes no gradients.*inference_mode"):
        frozen(WORDS)  # the embedding's output requires gradients
    with pytest.raises(RuntimeError, match="PackedLSTMCell computes no gradients"):
        frozen.cell(torch.randn(2, 24, requires_grad=True))
    with pytest.raises(RuntimeError, match="cannot move to meta"):
        frozen.to("meta")
    with pytest.raises(ValueError, match=r"got rnn, which is packed as float32; call fastrnn.dequantize"):
        fastrnn.freeze(frozen)
    with pytest.raises(ValueError, match=r"got the model itself in float64; call model.float\(\)"):
        fastrnn.freeze(fastrnn.LSTM(2, 3).double().eval())
    with pytest.raises(ValueError, match="got Linear without any"):
        fastrnn.freeze(torch.nn.Linear(2, 3).eval())
    with pytest.raises(TypeError, match=r"Expected a torch\.nn\.Module"):
        fastrnn.freeze("model")
    with pytest.raises(ValueError, match="frozen or quantized layers, got Linear"):
        fastrnn.dequantize(torch.nn.Linear(2, 3))


def test_what_is_skipped():
    class Mine(fastrnn.LSTM):
        pass

    normed = torch.nn.utils.parametrizations.weight_norm(fastrnn.GRU(2, 3), "weight_hh_l0")
    model = torch.nn.ModuleList([Mine(2, 3), torch.nn.LSTM(2, 3), normed, fastrnn.LSTM(2, 3)]).eval()
    with pytest.warns(UserWarning, match=r"0 \(Mine: subclass.*1 \(LSTM: torch.nn's.*2 \(ParametrizedGRU: parametr"):
        frozen = fastrnn.freeze(model)
    assert [type(m).__name__ for m in frozen] == ["Mine", "LSTM", "ParametrizedGRU", "PackedLayer"]


def test_wrong_calls():
    frozen = fastrnn.freeze(fastrnn.LSTM(8, 16).eval())
    x = random(3, 2, 8, dtype=torch.float32)
    with torch.no_grad():
        with pytest.raises(RuntimeError, match=r"must be equal to input_size\. Expected 8, got 7"):
            frozen(x[..., :7])
        with pytest.raises(
            RuntimeError, match=r"float32, bfloat16 or float16 on the cpu for packed weights, got torch\.float64"
        ):
            frozen(x.double())
        with pytest.raises(IndexError, match="Expected hx to be a pair, got a tensor"):
            frozen(x, torch.zeros(1, 2, 16))
        with pytest.raises(RuntimeError, match=r"Expected h0 size \[1, 2, 16\]"):
            frozen(x, (torch.zeros(1, 3, 16), torch.zeros(1, 2, 16)))
        with pytest.raises(ValueError, match="2D or 3D, got 4D"):
            frozen(x[None])
        for bad in (frozen.packed_weight_ih_l0[:-1], frozen.packed_weight_ih_l0.float()):
            weights = [bad, *frozen._weights()[1:]]
            with pytest.raises(RuntimeError, match="packed weight_ih"):
                ops.infer_packed("lstm", "float32", x, None, None, None, weights, 8, 16, 0, 1, True, False, False)
        for sizes in ((8, 0, 0), (8, 1 << 60, 0), (8, 16, 16), (8, 16, -1)):
            with pytest.raises(RuntimeError, match="Expected"):
                ops.infer_packed("lstm", "int8", x, None, None, None, frozen._weights(), *sizes, 1, True, False, False)
        with pytest.raises(ValueError, match="Expected numbers to be float32, bfloat16 or int8"):
            ops.infer_packed("lstm", "int4", x, None, None, None, frozen._weights(), 8, 16, 0, 1, True, False, False)


def test_export_and_operator():
    frozen = fastrnn.freeze(Model().eval())
    with torch.no_grad():
        program = torch.export.export(frozen, (WORDS,))
        assert torch.equal(program.module()(WORDS), frozen(WORDS))
    layer = fastrnn.freeze(fastrnn.LSTM(8, 16, num_layers=2, bidirectional=True, proj_size=5).eval())
    for x, sizes in ((random(3, 2, 8, dtype=torch.float32), None), (random(5, 8, dtype=torch.float32), [3, 2])):
        lengths = None if sizes is None else torch.tensor(sizes)
        h0 = None if sizes is None else torch.zeros(4, 3, 5)
        c0 = None if sizes is None else torch.zeros(4, 3, 16)
        arguments = ("lstm", "float32", x, lengths, h0, c0, layer._weights(), 8, 16, 5, 2, True, True, False)
        torch.library.opcheck(ops.infer_packed, arguments, test_utils=("test_schema", "test_faketensor"))
