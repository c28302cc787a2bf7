"""bfloat16 and float16 on the CPU: weights are read as they are, sums are float32, results are rounded once."""

import pytest
import torch

import fastrnn.nn
from fastrnn import _C, reference
from tests.support.twins import CELLS, make, random

NARROW = (torch.bfloat16, torch.float16)


def _widened(layer):
    """A twin in float32 whose weights are the narrow ones, exactly."""
    twin = make(fastrnn.nn, layer.cell_of_the_tests, layer.input_size, layer.hidden_size, **layer.options_of_the_tests)
    twin.load_state_dict({name: weight.float() for name, weight in layer.state_dict().items()})
    return twin


def _layer(cell, input_size, hidden_size, dtype, **options):
    layer = make(fastrnn.nn, cell, input_size, hidden_size, **options).to(dtype)
    layer.cell_of_the_tests, layer.options_of_the_tests = cell, options
    return layer


# One step of few rows (dot products), of many (packed at use), a whole sequence (packed ahead), sizes off every vector
SHAPES = [(1, 1, 24, 40), (1, 3, 5, 7), (1, 33, 19, 37), (9, 5, 16, 70), (4, 2, 130, 9)]


def _multiplies_in(dtype, rows):
    """Whether products round their operands: test_bfloat16_products.py. Of a few rows weights are widened as ever."""
    return dtype == torch.bfloat16 and rows > 6 and _C.instruction_set() == "avx512_bf16"


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", NARROW, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_numbers_are_those_of_float32_rounded_once(cell, dtype, shape):
    """To the bit: forward the short way and the long, all gradients, in both directions."""
    times, batch, input_size, hidden_size = shape
    if _multiplies_in(dtype, times * batch):
        pytest.skip("operands are rounded too")
    layer = _layer(cell, input_size, hidden_size, dtype, bidirectional=True)
    twin = _widened(layer)
    narrow = random(times, batch, input_size, dtype=torch.float32).to(dtype)
    with torch.no_grad():
        short, exact = layer(narrow)[0], twin(narrow.float())[0]
    assert torch.equal(short, exact.to(dtype))

    input, wide = narrow.clone().requires_grad_(), narrow.float().requires_grad_()
    output, expected = layer(input)[0], twin(wide)[0]
    assert torch.equal(output, expected.to(dtype))
    d_output = random(*output.shape, dtype=torch.float32, seed=5).to(dtype)
    grads = torch.autograd.grad(output, [input, *layer.parameters()], d_output)
    exact_grads = torch.autograd.grad(expected, [wide, *twin.parameters()], d_output.float())
    assert all(torch.equal(g, e.to(dtype)) for g, e in zip(grads, exact_grads, strict=True))


@pytest.mark.parametrize("rows", [1, 8], ids=["dot products", "packed"])
@pytest.mark.parametrize("dtype", NARROW, ids=str)
def test_every_number_of_16_bits_is_widened_as_torch_does(dtype, rows):
    """Infinities and NaN too: relu(w x + 0 h + b) with each as w, then as b, for x = 1. Subnormal numbers too, except
    as w where the processor multiplies bfloat16: it takes them for zero."""
    every = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16).view(dtype)
    zeros, no_recurrence, ones = (
        torch.zeros(256, dtype=dtype),
        torch.zeros(256, 256, dtype=dtype),
        torch.ones(1, rows, 1),
    )
    for numbers in every.split(256):
        for w, b in ((numbers, zeros), (zeros, numbers)):
            expected = torch.relu(numbers.float()).expand(1, rows, 256)
            if w is numbers and _multiplies_in(dtype, rows):
                expected = torch.where(expected < torch.finfo(dtype).tiny, 0, expected)
            weights = [w.reshape(256, 1), no_recurrence, b, zeros]
            output, *_ = torch.ops.fastrnn.forward(
                "rnn_relu", ones, None, None, None, weights, True, False, False, False
            )
            torch.testing.assert_close(output, expected, rtol=0, atol=0, equal_nan=True)


def test_the_reference_takes_narrow_weights_too():
    w = [random(*s, dtype=torch.float32).bfloat16() for s in ((12, 2), (12, 3), (12,), (12,))]
    x = random(4, 2, 2, dtype=torch.float32)
    arguments = ("lstm", x, None, None, None, w, True, False, False)
    ours = torch.ops.fastrnn.forward(*arguments, False)[0]
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours, reference.layer(*arguments)[0], rtol=1e-6, atol=1e-6)


def test_narrow_weights_belong_to_float32_alone():
    w = [random(*s, dtype=torch.float32).bfloat16() for s in ((12, 2), (12, 3), (12,), (12,))]
    for input in (torch.randn(4, 2, 2, dtype=torch.float64), torch.randn(4, 2, 2)):
        mixed = w if input.dtype == torch.float64 else [w[0], w[1].half(), *w[2:]]
        with pytest.raises((RuntimeError, ValueError), match=r"weight_hh of dtype|the weights' dtype"):
            torch.ops.fastrnn.forward("lstm", input, None, None, None, mixed, True, False, False, False)
        with pytest.raises((RuntimeError, ValueError), match="dtype"):
            fastrnn.functional.lstm(input, None, mixed)


def test_second_derivatives_of_narrow_weights():
    layer = _layer("gru", 4, 5, torch.bfloat16)
    x = torch.randn(3, 2, 4, dtype=torch.bfloat16, requires_grad=True)
    (grad,) = torch.autograd.grad(layer(x)[0].sum(), x, create_graph=True)
    grads = torch.autograd.grad(grad.float().square().sum(), list(layer.parameters()), allow_unused=True)
    assert all(g is None or g.dtype == torch.bfloat16 for g in grads)
    assert any(g is not None and g.abs().sum() > 0 for g in grads)
