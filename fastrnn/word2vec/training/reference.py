"""Word2Vec in plain numpy, one line per equation. The C++ kernel is tested against it, step by step.

Notation: ``h`` (m, D) are the input rows, ``o`` (n, D) the output rows, ``y`` (n,) is 1 for an observed output and 0
for a negative, and ``lock`` (V,) are the factors for changes of the words' input rows. The loss of an input and an
output is -log sigmoid(h . o) if y = 1, and -log sigmoid(-h . o) if y = 0. This is equation 4 of arXiv:1310.4546 for
negative sampling, and equation 3 for hierarchical softmax, where an output is an inner node of the tree and y is 1 if
the path turns to its child 0.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from fastrnn.word2vec.training.sampling import choices


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


# Like gensim, take no step where the product is wrong by more than 6. Too high a learning rate then leads to large
# vectors instead of NaN.
LARGEST_ERROR = 6


def steps_of(x: np.ndarray, y: np.ndarray, alpha: float) -> np.ndarray:
    """The step for each dot product x, alpha (y - sigmoid(x)), against the gradient; 0 beyond LARGEST_ERROR."""
    return alpha * (y - sigmoid(x)) * (np.where(y == 1, x, -x) >= -LARGEST_ERROR)


class Step(NamedTuple):
    """What a centre word trains: the ids of its context and of the outputs, and the labels y of the outputs."""

    context: np.ndarray
    outputs: np.ndarray
    labels: np.ndarray


def skip_gram_step(
    syn0: np.ndarray, syn1: np.ndarray, step: Step, alpha: float, lock: np.ndarray | None = None
) -> float:
    """One step of gradient descent in which each word of the context predicts the outputs. Returns the loss.

    With a context of one word this is a step of word2vec.c. With more words, all gradients are computed at the same
    point. Writes to ``syn0`` (V, D) and ``syn1`` (W, D).
    """
    h, o, y = syn0[step.context], syn1[step.outputs], step.labels
    x = h @ o.T
    loss = -np.log(sigmoid(np.where(y == 1, x, -x))).sum()
    g = steps_of(x, y, alpha)
    np.add.at(syn0, step.context, _locked(g @ o, step, lock))
    np.add.at(syn1, step.outputs, g.T @ h)
    return float(loss)


def cbow_step(
    syn0: np.ndarray, syn1: np.ndarray, step: Step, alpha: float, mean: bool = True, lock: np.ndarray | None = None
) -> float:
    """One step in which the mean (or sum) of the context predicts the outputs: arXiv:1301.3781, section 3.1.

    As in word2vec.c and gensim, each context word receives the whole gradient of the mean, but only a share of the
    gradient of the sum. Mathematically it is the other way round (arXiv:2012.15332).
    """
    count = len(step.context)
    h = syn0[step.context].sum(0, keepdims=True) / (count if mean else 1)
    o, y = syn1[step.outputs], step.labels
    x = h @ o.T
    loss = -np.log(sigmoid(np.where(y == 1, x, -x))).sum()
    g = steps_of(x, y, alpha)
    np.add.at(syn0, step.context, _locked(g @ o / (1 if mean else count), step, lock))
    np.add.at(syn1, step.outputs, g.T @ h)
    return float(loss)


def _locked(change: np.ndarray, step: Step, lock: np.ndarray | None) -> np.ndarray:
    return change if lock is None else change * lock[step.context][:, None]


def negative_sampling_steps(
    ids: np.ndarray,
    offsets: np.ndarray,
    keep: np.ndarray,
    alias: np.ndarray,
    key: int,
    window: int,
    negative: int,
    shrink_windows: bool = True,
) -> Iterator[Step]:
    """The steps of an epoch with the random choices of the kernel: one for each word that subsampling keeps.

    Args:
        ids, offsets: the corpus.
        keep, alias, key: see :mod:`fastrnn.word2vec.training.sampling`.
    """
    for begin, end in itertools.pairwise(offsets):
        drawn = [(ids[i], *choices(key, i, negative, window, alias)) for i in range(begin, end)]
        kept = [(word, reach, negatives) for word, bits, reach, negatives in drawn if bits <= keep[word]]
        words = np.array([word for word, _, _ in kept], dtype=np.int64)
        for i, (word, shrunken, negatives) in enumerate(kept):
            reach = shrunken if shrink_windows else window
            context = np.concatenate([words[max(i - reach, 0) : i], words[i + 1 : i + 1 + reach]])
            outputs = np.concatenate([[word], negatives[negatives != word]])
            if len(context):
                yield Step(context, outputs, (np.arange(len(outputs)) == 0).astype(np.float64))


def hierarchical_steps(steps: Iterator[Step], paths: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Iterator[Step]:
    """The same centre words and contexts, with the path to the centre word as outputs."""
    offsets, nodes, codes = paths
    for step in steps:
        centre = step.outputs[0]
        way = slice(offsets[centre], offsets[centre + 1])
        yield Step(step.context, nodes[way], 1 - codes[way].astype(np.float64))
