"""Corpora and vocabularies against Python's split and Counter, for any threads, cuts and compression."""

import bz2
import gzip
import lzma
import mmap
import signal
import threading
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.word2vec import _C, corpus
from fastrnn.word2vec.corpus import text_blocks
from fastrnn.word2vec.corpus.vocabulary import Vocabulary, count_words

WORKERS = (1, 2, 7)
COMPRESS = {".gz": gzip.compress, ".xz": lzma.compress, ".bz2": bz2.compress}

# Letters of one to four bytes, every white space there is, and bytes that are not UTF-8: halves of letters are among
# what a cut between any two bytes leaves.
letters = [b"a", b"b", "é".encode(), "€".encode(), "😀".encode(), b"\0"]
invalid = [b"\xff", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80"]
spaces = [b" ", b"\n", b"\t", b"\r", b"\x0b", b"\x0c", b"\x1c", "\u00a0".encode(), b" \n\n "]
fragments = st.sampled_from(letters + invalid + spaces)
texts = st.one_of(st.lists(fragments, max_size=80).map(b"".join), st.binary(max_size=100))


def sentences_of(text: bytes, longest: int = _C.WORDS_PER_SENTENCE) -> list[list[str]]:
    lines = [[word.decode(errors="replace") for word in line.split()] for line in text.split(b"\n")]
    return [line[i : i + longest] for line in lines for i in range(0, len(line), longest)]


def counts_of(sentences: list[list[str]]) -> dict[str, int]:
    return dict(Counter(word for sentence in sentences for word in sentence))


def decode(keys: list[str], encoded: corpus.Encoded) -> list[list[str]]:
    return [[keys[i] for i in encoded.ids[a:b]] for a, b in zip(encoded.offsets, encoded.offsets[1:], strict=False)]


def small_blocks(monkeypatch: pytest.MonkeyPatch, block_bytes: int, piece_bytes: int) -> None:
    monkeypatch.setattr(text_blocks.blocks, "__defaults__", (block_bytes, piece_bytes))


@given(text=texts, piece=st.integers(1, 20), workers=st.sampled_from(WORKERS))
def test_counts_and_sentences_are_those_of_bytes_split(text, piece, workers):
    cuts = _C.cut(text, True, piece)
    assert cuts[0] == 0
    assert cuts[-1] == len(text)
    counter = _C.WordCounter(workers, 0)
    counter.count(text, cuts)
    words, counts = counter.finish(0)
    expected = sentences_of(text)
    assert list(zip(words, counts, strict=True)) == list(counts_of(expected).items())
    assert (counter.total_words, counter.sentences) == (sum(map(len, expected)), len(expected))
    parts = _C.WordEncoder(words).encode(text, cuts, workers)
    found = [[words[i] for i in part] for ids, lengths in parts for part in np.split(ids, np.cumsum(lengths))[:-1]]
    assert found == expected


@given(text=texts, block=st.integers(1, 30), piece=st.integers(1, 20), suffix=st.sampled_from(["", *COMPRESS]))
def test_a_file_in_blocks_is_the_whole_file(tmp_path_factory, text, block, piece, suffix):
    path = tmp_path_factory.mktemp("corpus") / f"corpus{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(text))
    joined = b"".join(bytes(part)[: cuts[-1]] for part, cuts in text_blocks.blocks(path, block, piece))
    assert joined == text
    counter = _C.WordCounter(2, 0)
    for part, cuts in text_blocks.blocks(path, block, piece):
        counter.count(part, cuts)
    assert dict(zip(*counter.finish(0), strict=True)) == counts_of(sentences_of(text))


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("line", [9_999, 10_000, 10_001, 30_000, 45_678])
def test_long_lines_are_cut_after_ten_thousand_words(tmp_path, monkeypatch, line, workers):
    small_blocks(monkeypatch, 100_000, 1_000)
    text = b"".join(b"%d " % (i % 97) for i in range(line)) + b"\nx y\n" + b"z " * line
    path = tmp_path / "corpus.txt"
    path.write_bytes(text)
    keys = count_words(corpus_file=path, workers=workers).words
    expected = sentences_of(text)
    assert decode(keys, corpus.encode(keys, corpus_file=path, workers=workers)) == expected
    assert decode(keys, corpus.encode(keys, [line.split() for line in text.decode().split("\n")])) == expected


def test_ties_are_in_order_of_first_appearance(tmp_path, monkeypatch):
    small_blocks(monkeypatch, 500, 16)
    words = [f"w{i * 7919 % 1000}" for i in range(1000)]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(words + words[::-1] + ["w5"]))
    for workers in WORKERS:
        vocabulary = Vocabulary.build(corpus_file=path, min_count=2, workers=workers)
        assert vocabulary.index_to_key == ["w5"] + [word for word in words if word != "w5"]
        assert vocabulary.counts.tolist() == [3] + [2] * 999


