"""The training loop of a model: epochs, the learning rate, callbacks and losses."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from fastrnn.word2vec import callbacks as events
from fastrnn.word2vec.callbacks import Progress, ProgressCallback
from fastrnn.word2vec.corpus.arguments import Sentences
from fastrnn.word2vec.corpus.encoding import Encoded
from fastrnn.word2vec.gensim_names import accept_only
from fastrnn.word2vec.settings import REAL, WHOLE, real, whole
from fastrnn.word2vec.training.locking import one_at_a_time
from fastrnn.word2vec.training.trainer import Trainer
from fastrnn.word2vec.training.vocabulary_building import VocabularyBuilding

Path = str | os.PathLike[str]


class TrainingLoop(VocabularyBuilding):
    """The methods of :class:`fastrnn.word2vec.Word2Vec` that train it."""

    deterministic: bool
    callbacks: Iterable[Any]
    progress: Progress | None
    _watchers: Sequence[Any] = ()  # the callbacks of the running training
    _trainer: tuple[Any, Trainer] | None = None  # the current trainer, and what it was made from

    @one_at_a_time
    def train(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: Path | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        callbacks: Iterable[Any] | None = None,
        **gensims: Any,
    ) -> tuple[int, int]:
        """Train on a corpus, which is read once. The learning rate decreases linearly over all epochs.

        After Ctrl-C, or an exception from a callback, the model is usable: ``wv`` has what was learned until then, and
        ``losses`` and ``pairs`` cover the complete epochs. The next call of ``train`` starts with a new epoch, which
        uses the random numbers of the interrupted one.

        Args:
            total_examples, total_words: ignored; the corpus is counted while it is read.
            start_alpha, end_alpha: the learning rate; by default ``alpha`` and ``min_alpha``.
            callbacks: by default the model's.
            gensims: as for :meth:`build_vocab`.

        Returns:
            the number of known words read in all epochs, and the number of trained pairs.

        Raises:
            TypeError: both or neither of the corpora are given.
            ValueError: there is no vocabulary yet, the corpus has none of its words, or epochs is less than 1.
            RuntimeError: the loss became infinite or NaN; a callback added keys to ``wv``; or another thread or a
                callback is training the model or building its vocabulary.
        """
        accept_only(gensims, "train")
        if not self._is_built:
            raise ValueError("the model has no vocabulary; call build_vocab before train")
        epochs = self.epochs if epochs is None else whole("epochs", epochs, *WHOLE["epochs"])
        for name, rate in (("start_alpha", start_alpha), ("end_alpha", end_alpha)):
            if rate is not None:
                real(name, rate, *REAL["alpha"])
        self._watchers = events.checked(self.callbacks if callbacks is None else callbacks)
        if self.progress is not None:
            self._watchers = [*self._watchers, ProgressCallback(self.progress)]
        self._share_table()
        before = len(self.losses)
        self.running_training_loss = 0.0
        with TemporaryDirectory(prefix="fastrnn") as directory:
            corpus = self._read(corpus_iterable, corpus_file, directory)
            words = len(corpus.ids) * epochs
            try:
                self._notify("on_train_begin")
                for epoch in range(epochs):
                    self._notify("on_epoch_begin")
                    first = self.alpha if start_alpha is None else start_alpha
                    last = self.min_alpha if end_alpha is None else end_alpha
                    begin, end = (first + (last - first) * i / epochs for i in (epoch, epoch + 1))
                    self._train_and_count(corpus, (begin, end))
                    self._notify("on_epoch_end")
                self._notify("on_train_end")
            finally:
                self.wv.vectors_changed()
                self._trainer, self._watchers = None, ()
                del corpus  # its arrays map files of the directory, which is deleted now
        return words, sum(self.pairs[before:])

    def _train_and_count(self, corpus: Encoded, alpha: tuple[float, float]) -> None:
        trainer = self._make_trainer()
        trainer.lock(self.wv.vectors_lockf)
        loss, pairs = self._train_epoch(trainer, corpus, alpha)
        self.wv.vectors_changed()
        if not math.isfinite(loss):
            raise RuntimeError(
                f"training diverged: the loss of epoch {len(self.losses) + 1} is {loss}; use a smaller alpha than "
                f"{alpha[0]:g}, and check that all vectors are finite"
            )
        self.losses.append(loss)
        self.pairs.append(pairs)
        self.running_training_loss += loss

    def _make_trainer(self) -> Trainer:
        """The trainer for an epoch: the last epoch's, unless a callback has changed what it was made from."""
        words = self.vocabulary
        self._share_table()
        if self.vocabulary is not words:
            raise RuntimeError("keys were added to wv during training; add them before or after train")
        self.__dict__["parameters"] = self.parameters.with_outputs(self.settings)
        made_of = (self.settings, self.workers, self.deterministic, *map(id, self.parameters.arrays().values()))
        if self._trainer is None or self._trainer[0] != made_of:
            trainer = Trainer(self.parameters, words.counts, self.settings, self.workers, self.deterministic)
            self._trainer = made_of, trainer
        return self._trainer[1]

    def _notify(self, event: str) -> None:
        events.notify(self._watchers, event, self)

    def _read(self, sentences: Sentences | None, corpus_file: Path | None, directory: str) -> Encoded:
        corpus = self.vocabulary.encode(sentences, corpus_file, directory, self.workers)
        if len(corpus.ids) == 0:
            raise ValueError("no word of the corpus is in the vocabulary")
        return corpus

    def _train_epoch(self, trainer: Trainer, corpus: Encoded, alpha: tuple[float, float]) -> tuple[float, int]:
        def progress(words_done: int, loss: float, pairs: int) -> None:
            self._report(words_done, len(corpus.ids), loss, pairs)

        return trainer.train(corpus, len(self.losses), alpha, progress)

    def _report(self, words_done: int, words: int, loss: float, pairs: int) -> None:
        self.wv.vectors_changed()
        events.notify(self._watchers, "on_progress", self, len(self.losses), words_done, words, loss / max(pairs, 1))
