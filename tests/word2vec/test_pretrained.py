"""Starting from other vectors, freezing vectors, and learning rates that are far too large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import Word2Vec, WordVectors

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(200)]
SMALL: dict[str, Any] = {"vector_size": 8, "min_count": 1, "deterministic": True}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    WordVectors(["trees", "gone", "graph"], np.arange(24).reshape(3, 8) / 24).save_word2vec_format(tmp_path / "v")
    return tmp_path / "v"


@pytest.mark.parametrize("sg", [0, 1])
def test_vectors_of_a_file_stay_or_are_trained(file: Path, sg: int) -> None:
    model = Word2Vec(sg=sg, **SMALL)
    model.build_vocab(SENTENCES)
    before = model.wv["minors"].copy()
    model.wv.intersect_word2vec_format(file)
    assert model.wv.vectors_lockf.tolist() == [float(word not in ("graph", "trees")) for word in model.wv.index_to_key]
    assert "gone" not in model.wv
    model.train(SENTENCES)
    assert np.array_equal(model.wv["graph"], np.arange(16, 24, dtype=np.float32) / 24)
    assert not np.array_equal(model.wv["minors"], before)
    model.wv.intersect_word2vec_format(file, lockf=1.0)
    model.train(SENTENCES)
    assert not np.array_equal(model.wv["graph"], np.arange(16, 24, dtype=np.float32) / 24)


def test_a_lock_lasts(file: Path, tmp_path: Path) -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    model.wv.intersect_word2vec_format(file)
    model.build_vocab([["new", "words"]] * 3, update=True)
    assert model.wv.vectors_lockf.tolist()[-2:] == [1, 1]
    model.wv.set_vecattr("graph", "colour", "red")
    loss = model.running_training_loss
    model.save(tmp_path / "model")
    model = Word2Vec.load(tmp_path / "model", workers=2, mmap="r")
    assert model.running_training_loss == model.get_latest_training_loss() == loss
    assert [model.wv.get_vecattr(word, "colour") for word in ("graph", "trees")] == ["red", None]
    assert model.wv.get_vecattr("graph", "count") == 200
    model.train(SENTENCES)
    assert np.array_equal(model.wv["graph"], np.arange(16, 24, dtype=np.float32) / 24)
    model.wv.vectors_lockf = np.ones(3)
    with pytest.raises(ValueError, match=r"one factor for all words or one for each of 12, got shape \[3\]"):
        model.train(SENTENCES)


def test_gensim_takes_the_same_vectors_from_a_file(file: Path) -> None:
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")
    tables = []
    for kind in (Word2Vec, models.Word2Vec):
        model = kind(vector_size=8, min_count=1)
        model.build_vocab(SENTENCES)
        model.wv.vectors_lockf = np.ones(len(model.wv), dtype=np.float32)
        model.wv.intersect_word2vec_format(str(file), lockf=0.25)
        tables.append({word: float(model.wv.vectors_lockf[row]) for word, row in model.wv.key_to_index.items()})
        assert np.array_equal(model.wv["trees"], np.arange(8, dtype=np.float32) / 24)
    assert tables[0] == tables[1]
    with pytest.raises(ValueError, match="its vectors have 8 numbers, expected 9"):
        WordVectors(9).intersect_word2vec_format(file)


@pytest.mark.parametrize(
    "options", [{"sg": 0}, {"sg": 1}, {"sg": 0, "cbow_mean": 0}, {"hs": 1, "negative": 0}, {"sg": 1, "hs": 1}], ids=str
)
@pytest.mark.parametrize("alpha", [0.5, 5])
def test_a_rate_that_is_too_large_gives_large_vectors_and_no_nan(options: dict[str, Any], alpha: float) -> None:
    model = Word2Vec(SENTENCES * 3, **SMALL | options | {"alpha": alpha, "epochs": 10})
    assert np.isfinite(model.wv.vectors).all()
    assert np.abs(model.wv.vectors).max() < 1e4


def test_training_that_diverges_is_an_error() -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    model.wv["graph"] = np.full(8, np.nan)
    with pytest.raises(RuntimeError, match=r"the loss of epoch 6 is nan; use a smaller alpha than 0\.025"):
        model.train(SENTENCES)
    assert len(model.losses) == 5


def test_an_empty_token_is_no_word(tmp_path: Path) -> None:
    with_empty = [["a", "", "b", "c"], [""], ["c", "a"]] * 20
    without = [["a", "b", "c"], ["c", "a"]] * 20
    ours, plain = Word2Vec(with_empty, **SMALL), Word2Vec(without, **SMALL)
    assert ours.wv.index_to_key == plain.wv.index_to_key == ["a", "c", "b"]
    assert ours.corpus_total_words == plain.corpus_total_words
    assert np.array_equal(ours.wv.vectors, plain.wv.vectors)
    ours.wv.save_word2vec_format(tmp_path / "v")
