"""Infinities and NaN, wherever they enter a layer, come out where torch's do: forward and backward.

What is at stake is 0 · inf: a gate that is shut by an infinite pre-activation is 0 exactly, and 0 times an infinite
state is NaN, not some finite number. test_instruction_sets.py runs this file on every instruction set.
"""

import math

import pytest
import torch

import fastrnn.nn
from tests.support.twins import CELLS, TORCH_CELLS, by_reference, initial, make, random

VALUES = torch.tensor([math.inf, -math.inf, math.nan], dtype=torch.float64)
PLACES = ["input", "state", "weight", "gradient"]
SHAPES = [(3, 5, 5, 19), (1, 2, 3, 40), (4, 1, 7, 6), (2, 9, 17, 33)]  # T, B, I, H


def _spoiled(t, count, generator):
    """``t`` with infinities or NaN in ``count`` places."""
    t = t.clone()
    values = VALUES[torch.randint(len(VALUES), (count,), generator=generator)]
    t.view(-1)[torch.randperm(t.numel(), generator=generator)[:count]] = values.to(t.dtype)
    return t


def _problem(cell, dtype, seed):
    """A layer, its twin in torch.nn if there is one, its input, states and incoming gradients; some of it spoiled."""
    generator = torch.Generator().manual_seed(seed)
    # One place at a time first, then two and more at once.
    places = {PLACES[seed]} if seed < 4 else {place for place in PLACES if torch.rand((), generator=generator) < 0.5}
    times, batch, inputs, hidden = SHAPES[seed // 4 % 4]
    layers = [make(fastrnn.nn, cell, inputs, hidden, dtype=dtype)]
    if cell in TORCH_CELLS:
        layers.append(make(torch.nn, cell, inputs, hidden, dtype=dtype))
    x, hx = random(times, batch, inputs, dtype=dtype, seed=seed), initial(layers[0], batch, dtype, seed)
    states = hx if isinstance(hx, tuple) else (hx,)
    incoming = [random(times, batch, states[0].size(-1), dtype=dtype), *(random(*s.shape, dtype=dtype) for s in states)]
    if "input" in places:
        x = _spoiled(x, 1, generator)
    if "state" in places:
        states = [_spoiled(s, 2, generator) for s in states]
    if "weight" in places:
        names = [name for name, _ in layers[0].named_parameters()]
        name = names[seed % len(names)]
        spoiled = _spoiled(layers[0].get_parameter(name).detach(), 1 + seed % 3, generator)
        for layer in layers:
            layer.get_parameter(name).data.copy_(spoiled)
    if "gradient" in places:
        incoming = [_spoiled(d, 1, generator) for d in incoming]
    return layers, x, states, incoming, "gradient" in places


def _results(layer, x, states, incoming, call=None):
    x, states = x.clone().requires_grad_(), [s.clone().requires_grad_() for s in states]
    hx = tuple(states) if len(states) == 2 else states[0]
    output, final = call(layer, x, hx) if call else layer(x, hx)
    outputs = [output, *(final if isinstance(final, tuple) else (final,))]
    return [t.detach() for t in outputs] + list(
        torch.autograd.grad(outputs, [x, *states, *layer.parameters()], incoming)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", CELLS)
def test_as_torch(cell, dtype):
    for seed in range(24):
        (ours, *theirs), *problem, infinite_gradient = _problem(cell, dtype, seed)
        found = _results(ours, *problem)
        expected = [_results(ours, *problem, call=by_reference)]
        expected += [_results(layer, *problem) for layer in theirs]
        for peer in expected:
            for got, value in zip(found, peer, strict=True):
                if infinite_gradient and cell.startswith(("gru", "layer_norm")):
                    # (1 - z) dh and dh - z dh are two ways to differentiate h, and one of them is inf - inf. torch.nn
                    # and the reference differ in this too. So are there two ways to subtract the means of dL/dnorm(c).
                    got, value = (t.masked_fill(t.isinf(), math.nan) for t in (got, value))
                assert torch.allclose(got, value, rtol=1e-4, atol=1e-5, equal_nan=True), f"seed {seed}"


@pytest.mark.parametrize("cell", CELLS)
def test_a_row_keeps_its_nan(cell):
    """Rows of a batch are independent: the others are the same to the last bit."""
    layer = make(fastrnn.nn, cell, 5, 19, dtype=torch.float32)
    x = random(6, 9, 5, dtype=torch.float32)
    with torch.no_grad():
        clean = layer(x)[0]
        x[0, 4] = math.nan
        spoiled = layer(x)[0]
    others = [b for b in range(9) if b != 4]
    assert spoiled[:, 4].isnan().all()
    assert torch.equal(spoiled[:, others], clean[:, others])


def test_infinite_gradient_of_a_bias():
    """A sum over chunks of time that is infinite stays so: its rounding error must not become inf - inf."""
    layer = make(fastrnn.nn, "rnn_relu", 1, 1, dtype=torch.float64)
    for p in layer.parameters():
        p.data.fill_(1)
    d = torch.ones(1000, 1, 1, dtype=torch.float64)
    d[900] = math.inf
    output = layer(torch.full_like(d, 0.1), torch.ones(1, 1, 1, dtype=torch.float64))[0]
    grads = torch.autograd.grad(output, list(layer.parameters()), d)
    assert [g.item() for g in grads] == [math.inf] * 4


@pytest.mark.parametrize(("dtype", "shift"), [(torch.float32, 90), (torch.float64, 700)])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.startswith("layer_norm")])
def test_layer_norm_where_squares_are_infinite(cell, dtype, shift):
    """Products of the input that are larger by a power of two have the same norm, to the bit, though neither their
    squares nor their variance are numbers of the dtype."""
    for times, batch, inputs, hidden in SHAPES:
        layer = make(fastrnn.nn, cell, inputs, hidden, dtype=dtype)
        layer.weight_ih_l0.data = random(*layer.weight_ih_l0.shape, dtype=dtype)
        x, hx = random(times, batch, inputs, dtype=dtype), initial(layer, batch, dtype)
        found = []
        for scale in (2.0**40, 2.0**shift):
            given = (scale * x).requires_grad_()
            output, _ = layer(given, hx)
            gradients = torch.autograd.grad(output.sum(), [given, *layer.parameters()])
            found.append([output.detach(), gradients[0] * scale, *gradients[1:]])
        assert torch.equal(found[0][0], found[1][0])
        for a, b in zip(*found, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6 * float(a.abs().max()))
