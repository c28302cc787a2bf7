"""Nested (jagged) tensors in and out: each sequence as if alone, with gradients."""

import pytest
import torch

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, initial, make, random

F64 = torch.float64
LENGTHS = [4, 0, 7, 2]


def sequences(features=3):
    return [random(n, features, seed=n).requires_grad_() for n in LENGTHS]


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_each_sequence_as_if_alone(cell, batch_first):
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=F64)
    parts, hx = sequences(), initial(layer, len(LENGTHS), F64)
    output, final = layer(torch.nested.as_nested_tensor(parts, layout=torch.jagged), hx)
    assert output.is_nested
    loss = output.values().square().sum()
    gradients = torch.autograd.grad(loss, [*parts, *layer.parameters()])
    alone, summed = [], [torch.zeros_like(w) for w in layer.parameters()]
    for b, part in enumerate(parts):
        found = output.unbind()[b]
        if not len(part):
            assert not len(found)
            continue
        state = tuple(s[:, b] for s in hx) if isinstance(hx, tuple) else hx[:, b]
        expected, last = layer(part, state)
        assert torch.allclose(found, expected, rtol=0, atol=1e-12)
        for one, other in zip(*(f if isinstance(f, tuple) else (f,) for f in (final, last)), strict=True):
            assert torch.allclose(one[:, b], other, rtol=0, atol=1e-12)
        own = torch.autograd.grad(expected.square().sum(), [part, *layer.parameters()])
        alone.append((gradients[b], own[0]))
        summed = [s + g for s, g in zip(summed, own[1:], strict=True)]
    for one, other in (*alone, *zip(gradients[len(parts) :], summed, strict=True)):
        assert torch.allclose(one, other, rtol=0, atol=1e-11)


def test_it_fits_the_input():
    """The same raggedness: a residual connection adds them."""
    layer, input = (
        make(fastrnn.nn, "gru", 6, 6, dtype=F64),
        torch.nested.as_nested_tensor(sequences(6), layout=torch.jagged),
    )
    output, _ = layer(input)
    assert (output + input).shape == input.shape
    view = torch.nested.narrow(
        random(3, 9, 6), 1, torch.tensor([0, 2, 5]), torch.tensor([3, 4, 1]), layout=torch.jagged
    )
    found, _ = layer(view)
    for one, part in zip(found.unbind(), view.unbind(), strict=True):
        assert torch.allclose(one, layer(part)[0], rtol=0, atol=1e-12)


def test_with_resets_and_states():
    layer, parts = make(fastrnn.nn, "lstm", 3, 6, dtype=F64), sequences()
    resets = torch.rand(4, 7, generator=torch.Generator().manual_seed(0)) < 0.4
    nested = torch.nested.as_nested_tensor(parts, layout=torch.jagged)
    output, _, states = layer(nested, resets=resets, return_states=True)
    assert states.h.shape == states.c.shape == (1, 4, 7, 6)
    for b, part in enumerate(parts):
        if len(part):
            expected, _, every = layer(part, resets=resets[b, : len(part)], return_states=True)
            assert torch.allclose(output.unbind()[b], expected, rtol=0, atol=1e-12)
            assert torch.allclose(states.c[:, b, : len(part)], every.c, rtol=0, atol=1e-12)


def test_frozen():
    layer = fastrnn.GRU(3, 6).eval()
    nested = torch.nested.nested_tensor([p.detach().float() for p in sequences()], layout=torch.jagged)
    with torch.no_grad():
        expected, h_n = layer(nested)
        found, h = fastrnn.freeze(layer)(nested)
        assert torch.allclose(found.values(), expected.values(), atol=1e-6)
        assert torch.allclose(h, h_n, atol=1e-6)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_wrong():
    layer = make(fastrnn.nn, "gru", 3, 6, dtype=F64)
    nested = torch.nested.as_nested_tensor(sequences(), layout=torch.jagged)
    with pytest.raises(ValueError, match="got lengths and a nested tensor, which has its own; leave them out"):
        layer(nested, lengths=torch.tensor(LENGTHS))
    with pytest.raises(ValueError, match=r"Expected a nested tensor of layout torch.jagged, got torch.strided"):
        layer(torch.nested.nested_tensor([p.detach() for p in sequences()]))
    with pytest.raises(ValueError, match="second one ragged, got 3 dimensions, ragged in dimension 2"):
        layer(nested.transpose(1, 2))
