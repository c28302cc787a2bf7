"""Word2Vec under hostile or unlucky circumstances: wrong arrays, forked children, threads, limits of the system."""

import contextlib
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import torch

from fastrnn.word2vec import _C, Phrases, Vocabulary, Word2Vec, WordVectors
from fastrnn.word2vec.training.parameters import empty_rows
from fastrnn.word2vec.vectors.table import VectorTable

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(200)]
SMALL = {"vector_size": 8, "min_count": 1, "seed": 1}
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


def test_a_window_longer_than_any_sentence():
    options = SMALL | {"deterministic": True, "shrink_windows": False}
    longest = Word2Vec(SENTENCES, window=2**31 - 1, **options)
    whole_sentence = Word2Vec(SENTENCES, window=5, **options)
    assert np.array_equal(longest.wv.vectors, whole_sentence.wv.vectors)
    assert np.isfinite(Word2Vec(SENTENCES, window=2**31 - 1, **SMALL).wv.vectors).all()


def _train_in_a_child(sender):
    model = Word2Vec(SENTENCES, workers=2, **SMALL)
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.1, workers=2)
    vectors = WordVectors([f"w{i}" for i in range(20000)], np.ones((20000, 50), np.float32))
    assert len(vectors.most_similar("w1")) == 10  # large enough for torch to share the work out
    sender.send((np.isfinite(model.wv.vectors).all(), len(phrases), len(model.wv.most_similar("graph"))))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("before", ["word2vec", "layer", "matmul"])
def test_training_in_a_forked_child(before):
    """The parent's threads are not the child's, which must not wait for them."""
    torch.set_num_threads(2)
    if before == "word2vec":
        Word2Vec(SENTENCES, workers=2, **SMALL)
    elif before == "layer":
        import fastrnn

        fastrnn.LSTM(64, 300)(torch.randn(10, 5, 64))
    else:
        torch.randn(500, 500) @ torch.randn(500, 500)
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_train_in_a_child, args=(sender,), daemon=True)
    child.start()
    try:
        assert receiver.poll(60)
        assert receiver.recv() == (True, 40, 9)
    finally:
        child.kill()


NO_MORE_THREADS = """
import resource
from fastrnn.word2vec import Word2Vec
sentences = [["a", "b", "c"]] * 20000
Word2Vec(sentences, vector_size=4, min_count=1, epochs=1, workers=2)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (200 << 20), resource.RLIM_INFINITY))
try:
    Word2Vec(sentences, vector_size=4, min_count=1, workers=64, epochs=1)
except RuntimeError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(len(Word2Vec(sentences, vector_size=4, min_count=1, epochs=1, workers=2).wv))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_threads_that_the_system_does_not_start():
    """An error that says how many it starts; the process goes on."""
    done = subprocess.run([sys.executable, "-c", NO_MORE_THREADS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    error, words = done.stdout.splitlines()
    assert error.startswith("workers=64: the system can start only ")
    assert "; use workers=" in error
    assert words == "3"


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


def parts_fit(model):
    words = len(model.vocabulary)
    sizes = {len(rows) for rows in (model.parameters.syn0, model.parameters.syn1neg, model.wv.vectors, model.wv.counts)}
    assert sizes == {words} == {len(model.wv)} == {len(model.parameters.syn1) + 1}
    assert model.wv.index_to_key == model.vocabulary.index_to_key
    assert np.array_equal(model.wv.counts, model.vocabulary.counts)
    assert np.shares_memory(model.wv.vectors, model.parameters.syn0)
    return words


@pytest.mark.parametrize("update", [True, False])
def test_ctrl_c_while_a_vocabulary_is_built(update):
    """At every line, and at every instruction where the parts are put together."""
    more = [["graph", "trees", "new", "newer"]] * 4
    model = Word2Vec(SENTENCES, hs=1, **SMALL)
    after, place, done, outcomes = 12 if update else 4, 0, False, set()

    def trace(frame, event, _):
        nonlocal steps
        if "fastrnn/word2vec" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = frame.f_code.co_name in (
            "_install",
            "change_together",
            "_build",
            "build_vocab",
            "alone",
        )
        if event == "opcode" or (event == "line" and not frame.f_trace_opcodes):
            steps += 1
            if steps == place:
                raise KeyboardInterrupt
        return trace

    while not done:
        place += 3
        steps, trial = 0, pickle.loads(pickle.dumps(model))
        old = sys.gettrace()
        sys.settrace(trace)
        try:
            trial.build_vocab(more, update=update)
            done = True
        except KeyboardInterrupt:
            done = False
        finally:
            sys.settrace(old)
        outcomes.add(parts_fit(trial))
        trial.train(SENTENCES, epochs=1)  # nothing is under way any more
    assert outcomes == {10, after}
    assert place > 300


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


def parts_fit_without_tree(model):
    assert len(model.vocabulary) == len(model.parameters.syn0) == len(model.parameters.syn1neg) == len(model.wv)
    return len(model.wv)


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
