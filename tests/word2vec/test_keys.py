"""String and integer keys, empty tables, read-only vectors, and vectors that are not finite."""

import copy
import math
import pickle
from pathlib import Path

import numpy as np
import pytest

from fastrnn.word2vec import KeyedVectors, WordVectors
from fastrnn.word2vec.vectors.word_movers import transport_cost
from tests.word2vec.gensim_vectors import KEYS, MATRIX, random_vectors, same, twin


def test_an_integer_that_is_a_key_is_no_row(tmp_path: Path) -> None:
    vectors = WordVectors([2, 1, np.int64(40)], np.eye(3))
    assert vectors.index_to_key == [2, 1, 40]
    assert vectors[2].tolist() == vectors[np.int64(2)].tolist() == [1, 0, 0]
    assert vectors[[40, 1]].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert 0 not in vectors
    with pytest.raises(KeyError, match="0 is not among the 3 keys"):
        vectors[0]
    same(vectors.most_similar(2, topn=2), [(1, 0), (40, 0)])
    vectors.add_vector(0, np.ones(3))
    assert vectors.index_to_key[vectors.get_index(0)] == 0
    vectors.save(tmp_path / "v")
    assert WordVectors.load(tmp_path / "v").index_to_key == [2, 1, 40, 0]
    vectors.save_word2vec_format(tmp_path / "v.txt")
    assert WordVectors.load_word2vec_format(tmp_path / "v.txt").index_to_key == ["2", "1", "40", "0"]


def test_among_strings_an_integer_is_a_row() -> None:
    vectors = WordVectors(["a", "b"], np.eye(2))
    assert vectors[1].tolist() == [0, 1]
    vectors[1] = [3, 4]
    vectors[[np.int64(0), "c"]] = np.ones((2, 2))
    assert vectors.index_to_key == ["a", "b", "c"]
    assert vectors.vectors.tolist() == [[1, 1], [3, 4], [1, 1]]
    with pytest.raises(KeyError, match="the integer 7 means a row, but there are 3 rows; for a new key use '7'"):
        vectors[7] = [0, 0]
    vectors = KeyedVectors(2)
    vectors.add_vectors([7, "c"], np.eye(2))
    assert vectors[7].tolist() == [1, 0]
    assert 1 not in vectors
    for key in (None, 1.5, ("a", "b"), True):
        with pytest.raises(TypeError, match=r"str or int, got .*; convert it, for example with str\(key\)"):
            WordVectors([key], np.ones((1, 2)))


def test_a_table_that_begins_empty() -> None:
    for vectors in (KeyedVectors(2), KeyedVectors(2, 7), KeyedVectors(vector_size=2, count=7, dtype=np.float32)):
        assert (len(vectors), vectors.vector_size) == (0, 2)
        vectors.add_vectors(KEYS, MATRIX)
        same(vectors.most_similar("cat", topn=1), [("dog", math.sqrt(0.5))])
    assert KeyedVectors is WordVectors
    with pytest.raises(ValueError, match=r"dtype must be float32, got dtype=<class 'numpy.float16'>"):
        KeyedVectors(2, dtype=np.float16)
    with pytest.raises(TypeError, match="takes keys and their vectors, or a vector_size"):
        KeyedVectors()
    with pytest.raises(TypeError, match="takes keys and their vectors, or a vector_size"):
        KeyedVectors(["a"])


def test_a_vector_is_no_way_into_the_table() -> None:
    vectors = WordVectors(KEYS, MATRIX.copy())
    for vector in (vectors["cat"], vectors.get_vector("cat"), vectors.word_vec("cat"), vectors[0]):
        with pytest.raises(ValueError, match="read-only"):
            vector += 1
    several = vectors[["cat"]]
    several += 1
    unit = vectors.get_vector("cat", norm=True)
    unit += 1
    assert np.array_equal(vectors.vectors, MATRIX)


