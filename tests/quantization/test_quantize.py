"""fastrnn.quantize: int8 and bfloat16 weights against the equations with the same rounded numbers, on every level."""

import copy
import io
import pickle

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
import fastrnn.nn
from fastrnn import ops, reference
from fastrnn.quantization import layout
from tests.support.instruction_sets import SETS, printed, sets_here
from tests.support.twins import CELLS, PLAIN_CELLS, initial, make, random

MOST = torch.finfo(torch.float32).max
SIZES = [(1, 1, 3, 2), (2, 5, 17, 9), (5, 33, 16, 129), (40, 1, 1, 16), (9, 7, 64, 64), (1, 4, 70, 130)]


def rounded(rows):
    """Rows of activations as the kernels round them: in 255 steps, from the smallest number of each to its largest."""
    least, most = rows.aminmax(dim=-1, keepdim=True)
    scale = (most - least) / 255
    return ((rows - least) / scale.clamp(min=1e-30)).round() * scale + least


def by_equations(layer, x, hx):
    """One layer of one direction, step by step in float64, from the numbers of an int8 layer."""
    exact = fastrnn.dequantize(layer).double()
    weights = exact._weights()
    if hx is None:
        hx = initial(exact, x.size(1), torch.float64)
        hx = tuple(torch.zeros_like(s) for s in hx) if isinstance(hx, tuple) else torch.zeros_like(hx)
    h, c = (s[0].double() for s in hx) if isinstance(hx, tuple) else (hx[0].double(), None)
    outputs = []
    for step in rounded(x.double()):
        # The cell's pointwise part reads h as it is, the product what is rounded: only these may differ.
        h_rounded = rounded(h)
        if "gru" in layer._cell:
            h, c = _gru(layer._cell, step, h, h_rounded, weights), None
        else:
            h, c = _without_projection(layer, step, h_rounded, c, weights)
        outputs.append(h)
    return torch.stack(outputs)


def _without_projection(layer, step, h, c, weights):
    if not layer.proj_size:
        return reference.step(layer._cell, step, h, c, weights)
    w_hr = weights[-1]
    identity = torch.eye(w_hr.size(1), dtype=torch.float64)
    m, c = reference.step(layer._cell, step, h, c, [*weights[:-1], identity])
    return rounded(m) @ w_hr.T, c


