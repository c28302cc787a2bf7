"""Programs of cells, run by the interpreter: functions within bounds, steps and their gradients as autograd's."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import fastrnn
from fastrnn import _C, cells
from fastrnn._cell.bytecode import OPERATIONS, emit
from fastrnn._cell.gradients import gradients
from fastrnn._cell.graph import Graph
from fastrnn._cell.programs import programs
from fastrnn._cell.symbol import Symbol
from tests.support.instruction_sets import printed

F64 = torch.float64
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_functions(isa):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = "from tests.support import programs; programs.check(); print(programs._C.instruction_set())"
    assert isa in printed(program, isa, PYTHONPATH=paths)


def run(code, rows):
    """A program on rows of numbers, each a tensor or an array."""
    rows = [np.ascontiguousarray(row) for row in rows]
    program = _C.Program(*code)
    return (program.run_float if rows[0].dtype == np.float32 else program.run_double)(rows)


def by_programs(cell, values, gradients):
    """New states, and the gradients of the step's arguments, from one row of each."""
    declared = cell.declaration
    made = programs(declared)
    names = list(declared.states)
    order = [*declared.gates, *names, *declared.vectors, *declared.per_step]
    rows = [values[name].numpy() for name in order]
    for old, new in zip(run(made.inference, rows), run(made.forward, rows), strict=False):
        np.testing.assert_array_equal(old, new)
    forward = run(made.forward, rows)
    states, saved = forward[: len(names)], forward[len(names) :]
    saving = made.saving
    backward = [
        *saved,
        *([values[names[0]].numpy()] if saving.reads_h else []),
        *([states[0]] if saving.reads_y else []),
        *(values[name].numpy() for name in saving.states),
        *(states[names.index(name)] for name in saving.states),
        *(values[name].numpy() for name in (*declared.vectors, *declared.per_step)),
        *(d.numpy() for d in gradients),
    ]
    found = run(made.backward, backward)
    of = [*names, *declared.gates, *declared.vectors, *declared.per_step]
    return states, dict(zip(of, found, strict=True))


def by_autograd(cell, values, gradients):
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    declared = cell.declaration
    new = declared.step(**{name: leaves[name] for name in declared.taken})
    new = new if isinstance(new, tuple) else (new,)
    wanted = torch.autograd.grad(new, list(leaves.values()), gradients, allow_unused=True, materialize_grads=True)
    return [state.detach().numpy() for state in new], dict(zip(leaves, (w.numpy() for w in wanted), strict=True))


def assert_as_autograd(cell, n, dtype=F64, seed=0, rtol=1e-11, atol=1e-13):
    generator = torch.Generator().manual_seed(seed)
    declared = cell.declaration
    names = [*declared.gates, *declared.states, *declared.vectors, *declared.per_step]
    values = {name: torch.randn(n, generator=generator, dtype=F64).to(dtype) for name in names}
    for name in ("n", "dt"):  # what a step divides by
        if name in values and name not in declared.gates:
            values[name] = values[name].abs() + 0.5
    gradients = [torch.randn(n, generator=generator, dtype=F64).to(dtype) for _ in declared.states]
    states, found = by_programs(cell, values, gradients)
    wide = {name: value.double() for name, value in values.items()}
    expected, wanted = by_autograd(cell, wide, [d.double() for d in gradients])
    for state, exact in zip(states, expected, strict=True):
        np.testing.assert_allclose(state, exact, rtol=rtol, atol=atol)
    for name, exact in wanted.items():
        np.testing.assert_allclose(found[name], exact, rtol=rtol, atol=atol, err_msg=name)


ALONE = [cell for name in cells.__all__ if not (cell := getattr(cells, name)).declaration.matrices]


@pytest.mark.parametrize("cell", ALONE, ids=lambda c: c.__name__)
def test_published_cells(cell):
    for n in (1, 5, 16, 255, 256, 257, 700):
        assert_as_autograd(cell, n)
    assert_as_autograd(cell, 600, torch.float32, rtol=2e-5, atol=2e-6)


