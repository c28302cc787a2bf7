"""Arrays of one shape: each item once an epoch with its label; pictures a row or a pixel a step."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fastrnn.train.data import Arrays

PICTURES = np.random.default_rng(0).integers(0, 256, (23, 4, 5), np.uint8)
LABELS = np.arange(23, dtype=np.uint8)


def test_each_item_once_with_its_label_in_an_order_of_seed_and_epoch() -> None:
    def labels(seed: int, epoch: int) -> list[int]:
        data = Arrays(PICTURES, LABELS, 4, seed=seed, scale=1 / 255)
        batches = list(data.epoch(epoch))
        assert len(batches) == len(data) == 6
        for batch in batches:
            assert batch.input.shape == (4, len(batch.target), 5)
            assert batch.target.dtype == torch.int64
            expected = torch.tensor(PICTURES[batch.target], dtype=torch.float32) / 255
            torch.testing.assert_close(batch.input, expected.transpose(0, 1))
        return torch.cat([batch.target for batch in batches]).tolist()

    assert sorted(labels(0, 0)) == LABELS.tolist()
    assert labels(0, 1) == labels(0, 1)
    assert labels(0, 1) != labels(0, 0)
    assert labels(0, 1) != labels(1, 1)
    kept = torch.cat([batch.target for batch in Arrays(PICTURES, LABELS, 4, shuffle=False)])
    assert kept.tolist() == LABELS.tolist()


def test_a_pixel_a_step_and_a_fixed_permutation() -> None:
    (plain,) = Arrays(PICTURES, LABELS, 23, pixels=True, shuffle=False)
    assert plain.input.shape == (20, 23, 1)
    assert torch.equal(plain.input[..., 0].T, torch.tensor(PICTURES, dtype=torch.float32).flatten(1))
    data = Arrays(PICTURES, LABELS, 23, pixels=True, permuted=3, shuffle=False)
    (permuted,) = data
    assert data.permutation is not None
    assert torch.equal(permuted.input, plain.input[data.permutation])
    assert not torch.equal(permuted.input, plain.input)
    (again,) = Arrays(PICTURES, LABELS, 23, pixels=True, permuted=3, shuffle=False).epoch(5)
    assert torch.equal(again.input, permuted.input)


def test_arrays_mapped_for_reading_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "pictures.npy", PICTURES)
    mapped = Arrays(np.load(tmp_path / "pictures.npy", mmap_mode="r"), torch.from_numpy(LABELS), 4)
    for one, other in zip(mapped.epoch(1), Arrays(PICTURES, LABELS, 4).epoch(1), strict=True):
        assert torch.equal(one.input, other.input)
        assert torch.equal(one.target, other.target)


def test_ids_and_numbers_as_labels() -> None:
    (batch,) = Arrays([[1, 2, 3], [4, 5, 6]], [[0.5], [1.5]], 2, shuffle=False)
    assert batch.input.tolist() == [[1, 4], [2, 5], [3, 6]]
    assert batch.input.dtype == torch.int64
    assert batch.target.tolist() == [[0.5], [1.5]]


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "error", "message"),
    [
        (PICTURES, LABELS[:5], {}, ValueError, "23 items and 5 labels"),
        (PICTURES[:0], LABELS[:0], {}, ValueError, "0 items"),
        (np.zeros((3, 4)), LABELS[:3], {}, TypeError, r"inputs\[..., None\]"),
        (PICTURES, np.zeros(23), {}, TypeError, r"labels\[:, None\]"),
        (np.zeros((23, 1, 4, 5)), LABELS, {}, TypeError, r"got shapes \(23, 1, 4, 5\)"),
        (PICTURES, ["a"] * 23, {}, TypeError, "labels must be numbers"),
        (PICTURES, LABELS, {"batch": 0}, ValueError, "batch must be at least 1"),
    ],
)
def test_what_does_not_fit_is_an_error(
    inputs: Any, labels: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        Arrays(inputs, labels, **{"batch": 4, **options})
