"""Merging the parameters of several ranks (docs/adr/0010-several-machines.md).

A rare word is often trained by one rank only, and the mean over all ranks would dilute what that rank learned. So the
ranks' changes are summed, as if one process had made all steps. Only where all ranks make many steps in the same
direction would the sum overshoot.
"""

from __future__ import annotations

import numpy as np

from fastrnn.word2vec.distributed.ranks import Ranks
from fastrnn.word2vec.training.trainer import Trainer

# Rows expected more often than this per round are frequent. Skip-gram, enwiki8, rounds of 400,000 words, % of analogies
# correct with 2 and 4 ranks: 30: 11.1 and 9.0; 100: 12.4 with 2 ranks; 1000 (above it are only two rows): 13.3 with 2,
# but with 4 ranks the loss became infinite.
FREQUENT = 30


class Merging:
    """Keeps the parameters of the last merge and merges the ranks' changes since then.

    Args:
        counts: (V,) counts of the words.
        words: words of the corpus in one round of all ranks together.
    """

    def __init__(self, trainer: Trainer, counts: np.ndarray, words: float, ranks: Ranks) -> None:
        arguments = trainer.arguments
        expected = counts * (arguments["keep"] + 1.0) / 2**32 * words / counts.sum()
        times = {"syn0": expected, "syn1neg": expected}
        if arguments["syn1"] is not None:  # an inner node is trained by all words below it
            offsets, nodes, _ = arguments["paths"]
            below = np.repeat(expected, np.diff(offsets))
            times["syn1"] = np.bincount(nodes, below, minlength=len(arguments["syn1"]))
        self.ranks = ranks
        self.matrices = [
            (arguments[name], arguments[name].copy(), times[name] > FREQUENT)
            for name in ("syn0", "syn1", "syn1neg")
            if arguments[name] is not None
        ]

    def merge(self) -> None:
        """Replace this rank's parameters by the merged ones."""
        for rows, before, frequent in self.matrices:
            rows -= before
            if frequent.any():
                own = _squares(rows)
                self.ranks.add(own)
                self.ranks.add(rows)
                rows[frequent] *= agreement(own, _squares(rows))[frequent, None]
            else:
                self.ranks.add(rows)
            rows += before
            before[:] = rows


def agreement(own: np.ndarray, together: np.ndarray) -> np.ndarray:
    """The factor for a sum of changes that keeps it from overshooting.

    It is 1 for changes that are orthogonal or opposed, and 1 / N for N equal changes. This is the idea of Adasum
    (S. Maleki et al., arXiv:2006.02924), applied to all ranks at once.

    Args:
        own: (V,) for each row, the sum over all ranks of the squared length of its change.
        together: (V,) the squared length of the summed change.
    """
    return np.minimum(own / np.maximum(together, np.finfo(np.float32).tiny), 1)


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)
