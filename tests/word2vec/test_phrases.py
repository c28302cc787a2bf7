"""Phrases from lists and files: the counts, scores and joined sentences of gensim, by hand and compared with it."""

import gzip
import json
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.word2vec.corpus import text_blocks
from fastrnn.word2vec.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from tests.word2vec.sentences import CONNECTORS, options, sentences, text_of

scorings = st.sampled_from([("default", 0.1), ("default", 2.0), ("npmi", -0.5), ("npmi", 0.3)])


def small_blocks(monkeypatch: pytest.MonkeyPatch, block_bytes: int, piece_bytes: int) -> None:
    monkeypatch.setattr(text_blocks.blocks, "__defaults__", (block_bytes, piece_bytes))


def test_by_hand():
    phrases = Phrases([["new", "york", "is", "new"], ["new", "york"]], min_count=1, threshold=0.5)
    counts = {"new": 3, "york": 2, "is": 1, "new_york": 2, "york_is": 1, "is_new": 1}
    assert phrases.vocab == counts
    assert list(phrases.vocab) == ["new", "york", "new_york", "is", "york_is", "is_new"]  # as they appear
    assert phrases.corpus_word_count == 6
    assert phrases.export_phrases() == {"new_york": (2 - 1) / (3 * 2) * 6}
    assert phrases[["in", "new", "york", "york"]] == ["in", "new_york", "york"]
    npmi = Phrases([["new", "york", "is", "new"], ["new", "york"]], min_count=2, threshold=0.3, scoring="npmi")
    assert npmi.export_phrases() == {"new_york": math.log((2 / 6) / (3 / 6 * (2 / 6))) / -math.log(2 / 6)}


def test_connectors_stand_inside_a_phrase_only():
    sentence = ["bank", "of", "the", "america", "of"]
    phrases = Phrases([sentence] * 10, min_count=1, threshold=0.1, connector_words=CONNECTORS)
    assert phrases.vocab == {"bank": 10, "america": 10, "bank_of_the_america": 10}
    assert phrases[["the", *sentence, "of", "bank"]] == ["the", "bank_of_the_america", "of", "of", "bank"]


def test_what_a_sentence_is():
    phrases = Phrases([["a", "b"]] * 9, min_count=1, threshold=0.1)
    assert phrases[[]] == []
    assert phrases[("a", "b")] == ["a_b"]
    joined = phrases[[["a", "b"], [], ["b", "a"]]]
    assert list(joined) == list(joined) == [["a_b"], [], ["b", "a"]]
    assert list(phrases[iter([["a", "b"]])]) == [["a_b"]]
    for wrong in ("a b", 5):
        with pytest.raises(TypeError, match="iterable of lists of words"):
            phrases[wrong]
    with pytest.raises(TypeError, match="must be a list of words, got str"):
        Phrases(["a b"])


@given(corpus=sentences, more=sentences, scoring=scorings, options=options)
def test_the_same_as_gensim(corpus, more, scoring, options):
    theirs_of = pytest.importorskip("gensim.models.phrases", reason="gensim is not installed").Phrases
    options = options | {"scoring": scoring[0], "threshold": scoring[1]}
    ours, theirs = Phrases(corpus, **options), theirs_of(corpus, **options)
    for _ in range(2):
        assert ours.vocab == theirs.vocab
        assert ours.corpus_word_count == theirs.corpus_word_count
        try:
            expected = theirs.export_phrases(), [theirs[sentence] for sentence in corpus + more]
        except ZeroDivisionError:  # gensim's npmi of a pair that is the whole corpus
            return
        assert ours.export_phrases() == expected[0]
        assert [ours[sentence] for sentence in corpus + more] == expected[1]
        ours.add_vocab(more)
        theirs.add_vocab(more)


