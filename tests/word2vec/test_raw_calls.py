"""Arrays and numbers that do not fit are errors of the compiled parts: nothing reads out of bounds or hangs."""

import numpy as np
import pytest

from fastrnn.word2vec import _C, Phrases, Vocabulary, Word2Vec, WordVectors
from fastrnn.word2vec.training.parameters import empty_rows
from tests.word2vec.small import SENTENCES, SMALL

WORDS = 5


def arguments(**changed):
    paths = (np.arange(WORDS + 1), np.arange(WORDS, dtype=np.int32) % (WORDS - 1), np.zeros(WORDS, np.uint8))
    alias = np.stack([np.full(WORDS, 2**32 - 1), np.arange(WORDS)], axis=1).astype(np.uint32)
    return {
        "ids": np.arange(20, dtype=np.int32) % WORDS,
        "offsets": np.array([0, 10, 20]),
        "syn0": empty_rows(WORDS, 8),
        "syn1": empty_rows(WORDS - 1, 8),
        "syn1neg": empty_rows(WORDS, 8),
        "keep": np.full(WORDS, 2**32 - 1, np.uint32),
        "alias": alias,
        "paths": paths,
        "lock": None,
        "skip_gram": True,
        "cbow_mean": True,
        "shrink_windows": True,
        "window": 2,
        "negative": 3,
        "key": 1,
        "alpha_begin": 0.1,
        "alpha_end": 0.1,
        "workers": 2,
        "deterministic": False,
        "progress": None,
    } | changed


def test_the_kernel_takes_what_fits():
    _, pairs = _C.train_epoch(**arguments())
    assert pairs > 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"syn1neg": empty_rows(1, 8)}, r"syn1neg must have shape \[5, 16\], got \[1, 16\]"),
        ({"syn1": empty_rows(1, 8)}, r"syn1 must have shape \[4, 16\], got \[1, 16\]"),
        ({"syn1": empty_rows(WORDS - 1, 24)}, r"syn1 must have shape \[4, 16\], got \[4, 32\]"),
        ({"syn0": np.zeros((WORDS, 8), np.float32)}, "syn0 must have rows of whole cache lines"),
        ({"syn0": np.zeros((0, 16), np.float32)}, "syn0 must have from 1"),
        ({"syn0": np.broadcast_to(np.float32(0), (1, 16))[:0]}, "syn0 must have from 1"),
        ({"keep": np.zeros(WORDS - 1, np.uint32)}, r"keep must have shape \[5\]"),
        ({"lock": np.ones(1, np.float32)}, r"lock must have shape \[5\], got \[1\]"),
        (
            {"alias": np.full((WORDS, 2), WORDS, np.uint32)},
            r"alias\[0, 1\] must be less than the number of words, 5, got 5",
        ),
        ({"alias": np.zeros((WORDS, 1), np.uint32)}, r"alias must have shape \[5, 2\]"),
        ({"alias": None}, "syn1neg needs alias"),
        ({"paths": None}, "syn1 needs paths"),
        ({"syn1": None, "syn1neg": None}, "without them there is nothing to train"),
        ({"offsets": np.array([0, 10, 21])}, r"offsets\[2\] must be from 10 to 20, got 21"),
        ({"offsets": np.array([0, 10, 5])}, r"offsets\[2\] must be from 10 to 20, got 5"),
        ({"offsets": np.array([-1, 10])}, r"offsets\[0\] must be from 0 to 20, got -1"),
        ({"offsets": np.array([], np.int64)}, "offsets must be a non-empty vector"),
        ({"ids": np.full(20, WORDS, np.int32)}, r"ids\[\d+\] must be from 0 to 4, got 5"),
        ({"ids": np.full(20, -1, np.int32)}, r"ids\[\d+\] must be from 0 to 4, got -1"),
        ({"ids": np.full(20, -1, np.int32), "deterministic": True}, r"ids\[\d+\] must be from 0 to 4, got -1"),
        ({"window": 0}, "window must be 1 or more"),
        ({"negative": 0}, "negative must be from 1 to 1000"),
        ({"negative": 2**31 - 1}, "negative must be from 1 to 1000"),
        ({"workers": 0}, "workers must be from 1 to 1024"),
        ({"workers": 3000}, "workers must be from 1 to 1024"),
        ({"alpha_begin": np.nan}, "learning rate must be finite"),
    ],
)
def test_the_kernel_refuses_what_does_not_fit(changed, message):
    with pytest.raises(ValueError, match=message):
        _C.train_epoch(**arguments(**changed))


