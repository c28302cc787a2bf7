"""Arguments and attributes of gensim that fastrnn lacks: they are ignored, or an error says what to use."""

import pickle

import numpy as np
import pytest

from fastrnn.word2vec import CallbackAny2Vec, Word2Vec, WordVectors

SENTENCES = [["the", "quick", "brown", "fox"], ["the", "lazy", "dog"]] * 30
SMALL = {"vector_size": 8, "min_count": 1, "epochs": 2, "workers": 1, "sample": 0}


def test_what_changes_nothing_is_passed_over() -> None:
    plain = Word2Vec(SENTENCES, **SMALL)
    silent = {"batch_words": 100, "compute_loss": True, "hashfxn": hash, "comment": "mine", "sorted_vocab": 1}
    model = Word2Vec(**SMALL, **silent, callbacks=(), trim_rule=None, null_word=0)
    model.build_vocab(SENTENCES, progress_per=10, keep_raw_vocab=False, trim_rule=None)
    model.train(SENTENCES, total_examples=model.corpus_count, report_delay=1, compute_loss=True, callbacks=[])
    assert np.array_equal(model.wv.vectors, plain.wv.vectors)
    assert model.get_latest_training_loss() == plain.get_latest_training_loss() > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 100}, "gensim's argument size is not supported: use vector_size; got size=100"),
        ({"iter": 3}, "use epochs; got iter=3"),
        ({"callbacks": [print]}, "must have one of the methods on_train_begin, on_epoch_begin"),
        ({"callbacks": CallbackAny2Vec()}, r"must be a list, got .*; write callbacks=\[…\]"),
        ({"sorted_vocab": 0}, "words are always sorted by frequency; got sorted_vocab=0"),
        ({"null_word": 1}, "add the word to the sentences; got null_word=1"),
        ({"vectorsize": 3}, "unexpected keyword argument 'vectorsize'"),
    ],
)
def test_a_model_says_what_takes_an_arguments_place(arguments: dict, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Word2Vec(**arguments)


def test_so_do_its_methods() -> None:
    model = Word2Vec(**SMALL)
    with pytest.raises(TypeError, match=r"keep_raw_vocab is not supported: use Vocabulary.build\(…, min_count=1\)"):
        model.build_vocab(SENTENCES, keep_raw_vocab=True)
    with pytest.raises(TypeError, match=r"build_vocab\(\) got an unexpected keyword argument 'sentence'"):
        model.build_vocab(sentence=SENTENCES)
    model.build_vocab(SENTENCES)
    with pytest.raises(TypeError, match="must have one of the methods on_train_begin"):
        model.train(SENTENCES, callbacks=[print])
    model.callbacks = [print]
    with pytest.raises(TypeError, match="must have one of the methods on_train_begin"):
        model.train(SENTENCES)
    model.callbacks = ()
    with pytest.raises(TypeError, match="word_count is not supported: use start_alpha= and end_alpha="):
        model.train(SENTENCES, word_count=7)
    with pytest.raises(TypeError, match=r"train\(\) got an unexpected keyword argument 'iterations'"):
        model.train(SENTENCES, iterations=7)


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("index2word", "'index2word'; instead of gensim's index2word use index_to_key$"),
        ("vocab", "use key_to_index and get_vecattr"),
        ("syn0norm", r"use get_normed_vectors\(\)"),
        ("colour", "WordVectors has no attribute 'colour'$"),
    ],
)
def test_vectors_say_what_takes_an_attributes_place(name: str, instead: str) -> None:
    vectors = WordVectors(["a"], np.zeros((1, 2)))
    with pytest.raises(AttributeError, match=instead):
        getattr(vectors, name)
    assert not hasattr(vectors, name)
    assert pickle.loads(pickle.dumps(vectors)).index_to_key == ["a"]


def test_a_model_goes_on_from_vectors_that_are_put_in() -> None:
    model = Word2Vec(SENTENCES, **SMALL)
    keys, rows = ["fox", "dog"], np.arange(16, dtype=np.float32).reshape(2, 8)
    model.wv[keys] = rows
    model.train(SENTENCES, start_alpha=0, end_alpha=0)
    assert np.array_equal(model.wv[keys], rows)


@pytest.mark.parametrize("cbow_mean", [0, 1])
def test_the_word_in_the_midst_of_a_context(cbow_mean: int) -> None:
    model = Word2Vec(SENTENCES, **SMALL, cbow_mean=cbow_mean)
    inputs, outputs = model.parameters.syn0, model.parameters.syn1neg
    assert outputs is not None
    inputs[:], outputs[:] = 0, 0
    words = model.wv.key_to_index
    inputs[words["quick"], :2], inputs[words["fox"], :2] = [2, 0], [0, 2]
    outputs[words["brown"], :2], outputs[words["lazy"], :2] = [1, 1], [-1, 0]
    x = 2 if cbow_mean else 4  # the product with brown's; half of it, negative, with lazy's
    total = np.exp(x) + np.exp(-x / 2) + 4  # and 0 with those of the four others
    found = model.predict_output_word(["quick", "gone", "fox"], topn=99)
    assert len(found) == 6
    assert found[0] == ("brown", pytest.approx(np.exp(x) / total))
    assert found[-1] == ("lazy", pytest.approx(np.exp(-x / 2) / total))
    assert model.predict_output_word(["quick", "fox"], topn=1) == found[:1]
    with pytest.raises(ValueError, match=r"context with at least one word of the vocabulary, got \['gone'\]"):
        model.predict_output_word(["gone"])


def test_what_predicts_no_words() -> None:
    with pytest.raises(ValueError, match="call build_vocab before predict_output_word"):
        Word2Vec(**SMALL).predict_output_word(["fox"])
    with pytest.raises(ValueError, match="output vectors, which are trained only with negative > 0"):
        Word2Vec(SENTENCES, **SMALL, hs=1, negative=0).predict_output_word(["fox"])


def test_gensim_predicts_the_same_words() -> None:
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")
    theirs = models.Word2Vec(SENTENCES, **SMALL | {"epochs": 50, "alpha": 0.2})
    ours = Word2Vec(SENTENCES, **SMALL)
    rows = [theirs.wv.key_to_index[word] for word in ours.wv.index_to_key]
    assert ours.parameters.syn1neg is not None
    ours.parameters.syn0[:, :8], ours.parameters.syn1neg[:, :8] = theirs.wv.vectors[rows], theirs.syn1neg[rows]
    expected = theirs.predict_output_word(["brown", "lazy"], topn=6)
    found = ours.predict_output_word(["brown", "lazy"], topn=6)
    assert [word for word, _ in found] == [word for word, _ in expected]
    assert [value for _, value in found] == pytest.approx([value for _, value in expected], rel=1e-4)
