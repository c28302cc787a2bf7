"""What of the comparison on CUDA can be tested without a GPU: the options, the turns, the checks, the files."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fastrnn import _markdown
from fastrnn._bench import contenders, cuda, cuda_grid, results, table
from fastrnn._bench.choose import choose
from fastrnn._bench.measure import ContenderError
from fastrnn._bench.work import DTYPES, GRID, Shape, Work
from fastrnn._core import gpu
from fastrnn.cli.results import write_json
from tests.cli.test_cli import call

TINY = Shape(3, 2, 4, 5)
GPU = {"name": "A GPU", "driver": "1.2", "cuda": "13.0", "cudnn": 91000}
OPTIONS: dict[str, Any] = {
    "mode": "both",
    "threads": None,
    "cells": "RNN,GRU,LSTM",
    "shapes": None,
    "full_grid": False,
    "dtype": None,
    "memory": False,
}


def test_the_cpu_is_always_there_and_another_device_is_refused() -> None:
    assert gpu.parse_device("cpu") == "cpu"
    assert gpu.torch_device("cpu:0") == "cpu:0"
    for wrong in ("mps", "cpu:0", "cuda:1"):
        with pytest.raises(ValueError, match=f"--device must be one of cpu, cuda; got '{wrong}'"):
            gpu.parse_device(wrong)


@pytest.mark.parametrize(
    ("available", "built", "message"),
    [
        (False, True, "torch .* finds none"),
        (False, False, "torch .* finds none"),
        (True, False, "which this build lacks"),
    ],
)
def test_cuda_needs_a_gpu_and_kernels(
    monkeypatch: pytest.MonkeyPatch, available: bool, built: bool, message: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    monkeypatch.setattr(gpu._C, "build_info", lambda: {"cuda": built})
    with pytest.raises(ValueError, match=message):
        gpu.parse_device("cuda")
    if not available:
        with pytest.raises(ValueError, match=r"--device cuda:1 needs a GPU, and torch .* finds none"):
            gpu.torch_device("cuda:1")


def test_with_both_cuda_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu._C, "build_info", lambda: {"cuda": True})
    assert gpu.parse_device("cuda") == "cuda"


CUDNN: Any = torch.backends.cudnn


def switches() -> tuple[str, str]:
    return CUDNN.rnn.fp32_precision, CUDNN.conv.fp32_precision


def test_the_tf32_switches_are_put_back_whatever_happens() -> None:
    before = switches(), CUDNN.allow_tf32
    seen = []

    def look_and_fail() -> None:
        with gpu.tf32(False):
            seen.append(switches())
            with gpu.tf32(True):
                seen.append(switches())
            seen.append(switches())
            raise KeyError

    with pytest.raises(KeyError):
        look_and_fail()
    assert seen == [("ieee",) * 2, ("tf32",) * 2, ("ieee",) * 2]
    assert (switches(), CUDNN.allow_tf32) == before


@pytest.mark.parametrize("allowed", [False, True])
def test_torch_reads_the_tf32_switches_within(allowed: bool) -> None:
    """It would refuse, if those of convolutions and of recurrent layers, or the older one of both, disagreed."""
    with gpu.tf32(allowed):
        assert CUDNN.allow_tf32 is allowed
        with CUDNN.flags(enabled=True, allow_tf32=allowed):  # reads them on the way in
            assert CUDNN.allow_tf32 is allowed
        assert CUDNN.allow_tf32 is allowed


@pytest.mark.parametrize("rnn", ["ieee", "tf32"])
@pytest.mark.parametrize("older", [False, True])
def test_switches_that_a_user_has_set_apart_are_put_back(older: bool, rnn: str) -> None:
    before = switches(), CUDNN.allow_tf32
    try:
        CUDNN.allow_tf32 = older
        CUDNN.rnn.fp32_precision, CUDNN.conv.fp32_precision = apart = rnn, "ieee" if rnn == "tf32" else "tf32"
        with gpu.tf32(False):
            assert switches() == ("ieee", "ieee")
        assert switches() == apart
        CUDNN.rnn.fp32_precision = CUDNN.conv.fp32_precision = "tf32" if older else "ieee"
        assert CUDNN.allow_tf32 is older  # torch would refuse, were the older one not as before
    finally:
        CUDNN.allow_tf32 = before[1]
        CUDNN.rnn.fp32_precision, CUDNN.conv.fp32_precision = before[0]


def test_the_default_grid_is_a_small_part_with_every_size_of_the_whole() -> None:
    assert len(cuda_grid.FULL_GRID) == 126
    assert set(cuda_grid.GRID) < set(cuda_grid.FULL_GRID)
    for field in Shape._fields:
        every, some = ({getattr(shape, field) for shape in grid} for grid in (cuda_grid.FULL_GRID, cuda_grid.GRID))
        assert every == some
    works = choose("cuda", **OPTIONS)
    assert len(set(works)) == len(works) == 13 * 3 * 2 * 5 + 3 * 3 * 2 * 2
    assert {work.device for work in works} == {"cuda"}
    assert {work.threads for work in works} == {0}
    kinds = {work.kind for work in works}
    assert {f"CUDA, {dtype}" for dtype in DTYPES["cuda"]} < kinds
    for kind in ("3 layers", "bidirectional", "packed"):
        assert {f"CUDA, {kind}, float16", f"CUDA, {kind}, tf32"} < kinds
    assert [work.dtype for work in works][-1] == "float64"  # what a budget cuts off first


def test_other_options_choose_other_work_on_cuda() -> None:
    assert len(choose("cuda", **OPTIONS | {"full_grid": True})) == 3780
    one = OPTIONS | {"mode": "infer", "cells": "lstm", "dtype": "tf32,float64"}
    assert [(work.shape, work.dtype) for work in choose("cuda", **one | {"shapes": "3x2x4x5"})] == [
        (TINY, "tf32"),
        (TINY, "float64"),
    ]
    assert {work.shape for work in choose("cuda", **one, packed=True)} == set(cuda_grid.GRID)
    assert {work.packed for work in choose("cuda", **one, packed=True)} == {True}


def test_the_cpu_has_its_own_defaults() -> None:
    works = choose("cpu", **OPTIONS)
    assert works == [
        Work(mode, cell, threads, shape)
        for mode in ("infer", "train")
        for threads in (1, 2)
        for cell in ("RNN", "GRU", "LSTM")
        for shape in GRID
    ]


@pytest.mark.parametrize(
    ("on", "options", "message"),
    [
        ("cuda", {"threads": "1"}, "--threads works on the CPU only; got --device cuda"),
        ("cuda", {"memory": True, "mode": "train"}, "--memory works on the CPU only; got --device cuda"),
        ("cuda", {"dtype": "float8"}, "--dtype must be one of float16, tf32, bfloat16, float32, float64; got 'float8'"),
        ("cpu", {"dtype": "tf32"}, "--dtype must be one of float32, bfloat16, float64, int8; got 'tf32'"),
        ("cpu", {"full_grid": True}, "--full-grid needs --device cuda.*got --device cpu"),
        ("cuda", {"full_grid": True, "shapes": "3x2x4x5"}, "--full-grid .* excludes --shapes.*3x2x4x5"),
    ],
)
def test_options_that_make_no_sense_are_refused(on: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        choose(on, **OPTIONS | options)


def test_work_on_cuda_names_its_dtype_and_no_threads() -> None:
    work = Work("train", "GRU", 0, TINY, 3, dtype="float32", device="cuda")
    assert str(work) == "train GRU 3x2x4x5, CUDA, 3 layers, float32"
    assert table.heading("train", 0, work.kind) == "Training, CUDA, 3 layers, float32"
    assert contenders.entrants(work._replace(mode="infer", num_layers=1)) == ["torch", "fastrnn"]
    assert contenders.torch_dtype(work._replace(dtype="tf32")) == torch.float32


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Callable[[], Any], int]]:
    """Every turn that was taken, in order; a turn calls once and says that a call takes a millisecond."""
    turns: list[tuple[Callable[[], Any], int]] = []

    def turn(run: Callable[[], Any], calls: int) -> float:
        run()
        turns.append((run, calls))
        return 1e-3

    monkeypatch.setattr(cuda, "turn", turn)
    return turns


def test_turns_alternate_after_the_warm_up(clock: list[tuple[Callable[[], Any], int]]) -> None:
    runs: dict[str, Callable[[], Any]] = {"torch": lambda: 1, "fastrnn": lambda: 2}
    assert cuda.take_turns(runs, rounds=7, block=0.02) == {"torch": 1e-3, "fastrnn": 1e-3}
    assert [calls for _, calls in clock] == [1] * 2 * (1 + cuda.WARM_UP) + [20] * 14
    assert [run for run, _ in clock[-14:]] == list(runs.values()) * 7


def test_the_median_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    times = itertools.chain([1.0, 1.0], [5.0, 1.0, 2.0, 9.0, 4.0])
    monkeypatch.setattr(cuda, "turn", lambda run, calls: next(times))
    assert cuda.take_turns({"torch": lambda: None}, rounds=5, block=0.02) == {"torch": 4.0}


def test_a_slow_layer_has_the_fewest_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    now = itertools.count()
    monkeypatch.setattr(cuda.time, "perf_counter", lambda: float(next(now)))
    counted = []
    monkeypatch.setattr(cuda, "turn", lambda run, calls: counted.append(calls) or 1.0)
    cuda.take_turns({"torch": lambda: None}, rounds=18, block=0.02)
    assert counted == [1] * (2 + cuda.FEWEST_ROUNDS)


@pytest.mark.parametrize("dtype", DTYPES["cuda"])
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.usefixtures("clock")
def test_the_contest_checks_and_measures(mode: str, dtype: str) -> None:
    work = Work(mode, "LSTM", 1, TINY, 2, packed=True, dtype=dtype)
    with cuda.CudaContest() as contest:
        assert contest.missing.keys() == {"onnxruntime", "openvino"}
        assert contest.seconds(work, ["torch", "fastrnn"]).keys() == {"torch", "fastrnn"}


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("wrong", [1.01, float("nan")])
@pytest.mark.parametrize("mode", ["infer", "train"])
@pytest.mark.parametrize("dtype", ["float16", "tf32", "float32", "float64"])
def test_wrong_numbers_are_found_before_the_measurement(
    monkeypatch: pytest.MonkeyPatch, mode: str, dtype: str, wrong: float
) -> None:
    right = contenders.contender

    def planted(name: str, work: Work, layers: Any) -> Callable[[], Any]:
        run = right(name, work, layers)
        factor = wrong if name == "fastrnn" else 1
        return lambda: [factor * each for each in run()] if work.mode == "train" else factor * run()

    monkeypatch.setattr(cuda, "contender", planted)
    with pytest.raises(ContenderError, match=r"fastrnn's relative error is .* is allowed"):
        cuda.CudaContest().seconds(Work(mode, "GRU", 1, TINY, dtype=dtype), ["torch", "fastrnn"])


def test_a_full_memory_is_said_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> Any:
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(cuda, "take_turns", full)
    with pytest.raises(ContenderError, match="OutOfMemoryError: out of memory"):
        cuda.CudaContest().seconds(Work("infer", "GRU", 1, TINY), ["torch", "fastrnn"])


@pytest.fixture
def a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU on which torch takes twice as long as fastrnn, and an RNN does not work."""

    def seconds(contest: Any, work: Work, names: list[str], rounds: int, block: float) -> dict[str, float]:
        if work.cell == "RNN":
            raise ContenderError("no")
        return {"torch": 2e-3, "fastrnn": 1e-3}

    monkeypatch.setattr(cuda.CudaContest, "seconds", seconds)
    monkeypatch.setattr(gpu, "describe", lambda: GPU)


