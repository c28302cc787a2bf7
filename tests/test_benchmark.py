"""`fastrnn bench` measures what it says: the work, the contenders in turns, the tables."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from fastrnn.bench import contenders, measure, results, table
from fastrnn.bench.plot import plot
from fastrnn.bench.work import GATES, GRID, Shape, Work, parse_cells, parse_shapes, parse_threads
from fastrnn.page import insert, marks

TINY = Shape(3, 2, 4, 5)


@pytest.mark.parametrize(("cell", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_flops_count_a_multiplication_and_an_addition_for_each_weight_row_and_step(cell: str, gates: int) -> None:
    weights = gates * 5 * (4 + 5)
    assert Work("infer", cell, 1, TINY).flops == 2 * 3 * 2 * weights
    assert Work("train", cell, 1, TINY).flops == 3 * 2 * 3 * 2 * weights


def test_shapes_are_read_as_they_are_written() -> None:
    assert parse_shapes("3x2x4x5, 1X1x64x64") == [TINY, Shape(1, 1, 64, 64)]
    assert parse_shapes(",".join(map(str, GRID))) == list(GRID)
    assert len(GRID) == 13


@pytest.mark.parametrize("text", ["", "1x2x3", "1x2x3x0", "1x2x3x-4", "axbxcxd", "1x2x3x4,"])
def test_what_is_no_shape_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"a shape is TxBxIxH.*got"):
        parse_shapes(text)


def test_cells_and_threads_are_read_and_refused() -> None:
    assert parse_cells("gru, LSTM") == ["GRU", "LSTM"]
    assert parse_threads("1,2") == [1, 2]
    with pytest.raises(ValueError, match="RNN, GRU, LSTM; got 'MLP'"):
        parse_cells("MLP")
    with pytest.raises(ValueError, match="got '0'"):
        parse_threads("0")


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("cell", GATES)
def test_every_installed_contender_does_the_same_work(mode: str, cell: str) -> None:
    for name in contenders.CONTENDERS[mode]:
        if name in contenders.PEERS:
            pytest.importorskip(name)
        contenders.prepare(name, Work(mode, cell, 1, TINY))()  # compares with torch.nn itself


@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("wrong", [1e-3, float("nan")])
def test_a_contender_with_other_numbers_is_refused(mode: str, wrong: float) -> None:
    work = Work(mode, "LSTM", 1, TINY)
    expected = contenders.prepare("torch", work)()
    other = copy.deepcopy(expected)
    contenders.check("fastrnn", work, other, expected)
    (other if mode == "infer" else other[-1]).view(-1)[0] += wrong
    with pytest.raises(ArithmeticError, match=r"fastrnn differs from torch\.nn on"):
        contenders.check("fastrnn", work, other, expected)


def test_contenders_take_turns_and_the_least_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    turns: list[str] = []

    class Fake:
        missing = None

        def __init__(self, name: str) -> None:
            self.name = name
            self.times = iter([5.0, 3.0, 4.0, 9.0, 8.0, 7.0])

        def prepare(self, work: Work) -> float:
            return 0.01

        def block(self, repeats: int, cores: set[int] | None) -> float:
            assert repeats == 2
            turns.append(self.name)
            return next(self.times)

        def close(self) -> None:
            turns.append("closed")

    monkeypatch.setattr(measure, "Contender", Fake)
    monkeypatch.setattr(measure, "PAUSE", 0)
    with measure.Contest(["a", "b"]) as contest:
        found = contest.seconds(Work("infer", "RNN", 1, TINY), ["a", "b", "absent"], rounds=6, block=0.02)
    assert found == {"a": 3.0, "b": 3.0}
    assert turns == ["a", "b"] * 6 + ["closed", "closed"]


def test_one_thread_tries_every_core_and_two_use_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure.os, "sched_getaffinity", lambda pid: {4, 2}, raising=False)
    assert [cores for cores, _ in zip(measure.places(1), range(3), strict=False)] == [{2}, {4}, {2}]
    assert next(measure.places(2)) == {2, 4}


def test_a_contender_that_is_not_installed_is_named_and_left_out() -> None:
    with measure.Contest(["no_such_runtime"]) as contest:
        assert "no_such_runtime" in contest.missing["no_such_runtime"]
        assert contest.seconds(Work("infer", "RNN", 1, TINY), ["no_such_runtime"]) == {}


def test_a_run_in_processes_of_their_own() -> None:
    works = [Work("infer", "GRU", 1, TINY), Work("train", "LSTM", 2, TINY)]
    found = results.run(works, without=["onnxruntime", "openvino"], rounds=3, block=0.001, command="test")
    assert json.loads(json.dumps(found)) == found
    assert {"processor", "cores", "date", "versions", "instruction_set"} <= found["machine"].keys()
    assert set(found["machine"]["fma_peak"]) == {"1", "2"}
    assert found["command"] == "test"
    for work, row in zip(works, found["rows"], strict=True):
        assert results.work_of(row) == work
        assert row["seconds"].keys() == {"torch", "fastrnn"}
        assert all(0 < seconds < 1 for seconds in row["seconds"].values())
        assert row["ratio_torch"] == row["seconds"]["torch"] / row["seconds"]["fastrnn"]
        assert row["gflops"] == work.flops / row["seconds"]["fastrnn"] / 1e9


def test_an_error_in_a_contender_reaches_the_caller() -> None:
    with measure.Contest(["torch"]) as contest, pytest.raises(RuntimeError, match=r"AttributeError in torch.*MLP"):
        contest.seconds(Work("infer", "MLP", 1, TINY), ["torch"])


def some_results() -> dict[str, Any]:
    times = [
        (Work("infer", "GRU", 1, TINY), {"torch": 4e-3, "onnxruntime": 1e-3, "fastrnn": 2e-3}),
        (Work("infer", "LSTM", 1, TINY), {"torch": 16e-3, "onnxruntime": 4e-3, "fastrnn": 2e-3}),
        (Work("train", "LSTM", 1, TINY), {"torch": 1.5, "fastrnn": 3.0}),
    ]
    machine = {
        "processor": "A",
        "cores": 2,
        "date": "2000-01-01",
        "instruction_set": "avx2",
        "versions": {"torch": "2"},
    }
    return {"machine": machine, "command": "", "rows": [results.row(work, seconds, 100) for work, seconds in times]}


def test_rows_have_ratios_to_torch_and_to_the_best_peer() -> None:
    row = some_results()["rows"][0]
    assert (row["ratio_torch"], row["ratio"], row["best_peer"]) == (2, 0.5, "onnxruntime")
    assert row["peak_share"] == row["gflops"] / 100


def test_the_summary_is_the_geometric_mean_with_its_losses() -> None:
    _, columns, lines = table.summary(some_results())
    found = {(line[0], line[2]): dict(zip(columns[3:6], line[3:6], strict=True)) for line in lines}
    assert found["inference", "all"] == {"× torch.nn": "4.00", "worst": "2.00", "behind in": "0 of 2"}
    assert found["training", "all"] == {"× torch.nn": "**0.50**", "worst": "**0.50**", "behind in": "1 of 1"}
    peers = {(line[0], line[2]): line[6:] for line in lines}
    assert peers["inference", "all"] == ["1.00", "**0.50**", "1 of 2"]


def test_markdown_goes_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    begin, end = marks("bench")
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    text = table.markdown(some_results())
    insert(text, "bench", page)
    insert(text, "bench", page)
    assert page.read_text() == f"before\n{begin}\n{text}\n{end}\nafter\n"
    assert "| GRU | 3 | 2 | 4 | 5 | 2 | 4 | 1 | 2.00 | **0.50** | ONNX Runtime |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in rows[:6]}) == 1
    page.write_text("no marks")
    with pytest.raises(ValueError, match="has no"):
        insert(text, "bench", page)


@pytest.mark.parametrize(
    ("seconds", "shown"), [(3.14159e-6, "0.00314"), (2e-3, "2"), (0.123456, "123"), (1.23456, "1235")]
)
def test_times_have_three_digits(seconds: float, shown: str) -> None:
    assert table.milliseconds(seconds) == shown


def test_the_plot_is_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "speed.png"
    plot(some_results(), file)
    assert file.read_bytes().startswith(b"\x89PNG")
    with pytest.raises(ValueError, match=r"torch\.nn was left out"):
        plot({"rows": [{"seconds": {"fastrnn": 1.0}}]}, file)
