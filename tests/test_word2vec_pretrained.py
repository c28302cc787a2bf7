"""A model that begins from other vectors, words that stay as they are, and learning rates that are far too large."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP, CallbackAny2Vec, Vocabulary, Word2Vec, WordVectors

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
    with pytest.raises(ValueError, match=r"one for all words or one for each of 12, got shape \[3\]"):
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
    with pytest.raises(ValueError, match="its vectors have 8 numbers, these here 9"):
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


def test_a_rule_chooses_words() -> None:
    asked = []

    def rule(word: str, count: int, min_count: int) -> int:
        asked.append((word, count, min_count))
        return {"w6": RULE_KEEP, "graph": RULE_DISCARD}.get(word, RULE_DEFAULT)

    model = Word2Vec(trim_rule=rule, **SMALL | {"min_count": 90})
    model.build_vocab(SENTENCES)
    assert set(model.wv.index_to_key) == {"trees", "minors", "w0", "w1", "w2", "w6"}
    assert ("w6", 28, 90) in asked
    assert len(asked) == 10
    model.build_vocab(SENTENCES + [["new", "graph"]] * 5, update=True, trim_rule=rule)
    assert "graph" not in model.wv
    model.min_count, model.trim_rule = 1, None
    model.build_vocab([["new"]], update=True)
    assert model.wv.index_to_key[-1] == "new"
    for answer in (True, 7, "keep"):
        with pytest.raises(ValueError, match=f"RULE_KEEP .0, 1 or 2., got {answer!r} for 'graph'"):
            model.build_vocab(SENTENCES, trim_rule=lambda *numbers, answer=answer: answer)
    with pytest.raises(ValueError, match="max_vocab_size would forget words before trim_rule is asked"):
        Word2Vec(SENTENCES, trim_rule=rule, **SMALL, max_vocab_size=100)


def test_gensim_keeps_the_same_words() -> None:
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")

    def rule(word: str, count: int, min_count: int) -> int:
        return RULE_KEEP if count == 29 else RULE_DISCARD if word == "w0" else RULE_DEFAULT

    for options in ({"min_count": 60}, {"min_count": 0}, {"min_count": 5, "max_final_vocab": 4}):
        both = [kind(vector_size=4, **options) for kind in (Word2Vec, models.Word2Vec)]
        for model in both:
            model.build_vocab(SENTENCES, trim_rule=rule)
        assert both[0].wv.key_to_index.keys() == both[1].wv.key_to_index.keys(), options
        for model in both:
            model.build_vocab_from_freq({"a": 3, "b": 90, "c": 70, "w0": 99}, corpus_count=7, trim_rule=rule)
        assert both[0].wv.index_to_key == both[1].wv.index_to_key
        assert both[0].corpus_count == both[1].corpus_count == 7


def test_counts_make_a_vocabulary() -> None:
    counted = Vocabulary.build(SENTENCES, min_count=1)
    frequencies = dict(zip(counted.index_to_key, counted.counts.tolist(), strict=True))
    model, expected = Word2Vec(**SMALL), Word2Vec(SENTENCES, **SMALL)
    model.build_vocab_from_freq(frequencies)
    model.train(SENTENCES)
    assert np.array_equal(model.wv.vectors, expected.wv.vectors)
    model.build_vocab_from_freq({"tea": 4}, update=True)
    assert model.wv.get_vecattr("tea", "count") == 4
    for wrong, error in (({}, ValueError), ({"a": -1}, ValueError), ({"a": 0.5}, TypeError), ({3: 1}, TypeError)):
        with pytest.raises(error, match="expected"):
            model.build_vocab_from_freq(wrong)  # type: ignore[arg-type]


class Recorder(CallbackAny2Vec):
    def __init__(self) -> None:
        self.events: list[str] = []
        self.running: list[float] = []

    def on_train_begin(self, model: Any) -> None:
        self.events.append("train begins")

    def on_epoch_begin(self, model: Any) -> None:
        self.events.append("epoch begins")

    def on_epoch_end(self, model: Any) -> None:
        self.events.append("epoch ends")
        self.running.append(model.get_latest_training_loss())

    def on_train_end(self, model: Any) -> None:
        self.events.append("train ends")


def test_callbacks_are_called_once_per_epoch_as_gensims_are() -> None:
    events = ["train begins", *["epoch begins", "epoch ends"] * 3, "train ends"]
    kinds = [Word2Vec]
    try:
        from gensim.models import Word2Vec as theirs

        kinds.append(theirs)
    except ImportError:
        pass
    for kind in kinds:
        first, second = Recorder(), Recorder()
        model = kind(SENTENCES, vector_size=8, min_count=1, epochs=3, compute_loss=True, callbacks=[first])
        model.train(SENTENCES, total_examples=200, epochs=3, compute_loss=True, callbacks=[second])
        assert first.events == second.events == events
        assert first.running == sorted(first.running)
        assert model.running_training_loss == second.running[-1] > 0


class Halves:
    """Sets the learning rate and the counter of the loss, as callbacks for gensim do."""

    def on_epoch_end(self, model: Word2Vec) -> None:
        model.alpha /= 2
        model.running_training_loss = 0.0


def test_a_callback_may_change_what_comes_next() -> None:
    model = Word2Vec(SENTENCES, callbacks=[Halves()], min_alpha=0, alpha=0.1, epochs=2, vector_size=8, min_count=1)
    expected = Word2Vec(vector_size=8, min_count=1)
    expected.build_vocab(SENTENCES)
    expected.train(SENTENCES, epochs=1, start_alpha=0.1, end_alpha=0.05)
    expected.train(SENTENCES, epochs=1, start_alpha=0.025, end_alpha=0)
    assert model.running_training_loss == 0
    assert model.losses == pytest.approx(expected.losses)

    class Adds:
        def on_epoch_end(self, model: Word2Vec) -> None:
            model.wv.add_vector("tea", np.ones(8))

    with pytest.raises(RuntimeError, match="keys were added to wv while it was trained"):
        model.train(SENTENCES, callbacks=[Adds()])
    assert (model.wv["tea"] == 1).all()


def test_a_callback_may_save_copy_and_ask(tmp_path: Path) -> None:
    class Keeps:
        kept: list[Any] = []  # noqa: RUF012

        def on_epoch_end(self, model: Word2Vec) -> None:
            model.save(tmp_path / "model")
            model.wv.save(tmp_path / "vectors")
            self.kept += [Word2Vec.load(tmp_path / "model").wv, WordVectors.load(tmp_path / "vectors")]
            self.kept += [copy.deepcopy(model).wv, pickle.loads(pickle.dumps(model)).wv]
            model.predict_output_word(["graph"])

    model = Word2Vec(SENTENCES, callbacks=[Keeps()], **SMALL | {"epochs": 2})
    assert len(Keeps.kept) == 8
    for vectors in Keeps.kept[4:]:
        assert np.array_equal(vectors.vectors, model.wv.vectors)
    assert not np.array_equal(Keeps.kept[0].vectors, model.wv.vectors)


def test_progress_is_a_callback_like_others() -> None:
    calls: dict[str, list[Any]] = {"function": [], "method": []}

    class Sees:
        def on_progress(self, model: Word2Vec, *numbers: Any) -> None:
            calls["method"].append(numbers)

    Word2Vec(SENTENCES, progress=lambda *numbers: calls["function"].append(numbers), callbacks=[Sees()], **SMALL)
    assert calls["function"] == calls["method"]
    assert {epoch for epoch, *_ in calls["method"]} == {0, 1, 2, 3, 4}
