"""Vocabularies chosen by a rule or made from known counts, compared with gensim."""

from typing import Any

import numpy as np
import pytest

from fastrnn.word2vec import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP, Vocabulary, Word2Vec

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(200)]
SMALL: dict[str, Any] = {"vector_size": 8, "min_count": 1, "deterministic": True}


def test_a_rule_chooses_words() -> None:
    asked = []

    def rule(word: str, count: int, min_count: int) -> int:
        asked.append((word, count, min_count))
        return {"w6": RULE_KEEP, "graph": RULE_DISCARD}.get(word, RULE_DEFAULT)

    model = Word2Vec(trim_rule=rule, **SMALL | {"min_count": 90})
    model.build_vocab(SENTENCES)
    assert set(model.wv.index_to_key) == {"trees", "minors", "w0", "w1", "w2", "w6"}
    assert ("w6", 28, 90) in asked
    assert len(asked) == 10
    model.build_vocab(SENTENCES + [["new", "graph"]] * 5, update=True, trim_rule=rule)
    assert "graph" not in model.wv
    model.min_count, model.trim_rule = 1, None
    model.build_vocab([["new"]], update=True)
    assert model.wv.index_to_key[-1] == "new"
    for answer in (True, 7, "keep"):
        with pytest.raises(ValueError, match=f"RULE_KEEP .0, 1 or 2., got {answer!r} for 'graph'"):
            model.build_vocab(SENTENCES, trim_rule=lambda *numbers, answer=answer: answer)
    with pytest.raises(ValueError, match="max_vocab_size discards words before trim_rule sees them"):
        Word2Vec(SENTENCES, trim_rule=rule, **SMALL, max_vocab_size=100)


def test_gensim_keeps_the_same_words() -> None:
    models = pytest.importorskip("gensim.models", reason="gensim is not installed, with which this compares")

    def rule(word: str, count: int, min_count: int) -> int:
        return RULE_KEEP if count == 29 else RULE_DISCARD if word == "w0" else RULE_DEFAULT

    for options in ({"min_count": 60}, {"min_count": 0}, {"min_count": 5, "max_final_vocab": 4}):
        both = [kind(vector_size=4, **options) for kind in (Word2Vec, models.Word2Vec)]
        for model in both:
            model.build_vocab(SENTENCES, trim_rule=rule)
        assert both[0].wv.key_to_index.keys() == both[1].wv.key_to_index.keys(), options
        for model in both:
            model.build_vocab_from_freq({"a": 3, "b": 90, "c": 70, "w0": 99}, corpus_count=7, trim_rule=rule)
        assert both[0].wv.index_to_key == both[1].wv.index_to_key
        assert both[0].corpus_count == both[1].corpus_count == 7


def test_counts_make_a_vocabulary() -> None:
    counted = Vocabulary.build(SENTENCES, min_count=1)
    frequencies = dict(zip(counted.index_to_key, counted.counts.tolist(), strict=True))
    model, expected = Word2Vec(**SMALL), Word2Vec(SENTENCES, **SMALL)
    model.build_vocab_from_freq(frequencies)
    model.train(SENTENCES)
    assert np.array_equal(model.wv.vectors, expected.wv.vectors)
    model.build_vocab_from_freq({"tea": 4}, update=True)
    assert model.wv.get_vecattr("tea", "count") == 4
    for wrong, error in (({}, ValueError), ({"a": -1}, ValueError), ({"a": 0.5}, TypeError), ({3: 1}, TypeError)):
        with pytest.raises(error, match="expected"):
            model.build_vocab_from_freq(wrong)  # type: ignore[arg-type]
