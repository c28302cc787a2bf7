"""The unit of the benchmark: a recurrent network of one cell and shape, on some threads or on a GPU."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, NamedTuple

from fastrnn._choices import chosen

if TYPE_CHECKING:
    from fastrnn._core.cells import Cell

LAYERS = ("RNN", "GRU", "LSTM")  # classes of torch.nn, of fastrnn and of every peer, each with its default options
MODES = ("infer", "train")
# By device; on the CPU the first is the default, on CUDA all are, in this order. tf32 is float32 with TF32 allowed,
# int8 are weights at inference.
DTYPES = {
    "cpu": ("float32", "bfloat16", "float64", "int8"),
    "cuda": ("float16", "tf32", "bfloat16", "float32", "float64"),
}
BYTES = {"int8": 1, "bfloat16": 2, "float16": 2, "float32": 4, "tf32": 4, "float64": 8}


class Shape(NamedTuple):
    """Time steps, batch, input size, hidden size."""

    T: int
    B: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"{self.T}x{self.B}x{self.I}x{self.H}"


# From one step of a small layer, which is all overhead, to a layer whose weights exceed any cache.
GRID = tuple(
    Shape(*sizes)
    for sizes in (
        (1, 1, 64, 64),
        (1, 1, 256, 256),
        (1, 32, 128, 128),
        (100, 1, 64, 64),
        (100, 1, 128, 128),
        (100, 1, 256, 256),
        (100, 1, 512, 512),
        (128, 8, 128, 128),
        (35, 20, 200, 200),
        (128, 32, 128, 128),
        (64, 128, 256, 256),
        (128, 32, 512, 512),
        (32, 64, 1024, 1024),
    )
)


class Work(NamedTuple):
    """What every contender does: by default one layer, one direction, padded, float32.

    The mode is "infer" (time of a forward pass), "train" (time of a training step) or "memory" (bytes of a training
    step). On CUDA the threads are 0, since the CPU's threads only launch kernels.
    """

    mode: str
    cell: str
    threads: int
    shape: Shape
    num_layers: int = 1
    bidirectional: bool = False
    packed: bool = False
    dtype: str = "float32"
    recompute: bool = False
    device: str = "cpu"

    def __str__(self) -> str:
        where = f" on {self.threads} thread{'s' * (self.threads > 1)}" if self.threads else ""
        what = f"{self.mode} {self.cell} {self.shape}{where}"
        return ", ".join(part for part in (what, self.kind) if part)

    @property
    def kind(self) -> str:
        """Names everything that is not the default, as in "3 layers, packed", and on CUDA the dtype."""
        names = {
            "CUDA": self.device == "cuda",
            f"{self.num_layers} layers": self.num_layers > 1,
            "bidirectional": self.bidirectional,
            "packed": self.packed,
            self.dtype: self.dtype != "float32" or self.device == "cuda",
            "recompute": self.recompute,
        }
        return ", ".join(name for name, holds in names.items() if holds)

    @property
    def directions(self) -> int:
        return 1 + self.bidirectional

    @property
    def gates(self) -> int:
        """Blocks of H rows in a weight."""
        return described(self.cell).gates

    @property
    def lengths(self) -> list[int]:
        """The steps of each row of the batch: T, or when packed 1 to T, drawn with a fixed seed."""
        T, B, _, _ = self.shape
        draw = random.Random(0)
        return [draw.randint(1, T) if self.packed else T for _ in range(B)]

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products; the backward pass has twice those of the forward pass."""
        forward = 2 * sum(self.lengths) * self.weights
        return forward if self.mode == "infer" else 3 * forward

    @property
    def weights(self) -> int:
        """Numbers in all weight matrices."""
        _, _, I, H = self.shape
        inputs = I + (self.num_layers - 1) * self.directions * H  # of all layers together
        return self.directions * self.gates * H * (inputs + self.num_layers * H)

    @property
    def weight_bytes(self) -> int:
        """Memory of the weight matrices; of int8 with a float32 scale for each row."""
        scales = 2 * self.num_layers * self.directions * self.gates * self.shape.H if self.dtype == "int8" else 0
        return BYTES[self.dtype] * self.weights + 4 * scales


def described(layer: str) -> Cell:
    """What the table of cells says of one of ``LAYERS``."""
    from fastrnn import nn  # only here: the help of `fastrnn bench` does not wait for torch
    from fastrnn._core.cells import CELLS

    return CELLS[next(iter(getattr(nn, layer)._cells))]


def parse_shapes(text: str) -> list[Shape]:
    """Reads "TxBxIxH,TxBxIxH"; raises ValueError with the first wrong part."""
    shapes = []
    for part in text.split(","):
        sizes = part.strip().lower().split("x")
        if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ValueError(f"--shapes takes TxBxIxH, four positive numbers such as 100x1x256x256; got {part!r}")
        shapes.append(Shape(*map(int, sizes)))
    return shapes


def parse_cells(text: str) -> list[str]:
    """Reads "RNN,GRU,LSTM" in upper or lower case; raises ValueError with the first wrong part."""
    return chosen("a cell", text.upper(), LAYERS)


def parse_dtypes(text: str, device: str) -> list[str]:
    """Reads "float16,tf32"; raises ValueError with the first part that this device does not measure."""
    return chosen("--dtype", text, DTYPES[device])


def parse_threads(text: str) -> list[int]:
    """Reads "1,2"; raises ValueError with the first wrong part."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal() or int(part) == 0:
            raise ValueError(f"--threads takes positive numbers such as 1,2; got {part!r}")
    return [int(part) for part in parts]
