"""Layers of users' cells beside the same step in a loop of torch, compiled and scanned by torch, and built in.

    python -m bench.suites.user_cells --json bench/results/NAME.json [--full] [--only Peephole,SLSTM]

All contenders of a row have the same weights, compute the same, which is checked, and take turns in one run, a turn
each in every round. Times are medians over rounds: at inference of the forward pass, in training of forward and
backward to input and weights. float32. torch.compile unrolls the loop, which takes it a minute for each number of
steps, so it and torch's scan take part for one cell only, with --full for all.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import Tensor

import fastrnn
from bench.suites import user_cell_contenders as contenders
from bench.suites.feature_contenders import Run, input_of, training
from bench.suites.user_cell_contenders import (
    BUILT,
    BUILT_IN,
    CELLS,
    COMPILED,
    LOOP,
    LOOP_COMPILED,
    OURS,
    SCAN,
    SCAN_COMPILED,
    Forward,
)
from bench.suites.user_cells_table import BATCH, MODES, ONE_ROW, markdown
from bench.turns import heading, medians, turns
from fastrnn._bench.work import Shape
from fastrnn._saving import write_text

NARROW = (Shape(200, 1, 32, 32), Shape(200, 1, 64, 64))
SLOW = "Peephole"  # the cell that torch's compiler and scan run
COMPARED = 10  # steps


class Row(NamedTuple):
    cell: str
    mode: str
    shape: Shape


ROWS = [
    *(Row(cell, mode, shape) for shape in (BATCH, ONE_ROW) for mode in MODES for cell in CELLS),
    *(Row("Peephole", mode, shape) for shape in NARROW for mode in MODES),
]


def runs_of(row: Row, slow: bool) -> dict[str, Run]:
    """The contenders, as functions that return the output, and in training the gradient of the input too.

    ``slow``: torch's scan and, at inference, its compiler take part.
    """
    x, layer = input_of(row.shape), contenders.layer(row.cell, row.shape)

    def run(forward: Forward, module: Any = layer) -> Run:
        return training(lambda x: [forward(x)], x, module) if row.mode == "train" else lambda: [forward(x)]

    def of_layer(layer: Any) -> Run:
        return run(lambda x: layer(x)[0], layer)

    found = {OURS: of_layer(layer)}
    if contenders.compiles():
        found[COMPILED] = of_layer(contenders.layer(row.cell, row.shape, compile=True))
    if row.cell in BUILT_IN:
        found[BUILT] = of_layer(contenders.built_in(row.cell, row.shape))
    found[LOOP] = run(contenders.loop(layer))
    if slow:
        found[SCAN] = run(contenders.scanned(layer))
    if slow and row.mode == "infer":
        found[LOOP_COMPILED] = run(torch.compile(contenders.loop(layer), dynamic=False))
        found[SCAN_COMPILED] = run(torch.compile(contenders.scanned(layer), dynamic=False))
    return found


def measure(row: Row, rounds: int, block: float, slow: bool) -> dict[str, Any]:
    """The times of a row.

    Raises:
        ArithmeticError: contenders differ.
    """
    infers = row.mode == "infer"
    with torch.inference_mode() if infers else nullcontext(), torch.compiler.config.patch(force_disable_caches=True):
        runs = runs_of(row, slow)
        # Gradients are compared over a few steps, since rounding grows from step to step; outputs at their beginning.
        first = first_calls(runs if infers else runs_of(row._replace(shape=row.shape._replace(T=COMPARED)), slow))
        compare(row, first.results)
        times = turns({name: run for name, run in runs.items() if name not in first.failed}, rounds, block)
    torch.compiler.reset()  # each compiled loop is a new one, whatever was compiled before
    return {
        **{"cell": row.cell, "mode": row.mode, "shape": list(row.shape)},
        "milliseconds": medians(times),
        "least": {name: min(of_name) for name, of_name in times.items()},
        "first call, seconds": {name: first.seconds[name] for name in (LOOP_COMPILED, SCAN_COMPILED) if name in times},
        "failed": first.failed,
    }


class FirstCalls(NamedTuple):
    results: dict[str, list[Tensor]]
    seconds: dict[str, float]
    failed: dict[str, str]  # what torch's prototypes raised


def first_calls(runs: dict[str, Run]) -> FirstCalls:
    found = FirstCalls({}, {}, {})
    for name, run in runs.items():
        begin = time.perf_counter()
        try:
            found.results[name] = run()
        except Exception as error:
            if name not in (SCAN, SCAN_COMPILED, LOOP_COMPILED):
                raise
            found.failed[name] = f"{type(error).__name__}: {error}".splitlines()[0]
        found.seconds[name] = time.perf_counter() - begin
    return found


def compare(row: Row, results: dict[str, list[Tensor]]) -> None:
    """Raise ArithmeticError unless all compute the same, up to rounding."""
    for name, result in results.items():
        for found, expected in zip(result, results[LOOP], strict=True):
            error = float((found[:COMPARED] - expected[:COMPARED]).norm() / expected[:COMPARED].norm())
            if not error < 1e-3:  # so that a NaN fails too
                raise ArithmeticError(f"{row.cell}: {name} differs from the loop, relative error {error:.1e}")


def first_result(cell: str) -> float:
    """Milliseconds from a class statement to the first result of a layer."""
    base, x = CELLS[cell], input_of(Shape(20, 1, 32, 32))
    times = []
    for _ in range(15):
        begin = time.perf_counter()

        class Fresh(base):  # type: ignore[misc, valid-type]
            pass

        with torch.inference_mode():
            fastrnn.layer(Fresh)(32, 32)(x)
        times.append(1e3 * (time.perf_counter() - begin))
    return median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--only", help="cells to measure, with commas between them; by default all")
    parser.add_argument("--full", action="store_true", help="torch's compiler and scan for all cells")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--block", type=float, default=0.1, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    given = parser.parse_args()
    chosen = given.only.split(",") if given.only else list(CELLS)
    if unknown := [name for name in chosen if name not in CELLS]:
        parser.error(f"--only takes {', '.join(CELLS)}; got {', '.join(unknown)}")
    torch.set_num_threads(given.threads)
    found = heading("bench.suites.user_cells") | {"threads": given.threads, "rows": [], "cells": []}
    for cell in chosen:
        of_cell = {"cell": cell, "first result": first_result(cell), "saved": contenders.saved(cell)}
        found["cells"].append(of_cell)
    for row in ROWS:
        if row.cell not in chosen:
            continue
        slow = given.full or (row.cell == SLOW and row.shape not in NARROW)
        found["rows"].append(measure(row, given.rounds, given.block, slow))
        figures = ", ".join(f"{name} {ms:.4g} ms" for name, ms in found["rows"][-1]["milliseconds"].items())
        print(f"{row.cell}, {MODES[row.mode]}, {row.shape}: {figures}", flush=True)
        if given.json:
            write_text(given.json, json.dumps(found, indent=1) + "\n")
    print(markdown(found))


if __name__ == "__main__":
    main()