@given(corpus=sentences, more=sentences, scoring=scorings, options=options)
def test_frozen_the_same_as_gensim(corpus, more, scoring, options):
    theirs_of = pytest.importorskip("gensim.models.phrases", reason="gensim is not installed").Phrases
    options = options | {"scoring": scoring[0], "threshold": scoring[1]}
    ours, theirs = Phrases(corpus, **options), theirs_of(corpus, **options)
    try:
        expected = theirs.find_phrases(corpus + more), theirs.freeze()
    except ZeroDivisionError:  # gensim's npmi of a pair that is the whole corpus
        return
    assert ours.find_phrases(corpus + more) == expected[0]
    frozen = ours.freeze()
    assert dict(frozen.phrasegrams) == expected[1].phrasegrams
    assert list(frozen[[["d"], *corpus, *more]]) == [expected[1][sentence] for sentence in [["d"], *corpus, *more]]
    assert frozen.find_phrases(corpus + more) == expected[1].find_phrases(corpus + more)


def test_one_text_is_counted_once():
    """However it came about: as a word, as a pair, as a pair of which one has the delimiter in it."""
    corpus = [["a_b_c"], ["a", "b_c"], ["a_b", "c"], ["a", "b"], ["a_b"]]
    phrases = Phrases(corpus, min_count=1, threshold=0.1)
    assert phrases.vocab == {"a_b_c": 3, "a": 2, "b_c": 1, "a_b": 3, "c": 1, "b": 1}
    assert len(phrases) == 6
    overlapping = Phrases([["a_", "b"], ["a", "_b"], ["a___b"]], min_count=1, threshold=0.1, delimiter="__")
    assert overlapping.vocab == {"a_": 1, "b": 1, "a___b": 3, "a": 1, "_b": 1}


@pytest.mark.parametrize("workers", [1, 2, 8])
@pytest.mark.parametrize("max_vocab_size", [2000, 6000, 40_000_000])
def test_any_number_of_threads(tmp_path, monkeypatch, workers, max_vocab_size):
    """Enough for several batches' worth of threads, some words with the delimiter, not ASCII, or not UTF-8."""
    small_blocks(monkeypatch, 100_000, 2_000)
    chance = random.Random(1)
    names = [f"é{i}" if i % 7 == 0 else f"w_{i}" if i % 5 == 0 else f"w{i}" for i in range(150)]
    lines = [[names[int(chance.paretovariate(0.7)) % 150] for _ in range(40)] for _ in range(2000)]
    path = tmp_path / "corpus.txt"
    path.write_bytes(text_of(lines).encode() + b"\xff w1 \xff\n")
    options = {"min_count": 1, "threshold": 1e-4, "max_vocab_size": max_vocab_size, "connector_words": {"w1"}}
    expected = Phrases([*lines, ["\ufffd", "w1", "\ufffd"]], workers=1, **options)
    found = Phrases(corpus_file=path, workers=workers, **options)
    assert list(found.vocab.items()) == list(expected.vocab.items())
    assert list(found.export_phrases().items()) == list(expected.export_phrases().items()) != []


def many_sentences() -> list[list[str]]:
    """More than are read at once; characters of one to four bytes."""
    chance = random.Random(2)
    names = ["a", "é", "語", "😀é", "new", "york", "new_york", *map(str, range(40))]
    return [chance.choices(names, k=chance.randrange(40)) for _ in range(8000)]


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_lists_are_read_by_all_threads(tmp_path, workers):
    lines = many_sentences()
    source, target = tmp_path / "corpus.txt", tmp_path / "joined.txt"
    source.write_text(text_of(lines), encoding="utf-8")
    options = {"min_count": 1, "threshold": 1.1, "connector_words": {"3"}}
    expected = Phrases(corpus_file=source, workers=1, **options)
    expected.apply_file(source, target)

    def one_list_again_and_again():
        words: list[str] = []
        for line in lines:
            words[:] = line
            yield words

    for corpus in (lines, tuple(map(tuple, lines)), one_list_again_and_again()):
        phrases = Phrases(corpus, workers=workers, **options)
        assert list(phrases.vocab.items()) == list(expected.vocab.items())
        assert phrases.corpus_word_count == expected.corpus_word_count > 2**17
    joined = list(phrases[lines])
    assert joined == list(phrases[one_list_again_and_again()])
    assert text_of([words for words in joined if words]) == target.read_text(encoding="utf-8")
    assert joined != lines