def test_the_kernel_refuses_paths_out_of_range():
    offsets, nodes, codes = arguments()["paths"]
    for paths in [
        (offsets, nodes + 1, codes),
        (offsets, nodes - 1, codes),
        (offsets + 1, nodes, codes),
        (offsets[:-1], nodes, codes),
        (offsets, nodes, codes[:-1]),
        (offsets[::-1].copy(), nodes, codes),
    ]:
        with pytest.raises(ValueError, match="path"):
            _C.train_epoch(**arguments(paths=paths))


def test_the_kernel_refuses_other_dtypes_and_constants():
    for name, array in arguments().items():
        if isinstance(array, np.ndarray):
            with pytest.raises(TypeError):
                _C.train_epoch(**arguments(**{name: array.astype(np.float64)}))
    for name in ("syn0", "syn1", "syn1neg"):
        constant = arguments()[name]
        constant.flags.writeable = False
        with pytest.raises(ValueError, match=f"{name} must be writable"):
            _C.train_epoch(**arguments(**{name: constant}))


@pytest.mark.parametrize("cuts", [[], [0, 99], [-1, 3], [3, 1]])
def test_cuts_outside_of_the_text(cuts):
    options = _C.PhraseOptions(1, 1, 10, "_", False, [])
    for use in (
        lambda: _C.WordCounter(1, 0).count(b"some text", cuts),
        lambda: _C.WordEncoder(["some"]).encode(b"some text", cuts, 1),
        lambda: _C.PhraseCounter(options, 1).count(b"some text", cuts),
        lambda: _C.PhraseJoiner("_", [], []).join_text(b"some text", cuts, 1),
    ):
        with pytest.raises(ValueError, match="cuts must be increasing positions in the text"):
            use()


def test_numbers_that_would_hang_or_break():
    options = _C.PhraseOptions(1, 1, 10, "_", False, [])
    for use in (
        lambda: _C.cut(b"some text", True, 0),
        lambda: _C.WordCounter(-1, 0),
        lambda: _C.WordCounter(10**6, 0),
        lambda: _C.WordEncoder([]).encode(b"some text", [0, 4, 9], 0),
        lambda: _C.PhraseCounter(options, 0),
        lambda: _C.PhraseJoiner("", [], []),
        lambda: _C.PhraseOptions(1, 1, 0, "_", False, []),
        lambda: _C.PhraseOptions(1, 1, 10, "", False, []),
        lambda: Phrases(SENTENCES, workers=3000),
        lambda: Phrases(SENTENCES, workers=0),
    ):
        with pytest.raises(ValueError, match="must"):
            use()


def test_numbers_that_are_too_large_or_none():
    for use, message in (
        (lambda: Vocabulary.build(SENTENCES, min_count=2**63), "min_count must be from 0"),
        (lambda: Vocabulary.build(SENTENCES, min_count=-1), "min_count must be from 0"),
        (lambda: Vocabulary.build(SENTENCES, max_vocab_size=2**70), "max_vocab_size must be from 1"),
        (lambda: Word2Vec(**SMALL).build_vocab_from_freq({"a": 2**63}), "less than 2"),
        (lambda: Word2Vec(**SMALL).build_vocab_from_freq({"a": 2**62, "b": 2**62}), "less than 2"),
        (lambda: WordVectors(["a"], np.ones((1, 2))).to_projector("never", limit=-1), "limit must be 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            use()
    for use in (
        lambda: Vocabulary.build(SENTENCES, min_count=2.5),
        lambda: Vocabulary.build(SENTENCES, max_vocab_size=2.5),
        lambda: Word2Vec(**SMALL).build_vocab_from_freq({"a": 2.5}),
    ):
        with pytest.raises(TypeError, match=r"whole number|\(int\)"):
            use()


def test_a_window_longer_than_any_sentence():
    options = SMALL | {"deterministic": True, "shrink_windows": False}
    longest = Word2Vec(SENTENCES, window=2**31 - 1, **options)
    whole_sentence = Word2Vec(SENTENCES, window=5, **options)
    assert np.array_equal(longest.wv.vectors, whole_sentence.wv.vectors)
    assert np.isfinite(Word2Vec(SENTENCES, window=2**31 - 1, **SMALL).wv.vectors).all()
