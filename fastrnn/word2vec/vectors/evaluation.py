"""Evaluating word vectors: analogies (Mikolov et al. 2013, arXiv:1301.3781, section 4.1) and human judgements."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

import numpy as np

from fastrnn.word2vec.files.compression import opened
from fastrnn.word2vec.vectors.correlation import Correlation, pearson, ranks
from fastrnn.word2vec.vectors.lookup import Lookup
from fastrnn.word2vec.vectors.norms import unit

CANDIDATES = 5  # nearest words to search for one that is not in the question, ignoring letter case


class Vocabulary(NamedTuple):
    """The keys that a test may use: the row of each name, and for each row the row that has its name."""

    rows: dict[str, int]
    same: np.ndarray

    @staticmethod
    def of(vectors: Lookup, restrict_vocab: int | None, case_insensitive: bool) -> Vocabulary:
        """Of keys that differ only in letter case, the most frequent one has the name."""
        rows: dict[str, int] = {}
        names = [str(key).upper() if case_insensitive else str(key) for key in vectors.index_to_key[:restrict_vocab]]
        same = [rows.setdefault(name, row) for row, name in enumerate(names)]
        return Vocabulary(rows, np.array(same, dtype=np.int64))


def word_analogies(
    vectors: Lookup,
    analogies: str | os.PathLike[str],
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> tuple[float, list[dict[str, Any]]]:
    """See :meth:`fastrnn.word2vec.WordVectors.evaluate_word_analogies`."""
    vocabulary = Vocabulary.of(vectors, restrict_vocab, case_insensitive)
    sections, asked = _questions(analogies, vocabulary, case_insensitive, dummy4unknown)
    known = [question for _, question in asked if all(word in vocabulary.rows for word in question)]
    rows = np.array([[vocabulary.rows[word] for word in question] for question in known]).reshape(len(known), 4)
    right = iter((_answers(vectors, vocabulary, rows[:, :3]) == rows[:, 3]).tolist())
    for section, question in asked:
        found = all(word in vocabulary.rows for word in question) and next(right)
        sections[section]["correct" if found else "incorrect"].append(question)
    total: dict[str, Any] = {"section": "Total accuracy"}
    for kind in ("correct", "incorrect"):
        total[kind] = [question for section in sections for question in section[kind]]
    answered = len(asked)
    return (len(total["correct"]) / answered if answered else 0.0), [*sections, total]


def _questions(
    file: str | os.PathLike[str], vocabulary: Vocabulary, case_insensitive: bool, dummy4unknown: bool
) -> tuple[list[dict[str, Any]], list[tuple[int, tuple[str, ...]]]]:
    """The sections of a file, still empty, and its questions, each with its section number."""
    sections: list[dict[str, Any]] = []
    asked: list[tuple[int, tuple[str, ...]]] = []
    for number, line in _lines(file):
        if line.startswith(": "):
            sections.append({"section": line[2:].strip(), "correct": [], "incorrect": []})
            continue
        words = tuple((line.upper() if case_insensitive else line).split())
        if len(words) != 4 or not sections:
            raise ValueError(
                f"{os.fspath(file)}, line {number}: expected {'four words' if sections else 'a line : section'}, "
                f"got {line[:60]!r}"
            )
        if dummy4unknown or all(word in vocabulary.rows for word in words):
            asked.append((len(sections) - 1, words))
    return sections, asked


def _answers(vectors: Lookup, vocabulary: Vocabulary, questions: np.ndarray) -> np.ndarray:
    """For questions (Q, 3), "a is to b as c is to ?", the row nearest to b - a + c, or -1 for no answer."""
    answers = np.full(len(questions), -1, dtype=np.int64)
    count = min(CANDIDATES, len(vocabulary.same))
    if not (len(questions) and count):
        return answers
    a, b, c = (unit(vectors.vectors[rows]) for rows in questions.T)
    table = vectors.table[: len(vocabulary.same)]
    queries = unit(b - a + c)
    finite = np.isfinite(queries).all(axis=1)  # the others get no answer
    start = 0
    for _, rows in table.nearest(np.where(finite[:, None], queries, 0), questions.tolist(), count):
        names = vocabulary.same[rows.cpu().numpy()]
        asked = questions[start : start + len(names)]
        allowed = (names[:, :, None] != asked[:, None, :]).all(axis=2)
        first = names[np.arange(len(names)), allowed.argmax(axis=1)]
        answers[start : start + len(names)] = np.where(allowed.any(axis=1), first, -1)
        start += len(names)
    return np.where(finite, answers, -1)


def word_pairs(
    vectors: Lookup,
    pairs: str | os.PathLike[str],
    delimiter: str = "\t",
    encoding: str = "utf8",
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> tuple[Correlation, Correlation, float]:
    """See :meth:`fastrnn.word2vec.WordVectors.evaluate_word_pairs`."""
    vocabulary = Vocabulary.of(vectors, restrict_vocab, case_insensitive)
    judged, computed, unknown = [], [], 0
    lines = [(number, line) for number, line in _lines(pairs, encoding) if not line.startswith("#")]
    for number, line in lines:
        fields = (line.upper() if case_insensitive else line).split(delimiter)
        try:
            one, other, judgement = fields[0].strip(), fields[1].strip(), float(fields[2])
        except (ValueError, IndexError) as error:
            if number == lines[0][0]:  # a line of column names
                continue
            raise ValueError(
                f"{os.fspath(pairs)}, line {number}: expected two words and a number separated by {delimiter!r}, got "
                f"{line[:60]!r}"
            ) from error
        rows = [vocabulary.rows.get(word) for word in (one, other)]
        unknown += None in rows
        if None not in rows:
            first, second = (unit(vectors.vectors[row]) for row in rows if row is not None)
            computed.append(float(first @ second))
        elif dummy4unknown:
            computed.append(0.0)
        else:
            continue
        judged.append(judgement)
    if len(judged) < 3:
        raise ValueError(f"{os.fspath(pairs)}: expected at least three pairs of words with vectors, got {len(judged)}")
    gold, ours = np.array(judged), np.array(computed)
    asked = len(judged) + (0 if dummy4unknown else unknown)
    return pearson(gold, ours), pearson(ranks(gold), ranks(ours)), 100 * unknown / asked


def _lines(file: str | os.PathLike[str], encoding: str = "utf8") -> list[tuple[int, str]]:
    """The non-empty lines of a file, each with its number."""
    with opened(file) as source:
        try:
            text = source.read().decode(encoding)
        except UnicodeDecodeError as error:
            raise ValueError(f"{os.fspath(file)}: not valid {encoding}: {error}") from error
    lines = enumerate(text.removeprefix("\ufeff").split("\n"), 1)
    return [(number, line.rstrip("\r")) for number, line in lines if line.strip()]
