"""The n-gram language model: trained by counting, the baseline of recurrent models."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fastrnn.train.data.batch import Window
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.kneser_ney import Discounts, continuation_counts, estimated_discounts
from fastrnn.train.models.ngram_counts import Integers, NGramCounts, checked_ids
from fastrnn.train.models.ngram_tables import Tables
from fastrnn.train.models.prediction import Predictor
from fastrnn.train.models.smoothing import Smoothing

Tokens = str | Sequence[str] | Sequence[int] | NDArray[np.integer] | Tensor


class NGram(Predictor):
    """P(word | the previous ``order - 1`` words), from counts.

    Args:
        vocabulary: its ``eos``, if it has one, ends the sentences.
        order: length of the longest n-gram: 3 for trigrams.
        smoothing: the probability of n-grams that never occurred.

            - ``"ml"``: 0, with P(w | h) = count(h w) / count(h): a text with such an n-gram has infinite perplexity. A
              history that never occurred is shortened until it did.
            - ``"add-k"``: P(w | h) = (count(h w) + k) / (count(h) + k V).
            - ``"interpolated"`` (Jelinek and Mercer): a weighted mean over all shorter histories, the empty one and
              equal probabilities.
            - ``"kneser-ney"``: interpolated, modified Kneser-Ney (Chen and Goodman 1998), the best of the four.
        k: of add-k; :meth:`tune` finds it.
        weights: of the interpolation, from 0 to 1, one for each length from 1 to ``order``; :meth:`tune` finds them.
        discounts: of Kneser-Ney, for each length those of counts of 1, 2, and 3 or more. By default they are estimated
            from the numbers of n-grams that occurred one to four times; for texts too small for that they are 0.5, 1
            and 1.5. :attr:`discounts` has them.
        cross_sentences: let histories cross the ends of sentences. By default the first word of a sentence only sees
            that it is the first.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        order: int = 3,
        smoothing: str = "kneser-ney",
        *,
        k: float = 1.0,
        weights: Sequence[float] | None = None,
        discounts: Sequence[Discounts] | None = None,
        cross_sentences: bool = False,
    ) -> None:
        if order < 1:
            raise ValueError(f"order must be at least 1, got {order}")
        self.vocabulary = vocabulary
        self.order = order
        self._smoothing = Smoothing(smoothing, order, k, weights, discounts)
        self.cross_sentences = cross_sentences
        self._counts = NGramCounts(len(vocabulary), order, None if cross_sentences else vocabulary.eos)
        self._tables: Tables | None = None

    @property
    def smoothing(self) -> Smoothing:
        """The smoothing method with its parameters, as found by :meth:`tune` if that was called."""
        return self._smoothing

    def count(self, tokens: Tokens, *, continues: bool = False) -> NGram:
        """Count a text, in addition to earlier ones.

        Args:
            tokens: a text, its tokens, or their ids; ids may be a numpy.memmap larger than memory, which is read
                in blocks. The counts must fit in memory.
            continues: the text continues that of the last call, so a text in pieces is counted as a whole.

        Returns:
            the model.
        """
        ids = self._ids(tokens)
        self._tables = None
        self._counts.add(ids, continues)
        return self

    def tune(self, held_out: Tokens) -> NGram:
        """Choose the ``k`` or ``weights`` that make a held-out text most probable. Returns the model.

        Maximum likelihood and Kneser-Ney have no such parameters.
        """
        self._check_counted()
        text = self._text(held_out)
        if not len(text):
            raise ValueError("expected a held-out text to tune on, got an empty text")
        before = self._counts.beginning
        _, _, state = self._counts.walk(before, self._counts.no_history())
        histories, ngrams, _ = self._counts.walk(text, state)
        self._smoothing = self._smoothing.tuned(self._counts, histories, ngrams)
        self._tables = None
        return self

    def counts(self, history: str | Sequence[str] = "") -> Counter[str]:
        """The counts of the words after a history of at most ``order - 1`` words, the most frequent first.

        ``counts("this is a")["test"] / counts("this is a").total()`` is count(this is a test) / count(this is a).
        """
        ids = np.array(self.vocabulary.encode(history), np.int64)
        if len(ids) >= self.order:
            raise ValueError(
                f"a model of order {self.order} has histories of at most {self.order - 1} words, got {len(ids)}: "
                f"pass fewer words, or create NGram(…, order={len(ids) + 1})"
            )
        _, _, state = self._counts.walk(ids, self._counts.no_history())
        length = len(ids) + 1
        _, place = self._counts.following(length, state[len(ids)][None])
        words, counts = self._counts.keys[length - 1][place] % len(self.vocabulary), self._counts.counts[length - 1]
        found = {self.vocabulary.tokens[w]: int(n) for w, n in zip(words, counts[place], strict=True) if n}
        return Counter(dict(Counter(found).most_common()))

    @property
    def parameters_count(self) -> int:
        """The number of distinct n-grams of all lengths: each has its own probability."""
        return sum(int((counts > 0).sum()) for counts in self._counts.counts)

    @property
    def discounts(self) -> list[Discounts]:
        """The discounts of Kneser-Ney, given or estimated, for each length of n-gram."""
        self._check_counted()
        given = self.smoothing.discounts
        return list(given) if given else [estimated_discounts(count) for count in continuation_counts(self._counts)]

    def token_log_probabilities(self, ids: Tokens) -> Tensor:
        """log P of each token (T,), float64, given the previous ones: natural logarithms, -inf for probability 0.

        If nothing precedes a text, since the vocabulary has no ``eos``, without the first token (T - 1,).
        """
        text, start = self._text(ids), self._start
        if start is not None:
            text = np.concatenate([[start], text])
        if len(text) < 2:
            raise ValueError(
                "expected at least two tokens" if start is None else "expected at least one token, got none"
            )
        _, _, state = self._counts.walk(text[:1], self._counts.no_history())
        return torch.from_numpy(self._of_text(text[1:], state)[0])

    def evaluate(self, data: Any) -> dict[str, float]:
        """``loss``, the mean of -log P over the tokens, and its exponential, ``perplexity``.

        ``data`` is a text, its tokens or ids, or batches (:class:`Window`), whose targets are measured.

        With maximum likelihood also ``impossible``: the number of tokens with probability 0, which makes both infinite.
        """
        batches = _as_batches(data)
        parts = [self.token_log_probabilities(data)] if batches is None else self._of_windows(batches)
        found = [part.flatten() for part in parts]
        if not found:
            raise ValueError(
                "there are no batches to evaluate on. An iterator can be read only once; pass a list or a DataLoader"
            )
        log_p = torch.cat(found)
        loss = -float(log_p.mean())
        figures = {"loss": loss, "perplexity": math.exp(loss)}
        if self.smoothing.method == "ml":
            figures["impossible"] = float(log_p.isneginf().sum())
        return figures

    def begin(self, batch: int) -> Tensor:
        """The state before any token: (order, batch), for each k which k-gram the last k tokens are."""
        return torch.from_numpy(self._counts.no_history((batch,)))

    def advance(self, tokens: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Read one token (B,) in each row: log P (B, V) float64 of the next one, and the state after it."""
        ids = checked_ids(tokens.cpu().numpy(), len(self.vocabulary))
        _, _, after = self._counts.walk(ids[None], state.numpy())
        with np.errstate(divide="ignore"):
            log_p = np.log(self._probabilities().of_all(self._counts, after))
        return torch.from_numpy(log_p), torch.from_numpy(after)

    def select(self, state: Tensor, rows: Tensor) -> Tensor:
        """The state of these rows."""
        return state[:, rows]

    def config(self) -> dict[str, Any]:
        """JSON of the settings and the vocabulary: with :meth:`tensors` all that :meth:`from_config` needs."""
        return {
            "vocabulary": self.vocabulary.config(),
            "order": self.order,
            "smoothing": self.smoothing.method,
            "k": self.smoothing.k,
            "weights": self.smoothing.weights,
            "discounts": self.smoothing.discounts,
            "cross_sentences": self.cross_sentences,
        }

    def tensors(self) -> dict[str, Tensor]:
        """The counts, which is all that the model learns."""
        return {name: torch.from_numpy(array) for name, array in self._counts.arrays().items()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> NGram:
        """The model that :meth:`config` and :meth:`tensors` describe; raises ValueError if they do not fit."""
        if config.get("order") != len(tensors) - 1:
            raise ValueError(f"expected one tensor more than the order, {config.get('order')}, got {len(tensors)}")
        model = cls(**{**config, "vocabulary": Vocabulary.from_config(config["vocabulary"])})
        model._counts.restore({name: tensor.numpy() for name, tensor in tensors.items()})
        return model

    def __repr__(self) -> str:
        return f"NGram(order={self.order}, smoothing={self.smoothing.method!r}, {self.parameters_count:,} parameters)"

    def _ids(self, tokens: Tokens) -> NDArray[np.integer]:
        if isinstance(tokens, Tensor):
            tokens = tokens.cpu().numpy()
        if not isinstance(tokens, (Sequence, np.ndarray)) or (len(tokens) and isinstance(tokens[0], (list, tuple))):
            raise TypeError(
                f"expected a text, its tokens or their ids, got {type(tokens).__name__}: {str(tokens)[:40]}. "
                "Count several texts, or pieces of one, one by one"
            )
        if isinstance(tokens, str) or (len(tokens) and isinstance(tokens[0], str)):
            tokens = self.vocabulary.encode(tokens)  # type: ignore[arg-type]
        ids = checked_ids(tokens, len(self.vocabulary))  # type: ignore[arg-type]
        if ids.ndim != 1:
            raise ValueError(f"expected a text of token ids (T,), got an array of shape {ids.shape}")
        return ids

    def _text(self, tokens: Tokens) -> Integers:
        return self._ids(tokens).astype(np.int64, copy=False)

    @property
    def _start(self) -> int | None:
        """The token before a text: ``eos``, which ends the previous sentence, or ``bos`` if it was counted."""
        bos = self.vocabulary.bos
        return bos if bos is not None and self._counts.counts[0][bos] else self.vocabulary.eos

    def _of_text(self, text: Integers, state: Integers) -> tuple[NDArray[np.float64], Integers]:
        histories, ngrams, state = self._counts.walk(text, state)
        with np.errstate(divide="ignore"):
            return np.log(self._probabilities().of_words(self._counts, histories, ngrams)), state

    def _of_windows(self, batches: Iterable[Window]) -> Iterable[Tensor]:
        """log P of the targets. The history of a batch that does not continue the last one is its first token."""
        words = len(self.vocabulary)
        state: Integers | None = None
        for batch in batches:
            if not isinstance(batch, Window):
                raise TypeError(f"expected batches of type Window, or a text or its ids, got {type(batch).__name__}")
            first, target = (checked_ids(ids.cpu().numpy(), words) for ids in (batch.input[:1], batch.target))
            if state is None or batch.first:
                _, _, state = self._counts.walk(first, self._counts.no_history(first.shape[1:]))
            log_p, state = self._of_text(target, state)
            yield torch.from_numpy(log_p)

    def _check_counted(self) -> None:
        if not self._counts.counts[0].any():
            raise ValueError("the model has no counts yet: call model.count(text) first")

    def _probabilities(self) -> Tables:
        """The tables of the smoothing, computed at their first use after counting."""
        if self._tables is None:
            self._check_counted()
            self._tables = self.smoothing.tables(self._counts)
        return self._tables


def _as_batches(data: Any) -> Iterable[Window] | None:
    """The batches of data that is not a text."""
    if isinstance(data, Window):
        return [data]
    if isinstance(data, (str, np.ndarray, Tensor)):
        return None
    if hasattr(data, "epoch"):
        return data.epoch(0)
    if isinstance(data, Sequence) and not (len(data) and isinstance(data[0], Window)):
        return None
    return data
