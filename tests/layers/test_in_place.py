"""Results that are changed in place before the backward pass: the gradients are those of a copy changed likewise."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, make, random, twins

pytestmark = pytest.mark.usefixtures("device")


def zero_the_last(y):
    y[-1] = 0
    return y


def add_to_a_view(y):
    y.transpose(0, -1)[0].add_(1)
    return y


CHANGES = {
    "relu": torch.nn.ReLU(inplace=True),
    "item": zero_the_last,
    "mul": lambda y: y.mul_(2),
    "view": add_to_a_view,
    "dropout": lambda y: torch.nn.functional.dropout(y, 1.0, inplace=True),
    "zero": lambda y: y.zero_(),
}


def gradients(layer, x, change, before=lambda t: t):
    """Of all inputs and weights; ``before`` is called on every result before it is changed."""
    layer.zero_grad()
    x = x.detach().requires_grad_()
    output, final = layer(pack_padded_sequence(x, [4, 2, 1]) if layer.training else x)
    output = output.data if isinstance(output, PackedSequence) else output
    results = [output, *(final if isinstance(final, tuple) else (final,))]
    sum((change(before(t)) * (i + 2)).cos().sum() for i, t in enumerate(results)).backward()
    return [x.grad, *(p.grad.clone() for p in layer.parameters())]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_output_and_states(cell, dtype):
    for options in ({}, {"num_layers": 2, "bidirectional": True}, {"recompute": True}):
        layer, x = make(fastrnn.nn, cell, 3, 4, dtype=dtype, **options), random(4, 3, 3, dtype=dtype)
        for change in CHANGES.values():
            for packed in (False, True):
                layer.train(packed)
                expected = gradients(layer, x, change, torch.clone)
                torch.testing.assert_close(gradients(layer, x, change), expected, rtol=0, atol=0)


@pytest.mark.cpu  # cuDNN's operator refuses such changes
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm_projected"])
def test_as_torch(cell):
    theirs, ours = twins(cell, 3, 4, num_layers=2, dtype=torch.float64)
    for change in (CHANGES["relu"], CHANGES["item"]):
        x = random(4, 3, 3)
        torch.testing.assert_close(gradients(ours, x, change), gradients(theirs, x, change))


def test_cells():
    x = random(2, 3, dtype=torch.float32)
    cell = fastrnn.LSTMCell(3, 4, device=x.device)

    def step(before):
        cell.zero_grad()
        sum(before(t).mul_(2).sin().sum() for t in cell(x)).backward()
        return [p.grad.clone() for p in cell.parameters()]

    torch.testing.assert_close(step(lambda t: t), step(torch.clone), rtol=0, atol=0)


def test_a_second_backward_pass_after_the_change():
    x = random(4, 2, 3, dtype=torch.float32).requires_grad_()
    layer = fastrnn.GRU(3, 4, device=x.device)
    y = layer(x)[0]
    (expected,) = torch.autograd.grad(y.sum(), x, retain_graph=True)
    z = y.mul_(3)
    (found,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(found, 3 * expected)


def test_a_second_derivative_after_the_change():
    x = random(4, 2, 3).requires_grad_()
    layer = fastrnn.LSTM(3, 4, device=x.device, dtype=torch.float64)

    def second(change):
        (first,) = torch.autograd.grad(change(layer(x)[0]).sin().sum(), x, create_graph=True)
        return torch.autograd.grad(first.square().sum(), x)[0]

    torch.testing.assert_close(second(lambda y: y.mul_(2)), second(lambda y: y * 2))


@pytest.mark.cpu
def test_nothing_is_copied_unless_somebody_writes():
    y = fastrnn.GRU(3, 8, 2)(random(4, 2, 3, dtype=torch.float32))[0]
    torch.nn.functional.layer_norm(torch.nn.functional.linear(y, torch.ones(5, 8)), (5,)).sum().backward()
    assert torch._C._is_cow_tensor(y)  # still the memory that the backward pass has read
    array = y.detach().numpy()
    array[:] = 7
    assert (y == 7).all()


@pytest.mark.cpu
def test_compiled():
    layer, x = fastrnn.GRU(3, 4), random(4, 2, 3, dtype=torch.float32)

    def model(x):
        return torch.nn.functional.relu(layer(x)[0], inplace=True).sum()

    expected = torch.autograd.grad(model(x), layer.weight_hh_l0)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(torch.autograd.grad(compiled(x), layer.weight_hh_l0), expected)
