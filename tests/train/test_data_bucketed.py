"""Bucketed batches: each item once an epoch, its parts together, in an order that follows from seed and number."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.data import Bucketed, Captioned, Labelled, Pairs, Tagged, one_hot


def pairs(count: int, longest: int = 30) -> list[tuple[list[int], list[int]]]:
    """Each sequence holds its item's number, so that one can tell where it came from."""
    random = np.random.default_rng(1)
    return [([i + 1] * random.integers(1, longest), [-(i + 1)] * random.integers(1, longest)) for i in range(count)]


@given(st.integers(1, 60), st.integers(1, 9), st.booleans(), st.integers(0, 3))
def test_each_item_is_there_once_and_its_parts_stay_together(count: int, batch: int, shuffle: bool, epoch: int) -> None:
    items = pairs(count)
    data = Bucketed(items, batch, into=Pairs, shuffle=shuffle, pad=0)
    seen = []
    batches = list(data.epoch(epoch))
    assert len(batches) == len(data)
    for source, source_lengths, target, target_lengths in batches:
        assert source_lengths.dtype == torch.int64
        assert source.shape == (int(source_lengths.max()), len(source_lengths))
        for row, (length, target_length) in enumerate(zip(source_lengths, target_lengths, strict=True)):
            item = int(source[0, row]) - 1
            seen.append(item)
            assert (source[:length, row].tolist(), target[:target_length, row].tolist()) == items[item]
            assert not source[length:, row].any()
            assert not target[target_length:, row].any()
    assert sorted(seen) == list(range(count))
    if not shuffle:
        assert seen == list(range(count))
    assert np.concatenate(data.order(epoch)).tolist() == seen


def test_similar_lengths_come_together_and_batches_in_any_order() -> None:
    lengths = np.random.default_rng(2).integers(1, 100, 4000)
    data = Bucketed([([1] * length, 0) for length in lengths], 20, into=Labelled, seed=5)
    read = [batch.lengths for batch in data.epoch(0)]
    padding = 1 - lengths.sum() / sum(int(each.max()) * len(each) for each in read)
    assert padding < 0.02  # 0.47 without buckets
    means = np.array([float(each.double().mean()) for each in read])
    assert abs(np.corrcoef(means[:-1], means[1:])[0, 1]) < 0.3

    again = Bucketed([([1] * length, 0) for length in lengths], 20, into=Labelled, seed=5)
    other = Bucketed([([1] * length, 0) for length in lengths], 20, into=Labelled, seed=6)

    def order(of: Bucketed, epoch: int) -> list[int]:
        return np.concatenate(of.order(epoch)).tolist()

    assert order(data, 3) == order(again, 3)
    assert order(data, 3) != order(data, 4)
    assert order(data, 3) != order(other, 3)


def test_labels_are_integers_or_numbers() -> None:
    (batch,) = Bucketed([([1, 2, 3], 1), ([4], 0)], 2, into=Labelled, shuffle=False)
    assert batch.input.tolist() == [[1, 4], [2, 0], [3, 0]]
    assert batch.lengths.tolist() == [3, 1]
    assert batch.target.tolist() == [1, 0]
    assert batch.target.dtype == torch.int64
    (batch,) = Bucketed([(np.ones((2, 3)), 0.5), (np.ones((1, 3)), 1.5)], 2, into=Labelled, shuffle=False)
    assert batch.input.shape == (2, 2, 3)
    assert batch.input.dtype == torch.float32
    assert batch.target.tolist() == [[0.5], [1.5]]
    assert batch.target.dtype == torch.float32


def test_tags_beyond_the_end_are_not_targets() -> None:
    (batch,) = Bucketed([([1, 2, 3], [5, 6, 7]), ([4], [8])], 2, into=Tagged, shuffle=False, pad=9)
    assert batch.input.tolist() == [[1, 4], [2, 9], [3, 9]]
    assert batch.target.tolist() == [[5, 8], [6, -100], [7, -100]]
    rolls = [torch.eye(4, dtype=torch.uint8), torch.eye(3, 4, dtype=torch.uint8)]
    (batch,) = Bucketed([(roll[:-1], roll[1:]) for roll in rolls], 2, into=Tagged, shuffle=False)
    assert batch.target.dtype == torch.float32
    assert torch.equal(batch.target[:, 0], torch.eye(4)[1:])
    assert torch.equal(batch.target[:2, 1], torch.eye(4)[1:3])


