"""Word2Vec (T. Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), with gensim 4's names and defaults."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from tempfile import TemporaryDirectory
from typing import Any

from fastrnn.word2vec import callbacks as events
from fastrnn.word2vec.callbacks import Progress, ProgressCallback
from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers
from fastrnn.word2vec.corpus.encoding import Encoded
from fastrnn.word2vec.corpus.trim_rules import TrimRule
from fastrnn.word2vec.gensim_names import accept_only, accepted
from fastrnn.word2vec.settings import REAL, WHOLE, Settings, real, whole
from fastrnn.word2vec.training import prediction, saved_model
from fastrnn.word2vec.training.locking import one_at_a_time
from fastrnn.word2vec.training.trainer import Trainer
from fastrnn.word2vec.training.vocabulary_building import VocabularyBuilding
from fastrnn.word2vec.vectors.word_vectors import WordVectors

Path = str | os.PathLike[str]


class Word2Vec(VocabularyBuilding):
    """Learns a vector for every word of a corpus.

    With ``sentences`` or ``corpus_file`` the vocabulary is built and trained at once; otherwise call
    :meth:`build_vocab` and :meth:`train`. The vectors are ``model.wv``. An iterable of sentences is read twice, so it
    must not be a generator. Settings can be read and set as attributes at any time, such as ``model.alpha``; a change
    takes effect with the next call.

    Args:
        sentences: an iterable of lists of words.
        corpus_file: a text file with one sentence per line; .gz, .xz and .bz2 are decompressed.
        deterministic: for a given seed compute the same vectors, to the bit, with any number of workers. At most four
            workers are used, or one with hierarchical softmax. Workers wait for each other, so other programs on the
            machine slow it down more.
        callbacks: the default callbacks of :meth:`train`, see :class:`fastrnn.word2vec.CallbackAny2Vec`. They are not
            saved or pickled.
        progress: a function instead of a callback: :data:`fastrnn.word2vec.callbacks.Progress`.
        trim_rule: the default rule of :meth:`build_vocab`. It is not saved or pickled.
        settings: all others, with gensim 4's names and defaults: :class:`fastrnn.word2vec.settings.Settings`. gensim's
            settings for threads and logging are ignored.

    Attributes:
        wv: the vectors, :class:`WordVectors`. Vectors set in it and keys added to it are trained further.
        losses, pairs: for every epoch, the sum of the loss over its pairs, and the number of pairs.
        running_training_loss: the sum of the losses since ``train`` was last called.

    Raises:
        TypeError, ValueError: a setting or corpus is invalid, or a setting of gensim is not supported.
    """

    _watchers: Sequence[Any] = ()  # the callbacks of the running training
    _trainer: tuple[Any, Trainer] | None = None  # the current trainer, and what it was made from

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: Path | None = None,
        *,
        workers: int | None = None,
        deterministic: bool = False,
        callbacks: Iterable[Any] = (),
        progress: Progress | None = None,
        trim_rule: TrimRule | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(**accepted(settings))
        self.settings.check_outputs()
        self.wv = WordVectors(self.vector_size)
        self.workers = checked_workers(workers)
        self.deterministic = deterministic
        self.callbacks = events.checked(callbacks)
        self.progress = progress
        self.trim_rule = trim_rule
        self.losses: list[float] = []
        self.pairs: list[int] = []
        self.running_training_loss = 0.0
        if sentences is not None or corpus_file is not None:
            check_corpus(sentences, corpus_file, again=True)
            self.build_vocab(sentences, corpus_file)
            self.train(sentences, corpus_file)

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

    def get_latest_training_loss(self) -> float:
        """``running_training_loss``: the sum over all pairs of the complete epochs since ``train`` was called.

        It is summed in float64. This is gensim's definition; ``losses[-1]`` is the loss of the last epoch alone.
        """
        return self.running_training_loss

    def init_sims(self, replace: bool = False) -> None:
        """:meth:`WordVectors.init_sims` of the model's vectors."""
        self.wv.init_sims(replace)

    def predict_output_word(self, context_words_list: Sequence[str | int], topn: int = 10) -> list[tuple[str, float]]:
        """The most probable centre words of a context: (word, probability), most probable first.

        Words of the context without a vector are ignored.

        Raises:
            ValueError: The model has no vocabulary or no negative sampling, or knows no word of the context.
        """
        if not self._is_built:
            raise ValueError("the model has no vocabulary; call build_vocab before predict_output_word")
        self._share_table()
        return prediction.output_words(self, context_words_list, topn)

    def save(self, path: Path) -> None:
        """Write everything that further training needs. An old file is replaced once the new one is complete."""
        if not self._is_built:
            raise ValueError("the model has no vocabulary, so there is nothing to save; call build_vocab first")
        self._share_table()
        saved_model.save(self, path)

    @classmethod
    def load(cls, path: Path, workers: int | None = None, mmap: str | None = None) -> Word2Vec:
        """Read a file of :meth:`save`. Loading never runs code from the file.

        Args:
            mmap: ignored: a model is read into memory. A file of ``wv.save`` can be mapped.

        Raises:
            OSError, ValueError: the file cannot be read, or is of another kind.
        """
        return saved_model.load(cls, path, workers)
