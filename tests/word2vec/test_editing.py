"""Adding, replacing and selecting vectors of a table, compared with gensim."""

import numpy as np
import pytest

from fastrnn.word2vec import WordVectors
from tests.word2vec.gensim_vectors import KEYS, MATRIX, random_vectors, same, twin

NEW = np.array([[0.0, 1.0], [5.0, 5.0]])


@pytest.fixture
def five(device: str) -> WordVectors:
    return WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1], device=device)


def test_new_keys_come_behind_and_old_ones_stay(five: WordVectors) -> None:
    five.fill_norms()
    five.add_vectors(["milk", "cat"], NEW)
    assert five.index_to_key == [*KEYS, "milk"]
    assert np.array_equal(five.vectors, [*MATRIX, NEW[0]])
    assert five.get_vecattr("milk", "count") == 0
    same(five.most_similar("milk", topn=1), [("tea", 1)])
    assert five.add_vector("water", NEW[1]) == 6
    assert np.array_equal(five["water"], [5, 5])
    five.add_vectors(["beer", "tea"], NEW, {"count": [4, 2]}, replace=True)
    assert [five.get_vecattr(key, "count") for key in ("beer", "tea", "water")] == [4, 2, 0]
    assert np.array_equal(five[["beer", "tea"]], NEW)


def test_keys_are_assigned_to(five: WordVectors) -> None:
    matrix = five.vectors
    five["cat"] = [0, 7]
    assert np.array_equal(matrix[0], [0, 7])  # in the matrix that is here: a model goes on from it
    same(five.most_similar("cat", topn=1), [("tea", 1)])
    five[["dog", "milk"]] = NEW
    assert np.array_equal(five[["dog", "milk"]], NEW)
    five.unit_normalize_all()
    assert five.vectors[:2].tolist() == [[0, 1], [0, 1]]
    assert five.vectors[4].tolist() == [0, 0]


def test_what_does_not_fit_changes_nothing(five: WordVectors) -> None:
    for keys, rows, extras, message in (
        (["milk"], NEW, None, r"got 1 keys \(1 distinct\) and shape \[2, 2\]"),
        (["milk", "beer"], NEW[:, :1], None, r"vectors of shape \[keys, 2\]"),
        (["milk", "milk"], NEW, None, r"got 2 keys \(1 distinct\)"),
        (["milk", "beer"], NEW, {"count": [1]}, r"Expected 2 values of 'count', one per key, got shape \[1\]"),
        (["milk", "beer"], NEW, {"count": [1, 0.5]}, "'count' has dtype int64, which cannot represent .*0.5"),
    ):
        with pytest.raises(ValueError, match=message):
            five.add_vectors(keys, rows, extras)
    assert five.index_to_key == KEYS
    assert len(five.vectors) == 5
    assert five.counts is not None
    assert five.counts.tolist() == [9, 7, 5, 3, 1]


def test_the_vectors_of_some_keys(five: WordVectors) -> None:
    some = five.vectors_for_all(["tea", "milk", "cat", "tea"])
    assert some.index_to_key == ["tea", "cat"]
    assert np.array_equal(some.vectors, MATRIX[[2, 0]])
    assert some.get_vecattr("tea", "count") == 5
    some["tea"] = [1, 1]
    assert np.array_equal(five["tea"], MATRIX[2])


def test_gensim_makes_the_same_table() -> None:
    ours = random_vectors(9, 4)
    theirs = twin(ours)
    more = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    for table in (ours, theirs):
        table.add_vectors(["a", "w3"], more[:2])
        table.add_vectors(["b", "w4"], more[:2], replace=True)
        table["w5"] = more[2]
        table["c"] = more[1]
    assert ours.index_to_key == theirs.index_to_key
    assert np.array_equal(ours.vectors, theirs.vectors)
    some = theirs.vectors_for_all(["b", "gone", "w1"])
    assert ours.vectors_for_all(["b", "gone", "w1"]).index_to_key == some.index_to_key
    assert np.array_equal(ours.vectors_for_all(["b", "gone", "w1"]).vectors, some.vectors)
    ours.unit_normalize_all()
    theirs.unit_normalize_all()
    assert ours.vectors == pytest.approx(theirs.vectors, abs=1e-6)
