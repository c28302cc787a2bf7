"""Former names of modules, from when all were in one folder: imports and pickles that use them still work."""

import importlib
import pickle
import sys
from pathlib import Path

import numpy as np
import pytest

import fastrnn.word2vec
from fastrnn.word2vec import FrozenPhrases, LineSentence, Phrases, Vocabulary, Word2Vec, WordVectors
from fastrnn.word2vec.old_paths import MOVED

# Written then with pickle.dumps(objects, protocol=4): a small model, phrases, and all else that can be pickled.
PICKLE = Path(__file__).with_name("flat_modules.pickle")


@pytest.mark.parametrize("old", MOVED)
def test_an_old_name_is_the_same_module(old: str) -> None:
    module = importlib.import_module(f"fastrnn.word2vec.{old}")
    assert module is importlib.import_module(f"fastrnn.word2vec.{MOVED[old]}")
    assert module.__name__ == f"fastrnn.word2vec.{MOVED[old]}"
    assert sys.modules[module.__name__] is module


@pytest.mark.parametrize(
    ("module", "names"),
    {
        "callbacks": ["CallbackAny2Vec", "Progress"],
        "corpus": ["Encoded", "Sentences", "check_corpus", "checked_workers", "default_workers", "encode"],
        "distributed": ["DistributedWord2Vec"],
        "evaluate": ["Correlation"],
        "model": ["Word2Vec"],
        "phrases": ["FrozenPhrases", "Phraser", "Phrases"],
        "settings": ["SYNC_WORDS", "Settings"],
        "trimming": ["RULE_DEFAULT", "RULE_DISCARD", "RULE_KEEP"],
        "vectors": ["KeyedVectors", "WordVectors"],
        "vocabulary": ["Vocabulary"],
    }.items(),
)
def test_names_that_docstrings_and_pages_gave_are_there(module: str, names: list[str]) -> None:
    namespace: dict[str, object] = {}
    exec(f"from fastrnn.word2vec.{module} import {', '.join(names)}", namespace)
    for name in names:
        known = getattr(fastrnn.word2vec, name, namespace[name])
        assert namespace[name] is known


def test_an_unknown_module_is_not_found() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"No module named 'fastrnn\.word2vec\.vector'"):
        importlib.import_module("fastrnn.word2vec.vector")
    with pytest.raises(ImportError, match="cannot import name 'vector'"):
        from fastrnn.word2vec import vector  # noqa: F401


def test_pickles_with_former_names_are_read() -> None:
    found = pickle.loads(PICKLE.read_bytes())
    model = found["model"]
    assert type(model) is Word2Vec
    assert type(found["vectors"]) is WordVectors
    assert model.wv is found["vectors"]
    expected = [0.13129210472106934, 0.20783394575119019, -0.3417425751686096]
    assert model.wv["new"].tolist() == expected
    assert model.losses == [295.9568672180176]
    assert type(model.vocabulary) is Vocabulary
    assert model.vocabulary.index_to_key == ["new", "york", "is", "old"]
    assert found["settings"] == model.settings
    assert found["parameters"].syn0.shape == (2, 16)
    before = model.wv["new"].copy()
    model.train([["new", "york", "is", "old"]] * 9, epochs=1)
    assert len(model.losses) == 2
    assert not np.array_equal(model.wv["new"], before)

    assert type(found["phrases"]) is Phrases
    assert type(found["frozen"]) is FrozenPhrases
    assert found["phrases"][["new", "york"]] == found["frozen"][["new", "york"]] == ["new_york"]
    assert list(found["joined"]) == [["new_york"]]
    assert found["corpus"].ids.tolist() == [0, 1, 2, 3, 1, 2, 0]
    assert type(found["lines"]) is LineSentence
    assert found["correlation"].statistic == 0.5
    assert found["rows"]["york"] == 1
    assert found["rows"]["unheard"] == found["rows"].unknown == 4
