"""Products inside a step, u(x) of matrices = "u": any step with them, on the kernels as in the eager loop."""

import copy
import os
import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import sigmoid, tanh

import fastrnn
from fastrnn import cells
from fastrnn._cell import kernels
from tests.support.instruction_sets import printed
from tests.support.user_cells import F64, as_given, numbers, of, random, states_of

ROOT = Path(__file__).parents[2]


class Chained(fastrnn.Cell):
    """Products of products, with the same matrix twice, and of a state and a vector as they are."""

    gates = "a b"
    state = "h c"
    vectors = "v"
    per_step = "dt"
    matrices = "u w"

    def step(a, b, h, c, v, dt, u, w):
        c = tanh(a + dt * u(sigmoid(b) * w(c)) + u(v))
        return tanh(b + w(h)) * c, c


class WithMeans(fastrnn.Cell):
    """Means before a product, of it, and of what is beyond it; the gradient of a product is one number for a row."""

    input_gates = "a b"
    recurrent_gates = "b"
    matrices = "u w p"

    def step(a, b, h, u, w, p):
        x = u(cells.layer_norm(a))
        y = tanh(w(x - x.mean(-1, keepdim=True) + h))
        return tanh(b + cells.layer_norm(y)) + p(a * h).mean(-1, keepdim=True)


class WithoutRecurrentGates(fastrnn.Cell):
    """The only matrix of the state is in the step. Its product is the output, whose gradient comes as it is."""

    input_gates = "a"
    recurrent_gates = ""
    matrices = "u"

    def step(a, h, u):
        return u(a - 0.5 * h)


class OnlyChooses(fastrnn.Cell):
    """A matrix without a gradient."""

    gates = "a"
    matrices = "u"

    def step(a, h, u):
        return torch.where(u(h) > 0, a, 0.5 * tanh(a))


CELLS = [Chained, WithMeans, WithoutRecurrentGates, OnlyChooses]


def everything(layer, shape, dtype, **given):
    """All that a layer computes, and all gradients. The numbers are those of float32, whatever the dtype."""

    def leaf(numbers):
        return numbers.float().to(dtype).requires_grad_()

    x, hx = leaf(random(*shape, layer.input_size)), [leaf(state) for state in states_of(layer, shape[1])]
    per_step = {name: leaf(n) for name, n in numbers(layer.cell, *shape).items()}
    output, final, states = layer(x, as_given(hx), return_states=True, **per_step, **given)
    results = [output, *(final if isinstance(final, tuple) else [final]), *states]
    loss = sum((r * random(*r.shape, seed=k).float().to(dtype)).sum() for k, r in enumerate(results))
    wanted = [x, *hx, *per_step.values(), *layer.parameters()]
    return [*results, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]


def eager(*arguments, **given):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "serve", lambda *_: False)
        return everything(*arguments, **given)


