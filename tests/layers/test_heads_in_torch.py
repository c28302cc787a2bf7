"""heads=n in torch's transforms, derivatives and graphs."""

import io

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, vmap
from torch.utils.flop_counter import FlopCounterMode

import fastrnn
import fastrnn.nn
from fastrnn import _C, ops
from tests.support.raw_calls import backward_call, forward, right_call
from tests.support.twins import by_reference, make, random

# What torch.func.jvp itself does.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F32, F64 = torch.float32, torch.float64
T, B, I, H, HEADS = 5, 3, 3, 6, 3


def layer_of(cell, dtype=F64, **options):
    return make(fastrnn.nn, cell, I, H, heads=HEADS, dtype=dtype, **options)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru_reset_before", "lstm_projected"])
def test_derivatives(cell):
    layer, x = layer_of(cell), random(T, B, I).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]
    weights = tuple(w.detach().requires_grad_() for w in layer.parameters())

    def run(x, *weights):
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    assert gradcheck(run, (x, *weights))
    assert gradgradcheck(run, (x, *weights))


def test_forward_mode():
    layer, x, tangent = layer_of("lstm", bidirectional=True), random(T, B, I), random(T, B, I, seed=9)
    _, found = jvp(lambda x: layer(x)[0], (x,), (tangent,))
    step = 1e-6
    expected = (layer(x + step * tangent)[0] - layer(x - step * tangent)[0]) / (2 * step)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before", "lstm_projected", "layer_norm_gru"])
def test_gradients_of_each_sample(cell):
    layer, xs = layer_of(cell, bidirectional=True), random(4, T, 2, I)
    weights = {name: w.detach() for name, w in layer.named_parameters()}

    def loss(weights, x):
        return functional_call(layer, weights, (x,))[0].square().sum()

    found = vmap(grad(loss), (None, 0))(weights, xs)
    for i, x in enumerate(xs):
        for name, gradient in grad(loss)(weights, x).items():
            torch.testing.assert_close(found[name][i], gradient, rtol=0, atol=1e-12)
    outputs = vmap(lambda x: layer(x)[0])(xs)
    torch.testing.assert_close(outputs, torch.stack([layer(x)[0] for x in xs]), rtol=0, atol=1e-12)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_compiled(cell, train):
    layer, x = layer_of(cell, F32, num_layers=2).requires_grad_(train), random(T, B, I, dtype=F32)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    found, expected = run(x)[0], layer(x)[0]
    torch.testing.assert_close(found, expected)
    if train:
        gradients = [torch.autograd.grad(output.square().sum(), layer.parameters()) for output in (found, expected)]
        torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("frozen", [False, True])
def test_exported(frozen):
    layer = layer_of("lstm", F32, num_layers=2, bidirectional=True).eval()
    x = random(T, B, I, dtype=F32)
    with torch.no_grad():
        expected = layer(x)[0]
        program = torch.export.export(fastrnn.freeze(layer) if frozen else layer, (x,))
        file = io.BytesIO()
        torch.export.save(program, file)
        file.seek(0)
        torch.testing.assert_close(torch.export.load(file).module()(x)[0], expected)


def test_meta():
    layer = layer_of("lstm_projected", F32, num_layers=2).to("meta")
    output, (h, c) = layer(torch.empty(T, B, I, device="meta"))
    assert (output.shape, h.shape, c.shape) == ((T, B, 3), (2, B, 3), (2, B, 6))


def test_autocast():
    layer, x = layer_of("gru", F32), random(T, B, I, dtype=F32)
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x)[0]
    torch.testing.assert_close(found.float(), by_reference(layer, x, None)[0], rtol=0, atol=0.03)


def test_operations_are_counted():
    def count(heads):
        with FlopCounterMode(display=False) as counter:
            fastrnn.LSTM(I, H, heads=heads)(random(T, B, I, dtype=F32))
        return counter.get_total_flops()

    of_input, of_state = 2 * T * B * 4 * H * I, 2 * T * B * 4 * H * H
    assert count(1) == of_input + of_state
    assert count(3) == of_input + of_state // 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"heads": 0}, "Expected heads of at least 1, got 0"),
        ({"heads": -2}, "Expected heads of at least 1, got -2"),
        ({"heads": 3}, r"Expected weight_hh size \[18, 2\] of 3 heads, got \[18, 3\]"),
        ({"heads": 1}, r"Expected weight_hh size \[18, 6\], got \[18, 3\]"),
        ({"heads": 4}, "Expected heads that divide the features of the state, 6, got 4"),
        ({"heads": (1 << 63) - 1}, "Expected weight_hh of .* heads to have fewer than 2\\^63 columns in all"),
    ],
    ids=str,
)
def test_operators_called_with_wrong_heads(wrong, message):
    call = right_call("gru", hidden=6, heads=2)
    forward(call)
    with pytest.raises((ValueError, RuntimeError), match=message):
        forward(call | wrong)
    with pytest.raises((ValueError, RuntimeError), match=message):
        ops.backward(**backward_call(call) | wrong)


def test_packed_operator_called_with_wrong_heads():
    layer = fastrnn.freeze(fastrnn.GRU(5, 32, heads=2).eval())
    sizes = {"input_size": 5, "hidden_size": 32, "projection_size": 0, "num_layers": 1}
    flags = {"biases": True, "bidirectional": False, "batch_first": False}
    operands = {"batch_sizes": None, "h0": None, "c0": None, "weights": layer._weights()}
    call = {"cell": "gru", "numbers": "float32", "input": random(3, 2, 5, dtype=F32), **operands, **sizes, **flags}
    assert torch.equal(ops.infer_packed(**call, heads=2)[0], layer(call["input"])[0])
    for heads, message in (
        (3, "divide the features of the state, 32, got 3"),
        (0, "at least 1"),
        (1, "packed weight_hh"),
    ):
        with pytest.raises((ValueError, RuntimeError), match=message):
            ops.infer_packed(**call, heads=heads)


def test_a_layer_that_was_packed_before_there_were_heads():
    layer = fastrnn.freeze(fastrnn.LSTM(5, 6).eval())
    x = random(3, 2, 5, dtype=F32)
    expected = layer(x)[0]
    layer._call = layer._call[:9]
    del layer.heads
    assert torch.equal(layer(x)[0], expected)
    assert torch.equal(torch.stack([layer.stream(2)(step) for step in x[:1]]), expected[:1])
    layer._call = layer._call[:8]
    with pytest.raises(RuntimeError, match="cast"):
        _C.infer_packed(x, None, layer.__dict__, {})
