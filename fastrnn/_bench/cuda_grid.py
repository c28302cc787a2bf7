"""What `fastrnn bench --device cuda` measures by default.

The full grid has 7 hidden sizes, 6 batches, 3 lengths, 5 dtypes, 3 cells and 2 modes: 3780 cases of a third of a second
or more. The default has 13 of its 126 shapes. They cover every size, batch and length; the corners, from pure overhead
(64x1x64x64) to pure products (64x256x2048x2048); and small and large batches of small and large layers. For 8 of them
(8 to 128 rows, hidden sizes up to 1024 that 128 divides) torch asks cuDNN for its persistent kernels when an RNN or
LSTM is in float16: those keep the weights on the chip from step to step.

Then follows one shape with three layers, both directions and packed rows, in float16 and tf32. The order is by
importance, so that a time budget cuts off float64.
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
FIRST = 2  # dtypes that come before the other kinds of layer


def works(
    modes: Sequence[str], cells: Sequence[str], shapes: Iterable[Shape], dtypes: Sequence[str], **kind: Any
) -> Iterator[Work]:
    """Yields one kind of layer in every dtype, cell, shape and mode."""
    for dtype, cell, shape, mode in product(dtypes, cells, shapes, modes):
        yield Work(mode, cell, 0, shape, dtype=dtype, device="cuda", **kind)


def default_works(modes: Sequence[str], cells: Sequence[str], dtypes: Sequence[str]) -> Iterator[Work]:
    """Yields the default grid and, in the first dtypes, the other kinds of layer."""
    yield from works(modes, cells, GRID, dtypes[:FIRST])
    for kind in KINDS:
        yield from works(modes, cells, [KINDS_SHAPE], dtypes[:FIRST], **kind)
    yield from works(modes, cells, GRID, dtypes[FIRST:])
