"""Training in a forked child, and where the system starts no more threads."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import torch

from fastrnn.word2vec import Phrases, Word2Vec, WordVectors
from tests.word2vec.small import SENTENCES, SMALL


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
