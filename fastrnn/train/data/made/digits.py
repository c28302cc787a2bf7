"""Pictures of digits, and strips of several side by side with their captions: "three eight one".

A fresh machine has no MNIST, so the pictures are drawn here from small bitmaps: shifted, of two thicknesses, noisy.
They have MNIST's size and range of values, and :func:`strips` takes MNIST's just as well.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fastrnn.train.data.made.numerals import english

SIZE = 28  # pixels a side, as MNIST's
_SCALE = 3  # pixels of the picture for one of the bitmap, which is 5 wide and 7 high
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
    """Pictures (N, 28, 28) of one digit each, numbers from 0 (background) to 1, and which digit (N,) it is."""

    pictures: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]


class Strips(NamedTuple):
    """Pictures (N, 1, 28, 28 digits) of several digits side by side, and what each says: "three eight one"."""

    pictures: npt.NDArray[np.float32]
    captions: list[str]


def digits(count: int, *, noise: float = 0.15, seed: int = 0) -> Pictures:
    """Drawn digits: anywhere in the picture that they fit, thin or thick, more or less dark.

    Args:
        noise: the standard deviation of what is added to each pixel; values are cut to [0, 1] then.
    """
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 10, count)
    glyphs = _glyphs()[generator.integers(0, 2, count), labels]  # (N, height, width)
    height, width = glyphs.shape[1:]
    pictures = np.zeros((count, SIZE, SIZE), np.float32)
    # Each at its own place: rows and columns of N glyphs at once.
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
    """Pictures of one digit each, drawn and put side by side.

    Args:
        pictures, labels: (N, 28, 28) and (N,), such as those of :func:`digits` or MNIST's.
        count: strips.
        digits: of the longest strip. All strips are that wide; what a shorter one lacks on the right is 0.
        shortest: digits of the shortest strip, by default as many as of the longest.

    Raises:
        ValueError: no such number of digits, or there are no pictures.
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
    """(thickness, digit, height, width): the bitmaps enlarged; the thick ones have each stroke a pixel wider around."""
    rows = np.array([[list(bitmap) for bitmap in line.split()] for line in _BITMAPS.split("\n") if line])
    small = (rows == "#").transpose(1, 0, 2)
    thin = np.pad(small.repeat(_SCALE, 1).repeat(_SCALE, 2), ((0, 0), (1, 1), (1, 1)))
    shifted = [np.roll(thin, (down, right), (1, 2)) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return np.stack([thin, np.logical_or.reduce(shifted)]).astype(np.float32)
