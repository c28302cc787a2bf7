"""The loop of users' cells on the CPU's kernels: the eager loop's numbers, and the same bits for any threads."""

import os
from pathlib import Path

import pytest
import torch
from torch import tanh

import fastrnn
from fastrnn import cells
from fastrnn._cell import eager, kernels
from tests.support.instruction_sets import printed
from tests.support.user_cells import F64, GRU, LSTM, as_given, numbers, of, random, states_of

ROOT = Path(__file__).parents[2]


def compared(cell, hidden, shape, dtype=F64, **options):
    """All that a layer computes and its gradients, by the kernels and by the eager loop in float64."""
    found = []
    for kind in (dtype, F64):
        layer = of(cell, 3, hidden, dtype=dtype, **options).to(kind)
        x = random(*shape, 3, dtype=dtype).to(kind).requires_grad_()
        hx = [state.to(dtype).to(kind).requires_grad_() for state in states_of(layer, shape[1])]
        given = {name: n.to(dtype).to(kind).requires_grad_() for name, n in numbers(cell, *shape).items()}
        if kind == F64 and len(found) == 1:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(kernels, "serve", lambda *_: False)
                output, final, states = layer(x, as_given(hx), return_states=True, **given)
        else:
            output, final, states = layer(x, as_given(hx), return_states=True, **given)
        finals = list(final) if isinstance(final, tuple) else [final]
        results = [output, *finals, *states]
        loss = sum((r * random(*r.shape, seed=k, dtype=dtype).to(kind)).sum() for k, r in enumerate(results))
        wanted = [x, *hx, *given.values(), *layer.parameters()]
        found.append([*results, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)])
    return found


@pytest.mark.parametrize(
    "cell", [LSTM, GRU, *(getattr(cells, name) for name in cells.__all__)], ids=lambda c: c.__name__
)
def test_as_eager(cell):
    """H 1 to 40 and more than a block, a row, few and many, one step and several."""
    sizes = [(1, (4, 3)), (2, (1, 1)), (17, (5, 2)), (40, (3, 9)), (31, (30, 1)), (300, (2, 2))]
    for hidden, shape in sizes:
        for found, expected in zip(*compared(cell, hidden, shape, bidirectional=True), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)
    for found, expected in zip(*compared(cell, 24, (20, 5), torch.float32, num_layers=2), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-5 * max(1, expected.abs().max().item()))


class Passing(fastrnn.Cell):
    """The gradient of h is that of a, as it is, which is written where the gradient of h before the step goes."""

    gates = "a"
    vectors = "u"

    def step(a, h, u):
        return a + u * h


class Delayed(fastrnn.Cell):
    """States that move on as they are, and one that the gradient reads as it was before the step."""

    gates = "a b"
    state = "h c d"

    def step(a, b, h, c, d):
        return a * c + b, h, c