def test_build_keeps_the_frequent():
    sentences = [["a"] * 5 + ["b"] * 4, [], ["c"] * 4 + ["d"] * 3, ["e"]]
    vocabulary = Vocabulary.build(sentences, min_count=3)
    assert vocabulary.index_to_key == ["a", "b", "c", "d"]
    assert vocabulary.key_to_index == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert vocabulary.counts.tolist() == [5, 4, 4, 3]
    assert vocabulary.counts.dtype == np.int64
    assert (vocabulary.total_words, vocabulary.sentences, len(vocabulary), "e" in vocabulary) == (17, 4, 4, False)
    assert Vocabulary.build(sentences, min_count=1, max_final_vocab=2).index_to_key == ["a"]  # b and c are alike
    assert Vocabulary.build(sentences, min_count=1, max_final_vocab=3).index_to_key == ["a", "b", "c"]


def test_pruning_forgets_the_rare_whatever_the_workers(tmp_path):
    """When a sentence leaves more than 3 words none goes, the next time those counted once, then twice."""
    lines = ["a a a b b c", "d", "c e e e f", "a b"]
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(lines))
    # after "d" none goes; after the third line d and f, with 1; after the fourth c, with 2
    expected = {"a": 4, "b": 3, "e": 3}
    for workers in WORKERS:
        found = count_words(corpus_file=path, max_vocab_size=3, workers=workers)
        assert dict(zip(found.words, found.counts.tolist(), strict=True)) == expected
        assert found.total_words == 14
    found = count_words([line.split() for line in lines], max_vocab_size=3)
    assert dict(zip(found.words, found.counts.tolist(), strict=True)) == expected


def test_update_adds_counts_and_new_words_at_the_end():
    vocabulary = Vocabulary.build([["a", "a", "b"]], min_count=1)
    assert vocabulary.update([["c", "d", "d", "b", "b", "b", "e"]], min_count=1) == 3
    assert vocabulary.index_to_key == ["a", "b", "d", "c", "e"]
    assert vocabulary.counts.tolist() == [2, 4, 2, 1, 1]
    assert vocabulary.total_words == 10
    assert vocabulary.key_to_index["d"] == 2
    assert vocabulary.update([["a", "z"]], min_count=2) == 0


def test_encode_in_memory_and_in_files(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("a b x\n\nx\nb a a")
    expected = ([0, 1, 1, 0, 0], [0, 2, 2, 5])
    vocabulary = Vocabulary(["a", "b"], np.array([3, 2]))
    for given_as in ({"corpus_file": path}, {"sentences": [["a", "b", "x"], [], ["x"], ("b", "a", "a")]}):
        for directory in (None, tmp_path):
            ids, offsets = vocabulary.encode(**given_as, directory=directory)
            assert (ids.tolist(), offsets.tolist()) == expected
            assert (ids.dtype, offsets.dtype) == (np.int32, np.int64)
            assert isinstance(ids.base.obj, mmap.mmap) == (directory is not None)
    ids, offsets = Vocabulary(["q"], np.array([1])).encode([["a"]], directory=tmp_path)
    assert (ids.tolist(), offsets.tolist()) == ([], [0, 0])


@pytest.mark.parametrize("text", ["", " \n\t\n"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_an_empty_corpus_is_an_error(tmp_path, text, suffix):
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(text.encode()))
    with pytest.raises(ValueError, match=r"the corpus has no words: .*corpus"):
        Vocabulary.build(corpus_file=path)
    with pytest.raises(ValueError, match="the corpus has no words: sentences"):
        Vocabulary.build([[], []])


def test_no_word_above_min_count_is_an_error():
    with pytest.raises(ValueError, match="no word occurs min_count=5 times"):
        Vocabulary.build([["a", "b"] * 4])


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("suffix", ["", ".bz2"])
def test_a_word_of_ten_million_letters_is_a_word(tmp_path, suffix, workers):
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(b"a a " + b"x" * 10_000_000 + b" a"))
    found = count_words(corpus_file=path, workers=workers)
    assert [len(word) for word in found.words] == [1, 10_000_000]
    assert found.counts.tolist() == [3, 1]
    assert corpus.encode(["a"], corpus_file=path, workers=workers).ids.tolist() == [0, 0, 0]


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_longer_word_is_refused(tmp_path, suffix):
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(COMPRESS.get(suffix, bytes)(b"a " + b"x" * (_C.LONGEST_WORD + 1)))
    with pytest.raises(ValueError, match="16777216 bytes"):
        count_words(corpus_file=path)


@pytest.mark.parametrize("suffix", COMPRESS)
@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, suffix, damage):
    data = COMPRESS[suffix](bytes(np.random.default_rng(0).integers(97, 123, 20_000, np.uint8)))
    half = len(data) // 2
    path = tmp_path / f"corpus{suffix}"
    path.write_bytes(data[:half] if damage == "truncated" else data[:half] + bytes(64) + data[half + 64 :])
    with pytest.raises(ValueError, match=rf"corpus{suffix} is truncated or damaged"):
        count_words(corpus_file=path)


