"""Word2Vec: T. Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546, with gensim 4's names and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from tempfile import TemporaryDirectory
from typing import Any

from fastrnn.word2vec import predict, storage
from fastrnn.word2vec.compatibility import accept_only, accepted
from fastrnn.word2vec.corpus import Encoded, Sentences, check_corpus, default_workers
from fastrnn.word2vec.parameters import Parameters
from fastrnn.word2vec.settings import Settings
from fastrnn.word2vec.training import Trainer
from fastrnn.word2vec.vectors import WordVectors
from fastrnn.word2vec.vocabulary import Vocabulary

# Called with (epoch, words done in it, words of an epoch, mean loss of a pair so far), at most ten times a second.
Progress = Callable[[int, int, int, float], None]
Path = str | os.PathLike[str]


class Word2Vec:
    """Learns a vector for every word of a corpus.

    With ``sentences`` or ``corpus_file`` the model is built and trained at once; without, call :meth:`build_vocab` and
    :meth:`train`. The vectors are ``model.wv``. An iterable of sentences is read twice, so it must not be a generator.

    Args:
        sentences: an iterable of lists of words.
        corpus_file: a text file, a sentence a line; .gz, .xz and .bz2 are unpacked on the way.
        deterministic: the same vectors, to the bit, for a seed at any number of workers. More than four have no work,
            with hierarchical softmax more than one. They wait for each other: it takes longer beside other programs.
        progress: see :data:`Progress`. What it raises ends the training and is passed on.
        settings: the others, with gensim 4's names and defaults: :class:`fastrnn.word2vec.settings.Settings`. What of
            gensim's says how its threads and log work is passed over.

    Raises:
        TypeError, ValueError: settings or a corpus that make no sense, or gensim's settings that are not here.
    """

    def __init__(
        self,
        sentences: Sentences | None = None,
        corpus_file: Path | None = None,
        *,
        workers: int | None = None,
        deterministic: bool = False,
        progress: Progress | None = None,
        **settings: Any,
    ) -> None:
        self.settings = Settings(**accepted(settings))
        self.workers = default_workers() if workers is None else workers
        if self.workers < 1:
            raise ValueError(f"workers must be 1 or more, got {workers}")
        self.deterministic = deterministic
        self.progress = progress
        self.losses: list[float] = []  # of every epoch: the sum over its pairs
        self.pairs: list[int] = []
        if sentences is not None or corpus_file is not None:
            check_corpus(sentences, corpus_file, again=True)
            self.build_vocab(sentences, corpus_file)
            self.train(sentences, corpus_file)

    def __getattr__(self, name: str) -> Any:
        """A setting by its name, as ``model.vector_size``."""
        settings = self.__dict__.get("settings")
        if settings is not None and hasattr(settings, name):
            return getattr(settings, name)
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}; is the vocabulary built?")

    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: Path | None = None,
        update: bool = False,
        **gensims: Any,
    ) -> None:
        """Count the words and make a vector for each that is frequent enough.

        Args:
            update: keep the vectors that are here and add the new words of this corpus.
            gensims: gensim's other arguments; refused by a TypeError where they ask for what is not here.
        Raises:
            TypeError, ValueError: as :meth:`Vocabulary.build`; ``update`` without a vocabulary.
        """
        accept_only(gensims, "build_vocab")
        s = self.settings
        if not update:
            self.vocabulary = Vocabulary.build(
                corpus_iterable, corpus_file, s.min_count, s.max_vocab_size, s.max_final_vocab, self.workers
            )
            self.parameters = Parameters.untrained(len(self.vocabulary), s)
            self.losses, self.pairs = [], []
        else:
            if "vocabulary" not in self.__dict__:
                raise ValueError("update=True needs a vocabulary; call build_vocab without it first")
            new = self.vocabulary.update(corpus_iterable, corpus_file, s.min_count, s.max_vocab_size, self.workers)
            self.parameters = self.parameters.with_more(new, s)
        self._show_vectors()

    def train(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: Path | None = None,
        total_examples: int | None = None,
        total_words: int | None = None,
        epochs: int | None = None,
        start_alpha: float | None = None,
        end_alpha: float | None = None,
        **gensims: Any,
    ) -> tuple[int, int]:
        """Train on a corpus, which is read once. The learning rate falls in a straight line over all epochs.

        After Ctrl-C (or whatever ``progress`` raises) the model is usable: ``wv`` is what had been learned at that
        moment, ``losses`` and ``pairs`` are those of the whole epochs. The next call of ``train`` begins an epoch anew,
        with the random numbers of the one that was broken off.

        Args:
            total_examples, total_words: for gensim's sake; the corpus is counted as it is read.
            gensims: as of :meth:`build_vocab`.
        Returns:
            words of the vocabulary that were read, all epochs together, and pairs that were trained.
        Raises:
            TypeError: both or neither of the corpora are given.
            ValueError: there is no vocabulary yet; none of its words is in the corpus; epochs is less than 1.
        """
        accept_only(gensims, "train")
        s = self.settings
        if "vocabulary" not in self.__dict__:
            raise ValueError("there is no vocabulary; call build_vocab before train")
        epochs = s.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"epochs must be 1 or more, got {epochs}")
        first = s.alpha if start_alpha is None else start_alpha
        last = s.min_alpha if end_alpha is None else end_alpha
        before = len(self.losses)
        with TemporaryDirectory(prefix="fastrnn") as directory:
            corpus = self._read(corpus_iterable, corpus_file, directory)
            words = len(corpus.ids) * epochs
            trainer = Trainer(self.parameters, self.vocabulary.counts, s, self.workers, self.deterministic)
            rates = [first + (last - first) * epoch / epochs for epoch in range(epochs + 1)]
            try:
                for alpha in pairwise(rates):
                    loss, pairs = self._train_epoch(trainer, corpus, alpha)
                    self.losses.append(loss)
                    self.pairs.append(pairs)
            finally:
                self._show_vectors()
                del corpus  # before the directory goes, for these are mapped files in it
        return words, sum(self.pairs[before:])

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
        if self.progress is not None:
            self.progress(len(self.losses), words_done, words, loss / max(pairs, 1))

    @property
    def corpus_count(self) -> int:
        """Sentences of the corpus that the vocabulary was built from."""
        return self.vocabulary.sentences

    @property
    def corpus_total_words(self) -> int:
        """Words of it, the rare ones too."""
        return self.vocabulary.total_words

    def get_latest_training_loss(self) -> float:
        """The loss of the last whole epoch, summed in float64 over its pairs (and outputs); 0 before the first."""
        return self.losses[-1] if self.losses else 0.0

    def predict_output_word(self, context_words_list: Sequence[str | int], topn: int = 10) -> list[tuple[str, float]]:
        """The words most probable in the midst of a context: (word, probability), the most probable first.

        Words of the context without a vector are left out.

        Raises:
            ValueError: The model has no negative sampling or no vocabulary, or no word of the context is in it.
        """
        if "vocabulary" not in self.__dict__:
            raise ValueError("there is no vocabulary; call build_vocab before predict_output_word")
        return predict.output_words(self, context_words_list, topn)

    def _show_vectors(self) -> None:
        vectors = self.parameters.syn0[:, : self.settings.vector_size]
        self.wv = WordVectors(self.vocabulary.index_to_key, vectors, self.vocabulary.counts)

    def save(self, path: Path) -> None:
        """Write everything that further training needs, beside ``path`` first, then rename. Raises OSError."""
        if "vocabulary" not in self.__dict__:
            raise ValueError("there is nothing to save; call build_vocab first")
        storage.save(self, path)

    @classmethod
    def load(cls, path: Path, workers: int | None = None) -> Word2Vec:
        """Read what :meth:`save` has written; nothing in the file is run. Raises OSError, ValueError."""
        model = storage.load(cls, path, workers)
        model._show_vectors()
        return model
