"""Building and updating the vocabulary of a model, from a corpus or from word counts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from fastrnn.word2vec.corpus.arguments import Sentences
from fastrnn.word2vec.corpus.trim_rules import TrimRule
from fastrnn.word2vec.corpus.vocabulary import Vocabulary, counted_by_hand
from fastrnn.word2vec.corpus.word_counts import Counted, count_words
from fastrnn.word2vec.gensim_names import accept_only
from fastrnn.word2vec.training.locking import one_at_a_time
from fastrnn.word2vec.training.model_state import ModelState
from fastrnn.word2vec.training.parameters import Parameters


class VocabularyBuilding(ModelState):
    """The methods of :class:`fastrnn.word2vec.Word2Vec` that build its vocabulary."""

    workers: int
    trim_rule: TrimRule | None
    losses: list[float]
    pairs: list[int]
    running_training_loss: float

    @one_at_a_time
    def build_vocab(
        self,
        corpus_iterable: Sentences | None = None,
        corpus_file: str | os.PathLike[str] | None = None,
        update: bool = False,
        trim_rule: TrimRule | None = None,
        **gensims: Any,
    ) -> None:
        """Count the words of a corpus and make a vector for each word that is frequent enough.

        Args:
            update: keep the present vectors and add the new words of this corpus.
            trim_rule: a function of (word, count, min_count) that returns RULE_KEEP, RULE_DISCARD or RULE_DEFAULT of
                :mod:`fastrnn.word2vec`; by default the model's.
            gensims: gensim's other arguments. Those that would change the result raise TypeError.

        Raises:
            TypeError, ValueError: as :meth:`Vocabulary.build`; or ``update`` is set and there is no vocabulary yet.
        """
        accept_only(gensims, "build_vocab")
        s, trim_rule = self.settings, trim_rule or self.trim_rule
        self._check_buildable(update)
        found = count_words(corpus_iterable, corpus_file, s.min_count, s.max_vocab_size, self.workers, trim_rule)
        self._build(found, update, trim_rule)

    @one_at_a_time
    def build_vocab_from_freq(
        self,
        word_freq: Mapping[str, int],
        keep_raw_vocab: bool = False,
        corpus_count: int | None = None,
        trim_rule: TrimRule | None = None,
        update: bool = False,
    ) -> None:
        """:meth:`build_vocab` from words and their counts instead of a corpus.

        Args:
            corpus_count: the number of sentences in the corpus, if known.
        """
        accept_only({"keep_raw_vocab": keep_raw_vocab}, "build_vocab_from_freq")
        self._check_buildable(update)
        self._build(counted_by_hand(word_freq, corpus_count or 0), update, trim_rule or self.trim_rule)

    def _check_buildable(self, update: bool) -> None:
        if update and not self._is_built:
            raise ValueError("update=True needs a vocabulary; first call build_vocab without it")
        if not self._is_built and len(self.wv):
            raise ValueError(
                f"building the vocabulary would discard {len(self.wv)} vectors in wv; call build_vocab first and set "
                "model.wv[keys] = vectors afterwards"
            )

    def _build(self, found: Counted, update: bool, trim_rule: TrimRule | None) -> None:
        s = self.settings
        others: dict[str, Any] = {}
        if update:
            self._share_table()
            vocabulary = self.vocabulary.updated(found, s.min_count, trim_rule)
            parameters = self.parameters.with_more(len(vocabulary) - len(self.vocabulary), s)
        else:
            vocabulary = Vocabulary.of(found, s.min_count, s.max_final_vocab, trim_rule)
            parameters = Parameters.untrained(len(vocabulary), s)
            others = {"losses": [], "pairs": [], "running_training_loss": 0.0}
        self._install(vocabulary, parameters, reset=not update, counted=True, **others)

    @property
    def corpus_count(self) -> int:
        """The number of sentences the vocabulary was built from; 0 before that."""
        return self.vocabulary.sentences if self._is_built else 0

    @property
    def corpus_total_words(self) -> int:
        """The number of words the vocabulary was built from, including rare ones; 0 before that."""
        return self.vocabulary.total_words if self._is_built else 0
