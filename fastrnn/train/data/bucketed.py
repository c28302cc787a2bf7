"""Batches of sequences of different lengths, grouped by length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import torch

from fastrnn.train.data import collating, order
from fastrnn.train.data.batch import Captioned, Labelled, Pairs, Tagged
from fastrnn.train.data.collating import as_columns, as_label, as_numbers, as_sequence, lengths, padded

Batch = Labelled | Tagged | Pairs | Captioned

# Sequences of similar length are grouped within random pools of this many batches. A larger pool means less padding and
# less random batches.
POOL = 50


class Bucketed:
    """Batches of items with two parts. Sorting is not needed; the parts of an item stay together.

    Each epoch shuffles the items, groups them by length, and shuffles the batches; its order depends on the seed and
    its number. The last batch may be smaller; no item is dropped.

    Args:
        items: pairs of a first and a second part:

            =========  =========================  =====================================================
            into       first                      second
            =========  =========================  =====================================================
            Labelled   ids (T,) or numbers (T,F)  an integer, or numbers (F,)
            Tagged     ids (T,) or numbers (T,F)  as many: integers (T,), -100 for none; or numbers (T,F)
            Pairs      ids (S,)                   ids (U,), from <bos> to <eos>
            Captioned  numbers (C,H,W) or (F,)    ids (U,), from <bos> to <eos>
            =========  =========================  =====================================================

        batch: items in a batch, B.
        into: the class of the batches.
        seed: of the order.
        shuffle: False keeps the order of the items, for evaluation.
        pad: id of the padding; ``target_pad`` that of targets, by default the same. Padding is never read.
        columns: the first parts of Labelled or Tagged are (T, C) with C ids for each step, such as a word and its part
            of speech; they stay integers.
        one_hot: number of ids; turns the ids of Labelled or Tagged into one-hot vectors (T, B, one_hot).

    Raises:
        ValueError: there are no items, a sequence is empty, or the two parts of a tagged item differ in length.
        TypeError: a part is not of the kind in the table.
    """

    def __init__(
        self,
        items: Iterable[tuple[Any, Any]],
        batch: int,
        *,
        into: type[Batch],
        seed: int = 0,
        shuffle: bool = True,
        pad: int = 0,
        target_pad: int | None = None,
        one_hot: int | None = None,
        columns: bool = False,
    ) -> None:
        if into not in _PARTS:
            raise TypeError(f"into must be Labelled, Tagged, Pairs or Captioned, got {into!r}")
        if batch < 1:
            raise ValueError(f"batch must be at least 1, got {batch}")
        self.batch, self.into, self.seed, self.shuffle = batch, into, seed, shuffle
        self.pad, self.target_pad, self.one_hot = pad, pad if target_pad is None else target_pad, one_hot
        if columns and into not in (Labelled, Tagged):
            raise TypeError("columns=True works for Labelled and Tagged batches only")
        self.items = [_checked(item, into, i, columns) for i, item in enumerate(items)]
        if not self.items:
            raise ValueError("expected at least one item, got none")
        _check_alike([first for first, _ in self.items], "first part", ragged=into is not Captioned)
        _check_alike([second for _, second in self.items], "second part", ragged=into is not Labelled)
        if one_hot is not None and (into not in (Labelled, Tagged) or self.items[0][0].ndim != 1):
            raise TypeError("one_hot works for ids (T,) of Labelled and Tagged batches only")
        self._lengths = np.array(
            [(len(second), 0) if into is Captioned else (len(first), np.size(second)) for first, second in self.items]
        )

    def __len__(self) -> int:
        return -(-len(self.items) // self.batch)

    def order(self, number: int) -> list[np.ndarray]:
        """The indices of the items of each batch of an epoch."""
        count = len(self.items)
        if not self.shuffle:
            return order.batches(np.arange(count), self.batch)
        random = order.generator(self.seed, number)
        batches = []
        for pool in order.batches(random.permutation(count), POOL * self.batch):
            first, second = self._lengths[pool].T
            batches += order.batches(pool[np.lexsort((second, first))], self.batch)
        return [batches[i] for i in random.permutation(len(batches))]

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch."""
        for places in self.order(number):
            firsts, seconds = zip(*(self.items[place] for place in places), strict=True)
            yield self._collate(firsts, seconds)

    def __iter__(self) -> Iterator[Batch]:
        return self.epoch(0)

    def _collate(self, firsts: tuple[np.ndarray, ...], seconds: tuple[np.ndarray, ...]) -> Batch:
        if self.into is Captioned:
            pictures = torch.from_numpy(np.stack(firsts)).to(torch.get_default_dtype())
            return Captioned(pictures, padded(seconds, self.target_pad), lengths(seconds))
        inputs, ends = padded(firsts, self.pad), lengths(firsts)
        if self.one_hot is not None:
            inputs = collating.one_hot(inputs, self.one_hot)
        if self.into is Pairs:
            return Pairs(inputs, ends, padded(seconds, self.target_pad), lengths(seconds))
        if self.into is Tagged:
            return Tagged(inputs, ends, padded(seconds, collating.IGNORED if seconds[0].ndim == 1 else 0))
        return Labelled(inputs, ends, torch.from_numpy(np.stack(seconds)))


_PARTS: dict[type[Batch], tuple[Callable[[Any, str], np.ndarray], Callable[[Any, str], np.ndarray]]] = {
    Labelled: (as_sequence, as_label),
    Tagged: (as_sequence, as_sequence),
    Pairs: (as_sequence, as_sequence),
    Captioned: (as_numbers, as_sequence),
}


def _checked(item: Any, into: type[Batch], place: int, columns: bool) -> tuple[np.ndarray, np.ndarray]:
    try:
        first, second = item
    except (TypeError, ValueError):
        raise TypeError(f"items must be pairs (first, second), but item {place} is {item!r:.80}") from None
    of_first, of_second = _PARTS[into]
    first = (as_columns if columns else of_first)(first, f"the first part of item {place}")
    second = of_second(second, f"the second part of item {place}")
    if into is Tagged and len(first) != len(second):
        raise ValueError(f"item {place} has {len(first)} steps and {len(second)} targets; each step needs one target")
    if (into is Pairs and (first.ndim, second.ndim) != (1, 1)) or (into is Captioned and second.ndim != 1):
        raise TypeError(f"{into.__name__} needs sequences of ids (T,), but item {place} has numbers")
    return first, second


def _check_alike(arrays: list[np.ndarray], part: str, ragged: bool) -> None:
    """Checks that all arrays have one dtype and one shape, except for the first dimension of ragged ones."""
    shapes = [(each.shape[1:] if ragged else each.shape, each.dtype, each.ndim) for each in arrays]
    other = next((i for i, shape in enumerate(shapes) if shape != shapes[0]), None)
    if other is not None:
        raise ValueError(
            f"the {part} of item {other} is {arrays[other].dtype} of shape {arrays[other].shape}, "
            f"that of item 0 {arrays[0].dtype} of shape {arrays[0].shape}; items of one batch must agree"
        )
