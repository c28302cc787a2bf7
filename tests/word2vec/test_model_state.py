"""Settings take effect when they are set, and a model and its vectors share one table, however it is changed."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import KeyedVectors, Word2Vec, WordVectors

SENTENCES = [line.split() for line in ("the quick brown fox jumps", "over the lazy dog", "the dog sleeps") * 40]
SMALL: dict[str, Any] = {
    "vector_size": 12, "min_count": 1, "epochs": 2, "workers": 2, "deterministic": True, "sample": 0
}  # fmt: skip
NOTHING = {"epochs": 1, "start_alpha": 0, "end_alpha": 0}  # learned


def built(**options: Any) -> Word2Vec:
    model = Word2Vec(**SMALL | options)
    model.build_vocab(SENTENCES)
    return model


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("alpha", 0.07),
        ("min_alpha", 0.02),
        ("window", 2),
        ("shrink_windows", False),
        ("sg", 1),
        ("hs", 1),
        ("negative", 2),
        ("ns_exponent", -0.5),
        ("cbow_mean", 0),
        ("sample", 0.05),
        ("epochs", 3),
        ("workers", 1),
    ],
)
def test_a_setting_holds_from_when_it_is_set(name: str, value: Any) -> None:
    given, kept, model = built(**{name: value}), built(), built()
    setattr(model, name, value)
    assert getattr(model, name) == value
    for each in (given, kept, model):
        each.train(SENTENCES)
    assert np.array_equal(model.wv.vectors, given.wv.vectors)
    assert name == "workers" or not np.array_equal(model.wv.vectors, kept.wv.vectors)


def test_what_makes_the_vocabulary_holds_when_it_is_built() -> None:
    model = built()
    model.min_count, model.seed = 41, 7
    model.build_vocab(SENTENCES)
    assert set(model.wv.index_to_key) == {"the", "dog"}
    model.min_count, model.max_final_vocab = 1, 2
    model.build_vocab(SENTENCES)
    assert np.array_equal(model.wv.vectors, built(max_final_vocab=2, seed=7).wv.vectors)
    model = Word2Vec(**SMALL)
    model.vector_size = 5
    model.build_vocab(SENTENCES)
    assert model.wv["the"].shape == (5,)


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("alpha", -1, ValueError, "alpha must be finite and at least 0, got -1"),
        ("workers", 0, ValueError, "workers must be from 1 to 1024, or None for one per core; got 0"),
        ("vector_size", 13, ValueError, "the vectors have size 12; for vector_size=13 make a new model"),
        ("size", 50, TypeError, "gensim's argument size is not supported: use vector_size; got size=50"),
        ("sorted_vocab", 0, TypeError, "words are always sorted by frequency"),
        ("cum_table", [1], AttributeError, "setting cum_table would have no effect; use ns_exponent"),
        ("layer1_size", 50, AttributeError, "would have no effect; use vector_size"),
        ("syn1neg", np.zeros((3, 12)), ValueError, r"syn1neg must have shape \[9, 12\], got \[3, 12\]"),
        ("wv", {}, TypeError, r"wv must be WordVectors \(KeyedVectors\), got dict"),
        ("wv", KeyedVectors(5), ValueError, "wv must have vectors of size 12, got 5"),
        ("wv", KeyedVectors(12), ValueError, r"vectors \(wv\) no longer have the word 'the', which it trains"),
    ],
)
def test_what_cannot_be_set_says_so(name: str, value: Any, error: type[Exception], message: str) -> None:
    model = built()
    with pytest.raises(error, match=message):
        setattr(model, name, value)
    assert model.train(SENTENCES)[1] > 0


def test_no_outputs_are_an_error_when_training_begins_and_not_before() -> None:
    model = built()
    model.negative = 0
    with pytest.raises(ValueError, match="negative=0 and hs=0 would train nothing"):
        model.train(SENTENCES)
    model.hs = 1
    model.train(SENTENCES)
    assert model.syn1.shape == (8, 12)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vector_sise", "'vector_sise'$"),
        ("most_similar", "use model.wv.most_similar$"),
        ("score", "instead of gensim's score use predict_output_word"),
        ("syn0", "use model.wv.vectors$"),
        ("hashfxn", "fastrnn ignores gensim's setting of this name$"),
        ("syn1", "it exists with hs=1$"),
    ],
)
def test_a_missing_name_is_explained(name: str, message: str) -> None:
    model = built()
    with pytest.raises(AttributeError, match=message):
        getattr(model, name)
    assert not hasattr(model, name)
    with pytest.raises(AttributeError, match="no attribute 'syn1'; call build_vocab first"):
        Word2Vec(**SMALL).syn1  # noqa: B018


def test_vectors_that_were_taken_before_training_are_those_after_it() -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    vectors = model.wv
    vectors.most_similar("fox")
    model.train(SENTENCES, epochs=30, start_alpha=0.5)
    assert model.wv is vectors
    fresh = WordVectors(vectors.index_to_key, vectors.vectors.copy())
    assert vectors.most_similar("fox") == fresh.most_similar("fox")
    assert abs(vectors.similarity("fox", "dog")) <= 1.000001
    model.build_vocab([["oolong", "tea"]], update=True)
    assert "oolong" in vectors


class Bystander:
    """Asks while the model is trained."""

    def __init__(self) -> None:
        self.cosines: list[float] = []

    def on_progress(self, model: Word2Vec, *numbers: float) -> None:
        self.cosines += [cosine for _, cosine in model.wv.most_similar("fox")]

    def on_epoch_end(self, model: Word2Vec) -> None:
        self.on_progress(model)


def test_vectors_are_right_while_they_are_trained() -> None:
    asks = Bystander()
    Word2Vec(SENTENCES, callbacks=[asks], **SMALL | {"epochs": 20, "alpha": 0.5})
    assert len(asks.cosines) >= 20 * 8
    assert np.abs(asks.cosines).max() <= 1.0001


@pytest.mark.parametrize("copied", [lambda m: pickle.loads(pickle.dumps(m)), copy.deepcopy, copy.copy])
@pytest.mark.parametrize("options", [{"vector_size": 16}, {"hs": 1, "negative": 0}])
def test_a_copy_goes_on_with_its_own_table(copied: Any, options: dict[str, Any]) -> None:
    model = Word2Vec(SENTENCES, progress=lambda *numbers: None, callbacks=[Bystander()], **SMALL | options)
    other = copied(model)
    assert other.losses == model.losses
    assert (other.progress, other.callbacks) == (None, ())
    before = model.wv.vectors.copy()
    other.train(SENTENCES)
    assert np.array_equal(model.wv.vectors, before)
    model.train(SENTENCES)
    assert np.array_equal(other.wv.vectors, model.wv.vectors)
    other.wv[["fox"]] = np.full((1, other.vector_size), 7)
    other.train(SENTENCES, **NOTHING)
    assert (other.wv["fox"] == 7).all()


def test_a_model_and_its_vectors_in_one_pickle_stay_together() -> None:
    model, vectors = pickle.loads(pickle.dumps((m := built(), m.wv)))
    assert model.wv is vectors
    model.train(SENTENCES)
    assert not np.array_equal(vectors.vectors, m.wv.vectors)
    assert pickle.loads(pickle.dumps(Word2Vec(**SMALL))).vector_size == 12


def test_keys_that_are_added_are_words_from_then_on() -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    rows = np.eye(2, 12, dtype=np.float32)
    model.wv.add_vectors(["oolong", "tea"], rows)
    model.train(SENTENCES)
    assert np.array_equal(model.wv[["oolong", "tea"]], rows)  # not in these sentences, nor ever a negative
    assert (model.syn1neg[-2:] == 0).all()
    model.train([["oolong", "fox"]] * 50)
    assert not np.array_equal(model.wv["oolong"], rows[0])
    assert np.array_equal(model.wv["tea"], rows[1])
    model.build_vocab([["tea", "cake"]] * 3, update=True)
    assert model.wv.index_to_key[-3:] == ["oolong", "tea", "cake"]
    assert [model.wv.get_vecattr(word, "count") for word in ("oolong", "tea", "cake")] == [0, 3, 3]
    assert np.array_equal(model.wv["tea"], rows[1])
    with pytest.raises(ValueError, match="must be str, got 7"):
        model.wv = WordVectors([*model.wv.index_to_key, 7], np.ones((13, 12)))


def test_keys_that_are_added_are_saved(tmp_path: Any) -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    model.wv.add_vector("tea", np.ones(12))
    model.save(tmp_path / "model")
    assert (Word2Vec.load(tmp_path / "model").wv["tea"] == 1).all()
    assert (pickle.loads(pickle.dumps(model)).wv["tea"] == 1).all()


def test_other_vectors_and_another_order() -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    model.wv.vectors = np.ones((9, 12))
    model.train(SENTENCES, **NOTHING)
    assert (model.wv.vectors == 1).all()
    outputs = dict(zip(model.wv.index_to_key, model.syn1neg.copy(), strict=True))
    model.wv.set_vecattr("fox", "count", 10**6)
    model.wv.sort_by_descending_frequency()
    model.wv["fox"] = np.full(12, 3)
    model.train(SENTENCES, **NOTHING)
    assert model.wv.index_to_key[0] == "fox"
    assert (model.wv.vectors[0] == 3).all()
    assert all(np.array_equal(outputs[word], model.syn1neg[row]) for row, word in enumerate(model.wv.index_to_key))
    vectors = WordVectors([*model.wv.index_to_key[::-1], "tea"], np.zeros((10, 12)))
    model.wv = vectors
    model.train(SENTENCES)
    assert model.wv is vectors
    assert np.any(vectors["fox"] != 0)
    assert (vectors["tea"] == 0).all()


def test_outputs_may_be_set() -> None:
    model = built()
    model.syn1neg[0] = 5
    assert model.parameters.syn1neg is not None
    assert (model.parameters.syn1neg[0, :12] == 5).all()
    model.syn1neg = np.full((9, 12), 2.0)
    assert (model.parameters.syn1neg[:, :12] == 2).all()
    assert (model.parameters.syn1neg[:, 12:] == 0).all()


def test_counts_of_the_vectors_are_not_the_vocabularys() -> None:
    model, other = built(), built()
    assert model.wv.counts is not None
    model.wv.counts[:] = 1
    for each in (model, other):
        each.train(SENTENCES)
    assert np.array_equal(model.wv.vectors, other.wv.vectors)


def test_vectors_are_not_discarded_by_a_first_vocabulary() -> None:
    model = Word2Vec(**SMALL)
    model.wv.add_vector("tea", np.ones(12))
    with pytest.raises(ValueError, match="building the vocabulary would discard 1 vectors in wv"):
        model.build_vocab(SENTENCES)
    assert (model.wv["tea"] == 1).all()


def test_names() -> None:
    assert str(built()) == repr(built()) == "Word2Vec<vocab=9, vector_size=12, alpha=0.025>"
    model = built()
    model.init_sims(replace=True)
    assert np.linalg.norm(model.wv.vectors, axis=1) == pytest.approx(1)
