"""Word2Vec as its users call it."""

import math

import numpy as np
import pytest

from fastrnn.word2vec import Word2Vec

SENTENCES = [line.split() for line in ("the quick brown fox jumps", "over the lazy dog", "the dog sleeps") * 40]
SMALL = {"vector_size": 20, "min_count": 1, "epochs": 3, "workers": 2, "deterministic": True}


def test_trains_at_once_or_step_by_step():
    at_once = Word2Vec(SENTENCES, **SMALL)
    model = Word2Vec(**SMALL)
    model.build_vocab(SENTENCES)
    words, pairs = model.train(SENTENCES, total_examples=len(SENTENCES), epochs=model.epochs)
    assert words == 3 * sum(map(len, SENTENCES))
    assert pairs == sum(model.pairs)
    assert (at_once.wv.vectors == model.wv.vectors).all()
    assert at_once.wv["fox"].shape == (20,)
    assert at_once.vector_size == 20


def test_a_file_is_the_same_as_its_sentences(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text("\n".join(map(" ".join, SENTENCES)))
    assert (Word2Vec(corpus_file=path, **SMALL).wv.vectors == Word2Vec(SENTENCES, **SMALL).wv.vectors).all()


@pytest.mark.parametrize("options", [{"sg": 1}, {"sg": 0}, {"sg": 1, "hs": 1, "negative": 0}, {"hs": 1}])
def test_the_loss_falls(options):
    model = Word2Vec(SENTENCES, **SMALL | {"epochs": 10, "sample": 0, "alpha": 0.1} | options)
    means = np.array(model.losses) / model.pairs
    assert means[-1] < 0.9 * means[0]
    assert model.get_latest_training_loss() == model.running_training_loss == pytest.approx(sum(model.losses))
    model.train(SENTENCES, epochs=1)
    assert model.get_latest_training_loss() == model.losses[-1]


def test_seeds():
    one, two = (Word2Vec(SENTENCES, seed=seed, **SMALL).wv.vectors for seed in (1, 2))
    assert (one != two).any()


@pytest.mark.parametrize("hs", [0, 1])
def test_new_words(hs):
    model = Word2Vec(SENTENCES, hs=hs, **SMALL)
    before = model.wv["fox"].copy()
    new = [["a", "brand", "new", "fox"]] * 20
    model.build_vocab(new, update=True)
    assert (model.wv["fox"] == before).all()
    model.train(new, epochs=2)
    assert (model.wv["fox"] != before).any()
    assert "brand" in model.wv
    assert np.isfinite(model.wv.vectors).all()


@pytest.mark.parametrize("hs", [0, 1])
def test_a_saved_model_goes_on(tmp_path, hs):
    model = Word2Vec(SENTENCES, hs=hs, **SMALL)
    model.save(tmp_path / "model")
    loaded = Word2Vec.load(tmp_path / "model", workers=1)
    assert loaded.wv.index_to_key == model.wv.index_to_key
    assert (loaded.wv.vectors == model.wv.vectors).all()
    assert loaded.losses == model.losses
    model.train(SENTENCES)
    loaded.train(SENTENCES)
    assert (loaded.wv.vectors == model.wv.vectors).all()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_damaged_file(tmp_path):
    path = tmp_path / "model"
    Word2Vec(SENTENCES, **SMALL).save(path)
    whole = path.read_bytes()
    for damaged in (b"", b"no model", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"is not a model that Word2Vec.save wrote .*, or is damaged"):
            Word2Vec.load(path)
    np.savez(tmp_path / "other.npz", a=np.zeros(3))
    with pytest.raises(ValueError, match=r"is not a model that Word2Vec.save wrote .*, or is damaged"):
        Word2Vec.load(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        Word2Vec.load(tmp_path / "absent")


def test_ctrl_c_leaves_a_usable_model(tmp_path):
    calls = []

    def progress(epoch, words_done, words, loss):
        calls.append((epoch, words_done, words))
        if epoch == 1:
            raise KeyboardInterrupt

    model = Word2Vec(progress=progress, **SMALL)
    model.build_vocab(SENTENCES)
    with pytest.raises(KeyboardInterrupt):
        model.train(SENTENCES)
    assert len(model.losses) == len(model.pairs) == 1  # whole epochs only
    one_epoch = Word2Vec(**SMALL)
    one_epoch.build_vocab(SENTENCES)
    one_epoch.train(SENTENCES, epochs=1, end_alpha=0.025 + (0.0001 - 0.025) / 3)
    assert model.losses == one_epoch.losses
    assert (model.wv.vectors != one_epoch.wv.vectors).any()  # what the second epoch had learned is there
    assert calls[-1][0] == 1
    assert calls[-1][2] == sum(map(len, SENTENCES))
    model.progress = None
    model.save(tmp_path / "model")
    model.train(SENTENCES)
    assert np.isfinite(model.wv.vectors).all()


def test_what_iterables_raise_comes_through():
    class Broken:
        def __iter__(self):
            yield ["a", "b"]
            raise RuntimeError("the database is gone")

    with pytest.raises(RuntimeError, match="the database is gone"):
        Word2Vec(Broken(), **SMALL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"negative": 0, "hs": 0}, "negative=0 and hs=0 would train nothing"),
        ({"vector_size": 0}, "vector_size must be from 1 to 1048576, got 0"),
        ({"vector_size": 10**12}, "vector_size must be from 1 to 1048576, got 10{12}"),
        ({"window": -1}, "window must be from 1 to 2147483647, got -1"),
        ({"window": 2**31}, "window must be from 1 to 2147483647, got 2147483648"),
        ({"epochs": 0}, "epochs must be from 1 to 1000000, got 0"),
        ({"epochs": 10**9}, "epochs must be from 1 to 1000000, got 10{9}"),
        ({"negative": 2**31 - 1}, "negative must be from 0 to 1000, got 2147483647"),
        ({"min_count": -1}, "min_count must be from 0 to 9223372036854775807, got -1"),
        ({"min_count": 2**63}, "min_count must be from 0 to 9223372036854775807, got 9223372036854775808"),
        ({"max_final_vocab": 0}, "max_final_vocab must be from 1 to"),
        ({"sample": -1}, "sample must be finite and at least 0, got -1"),
        ({"sample": math.nan}, "sample must be finite and at least 0, got nan"),
        ({"alpha": math.inf}, "alpha must be finite and at least 0, got inf"),
        ({"min_alpha": math.nan}, "min_alpha must be finite and at least 0, got nan"),
        ({"ns_exponent": math.nan}, "ns_exponent must be from -10 to 10, got nan"),
        ({"ns_exponent": -11}, "ns_exponent must be from -10 to 10, got -11"),
        ({"sg": 2}, "sg must be 0 or 1, got 2"),
        ({"shrink_windows": 7}, "shrink_windows must be 0 or 1, got 7"),
        ({"workers": 0}, "workers must be from 1 to 1024, or None for one per core; got 0"),
        ({"workers": 3000}, "workers must be from 1 to 1024, or None for one per core; got 3000"),
    ],
)
def test_settings_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=message):
        Word2Vec(**options)


