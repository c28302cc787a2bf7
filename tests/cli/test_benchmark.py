"""`fastrnn bench` measures what it says: the work, the contenders in turns, the tables."""

import copy
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fastrnn
from fastrnn._bench import contenders, measure, memory, results, roofline, roofline_plot, table
from fastrnn._bench.plot import plot
from fastrnn._bench.work import DTYPES, GRID, LAYERS, MODES, Shape, Work, parse_cells, parse_shapes, parse_threads
from fastrnn._markdown import insert, marks

TINY = Shape(3, 2, 4, 5)
RESULTS = Path(__file__).parents[2] / "bench" / "results"


@pytest.mark.parametrize(("cell", "gates"), [("RNN", 1), ("GRU", 3), ("LSTM", 4)])
def test_flops_count_a_multiplication_and_an_addition_for_each_weight_row_and_step(cell: str, gates: int) -> None:
    weights = gates * 5 * (4 + 5)
    assert Work("infer", cell, 1, TINY).flops == 2 * 3 * 2 * weights
    assert Work("train", cell, 1, TINY).flops == 3 * 2 * 3 * 2 * weights


def test_flops_count_every_layer_direction_and_step() -> None:
    stacked = Work("infer", "GRU", 1, TINY, num_layers=3, bidirectional=True)
    weights = 2 * 3 * 5 * ((4 + 5) + 2 * (10 + 5))  # above the first layer the input is as wide as both directions
    assert stacked.flops == 2 * 3 * 2 * weights
    packed = stacked._replace(packed=True)
    assert packed.flops == 2 * sum(packed.lengths) * weights


def test_packed_lengths_are_between_one_and_all_steps_and_always_the_same() -> None:
    work = Work("infer", "GRU", 1, Shape(7, 50, 4, 5), packed=True)
    assert set(work.lengths) == set(range(1, 8))
    assert work.lengths == work.lengths
    assert work._replace(packed=False).lengths == [7] * 50


def test_work_names_what_is_not_the_default() -> None:
    work = Work("train", "GRU", 1, TINY)
    assert (work.kind, str(work)) == ("", "train GRU 3x2x4x5 on 1 thread")
    work = Work("train", "GRU", 2, TINY, 3, True, True, "bfloat16", True)
    assert work.kind == "3 layers, bidirectional, packed, bfloat16, recompute"
    assert str(work) == f"train GRU 3x2x4x5 on 2 threads, {work.kind}"


def test_shapes_are_read_as_they_are_written() -> None:
    assert parse_shapes("3x2x4x5, 1X1x64x64") == [TINY, Shape(1, 1, 64, 64)]
    assert parse_shapes(",".join(map(str, GRID))) == list(GRID)
    assert len(GRID) == 13


@pytest.mark.parametrize("text", ["", "1x2x3", "1x2x3x0", "1x2x3x-4", "axbxcxd", "1x2x3x4,"])
def test_what_is_no_shape_is_named(text: str) -> None:
    with pytest.raises(ValueError, match=r"--shapes takes TxBxIxH.*got"):
        parse_shapes(text)


def test_cells_and_threads_are_read_and_refused() -> None:
    assert parse_cells("gru, LSTM") == ["GRU", "LSTM"]
    assert parse_threads("1,2") == [1, 2]
    with pytest.raises(ValueError, match="RNN, GRU, LSTM; got 'MLP'"):
        parse_cells("MLP")
    with pytest.raises(ValueError, match="got '0'"):
        parse_threads("0")


KINDS: list[dict[str, Any]] = [
    {},
    {"bidirectional": True},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True},
    {"packed": True},
    {"num_layers": 2, "bidirectional": True, "packed": True, "dtype": "float64"},
    {"dtype": "bfloat16"},
    {"recompute": True},
]
WORKS = [Work(mode, cell, 1, TINY, **kind) for mode in MODES for cell in LAYERS for kind in KINDS]
WORKS += [
    Work("infer", cell, 1, TINY, dtype="int8", **kind) for cell in LAYERS for kind in ({}, {"num_layers": 2}, KINDS[2])
]


