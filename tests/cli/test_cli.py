"""The console command: every subcommand, its files and its exit status."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import fastrnn
from fastrnn._bench import roofline
from fastrnn._bench.measure import ContenderError
from fastrnn._bench.work import Shape
from fastrnn._core import autograd
from fastrnn._markdown import marks
from fastrnn._verify import cases
from fastrnn.cli import demo, terminal
from fastrnn.cli.main import app
from fastrnn.train import tasks
from fastrnn.train.data.made import documentation


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture
def few_cases(monkeypatch: pytest.MonkeyPatch) -> None:
    """verify, on one shape."""
    monkeypatch.setattr(cases, "QUICK", (cases.Shape(4, 3, 5, 7),))


@pytest.mark.usefixtures("few_cases")
def test_verify_writes_every_error_and_exits_with_its_verdict(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "verify.json"
    result = call("verify", "--quick", "--cells", "gru,lstm", "--json", file)
    found = json.loads(file.read_text())
    assert result.exit_code == (0 if found["passed"] else 1)
    assert found["device"] == "cpu"
    assert found["machine"]["versions"]["torch"]
    assert len(found["results"]) == 12  # gru, lstm, lstm projected; four dtypes
    first = found["results"][0]
    assert (first["cell"], first["dtype"], first["shape"]["H"]) == ("gru", "float32", 7)
    assert {"tensor", "fastrnn", "torch", "allowed"} == set(first["errors"][0])
    assert "lstm, projected" in result.output

    page = tmp_path / "README.md"
    page.write_text("".join(marks("verify")))
    assert call("verify", "--render", file, "--into", page).exit_code == 0
    lines = [line.split(" | ") for line in page.read_text().splitlines() if line.startswith("| gru")]
    assert [line[1] for line in lines] == ["float32", "float64", "bfloat16", "float16"]
    largest = max(error["fastrnn"] for error in first["errors"] if error["tensor"].startswith("grad"))
    assert float(lines[0][7]) == pytest.approx(largest, rel=0.05)


@pytest.mark.usefixtures("few_cases")
def test_verify_fails_when_a_kernel_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    right = autograd.layer

    def wrong(*arguments: Any) -> Any:
        output, h_n, c_n = right(*arguments)
        return output * 1.01, h_n, c_n

    monkeypatch.setattr(autograd, "layer", wrong)
    result = call("verify", "--quick", "--cells", "gru")
    assert result.exit_code == 1
    assert "exceed the allowed error" in result.output


def test_bench_measures_writes_and_draws(tmp_path: Path) -> None:
    options = [
        "--mode",
        "both",
        "--cells",
        "gru",
        "--threads",
        "1",
        "--shapes",
        "2x2x4x5",
        "--rounds",
        3,
        "--block",
        0.001,
    ]
    file, picture = tmp_path / "bench.json", tmp_path / "speed.png"
    result = call("bench", *options, "--without", "onnxruntime,openvino", "--json", file, "--plot", picture)
    assert result.exit_code == 0
    found = json.loads(file.read_text())
    assert [(row["mode"], row["cell"], row["shape"]) for row in found["rows"]] == [
        ("infer", "GRU", [2, 2, 4, 5]),
        ("train", "GRU", [2, 2, 4, 5]),
    ]
    assert "geometric means" in result.output
    assert picture.read_bytes().startswith(b"\x89PNG")

    printed = call("bench", "--render", file)
    page = tmp_path / "README.md"
    begin, end = marks("bench")
    page.write_text(begin + end)
    assert call("bench", "--render", file, "--into", page).exit_code == 0
    assert page.read_text() == f"{begin}\n{printed.output.rstrip()}\n{end}"


def test_bench_measures_other_kinds_of_work(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    one = ["--cells", "lstm", "--threads", "1", "--shapes", "3x2x4x5", "--rounds", 1, "--block", 0, "--json", file]
    result = call("bench", *one, "--layers", 3, "--bidirectional", "--packed", "--dtype", "bfloat16")
    assert result.exit_code == 0
    assert "Training, 1 thread, 3 layers, bidirectional, packed, bfloat16" in result.output
    rows = json.loads(file.read_text())["rows"]
    fields = ("mode", "num_layers", "bidirectional", "packed", "dtype", "recompute")
    assert [[row[field] for field in fields] for row in rows] == [
        ["infer", 3, True, True, "bfloat16", False],
        ["train", 3, True, True, "bfloat16", False],
    ]
    assert [sorted(row["seconds"]) for row in rows] == [["fastrnn", "frozen", "torch"], ["fastrnn", "torch"]]
    assert "3 layers, bidirectional, packed, bfloat16" in call("bench", "--render", file).output


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark is Linux's")
def test_bench_measures_memory(tmp_path: Path) -> None:
    file = tmp_path / "memory.json"
    result = call("bench", "--memory", "--cells", "gru", "--threads", "1", "--shapes", "20x8x64x64", "--json", file)
    assert result.exit_code == 0
    assert "Memory of a training step, 1 thread" in result.output
    (row,) = json.loads(file.read_text())["rows"]
    assert row["mode"] == "memory"
    assert row["bytes"].keys() == {"torch", "fastrnn"}
    assert "fastrnn, MiB" in call("bench", "--render", file).output


def test_what_fails_in_a_contender_is_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*arguments: Any, **options: Any) -> None:
        raise ContenderError("TypeError in fastrnn: GRU.__init__() got an unexpected keyword argument 'recompute'")

    monkeypatch.setattr(terminal, "run_bench", run)
    result = call("bench", "--recompute")
    assert result.exit_code == 2
    assert result.output.startswith("fastrnn: TypeError in fastrnn: GRU.__init__() got an unexpected")


def test_roofline_measures_writes_and_draws_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(roofline, "SIZES", (16, 32))
    monkeypatch.setattr(roofline, "BATCHES", (1, 2))
    monkeypatch.setattr(roofline, "MOST_STEPS", 8)
    file, picture, again = tmp_path / "sub" / "roofline.json", tmp_path / "roofline.png", tmp_path / "again.png"
    options = ["--cell", "gru", "--without", "onnxruntime,openvino", "--rounds", 1, "--block", 0]
    result = call("roofline", *options, "--json", file, "--plot", picture)
    assert result.exit_code == 0
    found = json.loads(file.read_text())
    assert [(row["cell"], row["shape"]) for row in found["rows"]] == [
        ("GRU", [8, B, H, H]) for B in (1, 2) for H in (16, 32)
    ]
    assert found["bandwidth"].keys() == {"3072", "12288"}
    assert "3 KiB: read at" in result.output
    assert call("roofline", "--from", file, "--plot", again).exit_code == 0
    assert again.read_bytes() == picture.read_bytes()


def test_a_roofline_is_drawn_of_its_own_results_only(tmp_path: Path) -> None:
    file = tmp_path / "bench.json"
    file.write_text(json.dumps({"machine": {}, "rows": []}))
    result = call("roofline", "--from", file, "--plot", tmp_path / "roofline.png")
    assert result.exit_code == 2
    assert "these are not results of fastrnn roofline" in result.output
    result = call("roofline", "--from", file)
    assert result.exit_code == 2
    assert "--from needs --plot, the picture to draw; got no --plot" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--mode", "play"], "--mode must be infer, train or both; got 'play'"),
        (["bench", "--shapes", "1x2x3"], "--shapes takes TxBxIxH"),
        (["bench", "--cells", "MLP"], "a cell must be one of RNN, GRU, LSTM; got 'MLP'"),
        (["bench", "--threads", "0"], "got '0'"),
        (["bench", "--without", "tensorflow"], "got 'tensorflow'"),
        (["bench", "--layers", "0"], "Invalid value for '--layers'"),
        (["bench", "--dtype", "int8"], "--dtype int8 needs --mode infer"),
        (["bench", "--dtype", "float8"], "--dtype must be one of float32, bfloat16, float64, int8; got 'float8'"),
        (
            ["bench", "--memory", "--mode", "infer"],
            "--memory measures a training step, not inference; got --mode infer",
        ),
        (["bench", "--memory", "--plot", "a.png"], "--plot draws times, not memory; got --memory"),
        (["roofline", "--cell", "MLP"], "a cell must be one of RNN, GRU, LSTM; got 'MLP'"),
        (["roofline", "--cell", "GRU,LSTM"], "--cell must be one of RNN, GRU, LSTM; got 'GRU,LSTM'"),
        (["roofline", "--threads", "0"], "Invalid value for '--threads'"),
        (["roofline", "--without", "tensorflow"], "got 'tensorflow'"),
        (["verify", "--cells", "mlp"], "got 'mlp'"),
    ],
)
def test_a_wrong_option_is_refused_with_a_line(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    file, page = tmp_path / "bench.json", tmp_path / "page.md"
    machine = {"processor": "", "cores": 1, "instruction_set": "", "date": "", "versions": {}}
    file.write_text(json.dumps({"machine": machine, "rows": []}))
    page.write_text("nothing")
    result = call("bench", "--render", file, "--into", page)
    assert result.exit_code == 2
    assert marks("bench")[0] in result.output


def test_info_shows_what_info_returns() -> None:
    facts = fastrnn.info()
    assert {"kernels", "instruction_set", "threads", "build", "versions", "processor", "cores"} == set(facts)
    assert set(facts["kernels"]) == {"cpu", "cuda", "mps", "xpu"}
    assert facts["instruction_set"] in facts["kernels"]["cpu"]
    result = call("info")
    assert result.exit_code == 0
    assert facts["versions"]["torch"] in result.output
    assert facts["build"]["compiler"] in result.output


@pytest.mark.usefixtures("few_cases")
def test_demo_leaves_a_report_and_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    topics = list(documentation._topics())[:6]
    monkeypatch.setattr(documentation, "_topics", lambda: iter(topics))
    monkeypatch.setattr(demo, "CHARACTERS", {"hidden": 16, "steps": 16, "batch": 8})
    monkeypatch.setattr(demo, "SUMS", {"digits": 1, "count": 50, "epochs": 1, "hidden": 8})
    monkeypatch.setattr(demo, "SHAPES", (Shape(2, 2, 4, 5),))
    out = tmp_path / "demo"
    result = call("demo", "--out", out, "--epochs", 2)
    report = (out / "report.md").read_text()
    assert result.exit_code == (0 if "All" in report else 1)
    for picture in ("speed.png", "characters/curves.png"):
        assert (out / picture).read_bytes().startswith(b"\x89PNG")
        assert picture in report
    losses = {
        line.split("|")[1].strip(): float(line.split("|")[2]) for line in report.splitlines() if "| each " in line
    }
    assert losses["each character from the previous one"] < losses["each character by its frequency"]
    trained = re.search(r"\| the model after training \| ([\d.]+) \|", report)
    assert trained
    assert float(trained[1]) == pytest.approx(tasks.open_run(out / "characters").evaluate()["loss"], abs=1e-3)
    assert "torch.nn.LSTM" in report
    assert "The " in result.output
    (answer,) = re.findall(r"^47\+85 = (.*)$", result.output, re.MULTILINE)
    assert tasks.open_run(out / "sums").generate("47+85") == answer.strip()


def test_without_its_packages_the_command_says_how_to_get_them() -> None:
    script = "import sys; sys.modules['typer'] = None; from fastrnn.__main__ import main; main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [
        "fastrnn: the command line needs typer. Type: pip install typer rich matplotlib"
    ]


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run([sys.executable, "-m", "fastrnn", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert all(
        command in done.stdout for command in ("verify", "bench", "roofline", "info", "demo", "train", "generate")
    )
