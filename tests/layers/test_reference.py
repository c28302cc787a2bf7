"""The oracle itself: against torch.nn in float64, twice differentiable, and the two forms of the GRU as published."""

import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn.nn
from fastrnn import reference
from fastrnn._core import cells
from fastrnn._core.call import call_of
from tests.support.twins import CELLS, TORCH_CELLS, initial, make, random, twins


def layer_of(module, x, hx, batch_sizes=None):
    h, c = hx if isinstance(hx, tuple) else (hx, None)
    return reference.layer(
        module._cell, x, batch_sizes, h, c, module._weights(), module.bias, module.bidirectional, module.batch_first
    )


@pytest.mark.parametrize(("bias", "batch_first", "bidirectional"), list(itertools.product((True, False), repeat=3)))
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_layer_is_torchs(cell, bias, batch_first, bidirectional):
    options = {"bias": bias, "batch_first": batch_first, "bidirectional": bidirectional, "dtype": torch.float64}
    theirs, ours = twins(cell, 3, 6, **options)
    x = random(*((4, 5) if batch_first else (5, 4)), 3)
    for hx in (initial(ours, 4, torch.float64), None):
        output, h, c = layer_of(ours, x, hx)
        expected, final = theirs(x, hx)
        torch.testing.assert_close(output, expected, rtol=0, atol=1e-13)
        torch.testing.assert_close((h, c) if cell.startswith("lstm") else h, final, rtol=0, atol=1e-13)
        assert cell.startswith("lstm") or c.shape == (0,)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_packed_layer_is_torchs(cell, bidirectional):
    theirs, ours = twins(cell, 3, 6, bidirectional=bidirectional, dtype=torch.float64)
    packed = pack_padded_sequence(random(5, 4, 3), [5, 3, 3, 1])
    hx = initial(ours, 4, torch.float64)
    output, h, c = layer_of(ours, packed.data, hx, packed.batch_sizes)
    expected, final = theirs(packed, hx)
    torch.testing.assert_close(output, expected.data, rtol=0, atol=1e-13)
    torch.testing.assert_close((h, c) if cell.startswith("lstm") else h, final, rtol=0, atol=1e-13)


@pytest.mark.parametrize("cell", CELLS)
def test_differentiable_twice(cell):
    module = make(fastrnn.nn, cell, 2, 2, dtype=torch.float64)
    x, hx = random(2, 2, 2), initial(module, 2, torch.float64)
    leaves = [x, *(hx if isinstance(hx, tuple) else (hx,)), *module.parameters()]
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    states = 2 if isinstance(hx, tuple) else 1

    def run(x, *rest):
        h, c = rest[0], (rest[1] if states == 2 else None)
        output, h, c = reference.layer(module._cell, x, None, h, c, rest[states:], True, False, False)
        return (output, h, c) if states == 2 else (output, h)

    assert torch.autograd.gradcheck(run, leaves)
    assert torch.autograd.gradgradcheck(run, leaves)


def test_reset_before_follows_the_paper():
    """By hand, one entry at a time, from Cho et al., 2014, equations 5 to 8, with biases."""
    w_ih, w_hh, b_ih, b_hh = random(6, 3, seed=1), random(6, 2, seed=2), random(6, seed=3), random(6, seed=4)
    x, h = random(1, 3, seed=5), random(1, 2, seed=6)

    def gate(row, state):
        from_input = sum(w_ih[row, k] * x[0, k] for k in range(3)) + b_ih[row]
        return from_input + sum(w_hh[row, k] * state[k] for k in range(2)) + b_hh[row]

    r = [torch.sigmoid(gate(j, h[0])) for j in range(2)]
    z = [torch.sigmoid(gate(2 + j, h[0])) for j in range(2)]
    reset = [r[k] * h[0, k] for k in range(2)]
    candidate = [torch.tanh(gate(4 + j, reset)) for j in range(2)]
    expected = torch.stack([z[j] * h[0, j] + (1 - z[j]) * candidate[j] for j in range(2)])
    found = reference.gru_reset_before(x, h, w_ih, w_hh, b_ih, b_hh)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-15)
    assert not torch.allclose(found, reference.gru(x, h, w_ih, w_hh, b_ih, b_hh)[0])


def test_sigmoid_network_is_elmans():
    w_ih, w_hh, b_ih, b_hh = random(2, 3, seed=1), random(2, 2, seed=2), random(2, seed=3), random(2, seed=4)
    x, h = random(4, 3, seed=5), random(4, 2, seed=6)
    expected = 1 / (1 + torch.exp(-(x @ w_ih.T + b_ih + h @ w_hh.T + b_hh)))
    found, _ = reference.step("rnn_sigmoid", x, h, None, [w_ih, w_hh, b_ih, b_hh])
    torch.testing.assert_close(found, expected)


def test_unknown_cell():
    x, weights = random(1, 1, 1), [random(1, 1)] * 2
    for call in (
        lambda: reference.step("mgu", x, x, None, weights),
        lambda: reference.layer("mgu", x, None, None, None, weights, False, False, False),
        lambda: call_of("mgu", x, None, weights),
        lambda: torch.ops.fastrnn.forward("mgu", x, None, None, None, weights, False, False, False, False),
        lambda: torch.ops.fastrnn.forward("mgu", x.to("meta"), None, None, None, weights, False, False, False, False),
    ):
        with pytest.raises(ValueError, match=r"Expected cell to be one of rnn_tanh, .*lstm.*, got .?mgu"):
            call()


def test_it_describes_the_cells_that_the_kernels_have():
    def described(table):
        return {name: (cell.gates, cell.carries_c, len(cell.vectors)) for name, cell in table.items()}

    assert described(reference.CELLS) == described(cells.CELLS)


def test_a_projection_by_its_name_or_by_the_number_of_weights():
    x, layer = random(3, 2, 4), make(fastrnn.nn, "lstm_projected", 4, 6, bidirectional=True, dtype=torch.float64)
    arguments = "lstm", x, None, None, None, layer._weights(), True, True, False
    by_number, by_name = reference.layer(*arguments), reference.layer(*arguments, projected=True)
    for found, expected in zip(by_name, by_number, strict=True):
        assert torch.equal(found, expected)
    with pytest.raises(ValueError, match="Expected 8 weights in 2 direction"):
        reference.layer(*arguments, projected=False)
