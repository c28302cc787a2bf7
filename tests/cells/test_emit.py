"""Emitted C++: the text of a cell, and what it computes, compiled, against the interpreter."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import sigmoid

import fastrnn
from fastrnn import _C, cells
from fastrnn._cell import compiler, emit, headers
from fastrnn._cell.bytecode import emit as instructions
from fastrnn._cell.graph import Graph
from fastrnn._cell.programs import programs
from tests.support import compiled

CELLS = [cell for cell in map(vars(cells).get, cells.__all__) if emit.possible(programs(cell.declaration))]
PROGRAMS = ("inference", "forward", "backward")


def test_the_text_of_a_cell():
    class Leaky(fastrnn.Cell):
        gates = "a"
        vectors = "ü"

        def step(a, h, ü):
            return torch.where(a > 0, sigmoid(a) * h + ü, -0.1)

    declared = Leaky.declaration
    text = emit.header("Leaky", declared, programs(declared))
    assert (
        """
struct Leaky {
  // in: a, h, ?
  // out: h
  struct Inference {
    static constexpr int inputs = 3, outputs = 1;
    template <class V>
    FASTRNN_CELL void step(const V* in, V* out) {
      const V v0 = less(constant_of<V>(0.0), in[0]);
      const V v1 = sigmoid(in[0]);
      const V v2 = multiply_add(in[1], v1, in[2]);
      const V v3 = where(v0, v2, constant_of<V>(-0.1));
      out[0] = v3;
    }
  };
"""
        in text
    )
    assert text.isascii()


def test_the_headers_that_are_installed_are_those_that_are_included():
    waiting, found = [name for name in headers.HEADERS if name.startswith("cpu/for_")], set()
    waiting.append("cpu/compiled_cell.h")
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            file = headers.folder() / name
            for included in re.findall(r'^#include "(.*)"', file.read_text(), re.MULTILINE):
                waiting.append((file.parent / included).resolve().relative_to(headers.folder().resolve()).as_posix())
    assert sorted(found) == sorted(headers.HEADERS)


def test_means_are_left_to_the_interpreter():
    assert {*cells.__all__} - {cell.__name__ for cell in CELLS} == {"LayerNormLSTM"}


@compiled.needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_published_cells_have_the_bits_of_the_interpreter(dtype, compiled_cells):
    for cell in CELLS:
        made = programs(cell.declaration)
        library = compiled_cells(cell, dtype)
        for name in PROGRAMS:
            compiled.assert_same_bits(getattr(made, name), getattr(library, name), dtype)


@compiled.needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_random_programs_have_the_bits_of_the_interpreter(dtype):
    steps = [emit.Step(name.capitalize(), *random_program(seed)) for seed, name in enumerate(PROGRAMS)]
    library = compiler.loaded(compiler.unit(emit.of_steps(compiler.NAME, *steps), dtype))
    for step, name in zip(steps, PROGRAMS, strict=True):
        compiled.assert_same_bits(step.code, getattr(library, name), dtype)


def random_program(seed, nodes=45):
    """Every operation at least once, on numbers that may be anything. Its outputs are all that nothing else uses."""
    random, g = np.random.default_rng(seed), Graph()
    inputs = [g.input("gate", name) for name in "abcdef"]
    numbers, truths = [*inputs, g.constant(0.75), g.constant(-np.inf)], [g.node("lt", *inputs[:2])]
    unary = [
        *("neg", "exp", "log", "log1p", "sqrt", "abs", "sign", "sigmoid", "tanh", "relu", "softplus", "logsigmoid"),
        *("normal_cdf", "normal_density", "sin", "cos", "power", "clamp"),
    ]
    binary = ["add", "sub", "mul", "div", "maximum", "minimum", "add", "sub", "mul", "mul", "where"]
    conditions = ["lt", "le", "eq", "and", "or", "not"]
    order = [*unary, *binary, *conditions]
    order += [order[i] for i in random.integers(len(order), size=nodes - len(order))]
    for op in random.permutation(order):
        x, y = (numbers[-1 - int(i)] for i in np.minimum(random.geometric(0.2, 2), len(numbers)) - 1)
        p, q = (truths[int(i)] for i in random.integers(len(truths), size=2))
        if op in unary:
            value = {"power": int(random.integers(-8, 9)) or 2, "clamp": (-1.0, float(random.uniform(0, 2)))}.get(op)
            numbers.append(g.node(str(op), x, value=value))
        elif op == "where":
            numbers.append(g.node("where", p, x, y))
        elif op in binary:
            numbers.append(g.node(str(op), x, y))
        else:
            truths.append(g.node(str(op), *{"not": (p,), "and": (p, q), "or": (p, q)}.get(str(op), (x, y))))
    numbers += [g.where(t, inputs[0], inputs[1]) for t in truths[-3:]]
    used = {a for n in (*numbers, *truths) for a in n.args}
    outputs = [n for n in dict.fromkeys(numbers) if n not in used and n.op not in ("input", "constant")]
    return instructions(inputs, outputs), list("abcdef"), [f"out_{k}" for k in range(len(outputs))]


@compiled.needs_compiler
def test_a_library_is_of_one_cell_and_version(compiled_cells, tmp_path):
    library = compiled_cells(cells.MGU, torch.float32)
    other = _C.Program(*programs(cells.LTC.declaration).inference)
    inputs = {name: getattr(programs(cells.MGU.declaration), name).inputs for name in PROGRAMS}
    for name in PROGRAMS:
        with pytest.raises(ValueError, match=f"of another cell: its program has {inputs[name]} inputs"):
            getattr(library, name)(other)
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        _C.CellLibrary(str(tmp_path / "none.so"))
    libc = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libc.so" in line)
    with pytest.raises(RuntimeError, match="is no compiled cell"):
        _C.CellLibrary(libc)
    source = compiler.unit(
        emit.header(compiler.NAME, cells.MGU.declaration, programs(cells.MGU.declaration)), torch.float32
    )
    (tmp_path / "old.so").write_bytes(
        compiler.compiled(
            source.replace("return &cell;", "static fastrnn::CompiledCell old = cell; old.version = 0; return &old;"),
            compiler.find_compiler(),
        )
    )
    with pytest.raises(RuntimeError, match="of version 0, and this is version 1"):
        _C.CellLibrary(str(tmp_path / "old.so"))
