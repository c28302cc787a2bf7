"""WordVectors: what similarity means, checked by hand, and that gensim says the same of the same vectors."""

from typing import Any

import numpy as np
import pytest
import torch

from fastrnn.word2vec import WordVectors, similarity

KEYS = ["cat", "dog", "tea", "wine", "nothing"]
MATRIX = np.array([[2, 0], [1, 1], [0, 3], [-1, 1], [0, 0]], dtype=np.float32)
ROOT = float(np.sqrt(0.5))


@pytest.fixture
def five(device: str) -> WordVectors:
    return WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1], device=device)


def random_vectors(rows: int, size: int, device: str = "cpu") -> WordVectors:
    numbers = np.random.default_rng(1).standard_normal((rows, size)).astype(np.float32)
    return WordVectors([f"w{row}" for row in range(rows)], numbers, device=device)


def twin(vectors: WordVectors) -> Any:
    """gensim's KeyedVectors with the same keys and vectors."""
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")
    theirs = models.KeyedVectors(vectors.vector_size)
    theirs.add_vectors(vectors.index_to_key, vectors.vectors.copy())
    return theirs


def same(ours: list[tuple[str, float]], theirs: list[tuple[str, float]]) -> None:
    assert [key for key, _ in ours] == [key for key, _ in theirs]
    assert [value for _, value in ours] == pytest.approx([value for _, value in theirs], abs=1e-6)


def test_keys_and_rows_name_the_same_vectors(five: WordVectors) -> None:
    assert len(five) == 5
    assert five.vector_size == 2
    assert five.key_to_index["tea"] == 2
    assert "tea" in five
    assert 4 in five
    assert "milk" not in five
    assert 5 not in five
    assert np.array_equal(five["tea"], [0, 3])
    assert np.array_equal(five[2], five["tea"])
    assert np.array_equal(five[["tea", "cat"]], [[0, 3], [2, 0]])
    assert five[[]].shape == (0, 2)
    assert np.array_equal(five.get_vector("tea", norm=True), [0, 1])
    assert five.get_index("milk", -1) == -1
    assert five.get_vecattr("dog", "count") == 7
    with pytest.raises(KeyError, match="'milk' is not among the 5 keys"):
        five["milk"]
    with pytest.raises(KeyError, match=r"'colour' is not known.*known: 'count'"):
        five.get_vecattr("dog", "colour")
    with pytest.raises(KeyError, match="known: none"):
        random_vectors(2, 2).get_vecattr("w0", "count")


def test_what_makes_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="differ, got 'a' more than once"):
        WordVectors(["a", "b", "a"], np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"shape \[3, D\], got \[2, 2\]"):
        WordVectors(["a", "b", "c"], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"Expected 1 counts, one a key, got shape \[2\]"):
        WordVectors(["a"], np.zeros((1, 2)), [1, 2])


def test_most_similar_by_hand(five: WordVectors) -> None:
    same(five.most_similar("cat", topn=1), [("dog", ROOT)])
    assert sorted(key for key, _ in five.most_similar("cat")) == ["dog", "nothing", "tea", "wine"]
    same(five.most_similar(["cat", "tea"], topn=1), [("dog", 1)])
    same(five.most_similar(["dog", "tea"], ["cat"], topn=1), [("wine", (2 / 3) ** 0.5)])
    same(five.most_similar([("cat", 3.0), five["tea"]], topn=2), [("dog", 1), ("tea", ROOT)])  # vectors as they are
    same(five.most_similar(["tea"], [("cat", 1.0)], topn=1), [("dog", 1)])  # a weight's own sign counts
    same(five.most_similar(np.array([0.0, 5.0]), topn=1), [("tea", 1)])
    same(five.most_similar("cat", restrict_vocab=3), [("dog", ROOT), ("tea", 0)])
    same(five.most_similar("cat", clip_start=1, clip_end=2), [("dog", ROOT)])
    assert five.most_similar("cat", topn=0) == []
    assert five.most_similar("cat", topn=None) == pytest.approx([1, ROOT, 0, -ROOT, 0])


def test_similar_by_vector_leaves_nothing_out(five: WordVectors) -> None:
    same(five.similar_by_vector(five["cat"], topn=2), [("cat", 1), ("dog", ROOT)])
    same(five.similar_by_word("cat", topn=1), [("dog", ROOT)])


def test_many_queries_at_once_are_answered_as_one_by_one(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "SCORES_AT_ONCE", 150)  # three queries in a block
    vectors = random_vectors(50, 8, device)
    plus = [[f"w{i}", f"w{i + 1}"] for i in range(10)]
    minus = [[f"w{i + 2}"] for i in range(10)]
    for together, more, less in zip(vectors.most_similar(plus, minus, topn=4), plus, minus, strict=True):
        same(together, vectors.most_similar(more, less, topn=4))
    words = ["w3", "w1", "w4", "w2"]
    for together, word in zip(vectors.similar_by_word(words), words, strict=True):
        same(together, vectors.similar_by_word(word))
    for together, word in zip(vectors.similar_by_vector(vectors[words]), words, strict=True):
        same(together, vectors.similar_by_vector(vectors[word]))
    assert vectors.most_similar(plus, topn=None).shape == (10, 50)


