"""Data that every machine makes or has: series, chords, subjects of docstrings, tokens of Python."""

import math
from collections import Counter
from itertools import chain

import numpy as np
import pytest

from fastrnn.train.data.made.chords import FOLLOWS, STEPS, chords, triad
from fastrnn.train.data.made.python_tokens import TAGS, python_tokens, tagged
from fastrnn.train.data.made.series import waves
from fastrnn.train.data.made.topics import SUBJECTS, Topics, sentences, topics


def test_waves_are_sines_on_a_slope_with_that_noise() -> None:
    """A least-squares fit of exactly these leaves the noise, and nothing else."""
    values = waves(4000, columns=2, periods=(24, 168), trend=0.01, noise=0.3)
    time = np.arange(4000)
    columns = [np.ones(4000), time]
    for period in (24, 168):
        columns += [np.sin(2 * np.pi * time / period), np.cos(2 * np.pi * time / period)]
    fitted, *_ = np.linalg.lstsq(np.stack(columns, 1), values, rcond=None)
    left = values - np.stack(columns, 1) @ fitted
    assert left.std(axis=0) == pytest.approx(0.3, rel=0.05)
    assert fitted[1] == pytest.approx(0.01, rel=0.01)
    amplitudes = np.hypot(fitted[2::2], fitted[3::2])
    assert ((amplitudes > 0.4) & (amplitudes < 1.6)).all()
    assert np.array_equal(waves(50, seed=3), waves(50, seed=3))
    with pytest.raises(ValueError, match="periods above 0, got 10, 1 and"):
        waves(10, periods=(0,))


def test_chords_are_written_by_the_rule_and_cost_what_it_says() -> None:
    """From the roll alone: key, chords and melody, and their probability, which is the piece's."""
    for piece in chords(20, bars=5, seed=1):
        assert piece.roll.shape == (5 * STEPS, 88)
        nats, degree, tonic = math.log(12), 0, None
        for bar in range(5):
            steps = piece.roll[bar * STEPS : (bar + 1) * STEPS]
            chord = set((steps[:, 39:51].all(axis=0).nonzero()[0]).tolist())
            bass = steps[:, 15:27].nonzero()
            assert bass[0].tolist() == [0, 2]
            assert len(set(bass[1].tolist())) == 1
            melody = steps[:, 51:63].nonzero()
            assert melody[0].tolist() == [0, 1, 2, 3]
            assert set(melody[1].tolist()) <= chord
            assert len(chord) == 3
            tonic = int(bass[1][0]) if tonic is None else tonic
            (now,) = [d for d in range(7) if {(tonic + n) % 12 for n in triad(d)} == chord]
            assert (tonic + triad(now)[0]) % 12 == bass[1][0]
            nats -= math.log(FOLLOWS[degree][now]) if bar else 0
            assert bar or now == 0
            degree = now
        assert piece.nats == pytest.approx(nats + 5 * STEPS * math.log(3))
    assert all(sum(chances.values()) == pytest.approx(1) for chances in FOLLOWS.values())
    assert np.array_equal(chords(2, seed=4)[1].roll, chords(2, seed=4)[1].roll)
    with pytest.raises(ValueError, match="got 0 and 16"):
        chords(0)


@pytest.fixture(scope="module")
def made_topics() -> Topics:
    return topics()


def test_topics_are_balanced_and_what_is_held_out_is_new(made_topics: Topics) -> None:
    assert made_topics.classes == list(SUBJECTS)
    for part, least in ((made_topics.train, 300), (made_topics.valid, 40), (made_topics.test, 40)):
        counts = Counter(label for _, label in part)
        assert len(counts) == len(SUBJECTS)
        assert len(set(counts.values())) == 1
        assert counts[0] >= least
    texts = [text for text, _ in (*made_topics.train, *made_topics.valid, *made_topics.test)]
    assert len(texts) == len(set(texts))
    with pytest.raises(ValueError, match=r"above 0 and below 0\.5, got 0"):
        topics(held_out=0)


def test_sentences_of_a_docstring() -> None:
    docstring = "Return the sum. It isn't slow!\n\n    indented code here\n\n>>> sum([1])\n\nTwo words\nand more 12."
    assert sentences(docstring) == ["return the sum .", "it isn't slow !", "two words and more 12 ."]
    assert sentences(docstring, 4) == ["two words and more 12 ."]


def test_tokens_are_tagged_by_what_they_are_in_their_line() -> None:
    """One name in seven roles."""
    source = """
from os import get
class get(Base, metaclass=M):
    def get(self, get: int = 3, *, other="é", **rest) -> str:
        é = get.get(get, get=get)  # a comment
        return (self.get,
                lambda get: -1.5)
match get:
    case match: match = case(match)
"""
    found = [list(zip(*line, strict=True)) for line in tagged(source)]
    assert [tag for word, tag in chain(*found) if word == "get"] == [
        "module", "class", "function", "parameter", "variable", "call", "variable", "argument", "variable", "attribute",
        "parameter", "variable",
    ]  # fmt: skip
    assert found[3] == [
        ("é", "variable"), ("=", "operator"), ("get", "variable"), (".", "operator"), ("get", "call"),
        ("(", "operator"), ("get", "variable"), (",", "operator"), ("get", "argument"), ("=", "operator"),
        ("get", "variable"), (")", "operator"),
    ]  # fmt: skip
    assert ("-", "operator") in found[4]
    assert ("1.5", "number") in found[4]
    assert [tag for word, tag in chain(*found) if word == "match"] == ["keyword", "variable", "variable", "variable"]
    assert ('"…"', "string") in found[2]
    assert {tag for line in found for _, tag in line} <= set(TAGS)


def test_python_tokens_need_context_and_parts_are_of_different_modules() -> None:
    data = python_tokens(800)
    assert [len(part) for part in data] == [800, 80, 160]
    assert all(len(words) == len(tags) for part in data for words, tags in part)
    roles: dict[str, set[str]] = {}
    for words, tags in data.train:
        for word, tag in zip(words, tags, strict=True):
            roles.setdefault(word, set()).add(tag)
    assert sum(len(each) > 1 for each in roles.values()) > 50
    with pytest.raises(ValueError, match="count must be at least 10, got 3"):
        python_tokens(3)
