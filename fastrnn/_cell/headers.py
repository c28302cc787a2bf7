"""The engine's headers that a compiled cell includes, and where they are. setup.py reads this file by itself.

A wheel has them in the package; a checkout, which an editable install points to, beside it.
"""

from __future__ import annotations

from pathlib import Path

HEADERS = (
    *("cells/cell.h", "cells/compiled_cell.h", "cells/program.h", "cells/step.h", "cpu/activations.h"),
    *("cpu/activations_by_table.h", "cpu/compiled_cell.h", "cpu/for_avx2.h", "cpu/for_avx512.h", "cpu/for_generic.h"),
    *("cpu/functions.h", "cpu/step.h", "cpu/vec.h"),
)
IN_PACKAGE = "_cell/csrc"  # their folder in a wheel


def folder() -> Path:
    package = Path(__file__).parents[1]
    inside = package / IN_PACKAGE
    return inside if inside.exists() else package.parent / "csrc"