@pytest.mark.parametrize("options", [{"window": 2.5}, {"seed": "one"}, {"alpha": "0.1"}, {"workers": 1.5}])
def test_settings_that_are_no_numbers(options):
    with pytest.raises(TypeError):
        Word2Vec(**options)


def test_numbers_of_numpy_are_settings(tmp_path):
    model = Word2Vec(
        SENTENCES, vector_size=np.int64(6), window=np.int32(2), alpha=np.float32(0.5), min_count=1, sg=True
    )
    model.save(tmp_path / "model")  # as JSON, which knows no numbers of numpy
    assert Word2Vec.load(tmp_path / "model").settings == model.settings


def test_arguments_of_train_that_make_no_sense():
    model = Word2Vec(SENTENCES, **SMALL)
    for options in ({"epochs": 0}, {"start_alpha": math.nan}, {"end_alpha": -1}):
        with pytest.raises(ValueError, match=next(iter(options))):
            model.train(SENTENCES, **options)


def test_steps_in_the_wrong_order():
    model = Word2Vec(**SMALL)
    with pytest.raises(ValueError, match="call build_vocab before train"):
        model.train(SENTENCES)
    with pytest.raises(ValueError, match="update=True needs a vocabulary; first call build_vocab without it"):
        model.build_vocab(SENTENCES, update=True)
    with pytest.raises(ValueError, match="nothing to save"):
        model.save("never")
    with pytest.raises(AttributeError, match="no attribute 'syn1neg'; call build_vocab first"):
        model.syn1neg  # noqa: B018
    assert len(model.wv) == model.corpus_count == model.corpus_total_words == 0
    model.build_vocab(SENTENCES)
    with pytest.raises(ValueError, match="no word of the corpus is in the vocabulary"):
        model.train([["unknown"]])
    with pytest.raises(TypeError, match="sentences is read more than once"):
        Word2Vec((s for s in SENTENCES), **SMALL)
