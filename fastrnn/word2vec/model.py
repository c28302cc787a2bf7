"""Word2Vec: T. Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546, with gensim 4's names and defaults."""

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

    With ``sentences`` or ``corpus_file`` the model is built and trained at once; without, call :meth:`build_vocab` and
    :meth:`train`. The vectors are ``model.wv``. An iterable of sentences is read twice, so it must not be a generator.
    A setting may be read and set by its name at any time, as ``model.alpha``; it holds from the next call on.

    Args:
        sentences: an iterable of lists of words.
        corpus_file: a text file, a sentence a line; .gz, .xz and .bz2 are unpacked on the way.
        deterministic: the same vectors, to the bit, for a seed at any number of workers. More than four have no work,
            with hierarchical softmax more than one. They wait for each other: it takes longer beside other programs.
        callbacks: of every training that is not given its own: :class:`fastrnn.word2vec.CallbackAny2Vec`. Neither files
            nor pickles hold them.
        progress: a function in place of a callback: :data:`fastrnn.word2vec.callbacks.Progress`.
        trim_rule: of every :meth:`build_vocab` that is not given its own. Neither files nor pickles hold it.
        settings: the others, with gensim 4's names and defaults: :class:`fastrnn.word2vec.settings.Settings`. gensim's
            settings of its threads and its log are ignored.

    Attributes:
        wv: the vectors, :class:`WordVectors`. Vectors put into it, and keys added, are trained further.
        losses, pairs: of every epoch, the sum of the loss over its pairs and how many these were.
        running_training_loss: the sum of the losses since ``train`` was last called.

    Raises:
        TypeError, ValueError: settings or a corpus that make no sense, or gensim's settings that are not here.
    """

    _watchers: Sequence[Any] = ()  # the callbacks of the training that is going on
    _trainer: tuple[Any, Trainer] | None = None  # and what it was made of

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
        """Train on a corpus, which is read once. The learning rate falls in a straight line over all epochs.

        After Ctrl-C (or whatever a callback raises) the model is usable: ``wv`` is what had been learned at that
        moment, ``losses`` and ``pairs`` are those of the whole epochs. The next call of ``train`` begins an epoch anew,
        with the random numbers of the one that was broken off.

        Args:
            total_examples, total_words: for gensim's sake; the corpus is counted as it is read.
            start_alpha, end_alpha: the learning rate; by default ``alpha`` and ``min_alpha``.
            callbacks: by default those of the model.
            gensims: as of :meth:`build_vocab`.

        Returns:
            words of the vocabulary that were read, all epochs together, and pairs that were trained.

        Raises:
            TypeError: both or neither of the corpora are given.
            ValueError: there is no vocabulary yet; none of its words is in the corpus; epochs is less than 1.
            RuntimeError: the loss became infinite or NaN; a callback added keys to ``wv``; another thread, or a
                callback, trains the model or builds its vocabulary.
        """
        accept_only(gensims, "train")
        if not self._is_built:
            raise ValueError("there is no vocabulary; call build_vocab before train")
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
                del corpus  # before the directory goes, whose mapped files it is
        return words, sum(self.pairs[before:])

    def _train_and_count(self, corpus: Encoded, alpha: tuple[float, float]) -> None:
        trainer = self._make_trainer()
        trainer.lock(self.wv.vectors_lockf)
        loss, pairs = self._train_epoch(trainer, corpus, alpha)
        self.wv.vectors_changed()
        if not math.isfinite(loss):
            raise RuntimeError(
                f"training diverged: the loss of epoch {len(self.losses) + 1} is {loss}; use a smaller alpha than "
                f"{alpha[0]:g}, and vectors that are finite"
            )
        self.losses.append(loss)
        self.pairs.append(pairs)
        self.running_training_loss += loss

    def _make_trainer(self) -> Trainer:
        """What trains an epoch: that of the last one, unless a callback has changed what it is made of."""
        words = self.vocabulary
        self._share_table()
        if self.vocabulary is not words:
            raise RuntimeError("keys were added to wv while it was trained; add them before train or after it")
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
        """``running_training_loss``: summed in float64 over the pairs of all whole epochs since ``train`` was called.

        That is gensim's meaning; ``losses[-1]`` is the loss of the last epoch alone.
        """
        return self.running_training_loss

    def init_sims(self, replace: bool = False) -> None:
        """:meth:`WordVectors.init_sims` of the model's vectors."""
        self.wv.init_sims(replace)

    def predict_output_word(self, context_words_list: Sequence[str | int], topn: int = 10) -> list[tuple[str, float]]:
        """The words most probable in the middle of a context: (word, probability), the most probable first.

        Words of the context without a vector are left out.

        Raises:
            ValueError: The model has no negative sampling or no vocabulary, or no word of the context is in it.
        """
        if not self._is_built:
            raise ValueError("there is no vocabulary; call build_vocab before predict_output_word")
        self._share_table()
        return prediction.output_words(self, context_words_list, topn)

    def save(self, path: Path) -> None:
        """Write everything that further training needs, beside ``path`` first, then rename. Raises OSError."""
        if not self._is_built:
            raise ValueError("there is nothing to save; call build_vocab first")
        self._share_table()
        saved_model.save(self, path)

    @classmethod
    def load(cls, path: Path, workers: int | None = None, mmap: str | None = None) -> Word2Vec:
        """Read what :meth:`save` has written; nothing in the file is run.

        Args:
            mmap: for gensim's sake: a model is read into memory. The file that ``wv.save`` writes can be mapped.

        Raises:
            OSError, ValueError: the file cannot be read, or is another one.
        """
        return saved_model.load(cls, path, workers)
