"""The example program: cells of one's own learn where the plain network does not, and their losses are plotted."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_cell.py"


def test_gated_cells_learn_to_add(tmp_path):
    program = runpy.run_path(str(EXAMPLE))
    curves = {name: program["losses"](program["CELLS"][name], updates=250) for name in ("candidate", "Elman")}
    last = {name: sum(curve[-20:]) / 20 for name, curve in curves.items()}
    assert last["candidate"] < 0.05 < 0.1 < last["Elman"] < 0.3
    program["plot"](curves, str(tmp_path / "curves.png"))
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