def test_pictures_with_captions() -> None:
    items: list[Any] = [(torch.full((1, 2, 2), float(i)), [1, *[i + 3] * i, 2]) for i in range(5)]
    for batch in Bucketed(items, 2, into=Captioned, pad=0).epoch(1):
        assert batch.input.shape[1:] == (1, 2, 2)
        for row, length in enumerate(batch.target_lengths):
            i = int(batch.input[row, 0, 0, 0])
            assert batch.target[:length, row].tolist() == items[i][1]


def test_one_hot_inputs_hold_what_index_inputs_hold() -> None:
    items = [([1, 2, 3], 1), ([4], 0)]
    (index,) = Bucketed(items, 2, into=Labelled, shuffle=False)
    (vectors,) = Bucketed(items, 2, into=Labelled, shuffle=False, one_hot=5)
    assert vectors.input.shape == (3, 2, 5)
    assert torch.equal(vectors.input.sum(-1), torch.ones(3, 2))
    assert torch.equal(vectors.input.argmax(-1), index.input)
    for wrong in ([5], [-1]):
        with pytest.raises(ValueError, match="within 0 to 4, got"):
            one_hot(torch.tensor(wrong), 5)
    with pytest.raises(TypeError, match="one_hot works for ids"):
        Bucketed([([1], [1])], 1, into=Pairs, one_hot=3)


@pytest.mark.parametrize(
    ("items", "into", "error", "message"),
    [
        ([], Labelled, ValueError, "at least one item"),
        ([([1], 0), ([], 0)], Labelled, ValueError, "first part of item 1 is an empty sequence"),
        ([([1, 2], [1])], Tagged, ValueError, "item 0 has 2 steps and 1 targets"),
        ([([0.5], 0)], Labelled, TypeError, r"float64 of shape \(1,\).*values\[:, None\]"),
        ([([1], "good")], Labelled, TypeError, "second part of item 0 must be an integer or numbers.*'good'"),
        ([("ab", [1])], Pairs, TypeError, "first part of item 0 must be ids"),
        ([([[1], [2, 3]], [1])], Pairs, TypeError, "first part of item 0 must be ids"),
        ([([[1.0]], [1])], Pairs, TypeError, "item 0 has numbers"),
        ([([1], 0), ([1], 0.5)], Labelled, ValueError, "second part of item 1 is float32"),
        ([([[1.0]], 0), ([[1.0, 2.0]], 0)], Labelled, ValueError, r"item 1 is float32 of shape \(1, 2\)"),
        ([(np.ones((1, 2, 2)), [1]), (np.ones((1, 2, 3)), [1])], Captioned, ValueError, r"item 1 .*\(1, 2, 3\)"),
        ([5], Labelled, TypeError, "item 0 is 5"),
        ([([1], 0)], list, TypeError, "into must be Labelled"),
    ],
)
def test_what_does_not_fit_is_named(items: Any, into: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Bucketed(items, 2, into=into)


def test_columns_of_ids_stay_ids() -> None:
    """A word and its part of speech at each step; without ``columns``, numbers (T, F) become floats."""
    items = [(torch.tensor([[5, 1], [6, 2], [7, 3]]), [0, 1, 2]), (torch.tensor([[8, 4]]), [3])]
    (batch,) = Bucketed(items, 2, into=Tagged, shuffle=False, columns=True)
    assert batch.input.dtype == torch.int64
    assert batch.input.tolist() == [[[5, 1], [8, 4]], [[6, 2], [0, 0]], [[7, 3], [0, 0]]]
    assert batch.target.tolist() == [[0, 3], [1, -100], [2, -100]]
    (numbers,) = Bucketed(items, 2, into=Tagged, shuffle=False)
    assert numbers.input.dtype == torch.float32
    with pytest.raises(TypeError, match=r"the first part of item 1 must be columns \(T, C\) of integers, got int64"):
        Bucketed([items[0], ([1, 2], [3, 4])], 2, into=Tagged, columns=True)
    with pytest.raises(TypeError, match="columns=True works for Labelled and Tagged batches only"):
        Bucketed([([1], [1])], 1, into=Pairs, columns=True)
