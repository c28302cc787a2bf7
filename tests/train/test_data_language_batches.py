"""Contiguous batches: every token is predicted once, after what stands before it in the text."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.data import LanguageBatches


@given(st.integers(1, 7), st.integers(1, 9), st.integers(0, 200), st.sampled_from([0.0, 1.0, 5.0]))
def test_each_token_but_the_first_is_predicted_once(batch: int, steps: int, more: int, jitter: float) -> None:
    count = batch + 1 + more
    data = LanguageBatches(np.arange(count), batch, steps, jitter=jitter, seed=3)
    windows = list(data.epoch(2))
    assert len(windows) == len(data)
    assert [window.first for window in windows] == [True] + [False] * (len(windows) - 1)
    for window in windows:
        assert window.input.dtype == torch.int64
        assert window.input.shape == window.target.shape
        assert len(window.input) > 0
        assert torch.equal(window.target, window.input + 1)
    for before, after in itertools.pairwise(windows):
        assert torch.equal(before.target[-1], after.input[0])  # rows continue in the next window
    predicted = sorted(torch.cat([window.target.flatten() for window in windows]).tolist())
    assert predicted == list(range(1, count - data.left_over))
    assert 0 <= data.left_over < batch
    if not jitter:
        assert all(len(window.input) == steps for window in windows[:-1])


def test_jitter_follows_from_seed_and_epoch() -> None:
    def steps(seed: int, epoch: int) -> list[int]:
        return [len(window.input) for window in LanguageBatches(range(20_001), 2, 70, jitter=5, seed=seed).epoch(epoch)]

    assert steps(1, 0) == steps(1, 0)
    assert steps(1, 0) != steps(1, 1)
    assert steps(1, 0) != steps(2, 0)
    drawn = np.array([step for epoch in range(8) for step in steps(1, epoch)])
    assert 60 < np.median(drawn) < 80
    assert 0.01 < np.mean(drawn < 50) < 0.12  # one in twenty at half
    assert 3 < np.std(drawn[drawn > 50]) < 7


def test_lists_tensors_and_mapped_arrays_give_the_same(tmp_path) -> None:
    tokens = np.memmap(tmp_path / "tokens", np.uint16, "w+", shape=(50,))
    tokens[:] = np.arange(50) * 1000
    expected = [window.target.tolist() for window in LanguageBatches(tokens.tolist(), 3, 4)]
    for other in (tokens, torch.from_numpy(np.array(tokens, np.int64))):
        assert [window.target.tolist() for window in LanguageBatches(other, 3, 4)] == expected


def test_what_is_no_text_is_an_error() -> None:
    with pytest.raises(ValueError, match="20 rows needs at least 21 tokens, got 20"):
        LanguageBatches(range(20), 20, 5)
    for wrong in (np.zeros(30), np.zeros((30, 2), np.int64), "a b c", []):
        with pytest.raises(TypeError, match="integers in one dimension"):
            LanguageBatches(wrong, 2, 5)
    with pytest.raises(ValueError, match="must be at least 1"):
        LanguageBatches(range(20), 0, 5)
