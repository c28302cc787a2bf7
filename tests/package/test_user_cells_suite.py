"""bench/suites/user_cells.py and the client of users' cells: rows can be measured, goals are read from the figures."""

import json
from typing import Any

import pytest
import torch

from bench.clients import tables
from bench.suites import user_cell_contenders, user_cells, user_cells_table
from bench.suites.user_cell_contenders import BUILT, LOOP, OURS
from fastrnn._bench.work import Shape
from tests.package.test_features import MACHINE


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("cell", user_cell_contenders.CELLS)
def test_a_row_compares_what_computes_the_same(cell: str, mode: str) -> None:
    found = user_cells.measure(user_cells.Row(cell, mode, Shape(12, 3, 5, 6)), rounds=2, block=0.0, slow=False)
    assert {OURS, LOOP} < set(found["milliseconds"])
    assert (BUILT in found["milliseconds"]) == (cell in user_cell_contenders.BUILT_IN)
    assert all(ms > 0 for ms in found["milliseconds"].values())
    assert not found["failed"]
    json.dumps(found)


def test_a_contender_that_differs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_cell_contenders, "loop", lambda layer: lambda x: 1.1 * layer(x)[0])
    row = user_cells.Row("MGU", "infer", Shape(12, 3, 5, 6))
    with pytest.raises(ArithmeticError, match="MGU: fastrnn differs from the loop, relative error"):
        user_cells.measure(row, rounds=1, block=0.0, slow=False)


def test_a_figure_that_misses_its_goal_is_bold() -> None:
    milliseconds = {OURS: 2.0, BUILT: 1.0, LOOP: 10.0}
    row = {"cell": "LSTM", "mode": "infer", "shape": [100, 32, 128, 256], "milliseconds": milliseconds}
    row |= {"first call, seconds": {}, "failed": {"scan": "RuntimeError: a | b"}}
    cells = [{"cell": "LSTM", "first result": 3.0, "saved": [6, 5]}]
    found = {"machine": MACHINE, "threads": 2, "command": "run", "rows": [row], "cells": cells}
    text = user_cells_table.markdown(found)
    assert "| LSTM | inference | 100 | 32 | 128 | 256 | 2 | 1 | **2.00** | 10 | **5.00** |" in text
    assert "| inference | 100 | 32 | 128 | 256 | 1 | 5.00 | 2.00 |" in text
    assert "| scan |  | RuntimeError: a \\| b |  |" in text
    assert "| LSTM | 3 | **6** | 5 |" in text
    milliseconds[OURS] = 1.0
    assert "| 1 | 1 | 1.00 | 10 | 10.00 |" in user_cells_table.markdown(found)


def test_first_results_and_what_is_saved() -> None:
    assert 0 < user_cells.first_result("SLSTM") < 10_000
    for cell in user_cell_contenders.BUILT_IN:
        own, built_in = user_cell_contenders.saved(cell)
        assert built_in is not None
        assert 0 < own <= built_in


def test_the_table_of_forecasters() -> None:
    times: dict[str, Any] = dict(zip(tables.FORECASTERS, (8.0, 4.0, 2.0, 1.0), strict=True))
    row = {"series": 64, "milliseconds": times, "first call, seconds": times, "differences": dict.fromkeys(times, 1e-7)}
    row["layer, milliseconds"] = dict(zip(tables.FORECASTERS[:3], (6.0, 3.0, 1.0), strict=True))
    sizes = {"threads": 2, "blocks": 12, "length": 512, "horizon": 128}
    text = tables.tirex2({"machine": MACHINE, "command": "run", **sizes, "rows": [row]})
    assert "| fastrnn's sLSTM | 2.0 | 4.00 | 2.00 | 2.0 | 1e-07 | 1.00 | 3.00 |" in text


@pytest.mark.filterwarnings("default")  # those of the client's packages
def test_the_client_computes_what_its_library_computes() -> None:
    pytest.importorskip("tirex2", reason="tirex-2 is not installed, whose sLSTM this is compared with")
    from bench.clients import tirex2

    theirs = tirex2.model_of(2).stack[1].time_mixer.fwd_cell
    assert theirs.get_R().abs().max() > 0.05
    x = torch.randn(3, 9, tirex2.FEATURES, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(tirex2.FusedSLSTM(theirs)(x), theirs(x), rtol=1e-4, atol=1e-5)
