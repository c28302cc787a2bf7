"""The tables of bench/suites/user_cells.py, and its goals: figures that miss them are bold."""

from __future__ import annotations

from statistics import geometric_mean
from typing import Any

from bench.suites.user_cell_contenders import BUILT, COMPILED, LOOP, LOOP_COMPILED, OURS, SCAN, SCAN_COMPILED
from fastrnn import _markdown
from fastrnn._bench.work import Shape

BATCH, ONE_ROW = Shape(100, 32, 128, 256), Shape(200, 1, 128, 128)
MODES = {"infer": "inference", "train": "training"}
# How many times as fast as others at least, and how many times as long as the built-in layer at most.
LEAST = {
    ("infer", BATCH): {LOOP: 6, LOOP_COMPILED: 2.5},
    ("train", BATCH): {LOOP: 3},
    ("infer", ONE_ROW): {LOOP: 25, LOOP_COMPILED: 4.5},
    ("train", ONE_ROW): {LOOP: 15},
}
MOST = {OURS: 1.15, COMPILED: 1.08}
FIRST_RESULT = 50  # ms from a class statement to the first result, at most


def markdown(found: dict[str, Any]) -> str:
    """Times, their geometric means, torch's compiler and scan, and what each cell saves."""
    about = f"{_markdown.about(found['machine'])} {found['threads']} threads. `{found['command']}`"
    tables = [_times(found["rows"]), _means(found["rows"]), _slow(found["rows"]), _of_cells(found["cells"])]
    return "\n\n".join([about, *filter(None, tables)])


def ratio(row: dict[str, Any], of: str, to: str) -> float | None:
    """The time of one in times of another, or None where one of them did not take part."""
    ms = row["milliseconds"]
    return ms[of] / ms[to] if of in ms and to in ms else None


def times_as_fast(row: dict[str, Any], other: str) -> str:
    found = ratio(row, other, OURS)
    goal = LEAST.get((row["mode"], Shape(*row["shape"])), {}).get(other)
    return "" if found is None else _bold(f"{found:.2f}", goal is not None and found < goal)


def times_as_long(row: dict[str, Any], ours: str) -> str:
    found = ratio(row, ours, BUILT)
    return "" if found is None else _bold(f"{found:.2f}", found > MOST[ours])


def _bold(text: str, bold: bool) -> str:
    return f"**{text}**" if bold else text


def _ms(row: dict[str, Any], name: str) -> str:
    found = row["milliseconds"].get(name)
    return "" if found is None else f"{found:.3g}"


def _times(rows: list[dict[str, Any]]) -> str:
    compiles = any(COMPILED in row["milliseconds"] for row in rows)
    columns = ["cell", "", "T", "B", "I", "H", "fastrnn, ms", *["compile=True, ms"] * compiles]
    columns += ["built in, ms", "× its time", *["compile=True, × its time"] * compiles, "loop, ms", "× as fast"]
    lines = []
    for row in rows:
        line = [row["cell"], MODES[row["mode"]], *map(str, row["shape"]), _ms(row, OURS)]
        line += [*[_ms(row, COMPILED)] * compiles, _ms(row, BUILT), times_as_long(row, OURS)]
        line += [*[times_as_long(row, COMPILED)] * compiles, _ms(row, LOOP), times_as_fast(row, LOOP)]
        lines.append(line)
    return _markdown.table(columns, lines, "ll".ljust(len(columns), "r"))


def _means(rows: list[dict[str, Any]]) -> str:
    compiles = any(COMPILED in row["milliseconds"] for row in rows)
    columns = ["", "T", "B", "I", "H", "cells", "× as fast as the loop", "× the built-in layer's time"]
    columns += ["compile=True, × its time"] * compiles
    lines = []
    for mode, shape in dict.fromkeys((row["mode"], Shape(*row["shape"])) for row in rows):
        group = [row for row in rows if (row["mode"], Shape(*row["shape"])) == (mode, shape)]
        figures = [(LOOP, OURS), (OURS, BUILT), *[(COMPILED, BUILT)] * compiles]
        ratios = ([r for row in group if (r := ratio(row, *figure)) is not None] for figure in figures)
        means = [f"{geometric_mean(of_figure):.2f}" if of_figure else "" for of_figure in ratios]
        lines.append([MODES[mode], *map(str, shape), str(len(group)), *means])
    return "Geometric means:\n\n" + _markdown.table(columns, lines)


def _slow(rows: list[dict[str, Any]]) -> str:
    columns = ["cell", "", "T", "B", "I", "H", "fastrnn, ms", "what", "first call, s", "ms", "× as fast"]
    lines = []
    for row in rows:
        head = [row["cell"], MODES[row["mode"]], *map(str, row["shape"]), _ms(row, OURS)]
        for name in (LOOP_COMPILED, SCAN_COMPILED, SCAN):
            if name in row["failed"]:
                lines.append([*head, name, "", _markdown.cell(row["failed"][name]), ""])
            elif name in row["milliseconds"]:
                seconds = row["first call, seconds"].get(name)
                shown = "" if seconds is None else f"{seconds:.1f}"
                lines.append([*head, name, shown, _ms(row, name), times_as_fast(row, name)])
    return "torch's compiler and scan:\n\n" + _markdown.table(columns, lines, "llrrrrrlrrr") if lines else ""


def _of_cells(cells: list[dict[str, Any]]) -> str:
    columns = ["cell", "class statement to first result, ms", "numbers saved, of a unit and step", "built in"]
    lines = []
    for cell in cells:
        own, built_in = cell["saved"]
        ms = _bold(f"{cell['first result']:.2g}", cell["first result"] > FIRST_RESULT)
        saved = _bold(str(own), built_in is not None and own > built_in)
        lines.append([cell["cell"], ms, saved, "" if built_in is None else str(built_in)])
    return _markdown.table(columns, lines)