@pytest.mark.parametrize("workers", [1, 2])
def test_words_that_are_none(workers):
    """The error of whichever thread finds them first."""
    phrases = Phrases([["a", "b"]] * 9, workers=workers)
    for words, error, mention in (
        (["a", 7], TypeError, "must be a str, got int"),
        (["\ud800"], UnicodeEncodeError, "surrogates not allowed"),
    ):
        lines = [*many_sentences(), words]
        with pytest.raises(error, match=mention):
            phrases.add_vocab(lines)
        with pytest.raises(error, match=mention):
            list(phrases[lines])
        with pytest.raises(TypeError, match="must be a list of words, got str"):
            phrases.add_vocab([*lines, "a b"])
    assert phrases.vocab == {"a": 9, "b": 9, "a_b": 9}


def test_words_stay_the_same_objects():
    sentence = ["new", "york", "é" * 3, "tea"]
    phrases = Phrases([["new", "york"]] * 9, min_count=1, threshold=0.1)
    first, second = phrases[sentence], phrases[iter(sentence)]
    assert first == second == ["new_york", "ééé", "tea"]
    assert all(a is b for a, b in zip(first[1:], sentence[2:], strict=True))
    assert first[0] is second[0]


def test_after_more_was_added_more_is_joined():
    phrases = Phrases([["a", "b"]] * 9, min_count=1, threshold=0.1)
    applied, frozen = phrases[[["a", "b", "c", "d"]]], phrases.freeze()
    assert list(applied) == list(frozen[[["a", "b", "c", "d"]]]) == [["a_b", "c", "d"]]
    phrases.add_vocab([["c", "d"]] * 9)
    assert list(applied) == [["a_b", "c_d"]]
    assert frozen[["c", "d"]] == ["c", "d"]


def test_frozen_phrases(tmp_path):
    lines = [["bank", "of", "america"]] * 9 + [["of", "é", "z"]] * 9
    phrases = Phrases(lines, min_count=1, threshold=0.1, connector_words=ENGLISH_CONNECTOR_WORDS)
    frozen = phrases.freeze()
    assert Phraser is FrozenPhrases
    assert frozen.phrasegrams == phrases.export_phrases() == frozen.find_phrases(lines)
    assert len(frozen) == 2
    with pytest.raises(TypeError):
        frozen.phrasegrams["more"] = 1.0
    frozen.save(tmp_path / "frozen.json.gz")
    loaded = FrozenPhrases.load(tmp_path / "frozen.json.gz")
    assert loaded.phrasegrams == frozen.phrasegrams
    assert loaded.connector_words == ENGLISH_CONNECTOR_WORDS
    assert list(loaded[lines]) == list(phrases[lines]) == [["bank_of_america"]] * 9 + [["of", "é_z"]] * 9
    source, target = tmp_path / "corpus.txt", tmp_path / "joined.txt"
    source.write_text(text_of(lines))
    loaded.apply_file(source, target)
    assert target.read_text() == text_of(list(phrases[lines]))
    with pytest.raises(ValueError, match=r"frozen\.json\.gz is not a file of 'fastrnn phrases 1', or is damaged"):
        Phrases.load(tmp_path / "frozen.json.gz")