UNARY = [
    torch.sigmoid, torch.tanh, F.softplus, F.logsigmoid, F.silu, F.gelu, torch.sin, torch.cos, torch.relu, torch.abs,
    torch.square, lambda x: torch.exp(torch.clamp(x, -3, 3)), lambda x: torch.log(x * x + 0.5),
    lambda x: torch.log1p(torch.abs(x)), lambda x: torch.sqrt(x * x + 1), lambda x: -x, lambda x: 2 - x,
    lambda x: x / 3, lambda x: 1 / (x * x + 1), lambda x: torch.tanh(x) ** 3, lambda x: (x * x + 1) ** -2,
    lambda x: torch.clamp(x, max=0.5), lambda x: torch.full_like(x, 2.0) * x, lambda x: torch.minimum(x, 0.25 * x),
    lambda x: x.mean(-1, keepdim=True), lambda x: cells.layer_norm(x), lambda x: x - torch.mean(x, -1, keepdim=True),
]  # fmt: skip
BINARY = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / (y * y + 1), torch.maximum,
    torch.minimum, lambda x, y: torch.where(x > y, x, y * 2), lambda x, y: torch.where((x < 1) & ~(y < 0), x * y, 0.5),
    lambda x, y: torch.where((x >= y) | (x == 0), 1.5, y), lambda x, y: x * y + x, lambda x, y: x - y * y,
]  # fmt: skip


@given(st.data())
def test_random_steps(data):
    """Any expression, with any number of states, against torch.autograd in float64."""
    states = ["h", "c", "m"][: data.draw(st.integers(1, 3))]
    names = ["a", "b", *states, "u", "dt"]
    draws = data.draw(
        st.lists(
            st.tuples(st.booleans(), st.integers(0, len(UNARY) - 1), st.integers(0, 40), st.integers(0, 40)),
            max_size=14,
        )
    )
    returned = data.draw(st.lists(st.integers(0, 40), min_size=3, max_size=3))

    def step(a, b, h, u, dt, c=None, m=None):
        known = [x for x in (a, b, h, u, dt, c, m) if x is not None]
        for unary, which, i, j in draws:
            x, y = known[-1 - i % len(known)], known[-1 - j % len(known)]
            new = UNARY[which](x) if unary else BINARY[which % len(BINARY)](x, y)
            known.append(torch.tanh(new))  # so that nothing grows without end
        used = torch.tanh(a + b * u) + dt  # what is declared must be used
        return tuple(known[-1 - i % len(known)] * 0.7 + used for i in returned[: len(states)])

    body = {"gates": "a b", "state": " ".join(states), "vectors": "u", "per_step": "dt"}
    namespace = {}
    arguments = ", ".join(names)
    exec(f"def step({arguments}): return made({', '.join(f'{n}={n}' for n in names)})", {"made": step}, namespace)
    cell = type("Made", (fastrnn.Cell,), body | {"step": namespace["step"]})
    assert_as_autograd(cell, data.draw(st.sampled_from([1, 7, 300])), rtol=1e-9, atol=1e-11)


def test_where_torch_has_none_or_half():
    """Ties, infinity and NaN through a whole step: as autograd."""

    class Edges(fastrnn.Cell):
        gates = "a b"

        def step(a, b, h):
            return torch.maximum(a, b) + torch.relu(h) * torch.clamp(a, -1, 1) + torch.abs(b)

    special = torch.tensor([0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan], dtype=F64)
    a, b, h = (x.flatten().contiguous() for x in torch.meshgrid(special, special, special, indexing="ij"))
    values, d = {"a": a, "b": b, "h": h}, [torch.full_like(a, 1.5)]
    (state,), found = by_programs(Edges, values, d)
    (expected,), wanted = by_autograd(Edges, values, d)
    np.testing.assert_array_equal(state, expected)
    for name, exact in wanted.items():
        np.testing.assert_array_equal(found[name], exact, err_msg=name)


def test_states_that_change_places():
    """New states but h lie where the old ones were: none is overwritten before it is read."""

    class Swapped(fastrnn.Cell):
        gates = "a"
        state = "h c m"

        def step(a, h, c, m):
            return c, m, h + a

    declared = Swapped.declaration
    code = programs(declared).inference
    first_output = code.inputs
    shared = [i for i in code.instructions if i[1] in (first_output + 1, first_output + 2)]
    assert code.instructions[-2:] == shared  # after everything was read
    for operation, _, place, *_ in shared:
        assert OPERATIONS[operation] == "copy"
        assert place >= first_output + 3  # of a temporary
    assert_as_autograd(Swapped, 9)


