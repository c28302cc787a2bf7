"""How parameters that several ranks have changed become one again: docs/adr/0010-several-machines.md.

A rank that has seen a rare word has something to say about its row that the others do not know; the mean over the ranks
would dilute it. So what the ranks have changed is summed, as if one had made all steps. Only where every rank has made
many steps in the same direction would the sum go too far.
"""

from __future__ import annotations

import numpy as np

from fastrnn.word2vec.distributed.ranks import Ranks
from fastrnn.word2vec.training.trainer import Trainer

# A row that is expected more often than this in a round is frequent. Skip-gram, enwiki8, rounds of 400,000 words, % of
# the analogies with 2 and 4 ranks: 30: 11.1 and 9.0; 100: 12.4 with 2; 1000, which here is all rows but two: 13.3, and
# with 4 ranks the loss went to infinity.
FREQUENT = 30


class Merging:
    """Keeps the parameters as they were when the ranks last agreed, and makes the ranks agree again.

    Args:
        counts: (V,), of the words.
        words: of the corpus, in a round of all ranks together.
    """

    def __init__(self, trainer: Trainer, counts: np.ndarray, words: float, ranks: Ranks) -> None:
        arguments = trainer.arguments
        expected = counts * (arguments["keep"] + 1.0) / 2**32 * words / counts.sum()
        times = {"syn0": expected, "syn1neg": expected}
        if arguments["syn1"] is not None:  # an inner node takes part in all words below it
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
        """Put the merged parameters in place of this rank's."""
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
    """What to multiply a sum of changes with so that it does not go too far.

    1 for changes at right angles to each other, which know nothing of each other, or against each other; 1 / N for N
    that are the same. It is the idea of Adasum (S. Maleki et al., arXiv:2006.02924), for all ranks at once.

    Args:
        own: (V,) for each row the sum over the ranks of the squared length of its change.
        together: (V,) the squared length of the sum.
    """
    return np.minimum(own / np.maximum(together, np.finfo(np.float32).tiny), 1)


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)
