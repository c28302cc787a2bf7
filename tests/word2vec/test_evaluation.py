"""Analogies and human judgements: answers by hand, scipy's statistics, and the same results as gensim."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastrnn.word2vec import WordVectors
from fastrnn.word2vec.vectors import cosine_table
from fastrnn.word2vec.vectors.correlation import incomplete_beta, pearson, ranks
from tests.word2vec.gensim_vectors import random_vectors, twin

COUNTRIES = ["Paris", "France", "Rome", "Italy", "tea"]
PLACES = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0], [-1, -1, 1]], dtype=np.float32)
QUESTIONS = ": capitals\nParis France Rome Italy\n\nparis france tea paris\n: none\nParis France London England\n"


@pytest.fixture
def questions(tmp_path: Path) -> Path:
    file = tmp_path / "questions.txt"
    file.write_text(QUESTIONS)
    return file


def test_analogies_by_hand(questions: Path, device: str) -> None:
    vectors = WordVectors(COUNTRIES, PLACES, device=device)
    score, sections = vectors.evaluate_word_analogies(questions)
    right, wrong = ("PARIS", "FRANCE", "ROME", "ITALY"), ("PARIS", "FRANCE", "TEA", "PARIS")
    assert score == 0.5
    assert sections == [
        {"section": "capitals", "correct": [right], "incorrect": [wrong]},
        {"section": "none", "correct": [], "incorrect": []},
        {"section": "Total accuracy", "correct": [right], "incorrect": [wrong]},
    ]
    assert vectors.evaluate_word_analogies(questions, dummy4unknown=True)[0] == pytest.approx(1 / 3)
    assert vectors.evaluate_word_analogies(questions, case_insensitive=False)[0] == 1
    assert vectors.evaluate_word_analogies(questions, restrict_vocab=3)[0] == 0


@pytest.mark.parametrize(
    ("text", "message"), [(": a\none two three\n", "line 2: expected four words"), ("a b c d\n", "line 1.*: section")]
)
def test_a_line_that_is_no_question_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "q.txt"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        WordVectors(COUNTRIES, PLACES).evaluate_word_analogies(file)


def family(rows: int) -> WordVectors:
    """Words that differ from others in letter case alone, near those others."""
    vectors = random_vectors(rows, 6)
    keys = [f"Word{i // 2}" if i % 2 else f"word{i // 2}" for i in range(rows)]
    return WordVectors(keys, np.repeat(vectors.vectors[::2], 2, axis=0) + 0.3 * vectors.vectors)


@pytest.mark.parametrize("options", [{}, {"restrict_vocab": 60}, {"dummy4unknown": True}, {"case_insensitive": False}])
def test_gensim_answers_the_same(tmp_path: Path, options: dict[str, Any]) -> None:
    ours = family(200)
    theirs = twin(ours)
    file = tmp_path / "q.txt"
    chosen = np.random.default_rng(2).integers(0, 110, (300, 3)).tolist()
    lines = []
    for a, b, c in chosen:  # half of them with the answer that is nearest
        words = [f"word{a}", f"Word{b}", f"word{c}"]
        known = all(word in theirs for word in words)
        near = theirs.most_similar(words[1:], words[:1], topn=1)[0][0] if known and a % 2 else "word7"
        lines.append(" ".join([*words, near]))
    file.write_text(": one\n" + "\n".join(lines[:100]) + "\n: two\n" + "\n".join(lines[100:]) + "\n")
    score, sections = ours.evaluate_word_analogies(file, **options)
    assert (score, sections) == theirs.evaluate_word_analogies(str(file), **options)
    assert 0 < score < 1


def test_a_question_about_a_vector_that_is_not_finite_is_answered_wrongly(tmp_path: Path) -> None:
    vectors = random_vectors(200, 8)
    vectors["w5"] = np.full(8, np.nan)
    (tmp_path / "q").write_text(": s\n" + "".join(f"w5 w1 w2 w{i}\n" for i in range(6, 200)))
    score, sections = vectors.evaluate_word_analogies(tmp_path / "q")
    assert (score, len(sections[0]["incorrect"])) == (0, 194)


def test_pairs_by_hand_and_by_gensim(tmp_path: Path) -> None:
    ours = random_vectors(30, 5)
    file = tmp_path / "pairs.tsv"
    judged = [f"W{i}\tw{i + 1}\t{(7 * i) % 11}" for i in range(25)]
    file.write_text("# judged\n" + "\n".join(judged) + "\nw1\tgone\t5\n")
    linear, _, unknown = ours.evaluate_word_pairs(file)
    gold = np.array([(7 * i) % 11 for i in range(25)])
    cosines = np.array([ours.similarity(f"w{i}", f"w{i + 1}") for i in range(25)])
    assert linear.statistic == pytest.approx(np.corrcoef(gold, cosines)[0, 1])
    assert unknown == pytest.approx(100 / 26)
    for dummy in (False, True):
        mine = ours.evaluate_word_pairs(file, dummy4unknown=dummy)
        theirs = twin(ours).evaluate_word_pairs(str(file), dummy4unknown=dummy)
        assert tuple(mine[0]) == pytest.approx(tuple(theirs[0]), rel=1e-5)
        assert tuple(mine[1]) == pytest.approx(tuple(theirs[1]), rel=1e-5)
        assert mine[2] == pytest.approx(theirs[2])


def test_pairs_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    file = tmp_path / "pairs.tsv"
    file.write_text("one\tother\tmean\nw1\tw2\tmuch\n")
    with pytest.raises(ValueError, match="line 2: expected two words and a number"):
        random_vectors(5, 3).evaluate_word_pairs(file)
    file.write_text("# comment\none\tother\tmean\n" + "".join(f"w1\tw{i}\t{i}\n" for i in range(5)))
    assert random_vectors(5, 3).evaluate_word_pairs(file)[2] == 0  # the names of the columns behind a comment
    file.write_text("w1\tw2\t3\n# comment\none\tother\tmean\n")
    with pytest.raises(ValueError, match="line 3: expected two words and a number"):
        random_vectors(5, 3).evaluate_word_pairs(file)
    file.write_text("w1\tw2\t3\n")
    with pytest.raises(ValueError, match="at least three pairs of words with vectors, got 1"):
        random_vectors(5, 3).evaluate_word_pairs(file)


def test_statistics() -> None:
    assert ranks(np.array([3.0, 1.0, 3.0, 8.0])).tolist() == [2.5, 1, 2.5, 4]
    assert incomplete_beta(1, 1, 0.3) == pytest.approx(0.3)  # uniform
    assert incomplete_beta(2, 3, 0.4) == pytest.approx(0.5248)  # a sum of five binomial terms
    assert incomplete_beta(50.5, 0.5, 0.999) == pytest.approx(1 - incomplete_beta(0.5, 50.5, 0.001))
    assert np.isnan(pearson(np.ones(4), np.arange(4.0)).statistic)
    assert pearson(np.arange(4.0), -np.arange(4.0)) == (-1, 0)


def test_the_largest_are_those_of_topk(device: str) -> None:
    scores = torch.randn(7, 64 * 9 + 5, device=device)
    for count in (1, 5, 40):
        values, columns = cosine_table.largest(scores, count)
        expected = scores.topk(count, dim=1)
        assert torch.equal(values, expected.values)
        assert torch.equal(columns, expected.indices)
