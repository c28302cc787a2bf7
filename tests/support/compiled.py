"""Compiled cells in tests: a cache of their own, and the interpreter's bits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fastrnn import _C
from fastrnn._cell import compiler, emit
from fastrnn._cell.bytecode import Code
from fastrnn._cell.programs import programs

try:
    compiler.find_compiler()
    HERE = True
except compiler.NotCompiled:
    HERE = False
needs_compiler = pytest.mark.skipif(not HERE, reason="there is no C++ compiler")
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
