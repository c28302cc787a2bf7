"""Questions to a language model: the next word, the continuation of a text, the probability of a sentence.

A model implements three methods, begin, advance and select; the rest follows from them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fastrnn.train.models import sampling
from fastrnn.train.models.beam_search import beam_search

if TYPE_CHECKING:
    from fastrnn.train.data.vocabulary import Vocabulary

Text = str | Sequence[str]  # a text, or its tokens
_CHUNK = 256  # tokens scored at once: the probabilities of all their steps are in memory


class Predictor:
    """A mixin for models with a ``vocabulary`` that predict the next token.

    A text is read after the vocabulary's ``bos`` or else ``eos``, which ends the previous sentence in running text. If
    the vocabulary has neither, nothing precedes a text, and its first token has no probability.

    The model implements :meth:`begin`, :meth:`advance` and :meth:`select`, and optionally a faster :meth:`read`.
    """

    vocabulary: Vocabulary

    def begin(self, batch: int) -> Any:
        """The state of ``batch`` texts before any token, also before ``bos`` or ``eos``."""
        raise NotImplementedError

    def advance(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Reads one token of each text, (B,) int64: the log-probabilities (B, V) of the next one, and the new state."""
        raise NotImplementedError

    def select(self, state: Any, rows: Tensor) -> Any:
        """The state of some texts, rows (N,) int64, which may be repeated."""
        raise NotImplementedError

    def read(self, tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Reads tokens (T, B): the log-probabilities (T, B, V) of the token after each, and the final state."""
        found = []
        for step in tokens:
            log_probabilities, state = self.advance(step, state)
            found.append(log_probabilities)
        return torch.stack(found), state

    @property
    def parameters_count(self) -> int:
        """The number of parameters."""
        parameters = self.parameters()  # type: ignore[attr-defined]
        return sum(parameter.numel() for parameter in parameters if parameter.requires_grad)

    def next(self, text: Text, top: int | None = 10) -> list[tuple[str, float]]:
        """The ``top`` most probable next tokens (None for all) with their probabilities, most probable first.

        Raises:
            ValueError: no token of the text is in the vocabulary, or the text is empty and the vocabulary has neither
                ``bos`` nor ``eos``.
        """
        with predicting(self):
            log_probabilities, _ = self._after(self._prompt(text))
        number = len(self.vocabulary) if top is None else min(top, len(self.vocabulary))
        probabilities, tokens = log_probabilities[0].double().softmax(0).topk(number)
        names = self.vocabulary.tokens
        return [(names[token], p) for token, p in zip(tokens.tolist(), probabilities.tolist(), strict=True)]

    def complete(
        self,
        text: Text = "",
        n: int = 1,
        *,
        length: int = 100,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        beam: int | None = None,
        seed: int | None = None,
        stop: bool = True,
    ) -> Any:
        """Continue a text to the end of its sentence: the text with what was added; a list of ``n`` if n > 1.

        Tokens are sampled (:func:`fastrnn.train.models.sampling.sample` explains ``temperature``, ``top_k`` and
        ``top_p``), or found by a beam search of width ``beam``. The unknown token is never written.

        Args:
            length: maximum number of tokens to add.
            seed: the same seed gives the same text. None uses torch's generator.
            stop: end with the sentence, at ``eos``. False continues to ``length`` across the ends of sentences.

        Raises:
            ValueError: as in :meth:`next`, or an argument is out of range.
        """
        if n < 1 or length < 1:
            raise ValueError(f"Expected n and length of at least 1, got n={n}, length={length}")
        if beam is not None and (beam < n or (temperature, top_k, top_p) != (1.0, None, None)):
            raise ValueError(
                f"Expected a beam of at least n={n} and no temperature, top_k or top_p beside it, got beam={beam}, "
                f"temperature={temperature}, top_k={top_k}, top_p={top_p}"
            )
        sampling.check(temperature, top_k, top_p)
        prompt = self._prompt(text)
        with predicting(self):
            if beam is not None:
                added = self._search(prompt, n, length, beam, stop)
            else:
                generator = None if seed is None else torch.Generator().manual_seed(seed)
                options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "generator": generator}
                added = self._draw(prompt, n, length, stop, options)
        texts = [self._joined(text, prompt, tokens) for tokens in added]
        return texts[0] if n == 1 else texts

    def log_probability(self, sentence: Text, *, ends: bool = True) -> float:
        """The natural logarithm of :meth:`probability`."""
        ids = self.vocabulary.encode(sentence)
        if ends and self.vocabulary.eos is not None:
            ids = [*ids, self.vocabulary.eos]
        return float(self.token_log_probabilities(ids).sum())

    def probability(self, sentence: Text, *, ends: bool = True) -> float:
        """The product of the probabilities of the tokens, each given the previous ones.

        If the vocabulary has ``eos``, the last factor is the probability that the sentence ends there, unless
        ``ends=False``. With neither ``bos`` nor ``eos``, it is conditional on the first token.
        """
        return math.exp(self.log_probability(sentence, ends=ends))

    def perplexity(self, data: Any) -> float:
        """exp of the mean negative log-probability of a token, each given all previous ones.

        ``data`` is a text, token ids (T,), or batches as in :meth:`evaluate`.
        """
        if isinstance(data, str) or (isinstance(data, (list, tuple)) and data and isinstance(data[0], str)):
            data = self.vocabulary.encode(data)
        if isinstance(data, Tensor) or (isinstance(data, (list, tuple)) and data and isinstance(data[0], int)):
            return math.exp(-float(self.token_log_probabilities(data).mean()))
        return self.evaluate(data)["perplexity"]  # type: ignore[attr-defined]

    def token_log_probabilities(self, ids: Tensor | Sequence[int]) -> Tensor:
        """The log-probability of each token, given the previous ones: (T,) float64.

        If nothing precedes a text, without the first token: (T - 1,).
        """
        ids = torch.as_tensor(ids, dtype=torch.int64).cpu()
        start = self._start
        row = ids if start is None else torch.cat([torch.tensor([start]), ids])
        if len(row) < 2:
            raise ValueError(f"Expected at least {'two tokens' if start is None else 'one token'}, got {len(ids)}")
        found = []
        with predicting(self):
            state = self.begin(1)
            for input, target in zip(row[:-1].split(_CHUNK), row[1:].split(_CHUNK), strict=True):
                log_probabilities, state = self.read(input[:, None], state)
                found.append(log_probabilities[:, 0].cpu().gather(1, target[:, None]).squeeze(1).double())
        return torch.cat(found)

    @property
    def _start(self) -> int | None:
        return self.vocabulary.eos if self.vocabulary.bos is None else self.vocabulary.bos

    def _prompt(self, text: Text) -> list[int]:
        """The tokens to read, with the start token."""
        vocabulary, start = self.vocabulary, self._start
        ids = vocabulary.encode(text)
        if ids and all(token == vocabulary.unknown for token in ids) and vocabulary.tokens[ids[0]] not in text:
            words = vocabulary.split(text) if isinstance(text, str) else text
            raise ValueError(_nothing_known(words, vocabulary.tokens))
        if not ids and start is None:
            raise ValueError(
                f"Expected a prompt of at least one token, as no token of this vocabulary begins a text; got {text!r}"
            )
        return ids if start is None else [start, *ids]

    def _after(self, prompt: list[int]) -> tuple[Tensor, Any]:
        found, state = self.read(torch.tensor(prompt)[:, None], self.begin(1))
        return found[-1], state

    def _draw(self, prompt: list[int], n: int, length: int, stop: bool, options: dict[str, Any]) -> list[list[int]]:
        log_probabilities, state = self._after(prompt)
        if n > 1:
            rows = torch.zeros(n, dtype=torch.int64)
            log_probabilities, state = log_probabilities.expand(n, -1), self.select(state, rows)
        added: list[list[int]] = [[] for _ in range(n)]
        open_rows = set(range(n))
        while True:
            tokens = sampling.sample(self._writable(log_probabilities), **options)
            for row, token in enumerate(tokens.tolist()):
                if stop and token == self.vocabulary.eos:
                    open_rows.discard(row)
                elif row in open_rows:
                    added[row].append(token)
            if not open_rows or max(map(len, added)) == length:
                return added
            log_probabilities, state = self.advance(tokens, state)

    def _search(self, prompt: list[int], n: int, length: int, beam: int, stop: bool) -> list[list[int]]:
        state = self.begin(1)
        if len(prompt) > 1:
            _, state = self.read(torch.tensor(prompt[:-1])[:, None], state)

        def advance(tokens: Tensor, state: Any) -> tuple[Tensor, Any]:
            log_probabilities, state = self.advance(tokens, state)
            return self._writable(log_probabilities), state

        eos = self.vocabulary.eos if stop else None
        found = beam_search(advance, self.select, state, torch.tensor(prompt[-1:]), width=beam, length=length, eos=eos)
        return [hypothesis.tokens for hypothesis in found[0][:n]]

    def _writable(self, log_probabilities: Tensor) -> Tensor:
        """Excludes tokens that are not text. If nothing else is possible, as with n-grams, the sentence ends."""
        vocabulary = self.vocabulary
        never = [token for token in {vocabulary.unknown, vocabulary.bos, vocabulary.pad} if token is not None]
        if not never:
            return log_probabilities
        found = log_probabilities.index_fill(1, torch.tensor(never, device=log_probabilities.device), -torch.inf)
        if vocabulary.eos is not None:
            found[:, vocabulary.eos].masked_fill_(found.isneginf().all(1), 0.0)
        return found

    def _joined(self, text: Text, prompt: list[int], added: list[int]) -> str:
        """The user's text, so that unknown words stay in it, and what was added."""
        read = prompt if self._start is None else prompt[1:]
        before, whole = self.vocabulary.decode(read), self.vocabulary.decode([*read, *added])
        if not isinstance(text, str) or not whole.startswith(before):
            return whole
        spaced = (
            text[-1:].isspace() and not before[-1:].isspace()
        )  # the text already has the space before the next word
        return text + whole[len(before) :].removeprefix(" " if spaced else "")


@contextmanager
def predicting(model: Any) -> Iterator[None]:
    """Within it there is no dropout and no gradient; afterwards each module returns to its mode."""
    modules = [module for module in model.modules() if module.training] if isinstance(model, torch.nn.Module) else []
    for module in modules:
        module.training = False
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in modules:
            module.training = True


def _nothing_known(words: Sequence[str], tokens: Sequence[str]) -> str:
    shown = ", ".join(map(repr, words[:5])) + (", …" if len(words) > 5 else "")
    known = set(tokens)
    near = [[word.lower()] if word.lower() in known else get_close_matches(word, tokens, 1) for word in words]
    hint = " ".join(word for found in near for word in found)
    return (
        f"Expected a prompt with a word that the model knows, got {shown}: none is among its {len(tokens):,} words"
        + (f"; did you mean {hint!r}?" if hint else "")
    )