@pytest.mark.parametrize(("work", "name"), [(work, name) for work in WORKS for name in contenders.entrants(work)])
def test_every_contender_does_the_same_work(work: Work, name: str) -> None:
    if name in contenders.PEERS:
        pytest.importorskip(name)
        pytest.importorskip("onnx")
    found = contenders.prepare(name, work)()  # compares with torch.nn itself
    if work.mode == "infer":
        rows = (sum(work.lengths),) if work.packed else (3, 2)
        assert found.shape == (*rows, 5 * work.directions)
        # int8 are the weights alone, and OpenVINO converts its results to float32
        dtype = "float32" if work.dtype == "int8" or name in contenders.PEERS else work.dtype
        assert str(found.dtype).removeprefix("torch.") == dtype
    else:
        assert len(found) == 1 + 4 * work.num_layers * work.directions
        assert {each.dtype for each in found} == {getattr(torch, work.dtype)}


def test_runtimes_that_only_infer_enter_where_they_can() -> None:
    work = Work("infer", "GRU", 1, TINY, num_layers=2, bidirectional=True)
    assert contenders.entrants(work) == ["torch", "onnxruntime", "openvino", "fastrnn", "frozen"]
    assert contenders.entrants(work._replace(packed=True)) == ["torch", "fastrnn", "frozen"]
    for other in ({"mode": "train"}, {"mode": "memory"}, {"dtype": "float64"}):
        assert contenders.entrants(work._replace(**other)) == ["torch", "fastrnn"]


def test_runtimes_enter_in_the_low_precision_that_they_have() -> None:
    work = Work("infer", "LSTM", 1, TINY, dtype="int8")
    assert contenders.entrants(work) == ["torch", "onnxruntime", "fastrnn"]
    assert contenders.entrants(work._replace(cell="GRU")) == ["torch", "fastrnn"]
    assert contenders.entrants(work._replace(cell="RNN")) == ["fastrnn"]
    assert contenders.entrants(work._replace(dtype="bfloat16")) == ["torch", "openvino", "fastrnn", "frozen"]


@pytest.mark.parametrize(("dtype", "size"), [("float64", 8), ("float32", 4), ("bfloat16", 2), ("int8", 1)])
def test_bytes_of_weights_are_those_of_the_layer(dtype: str, size: int) -> None:
    work = Work("infer", "GRU", 1, Shape(2, 1, 32, 64), num_layers=2, bidirectional=True, dtype=dtype)
    layer = fastrnn.GRU(32, 64, 2, bidirectional=True, dtype=None if dtype == "int8" else getattr(torch, dtype))
    if dtype != "int8":
        matrices = [w for w in layer.parameters() if w.dim() == 2]
        assert work.weight_bytes == sum(w.nbytes for w in matrices) == size * sum(w.numel() for w in matrices)
        return
    state = fastrnn.quantize(layer.eval()).state_dict()
    kept = [t for name, t in state.items() if name.startswith("weight") and (t.dtype == torch.int8 or "scale" in name)]
    assert work.weight_bytes == sum(t.nbytes for t in kept)


def test_recompute_is_asked_of_fastrnn_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Recorder(torch.nn.GRU):
        def __init__(self, *sizes: int, recompute: bool = False, **options: Any) -> None:
            super().__init__(*sizes, **options)
            asked.append(recompute)

    monkeypatch.setattr(fastrnn, "GRU", Recorder)
    contenders.prepare("fastrnn", Work("train", "GRU", 1, TINY))
    contenders.prepare("fastrnn", Work("train", "GRU", 1, TINY, recompute=True))
    assert asked == [False, True]
    monkeypatch.setattr(fastrnn, "GRU", torch.nn.GRU)  # which knows no such argument
    with pytest.raises(TypeError, match="recompute"):
        contenders.prepare("fastrnn", Work("train", "GRU", 1, TINY, recompute=True))


