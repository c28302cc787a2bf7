"""Pictures of digits, and strips of several digits with captions such as "three eight one".

The pictures are drawn from small bitmaps, so that nothing needs to be downloaded: shifted, of two thicknesses, noisy.
They have MNIST's size and range of values, and :func:`strips` takes MNIST too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrnn.train.data.made.numerals import english

SIZE = 28  # pixels per side, as in MNIST
_SCALE = 3  # pixels of the picture for one of the bitmap, which is 5 x 7
_BITMAPS = """
.###. ..#.. .###. .###. ...#. ##### ..##. ##### .###. .###.
#...# .##.. #...# #...# ..##. #.... .#... ....# #...# #...#
#...# ..#.. ....# ....# .#.#. ####. #.... ...#. #...# #...#
#...# ..#.. ..##. ..##. #..#. ....# ####. ..#.. .###. .####
#...# ..#.. .#... ....# ##### ....# #...# .#... #...# ....#
#...# ..#.. #.... #...# ...#. #...# #...# .#... #...# ...#.
.###. .###. ##### .###. ...#. .###. .###. .#... .###. .##..
"""


class Pictures(NamedTuple):
    """Pictures (N, 28, 28) of one digit each, from 0 (background) to 1, and the digits (N,)."""

    pictures: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class Strips(NamedTuple):
    """Pictures (N, 1, 28, 28 digits) of several digits, and their captions, such as "three eight one"."""

    pictures: npt.NDArray[np.float32]
    captions: list[str]


def digits(count: int, *, noise: float = 0.15, seed: int = 0) -> Pictures:
    """Draw digits at random places, thin or thick, more or less dark.

    Args:
        noise: standard deviation of the noise of each pixel; the values are then clipped to [0, 1].
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    glyphs = _glyphs()[generator.integers(0, 2, count), labels]  # (N, height, width)
    height, width = glyphs.shape[1:]
    pictures = np.zeros((count, SIZE, SIZE), np.float32)
    # The rows and columns of all N glyphs at once.
    rows = generator.integers(0, SIZE - height + 1, count)[:, None, None] + np.arange(height)[:, None]
    columns = generator.integers(0, SIZE - width + 1, count)[:, None, None] + np.arange(width)
    pictures[np.arange(count)[:, None, None], rows, columns] = glyphs
    pictures *= generator.uniform(0.6, 1.0, (count, 1, 1)).astype(np.float32)
    pictures += generator.normal(0.0, noise, pictures.shape).astype(np.float32)
    return Pictures(pictures.clip(0.0, 1.0), labels)


def strips(
    pictures: npt.NDArray[np.float32],
    labels: npt.NDArray[np.int64],
    count: int,
    *,
    digits: int = 3,
    shortest: int | None = None,
    seed: int = 0,
) -> Strips:
    """Join random pictures of one digit each into strips.

    Args:
        pictures, labels: (N, 28, 28) and (N,), such as those of :func:`digits` or MNIST's.
        count: strips.
        digits: of the longest strip. All strips are that wide; shorter ones are filled with 0 on the right.
        shortest: digits of the shortest strip; by default the same as the longest.

    Raises:
        ValueError: ``shortest`` is out of range, or there are no pictures.
    """
    shortest = digits if shortest is None else shortest
    if not 1 <= shortest <= digits:
        raise ValueError(f"shortest must be from 1 to digits={digits}, got {shortest}")
    if len(pictures) == 0 or len(pictures) != len(labels):
        raise ValueError(f"Expected one label for each picture, got {len(pictures)} pictures and {len(labels)} labels")
    generator = np.random.default_rng(seed)
    chosen = generator.integers(0, len(pictures), (count, digits))
    lengths = generator.integers(shortest, digits + 1, count)
    there = np.arange(digits) < lengths[:, None]  # (count, digits)
    side_by_side = pictures[chosen] * there[:, :, None, None]  # (count, digits, height, width)
    wide = side_by_side.transpose(0, 2, 1, 3).reshape(count, 1, pictures.shape[1], -1)
    captions = [
        " ".join(english(int(digit)) for digit in row[:length])
        for row, length in zip(labels[chosen], lengths, strict=True)
    ]
    return Strips(np.ascontiguousarray(wide, np.float32), captions)


def _glyphs() -> npt.NDArray[np.float32]:
    """(thickness, digit, height, width): the enlarged bitmaps; thick strokes are a pixel wider on each side."""
    rows = np.array([[list(bitmap) for bitmap in line.split()] for line in _BITMAPS.split("\n") if line])
    small = (rows == "#").transpose(1, 0, 2)
    thin = np.pad(small.repeat(_SCALE, 1).repeat(_SCALE, 2), ((0, 0), (1, 1), (1, 1)))
    shifted = [np.roll(thin, (down, right), (1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return np.stack([thin, np.logical_or.reduce(shifted)]).astype(np.float32)