def test_a_batch_is_lists_all_through(five: WordVectors) -> None:
    with pytest.raises(TypeError, match="either keys or lists of keys"):
        five.most_similar([["cat"], "dog"])
    with pytest.raises(ValueError, match="as many lists in negative as in positive, got 1 and 2"):
        five.most_similar([["cat"], ["dog"]], [["tea"]])
    with pytest.raises(ValueError, match="at least one key or vector"):
        five.most_similar()
    with pytest.raises(KeyError, match="milk"):
        five.most_similar("milk")


def test_vectors_that_change_are_seen(five: WordVectors) -> None:
    assert five.most_similar("cat", topn=1)[0][0] == "dog"
    five.vectors[1] = [-1, 0]
    five.fill_norms(force=True)
    assert five.most_similar("cat", topn=1)[0][0] in ("tea", "nothing")
    five.vectors = MATRIX * 2
    assert five.most_similar("cat", topn=1)[0][0] == "dog"


def test_groups_and_odd_ones_out(five: WordVectors) -> None:
    assert five.similarity("cat", "wine") == pytest.approx(-ROOT)
    assert five.similarity("cat", "nothing") == 0
    assert five.distance("cat", "tea") == 1
    assert five.distances("cat", ["dog", "tea"]) == pytest.approx([1 - ROOT, 1])
    assert five.n_similarity(["cat", "tea"], ["tea"]) == pytest.approx(3 / 13**0.5)
    assert five.doesnt_match(["cat", "dog", "milk", "wine"]) == "wine"
    assert five.closer_than("cat", "wine") == ["dog", "tea", "nothing"]
    assert five.rank("cat", "dog") == 1
    assert np.array_equal(five.get_mean_vector(["tea", "cat"], [1, -3], pre_normalize=False), [-1.5, 0.75])
    assert np.array_equal(five.get_mean_vector(["milk"]), [0, 0])
    with pytest.raises(KeyError, match="milk"):
        five.get_mean_vector(["milk"], ignore_missing=False)
    with pytest.raises(ValueError, match=r"has a vector, got \['milk'\]"):
        five.doesnt_match(["milk"])
    with pytest.raises(ZeroDivisionError, match="got 1 and 0"):
        five.n_similarity(["cat"], [])
    with pytest.raises(ValueError, match="Expected 1 weights, one for each key, got 2"):
        five.get_mean_vector(["cat"], [1, 2])


def test_gensim_has_the_same_neighbours() -> None:
    ours = random_vectors(300, 20)
    theirs = twin(ours)
    for query in (
        {"positive": "w7"},
        {"positive": ["w7", ("w9", 0.5), ours["w11"]], "negative": ["w1", ("w2", -2.0)], "topn": 25},
        {"positive": ours.vectors[:3], "topn": 5},
        {"positive": 12, "restrict_vocab": 100, "topn": 400},
        {"positive": "w12", "clip_start": 20, "clip_end": 60},
        {"positive": "w12", "topn": 0},
    ):
        same(ours.most_similar(**query), theirs.most_similar(**query))
    assert ours.most_similar("w5", topn=None) == pytest.approx(theirs.most_similar("w5", topn=None), abs=1e-6)
    same(ours.similar_by_vector(ours["w3"]), theirs.similar_by_vector(ours["w3"]))
    same(ours.similar_by_word("w3"), theirs.similar_by_word("w3"))


def test_gensim_has_the_same_numbers() -> None:
    ours = random_vectors(300, 20)
    theirs = twin(ours)
    words = ["w1", "w5", "w9", "gone", "w200"]
    known = ["w1", "w5", "w9"]
    for name, arguments in (
        ("similarity", ("w1", "w2")),
        ("distance", ("w1", "w2")),
        ("distances", ("w1",)),
        ("distances", ("w1", known)),
        ("distances", (ours["w3"],)),
        ("n_similarity", (known, ["w8", "w3"])),
        ("get_normed_vectors", ()),
        ("get_vector", ("w4", True)),
        ("get_mean_vector", (words,)),
        ("get_mean_vector", (words, [1, -2, 0.5, 7, 1])),
        ("get_mean_vector", (words, None, False, True)),
        ("rank", ("w1", "w2")),
    ):
        assert getattr(ours, name)(*arguments) == pytest.approx(getattr(theirs, name)(*arguments), abs=1e-6), name
    assert ours.doesnt_match(words) == theirs.doesnt_match(words)
    assert [word for _, word in ours.rank_by_centrality(words)] == [w for _, w in theirs.rank_by_centrality(words)]
    assert ours.closer_than("w1", "w2") == theirs.closer_than("w1", "w2")


def test_similarity_of_tensors_is_where_they_are(device: str) -> None:
    rows = torch.tensor([[3.0, 4.0], [0.0, 0.0]], device=device)
    assert similarity.unit(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
