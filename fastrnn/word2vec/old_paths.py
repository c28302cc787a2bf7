"""Modules under their former names, from when all of them were in one folder.

A pickle names the module of each class, so pickles written then need the former names. Code should import from
``fastrnn.word2vec`` itself: every documented name is there.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

PACKAGE = "fastrnn.word2vec."
MOVED = {
    "archive": "training.npz",
    "attributes": "vectors.attributes",
    "building": "training.vocabulary_building",
    "comparisons": "vectors.comparisons",
    "compatibility": "gensim_names",
    "counting": "corpus.word_counts",
    "documents": "files.json_fields",
    "embedding": "vectors.embedding",
    "evaluate": "vectors.evaluation",
    "exclusive": "training.locking",
    "formats": "vectors.word2vec_format",
    "frozen": "phrases.frozen",
    "growing": "vectors.editing",
    "huffman": "training.huffman",
    "joining": "phrases.joining",
    "keyed": "vectors.table",
    "keys": "vectors.keys",
    "lengths": "vectors.norms",
    "line_sentences": "corpus.line_sentences",
    "merging": "distributed.merging",
    "native": "vectors.fastrnn_format",
    "neighbours": "vectors.neighbours",
    "pairs": "training.pairs",
    "parameters": "training.parameters",
    "phrase_settings": "phrases.settings",
    "predict": "training.prediction",
    "projector": "vectors.projector",
    "ranks": "distributed.ranks",
    "reading": "corpus.text_blocks",
    "reference": "training.reference",
    "rows": "vectors.word2vec_rows",
    "sampling": "training.sampling",
    "scoring": "phrases.scoring",
    "similarity": "vectors.cosine_table",
    "state": "training.model_state",
    "storage": "training.saved_model",
    "transport": "vectors.word_movers",
    "trimming": "corpus.trim_rules",
    "vector_files": "vectors.files",
    "vocabulary": "corpus.vocabulary",
}


class OldPaths(MetaPathFinder, Loader):
    """Imports ``fastrnn.word2vec.OLD`` as its new module: one module object under two names."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return ModuleSpec(name, self) if name.removeprefix(PACKAGE) in MOVED and name.startswith(PACKAGE) else None

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = import_module(PACKAGE + MOVED[module.__name__.removeprefix(PACKAGE)])


def install() -> None:
    """Add this finder after all others, so it is asked only for modules that they do not find."""
    sys.meta_path.append(OldPaths())