@pytest.mark.parametrize("cell", [Passing, Delayed], ids=lambda c: c.__name__)
def test_numbers_that_pass_as_they_are(cell):
    for hidden, shape in ((5, (4, 3)), (300, (3, 2))):
        for found, expected in zip(*compared(cell, hidden, shape, bidirectional=True), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def everything(cell, hidden, shape, sizes=None):
    """All that a layer computes, forward and backward, in both directions."""
    layer = of(cell, 3, hidden, dtype=torch.float32, bidirectional=True)
    x = random(*shape, 3, dtype=torch.float32).requires_grad_()
    numbers = [random(*shape, 1, seed=5, dtype=torch.float32).abs().requires_grad_() for _ in cell.declaration.per_step]
    weights, given = layer._weights()[0], eager.Steps(x, tuple(numbers), sizes)
    every, last = kernels.layer(layer._kernel, given, [None] * len(cell.declaration.states), weights, True)
    results = [*every, *last]
    loss = sum((r * random(*r.shape, seed=k, dtype=torch.float32)).sum() for k, r in enumerate(results))
    return [*results, *torch.autograd.grad(loss, [x, *numbers, *layer.parameters()])]


@pytest.mark.parametrize(
    "cell",
    [cells.SLSTM, cells.LTC, cells.MGU, cells.Peephole, cells.LayerNormLSTM, cells.TextbookGRU],
    ids=lambda c: c.__name__,
)
def test_the_same_bits_for_any_threads(cell):
    before = torch.get_num_threads()
    sizes = torch.tensor([17, 17, 9, 9, 8, 2, 1])
    try:
        # By rows, and by units of a few rows.
        for case in ((21, (12, 17)), (21, (int(sizes.sum()),), sizes), (150, (9, 1)), (70, (80, 3))):
            found = []
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                found.append(everything(cell, *case))
            for other in found[1:]:
                assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


class Centered(fastrnn.Cell):
    """Means in the step and in its gradient, whose threads share units and rows in turns."""

    gates = "a b"
    state = "h c"
    vectors = "u"
    per_step = "dt"

    def step(a, b, c, u, dt):
        c = c - c.mean(-1, keepdim=True) + dt * cells.layer_norm(a)
        return tanh(u * c + b), c


class CenteredAlone(Centered):
    input_gates = "a b"
    recurrent_gates = ""

    def step(a, b, c, u, dt):
        return Centered.step(a, b, c, u, dt)


@pytest.mark.parametrize("cell", [Centered, CenteredAlone], ids=lambda c: c.__name__)
def test_means_of_few_rows(cell, monkeypatch):
    before, serve = torch.get_num_threads(), kernels.serve
    layer = of(cell, 5, 300, bidirectional=True)
    try:
        for batch in (1, 3, 9):
            found = []
            for threads in (1, 2, 8, None):  # None: the eager loop
                torch.set_num_threads(threads or 1)
                monkeypatch.setattr(kernels, "serve", serve if threads else lambda *_: False)
                x, dt = (random(11, batch, n, seed=n).requires_grad_() for n in (5, 1))
                resets = torch.arange(11 * batch).view(11, batch) % 4 == 3
                output, (h, c), states = layer(x, dt=dt, resets=resets, return_states=True)
                loss = sum((r * random(*r.shape, seed=k)).sum() for k, r in enumerate([output, h, c, states.c]))
                found.append([output, h, c, states.c, *torch.autograd.grad(loss, [x, dt, *layer.parameters()])])
            for other in found[1:3]:
                assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
            torch.testing.assert_close(found[0], found[3], rtol=1e-10, atol=1e-11)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_instruction_sets(isa):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = """
from fastrnn import _C, cells
from tests.cells.test_kernels import test_as_eager
for cell in (cells.SLSTM, cells.LTC, cells.MGU, cells.LayerNormLSTM, cells.TextbookGRU):
    test_as_eager(cell)
print(_C.instruction_set())
"""
    assert isa in printed(program, isa, PYTHONPATH=paths)


def test_infinite_and_nan_states():
    """A row that is not finite leaves its neighbours alone."""
    layer, x = of(cells.SLSTM, 3, 5), random(6, 4, 3)
    expected = layer(x)[0]
    x[2, 1] = torch.nan
    output = layer(x)[0]
    assert torch.isnan(output[2:, 1]).all()
    assert torch.equal(output[:, [0, 2, 3]], expected[:, [0, 2, 3]])
    assert torch.equal(output[:2, 1], expected[:2, 1])


@pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")  # torch's, of forward mode
def test_where_the_eager_loop_runs(monkeypatch):
    """Tracers, transforms and forward mode never reach the kernels, and give the same."""
    layer, x = of(LSTM, 3, 5), random(4, 2, 3)
    expected = layer(x)[0]
    reached = []
    run = kernels.layer
    monkeypatch.setattr(kernels, "layer", lambda *given: reached.append(1) or run(*given))
    each = torch.func.vmap(lambda row: layer(row)[0], in_dims=1, out_dims=1)(x)
    torch.testing.assert_close(each, expected)
    _, tangent = torch.func.jvp(lambda x: layer(x)[0], (x,), (torch.ones_like(x),))
    step = 1e-6
    difference = (layer(x + step)[0] - layer(x - step)[0]) / (2 * step)
    torch.testing.assert_close(tangent, difference, rtol=1e-6, atol=1e-8)
    assert len(reached) == 2  # the two of the difference
    with torch.device("meta"):
        assert fastrnn.layer(LSTM)(3, 5)(torch.empty(4, 2, 3))[0].shape == (4, 2, 5)


def test_nothing_is_saved_without_gradients():
    layer, x = of(cells.SLSTM, 3, 5), random(4, 2, 3)
    with torch.no_grad():
        assert not layer(x)[0].requires_grad
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    assert not layer(x)[0].requires_grad
    output = layer(x.requires_grad_())[0]
    output.sum().backward()
    assert x.grad.abs().sum() > 0
