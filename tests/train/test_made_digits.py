"""Drawn digits are told apart by their shapes, and strips show what their captions say."""

import numpy as np
import pytest

from fastrnn.train.data.made.digits import digits, strips


def shape_of(picture: np.ndarray) -> bytes:
    """What is drawn, wherever it is and however dark."""
    rows, columns = np.nonzero(picture)
    cut = picture[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] > 0
    return bytes([cut.shape[0], *np.packbits(cut)])


def test_each_digit_has_a_thin_and_a_thick_shape_of_its_own() -> None:
    pictures, labels = digits(400, noise=0.0)
    assert pictures.shape == (400, 28, 28)
    shapes = [{shape_of(picture) for picture in pictures[labels == digit]} for digit in range(10)]
    assert [len(found) for found in shapes] == [2] * 10
    assert len(set.union(*shapes)) == 20


def test_places_and_darkness_vary() -> None:
    pictures, _ = digits(200, noise=0.0)
    assert pictures.any(axis=(0, 2)).all(), "every row of the picture is drawn on by some"
    assert pictures.any(axis=(0, 1)).all(), "and every column"
    assert len(np.unique(pictures.max(axis=(1, 2)))) > 100


def test_noise_seed_and_range() -> None:
    pictures, labels = digits(50, noise=0.3, seed=3)
    again = digits(50, noise=0.3, seed=3)
    assert (pictures == again.pictures).all()
    assert (labels == again.labels).all()
    assert not (pictures == digits(50, noise=0.3, seed=4).pictures).all()
    assert pictures.dtype == np.float32
    assert pictures.min() == 0.0
    assert pictures.max() == 1.0


def test_strips_show_what_their_captions_say() -> None:
    pictures = np.arange(1.0, 11.0, dtype=np.float32)[:, None, None] * np.ones((10, 28, 28), np.float32)
    wide, captions = strips(pictures, np.arange(10), 300, digits=4, shortest=2)
    assert wide.shape == (300, 1, 28, 112)
    words = "zero one two three four five six seven eight nine".split()  # noqa: SIM905
    for picture, caption in zip(wide, captions, strict=True):
        said = [words.index(word) + 1 for word in caption.split()]
        shown = picture[0].reshape(28, 4, 28)
        assert (shown == np.array(said + [0] * (4 - len(said)))[:, None]).all()
    assert {len(caption.split()) for caption in captions} == {2, 3, 4}


def test_strips_of_nothing() -> None:
    with pytest.raises(ValueError, match="Expected one label for each picture, got 0 pictures and 0 labels"):
        strips(np.empty((0, 28, 28), np.float32), np.empty(0, np.int64), 3)
    with pytest.raises(ValueError, match="from 1 to digits=3, got 4"):
        strips(*digits(5), 3, shortest=4)
