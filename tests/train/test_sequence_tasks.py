"""The tasks classify, forecast, tag and music: on generated data, on files, and in use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
import torch

from fastrnn.train import evaluate, fit
from fastrnn.train.data.made.series import waves
from fastrnn.train.music import write_midi
from fastrnn.train.tasks import classify, forecast, music, tag
from fastrnn.train.tasks.task import Generation, Prepared

SMALL = {"hidden": 8, "epochs": 1}


def trained(task: Any, **settings: Any) -> Prepared:
    chosen = task.Settings(**{**SMALL, **settings})
    torch.manual_seed(chosen.seed)
    prepared = task.prepare(chosen)
    result = fit(
        prepared.model, prepared.train, prepared.valid, epochs=chosen.epochs, lr=chosen.lr, clip=chosen.clip,
        schedule=chosen.schedule, progress=False, **prepared.fit,
    )  # fmt: skip
    assert result.best[f"valid_{prepared.fit.get('monitor', 'loss')}"] >= 0
    prepared.model.eval()
    return prepared


@pytest.fixture
def few_docstrings(monkeypatch: pytest.MonkeyPatch) -> None:
    from fastrnn.train.data.made import topics

    subjects = {"files": "tempfile zipfile shutil tarfile", "testing": "doctest pdb bdb logging"}
    monkeypatch.setattr(topics, "SUBJECTS", subjects)


@pytest.mark.usefixtures("few_docstrings")
def test_classify_docstrings() -> None:
    prepared = trained(classify, embedding=16, epochs=4, lr=0.02, batch=20)
    assert evaluate(prepared.model, prepared.test)["accuracy"] > 0.6
    assert classify.samples(prepared.model, prepared).count("\n") == 11
    answer = classify.generate(prepared.model, "remove the file from the archive", Generation()).splitlines()
    assert answer[0] == "remove the file from the archive"
    assert {line.split()[1] for line in answer[1:]} == {"files", "testing"}
    assert "files" in classify.generate(prepared.model, None, Generation())


def test_classify_a_table_with_a_convolution(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    rows = [f'"the {word} Film {i}",{label}' for i in range(30) for word, label in (("good", "yes"), ("bad", "no"))]
    file.write_text("text,label\n" + "\n".join(rows) + "\n")
    settings = {
        "data": str(file),
        "embedding": 8,
        "channels": 8,
        "kernel": 3,
        "dense": 8,
        "epochs": 5,
        "lr": 0.03,
        "batch": 8,
    }
    prepared = trained(classify, **settings, dropout=0.0, min_count=1)
    assert evaluate(prepared.model, prepared.test)["accuracy"] == 1
    answer = classify.generate(prepared.model, "the good Film", Generation())
    assert answer.splitlines()[1].split()[1] == "yes"
    again = classify.batches(classify.Settings(data=str(file)), prepared.model)
    assert len(again.items) == 60
    file.write_text("text,label\na b,maybe\nc d,yes\n")
    with pytest.raises(ValueError, match="classes that the model does not know: maybe"):
        classify.batches(classify.Settings(data=str(file)), prepared.model)
    file.write_text("text,label\na b,yes\n")
    with pytest.raises(ValueError, match="has only the label 'yes'"):
        classify.prepare(classify.Settings(data=str(file)))


def test_forecast_made_waves_and_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "waves", lambda steps, **given: waves(400, **given))
    prepared = trained(forecast, window=24, horizon=6, epochs=3, lr=0.02)
    found = evaluate(prepared.model, prepared.test)
    assert found["mse"] < found["repeat_last_mse"]
    assert "repeat the last season" in forecast.samples(prepared.model, prepared)
    assert len(forecast.generate(prepared.model, None, Generation()).split()) == 6
    assert len(forecast.generate(prepared.model, "1, 2 3 4", Generation()).split()) == 6
    with pytest.raises(ValueError, match=r"Expected numbers, or a file that ends in \.csv, got 'many'"):
        forecast.generate(prepared.model, "many", Generation())

    file = tmp_path / "a.csv"
    steps = np.arange(200)
    file.write_text("date,a,b\n" + "".join(f"{2000 + i}-01-01,{100 + i},{np.sin(i) + 2}\n" for i in steps))
    settings = {"data": str(file), "targets": ("b",), "window": 12, "horizon": 3, "split": (120, 40, 40), "log": False}
    prepared = trained(forecast, **settings)
    assert (prepared.model.features, prepared.model.targets) == (2, [1])
    assert len(forecast.generate(prepared.model, str(file), Generation()).split()) == 3
    whole = forecast.batches(forecast.Settings(**settings), prepared.model)
    assert evaluate(prepared.model, whole)["mse"] > 0
    with pytest.raises(ValueError, match="unknown column to predict 'c'; there are a, b"):
        forecast.prepare(forecast.Settings(data=str(file), targets=("c",)))
    with pytest.raises(ValueError, match="season=24 is longer than window=12"):
        forecast.prepare(forecast.Settings(**settings, season=24))


def test_logarithms_come_back_as_numbers_of_the_series(tmp_path: Path) -> None:
    """A series that grows by 3 % a step."""
    file = tmp_path / "a.csv"
    file.write_text("month,count\n" + "".join(f"{1950 + i}-01-01,{100 * 1.03**i}\n" for i in range(120)))
    prepared = trained(
        forecast, data=str(file), log=True, window=12, horizon=2, epochs=10, lr=0.03, dropout=0.0, batch=8
    )
    last = 100 * 1.03**119
    answer = forecast.generate(prepared.model, str(file), Generation()).split()
    assert [float(each) / last for each in answer] == pytest.approx([1.03, 1.03**2], rel=0.02)


def test_tag_tokens_of_python(monkeypatch: pytest.MonkeyPatch) -> None:
    made = tag.python_tokens
    monkeypatch.setattr(tag, "python_tokens", lambda seed: made(200, longest=12, seed=seed))
    prepared = trained(tag, epochs=3, lr=0.03, embedding=16, column_embedding=8, crf=False, batch=8)
    baseline = float(prepared.about["accuracy of each word's most frequent tag"])
    assert evaluate(prepared.model, prepared.test)["accuracy"] > baseline
    assert tag.samples(prepared.model, prepared).count("> ") == 5
    lines = tag.generate(prepared.model, "def f(x): return x", Generation()).splitlines()
    assert [line.split()[1] for line in lines] == ["def", "f", "(", "x", ")", ":", "return", "x"]
    assert tag.generate(prepared.model, None, Generation())


def test_tag_a_file_of_columns(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    file.write_text("the DT B-NP\ncat NN I-NP\nsat VBD B-VP\n\n" * 30)
    settings = {"data": str(file), "columns": ("word", "pos"), "embedding": 8, "word2vec": 2, "epochs": 6, "lr": 0.02}
    prepared = trained(tag, **settings)
    assert evaluate(prepared.model, prepared.test)["f1"] == 1
    answer = tag.generate(prepared.model, "the cat sat\tDT NN VBD", Generation())
    assert [line.split() for line in answer.splitlines()] == [["B-NP", "the"], ["I-NP", "cat"], ["B-VP", "sat"]]
    assert len(tag.batches(tag.Settings(**settings), prepared.model).items) == 30
    file.write_text("the DT B-PP\n\n")
    with pytest.raises(ValueError, match="tags that the model does not know: B-PP"):
        tag.batches(tag.Settings(**settings), prepared.model)


def test_music_by_rule_and_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = music.chords
    monkeypatch.setattr(music, "chords", lambda count, seed: made(20, bars=4, seed=seed))
    prepared = trained(music, hidden=24, epochs=5, steps=8, lr=0.02)
    limit = float(next(value for name, value in prepared.about.items() if "lowest possible loss" in name).split()[0])
    assert limit < evaluate(prepared.model, prepared.test)["loss"] < 30
    assert "█" in music.samples(prepared.model, prepared)
    out = tmp_path / "a.mid"
    assert music.generate(prepared.model, None, Generation(length=20, seed=1, out=out)) == f"20 steps written to {out}"
    assert mido.MidiFile(out).length > 0
    music.generate(prepared.model, str(out), Generation(length=20, out=tmp_path / "a.png"))
    assert (tmp_path / "a.png").stat().st_size > 1000

    for number, piece in enumerate(made(9, bars=2)):
        write_midi(torch.from_numpy(piece.roll), tmp_path / f"{number}.mid")
    again = music.prepare(music.Settings(data=str(tmp_path), **SMALL))
    assert sum(len(part.items) for part in (again.train, again.valid, again.test)) == 10
    assert evaluate(prepared.model, music.batches(music.Settings(data=str(tmp_path)), prepared.model))["loss"] > 0
    (tmp_path / "none").mkdir()
    with pytest.raises(ValueError, match="has 0 MIDI files"):
        music.prepare(music.Settings(data=str(tmp_path / "none")))


def test_parts_of_music_have_the_frame_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut or not, each frame is predicted once, from the one before; silence comes before the first."""
    roll = (np.arange(10)[:, None] == np.arange(88)).astype(np.uint8)
    cut = music._bucketed(music.Settings(), [roll], 4, shuffle=False)
    assert [item[0].argmax(1).tolist() for item in cut.items] == [[0, 0, 1, 2], [3, 4, 5, 6], [7, 8]]
    assert [item[1].argmax(1).tolist() for item in cut.items] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert not cut.items[0][0][0].any()
