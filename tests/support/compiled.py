"""Compiled cells in tests: a cache of their own, and the interpreter's bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastrnn import _C, cells
from fastrnn._cell import bytecode, compiler, emit
from fastrnn._cell.bytecode import Code
from fastrnn._cell.graph import Graph
from fastrnn._cell.programs import programs

try:
    compiler.find_compiler()
    HERE = True
except compiler.NotCompiled:
    HERE = False
needs_compiler = pytest.mark.skipif(not HERE, reason="there is no C++ compiler")
PROGRAMS = ("inference", "forward", "backward")
SPECIAL = (0.0, -0.0, 1.0, -1.0, 20.0, 1e-40, -1e-40, 1e4, -1e4, np.inf, -np.inf, np.nan)


def library(cell, dtype: torch.dtype):
    """The library of a class of cells."""
    declared = cell.declaration
    return compiler.loaded(compiler.unit(emit.header(compiler.NAME, declared, programs(declared)), dtype))


def assert_same_bits(code: Code, of_library, dtype: torch.dtype) -> None:
    """On rows of every length up to two registers, of usual numbers and of those that are not."""
    kind = {torch.float32: np.float32, torch.float64: np.float64}[dtype]
    random = np.random.default_rng(0)
    program = _C.Program(*code)
    compiled = of_library(program)
    run = "run_float" if kind is np.float32 else "run_double"
    for n in (*range(1, 41), 300, 517):
        rows = [random.normal(size=n).astype(kind) for _ in range(code.inputs)]
        if n == 517:
            rows = [random.choice(SPECIAL, n).astype(kind) for _ in rows]
        for found, expected in zip(getattr(compiled, run)(rows), getattr(program, run)(rows), strict=True):
            numbers = expected == expected
            np.testing.assert_array_equal(found, expected)
            np.testing.assert_array_equal(np.signbit(found[numbers]), np.signbit(expected[numbers]))


def check_cells() -> None:
    """Two cells, which have most of the functions between them, and random programs, on this instruction set."""
    for dtype in (torch.float32, torch.float64):
        check_random_programs(dtype)
    for cell in (cells.SLSTM, cells.LiGRU):
        for name in PROGRAMS:
            made = programs(cell.declaration)
            assert_same_bits(getattr(made, name), getattr(library(cell, torch.float32), name), torch.float32)


def check_random_programs(dtype: torch.dtype) -> None:
    steps = [emit.Step(name.capitalize(), *random_program(seed)) for seed, name in enumerate(PROGRAMS)]
    made = compiler.loaded(compiler.unit(emit.of_steps(compiler.NAME, *steps), dtype))
    for step, name in zip(steps, PROGRAMS, strict=True):
        assert_same_bits(step.code, getattr(made, name), dtype)


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
    return bytecode.emit(inputs, outputs), list("abcdef"), [f"out_{k}" for k in range(len(outputs))]