def test_temporaries_are_used_again():
    g = Graph()
    a = x = g.input("gate", "a")
    for _ in range(50):
        x = g.node("tanh", x)
    code = emit([a], [x])
    assert code.temporaries <= 2
    assert len(code.instructions) == 50


def test_products_are_joined_with_sums():
    g = Graph()
    a, b, c = (g.input("gate", name) for name in "abc")
    for wanted, node in (
        ("multiply_add", g.add(g.mul(a, b), c)),
        ("multiply_sub", g.sub(g.mul(a, b), c)),
        ("sub_multiplied", g.sub(c, g.mul(a, b))),
    ):
        code = emit([a, b, c], [node])
        assert [OPERATIONS[i[0]] for i in code.instructions] == [wanted]
    product = g.mul(a, b)
    code = emit([a, b, c], [g.add(product, c), product])
    assert [OPERATIONS[i[0]] for i in code.instructions] == ["mul", "add"]


@pytest.mark.parametrize("offset", [0, 1, 100])
@pytest.mark.parametrize("n", [16, 100, 256, 3000])
def test_norms_are_as_exact_as_torchs(n, offset):
    """Also of rows whose mean is large beside what varies: in float32, value and gradient, root mean square errors.

    To which the mean adds its own rounding: by half a unit in its last place even if its sum were exact.
    """
    g = Graph()
    x, d = g.input("gate", "x"), g.input("gradient", "h")
    y = cells.layer_norm(Symbol(g, x))._node
    code = emit([x, d], [y, *gradients(g, [y], [d], [x])])
    random = np.random.default_rng(0)
    found, theirs = [], []
    for _ in range(20):
        rows = [(offset + random.standard_normal(n)).astype(np.float32), random.standard_normal(n).astype(np.float32)]
        by_torch = []
        for dtype in (torch.float64, torch.float32):
            leaf, d_y = (torch.from_numpy(row).to(dtype) for row in rows)
            y_torch = F.layer_norm(leaf.requires_grad_(), (n,))
            y_torch.backward(d_y)
            by_torch.append(np.stack([y_torch.detach().numpy(), leaf.grad.numpy()]))
        exact, single = by_torch
        np.testing.assert_allclose(run(code, [row.astype(np.float64) for row in rows]), exact, rtol=0, atol=1e-10)
        found.append(np.stack(run(code, rows)) - exact)
        theirs.append(single - exact)
    error, allowed = (np.sqrt(np.mean(np.square(each), axis=(0, 2))) for each in (found, theirs))
    assert (error <= 1.5 * allowed + 0.5 * np.spacing(np.float32(offset))).all(), (error, allowed)


MEAN, MUL, NEG, ADD = (OPERATIONS.index(name) for name in ("mean", "mul", "neg", "add"))
WHERE, MULTIPLY_ADD = OPERATIONS.index("where"), OPERATIONS.index("multiply_add")


