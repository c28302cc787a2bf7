"""Gradients are derivatives: against finite differences, in float64; and twice over, through the reference."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from fastrnn import reference
from tests.support.twins import CELLS, initial, make, random

pytestmark = pytest.mark.usefixtures("device")


def _as_function(cell, input_size, hidden_size, **options):
    layer = make(__import__("fastrnn.nn").nn, cell, input_size, hidden_size, dtype=torch.float64, **options)
    names = list(layer._flat_weights_names)

    def run(input, *tensors):
        states, weights = tensors[: -len(names)], tensors[-len(names) :]
        hx = states if len(states) == 2 else states[0]
        output, state = torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (input, hx))
        return output, *(state if isinstance(state, tuple) else (state,))

    return layer, run


def _operands(layer, times, batch):
    hx = initial(layer, batch, torch.float64)
    operands = [random(times, batch, layer.input_size), *(hx if isinstance(hx, tuple) else (hx,)), *layer._flat_weights]
    return [t.detach().clone().requires_grad_() for t in operands]


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell, bidirectional):
    # 9 rows: enough for packed weights; relu's kink is avoided by the fixed seed
    layer, run = _as_function(cell, 2, 4, bidirectional=bidirectional)
    assert gradcheck(run, _operands(layer, 3, 3), atol=1e-7, fast_mode=True)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "gru_reset_before", "lstm"])
def test_second_derivative(cell):
    layer, run = _as_function(cell, 2, 3)
    assert gradgradcheck(run, _operands(layer, 2, 2), atol=1e-6, fast_mode=True)


def test_gradient_penalty_trains():
    """The use people have for second derivatives: a penalty on the gradient of the output with respect to the input."""
    layer, run = _as_function("gru", 3, 5)
    operands = _operands(layer, 4, 2)
    (slope,) = torch.autograd.grad(run(*operands)[0].sum(), operands[0], create_graph=True)
    slope.square().sum().backward()
    assert all(t.grad is not None and t.grad.isfinite().all() and t.grad.abs().sum() > 0 for t in operands[1:4])


def test_second_derivative_where_a_weight_depends_on_the_input():
    """As in a network that makes another's weights: what goes through both ways must not be counted twice."""
    layer, run = _as_function("gru", 3, 3)
    input, *rest = _operands(layer, 3, 3)

    def penalty(compute):
        made = rest[1] * (1 + input.sum())  # weight_ih
        output = compute(input, rest[0], made, *rest[2:])[0]
        (slope,) = torch.autograd.grad(output.square().sum(), input, create_graph=True)
        return torch.autograd.grad(slope.square().sum(), [input, *rest])

    def by_reference(input, h0, *weights):
        return reference.layer("gru", input, None, h0, None, weights, True, False, False)

    for found, expected in zip(penalty(run), penalty(by_reference), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def test_backward_twice_over_a_retained_graph():
    layer, run = _as_function("lstm", 3, 5)
    operands = _operands(layer, 4, 2)
    loss = run(*operands)[0].square().sum()
    first = torch.autograd.grad(loss, operands, retain_graph=True)
    second = torch.autograd.grad(loss, operands)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_weights_changed_between_forward_and_backward_are_noticed():
    layer, _ = _as_function("lstm", 3, 5)
    loss = layer(random(4, 2, 3))[0].sum()
    with torch.no_grad():
        layer.weight_hh_l0.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()
