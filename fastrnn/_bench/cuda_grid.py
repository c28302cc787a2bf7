"""What `fastrnn bench --device cuda` measures by default.

The whole grid is 7 hidden sizes by 6 batches by 3 lengths, in 5 dtypes, of 3 cells, in 2 modes: 3780 pieces of work, at
a third of a second or more. The default has 13 of its 126 shapes: every size, batch and length; the corners, from
nothing but overhead (64x1x64x64) to nothing but products (64x256x2048x2048); and in between small and large batches for
small and large layers. 8 of them (8 to 128 rows, hidden sizes that 128 divides, up to 1024) are such that torch asks
cuDNN for its persistent kernels, for an RNN or LSTM in float16: they keep the weights on the chip from step to step.

Then one shape with three layers, both directions and packed rows, in float16 and tf32. What matters most comes first,
so that a budget cuts off float64.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import Any

from fastrnn._bench.work import Shape, Work

FULL_GRID = tuple(
    Shape(T, B, H, H)
    for H, B, T in product((64, 128, 256, 512, 768, 1024, 2048), (1, 8, 32, 64, 128, 256), (64, 256, 1024))
)
GRID = tuple(
    Shape(T, B, H, H)
    for T, B, H in (
        (64, 1, 64),
        (256, 1, 256),
        (256, 1, 1024),
        (1024, 8, 128),
        (256, 8, 512),
        (256, 32, 256),
        (1024, 32, 512),
        (256, 32, 768),
        (256, 64, 128),
        (256, 64, 1024),
        (64, 128, 512),
        (256, 256, 256),
        (64, 256, 2048),
    )
)
KINDS: tuple[dict[str, Any], ...] = ({"num_layers": 3}, {"bidirectional": True}, {"packed": True})
KINDS_SHAPE = Shape(256, 32, 512, 512)
FIRST = 2  # so many dtypes come before the other kinds of layer


def works(
    modes: Sequence[str], cells: Sequence[str], shapes: Iterable[Shape], dtypes: Sequence[str], **kind: Any
) -> Iterator[Work]:
    """Yields the same kind of layer in every dtype, of every cell and shape."""
    for dtype, cell, shape, mode in product(dtypes, cells, shapes, modes):
        yield Work(mode, cell, 0, shape, dtype=dtype, device="cuda", **kind)


def default_works(modes: Sequence[str], cells: Sequence[str], dtypes: Sequence[str]) -> Iterator[Work]:
    """Yields the default grid and, in the first dtypes, the other kinds of layer."""
    yield from works(modes, cells, GRID, dtypes[:FIRST])
    for kind in KINDS:
        yield from works(modes, cells, [KINDS_SHAPE], dtypes[:FIRST], **kind)
    yield from works(modes, cells, GRID, dtypes[FIRST:])