@pytest.mark.usefixtures("a_gpu")
def test_a_failure_costs_its_own_work_only_and_every_step_is_saved() -> None:
    works = choose("cuda", **OPTIONS | {"shapes": "3x2x4x5", "mode": "infer", "dtype": "float16,tf32"})
    saved: list[dict[str, Any]] = []
    found = results.run(works, command="test", save=lambda results: saved.append(json.loads(json.dumps(results))))
    assert found["failed"] == {
        "infer RNN 3x2x4x5, CUDA, float16": "no",
        "infer RNN 3x2x4x5, CUDA, tf32": "no",
    }
    assert found["missing"] == 0
    assert [row["ratio_torch"] for row in found["rows"]] == [2] * 4
    assert [results.work_of(row) for row in found["rows"]] == [work for work in works if work.cell != "RNN"]
    assert [each["missing"] for each in saved] == [5, 4, 3, 2, 1, 0]
    assert saved[-1] == found
    assert found["left_out"].keys() == {"onnxruntime", "openvino"}
    assert found["machine"]["gpu"] == GPU
    assert "fma_peak" not in found["machine"]
    assert "A GPU, driver 1.2, CUDA 13.0, cuDNN 91000" in _markdown.about(found["machine"])
    text = table.markdown(found)
    assert "Inference, CUDA, float16" in text
    assert "thread" not in text


