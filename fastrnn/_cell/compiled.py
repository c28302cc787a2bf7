"""A cell with compile=True: the machine's compiler compiles its step when it first runs in a dtype (docs/adr/0043)."""

from __future__ import annotations

import torch

from fastrnn._cell import compiler, emit, operators
from fastrnn._cell.kernels import Kernel
from fastrnn._core.extension import _C


class CompiledKernel(Kernel):
    """A cell whose programs a library runs, or the interpreter where there can be none: with the same bits.

    Its text says that it may be compiled, so that the operators tell it from the interpreted cell.
    """

    def __init__(self, interpreted: Kernel) -> None:
        self.cell, self.made, self.program = interpreted.cell, interpreted.made, interpreted.program
        self._prepared: set[torch.dtype] = set()
        if self.program is not None:
            self.program += "\ncompiled 1"
            operators.declare(self.program, self)

    def prepare(self, dtype: torch.dtype) -> None:
        if dtype in self._prepared or self.program is None:
            return
        if emit.possible(self.made):
            library = compiler.library(emit.header(compiler.NAME, self.cell, self.made), dtype)
            if library is not None:
                _C.use_library(self.program, library)
        self._prepared.add(dtype)  # also where it failed, which is not tried again