@pytest.mark.parametrize("workers", [1, 2, 7])
@pytest.mark.parametrize("max_vocab_size", [150, 40_000_000])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_gives_what_its_sentences_give(tmp_path, monkeypatch, workers, max_vocab_size, suffix):
    small_blocks(monkeypatch, 300, 40)
    chance = random.Random(0)
    lines = [[f"w{min(chance.randrange(20), chance.randrange(20))}" for _ in range(9)] for _ in range(200)]
    source, target = tmp_path / f"corpus.txt{suffix}", tmp_path / "joined.txt"
    source.write_bytes((gzip.compress if suffix else bytes)(text_of(lines).encode()))
    options = {"min_count": 1, "threshold": 0.05, "max_vocab_size": max_vocab_size, "connector_words": {"w1"}}
    from_lists = Phrases(lines, **options)
    from_file = Phrases(corpus_file=source, workers=workers, **options)
    assert list(from_file.vocab.items()) == list(from_lists.vocab.items())
    assert from_file.corpus_word_count == from_lists.corpus_word_count == 1800
    assert from_file.export_phrases() == from_lists.export_phrases() != {}
    from_file.apply_file(source, target)
    assert target.read_text() == text_of(list(from_lists[lines])) != text_of(lines)


def test_long_lines_are_cut(tmp_path):
    """No phrase reaches from one sentence into the next."""
    path = tmp_path / "corpus.txt"
    path.write_text("a b " * 10_000)
    phrases = Phrases(corpus_file=path, min_count=1, threshold=0.1)
    assert phrases.vocab == {"a": 10_000, "b": 10_000, "a_b": 10_000, "b_a": 9_998}


def test_save_and_load(tmp_path):
    path = tmp_path / "phrases.json"
    lines = [["a", "b", "é", "with space", "line\nbreak"]] * 3 + [["b", "of", "a"]] * 4
    phrases = Phrases(lines, min_count=1, threshold=0.1, connector_words=CONNECTORS)
    phrases.save(path)
    assert list(tmp_path.iterdir()) == [path]
    loaded = Phrases.load(path)
    for what in (phrases, loaded):
        what.add_vocab([["a", "b", "z"]])
    assert loaded.vocab == phrases.vocab
    assert loaded.export_phrases() == phrases.export_phrases() != {}
    assert loaded.corpus_word_count == phrases.corpus_word_count
    assert loaded[lines[0]] == phrases[lines[0]]


def test_a_damaged_file_is_an_error(tmp_path):
    path = tmp_path / "phrases.json"
    Phrases([["a", "b"]]).save(path)
    whole = path.read_text()
    other = json.loads(whole) | {"format": "another"}
    for text in (whole[: len(whole) // 2], "", "[]", "{}", json.dumps(other)):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"phrases\.json is not a file of 'fastrnn phrases 1', or is damaged"):
            Phrases.load(path)


def test_errors(tmp_path):
    for wrong, mention in (
        ({"scoring": "best"}, "'default', 'npmi' or a function, got 'best'"),
        ({"min_count": 0}, "min_count must be 1 or more, got 0"),
        ({"threshold": 0}, "threshold must be positive"),
        ({"threshold": 1.5, "scoring": "npmi"}, "between -1 and 1"),
        ({"delimiter": ""}, "delimiter"),
        ({"max_vocab_size": 0}, "max_vocab_size"),
    ):
        with pytest.raises(ValueError, match=mention):
            Phrases(**wrong)
    phrases = Phrases()
    with pytest.raises(FileNotFoundError):
        phrases.apply_file(tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "short.gz").write_bytes(gzip.compress(b"a b " * 1000)[:-9])
    with pytest.raises(ValueError, match=r"short\.gz is truncated or damaged"):
        phrases.apply_file(tmp_path / "short.gz", tmp_path / "out")
    with pytest.raises(ValueError, match=r"short\.gz is truncated or damaged"):
        phrases.add_vocab(corpus_file=tmp_path / "short.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["short.gz"]

    def failing():
        yield ["a", "b"]
        raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        phrases.add_vocab(failing())
    assert len(phrases) == 0
