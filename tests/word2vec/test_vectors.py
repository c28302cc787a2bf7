"""WordVectors: similarities by hand, and the same results as gensim."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from fastrnn.cli.main import app
from fastrnn.word2vec import WordVectors
from fastrnn.word2vec.vectors import cosine_table
from fastrnn.word2vec.vectors.norms import unit
from tests.word2vec.gensim_vectors import KEYS, MATRIX, random_vectors, same, twin

ROOT = float(np.sqrt(0.5))


@pytest.fixture
def five(device: str) -> WordVectors:
    return WordVectors(KEYS, MATRIX.copy(), [9, 7, 5, 3, 1], device=device)


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
    with pytest.raises(KeyError, match=r"no attribute 'colour'; known attributes: 'count'"):
        five.get_vecattr("dog", "colour")
    with pytest.raises(KeyError, match="known attributes: none"):
        random_vectors(2, 2).get_vecattr("w0", "count")


def test_what_makes_no_table_is_refused() -> None:
    with pytest.raises(ValueError, match="distinct keys, got 'a' more than once"):
        WordVectors(["a", "b", "a"], np.zeros((3, 2)))
    with pytest.raises(ValueError, match=r"shape \[3, D\], got \[2, 2\]"):
        WordVectors(["a", "b", "c"], np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"Expected 1 counts, one per key, got shape \[2\]"):
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


def test_most_similar_cosmul_by_hand(five: WordVectors) -> None:
    same(five.most_similar_cosmul("cat", topn=1), [("dog", (1 + ROOT) / 2)])
    same(five.most_similar_cosmul(["dog", "tea"], ["cat"], topn=1), [("wine", 0.5 * (1 + ROOT) / (1 - ROOT + 2e-6))])
    same(five.most_similar_cosmul([five["cat"] * 7], topn=1), [("cat", 1)])
    assert five.most_similar_cosmul([], "cat", topn=None) == pytest.approx(
        [1, 2 / (1 + ROOT), 2, 2 / (1 - ROOT), 2], rel=1e-4
    )
    same(five.most_similar_cosmul("cat", topn=9, restrict_vocab=2), [("dog", (1 + ROOT) / 2)])
    assert five.most_similar_cosmul("cat", topn=0) == []
    with pytest.raises(ValueError, match="at least one key or vector, got none"):
        five.most_similar_cosmul()
    with pytest.raises(KeyError, match="milk"):
        five.most_similar_cosmul("milk")


def test_many_queries_at_once_are_answered_as_one_by_one(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cosine_table, "SCORES_AT_ONCE", 150)  # three queries in a block
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
    assert five.most_similar_to_given("cat", ["wine", "dog", "tea"]) == "dog"
    assert five.cosine_similarities(five["cat"], MATRIX) == pytest.approx([1, ROOT, 0, -ROOT, 0])
    assert np.array_equal(five.get_mean_vector(["tea", "cat"], [1, -3], pre_normalize=False), [-1.5, 0.75])
    assert np.array_equal(five.get_mean_vector(["milk"]), [0, 0])
    with pytest.raises(KeyError, match="milk"):
        five.get_mean_vector(["milk"], ignore_missing=False)
    with pytest.raises(ValueError, match=r"has a vector, got \['milk'\]"):
        five.doesnt_match(["milk"])
    with pytest.raises(ZeroDivisionError, match="got 1 and 0"):
        five.n_similarity(["cat"], [])
    with pytest.raises(ValueError, match="Expected 1 weights, one per key, got 2"):
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
    for query in (
        {"positive": "w7"},
        {"positive": ["w7", "w9"], "negative": ["w1", "w2"], "topn": 400},
        {"positive": ["w7", "w9"], "negative": "w1", "topn": 30},
    ):
        with pytest.warns(DeprecationWarning, match="init_sims"):  # which gensim itself calls there
            expected = theirs.most_similar_cosmul(**query)
        same(ours.most_similar_cosmul(**query), expected)


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
        ("cosine_similarities", (ours["w1"], ours.vectors[3:9])),
    ):
        assert getattr(ours, name)(*arguments) == pytest.approx(getattr(theirs, name)(*arguments), abs=1e-6), name
    assert ours.doesnt_match(words) == theirs.doesnt_match(words)
    assert [word for _, word in ours.rank_by_centrality(words)] == [w for _, w in theirs.rank_by_centrality(words)]
    assert ours.closer_than("w1", "w2") == theirs.closer_than("w1", "w2")
    assert ours.words_closer_than("w1", "w2") == theirs.closer_than("w1", "w2")
    assert ours.most_similar_to_given("w1", known[1:]) == theirs.most_similar_to_given("w1", known[1:])


def test_vectors_are_brought_to_length_1_but_zeros_stay() -> None:
    rows = np.array([[3, 4], [0, 0]])
    assert unit(rows).tolist() == [[pytest.approx(0.6), pytest.approx(0.8)], [0, 0]]
    assert unit(rows[0]).tolist() == pytest.approx([0.6, 0.8])


def test_the_table_is_on_the_device_and_on_the_cpu_the_array_itself(five: WordVectors, device: str) -> None:
    assert five.device == five.table.vectors.device == torch.device(device)
    assert device != "cpu" or five.table.vectors.data_ptr() == five.vectors.ctypes.data
    with pytest.raises(RuntimeError, match="nowhere"):
        WordVectors(KEYS, MATRIX, device="nowhere")


@pytest.mark.parametrize("freeze", [True, False])
def test_an_embedding_has_rows_for_unknown_words_and_padding(freeze: bool) -> None:
    vectors = WordVectors(KEYS, MATRIX.copy())
    layer, rows = vectors.to_embedding(freeze=freeze)
    assert layer.weight.requires_grad is not freeze
    assert rows.encode(["tea", "milk", "cat", "<pad>"]).tolist() == [2, 5, 0, 6]
    assert torch.equal(layer(torch.tensor([2, 5, 6])), torch.tensor([[0, 3], [0.4, 1], [0, 0]]))
    assert layer.padding_idx == rows.padding == 6
    with torch.no_grad():
        layer.weight.zero_()
    assert np.array_equal(vectors.vectors, MATRIX)


def test_an_embedding_without_such_rows_or_with_its_own() -> None:
    layer, rows = WordVectors(KEYS, MATRIX).to_embedding(unknown=None, padding=None)
    assert layer.weight.shape == (5, 2)
    with pytest.raises(KeyError, match="'milk' has no row"):
        rows.encode(["milk"])
    layer, rows = WordVectors(KEYS, MATRIX).to_embedding(unknown="nothing", padding="cat")
    assert rows.encode(["milk", "cat"]).tolist() == [4, 0]
    assert layer.weight[0].tolist() == [0, 0]


def test_projector_files(tmp_path: Path) -> None:
    WordVectors(["a\tb", "c"], np.array([[1, 2], [0.5, 3]]), [4, 3]).to_projector(tmp_path / "log")
    assert (tmp_path / "log/vectors.tsv").read_text() == "1.0\t2.0\n0.5\t3.0\n"
    assert (tmp_path / "log/metadata.tsv").read_text() == "word\tcount\na b\t4\nc\t3\n"
    assert "metadata.tsv" in (tmp_path / "log/projector_config.pbtxt").read_text()


def test_the_command_line(tmp_path: Path) -> None:
    vectors = WordVectors(KEYS[:4], MATRIX[:4])
    vectors.save(tmp_path / "v.vectors")
    vectors.save_word2vec_format(tmp_path / "v.bin", binary=True)
    vectors.save_word2vec_format(tmp_path / "v.vec")
    vectors.save_word2vec_format(tmp_path / "binary.txt", binary=True)
    vectors.save_word2vec_format(tmp_path / "glove.txt", write_header=False)
    (tmp_path / "q.txt").write_text(": drinks\ncat dog tea wine\n")
    (tmp_path / "p.tsv").write_text("cat\tdog\t7\ncat\ttea\t2\ncat\twine\t1\ncat\tmilk\t1\n")

    def call(*arguments: object) -> tuple[int, str]:
        result = CliRunner().invoke(app, ["word2vec", *map(str, arguments)], catch_exceptions=False)
        return result.exit_code, result.output

    for name in ("v.vectors", "v.bin", "v.vec", "binary.txt", "glove.txt"):
        code, text = call("neighbours", tmp_path / name, "cat", "--topn", 1)
        assert code == 0
        assert "dog" in text
        assert "0.7071" in text
    code, text = call("eval", tmp_path / "v.bin", "--analogies", tmp_path / "q.txt", "--pairs", tmp_path / "p.tsv")
    assert code == 0
    assert "100.0" in text
    assert "25.0 %" in text
    for arguments, message in (
        (("neighbours", tmp_path / "v.bin", "milk"), "Key 'milk' is not among the 4 keys"),
        (("neighbours", tmp_path / "gone.bin", "cat"), "No such file"),
        (("eval", tmp_path / "v.bin"), "got neither"),
        (("eval", tmp_path / "v.bin", "--analogies", tmp_path / "p.tsv"), "line 1: expected"),
    ):
        code, text = call(*arguments)
        assert code == 2
        assert message in text
