"""Callbacks: when they are called, and what they may do to the model."""

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import CallbackAny2Vec, Word2Vec, WordVectors

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(200)]
SMALL: dict[str, Any] = {"vector_size": 8, "min_count": 1, "deterministic": True}


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

    with pytest.raises(RuntimeError, match="keys were added to wv during training"):
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
