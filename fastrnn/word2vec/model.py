"""Word2Vec: T. Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546, with gensim 4's names and defaults."""

from __future__ import annotations

import os
from collections.abc import Callable
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from fastrnn import _C
from fastrnn.word2vec import storage
from fastrnn.word2vec.corpus import Sentences, check_corpus, default_workers
from fastrnn.word2vec.huffman import huffman_paths
from fastrnn.word2vec.parameters import aligned, empty_rows, grown, random_rows
from fastrnn.word2vec.sampling import alias_table, epoch_key, keep_thresholds, windows_in_order
from fastrnn.word2vec.settings import Settings
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
        deterministic: the same vectors, to the bit, for a seed at any number of workers.
        progress: see :data:`Progress`. What it raises ends the training and is passed on.
        settings: the others, with gensim 4's names and defaults: :class:`fastrnn.word2vec.settings.Settings`.

    Raises:
        TypeError, ValueError: settings or a corpus that make no sense.
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
        self.settings = Settings(**settings)
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
        self, corpus_iterable: Sentences | None = None, corpus_file: Path | None = None, update: bool = False
    ) -> None:
        """Count the words and make a vector for each that is frequent enough.

        Args:
            update: keep the vectors that are here and add the new words of this corpus.
        Raises:
            TypeError, ValueError: as :meth:`Vocabulary.build`; ``update`` without a vocabulary.
        """
        s = self.settings
        if not update:
            self.vocabulary = Vocabulary.build(
                corpus_iterable, corpus_file, s.min_count, s.max_vocab_size, s.max_final_vocab, self.workers
            )
            words = len(self.vocabulary)
            self._syn0 = random_rows(words, s.vector_size, s.seed)
            self._syn1 = empty_rows(max(words - 1, 1), s.vector_size) if s.hs else None
            self._syn1neg = empty_rows(words, s.vector_size) if s.negative else None
            self.losses, self.pairs = [], []
        else:
            if "vocabulary" not in self.__dict__:
                raise ValueError("update=True needs a vocabulary; call build_vocab without it first")
            before = len(self.vocabulary)
            new = self.vocabulary.update(corpus_iterable, corpus_file, s.min_count, s.max_vocab_size, self.workers)
            self._syn0 = grown(self._syn0, random_rows(new, s.vector_size, s.seed, already=before))
            if self._syn1neg is not None:
                self._syn1neg = grown(self._syn1neg, empty_rows(new, s.vector_size))
            if self._syn1 is not None:  # another tree: what was known of its inner nodes means nothing in it
                self._syn1 = empty_rows(max(before + new - 1, 1), s.vector_size)
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
    ) -> tuple[int, int]:
        """Train on a corpus, which is read once. The learning rate falls in a straight line over all epochs.

        After Ctrl-C the model is as it was at that moment, and usable.

        Args:
            total_examples, total_words: for gensim's sake; the corpus is counted as it is read.
        Returns:
            words of the vocabulary that were read, all epochs together, and pairs that were trained.
        Raises:
            TypeError: both or neither of the corpora are given.
            ValueError: there is no vocabulary yet; none of its words is in the corpus; epochs is less than 1.
        """
        s = self.settings
        if "vocabulary" not in self.__dict__:
            raise ValueError("there is no vocabulary; call build_vocab before train")
        epochs = s.epochs if epochs is None else epochs
        if epochs < 1:
            raise ValueError(f"epochs must be 1 or more, got {epochs}")
        first = s.alpha if start_alpha is None else start_alpha
        last = s.min_alpha if end_alpha is None else end_alpha
        counts = self.vocabulary.counts
        tables = {
            "keep": keep_thresholds(counts, s.sample),
            "alias": alias_table(counts.astype(np.float64) ** s.ns_exponent) if s.negative else None,
            "paths": huffman_paths(counts) if s.hs else None,
        }
        before = len(self.losses)
        with TemporaryDirectory(prefix="fastrnn") as directory:
            ids, offsets = self.vocabulary.encode(corpus_iterable, corpus_file, directory, self.workers)
            if len(ids) == 0:
                raise ValueError("no word of the corpus is in the vocabulary")
            try:
                for epoch in range(epochs):
                    self._train_epoch(
                        ids,
                        offsets,
                        tables,
                        first + (last - first) * epoch / epochs,
                        first + (last - first) * (epoch + 1) / epochs,
                    )
            finally:
                self._show_vectors()
                words = len(ids) * epochs
                del ids, offsets  # before the directory goes, for they are mapped files in it
        return words, sum(self.pairs[before:])

    def _train_epoch(
        self, ids: np.ndarray, offsets: np.ndarray, tables: dict[str, Any], alpha_begin: float, alpha_end: float
    ) -> None:
        s, epoch = self.settings, len(self.losses)

        def progress(words_done: int, loss: float, pairs: int) -> None:
            if self.progress is not None:
                self.progress(epoch, words_done, len(ids), loss / max(pairs, 1))

        loss, pairs = _C.word2vec.train_epoch(
            ids=ids,
            offsets=offsets,
            syn0=self._syn0,
            syn1=self._syn1,
            syn1neg=self._syn1neg,
            **tables,
            skip_gram=bool(s.sg),
            cbow_mean=bool(s.cbow_mean),
            shrink_windows=s.shrink_windows,
            window=s.window,
            negative=s.negative,
            key=epoch_key(s.seed, epoch),
            alpha_begin=alpha_begin,
            alpha_end=alpha_end,
            workers=self.workers,
            windows_in_order=windows_in_order(self.vocabulary.counts, tables["keep"]) if self.deterministic else 0,
            progress=progress,
        )
        self.losses.append(loss)
        self.pairs.append(pairs)

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

    def _show_vectors(self) -> None:
        vectors = self._syn0[:, : self.settings.vector_size]
        self.wv = WordVectors(self.vocabulary.index_to_key, vectors, self.vocabulary.counts)

    def save(self, path: Path) -> None:
        """Write everything that further training needs, beside ``path`` first, then rename. Raises OSError."""
        if "vocabulary" not in self.__dict__:
            raise ValueError("there is nothing to save; call build_vocab first")
        v, size = self.vocabulary, self.settings.vector_size
        arrays = {name: getattr(self, f"_{name}") for name in ("syn0", "syn1", "syn1neg")}
        arrays = {name: rows[:, :size] for name, rows in arrays.items() if rows is not None}
        arrays |= {"counts": v.counts, "losses": np.array(self.losses), "pairs": np.array(self.pairs, dtype=np.int64)}
        settings = self.settings.as_dict() | {"deterministic": self.deterministic}
        totals = {"total_words": v.total_words, "sentences": v.sentences}
        storage.write(path, {"model": settings, "totals": totals}, v.index_to_key, arrays)

    @classmethod
    def load(cls, path: Path, workers: int | None = None) -> Word2Vec:
        """Read what :meth:`save` has written; nothing in the file is run. Raises OSError, ValueError."""
        settings, keys, arrays = storage.read(path)
        model = cls(workers=workers, **settings["model"])
        model.vocabulary = Vocabulary(keys, arrays["counts"], **settings["totals"])
        model.losses, model.pairs = arrays["losses"].tolist(), arrays["pairs"].tolist()
        for name in ("syn0", "syn1", "syn1neg"):
            rows = arrays.get(name)
            setattr(model, f"_{name}", None if rows is None else aligned(rows))
        model._show_vectors()
        return model
