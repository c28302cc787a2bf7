"""The unit of the benchmark: one layer, one direction, float32, of one cell and shape, on so many threads."""

from typing import NamedTuple

GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}
MODES = ("infer", "train")


class Shape(NamedTuple):
    """Time steps, batch, input size, hidden size."""

    T: int
    B: int
    I: int
    H: int

    def __str__(self) -> str:
        return f"{self.T}x{self.B}x{self.I}x{self.H}"


# From one step of a small layer, where only overhead counts, to a layer whose weights no cache holds.
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
    """What every contender is asked to do."""

    mode: str
    cell: str
    threads: int
    shape: Shape

    def __str__(self) -> str:
        return f"{self.mode} {self.cell} {self.shape} on {self.threads} thread{'s' * (self.threads > 1)}"

    @property
    def flops(self) -> int:
        """Floating-point operations of the matrix products; the backward pass has two for each one forward."""
        T, B, I, H = self.shape
        forward = 2 * T * B * GATES[self.cell] * H * (I + H)
        return forward if self.mode == "infer" else 3 * forward


def parse_shapes(text: str) -> list[Shape]:
    """Reads "TxBxIxH,TxBxIxH"; raises ValueError with the part that is none."""
    shapes = []
    for part in text.split(","):
        sizes = part.strip().lower().split("x")
        if len(sizes) != 4 or not all(size.isdecimal() and int(size) > 0 for size in sizes):
            raise ValueError(f"a shape is TxBxIxH, four positive numbers such as 100x1x256x256; got {part!r}")
        shapes.append(Shape(*map(int, sizes)))
    return shapes


def parse_cells(text: str) -> list[str]:
    """Reads "RNN,GRU,LSTM" in either case; raises ValueError with the part that is none."""
    cells = [part.strip().upper() for part in text.split(",")]
    for cell in cells:
        if cell not in GATES:
            raise ValueError(f"a cell is one of {', '.join(GATES)}; got {cell!r}")
    return cells


def parse_threads(text: str) -> list[int]:
    """Reads "1,2"; raises ValueError with the part that is none."""
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not part.isdecimal() or int(part) == 0:
            raise ValueError(f"threads are positive numbers such as 1,2; got {part!r}")
    return [int(part) for part in parts]
