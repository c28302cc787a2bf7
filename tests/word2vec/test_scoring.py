"""Phrases scored by a Python function, and pickled phrases, compared with gensim and with the scores of C++."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from fastrnn.word2vec import FrozenPhrases, Phraser, Phrases
from tests.word2vec.sentences import CONNECTORS, options, sentences, text_of

CORPUS = [["the", "bank", "of", "america", "in", "new", "york"], ["new", "york", "new_york"]] * 5


def mikolov(
    worda_count: int, wordb_count: int, bigram_count: int, len_vocab: int, min_count: int, corpus_word_count: int
) -> float:
    return (bigram_count - min_count) / worda_count / wordb_count * len_vocab


def everything(
    worda_count: int, wordb_count: int, bigram_count: int, len_vocab: int, min_count: int, corpus_word_count: int
) -> float:
    return bigram_count / (worda_count + wordb_count) + min_count / len_vocab + corpus_word_count / 1000


def share(**counted: float) -> float:
    return counted["bigram_count"] / (counted["worda_count"] + counted["wordb_count"])


@given(corpus=sentences, more=sentences, options=options)
def test_a_function_of_the_same_formula_finds_the_same(corpus: Any, more: Any, options: Any) -> None:
    ours = Phrases(corpus, threshold=0.1, **options)
    own = Phrases(corpus, threshold=0.1, scoring=mikolov, **options)
    assert own.export_phrases() == pytest.approx(ours.export_phrases())
    assert list(own.export_phrases()) == list(ours.export_phrases())
    assert [own[sentence] for sentence in more] == [ours[sentence] for sentence in more]
    assert list(own[more]) == list(ours[more])
    assert own.find_phrases(more) == pytest.approx(ours.find_phrases(more))


@given(corpus=sentences, more=sentences, options=options)
def test_gensim_finds_the_same_by_a_function(corpus: Any, more: Any, options: Any) -> None:
    theirs_of = pytest.importorskip("gensim.models.phrases", reason="gensim is not installed").Phrases
    ours, theirs = (kind(corpus, threshold=0.2, scoring=everything, **options) for kind in (Phrases, theirs_of))
    assert ours.export_phrases() == pytest.approx(theirs.export_phrases())
    for sentence in more:
        assert ours[sentence] == theirs[sentence]
    assert ours.find_phrases(more) == pytest.approx(theirs.find_phrases(more))
    assert ours.freeze().phrasegrams == pytest.approx(theirs.freeze().phrasegrams)
    assert str(ours) == str(theirs)


def test_a_file_by_a_function(tmp_path: Path) -> None:
    (tmp_path / "in").write_text(text_of([*CORPUS, [], ["é"] * 10001]))
    ours = Phrases(corpus_file=tmp_path / "in", min_count=1, threshold=0.1, connector_words=CONNECTORS)
    own = Phrases(CORPUS + [["é"] * 10001], 1, 0.1, scoring=mikolov, connector_words=CONNECTORS)  # noqa: RUF005
    for phrases, name in ((ours, "ours"), (own, "own")):
        phrases.apply_file(tmp_path / "in", tmp_path / name)
    assert (tmp_path / "own").read_bytes() == (tmp_path / "ours").read_bytes()
    assert b"bank_of_america" in (tmp_path / "own").read_bytes()


def test_a_candidate_is_scored() -> None:
    for scoring in ("default", mikolov):
        phrases = Phrases(CORPUS, min_count=1, threshold=0.1, connector_words=["of"], scoring=scoring)
        text, score = phrases.score_candidate("bank", "america", ["of"])
        assert text == "bank_of_america"
        assert score == pytest.approx((5 - 1) / 25 * len(phrases))
        assert phrases.score_candidate("york", "bank") == (None, None)
        phrases.add_vocab([["york", "bank"]] * 50)
        assert phrases.score_candidate("york", "bank")[0] == "york_bank"


@pytest.mark.parametrize(
    ("scoring", "message"),
    [
        (lambda a, b: 1, "must take worda_count, wordb_count, .*; missing: worda_count"),
        ("pmi", "'default', 'npmi' or a function, got 'pmi'"),
        (3, "'default', 'npmi' or a function, got 3"),
    ],
)
def test_what_is_no_score(scoring: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Phrases(CORPUS, scoring=scoring)


@pytest.mark.parametrize("scoring", ["default", mikolov])
@pytest.mark.parametrize("frozen", [False, True])
def test_phrases_go_to_another_process(scoring: str | Callable[..., float], frozen: bool) -> None:
    phrases = Phrases(CORPUS, min_count=1, threshold=0.1, scoring=scoring, connector_words=CONNECTORS, workers=1)
    before: Phrases | FrozenPhrases = Phraser(phrases) if frozen else phrases
    before.find_phrases(CORPUS)  # what it made then stays behind
    after = pickle.loads(pickle.dumps(before))
    assert list(after[CORPUS]) == list(before[CORPUS])
    assert after.find_phrases(CORPUS) == before.find_phrases(CORPUS)
    assert (after.workers, after.connector_words, str(after)) == (1, CONNECTORS, str(before))
    if not frozen:
        for each in (before, after):
            each.add_vocab([["san", "francisco"]] * 9)
        assert after.vocab == before.vocab
        assert after.export_phrases() == before.export_phrases()


def test_gensims_other_argument_and_order() -> None:
    phrases = Phrases(CORPUS, 1, 0.1, 40_000_000, "-", 10_000, "default", CONNECTORS)
    assert phrases[["new", "york"]] == ["new-york"]
    assert str(Phrases(CORPUS, min_count=1, threshold=0.1, progress_per=5).freeze()) == (
        "FrozenPhrases<7 phrases, min_count=1, threshold=0.1>"
    )


def test_a_function_in_files(tmp_path: Path) -> None:
    phrases = Phrases(CORPUS, min_count=1, threshold=0.1, scoring=share)
    with pytest.raises(
        ValueError, match=r"cannot hold a scoring function; use pickle, or save the result of freeze\(\)"
    ):
        phrases.save(tmp_path / "phrases")
    phrases.freeze().save(tmp_path / "frozen")
    loaded = FrozenPhrases.load(tmp_path / "frozen")
    assert loaded.phrasegrams == phrases.export_phrases()
    assert loaded.scoring == "share"
    assert list(loaded[CORPUS]) == list(phrases[CORPUS])


def test_settings_hold_when_they_are_set() -> None:
    for name, value in {
        "threshold": 1.0, "min_count": 3, "scoring": mikolov, "connector_words": {"of", "the"}, "max_vocab_size": 3
    }.items():  # fmt: skip
        given: dict[str, Any] = {"min_count": 1, "threshold": 0.1} | {name: value}
        phrases = Phrases(min_count=1, threshold=0.1)
        setattr(phrases, name, value)
        phrases.add_vocab(CORPUS)
        expected = Phrases(CORPUS, **given)
        assert phrases.export_phrases() == expected.export_phrases()
        assert [*phrases[CORPUS]] == [*expected[CORPUS]]
    phrases = Phrases(CORPUS, min_count=1, threshold=100)
    assert phrases[["new", "york"]] == ["new", "york"]
    phrases.threshold = 0.1
    assert phrases[["new", "york"]] == ["new_york"]
    assert phrases.vocab == Phrases(CORPUS).vocab
    assert (phrases.threshold, len(phrases[CORPUS])) == (0.1, 10)
    with pytest.raises(ValueError, match="threshold must be finite, got nan"):
        phrases.threshold = float("nan")
    with pytest.raises(AttributeError, match="the counted phrases contain the delimiter"):
        phrases.delimiter = "-"
    with pytest.raises(AttributeError, match="Phrases has no attribute 'treshold'"):
        phrases.treshold  # noqa: B018
    frozen = phrases.freeze()
    frozen.workers = 1
    with pytest.raises(AttributeError, match=r"set threshold of the Phrases and freeze\(\) them again"):
        frozen.threshold = 7
