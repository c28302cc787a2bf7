"""Attributes of keys: counts and others, in tables and in files, compared with gensim."""

from pathlib import Path

import numpy as np
import pytest

from fastrnn.word2vec import KeyedVectors, WordVectors
from tests.word2vec.gensim_vectors import KEYS, MATRIX, random_vectors, twin


def test_an_attribute_of_every_kind(tmp_path: Path) -> None:
    vectors = WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1])
    vectors.set_vecattr("tea", "colour", "green")
    vectors.set_vecattr("dog", "weight", 0.5)
    vectors.set_vecattr("dog", "count", 8)
    assert [vectors.get_vecattr(key, "colour") for key in ("tea", "dog")] == ["green", None]
    assert [vectors.get_vecattr(key, "weight") for key in ("tea", "dog")] == [0.0, 0.5]
    assert vectors.counts is vectors.expandos["count"]
    assert vectors.get_vecattr("dog", "count") == 8
    vectors.add_vectors(["milk", "cat"], np.ones((2, 2)), {"weight": [2, 3], "new": [True, False]})
    assert [vectors.get_vecattr("milk", name) for name in ("count", "colour", "weight", "new")] == [0, None, 2.0, True]
    assert vectors.get_vecattr("cat", "weight") == 0.0  # replace=False: it keeps its own
    vectors.add_vectors(["cat"], np.ones((1, 2)), {"weight": [4]}, replace=True)
    assert vectors.get_vecattr("cat", "weight") == 4.0
    vectors.save(tmp_path / "v")
    loaded = WordVectors.load(tmp_path / "v", mmap="r")
    assert [loaded.get_vecattr(key, "colour") for key in ("tea", "dog")] == ["green", None]
    assert np.array_equal(loaded.expandos["weight"], vectors.expandos["weight"])
    assert WordVectors.read(tmp_path / "v", 2).expandos["count"].tolist() == [9, 8]


def test_an_attribute_is_never_rounded() -> None:
    vectors = WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1])
    for value in (0.5, "many", None):
        with pytest.raises(ValueError, match="'count' has dtype int64, which cannot represent"):
            vectors.set_vecattr("tea", "count", value)
    with pytest.raises(KeyError, match="'milk' is not among"):
        vectors.set_vecattr("milk", "colour", 3)
    assert vectors.get_vecattr("tea", "count") == 5
    assert list(vectors.expandos) == ["count"]


def test_counts_belong_to_one_table() -> None:
    counts = np.array([9, 7, 5, 3, 1])
    vectors = WordVectors(KEYS, MATRIX, counts)
    counts[:] = 0
    assert vectors.get_vecattr("cat", "count") == 9


def test_the_most_frequent_first() -> None:
    vectors = WordVectors(KEYS, MATRIX.copy(), [1, 7, 1, 9, 5])
    vectors.vectors_lockf = np.arange(5, dtype=np.float32)
    vectors.sort_by_descending_frequency()
    assert vectors.index_to_key == ["wine", "dog", "nothing", "cat", "tea"]
    assert vectors.counts is not None
    assert vectors.counts.tolist() == [9, 7, 5, 1, 1]
    assert np.array_equal(vectors["wine"], MATRIX[3])
    assert np.array_equal(vectors.vectors, MATRIX[[3, 1, 4, 0, 2]])
    assert vectors.vectors_lockf.tolist() == [3, 1, 4, 0, 2]
    with pytest.raises(ValueError, match="no counts to sort by"):
        random_vectors(2, 2).sort_by_descending_frequency()


def test_gensim_writes_the_same_files(tmp_path: Path) -> None:
    ours = random_vectors(5, 3)
    theirs = twin(ours)
    for table in (ours, theirs):
        for row, key in enumerate(["w3", "w1", "w4"]):
            table.set_vecattr(key, "count", 10 - row)
            table.set_vecattr(key, "weight", row + 0.5)
    for name, options in {
        "prefix": {"prefix": "en_", "total_vec": 99},
        "attribute": {"sort_attr": "weight"},
        "no attribute": {"sort_attr": "colour"},
        "binary": {"binary": True, "prefix": "p"},
        "no header": {"write_header": False},
    }.items():
        ours.save_word2vec_format(tmp_path / "ours", **options)
        theirs.save_word2vec_format(str(tmp_path / "theirs"), **options)
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes(), name
        ours.save_word2vec_format(tmp_path / "ours", append=True, write_header=False)
        theirs.save_word2vec_format(str(tmp_path / "theirs"), append=True, write_header=False)
        assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes(), name
    ours.sort_by_descending_frequency()
    theirs.sort_by_descending_frequency()
    assert ours.index_to_key[:3] == theirs.index_to_key[:3]


def test_two_tables_in_one_file(tmp_path: Path) -> None:
    file = tmp_path / "both.txt.gz"
    one, other = random_vectors(3, 2), WordVectors(["a", "b"], MATRIX[:2])
    one.save_word2vec_format(file, total_vec=5)
    other.save_word2vec_format(file, append=True, write_header=False)
    both = KeyedVectors.load_word2vec_format(file)
    assert both.index_to_key == ["w0", "w1", "w2", "a", "b"]
    assert np.array_equal(both.vectors, [*one.vectors, *other.vectors])


def test_what_a_file_cannot_hold(tmp_path: Path) -> None:
    vectors = WordVectors(KEYS, MATRIX, [9, 7, 5, 3, 1])
    with pytest.raises(ValueError, match="these vectors have no attribute 'colour'"):
        vectors.save_word2vec_format(tmp_path / "v", fvocab=tmp_path / "counts", sort_attr="colour")
    vectors.set_vecattr("cat", "colour", "black")
    with pytest.raises(ValueError, match="sort_attr='colour' must be a number"):
        vectors.save_word2vec_format(tmp_path / "v", sort_attr="colour")
    with pytest.raises(ValueError, match=r"cannot store the key '', which is empty .* use save\(\)"):
        WordVectors([""], MATRIX[:1]).save_word2vec_format(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"mmap must be True, 'r' or 'c', got 'r\+'"):
        WordVectors.load(tmp_path / "v", mmap="r+")
