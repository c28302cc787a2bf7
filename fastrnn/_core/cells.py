"""The recurrent cells, as csrc/cells/registry.h describes them. Nothing else in Python says what a cell is."""

from __future__ import annotations

from typing import NamedTuple

from fastrnn._core.extension import _C


class Cell(NamedTuple):
    """What the layers need to know of a cell."""

    name: str
    gates: int  # blocks of H rows in w_ih
    carries_c: bool  # there is a state c besides h
    reads_h: bool  # the pointwise part mixes the new state with the old h
    saves: int  # numbers per unit and step that the backward pass needs
    goes_back_from_h: bool  # it needs the cell's h, which is saved where zoneout makes another of it
    projectable: bool  # a product with w_hr may follow
    gated: bool  # the last block of rows of w_hh is multiplied by itself, after the others
    vectors: dict[str, int]  # the cell's own parameters: name, numbers for each unit
    normalized: bool  # layer normalization inside
    recomputable: bool  # what it saves for the backward pass can be computed again
    onednn: bool  # torch runs its layers by oneDNN


CELLS = {
    name: Cell(
        name,
        gates=found["input_gates"],
        carries_c=found["carries_c"],
        reads_h=found["reads_h"],
        saves=found["saves"],
        goes_back_from_h=found["goes_back_from_h"],
        projectable=found["projectable"],
        gated=found["gated"],
        vectors=found["vectors"],
        normalized=found["normalized"],
        recomputable=found["recomputable"],
        onednn=found["onednn"],
    )
    for name, found in _C.cells().items()
}


def named(name: str) -> Cell:
    """The cell of this name.

    Raises:
        ValueError: there is none.
    """
    cell = CELLS.get(name)
    if cell is None:
        raise ValueError(f"Expected cell to be one of {', '.join(CELLS)}, got {name!r}")
    return cell