def assert_as_eager(cell, hidden, shape, heads=1, **given):
    layer = of(cell, 3, hidden, bidirectional=True, num_layers=2, heads=heads)
    assert layer._kernel.program is not None
    for found, expected in zip(everything(layer, shape, F64, **given), eager(layer, shape, F64, **given), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_as_eager(cell):
    for hidden, shape in ((1, (4, 3)), (2, (1, 1)), (17, (5, 2)), (40, (3, 9)), (31, (30, 1)), (300, (2, 2))):
        assert_as_eager(cell, hidden, shape)
    lengths, resets = torch.tensor([3, 7, 0, 1, 7]), torch.arange(35).view(7, 5) % 4 == 3
    assert_as_eager(cell, 9, (7, 5), lengths=lengths, resets=resets)
    for hidden, heads in ((32, 2), (20, 20), (21, 3)):
        assert_as_eager(cell, hidden, (5, 3), heads=heads)


@pytest.mark.parametrize("cell", [*CELLS, cells.TextbookGRU], ids=lambda c: c.__name__)
def test_the_same_bits_for_any_threads(cell):
    before = torch.get_num_threads()
    try:
        # By rows, and by units of a few rows, with means by units and rows in turns; several chunks.
        for hidden, shape in ((21, (12, 17)), (150, (9, 1)), (300, (7, 3)), (70, (80, 3))):
            layer, found = of(cell, 3, hidden, dtype=torch.float32), []
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                found.append(everything(layer, shape, torch.float32))
            for other in found[1:]:
                assert all(torch.equal(a, b) for a, b in zip(found[0], other, strict=True))
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_instruction_sets(isa):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = """
from fastrnn import _C
from tests.cells import test_matrices
for cell in test_matrices.CELLS:
    test_matrices.test_as_eager(cell)
print(_C.instruction_set())
"""
    assert isa in printed(program, isa, PYTHONPATH=paths)


def test_float32():
    layer = of(cells.TextbookGRU, 24, 40, dtype=torch.float32)
    wide = copy.deepcopy(layer).double()
    for found, exact in zip(everything(layer, (30, 5), torch.float32), eager(wide, (30, 5), F64), strict=True):
        scale = exact.abs().max()
        assert (found.double() - exact).abs().max() <= 3e-6 * scale


OPERATIONS = [
    lambda x, y, u, w: u(x), lambda x, y, u, w: w(x) + y, lambda x, y, u, w: u(x * y), lambda x, y, u, w: x + y,
    lambda x, y, u, w: x * y, lambda x, y, u, w: torch.sin(x), lambda x, y, u, w: x - x.mean(-1, keepdim=True),
    lambda x, y, u, w: torch.where(x > y, x, u(y)), lambda x, y, u, w: (x * y).mean(-1, keepdim=True) + y,
]  # fmt: skip


@settings(max_examples=40)
@given(st.data())
def test_random_steps(data):
    """Any expression, also states that are returned as they are, with up to the 8 products that there is room for."""
    draws = data.draw(st.lists(st.tuples(*[st.integers(0, 40)] * 3), max_size=7))
    returned = data.draw(st.lists(st.integers(0, 40), min_size=2, max_size=2))

    def step(a, b, h, c, v, u, w):
        known = [a, b, h, c, v]
        for which, i, j in draws:
            x, y = known[-1 - i % len(known)], known[-1 - j % len(known)]
            known.append(OPERATIONS[which % len(OPERATIONS)](tanh(x), y, u, w))
        first, second = (known[-1 - i % len(known)] for i in returned)
        return tanh(first) + tanh(u(a) + b * v + w(b)), second

    body = {"gates": "a b", "state": "h c", "vectors": "v", "matrices": "u w", "step": step}
    cell = type("Made", (fastrnn.Cell,), body)
    hidden, shape = data.draw(st.sampled_from([(1, (2, 2)), (9, (3, 2)), (70, (2, 4))]))
    layer = of(cell, 3, hidden)
    if layer._kernel.program is None:
        return
    for found, expected in zip(everything(layer, shape, F64), eager(layer, shape, F64), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-10)


def test_parameters_and_copies():
    layer = of(cells.TextbookGRU, 3, 6, num_layers=2, bidirectional=True, heads=2)
    assert [name for name, _ in layer.named_parameters()][:5] == [
        "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0", "u_l0",
    ]  # fmt: skip
    assert layer.u_l1_reverse.shape == (6, 3)
    assert layer.u_l0.abs().max() <= 6**-0.5
    assert layer.u_l0.std() > 0.1
    x = random(6, 4, 3)
    expected = layer(x)[0]
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(copied(x)[0], expected)
    other = of(cells.TextbookGRU, 3, 6, num_layers=2, bidirectional=True, heads=2, seed=4)
    assert not torch.equal(other(x)[0], expected)
    other.load_state_dict(layer.state_dict())
    assert torch.equal(other(x)[0], expected)
    layer.u_l0 = torch.nn.Parameter(random(6, 6))
    with pytest.raises(RuntimeError, match=r"Expected u size \[6, 3\] of 2 heads, got \[6, 6\]"):
        layer(x)


def test_compile_runs_the_interpreter():
    layer = of(cells.TextbookGRU, 3, 5)
    other = of(cells.TextbookGRU, 3, 5, compile=True)
    assert torch.equal(other(random(4, 2, 3))[0], layer(random(4, 2, 3))[0])


@pytest.mark.parametrize(("matrices", "products", "says"), [
    (5, 5, "5 matrices"), (1, 9, "9 products with matrices"), (4, 8, None),
])  # fmt: skip
def test_more_than_there_is_room_for_runs_in_python(matrices, products, says, recwarn):
    names = [f"u{k}" for k in range(matrices)]

    def step(a, h, us):
        for k in range(products):
            h = tanh(a + us[k % matrices](h))
        return h

    namespace = {}
    exec(f"def step(a, h, {', '.join(names)}): return made(a, h, [{', '.join(names)}])", {"made": step}, namespace)
    cell = type("Many", (fastrnn.Cell,), {"gates": "a", "matrices": names, "step": namespace["step"]})
    layer = of(cell, 3, 4)
    assert (layer._kernel.program is None) == (says is not None)
    assert [says in str(w.message) for w in recwarn] == ([True] if says else [])
    for found, expected in zip(everything(layer, (3, 2), F64), eager(layer, (3, 2), F64), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11)
