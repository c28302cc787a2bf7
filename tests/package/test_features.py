"""bench/suites/features.py and the clients' tables: every row can be measured, and goals are read from the figures."""

import json
from typing import Any

import pytest

from bench.clients import tables
from bench.suites import features
from bench.turns import turns
from fastrnn._bench.work import Shape

SAME = (600, 600, 24, 30)
MACHINE = {
    "processor": "P",
    "cores": 2,
    "instruction_set": "avx2",
    "date": "2026-01-01",
    "versions": {"torch": "2"},
}


@pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")  # torch's, of forward mode
@pytest.mark.parametrize("row", features.ROWS, ids=lambda row: f"{row.option}, {row.cell}")
def test_a_row_compares_what_computes_the_same(row: features.Row) -> None:
    small = row._replace(shape=Shape(row.shape.T and min(row.shape.T, 7), min(row.shape.B, 3), 5, 6))
    if row.shape.I == row.shape.H:
        small = small._replace(shape=small.shape._replace(I=6))
    found = features.measure(small, rounds=2, block=0.0)
    assert set(found["milliseconds"]) == {"option", "plain", "other"}
    assert all(ms > 0 for ms in found["milliseconds"].values())
    json.dumps(found)


def test_a_contender_that_differs_is_an_error() -> None:
    def wrong(cell: str, shape: Shape) -> Any:
        made = features.contenders.resets(cell, shape)
        return made._replace(other=made.plain)

    row = features.Row("resets", wrong, "GRU", Shape(40, 3, 5, 6), "a loop")
    with pytest.raises(ArithmeticError, match="resets, GRU: differs from a loop, relative error"):
        features.measure(row, rounds=1, block=0.0)


def test_a_figure_that_misses_its_goal_is_bold() -> None:
    row = {
        "option": "resets",
        "cell": "GRU",
        "shape": [1, 2, 3, 4],
        "other": "a loop",
        "milliseconds": {"option": 1.2, "plain": 1.0, "other": 6.6},
        "goals": [["cost", 1.1], ["faster", 5.0]],
    }
    text = features.markdown({"machine": MACHINE, "threads": 2, "command": "run", "rows": [row]})
    assert (
        "| resets | GRU | 1 | 2 | 3 | 4 | 1.2 | 1 | **1.20** | a loop | 6.6 | 5.50 | cost ≤ 1.1, ≥ 5 × as fast |"
        in text
    )
    row["milliseconds"] = {"option": 1.0, "plain": 1.0, "other": 4.9}
    text = features.markdown({"machine": MACHINE, "threads": 2, "command": "run", "rows": [row]})
    assert "| 1 | 1 | 1.00 | a loop | 4.9 | **4.90** |" in text


def test_turns_are_milliseconds_of_one_call() -> None:
    calls: list[str] = []
    times = turns({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=3, block=0.0)
    assert [len(times[name]) for name in "ab"] == [3, 3]
    assert calls[-6:] == [*"abbaab"]


def test_the_table_of_a_client_has_medians_and_curves() -> None:
    def learner(name: str, seconds: float, same: int) -> dict[str, Any]:
        returns = [[step, step / 10] for step in range(10, 610, 10)]
        of = {"update": [seconds, seconds, 9.0], "rollout": [0.5, 0.5, 0.5]}
        return {"name": name, "seconds": of, "returns": returns, "same actions": same, "steps": 600}

    learners = [learner(name, s, n) for name, s, n in zip(tables.LEARNERS, (2.0, 1.0, 0.5, 2.0), SAME, strict=True)]
    sizes = {"envs": 8, "steps": 4, "batch": 2, "hidden": 3, "threads": 2}
    text = tables.recurrent_ppo(
        {"machine": MACHINE, "command": "run", **sizes, "runs": [{"seed": 0, "contenders": learners}]}
    )
    assert "| converted, resets= | 500 | 4.00 | 500 | 1.00 | 24 |" in text
    assert "| torch.nn | 6 | 16 | 26 | 36 | 46 | 56 | 30 |" in text


def test_policies_choose_the_same_actions() -> None:
    pytest.importorskip("sb3_contrib", reason="sb3-contrib is not installed, whose policy this changes")
    from bench.clients import recurrent_ppo

    found = recurrent_ppo.learn(0, 128, envs=2, steps=32, batch=32, hidden=8)
    first, *others = found["contenders"]
    assert first["same actions"] == first["steps"] == 128
    assert all(other["steps"] == 128 and other["same actions"] > 64 for other in others)  # beyond the first update


@pytest.mark.filterwarnings("default")  # those of fastai's packages
def test_language_models_have_the_same_loss() -> None:
    pytest.importorskip("fastai", reason="fastai is not installed, whose AWD-LSTM this takes apart")
    from bench.clients import awd_lstm

    sizes = {"words": 30, "embedding": 6, "hidden": 9, "layers": 3, "steps": 5, "batch": 4}
    data = awd_lstm.windows(sizes, count=3)
    first, *others = (awd_lstm.losses(name, sizes, data) for name in tables.MODELS)
    assert first["loss"] != first["loss without dropout"]
    for other in others:
        assert other == pytest.approx(first, rel=1e-5)
    rates = dict.fromkeys(awd_lstm.DROPOUTS, 0.5)
    for name in tables.MODELS:
        step = awd_lstm.trainer(awd_lstm.model_of(name, sizes, rates), data)
        assert step().isfinite()
        assert step().isfinite()
