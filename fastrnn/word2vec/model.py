"""Word2Vec (T. Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), with gensim 4's names and defaults."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from fastrnn.word2vec import callbacks as events
from fastrnn.word2vec.callbacks import Progress
from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers
from fastrnn.word2vec.corpus.trim_rules import TrimRule
from fastrnn.word2vec.gensim_names import accepted
from fastrnn.word2vec.settings import Settings
from fastrnn.word2vec.training import prediction, saved_model
from fastrnn.word2vec.training.loop import Path, TrainingLoop
from fastrnn.word2vec.vectors.word_vectors import WordVectors


class Word2Vec(TrainingLoop):
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