@pytest.mark.usefixtures("a_gpu")
def test_a_spent_budget_leaves_the_rest_out_and_counts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    works = choose("cuda", **OPTIONS | {"cells": "gru"})
    now = itertools.count()  # a second passes between any two looks at the clock
    monkeypatch.setattr(results.time, "monotonic", lambda: float(next(now)))
    found = results.run(works, budget=10)
    assert len(found["rows"]) == 10
    assert found["missing"] == len(works) - 10


@pytest.mark.usefixtures("a_gpu")
def test_the_command_leaves_what_it_has_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "parse_device", lambda text: text)
    file, picture = tmp_path / "bench.json", tmp_path / "bench.png"
    result = call("bench", "--device", "cuda", "--dtype", "float16", "--json", file, "--plot", picture)
    assert result.exit_code == 1
    assert "failed: infer RNN 64x1x64x64, CUDA, float16: no" in result.output
    assert "Training, CUDA, 3 layers, float16" in result.output
    assert len(json.loads(file.read_text())["rows"]) == 2 * 2 * (13 + 3)
    assert picture.read_bytes().startswith(b"\x89PNG")
    readme = tmp_path / "README.md"
    readme.write_text("".join((*_markdown.marks("bench"), *_markdown.marks("bench-cuda"))))
    assert call("bench", "--render", file, "--into", readme).exit_code == 0
    assert readme.read_text().startswith("".join(_markdown.marks("bench")))
    assert "A GPU, driver 1.2" in readme.read_text()
    result = call("bench", "--device", "cuda", "--cells", "gru", "--budget", 0, "--json", file)
    assert result.exit_code == 0
    found = json.loads(file.read_text())
    assert f"time budget exhausted; {found['missing']} of {found['missing']} cases not measured" in result.output
    assert found["rows"] == []


@pytest.mark.parametrize("command", ["verify", "bench"])
def test_without_a_gpu_the_command_says_so(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = call(command, "--device", "cuda")
    assert result.exit_code == 2
    assert result.output.startswith("fastrnn: --device cuda needs a GPU")


def test_a_file_is_whole_at_any_time(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "a.json"
    write_json({"a": 1}, file)
    with pytest.raises(TypeError):
        write_json({"a": object()}, file)
    assert json.loads(file.read_text()) == {"a": 1}
