"""Models and tables that several threads or a callback use at once: the right thing, or an error that says so."""

import contextlib
import pickle
import threading
import time

import numpy as np
import pytest

from fastrnn.word2vec import Phrases, Word2Vec, WordVectors
from fastrnn.word2vec.vectors.table import VectorTable
from tests.word2vec.small import SENTENCES, SMALL


def parts_fit_without_tree(model):
    assert len(model.vocabulary) == len(model.parameters.syn0) == len(model.parameters.syn1neg) == len(model.wv)
    return len(model.wv)


def test_two_threads_train_one_model():
    """The second call fails at once, also from a callback; the first continues undisturbed."""
    begun, told = threading.Event(), threading.Event()

    def progress(*_):
        begun.set()
        assert told.wait(60)

    model = Word2Vec(SENTENCES, **SMALL)
    model.progress = progress
    first = threading.Thread(target=lambda: model.train(SENTENCES * 200, epochs=1))
    first.start()
    assert begun.wait(60)
    for change in (
        lambda: model.train(SENTENCES),
        lambda: model.build_vocab(SENTENCES),
        lambda: model.build_vocab(SENTENCES, update=True),
        lambda: model.build_vocab_from_freq({"a": 1}, update=True),
    ):
        with pytest.raises(
            RuntimeError, match=r"cannot call .* while train of the same model is running in another thread"
        ):
            change()
    assert len(model.wv.most_similar("graph")) == 9
    assert len(model.predict_output_word(["graph"])) == 10
    copy = pickle.loads(pickle.dumps(model))
    told.set()
    first.join(60)
    assert not first.is_alive()
    assert parts_fit_without_tree(model) == 10
    copy.train(SENTENCES)
    model.progress = None
    model.train(SENTENCES)


def test_training_from_a_callback():
    model = Word2Vec(**SMALL)
    model.build_vocab(SENTENCES)
    model.progress = lambda *_: model.train(SENTENCES)
    with pytest.raises(RuntimeError, match="cannot call train while train of the same model is running in this thread"):
        model.train(SENTENCES * 300)
    model.progress = None
    model.train(SENTENCES)


def test_threads_that_train_update_query_and_save(tmp_path):
    """Whatever the order: an error that says so, or the right thing. Then the parts fit."""
    model, errors = Word2Vec(SENTENCES, **SMALL), []

    def repeat(work):
        for i in range(12):
            try:
                work(i)
            except RuntimeError as error:
                if "is running in" not in str(error):
                    errors.append(error)
            except Exception as error:
                errors.append(error)

    def update(i):
        while True:
            try:
                return model.build_vocab([[f"new{i}", f"newer{i}"]], update=True)
            except RuntimeError:
                time.sleep(0.001)  # until there is a gap between two trainings

    def query(_):
        with contextlib.suppress(ValueError, IndexError):  # of a table that has just been replaced
            model.predict_output_word(["graph"])
            model.wv.most_similar("graph")

    def save(_):
        model.save(tmp_path / "model")
        assert len(Word2Vec.load(tmp_path / "model").wv) >= 10

    works = [
        lambda _: model.train(SENTENCES, epochs=2),
        update,
        query,
        save,
    ]
    threads = [threading.Thread(target=repeat, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not errors
    assert parts_fit_without_tree(model) == 10 + 2 * 12


def test_phrases_that_threads_change_and_ask():
    """What used to end in a torn table: counts are added while others join, score and count."""
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.01, workers=2)
    errors, stop = [], threading.Event()

    def until_stopped(work):
        def run():
            try:
                while not stop.is_set():
                    work()
            except Exception as error:
                errors.append(error)

        return threading.Thread(target=run)

    text = b"\n".join(" ".join(sentence).encode() for sentence in SENTENCES)

    def add():
        for i in range(12):
            phrases.add_vocab([[f"x{i}{j}", "graph", f"y{j}", "a_b", "c"] for j in range(300)])
        stop.set()

    others = [
        until_stopped(lambda: phrases[SENTENCES[0]]),
        until_stopped(phrases.export_phrases),
        until_stopped(lambda: phrases._joiner().join_text(text, [0, len(text)], 2)),
        until_stopped(lambda: phrases.vocab),
    ]
    adding = [threading.Thread(target=add) for _ in range(2)]
    for thread in others + adding:
        thread.start()
    for thread in others + adding:
        thread.join(60)
        assert not thread.is_alive()
    assert not errors
    assert phrases.vocab["graph"] == 200 + 2 * 12 * 300


def test_phrases_that_are_counted_while_a_joiner_is_made(monkeypatch):
    """As another thread would: the joiner of the older counts must not be used again."""
    phrases = Phrases([["a", "b"]], min_count=1, threshold=0.1)
    make = Phrases._joiner_of_counts.compute

    def make_and_count(self):
        joiner = make(self)
        monkeypatch.undo()
        self.add_vocab([["new", "york"]] * 9)
        return joiner

    monkeypatch.setattr(Phrases._joiner_of_counts, "compute", make_and_count)
    assert phrases[["new", "york"]] == ["new", "york"]
    assert phrases[["new", "york"]] == ["new_york"]


@pytest.mark.parametrize("value", ["lengths", "table"])
def test_vectors_that_change_while_similarities_are_computed(monkeypatch, value):
    """As another thread would: what was computed from the older vectors must not be used again."""
    vectors = WordVectors(["a", "b", "c"], np.array([[2, 0], [0, 2], [2, 2]], np.float32))
    descriptor = vars(VectorTable)[value]
    compute = descriptor.compute

    def compute_and_change(self):
        computed = compute(self)
        monkeypatch.undo()
        self.vectors = self.vectors * [[5], [1], [1]]
        return computed

    monkeypatch.setattr(descriptor, "compute", compute_and_change)
    getattr(vectors, value)
    assert vectors.lengths.tolist() == [10, 2, pytest.approx(8**0.5)]
    assert vectors.most_similar("a", topn=1) == [("c", pytest.approx(0.5**0.5))]
    with pytest.raises(AttributeError, match=f"WordVectors.{value} is computed and cannot be set"):
        setattr(vectors, value, 1)
