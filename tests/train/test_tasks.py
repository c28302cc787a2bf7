"""What all tasks share: prepare, fit, measure, save and report in one call, and a run's folder that is opened again."""

import csv
from pathlib import Path

import pytest
import torch

from fastrnn.train import load, tasks
from fastrnn.train.data import Window
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.ngram import NGram
from fastrnn.train.tasks.config import read_toml
from fastrnn.train.tasks.run import LEFT_BY_A_RUN
from tests.train import fake_task


@pytest.fixture(autouse=True)
def _letters(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_task.register(monkeypatch)


def test_a_call_trains_measures_and_leaves_a_folder(tmp_path: Path) -> None:
    run = tasks.train("letters", out=tmp_path / "run", letters="abc", epochs=12, hidden=16)
    assert run.result.stopped == "epochs"
    assert run.test is not None
    assert run.test["loss"] < 0.2
    assert run.generate("a", length=5, seed=0) == "abcabc"
    assert run.complete("b", n=2, length=2, top_k=1) == ["bca", "bca"]
    assert run.sample == "`abcabca`"
    kept = read_toml(tmp_path / "run" / "settings.toml")
    assert (kept["task"], kept["letters"], kept["hidden"], kept["clip"]) == ("letters", "abc", 16, "none")
    report = (tmp_path / "run" / "report.md").read_text()
    assert f"Test: loss {run.test['loss']:.5g}." in report
    assert "- letters: 3" in report
    assert "| hidden | 16 |" in report
    assert "`abcabca`" in report
    again = tasks.open_run(tmp_path / "run")
    assert again.settings == run.settings
    assert again.generate("a", length=30, seed=3) == run.generate("a", length=30, seed=3)
    assert again.evaluate() == run.test


def test_nothing_is_dropped_out_after_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fake_task, "samples", lambda model, prepared: f"training: {model.training}")
    run = tasks.train("letters", out=tmp_path / "run", epochs=1)
    assert run.sample == "training: False"
    assert not run.model.training
    assert not tasks.open_run(tmp_path / "run").model.training


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = tasks.train("letters", epochs=1)
    assert run.folder is None
    assert list(tmp_path.iterdir()) == []


def test_the_seed_decides_weights_and_order() -> None:
    first, same, other = (tasks.train("letters", epochs=1, seed=seed) for seed in (1, 1, 2))
    assert first.test == same.test
    assert first.test != other.test


def test_settings_come_from_defaults_file_and_names_in_that_order(tmp_path: Path) -> None:
    file = tmp_path / "f.toml"
    file.write_text('task = "letters"\nhidden = 5\nepochs = 1\nschedule = {name = "decay", factor = 0.5, after = 4}\n')
    run = tasks.train("letters", config=file, hidden=6, **{"schedule.after": 1})
    assert (run.settings.hidden, run.settings.epochs, run.settings.lr) == (6, 1, 0.02)
    assert run.settings.schedule == {"name": "decay", "factor": 0.5, "after": 1}
    file.write_text("hiden = 5\n")
    with pytest.raises(ValueError, match=r"f\.toml: unknown setting 'hiden'; did you mean 'hidden\'"):
        tasks.train("letters", config=file)


