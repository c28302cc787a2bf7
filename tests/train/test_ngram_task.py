"""The task that counts: Python's documentation, a given text, a folder of three."""

import math

import pytest

from fastrnn.train import evaluate, load, save
from fastrnn.train.tasks import chars, ngram

LINES = "".join(f"this is a {noun} of {other}\n" for noun in ("test", "word", "cat") for other in ("a", "b", "c", "d"))


def run(**settings):
    chosen = ngram.Settings(**settings)
    prepared = ngram.prepare(chosen)
    ngram.count(prepared, chosen)
    return prepared


def test_pythons_documentation(tmp_path):
    prepared = run(order=3)
    figures = evaluate(prepared.model, prepared.test)
    assert 20 < figures["perplexity"] < 300
    assert "this is a" in ngram.samples(prepared.model, prepared)
    save(prepared.model, tmp_path / "model.safetensors")
    again = load(tmp_path / "model.safetensors")
    assert evaluate(again, prepared.test) == figures
    assert again.next("this is a") == prepared.model.next("this is a")


def test_characters_are_those_of_the_task_chars():
    prepared = run(order=4, tokenizer="characters")
    other = chars.prepare(chars.Settings())
    assert prepared.model.vocabulary == other.model.vocabulary
    assert sum(len(batch.target) for batch in prepared.test) == sum(batch.target.numel() for batch in other.test)
    assert evaluate(prepared.model, prepared.test)["loss"] < 2
    assert "A sample:" in ngram.samples(prepared.model, prepared)


@pytest.mark.parametrize("smoothing", ["ml", "add-k", "interpolated", "kneser-ney"])
def test_a_folder(tmp_path, smoothing):
    for part in ("train", "valid", "test"):
        (tmp_path / f"ptb.{part}.txt").write_text(LINES)
    prepared = run(data=str(tmp_path), smoothing=smoothing)
    perplexity = evaluate(prepared.model, prepared.test)["perplexity"]
    assert perplexity < 3
    assert perplexity == pytest.approx(prepared.model.perplexity(LINES))  # every word is measured, the first one too
    found = ngram.batches(ngram.Settings(data=str(tmp_path)), prepared.model)
    assert evaluate(prepared.model, found)["perplexity"] == perplexity
    if smoothing == "add-k":
        assert prepared.model.smoothing.k < 0.01  # chosen on the validation text, which is the same


def test_one_file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(LINES * 20)
    prepared = run(data=str(file), order=2, min_count=1)
    assert math.isfinite(evaluate(prepared.model, prepared.test)["perplexity"])
    assert prepared.about["in the vocabulary"] == "12"
