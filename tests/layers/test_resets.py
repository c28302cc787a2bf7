"""resets: rows that begin anew in the middle of a sequence, equal to splitting the sequence there."""

import itertools

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import fastrnn.nn
from tests.support import twins
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random, results

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64


def some(*shape, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < 0.3).to(twins.DEVICE)


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_as_if_split(cell, learned):
    """One row after the other, cut into pieces. Only the first piece of a direction begins with the given state."""
    layer = make(fastrnn.nn, cell, 3, 6, bidirectional=True, learn_initial_state=learned, dtype=F64)
    if learned:
        for name in layer._initial_states():
            getattr(layer, name).data = random(*getattr(layer, name).shape, seed=5)
    x, resets, hx = random(9, 4, 3), some(9, 4), initial(layer, 4, F64)
    resets[0, 0] = resets[5, 0] = resets[8, 1] = True
    together = results(layer, x, hx, resets=resets)
    states = hx if isinstance(hx, tuple) else (hx,)
    begin = [getattr(layer, name)[:, None] for name in layer._initial_states()] or [
        torch.zeros_like(s[:, :1]) for s in states
    ]
    outputs, finals = torch.zeros_like(together["output"]), [torch.zeros_like(s) for s in states]
    for b in range(4):
        cuts = [0, *[t for t in range(1, 9) if resets[t, b]], 9]
        for first, end in itertools.pairwise(cuts):
            given = [s.clone() for s in begin]
            for g, s in zip(given, states, strict=True):
                if first == 0 and not resets[0, b]:
                    g[0, 0] = s[0, b]
                if end == 9:
                    g[1, 0] = s[1, b]
            output, final = layer(x[first:end, b : b + 1], tuple(given) if len(given) == 2 else given[0])
            outputs[first:end, b] = output[:, 0].detach()
            for f, s in zip(final if isinstance(final, tuple) else (final,), finals, strict=True):
                if end == 9:
                    s[0, b] = f[0, 0].detach()
                if first == 0:
                    s[1, b] = f[1, 0].detach()
    assert torch.allclose(together["output"], outputs, rtol=0, atol=1e-12)
    for name, final in zip(("h_n", "c_n"), finals, strict=False):
        assert torch.allclose(together[name], final, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(9, 4), (1, 3), (40, 70), (300, 1)], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_against_the_reference(cell, shape):
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=F64)
    x, resets, hx = random(*shape, 3), some(*shape), initial(layer, shape[1], F64)
    for state in (hx, None):
        expected = results(layer, x, state, call=by_reference, resets=resets)
        assert_same(results(layer, x, state, resets=resets), expected)


def test_no_gradient_passes():
    layer, x = make(fastrnn.nn, "lstm", 3, 6, dtype=F64), random(5, 2, 3).requires_grad_()
    resets = torch.zeros(5, 2, dtype=torch.bool, device=x.device)
    resets[3, 0] = True
    output, _ = layer(x, resets=resets)
    output[3:].sum().backward()
    assert not x.grad[:3, 0].any()
    assert x.grad[:3, 1].all()


def test_layouts():
    """With batch_first they are (B, T), of one sequence (T); expanded tensors are fine."""
    layer, x, resets = make(fastrnn.nn, "gru", 3, 6, dtype=F64), random(6, 3, 3), some(6, 3)
    expected, h_n = layer(x, resets=resets)
    first = make(fastrnn.nn, "gru", 3, 6, batch_first=True, dtype=F64)
    output, h = first(x.transpose(0, 1), resets=resets.t())
    assert torch.equal(output.transpose(0, 1), expected)
    assert torch.equal(h, h_n)
    output, h = layer(x[:, 1], resets=resets[:, 1])
    assert torch.allclose(output, expected[:, 1], rtol=0, atol=1e-12)
    same = resets[:, :1].expand(6, 3)
    assert torch.equal(layer(x, resets=same)[0], layer(x, resets=same.contiguous())[0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_derivatives(cell):
    layer = make(fastrnn.nn, cell, 1, 2, bidirectional=True, learn_initial_state=True, dtype=F64)
    weights = [random(*w.shape, seed=i).requires_grad_() for i, w in enumerate(layer.parameters())]
    names = [name for name, _ in layer.named_parameters()]
    x, resets = random(3, 2, 1).requires_grad_(), some(3, 2, seed=1)
    assert resets.any()

    def run(x, *weights):
        parameters = dict(zip(names, weights, strict=True))
        output, final = torch.func.functional_call(layer, parameters, (x,), {"resets": resets})
        return output, *(final if isinstance(final, tuple) else (final,))

    assert gradcheck(run, (x, *weights))
    assert gradgradcheck(run, (x, *weights))
