"""The cases: every cell in every dtype, with awkward sizes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch

from fastrnn._choices import chosen
from fastrnn._core.cells import CELLS

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


@dataclass(frozen=True)
class Shape:
    """T steps, B rows, I inputs, H hidden units; `ragged` rows differ in length and are packed."""

    T: int
    B: int
    I: int
    H: int
    num_layers: int = 1
    bidirectional: bool = False
    ragged: bool = False


# Together they have one and many of everything, sizes that no vector width divides, and sizes just above a block.
SHAPES = (
    Shape(1, 1, 16, 16),
    Shape(1, 33, 129, 17, num_layers=2),
    Shape(2, 33, 3, 17, num_layers=2, bidirectional=True),
    Shape(2, 5, 1, 16, bidirectional=True),
    Shape(5, 1, 17, 33),
    Shape(5, 33, 17, 3),
    Shape(9, 33, 16, 1),
    Shape(151, 5, 16, 17),
    Shape(20, 33, 129, 129),
    Shape(33, 5, 64, 32, bidirectional=True, ragged=True),
    Shape(151, 33, 3, 17, ragged=True),
    Shape(12, 5, 17, 129, num_layers=3, bidirectional=True, ragged=True),
)
# The error of a few numbers is luck, for torch as for fastrnn (docs/adr/0003). So at least this many numbers of the
# smallest tensor are compared, and layers with 1 or 3 hidden units get many rows.
NUMBERS = 64
DRAWS = 4  # at least
QUICK = (SHAPES[2], SHAPES[8], SHAPES[9])


@dataclass(frozen=True)
class Case:
    """One layer to verify; `proj_size` as in torch.nn.LSTM, 0 for none; `tf32` whether float32 may become TF32."""

    cell: str
    dtype: torch.dtype
    shape: Shape
    proj_size: int = 0
    tf32: bool = False

    @property
    def name(self) -> str:
        return f"{self.cell}, projected" if self.proj_size else self.cell

    @property
    def precision(self) -> str:
        """The dtype's name, or "tf32"."""
        return "tf32" if self.tf32 else str(self.dtype).removeprefix("torch.")

    @property
    def draws(self) -> int:
        """How many random problems are solved: more where a final state or a bias has few numbers."""
        shape = self.shape
        states = shape.B * shape.num_layers * (2 if shape.bidirectional else 1) * (self.proj_size or shape.H)
        return max(DRAWS, math.ceil(NUMBERS / min(states, shape.H)))

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the constructor that torch.nn knows too."""
        shape = self.shape
        options = {
            "input_size": shape.I,
            "hidden_size": shape.H,
            "num_layers": shape.num_layers,
            "bidirectional": shape.bidirectional,
            "dtype": self.dtype,
        }
        return options | ({"proj_size": self.proj_size} if self.proj_size else {})


def all_cases(
    cells: Sequence[str] = tuple(CELLS), dtypes: Sequence[torch.dtype] = DTYPES, quick: bool = False, tf32: bool = False
) -> list[Case]:
    """Lists the cases, cell by cell; the LSTM also with a projection to about half its size.

    With `tf32` every float32 case comes a second time, with TF32 allowed.
    """
    found = []
    for cell in cells:
        for projected in (False, True) if CELLS[cell].projectable else (False,):
            for dtype, allowed in product(dtypes, (False, True) if tf32 else (False,)):
                if allowed and dtype != torch.float32:
                    continue
                for shape in QUICK if quick else SHAPES:
                    proj_size = (shape.H + 1) // 2 if projected else 0
                    if proj_size < shape.H:
                        found.append(Case(cell, dtype, shape, proj_size, allowed))
    return found


def parse_cells(text: str) -> list[str]:
    """Reads "gru,lstm"; raises ValueError with the first part that is not a cell."""
    return chosen("a cell", text, CELLS)
