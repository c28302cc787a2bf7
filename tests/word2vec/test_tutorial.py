"""A tutorial written for gensim runs with a different import and no other change."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import pytest

OURS = """
from fastrnn.word2vec import CallbackAny2Vec, KeyedVectors, LineSentence, Phraser, Phrases, Word2Vec
"""
GENSIM = """
from gensim.models import KeyedVectors, Phrases, Word2Vec
from gensim.models.callbacks import CallbackAny2Vec
from gensim.models.phrases import Phraser
from gensim.models.word2vec import LineSentence
"""

TUTORIAL = """
import multiprocessing
import pickle
import random

import numpy as np

generator = random.Random(1)
with open("corpus.txt", "w") as file:
    for i in range(800):
        one, other = generator.sample(["cat", "dog", "fox", "bird"], 2)
        what, which = generator.choices(["quick", "lazy", "red", "brown"], k=2)
        does = generator.choice(["jumps", "flies", "looks"])
        where = generator.choice(["new york", "san francisco"])
        file.write(f"the {what} {one} {does} over the {which} {other} in {where}\\n")

# 1. Phrases
sentences = LineSentence("corpus.txt")
phrases = Phrases(sentences, min_count=30, progress_per=10000, threshold=0.12)
bigram = Phraser(phrases)
print(bigram["in new york and san francisco".split()])
corpus = [bigram[sentence] for sentence in sentences]

# 2. A model, step by step
class LossLogger(CallbackAny2Vec):
    def __init__(self):
        self.epoch = 0
        self.losses = []
        self.previous = 0

    def on_epoch_begin(self, model):
        pass

    def on_epoch_end(self, model):
        loss = model.get_latest_training_loss()
        self.losses.append(loss - self.previous)
        self.previous = loss
        self.epoch += 1

model = Word2Vec(
    min_count=20, window=2, vector_size=30, sample=6e-5, alpha=0.03, min_alpha=0.0007, negative=20,
    workers=max(multiprocessing.cpu_count() - 1, 1), sg=1, hs=0, seed=42, compute_loss=True, sorted_vocab=1,
    batch_words=10000, hashfxn=hash,
)
print(model)
model.build_vocab(corpus, progress_per=10000)
print(model)
print(model.corpus_count, model.corpus_total_words, model.epochs)
logger = LossLogger()
model.train(
    corpus, total_examples=model.corpus_count, epochs=30, report_delay=1, compute_loss=True, callbacks=[logger]
)
print(logger.epoch, len(logger.losses), all(loss > 0 for loss in logger.losses))
model.init_sims(replace=False)

# 3. Another learning rate, epoch by epoch
for epoch in range(3):
    model.train(corpus, total_examples=model.corpus_count, epochs=1)
    model.alpha -= 0.002
    model.min_alpha = model.alpha
print(round(model.alpha, 4), round(model.min_alpha, 4))

# 4. What was learned
words = list(model.wv.index_to_key)
print(len(words), len(model.wv), "fox" in model.wv, "york" in model.wv, model.wv.key_to_index["the"])
print(model.wv.get_vecattr("fox", "count"), model.wv["fox"].shape, model.wv.vectors.shape, model.vector_size)
print(len(model.wv.most_similar(positive=["fox"], topn=5)), model.wv.most_similar("fox", topn=1)[0][0] in words)
print(len(model.wv.most_similar(positive=["cat", "fox"], negative=["dog"], topn=3)))
print(len(model.wv.similar_by_word("cat")), len(model.wv.similar_by_vector(model.wv["cat"], topn=3)))
print(-1 <= model.wv.similarity("cat", "dog") <= 1.0001)
print(model.wv.doesnt_match(["cat", "dog", "fox"]) in words, model.wv.has_index_for("unicorn"))
try:
    model.wv["unicorn"]
except KeyError:
    print("no unicorn")
try:
    model.wv["cat"][0] = 3
except ValueError:
    print("read-only")
document = np.mean([model.wv[word] for word in "the quick unicorn fox".split() if word in model.wv], axis=0)
print(document.shape, model.wv.get_mean_vector(["cat", "dog"]).shape)
print(len(model.predict_output_word(["quick", "fox"], topn=3)), model.syn1neg.shape)

# 5. Files
model.save("word2vec.model")
model = Word2Vec.load("word2vec.model")
model.train([["hello", "world"], ["the", "fox"]], total_examples=2, epochs=1)
more = [["the", "unicorn", "sleeps"]] * 30
model.build_vocab(more, update=True)
model.train(more, total_examples=len(more), epochs=model.epochs)
print("unicorn" in model.wv, len(model.wv) == len(words) + 1)
vectors = model.wv
vectors.save("vectors.kv")
vectors = KeyedVectors.load("vectors.kv", mmap="r")
print(np.array_equal(vectors["cat"], model.wv["cat"]))
vectors.save_word2vec_format("vectors.bin", binary=True)
vectors = KeyedVectors.load_word2vec_format("vectors.bin", binary=True)
print(len(vectors), vectors.vector_size, np.allclose(vectors["cat"], model.wv["cat"]))
print(np.array_equal(pickle.loads(pickle.dumps(model)).wv["cat"], model.wv["cat"]))

# 6. Vectors of one's own, and a model that begins with them
own = KeyedVectors(30)
own.add_vectors(["cat", "dog"], np.eye(2, 30))
own.add_vector("bird", np.ones(30))
own["bird"] = np.full(30, 2)
own.set_vecattr("bird", "count", 5)
own.save_word2vec_format("own.txt", binary=False)
print(own.index_to_key, own.most_similar("cat", topn=1)[0][0], own.get_vecattr("bird", "count"))
fresh = Word2Vec(vector_size=30, min_count=1)
fresh.build_vocab(corpus)
fresh.wv.vectors_lockf = np.ones(len(fresh.wv), dtype=np.float32)
fresh.wv.intersect_word2vec_format("own.txt", lockf=0.0, binary=False)
fresh.train(corpus, total_examples=fresh.corpus_count, epochs=fresh.epochs)
print(np.array_equal(fresh.wv["cat"], own["cat"]), np.array_equal(fresh.wv["fox"], own["cat"]))

# 7. Without steps
model = Word2Vec(sentences=corpus, vector_size=20, window=5, min_count=1, workers=4, epochs=2)
model.wv.fill_norms()
print(len(model.wv.get_normed_vectors()), model.wv.rank("cat", "dog") >= 1)
print(len(model.wv.closer_than("cat", "dog")) == model.wv.rank("cat", "dog") - 1)
"""


def run(imports: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        exec(compile(imports + TUTORIAL, "tutorial", "exec"), names)
    return said.getvalue().splitlines()


def test_a_tutorial_needs_another_import_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = run(OURS, tmp_path / "ours", monkeypatch)
    assert said[0] == "['in', 'new_york', 'and', 'san_francisco']"
    assert said[2].startswith("Word2Vec<vocab=")
    assert "no unicorn" in said
    assert "read-only" in said
    pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # gensim's, about init_sims and add_vector, which tutorials call
        assert said == run(GENSIM, tmp_path / "gensim", monkeypatch)
