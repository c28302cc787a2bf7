"""`fastrnn train`, `generate`, `complete` and `evaluate`: what they print, write and refuse."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fastrnn.cli import train as train_cli
from fastrnn.cli.console import Commands
from fastrnn.train import tasks
from tests.train import fake_task

ROOT = Path(__file__).parents[2]
QUICK = ("--set", "epochs=1")


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typer.Typer:
    """The commands with a task more, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    fake_task.register(monkeypatch)
    app = typer.Typer(cls=Commands)
    train_cli.add_to(app)
    return app


def call(app: typer.Typer, *arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(result: Result, *messages: str) -> None:
    """The command has ended with status 2, and with one line that has all this."""
    assert result.exit_code == 2, result.output
    (line,) = result.output.splitlines()
    assert line.startswith("fastrnn: ")
    assert all(message in line for message in messages), line


def test_a_run_is_trained_used_and_measured(app: typer.Typer, tmp_path: Path) -> None:
    result = call(app, "train", "letters", "--set", "letters=abc", "--set", "epochs=12", "--set", "hidden=16")
    assert result.exit_code == 0, result.output
    assert "On the test data" in result.output
    assert "abcabca" in result.output
    assert "fastrnn generate out/letters" in result.output
    assert (tmp_path / "out" / "letters" / "report.md").exists()

    result = call(app, "generate", "out/letters", "--prompt", "ab", "--length", 4, "--top-k", 1)
    assert (result.exit_code, result.output) == (0, "abcabc\n")
    result = call(app, "complete", "out/letters", "ab", "--top", 2, "--sentences", 2, "--length", 1, "--beam", 1)
    assert result.exit_code == 0
    assert result.output.splitlines()[-1] == "abc"
    (probable,) = (line for line in result.output.splitlines() if line.startswith("│ c "))
    assert float(probable.split("│")[2]) > 0.8
    result = call(app, "evaluate", "out/letters")
    run = tasks.open_run("out/letters")
    assert f"{run.evaluate()['loss']:.5g}" in result.output
    Path("other.txt").write_text("cba")
    result = call(app, "evaluate", "out/letters", "--data", "other.txt")
    assert f"{run.evaluate('other.txt')['loss']:.5g}" in result.output


def test_options_come_before_the_file_and_set_before_options(app: typer.Typer) -> None:
    Path("f.toml").write_text("seed = 3\nepochs = 1\nhidden = 5\n")
    assert call(app, "train", "letters", "--config", "f.toml", "--seed", 4, "--set", "hidden=6").exit_code == 0
    settings = tasks.open_run("out/letters").settings
    assert (settings.seed, settings.epochs, settings.hidden) == (4, 1, 6)


def test_a_run_is_neither_overwritten_nor_resumed_by_accident(app: typer.Typer) -> None:
    assert call(app, "train", "letters", *QUICK).exit_code == 0
    refused(call(app, "train", "letters", *QUICK), "out/letters already contains a run", "--resume", "--overwrite")
    assert call(app, "train", "letters", "--resume", "--set", "epochs=2").exit_code == 0
    assert "| 2 |" in Path("out/letters/report.md").read_text()
    assert call(app, "train", "letters", "--overwrite", *QUICK).exit_code == 0
    assert "| 2 |" not in Path("out/letters/report.md").read_text()
    refused(call(app, "train", "letters", "--resume", "--out", "new"), "no run in new")
    refused(call(app, "train", "letters", "--resume", "--overwrite"), "--resume continues a run and --overwrite")


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (["--set", "hiden=3"], ["unknown setting 'hiden'; did you mean 'hidden'?"]),
        (["--set", "hidden"], ["--set takes key=value"]),
        (["--set", "hidden=big"], ['hidden must be a whole number; got "big"']),
        (["--config", "missing.toml"], ["missing.toml: No such file"]),
        (["--config", "bad.toml"], ["bad.toml, line 2: "]),
        (["--config", "lm.toml"], ["lm.toml is for the task 'lm'"]),
        (["--data", "missing.txt"], ["missing.txt: No such file"]),
        (["--data", "empty.txt"], []),
        (["--device", "tpu"], ["--device must be one of cpu, cuda; got 'tpu'"]),
        (["--set", "schedule=3"], ["schedule must be a table"]),
        (["--set", "schedule.name=decai"], ["decay"]),
    ],
)
def test_what_is_wrong_is_a_line_and_nothing_is_written(
    app: typer.Typer, arguments: list[str], messages: list[str]
) -> None:
    Path("bad.toml").write_text("hidden = 5\nlr = fast\n")
    Path("lm.toml").write_text('task = "lm"\n')
    Path("empty.txt").write_text("")
    refused(call(app, "train", "letters", *arguments), *messages)
    assert not Path("out/letters/model.safetensors").exists()


def test_what_is_no_run_is_refused(app: typer.Typer) -> None:
    for command in (["generate", "no"], ["evaluate", "no"], ["complete", "no", "a"]):
        refused(call(app, *command), "there is no run in no")
    assert call(app, "train", "letters", *QUICK).exit_code == 0
    refused(call(app, "generate", "out/letters", "--prompt", "z"), "z")
    refused(call(app, "generate", "out/letters", "--prompt", "a", "--out", "a.mid"), "writes text")
    refused(call(app, "evaluate", "out/letters", "--data", "missing.txt"), "missing.txt: No such file")
    model = Path("out/letters/model.safetensors")
    model.write_bytes(model.read_bytes()[:-9])
    refused(call(app, "generate", "out/letters"), "model.safetensors is damaged")
    model.unlink()
    refused(call(app, "generate", "out/letters"), "no model.safetensors")


def test_help_of_a_task_lists_its_settings(app: typer.Typer) -> None:
    result = call(app, "train", "letters", "--help")
    assert result.exit_code == 0
    lines = {line.split()[0]: line for line in result.output.splitlines() if line.strip()}
    assert "--resume" in result.output
    assert '"abcd"' in lines["letters"]
    assert "One of lstm, " in result.output
    assert all(name in call(app, "train", "--help").output for name in tasks.TASKS)


def test_a_training_that_diverges_ends_with_status_1(app: typer.Typer) -> None:
    with pytest.warns(RuntimeWarning, match="not finite"):
        result = call(app, "train", "letters", *QUICK, "--set", "lr=1e38", "--set", "optimizer=sgd")
    assert result.exit_code == 1
    assert "not finite" in result.output


def test_help_does_not_wait_for_torch() -> None:
    script = "import sys, fastrnn.cli.train; assert not {'torch', 'fastrnn.train.loop.fit'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="gloo and torchrun")
def test_under_torchrun_one_process_writes_and_speaks(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("abcd efgh " * 200)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "fastrnn"]
    settings = ("hidden=8", "embedding=8", "batch=4", "steps=8", "epochs=1")
    command += ["train", "chars", "--data", "text.txt", *(part for each in settings for part in ("--set", each))]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("On the test data") == 1
    assert (tmp_path / "out" / "chars" / "report.md").exists()
