"""Word2Vec trained by two processes, started by torchrun as a user would."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from fastrnn.word2vec import Word2Vec, WordVectors
from fastrnn.word2vec.distributed.merging import agreement

ROOT = Path(__file__).parents[2]
# Words of a topic stand together, those of two topics never do.
TOPICS = [["cat", "dog", "mouse", "horse"], ["tea", "coffee", "milk", "water"], ["red", "green", "blue", "white"]]
SETTINGS = {"vector_size": 16, "min_count": 1, "sg": 1, "sample": 0, "window": 3, "epochs": 4, "alpha": 0.05}

SCRIPT = """
import json, os, sys
import numpy as np
import torch.distributed as dist
from fastrnn.word2vec.distributed import DistributedWord2Vec

dist.init_process_group("{backend}")
out, settings = sys.argv[1], json.loads(sys.argv[2])
model = DistributedWord2Vec(workers=1, deterministic=True, **settings)
rank = dist.get_rank()
{body}
dist.barrier()
dist.destroy_process_group()
"""
TRAIN = """
model.build_vocab(corpus_file=out + "/corpus.txt")
model.train(corpus_file=out + "/corpus.txt")
np.savez(f"{out}/{rank}.npz", losses=model.losses, pairs=model.pairs, **model.parameters.arrays())
"""


def torchrun(arguments, ranks=2):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.run([*launcher, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.fixture
def corpus(tmp_path):
    random = np.random.default_rng(0)
    lines = [" ".join(random.choice(TOPICS[i], 8)) for i in random.integers(len(TOPICS), size=1500)]
    (tmp_path / "corpus.txt").write_text("\n".join(lines))
    return tmp_path / "corpus.txt"


def train(tmp_path, body=TRAIN, ranks=2, backend="gloo", **settings):
    (tmp_path / "script.py").write_text(SCRIPT.replace("{backend}", backend).replace("{body}", body))
    return torchrun([tmp_path / "script.py", tmp_path, json.dumps(SETTINGS | settings)], ranks)


def results(tmp_path, rank):
    with np.load(tmp_path / f"{rank}.npz") as file:
        return dict(file)


def same_topic(vectors):
    """How many words have all three others of their topic as neighbours."""
    return sum(
        {key for key, _ in vectors.most_similar(word, topn=3)} == {*topic} - {word}
        for topic in TOPICS
        for word in topic
    )


def test_two_ranks_learn_the_same_and_as_much_as_one(corpus, tmp_path):
    once = train(tmp_path, sync_words=500, hs=1)
    assert once.returncode == 0, once.stderr
    first, second = results(tmp_path, 0), results(tmp_path, 1)
    assert first.keys() == {"losses", "pairs", "syn0", "syn1", "syn1neg"}
    assert all((first[name] == second[name]).all() for name in first)

    plain = Word2Vec(corpus_file=corpus, deterministic=True, hs=1, **SETTINGS)
    assert first["pairs"].tolist() == plain.pairs  # what is drawn depends on the place in the corpus alone
    assert first["losses"] == pytest.approx(plain.losses, rel=0.1)
    keys = plain.wv.index_to_key
    assert same_topic(plain.wv) == same_topic(WordVectors(keys, first["syn0"])) == 12

    assert train(tmp_path, sync_words=500, hs=1).returncode == 0
    again = results(tmp_path, 0)
    assert all((first[name] == again[name]).all() for name in first)


def test_one_rank_is_plain_training(corpus, tmp_path):
    finished = train(tmp_path, ranks=1, sync_words=100)
    assert finished.returncode == 0, finished.stderr
    plain = Word2Vec(corpus_file=corpus, deterministic=True, **SETTINGS)
    ours = results(tmp_path, 0)
    assert ours["losses"].tolist() == plain.losses
    assert (ours["syn0"] == plain.parameters.syn0).all()


def test_fewer_sentences_than_ranks(tmp_path):
    (tmp_path / "corpus.txt").write_text("one two three four five")
    finished = train(tmp_path, sync_words=2)
    assert finished.returncode == 0, finished.stderr
    plain = Word2Vec([["one", "two", "three", "four", "five"]], deterministic=True, **SETTINGS)
    assert results(tmp_path, 1)["pairs"].tolist() == plain.pairs


# Rank 0 notes what it is told and keeps quiet, so that nothing but rank 1's end is seen from outside.
FAIL = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
try:
    corpus_file = os.path.relpath(out + "/corpus.txt")
{before}
    model.build_vocab(corpus_file=corpus_file)
    model.train(corpus_file=corpus_file)
except BaseException as error:
    if rank == 0:
        open(out + "/said", "w").write(str(error))
    os._exit(7 * rank)
"""


CALLBACK = """
    class Callback:
        def on_epoch_end(self, model):
            {does}
    model.callbacks = [Callback()]
"""


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("    if rank == 1: os._exit(7)", "another rank has ended or cannot be reached"),
        ("    model.sync_words += rank", "all ranks must have the same sync_words, got 400000, 400001"),
        ("    if rank == 1: os.chdir(out)", "rank 1 failed: FileNotFoundError"),
        (CALLBACK.replace("{does}", "if rank == 1: raise ValueError('enough')"), "rank 1 failed: ValueError: enough"),
        (CALLBACK.replace("{does}", "model.alpha /= 1 + rank"), "all ranks must have the same settings"),
    ],
    ids=["ends", "differs", "lacks the corpus", "has enough", "changes a setting"],
)
def test_a_rank_that_fails_ends_the_others(corpus, tmp_path, before, said):
    finished = train(tmp_path, FAIL.replace("{before}", before))
    assert finished.returncode != 0
    assert said in (tmp_path / "said").read_text()


def test_the_command_writes_one_file(corpus, tmp_path):
    out = tmp_path / "vectors.bin"
    options = ["--vector-size", 16, "--min-count", 1, "--workers", 1, "--epochs", 1, "--sync-words", 4000]
    finished = torchrun(["-m", "fastrnn.word2vec", "train", corpus, "--out", out, *options])
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("Wrote 12 vectors of size 16 to") == 1
    assert WordVectors.read(out).vectors.shape == (12, 16)
    assert {path.name for path in tmp_path.iterdir()} == {"corpus.txt", "vectors.bin"}


def test_agreement():
    change = np.float32([[3, 4], [3, 4], [3, 4], [0, 0]])
    other = np.float32([[3, 4], [-4, 3], [0, 0], [0, 0]])
    own, together = ((change**2).sum(1) + (other**2).sum(1)), ((change + other) ** 2).sum(1)
    assert agreement(own, together).tolist() == [0.5, 1, 1, 0]


def test_without_a_group():
    from fastrnn.word2vec.distributed import DistributedWord2Vec

    with pytest.raises(RuntimeError, match=r"torch.distributed is not initialized; start the program with torchrun"):
        DistributedWord2Vec()
    with pytest.raises(ValueError, match="sync_words must be from 1 to 9223372036854775807, got 0"):
        DistributedWord2Vec(sync_words=0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="nccl needs a GPU")
def test_nccl_by_way_of_the_gpu(corpus, tmp_path):
    body = """
for rows in (np.arange(6, dtype=np.float32).reshape(2, 3), np.arange(2.0)):
    same = rows.copy()
    model.ranks.add(same)  # of one rank, for a GPU takes one
    model.ranks.copy_first(same)
    assert (same == rows).all()
"""
    done = train(tmp_path, body + TRAIN, ranks=1, backend="nccl")
    assert done.returncode == 0, done.stderr
