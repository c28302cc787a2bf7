"""The tasks addition, translate and caption: on generated data, and on files."""

from pathlib import Path

import numpy as np
import pytest

from fastrnn.train import tasks
from fastrnn.train.tasks.addition import Settings as AdditionSettings
from fastrnn.train.tasks.translate import divided
from tests.train import made_data


def test_sums_of_a_file_are_learnt(tmp_path: Path) -> None:
    """Each four times, so that those of the test part are among those of the training part."""
    file = tmp_path / "sums.tsv"
    file.write_text("".join(f"{a}+{b}\t{a + b}\n" for a in range(8) for b in range(a, 8)) * 4)
    run = tasks.train("addition", data=str(file), out=tmp_path / "run", hidden=64, batch=16, epochs=50, lr=0.02)
    assert run.test is not None
    assert run.test["exact"] == 1.0
    sums = [question for question, _ in _pairs(run)]
    assert run.model.translate(sums) == [str(sum(map(int, question.split("+")))) for question in sums]
    assert run.generate("2+7") == run.generate("2+7", beam=3) == "9"
    with pytest.raises(ValueError, match=r"'-'.*is not in the vocabulary"):
        run.generate("7-2")
    assert run.sample.startswith("| sum | the model's answer |")
    assert_tables(run.sample)
    assert run.sample.count("| right |") >= 7
    assert tasks.open_run(tmp_path / "run").evaluate(str(file))["exact"] == 1.0


def assert_tables(markdown: str) -> None:
    """Every row has as many cells as the head: else it is no table to who renders it."""
    cells = {line.replace("\\|", "").count("|") for line in markdown.splitlines() if line.startswith("|")}
    assert len(cells) == 1


def _pairs(run: tasks.Run) -> list[tuple[str, str]]:
    """What a run of an encoder-decoder was trained on."""
    prepared = tasks.Task.find(run.task.name).prepare(run.settings)
    source, target = run.model.source_vocabulary, run.model.target_vocabulary
    return [(source.decode(read), target.decode(written)) for read, written in prepared.train.items]


def test_no_sum_is_both_trained_and_tested_on() -> None:
    prepared = tasks.Task.find("addition").prepare(AdditionSettings(count=500))
    parts = [prepared.train.items, prepared.valid.items, prepared.test.items]
    assert [len(part) for part in parts] == [450, 25, 25]
    decode = prepared.model.source_vocabulary.decode
    keys = [tuple(sorted(decode(source).split("+"))) for part in parts for source, _ in part]
    assert len(set(keys)) == 500


def test_padded_sums_are_one_length() -> None:
    prepared = tasks.Task.find("addition").prepare(AdditionSettings(count=200, padded=True))
    assert {(len(source), len(target)) for source, target in prepared.train.items} == {(7, 6)}


def test_translation_by_default_is_numbers_in_words() -> None:
    run = tasks.train("translate", hidden=4, batch=1000, epochs=1)
    assert len(_pairs(run)) == 8000
    assert run.test is not None
    assert set(run.test) == {"loss", "accuracy", "exact", "accuracy_with_padding"}
    with pytest.raises(ValueError, match="--prompt SENTENCE"):
        run.generate()


def test_accuracy_with_padding_is_that_of_keras(tmp_path: Path) -> None:
    """Counted as the example counts: one-hot targets of the longest length, argmax, equal or not."""
    made_data.make(tmp_path)
    file = str(tmp_path / "eng-fra" / "fra_18k.txt")
    run = tasks.train("translate", data=file, shuffle=False, hidden=16, epochs=3, lr=1e-2)
    prepared = tasks.Task.find("translate").prepare(run.settings)
    parts = (prepared.train, prepared.valid, prepared.test)
    longest = max(len(target) for part in parts for _, target in part.items)
    right = []
    for batch in prepared.test.epoch(0):
        likeliest = run.model(batch.source, batch.source_lengths, batch.target)[:-1].argmax(-1)
        for column, length in enumerate(batch.target_lengths.tolist()):
            row = np.ones(longest, bool)
            row[: length - 1] = (likeliest[: length - 1, column] == batch.target[1:length, column]).numpy()
            right.append(row)
    assert run.test is not None
    assert run.test["accuracy_with_padding"] == pytest.approx(np.mean(right))
    assert run.test["accuracy"] < run.test["accuracy_with_padding"] < 1.0


def test_no_sentence_is_both_trained_and_tested_on() -> None:
    pairs = [(f"sentence {number // 2}", f"phrase {number}") for number in range(100)]
    train, held_out = divided(pairs, 0.2, seed=0)
    assert len(train) == 80
    assert sorted(train + held_out) == sorted(pairs)
    assert not {source for source, _ in train} & {source for source, _ in held_out}
    assert divided(pairs, 0.2, None) == (pairs[:80], pairs[80:])


def test_words_as_tokens(tmp_path: Path) -> None:
    made_data.make(tmp_path)
    file = str(tmp_path / "eng-fra" / "fra_18k.txt")
    run = tasks.train(
        "translate", data=file, tokenizer="words", attention="dot", hidden=24, epochs=60, lr=2e-2, batch=16
    )
    assert run.test is not None
    assert run.test["exact"] == 1.0
    assert run.generate("Go Go.") == "Va Va !"


def test_captions_of_drawn_digits() -> None:
    run = tasks.train("caption", digits=1, count=600, held_out=50, channels=(8,), epochs=6, batch=16)
    assert run.test is not None
    assert run.test["exact"] > 0.8
    assert run.generate("7", seed=2) in "zero one two three four five six seven eight nine"
    assert run.generate().startswith("3: ")
    with pytest.raises(ValueError, match="Expected 1 to 1 digits to draw, such as --prompt 3, got '38'"):
        run.generate("38")
    assert run.sample.startswith("| what the model says |")
    assert_tables(run.sample)


def test_captions_of_mnist(tmp_path: Path) -> None:
    made_data.make(tmp_path)
    folder = str(tmp_path / "mnist")
    run = tasks.train(
        "caption", data=folder, out=tmp_path / "run", digits=2, shortest=1, count=60, held_out=10, hidden=8, epochs=1
    )
    prepared = tasks.Task.find("caption").prepare(run.settings)
    pictures = np.stack([picture for picture, _ in prepared.train.items])
    assert pictures.shape == (60, 1, 28, 56)
    assert pictures.max() == 1.0
    blank = ~pictures[..., 28:].any(axis=(1, 2, 3))
    lengths = np.array([len(caption) - 2 for _, caption in prepared.train.items])
    assert (blank == (lengths == 1)).all()
    assert set(tasks.open_run(tmp_path / "run").evaluate(folder)) == {"loss", "accuracy", "exact"}