def test_a_missing_file_is_an_error(tmp_path):
    for suffix in ("", *COMPRESS):
        with pytest.raises(FileNotFoundError, match="nowhere"):
            Vocabulary.build(corpus_file=tmp_path / f"nowhere{suffix}")


@pytest.mark.parametrize(
    ("arguments", "mention"),
    [
        ({}, "either sentences or corpus_file"),
        ({"sentences": [["a"]], "corpus_file": "f"}, "both"),
        ({"sentences": "a b"}, "got str"),
        ({"sentences": 5}, "got int"),
        ({"sentences": ["a b"]}, "a sentence must be a list of words, got str"),
        ({"sentences": [["a", 5]]}, "a word must be a str, got int"),
        ({"sentences": [7]}, "list of words"),
    ],
)
def test_what_is_no_corpus_is_a_type_error(arguments, mention):
    with pytest.raises(TypeError, match=mention):
        Vocabulary.build(**arguments)
    with pytest.raises(TypeError, match=mention):
        corpus.encode(["a"], **arguments)


def test_an_iterator_can_be_read_once():
    assert Vocabulary.build(iter([["a"]]), min_count=1).index_to_key == ["a"]
    with pytest.raises(TypeError, match="iterator or generator"):
        corpus.check_corpus(iter([["a"]]), None, again=True)


def test_what_the_iterable_raises_reaches_the_caller(tmp_path):
    def sentences():
        yield ["a"]
        raise RuntimeError("the user's own")

    with pytest.raises(RuntimeError, match="the user's own"):
        Vocabulary.build(sentences())
    for directory in (None, tmp_path):
        with pytest.raises(RuntimeError, match="the user's own"):
            corpus.encode(["a"], sentences(), directory=directory)
    assert list(tmp_path.iterdir()) == []


def test_half_a_surrogate_pair_is_an_error():
    with pytest.raises(UnicodeEncodeError):
        Vocabulary.build([["\ud800"]])


@pytest.fixture
def control_c():
    """Python's own answer to Ctrl-C, for a shell that starts a program in the background lets it ignore that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_control_c_ends_the_count(control_c):
    def forever():
        while True:
            yield ["a", "b"]

    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        Vocabulary.build(forever())


def test_control_c_ends_the_reading_of_a_file(control_c, tmp_path, monkeypatch):
    small_blocks(monkeypatch, 64, 16)
    path = tmp_path / "corpus.txt"
    path.write_text("a b c d e f g h\n" * 1_000_000)
    threading.Timer(0.1, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        count_words(corpus_file=path)


def test_a_vocabulary_has_a_word_once():
    with pytest.raises(ValueError, match="'a' is in the vocabulary twice"):
        Vocabulary(["b", "a", "a"], np.ones(3))
    with pytest.raises(ValueError, match=r"expected 3 counts, one per word, got an array of shape \[2\]"):
        Vocabulary(["b", "a", "c"], np.ones(2))


def test_the_same_vocabulary_as_gensim(tmp_path):
    gensim = pytest.importorskip("gensim", reason="gensim is not installed")
    words = np.random.default_rng(1).zipf(1.3, 20_000) % 3_000
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(" ".join(f"w{word}" for word in line) for line in words.reshape(-1, 50)))
    for options in ({}, {"min_count": 1}, {"max_vocab_size": 300}, {"max_final_vocab": 50}):
        theirs = gensim.models.Word2Vec(**options)
        theirs.build_vocab(gensim.models.word2vec.LineSentence(str(path)))
        ours = Vocabulary.build(corpus_file=path, workers=2, **options)
        counts = {word: theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key}
        assert dict(zip(ours.index_to_key, ours.counts, strict=True)) == counts
        assert ours.counts.tolist() == list(counts.values())  # of equal counts, gensim's order is another
        assert (ours.total_words, ours.sentences) == (theirs.corpus_total_words, theirs.corpus_count)