def test_rows_that_are_not_finite_are_never_neighbours() -> None:
    vectors = random_vectors(1000, 8)
    vectors.vectors[990:] = np.nan
    vectors.vectors[5] = np.inf
    vectors.fill_norms(force=True)
    finite = WordVectors(vectors.index_to_key[:990], vectors.vectors[:990].copy())
    finite.vectors[5] = 0  # at a right angle to all
    finite.fill_norms(force=True)
    for topn in (10, 988):
        expected = [pair for pair in finite.most_similar("w1", topn=topn + 1) if pair[0] != "w5"]
        same(vectors.most_similar("w1", topn=topn), expected[:topn])
    assert len(vectors.most_similar("w1", topn=2000)) == 988
    assert len(vectors.most_similar_cosmul("w1", "w2", topn=10)) == 10
    assert np.isnan(vectors.most_similar("w1", topn=None)[[5, 990, 999]]).all()
    for query in ({"positive": "w995"}, {"positive": ["w1", "w5"]}, {"positive": vectors["w995"]}):
        with pytest.raises(ValueError, match="query with finite vectors, got NaN or infinity"):
            vectors.most_similar(**query)
        with pytest.raises(ValueError, match="query with finite vectors, got NaN or infinity"):
            vectors.most_similar_cosmul(**query)
    for call in (
        lambda: vectors.doesnt_match(["w1", "w2", "w995"]),
        lambda: vectors.closer_than("w1", "w995"),
        lambda: vectors.rank("w995", "w1"),
        lambda: vectors.most_similar_to_given("w1", ["w2", "w5"]),
    ):
        with pytest.raises(ValueError, match=r"keys with finite vectors, got NaN or infinity in the vectors of .*w"):
            call()
    assert "w995" not in vectors.closer_than("w1", "w2")


def test_two_keys_are_compared_as_they_are_now() -> None:
    vectors = WordVectors(KEYS, MATRIX.copy())
    vectors.most_similar("cat")
    vectors.vectors *= 100  # and fill_norms is forgotten
    assert vectors.similarity("cat", "dog") == pytest.approx(math.sqrt(0.5))


def test_copies_have_their_own_vectors() -> None:
    vectors = WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1])
    vectors.most_similar("cat")
    for other in (pickle.loads(pickle.dumps(vectors)), copy.deepcopy(vectors)):
        other["cat"] = [0, 1]
        same(other.most_similar("cat", topn=1), [("tea", 1)])
        assert other.get_vecattr("dog", "count") == 7
    same(vectors.most_similar("cat", topn=1), [("dog", math.sqrt(0.5))])


def test_older_names() -> None:
    vectors = random_vectors(30, 4)
    same(vectors.similar_by_key(key="w3", topn=3), vectors.similar_by_word(word="w3", topn=3))
    assert vectors.words_closer_than(word1="w1", word2="w2") == vectors.closer_than("w1", "w2")
    vectors.init_sims()
    assert not np.allclose(np.linalg.norm(vectors.vectors, axis=1), 1)
    vectors.init_sims(replace=True)
    assert np.linalg.norm(vectors.vectors, axis=1) == pytest.approx(1)


def test_gensim_has_the_same_relative_similarity() -> None:
    ours = random_vectors(50, 6)
    theirs = twin(ours)
    for topn in (3, 10):
        expected = theirs.relative_cosine_similarity("w1", "w2", topn)
        assert ours.relative_cosine_similarity("w1", "w2", topn) == pytest.approx(expected, rel=1e-5)


def test_word_movers_distance_by_hand() -> None:
    vectors = WordVectors(["a", "b", "c", "far"], np.array([[0, 1], [1, 0], [0, 3], [4, 4]]))
    root = math.sqrt(2)
    assert vectors.wmdistance(["a"], ["b"]) == pytest.approx(root)
    assert vectors.wmdistance(["a"], ["c"]) == pytest.approx(0, abs=1e-6)  # of one direction
    assert vectors.wmdistance(["a"], ["c"], norm=False) == pytest.approx(2)
    assert vectors.wmdistance(["a", "b", "gone"], ["b", "a"]) == pytest.approx(0, abs=1e-6)
    # Two thirds of a stay there, where half of the other document is; the rest of it goes to b.
    assert vectors.wmdistance(["a", "a", "b"], ["a", "b"]) == pytest.approx(root / 6)
    assert vectors.wmdistance(["a"], ["gone"]) == math.inf
    with pytest.raises(TypeError, match=r"documents as lists of words, got 'a b'; use document.split\(\)"):
        vectors.wmdistance("a b", ["a"])


def test_the_optimal_transport_on_a_line_is_the_distance_of_the_distributions() -> None:
    stats = pytest.importorskip("scipy.stats")
    generator = np.random.default_rng(3)
    for n, m in ((1, 4), (5, 3), (12, 30)):
        x, y = generator.normal(size=n), generator.normal(size=m)
        a, b = generator.dirichlet(np.ones(n)), generator.dirichlet(np.ones(m))
        expected = stats.wasserstein_distance(x, y, a, b)
        assert transport_cost(abs(x[:, None] - y), a, b) == pytest.approx(expected, abs=1e-7)
