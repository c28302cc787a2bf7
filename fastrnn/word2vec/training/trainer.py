"""Training on part of a corpus with the C++ kernel (csrc/word2vec/training/kernel.h)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus.arguments import default_workers
from fastrnn.word2vec.corpus.encoding import Encoded
from fastrnn.word2vec.corpus.text_blocks import release_pages
from fastrnn.word2vec.settings import Settings
from fastrnn.word2vec.training.huffman import huffman_paths
from fastrnn.word2vec.training.parameters import Parameters
from fastrnn.word2vec.training.sampling import alias_table, epoch_key, keep_thresholds, noise_weights

# Called with (words done, loss so far, pairs so far), at most ten times a second.
Progress = Callable[[int, float, int], None]


class Trainer:
    """The arguments of the kernel that stay the same during an epoch, and the parameters it changes.

    Args:
        counts: (V,) of integers, how often each word occurs. The kernel's tables are computed from them: those for
            subsampling (Mikolov et al., arXiv:1310.4546, section 2.3), for negatives, and the tree.
    """

    def __init__(
        self, parameters: Parameters, counts: np.ndarray, settings: Settings, workers: int, deterministic: bool
    ) -> None:
        settings.check_outputs()
        self.seed = settings.seed
        self.arguments: dict[str, Any] = {
            "syn0": parameters.syn0,
            "syn1": parameters.syn1 if settings.hs else None,
            "syn1neg": parameters.syn1neg if settings.negative else None,
            "keep": keep_thresholds(counts, settings.sample),
            "alias": alias_table(noise_weights(counts, settings.ns_exponent)) if settings.negative else None,
            "paths": huffman_paths(counts) if settings.hs else None,
            "lock": None,
            "skip_gram": bool(settings.sg),
            "cbow_mean": bool(settings.cbow_mean),
            "shrink_windows": settings.shrink_windows,
            "window": settings.window,
            "negative": settings.negative,
            # Deterministic workers wait for each other: with more workers than cores, all would be slow.
            "workers": min(workers, default_workers()) if deterministic else workers,
            "deterministic": deterministic,
        }

    def lock(self, factors: np.ndarray) -> None:
        """From now on, multiply changes of the words' vectors by factors (V,), or (1,) for all.

        Raises:
            ValueError: the number of factors is wrong, or one is not finite.
        """
        words = len(self.arguments["syn0"])
        factors = np.asarray(factors, dtype=np.float32)
        if factors.shape not in ((1,), (words,)) or not np.isfinite(factors).all():
            raise ValueError(
                f"vectors_lockf must be finite, with one factor for all words or one for each of {words}, got shape "
                f"{list(factors.shape)}"
            )
        free = bool((factors == 1).all())
        self.arguments["lock"] = None if free else np.array(np.broadcast_to(factors, words))

    def train(self, part: Encoded, epoch: int, alpha: tuple[float, float], progress: Progress) -> tuple[float, int]:
        """Train on some sentences once.

        Args:
            part: all ``ids`` of a corpus, and a slice of its ``offsets``. The random numbers of a word depend on its
                position in ``ids``, so they are the same however the corpus is divided.
            alpha: the learning rate at the first word and after the last; it changes linearly in between.
        Returns:
            the sum of the loss over all pairs, and the number of pairs.
        """

        def report(words_done: int, loss: float, pairs: int) -> None:
            release_pages(part.ids.base, (int(part.offsets[0]) + words_done) * part.ids.itemsize)
            progress(words_done, loss, pairs)

        return _C.train_epoch(
            ids=part.ids,
            offsets=part.offsets,
            **self.arguments,
            key=epoch_key(self.seed, epoch),
            alpha_begin=alpha[0],
            alpha_end=alpha[1],
            progress=report,
        )