def _gru(cell, step, h, h_rounded, weights):
    w_ih, w_hh, b_ih, b_hh = weights
    x_r, x_z, x_n = (step @ w_ih.T + b_ih).chunk(3, -1)
    if cell == "gru":
        h_r, h_z, h_n = (h_rounded @ w_hh.T + b_hh).chunk(3, -1)
        r, z = (x_r + h_r).sigmoid(), (x_z + h_z).sigmoid()
        n = (x_n + r * h_n).tanh()
    else:
        (w_r, w_z, w_n), (b_r, b_z, b_n) = w_hh.chunk(3), b_hh.chunk(3)
        r = (x_r + h_rounded @ w_r.T + b_r).sigmoid()
        z = (x_z + h_rounded @ w_z.T + b_z).sigmoid()
        n = (x_n + rounded(r * h) @ w_n.T + b_n).tanh()
    return n + z * (h - n)


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_int8_is_the_equations_with_rounded_numbers(cell):
    """A number just between two steps may fall on the other side, in float32: that is one step of one product."""
    for times, batch, inputs, hidden in SIZES:
        layer = fastrnn.quantize(make(fastrnn.nn, cell, inputs, hidden).eval())
        x = random(times, batch, inputs, dtype=torch.float32)
        for hx in (None, initial(layer, batch, torch.float32) if hasattr(layer, "mode") else None):
            with torch.inference_mode():
                output = layer(x, hx)[0]
            expected = by_equations(layer, x, hx)
            error = (output - expected).abs()
            assert error.max() < 4e-3, (times, batch, inputs, hidden)
            assert error.median() < 2e-6 if times == 1 else error.median() < 4e-4


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
@pytest.mark.parametrize("cell", CELLS)
def test_near_the_plain_layer(cell, dtype):
    """Stacked, both directions, batch first, packed, without biases. Normalizing scales the error up, too."""
    bound = (0.02 if dtype == "int8" else 0.006) * (2 if cell.startswith("layer_norm") else 1)
    for options in ({"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}):
        plain = make(fastrnn.nn, cell, 24, 40, **options).eval()
        layer = fastrnn.quantize(plain, dtype=dtype)
        assert isinstance(plain, fastrnn.nn.base.Layer)
        x = random(6, 7, 24, dtype=torch.float32)
        lengths = [5, 1, 3, 3, 7, 2] if plain.batch_first else [5, 1, 3, 6, 6, 2, 4]
        packed = pack_padded_sequence(x, lengths, batch_first=plain.batch_first, enforce_sorted=False)
        for given in (x, packed, x[0]):
            with torch.inference_mode():
                found, expected = layer(given), plain(given)
            if isinstance(given, PackedSequence):
                found, expected = (found[0].data, found[1]), (expected[0].data, expected[1])
            both = [(r[0], *(r[1] if isinstance(r[1], tuple) else r[1:])) for r in (found, expected)]
            for a, b in zip(*both, strict=True):
                assert a.shape == b.shape
                rms = (a - b).square().mean().sqrt() / b.square().mean().sqrt()
                assert rms < bound, rms


def test_weights_are_a_quarter_and_rounded_to_the_nearest():
    plain = fastrnn.LSTM(256, 512).eval()
    layer = fastrnn.quantize(plain)
    bytes_of = {b: t.numel() * t.element_size() for b, t in layer.named_buffers()}
    assert not list(layer.parameters())
    assert bytes_of["packed_weight_hh_l0"] == 4 * 512 * (512 + 4 + 4)  # and a scale and a sum for each row
    saved = layer.state_dict()
    for name in ("weight_ih_l0", "weight_hh_l0"):
        rows, scale, weight = saved[name], saved[f"{name}_scale"], getattr(plain, name).detach()
        assert rows.dtype == torch.int8
        assert scale.dtype == torch.float32
        assert scale.shape == (2048,)
        assert torch.equal(rows.abs().amax(1), torch.full((2048,), 127, dtype=torch.int8))
        assert ((rows * scale[:, None] - weight).abs() <= 0.501 * scale[:, None]).all()


@pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
def test_packing_can_be_undone(numbers):
    for gates, outputs, depth in ((1, 1, 1), (3, 17, 5), (4, 16, 8), (2, 33, 7)):
        rows = random(gates * outputs, depth, dtype=torch.float32)
        rows[0] = 0
        rows, scale = layout.quantized(rows) if numbers == "int8" else (rows.to(layout.DTYPES[numbers]), None)
        data = layout.packed(rows, scale, gates)
        assert data.numel() == layout.packed_bytes(numbers, gates, outputs, depth)
        again, scale_again = layout.rows_of(data, numbers, gates, outputs, depth)
        assert torch.equal(rows, again)
        assert scale is scale_again if scale is None else torch.equal(scale, scale_again)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10, 8)
        self.rnn = fastrnn.GRU(8, 24, num_layers=2, reset_after=False)
        self.cell = fastrnn.LSTMCell(24, 8)
        self.head = torch.nn.Linear(8, 10)

    def forward(self, words):
        return self.head(self.cell(self.rnn(self.embedding(words))[0][-1])[0])


WORDS = torch.arange(12).view(4, 3) % 10


@pytest.mark.parametrize("dtype", ["int8", "bfloat16"])
def test_a_saved_model_is_loaded_without_its_float_weights(dtype):
    torch.manual_seed(1)
    first = fastrnn.quantize(Model().eval(), dtype=dtype)
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = fastrnn.quantize(Model().eval(), dtype=dtype)
    with torch.inference_mode():
        assert not torch.equal(first(WORDS), second(WORDS))
        second.load_state_dict(torch.load(file, weights_only=True))
        assert torch.equal(first(WORDS), second(WORDS))
        for other in (pickle.loads(pickle.dumps(first)), copy.deepcopy(first), copy.copy(first)):
            assert torch.equal(first(WORDS), other(WORDS))
    assert f"numbers={dtype}" in str(first.rnn)
    assert type(first.head) is torch.nn.Linear


def test_state_dicts_of_another_kind():
    plain = Model().eval()
    int8, half = fastrnn.quantize(plain), fastrnn.quantize(plain, dtype="bfloat16")
    for model, given, wanted in ((int8, half, "int8"), (half, int8, "bfloat16"), (half, plain, "bfloat16")):
        with pytest.raises(RuntimeError, match=rf"rnn.weight_ih_l0: Expected torch.{wanted}, got|Missing key"):
            model.load_state_dict(given.state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*weight_ih_l0_scale"):
        int8.load_state_dict(plain.state_dict())
    with pytest.raises(RuntimeError, match=r"weight_ih_l0: Expected a floating-point weight, got torch.int8"):
        plain.load_state_dict(int8.state_dict(), strict=False)
    changed = int8.state_dict() | {"rnn.weight_ih_l0": torch.zeros(72, 7, dtype=torch.int8)}
    with pytest.raises(RuntimeError, match=r"rnn.weight_ih_l0: Expected size \[72, 8\], got \[72, 7\]"):
        int8.load_state_dict(changed)
    with pytest.raises(RuntimeError, match="Unexpected key"):
        int8.load_state_dict(int8.state_dict() | {"rnn.weight_ih_l9": torch.zeros(1)})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_not_finite_activations_become_nan_in_their_row(value):
    for cell in ("gru", "gru_reset_before", "lstm_projected", "peephole_lstm", "rnn_relu"):
        layer = fastrnn.quantize(make(fastrnn.nn, cell, 8, 24).eval())
        x = random(3, 5, 8, dtype=torch.float32)
        with torch.inference_mode():
            clean, spoiled = layer(x)[0], x.clone()
            spoiled[1, 2, 3] = value
            output = layer(spoiled)[0]
        assert output[1:, 2].isnan().all()
        assert torch.equal(output[0], clean[0])
        assert torch.equal(output[:, [0, 1, 3, 4]], clean[:, [0, 1, 3, 4]])


def test_zeros_and_equal_numbers():
    layer = fastrnn.quantize(fastrnn.RNN(8, 24, nonlinearity="relu").eval())
    bias, back = layer.bias_ih_l0 + layer.bias_hh_l0, fastrnn.dequantize(layer)
    with torch.inference_mode():
        for x in (torch.zeros(1, 2, 8), torch.full((1, 2, 8), 1e-40)):
            assert torch.equal(layer(x)[0], bias.relu().expand(1, 2, 24))
        x = torch.full((1, 1, 8), MOST / 1e3)
        torch.testing.assert_close(layer(x)[0], back(x)[0], rtol=1e-5, atol=0)


def test_numbers_to_the_ends_of_float32():
    """Every x is within half a step of what it is rounded to, though the range of its row is beyond float32, as long as
    the magnitudes of what a unit sums are within float32."""
    layer = fastrnn.quantize(fastrnn.RNN(8, 24, bias=False, nonlinearity="relu").eval())
    of_rows = layer.state_dict()["weight_ih_l0"].abs().sum(1)
    layer.load_state_dict(layer.state_dict() | {"weight_ih_l0_scale": 0.99 / of_rows})
    parts = [
        [1, -1, 0, 0, 1, 0, -1, 0],
        [1, 0.3, -1, 0.1, 0.2, 0.7, 0.5, 0.9],
        [1, 0, 0, 0, 0.5, 0, 0, 0],
        [-1, 0, 0, 0, -0.5, 0, 0, 0],
        [1, 0.99, 1, 1, 1, 0.995, 1, 1],
        [-1, -1, -0.9, -1, -1, -0.95, -1, -1],
    ]
    x = MOST * torch.tensor(parts)
    with torch.inference_mode():
        found, expected = layer(x[None])[0][0], fastrnn.dequantize(layer).double()(x[None].double())[0][0]
    range_ = x.double().amax(1) - x.double().amin(1)
    bound = range_ / 255 / 2 * 0.99 + 1e-6 * MOST
    assert ((found.double() - expected).abs() <= bound.unsqueeze(1)).all()


def test_zeros_of_a_relu_stay_zeros():
    """The smallest number of a row and its largest are exact, and with them the zeros of a ReLU and of one-hot rows."""
    layer = fastrnn.quantize(fastrnn.RNN(300, 24, bias=False, nonlinearity="relu").eval())
    weights = fastrnn.dequantize(layer).weight_ih_l0
    with torch.inference_mode():
        found = layer(torch.eye(300).unsqueeze(0))[0]
    torch.testing.assert_close(found[0], weights.T.relu(), rtol=1e-6, atol=1e-6)


def test_what_is_refused():
    model = Model()
    with pytest.raises(RuntimeError, match=r"eval mode to quantize, got rnn, cell in training mode"):
        fastrnn.quantize(model)
    model.eval()
    with pytest.raises(ValueError, match=r'dtype to be "int8" or "bfloat16", got "?.?float16'):
        fastrnn.quantize(model, dtype="float16")
    with pytest.raises(ValueError, match="skip to name modules of the model, got encoder"):
        fastrnn.quantize(model, skip=["encoder"])
    with pytest.raises(ValueError, match="skip to be a list of names"):
        fastrnn.quantize(model, skip="rnn")
    with pytest.raises(ValueError, match="without any but those in skip"):
        fastrnn.quantize(model, skip=["rnn", "cell"])
    for value in (float("nan"), float("inf")):
        broken = copy.deepcopy(model)
        broken.cell.weight_hh.data[3, 4] = value
        for dtype in ("int8", "bfloat16"):
            with pytest.raises(ValueError, match=r"got NaN or infinity in cell.weight_hh;"):
                fastrnn.quantize(broken, dtype=dtype, inplace=True)
        assert isinstance(broken.rnn, fastrnn.GRU)  # nothing was changed
    with pytest.raises(ValueError, match="at most 65536 columns for int8, got 65537 in weight_ih"):
        fastrnn.quantize(fastrnn.RNNCell(65537, 1).eval())
    quantized = fastrnn.quantize(model, skip=["cell"])
    assert isinstance(quantized.cell, fastrnn.LSTMCell)
    with pytest.raises(RuntimeError, match="PackedGRU computes no gradients"):
        quantized(WORDS)
    with pytest.raises(RuntimeError, match="cannot train"):
        quantized.train()
    quantized.to(torch.bfloat16)  # the other layers; packed weights stay what they are
    with torch.inference_mode():
        assert quantized(WORDS).dtype == torch.bfloat16


def test_export_and_operator():
    model = fastrnn.quantize(Model().eval())
    with torch.no_grad():
        program = torch.export.export(model, (WORDS,))
        assert torch.equal(program.module()(WORDS), model(WORDS))
        layer = fastrnn.quantize(fastrnn.LSTM(8, 16, bidirectional=True).eval())
        x = random(3, 2, 8, dtype=torch.float32)
        arguments = ("lstm", "int8", x, None, None, None, layer._weights(), 8, 16, 0, 1, True, True, False)
        torch.library.opcheck(ops.infer_packed, arguments, test_utils=("test_schema", "test_faketensor"))


# Prints a hash of the outputs of int8 layers of several sizes. With relu nothing but products and sums is computed, so
# every level gives the same; of one level, with VNNI and without, all cells do. Last come rows to the ends of float32.
PROGRAM = """
import hashlib, sys, torch
import fastrnn, fastrnn.nn
from tests.support.twins import CELLS, PLAIN_CELLS, make, random

for cell in CELLS:
    found = hashlib.sha256()
    for times, batch, inputs, hidden in [(1, 1, 3, 2), (2, 5, 17, 9), (5, 33, 16, 129), (1, 4, 70, 130)]:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            layer = fastrnn.quantize(make(fastrnn.nn, cell, inputs, hidden, bidirectional=True, num_layers=2).eval())
            with torch.inference_mode():
                output = layer(random(times, batch, inputs, dtype=torch.float32))[0]
            found.update(output.numpy().tobytes())
    print(cell, found.hexdigest())
layer = make(fastrnn.nn, "rnn_relu", 17, 40, bias=False).eval()
layer.weight_ih_l0.data /= 20
layer, found = fastrnn.quantize(layer), hashlib.sha256()
for most in (torch.finfo(torch.float32).max, 2e-36, 1e-37):
    rows = random(1, 200, 17, dtype=torch.float32)
    rows *= most / rows.abs().max()
    rows[..., 3:6] = 1e-41 * random(1, 200, 3, dtype=torch.float32)  # subnormal
    # Half of the first number lies between two float32s: rounded, the number is in step 9, else in step 10.
    rows[0, 0] = torch.tensor([float.fromhex(n) for n in ("0x1.646cf4p-127", "-0x1.ff151cp-124", "0x1.c21acap-119")]
                              + [0.0] * 14)
    with torch.inference_mode():
        output = layer(rows)[0]
    assert output.isfinite().all()
    found.update(output.numpy().tobytes())
print("ends", found.hexdigest())
"""


def test_every_level_gives_the_same_bits():
    hashes = {}
    for isa in sets_here()[:3]:  # avx512_bf16 is avx512 here
        for vnni in ("0", "1") if isa != "generic" else "0":
            lines = printed(PROGRAM, isa, FASTRNN_VNNI=vnni).splitlines()
            hashes[isa, vnni] = dict(line.split() for line in lines)
    first = next(iter(hashes.values()))
    for (isa, _), found in hashes.items():
        assert found == hashes[isa, "0"]
        for exact in ("rnn_relu", "ends"):
            assert found[exact] == first[exact]


@pytest.mark.parametrize("isa", SETS[:-1])  # what is left is what this processor runs anyway
def test_on_every_instruction_set(isa):
    names = "equations or plain_layer or not_finite or zeros or ends_of_float32"
    arguments = ["-q", "-p", "no:cacheprovider", __file__, "-k", names]
    printed(f"import pytest; raise SystemExit(pytest.main({arguments}))", isa)
