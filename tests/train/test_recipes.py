"""Every recipe trains in a small version on made data; the page of results is what the committed files say."""

import importlib.util
import json
import math
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from fastrnn._markdown import marks
from fastrnn.train import tasks
from tests.train import made_data

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "bench" / "recipes").glob("*.toml"))


def program(name: str) -> ModuleType:
    """A program of bench/recipes, under a name that no other module has."""
    spec = importlib.util.spec_from_file_location(f"recipes_{name}", ROOT / "bench" / "recipes" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


runner, pages = program("run"), program("pages")


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_data.make(tmp_path_factory.mktemp("data"))


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_small_version_of_a_recipe_trains(file: Path, data: Path, tmp_path: Path) -> None:
    found = runner.recipe(file.stem)
    run = tasks.train(found["task"], out=tmp_path, overwrite=True, **runner.settings_of(found, data, smoke=True))
    kept = json.loads(json.dumps(runner.record(file.stem, found, run, "python run.py", 0.0)))
    figure = pages.figure_of(kept)
    assert figure is not None
    assert math.isfinite(figure)
    assert run.sample
    assert kept["epochs"]["done"] == kept["epochs"]["planned"]
    assert f"| {file.stem} | **{figure:.4g}**" in pages.markdown([kept])


@pytest.mark.parametrize("file", RECIPES, ids=lambda file: file.stem)
def test_the_settings_of_a_recipe_exist(file: Path) -> None:
    from fastrnn.train.tasks.config import make_settings

    found = runner.recipe(file.stem)
    settings = runner.settings_of(found, Path("data"))
    make_settings(tasks.Task.find(found["task"]).Settings, settings, f"{file.name}: ")
    assert set(found.get("goal", {})) <= {"metric", "at_most", "at_least", "minutes"}
    if "published" in found:
        assert set(found["published"]) == {"metric", "figure", "source"}


def result(name: str, **more: Any) -> dict[str, Any]:
    machine = {
        "processor": "P",
        "cores": 2,
        "instruction_set": "avx2",
        "date": "2026-01-01",
        "versions": {},
        "threads": 2,
        "cores_of_others": 0.0,
    }
    history = [
        {"epoch": 1, "train_loss": 2.0, "valid_perplexity": 200.0},
        {"epoch": 2, "train_loss": 1.0, "valid_perplexity": 120.0},
    ]
    return {
        "recipe": name,
        "command": f"run {name}",
        "seed": 0,
        "parameters": 1000,
        "machine": machine,
        "seconds": 60.0,
        "epochs": {"planned": 2, "done": 2},
        "stopped": "epochs",
        "history": history,
        "best": history[1],
        "test": {"perplexity": 115.0},
        "published": {"metric": "perplexity", "figure": 115.9, "source": "S"},
        "goal": {"at_most": 116, "minutes": 15},
    } | more


def test_the_table_tells_what_was_reached_and_what_was_cut_short(tmp_path: Path) -> None:
    found = [
        result("good"),
        result("slow", seconds=1000.0, machine={**result("")["machine"], "cores_of_others": 0.5}),
        result("short", epochs={"planned": 13, "done": 2}, stopped="interrupted", test={"perplexity": 130.0}),
        result(
            "valid", published={"metric": "valid_perplexity", "figure": 100.0, "source": "S"}, goal={"at_least": 110}
        ),
        result("counted", history=[], best={}, epochs={"planned": 0, "done": 0}, stopped="counted", goal=None),
    ]
    lines = pages.markdown(found).splitlines()
    assert lines[2:7] == [
        "| good | **115** perplexity | 115.9 (S) | ≤ 116 in 15 min: reached | 2 of 2 | 1.0 |",
        "| slow | **115** perplexity | 115.9 (S) | ≤ 116 in 15 min: not reached | 2 of 2 | 16.7 shared |",
        "| short | **130** perplexity | 115.9 (S) | ≤ 116 in 15 min: not reached | 2 of 13, cut short | 1.0 |",
        "| valid | **120** valid perplexity | 100 (S) | ≥ 110: reached | 2 of 2 | 1.0 |",
        "| counted | **115** perplexity | 115.9 (S) | – | – | 1.0 |",
    ]
    pages.draw(found, tmp_path / "curves.png")
    assert pages.digest(found).encode() in (tmp_path / "curves.png").read_bytes()


def test_the_program_trains_records_and_says_what_it_cannot(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runner, "RESULTS", tmp_path / "results")
    call = ["run.py", "ptb-kneser-ney-3", "--data", str(data), "--out", str(tmp_path / "runs"), "--minutes", "5"]
    monkeypatch.setattr("sys.argv", call)
    runner.main()
    (file,) = (tmp_path / "results").iterdir()
    kept = json.loads(file.read_text())
    assert kept["command"] == "python bench/recipes/run.py ptb-kneser-ney-3 --data DATA --minutes 5"
    assert str(data) not in file.read_text()
    assert kept["test"]["perplexity"] < 100
    monkeypatch.setattr("sys.argv", ["run.py", "ptb-sigmoid-rnn", *call[2:6], "--minutes", "0.00001"])
    runner.main()
    (file,) = (tmp_path / "results").glob("ptb-sigmoid-rnn*")
    kept = json.loads(file.read_text())
    assert kept["stopped"] == "interrupted"
    assert kept["epochs"]["done"] < kept["epochs"]["planned"] == 13
    assert math.isfinite(kept["test"]["loss"])  # measured, though it learned next to nothing
    with pytest.raises(SystemExit):
        runner.main()
    assert "already contains a run" in capsys.readouterr().err
    for name, message in (("ptb-small", "Give the folder of data sets: --data"), ("ptb", "no recipe 'ptb'")):
        monkeypatch.setattr("sys.argv", ["run.py", name])
        with pytest.raises(SystemExit):
            runner.main()
        assert message in capsys.readouterr().err


def test_the_page_and_its_picture_are_those_of_the_committed_results() -> None:
    begin, end = map(re.escape, marks("recipes"))
    found = re.search(f"{begin}\n(.*?)\n{end}", pages.PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found
    assert found[1] == pages.markdown(pages.results()), "type: python bench/recipes/pages.py"
    assert pages.digest(pages.results()).encode() in pages.PICTURE.read_bytes(), "type: python bench/recipes/pages.py"