@pytest.mark.parametrize(
    ("mode", "dtype"),
    [(mode, dtype) for mode in MODES for dtype in DTYPES["cpu"] if (mode, dtype) != ("train", "int8")],
)
@pytest.mark.parametrize("wrong", ["a little", float("nan")])
def test_a_contender_with_other_numbers_is_refused(mode: str, wrong: Any, dtype: str) -> None:
    work = Work(mode, "LSTM", 1, TINY, dtype=dtype)
    if wrong == "a little":
        wrong = 10 * contenders.TOLERANCES[dtype]
    expected = contenders.prepare("torch", work)()
    other = copy.deepcopy(expected)
    contenders.check("fastrnn", work, other, expected)
    (other if mode == "infer" else other[-1]).view(-1).add_(wrong)
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
        assert set(row["seconds"]) == set(contenders.entrants(work)) - set(contenders.PEERS)
        assert all(0 < seconds < 1 for seconds in row["seconds"].values())
        assert row["ratio_torch"] == row["seconds"]["torch"] / row["seconds"]["fastrnn"]
        assert row["gflops"] == work.flops / row["seconds"]["fastrnn"] / 1e9


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_memory_is_that_of_a_step_in_a_fresh_process() -> None:
    work = Work("memory", "LSTM", 1, Shape(100, 32, 8, 64))
    saved = 4 * 100 * 32 * 64  # bytes of one number for each unit, row and step
    found = results.run([work, work], without=[], command="test")
    for row in found["rows"]:
        assert results.work_of(row) == work
        assert row["bytes"].keys() == {"torch", "fastrnn"}
        assert all(5 * saved < size < 40 * saved for size in row["bytes"].values())  # the four gates and c at least
        assert row["ratio_torch"] == row["bytes"]["torch"] / row["bytes"]["fastrnn"]
        assert {"seconds", "gflops", "peak_share"}.isdisjoint(row)
    first, second = (row["bytes"]["fastrnn"] for row in found["rows"])
    assert first == pytest.approx(second, rel=0.1)


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_the_high_water_mark_rises_with_what_is_touched() -> None:
    size = 32 << 20
    before = memory.resident()
    held = np.ones(size, dtype=np.uint8)
    assert memory.highest() - before == pytest.approx(size, rel=0.05)  # the system counts loosely, 64 pages a thread
    del held
    assert memory.highest() - before == pytest.approx(size, rel=0.05)
    assert memory.resident() - before < 0.05 * size


def test_an_error_in_a_contender_reaches_the_caller() -> None:
    message = r"AttributeError in torch.*MLP"
    with measure.Contest(["torch"]) as contest, pytest.raises(measure.ContenderError, match=message):
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


def test_frozen_layers_are_no_peer_of_plain_ones_and_have_a_ratio_of_their_own() -> None:
    seconds = {"torch": 8.0, "openvino": 4.0, "fastrnn": 2.0, "frozen": 1.0}
    row = results.row(Work("infer", "LSTM", 1, TINY, dtype="bfloat16"), seconds, 100)
    assert (row["best_peer"], row["ratio"], row["ratio_frozen"]) == ("openvino", 2, 4)
    assert row["weight_bytes"] == 2 * 4 * 5 * (4 + 5)
    (section,) = table.sections({"rows": [row]})
    shown = dict(zip(section.columns, section.lines[0], strict=True))
    assert (shown["fastrnn, frozen, ms"], shown["× best peer"], shown["frozen × best peer"]) == ("1000", "2.00", "4.00")
    assert "of peak" not in shown  # the peak is that of float32
    assert "× own float32" not in shown
    (_, section) = table.sections({"rows": [results.row(Work("infer", "LSTM", 1, TINY), {"fastrnn": 3.0}, 100), row]})
    assert dict(zip(section.columns, section.lines[0], strict=True))["× own float32"] == "1.50"
    assert "frozen × best peer" in table.summary({"rows": [row]}).columns


def test_rows_of_old_files_are_the_standard_work() -> None:
    new = some_results()
    old = copy.deepcopy(new)
    for row in old["rows"]:
        for field in Work._field_defaults:
            del row[field]
    assert [results.work_of(row) for row in old["rows"]] == [results.work_of(row) for row in new["rows"]]
    assert table.markdown(old) == table.markdown(new)


@pytest.mark.parametrize("name", ["cpu", "cpu-ruler", "roofline", "stacked", "bidirectional"])
def test_the_files_of_results_can_be_shown(name: str) -> None:
    found = json.loads((RESULTS / f"2026-11-23-xeon-2.8ghz-{name}.json").read_text())
    assert len(found["rows"]) == sum(len(section.lines) for section in table.sections(found))
    assert "| fastrnn, ms |" in table.markdown(found)


