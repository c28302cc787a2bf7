"""The tasks lm and chars on a given text, and on Python's documentation."""

import dataclasses
import inspect
import random

import pytest
import torch

from fastrnn.train import evaluate, fit
from fastrnn.train.data.made.documentation import documentation, documentation_words
from fastrnn.train.tasks.task import Task


@pytest.fixture
def folder(tmp_path):
    chance = random.Random(0)
    for part, lines in (("train", 80), ("valid", 18), ("test", 18)):
        sentences = (chance.choice(["this is a cat .\n", "that was the dog .\n"]) for _ in range(lines))
        (tmp_path / f"{part}.txt").write_text("".join(sentences))
    return tmp_path


def trained(name, **settings):
    task = Task.find(name)
    chosen = task.Settings(batch=4, steps=7, hidden=16, embedding=8, **settings)
    torch.manual_seed(chosen.seed)
    prepared = task.prepare(chosen)
    arguments = inspect.signature(fit).parameters
    options = {each.name: getattr(chosen, each.name) for each in dataclasses.fields(chosen) if each.name in arguments}
    fit(prepared.model, prepared.train, prepared.valid, progress=False, **options)
    return task, chosen, prepared


def test_words_of_a_folder(folder):
    task, settings, prepared = trained("lm", data=str(folder), epochs=6, lr=3e-2, dropout=0.0)
    model = prepared.model
    assert sorted(model.vocabulary.tokens) == sorted("<unk> <eos> this that is was a the cat dog .".split())  # noqa: SIM905
    assert sum(batch.target.numel() for batch in prepared.test) == 18 * 6  # every token, the first one too
    assert evaluate(model, prepared.test)["perplexity"] < 1.3  # 2 ** (1 / 6) is the least
    assert dict(model.next("this is a"))["cat"] > 0.9
    shown = task.samples(model, prepared)
    assert "| cat | 0.9" in shown
    assert "> this is a cat ." in shown
    again = evaluate(model, task.batches(settings, model))
    assert again == evaluate(model, prepared.test)


def test_characters_of_a_file(folder):
    file = folder / "train.txt"
    task, _, prepared = trained("chars", data=str(file), epochs=2, lr=3e-2)
    assert set(prepared.model.vocabulary.tokens) == set(file.read_text()) | {"<unk>"}
    parts = (prepared.train, prepared.valid, prepared.test)
    assert sum(len(part.tokens) for part in parts) == len(file.read_text())
    assert evaluate(prepared.model, prepared.test)["bits_per_character"] < 2
    assert task.samples(prepared.model, prepared).count("```") == 2


def test_subwords_of_a_file(folder):
    pytest.importorskip("tokenizers")
    task, _, prepared = trained(
        "lm", data=str(folder / "train.txt"), tokenizer="subwords", max_vocabulary=300, epochs=1
    )
    vocabulary = prepared.model.vocabulary
    assert vocabulary.decode(prepared.train.tokens[:12]).startswith("th")
    assert vocabulary.eos is None  # a newline is a token like others
    assert "> this is a" in task.samples(prepared.model, prepared)


def test_word_vectors_from_a_file_stand_in_the_embedding(folder):
    file = folder / "vectors.txt"
    file.write_text("2 3\ncat 1 2 3\ndog 4 5 6\n")
    task = Task.find("lm")
    prepared = task.prepare(task.Settings(data=str(folder), batch=4, vectors=str(file), frozen=True))
    embedding = prepared.model.embedding
    assert not embedding.weight.requires_grad
    assert embedding(torch.tensor(prepared.model.vocabulary.encode("dog"))).tolist() == [[4, 5, 6]]


def test_nothing_to_evaluate_on_says_what_to_type(folder):
    task, settings, prepared = trained("chars", data=str(folder), epochs=1)
    with pytest.raises(ValueError, match="type --data FILE"):
        task.batches(dataclasses.replace(settings, data=None), prepared.model)


def test_documentation_has_three_parts_without_a_paragraph_in_two():
    parts = documentation(docstrings=False)
    paragraphs = [part.split("\n\n") for part in parts]
    every = [paragraph.strip() for part in paragraphs for paragraph in part]
    assert len(every) == len(set(every))
    assert 0.8 < len(parts.train) / sum(map(len, parts)) < 0.95
    assert "lambda" in parts.train


def test_words_of_the_documentation_are_sentences_without_code():
    parts = documentation_words()
    assert len(parts.train.split()) > 100_000
    for part in parts:
        assert part == part.lower()
        assert ">>>" not in part
        assert '"' not in part
    known = set(parts.train.split())
    unknown = [word for word in parts.test.split() if word not in known]
    assert len(unknown) < 0.05 * len(parts.test.split())