@pytest.mark.parametrize(("instructions", "cuts", "says"), [
    ([(MEAN, 2, 0)], [], "writes to place 2"),
    ([(MEAN, 6, 0)], [], "writes to place 6"),
    ([(NEG, 4, 0)], [], "writes to place 4"),
    ([(MEAN, 4, 0), (MUL, 1, 0, 4)], [], "reads place 4, which is not yet written"),
    ([(MUL, 1, 0, 4)], [], "reads place 4, which is not yet written"),
    ([(NEG, 1, 2)], [], "reads place 2, which is not yet written"),
    ([(NEG, 2, 0), (MEAN, 4, 2), (MUL, 1, 2, 4)], [(2, 2)], "reads place 2, which is not yet written"),
    ([(MEAN, 4, 0), (MEAN, 4, 0), (NEG, 1, 0)], [(2, 2)], "a mean writes to place 4"),
    ([(MEAN, 4, 0), (MUL, 1, 0, 4), (MEAN, 4, 0)], [(1, 1)], "a mean writes to place 4"),
    ([(MEAN, 4, 0), (NEG, 1, 4)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (ADD, 1, 4, -1)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (ADD, 1, 4, 4)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (MEAN, 5, 4), (NEG, 1, 0)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (WHERE, 1, 4, 0, 0)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (MULTIPLY_ADD, 1, 4, 0, 0)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (MULTIPLY_ADD, 1, 0, 0, 4)], [(1, 1)], "reads place 4"),
    ([(MEAN, 4, 0), (NEG, 1, 0, 0, 4)], [(1, 1)], "reads place 4"),  # not used, but looked up
    ([(MEAN, 4, 0), (NEG, 1, 4)], [(1, 2)], "of numbers writes to place 1"),
    ([(MEAN, 4, 0), (NEG, 5, 0)], [(1, 2)], "of numbers reads place 0"),
    ([(MEAN, 4, 0), (NEG, 5, -1)], [(1, 2)], "of numbers reads place -1"),
    ([(MEAN, 4, 0), (ADD, 5, -1, -1)], [(1, 2)], "of numbers reads place -1"),
    ([(MEAN, 4, 0), (MEAN, 5, 4)], [(1, 2)], "of numbers writes to place 5"),
    ([(MEAN, 4, 0), (NEG, 4, 5)], [(1, 2)], "reads place 5, which is not yet written"),
    ([(NEG, 1, 0)], [(1, 2)], "of 1 instructions is cut at 1 and 2"),
    ([(NEG, 1, 0)], [(1, 0)], "of 1 instructions is cut at 1 and 0"),
    ([(NEG, 1, 0)], [(1, 1), (0, 1)], "of 1 instructions is cut at 0 and 1"),
    ([(NEG, 2, 0)], [], "output 0 is not written"),
])  # fmt: skip
def test_a_wrong_program_with_means_is_refused(instructions, cuts, says):
    """Of an input, an output, a temporary, a row and two numbers: places 0 to 5."""
    padded = [(*i, *[0] * (5 - len(i)), 0.0, 0.0) for i in instructions]
    with pytest.raises(ValueError, match=says):
        _C.Program(padded, 1, 1, 1, 1, 2, cuts)


PRODUCT = OPERATIONS.index("matrix_product")


@pytest.mark.parametrize(("instructions", "cuts", "says"), [
    ([(NEG, 3, 0), (PRODUCT, 4, 3), (NEG, 1, 4)], [], "is not the last before a cut"),
    ([(NEG, 3, 0), (PRODUCT, 4, 3), (NEG, 1, 4)], [(2, 2)], "is not the last before a cut"),
    ([(NEG, 3, 0), (MEAN, 5, 0), (PRODUCT, 4, 3), (NEG, 6, 5), (NEG, 1, 4)], [(2, 4)], "of numbers reads place 3"),
    ([(NEG, 3, 0), (PRODUCT, 1, 3)], [(1, 2)], "of place 1, which is no row"),
    ([(NEG, 3, 0), (PRODUCT, 5, 3), (NEG, 1, 0)], [(1, 2)], "of place 5, which is no row"),
    ([(NEG, 3, 0), (PRODUCT, 9, 3), (NEG, 1, 0)], [(1, 2)], "of place 9, which is no row"),
    ([(PRODUCT, 4, 0), (NEG, 1, 4)], [(0, 1)], "of place 0, which is no row"),
    ([(NEG, 2, 0), (PRODUCT, 4, 2), (NEG, 1, 4)], [(1, 2)], "of place 2, which is no row"),
    ([(PRODUCT, 4, 3), (NEG, 1, 4)], [(0, 1)], "reads place 3, which is not yet written"),
    ([(NEG, 3, 0), (PRODUCT, 4, 3), (PRODUCT, 3, 4), (NEG, 1, 3)], [(1, 3)], "reads place 4, which is not yet"),
    ([(NEG, 3, 0), (PRODUCT, 3, 3), (NEG, 1, 3)], [(1, 2)], "writes to what it reads"),
    ([(NEG, 3, 0), (PRODUCT, 4, 3, 0, 0, 4), (NEG, 1, 4)], [(1, 2)], "has 4 matrices at most"),
    ([(NEG, 3, 0), (PRODUCT, 4, 3, 0, 0, 0.5), (NEG, 1, 4)], [(1, 2)], "has 4 matrices at most"),
    ([(NEG, 3, 0), (PRODUCT, 4, 3, 0, 0, float("nan")), (NEG, 1, 4)], [(1, 2)], "has 4 matrices at most"),
])  # fmt: skip
def test_a_wrong_program_with_products_is_refused(instructions, cuts, says):
    """Of an input, an output, a temporary, two rows and two numbers: places 0 to 6. A right one runs in a loop."""
    padded = [(*i, *[0.0 if at > 4 else 0 for at in range(len(i), 7)]) for i in instructions]
    with pytest.raises(ValueError, match=says):
        _C.Program(padded, 1, 1, 1, 2, 2, cuts)
    right = [(NEG, 3, 0, 0, 0, 0.0, 0.0), (PRODUCT, 4, 3, 0, 0, 3.0, 0.0), (NEG, 1, 4, 0, 0, 0.0, 0.0)]
    program = _C.Program(right, 1, 1, 1, 2, 2, [(1, 2)])
    with pytest.raises(ValueError, match="runs in the loop of a cell alone"):
        program.run_double([np.zeros(3)])


