"""Word2Vec trained by several processes, on one machine or several (docs/adr/0010-several-machines.md)."""

from __future__ import annotations

import os
import zlib
from typing import Any

import numpy as np
import torch.distributed as dist

from fastrnn.word2vec.corpus.arguments import Sentences, default_workers
from fastrnn.word2vec.corpus.encoding import Encoded
from fastrnn.word2vec.distributed.merging import Merging
from fastrnn.word2vec.distributed.ranks import Ranks
from fastrnn.word2vec.model import Path, Word2Vec
from fastrnn.word2vec.settings import SYNC_WORDS, whole
from fastrnn.word2vec.training.trainer import Trainer


class DistributedWord2Vec(Word2Vec):
    """A Word2Vec that all processes of a torch.distributed group train together.

    Every rank creates it with the same arguments and calls the same methods; in the end each has the whole model. All
    ranks read the same corpus. Training proceeds in rounds of ``sync_words`` words. In a round each rank trains on its
    part of these words; then the ranks merge what they learned. With one rank the result is that of :class:`Word2Vec`,
    to the bit.

    If one rank raises, even because of Ctrl-C, all others raise RuntimeError. Each rank then keeps the model it had at
    that moment; the next ``train`` starts from the first rank's.

    Args:
        sync_words: words that all ranks together train on between two merges.
        group: by default that of ``torch.distributed.init_process_group``. The parameters are on the CPU, so use gloo;
            beside nccl, ``torch.distributed.new_group(backend="gloo")``. nccl itself works by copying through each
            rank's current GPU (not yet tested on a GPU).
        workers: threads per rank; by default the machine's cores divided by the number of ranks that torchrun has
            started on it.
        callbacks: called on every rank, except on_progress; a callback that writes files should check
            ``model.ranks.rank``.
        progress: called on the first rank only, with the loss of that rank's pairs.
    Raises:
        RuntimeError: there is no group, or another rank has failed or cannot be reached.
        ValueError: the ranks differ in their settings or their corpus.
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: Path | None = None,
        *,
        sync_words: int = SYNC_WORDS,
        group: dist.ProcessGroup | None = None,
        workers: int | None = None,
        **options: Any,
    ) -> None:
        self.sync_words, self.ranks = whole("sync_words", sync_words, 1, 2**63 - 1), Ranks(group)
        if workers is None:
            workers = max(default_workers() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
        super().__init__(sentences, corpus_file, workers=workers, **options)

    def build_vocab(self, *arguments: Any, **options: Any) -> None:
        with self.ranks.all_or_none():
            super().build_vocab(*arguments, **options)

    def _notify(self, event: str) -> None:
        with self.ranks.all_or_none():
            super()._notify(event)

    def _make_trainer(self) -> Trainer:
        with self.ranks.all_or_none():
            trainer = super()._make_trainer()
        self.ranks.check_same({"settings": self.settings})  # a callback may have changed them
        return trainer

    def _read(self, sentences: Sentences | None, corpus_file: Path | None, directory: str) -> Encoded:
        with self.ranks.all_or_none():
            corpus = super()._read(sentences, corpus_file, directory)
        keys = "\n".join(self.vocabulary.index_to_key).encode("utf-8", "surrogatepass")
        self.ranks.check_same(
            {
                "settings": self.settings,
                "sync_words": self.sync_words,
                "checksum of vectors_lockf": zlib.crc32(np.asarray(self.wv.vectors_lockf, dtype=np.float32).tobytes()),
                "number of words in the vocabulary": len(self.vocabulary),
                "checksum of the vocabulary": zlib.crc32(self.vocabulary.counts.tobytes(), zlib.crc32(keys)),
                "number of words in the corpus": len(corpus.ids),
                "number of sentences in the corpus": len(corpus.offsets) - 1,
            }
        )
        for rows in self.parameters.arrays().values():
            self.ranks.copy_first(rows)
        return corpus

    def _train_epoch(self, trainer: Trainer, corpus: Encoded, alpha: tuple[float, float]) -> tuple[float, int]:
        if self.ranks.size == 1:
            return super()._train_epoch(trainer, corpus, alpha)
        rank, size, words = self.ranks.rank, self.ranks.size, len(corpus.ids)
        rounds = -(-words // self.sync_words)
        parts = rounds * size
        cuts = np.searchsorted(corpus.offsets, words * np.arange(parts + 1) // parts)  # the first sentence of each part
        merging = Merging(trainer, self.vocabulary.counts, words / rounds, self.ranks)
        sums = np.zeros(2)  # loss and pairs
        for turn in range(rounds):
            begin, end = cuts[turn * size + rank], cuts[turn * size + rank + 1]
            words_before, words_after = corpus.offsets[cuts[[turn * size, (turn + 1) * size]]]

            def progress(words_done: int, loss: float, pairs: int, first: int = words_before, last: int = words_after):
                if rank == 0:
                    self._report(min(first + size * words_done, last), words, loss, pairs)

            with self.ranks.all_or_none():
                rates = [alpha[0] + (alpha[1] - alpha[0]) * (turn + i) / rounds for i in (0, 1)]
                part = Encoded(corpus.ids, corpus.offsets[begin : end + 1])
                sums += trainer.train(part, len(self.losses), (rates[0], rates[1]), progress)
            merging.merge()
        self.ranks.add(sums)
        return float(sums[0]), int(sums[1])
