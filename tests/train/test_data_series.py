"""Windows of a series: what the model sees comes before what it predicts, and scaling knows the training part alone."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from fastrnn.train.data import ETT_HOURS, Scaler, Series


def counting(steps: int) -> np.ndarray:
    """(T, 2): the step, and the step from 1000."""
    return np.stack([np.arange(steps), 1000 + np.arange(steps)], axis=1)


def test_windows_lie_in_their_part_and_look_back_but_never_ahead() -> None:
    series = Series(counting(100), 5, 3, batch=8, split=(0.6, 0.2, 0.2), scale=False)
    assert series.parts == [(0, 60), (60, 80), (80, 100)]
    for part, (first, end) in ((series.train, (5, 60)), (series.valid, (60, 80)), (series.test, (80, 100))):
        assert part is not None
        seen = []
        batches = list(part.epoch(1))
        assert len(batches) == len(part)
        for batch in batches:
            assert batch.lengths is None
            for row in range(batch.input.shape[1]):
                start = int(batch.target[row, 0])
                seen.append(start)
                assert batch.input[:, row, 0].tolist() == list(range(start - 5, start))
                assert torch.equal(batch.input[:, row, 1], batch.input[:, row, 0] + 1000)
                steps = range(start, start + 3)
                assert batch.target[row].tolist() == [value for step in steps for value in (step, 1000 + step)]
        assert sorted(seen) == list(range(first, end - 2))
        assert (seen == sorted(seen)) == (part is not series.train)


def test_the_order_follows_from_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list[float]:
        part = Series(np.arange(100), 5, seed=seed, scale=False).train
        return [value for batch in part.epoch(epoch) for value in batch.target[:, 0].tolist()]

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_scaling_is_of_the_training_part_and_goes_back() -> None:
    values = np.random.default_rng(0).normal(5, 3, (200, 3))
    values[:, 2] = 0.1  # rounding gives it a deviation of 1e-17
    values[150:] += 100  # what validation and test hold must not show
    series = Series(values, 4, 2, batch=300, split=(100, 50, 50), targets=[1, 2])
    assert series.scaler is not None
    np.testing.assert_allclose(series.scaler.mean, values[:100].mean(0))
    np.testing.assert_allclose(series.scaler.deviation, [*values[:100, :2].std(0), 1.0])
    train = series.values[:100]
    torch.testing.assert_close(train.mean(0), torch.zeros(3), atol=1e-6, rtol=0)
    torch.testing.assert_close(train[:, :2].std(0, correction=0), torch.ones(2))
    assert series.test is not None
    (batch,) = series.test
    np.testing.assert_allclose(series.inverse(batch.target)[:, 0], values[150:199, 1:], rtol=1e-5)
    np.testing.assert_allclose(series.inverse(batch.target)[:, 1], values[151:200, 1:], rtol=1e-5)
    again = Scaler.from_config(json.loads(json.dumps(series.scaler.config())))
    assert np.array_equal(again.transform(values), series.scaler.transform(values))
    with pytest.raises(ValueError, match="expected 3 columns"):
        again.transform(values[:, :2])


def test_the_usual_parts_of_ett() -> None:
    series = Series(np.zeros((17420, 7)), 96, 24, batch=1000, split=ETT_HOURS)
    assert series.parts == [(0, 8640), (8640, 11520), (11520, 14400)]
    assert series.valid is not None
    assert (len(series.train.starts), len(series.valid.starts)) == (8640 - 96 - 24 + 1, 2880 - 24 + 1)


def test_a_part_may_be_left_out() -> None:
    series = Series(np.arange(20.0), 3, split=(0.8, 0.2, 0.0))
    assert series.test is None
    assert series.valid is not None
    assert Series(np.arange(20), 3, split=(20, 0, 0)).valid is None
    for whole in (1, 1.0):
        assert Series(np.arange(20), 3, split=(whole, 0, 0)).parts == [(0, 20), (20, 20), (20, 20)]
    assert Series(np.arange(20), 3, split=(12.0, 8.0, 0.0)).parts == [(0, 12), (12, 20), (20, 20)]


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([1.0, float("nan"), 2.0], {}, "step 1, column 0 is nan"),
        (np.arange(20), {"split": (0.5, 0.2, 0.2)}, "sum to 1"),
        (np.arange(20), {"split": (0.5, 0.5)}, "three shares"),
        (np.arange(20), {"split": (10, 10, 1)}, "needs 21 steps, and the series has 20"),
        (np.arange(20), {"window": 14}, "training part has 14 steps from step 0 on; a window of 14 .* need 15"),
        (np.arange(20), {"horizon": 3}, "validation part has 2 steps from step 14 on; .* need 3"),
        (np.arange(20), {"targets": [1]}, r"columns from 0 to 0, got \[1\]"),
        (np.arange(20), {"targets": []}, "columns from 0 to 0"),
        (np.arange(20), {"window": 0}, "must be at least 1"),
    ],
)
def test_what_cannot_be_cut_is_an_error(values: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Series(values, **{"window": 4, **options})


def test_what_is_no_series_is_an_error() -> None:
    for wrong in ("abc", [], np.zeros((2, 3, 4))):
        with pytest.raises(TypeError, match="a series must be"):
            Series(wrong, 4)