def test_a_run_is_resumed_or_replaced_only_on_request(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    tasks.train("letters", out=folder, epochs=1)
    before = {name: (folder / name).read_bytes() for name in ("settings.toml", "model.safetensors")}
    with pytest.raises(
        FileExistsError, match=r"already contains a run; continue it with --resume, replace it with --overwrite"
    ):
        tasks.train("letters", out=folder, epochs=2)
    with pytest.raises(ValueError, match="cell must be one of"):
        tasks.train("letters", out=folder, overwrite=True, cell="tree")
    with pytest.raises(FileNotFoundError, match=r"missing\.txt"):
        tasks.train("letters", out=folder, overwrite=True, data=str(tmp_path / "missing.txt"))
    assert before == {name: (folder / name).read_bytes() for name in before}
    run = tasks.train("letters", out=folder, overwrite=True, letters="xyz", epochs=1)
    assert run.generate("x").startswith("x")
    assert read_toml(folder / "settings.toml")["letters"] == "xyz"


def test_a_run_goes_on_with_its_own_settings_for_longer(tmp_path: Path) -> None:
    whole = tasks.train("letters", out=tmp_path / "whole", hidden=5, epochs=3)
    tasks.train("letters", out=tmp_path / "part", hidden=5, epochs=2)
    run = tasks.train("letters", out=tmp_path / "part", resume=True, epochs=3)
    assert run.settings == whole.settings
    assert [row["epoch"] for row in run.result.history] == [1, 2, 3]
    with pytest.raises(ValueError, match=r"checkpoint|hidden"):
        tasks.train("letters", out=tmp_path / "part", resume=True, hidden=6)
    assert read_toml(tmp_path / "part" / "settings.toml")["hidden"] == 5
    weights = run.model.state_dict()
    assert all(torch.equal(value, weights[name]) for name, value in whole.model.state_dict().items())
    assert read_toml(tmp_path / "part" / "settings.toml")["epochs"] == 3
    with pytest.raises(FileNotFoundError, match=r"there is no run in .*nothing: it has no settings\.toml"):
        tasks.train("letters", out=tmp_path / "nothing", resume=True)


def test_files_that_are_not_a_runs_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="files that do not belong to a run"):
            tasks.train("letters", out=tmp_path, overwrite=overwrite)
    with pytest.raises(FileExistsError, match="is a file"):
        tasks.train("letters", out=tmp_path / "report.md")
    assert (tmp_path / "report.md").read_text() == "mine"


def test_a_run_leaves_only_files_that_overwrite_removes(tmp_path: Path) -> None:
    tasks.train("letters", out=tmp_path / "run", epochs=1)
    assert {each.name for each in (tmp_path / "run").iterdir()} == {*LEFT_BY_A_RUN, "settings.toml"}


def test_other_data_are_measured_in_the_vocabulary_of_the_run(tmp_path: Path) -> None:
    data, other = tmp_path / "data.txt", tmp_path / "other.txt"
    data.write_text("abcd")
    run = tasks.train("letters", out=tmp_path / "run", data=str(data), epochs=2)
    other.write_text("dcba")
    assert run.test is not None
    assert run.evaluate(str(other))["loss"] > run.test["loss"]
    other.write_text("abcde")
    with pytest.raises(ValueError, match="another vocabulary or other sizes"):
        run.evaluate(str(other))


def test_data_are_found_again_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.txt").write_text("abcd")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    run = tasks.train("letters", out="run", data="data.txt", epochs=1)
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert tasks.open_run("../run").evaluate() == run.test


def test_a_counted_model_is_saved_and_opened(tmp_path: Path) -> None:
    text = "a b a c a b " * 9
    vocabulary = Vocabulary.build(text)
    ids = torch.tensor(vocabulary.encode(text))
    test = [Window(ids[:-1, None], ids[1:, None], True)]

    def prepare(settings: tasks.TaskSettings) -> tasks.Prepared:
        return tasks.Prepared(NGram(vocabulary, 2), ids, test=test)

    def count(prepared: tasks.Prepared, settings: tasks.TaskSettings) -> None:
        prepared.model.count(prepared.train)

    defined = {"Settings": tasks.TaskSettings, "prepare": prepare, "count": count, "samples": lambda model, _: "b"}
    run = tasks.train(tasks.Task.of("ngram", defined), out=tmp_path / "run")
    assert run.result is None
    assert run.test is not None
    assert run.test["perplexity"] < len(vocabulary)
    assert f"perplexity {run.test['perplexity']:.5g}" in (tmp_path / "run" / "report.md").read_text()
    opened = load(tmp_path / "run")
    assert opened.next("a") == run.model.next("a")


def test_what_is_no_task_is_refused_with_the_nearest() -> None:
    with pytest.raises(
        ValueError, match=r"unknown task 'adition'; did you mean 'addition'\? There are: addition, caption"
    ):
        tasks.train("adition")


def test_the_log_has_every_epoch(tmp_path: Path) -> None:
    tasks.train("letters", out=tmp_path / "run", epochs=2)
    with open(tmp_path / "run" / "log.csv", newline="") as lines:
        assert [row["epoch"] for row in csv.DictReader(lines)] == ["1", "2"]