def test_a_row_and_a_number_are_read_beyond_a_cut():
    """x - sqrt(mean x), on more than a block: both kinds of scratch."""
    code = [(NEG, 3, 0), (MEAN, 4, 0), (OPERATIONS.index("sqrt"), 5, 4), (ADD, 1, 3, 5)]
    program = _C.Program([(*i, *[0] * (5 - len(i)), 0.0, 0.0) for i in code], 1, 1, 1, 1, 2, [(2, 3)])
    x = np.linspace(1, 2, 700)
    np.testing.assert_allclose(program.run_double([x])[0], np.sqrt(x.mean()) - x, rtol=1e-14)


def test_numbers_are_computed_once_a_row():
    """Of a norm: two cuts, and no square root or quotient of units."""
    g = Graph()
    x = Symbol(g, g.input("gate", "x"))
    code = emit([x._node], [cells.layer_norm(x)._node])
    assert len(code.cuts) == 2
    units = [i for start, end in zip((0, *(c[1] for c in code.cuts)), (*(c[0] for c in code.cuts), None), strict=True)
             for i in code.instructions[start:end]]  # fmt: skip
    assert [OPERATIONS[i[0]] for i in units] == ["mean", "sub", "mean_of_product", "mul"]
    assert code.temporaries == 0
    assert code.rows == 1


@pytest.mark.parametrize(("instruction", "says"), [
    ((99, 1, 0, 0, 0), "no operation 99"),
    ((-1, 1, 0, 0, 0), "no operation -1"),
    ((1, 0, 0, 0, 0), "writes to place 0"),
    ((1, 3, 0, 0, 0), "writes to place 3"),
    ((1, 1, 3, 0, 0), "reads place 3"),
    ((1, 1, -1, 0, 0), "reads place -1"),
    ((OPERATIONS.index("add"), 1, -1, -1, 0), "reads place -1"),
    ((OPERATIONS.index("add"), 1, -2, 0, 0), "reads place -2"),
    ((OPERATIONS.index("where"), 1, -1, 0, 0), "reads place -1"),
    ((OPERATIONS.index("multiply_add"), 1, 0, 0, -1), "reads place -1"),
    ((OPERATIONS.index("multiply_add"), 1, 0, 0, 9), "reads place 9"),
])  # fmt: skip
def test_a_wrong_program_is_refused(instruction, says):
    with pytest.raises(ValueError, match=says):
        _C.Program([(*instruction, 0.0, 0.0)], 1, 1, 1)


def test_wrong_rows_are_refused():
    program = _C.Program([(1, 1, 0, 0, 0, 0.0, 0.0)], 1, 1, 0)
    with pytest.raises(ValueError, match="1 inputs, got 2"):
        program.run_double([np.zeros(3), np.zeros(3)])
    with pytest.raises(ValueError, match="0 to 256 places"):
        _C.Program([], 200, 57, 0)