def test_tables_are_apart_for_each_kind_of_work_and_say_which() -> None:
    seconds = {"torch": 2e-3, "fastrnn": 1e-3}
    works = [Work("train", "GRU", 1, TINY), Work("train", "GRU", 1, TINY, num_layers=3, dtype="bfloat16")]
    found = {"rows": [results.row(work, seconds, 100) for work in works]}
    titles = [section.title for section in table.sections(found)]
    assert titles == ["Training, 1 thread", "Training, 1 thread, 3 layers, bfloat16"]
    _, columns, lines = table.summary(found)
    assert columns[:4] == ["mode", "threads", "kind", "cells"]
    assert [line[2] for line in lines] == ["", "", "3 layers, bfloat16", "3 layers, bfloat16"]


def test_tables_of_memory_are_in_mebibytes() -> None:
    sizes = {"torch": 3 << 20, "fastrnn": 1 << 21}
    found = {"rows": [results.row(Work("memory", "GRU", 1, TINY, packed=True), sizes, 100)]}
    (section,) = table.sections(found)
    assert section.title == "Memory of a training step, 1 thread, packed"
    shown = dict(zip(section.columns, section.lines[0], strict=True))
    assert (shown["fastrnn, MiB"], shown["torch.nn, MiB"], shown["× torch.nn"]) == ("2", "3", "1.50")
    assert table.summary(found).title == "How many times less memory fastrnn takes, geometric means"


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
    with pytest.raises(ValueError, match="lacks the marks"):
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
    with pytest.raises(ValueError, match=r"torch\.nn was left out"):
        plot({"rows": [results.row(Work("memory", "GRU", 1, TINY), {"torch": 2, "fastrnn": 1}, 100)]}, file)


def a_roofline() -> dict[str, Any]:
    works = [Work("infer", "LSTM", 1, Shape(10, B, H, H)) for B in (1, 8) for H in (16, 32)]
    rows = [results.row(work, {"torch": 2e-3, "fastrnn": 1e-3}, 100) for work in works]
    machine = some_results()["machine"] | {"fma_peak": {"1": 100.0}}
    return {"machine": machine, "rows": rows, "bandwidth": {"4096": 8e9, "16384": 4e9}}


def test_the_bandwidth_ceiling_is_the_recurrent_weights_read_once_a_step() -> None:
    found = a_roofline()
    ceilings = [roofline.bandwidth_ceiling(row, found) for row in found["rows"]]
    # Half a multiply-add's two operations for each byte, row and matrix; two matrices of one size, one is read.
    assert ceilings == pytest.approx([2 * B * rate / 2 for B in (1, 8) for rate in (8, 4)])
    assert roofline.recurrent_bytes(results.work_of(found["rows"][0])) == 4 * (4 * 16) * 16


def test_bandwidth_is_that_of_a_stream() -> None:
    near, far = roofline.bandwidth(16 << 10, 1, 0.1), roofline.bandwidth(256 << 20, 1, 0.1)
    assert 5e8 < far < near < 2e12


def test_a_roofline_has_every_batch_and_size_with_calls_of_sensible_length() -> None:
    works = roofline.works("GRU", 2)
    assert [work.shape[1:] for work in works] == [(B, H, H) for B in roofline.BATCHES for H in roofline.SIZES]
    assert {(work.mode, work.cell, work.threads, work.kind) for work in works} == {("infer", "GRU", 2, "")}
    assert {work.shape.T for work in works if work.shape.B == 1} == {roofline.MOST_STEPS}
    assert all(roofline.FEWEST_STEPS <= work.shape.T <= roofline.MOST_STEPS for work in works)
    assert all(work.shape.T == roofline.FEWEST_STEPS or work.flops <= 1.1 * roofline.CALL_FLOPS for work in works)


def test_the_roofline_is_a_picture(tmp_path: Path) -> None:
    file = tmp_path / "roofline.png"
    found = a_roofline()
    roofline_plot.plot(found, file)
    assert file.read_bytes().startswith(b"\x89PNG")
    del found["bandwidth"]
    with pytest.raises(ValueError, match="not results of fastrnn roofline"):
        roofline_plot.plot(found, file)
