"""Dependencies between the rooms of Word2Vec point one way, in Python and in C++."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import fastrnn.word2vec

PACKAGE = Path(fastrnn.word2vec.__file__).parent
SOURCES = Path(__file__).parents[2] / "csrc" / "word2vec"

# Each room imports only from itself and from rooms before it.
ROOMS = [
    *("_C", "cached", "settings", "callbacks", "gensim_names", "files", "corpus", "phrases", "vectors", "training"),
    *("model", "distributed", "cli", "__main__"),
]


class Imports(ast.NodeVisitor):
    """The rooms that a file imports from when it runs, not for its types alone."""

    def __init__(self) -> None:
        self.rooms: list[str] = []

    def visit_If(self, node: ast.If) -> None:
        if getattr(node.test, "id", "") != "TYPE_CHECKING":
            self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        module = node.module or ""
        if module == "fastrnn.word2vec":
            self.rooms += [name.name for name in node.names]
        elif module.startswith("fastrnn.word2vec."):
            self.rooms.append(module.split(".")[2])


def modules() -> Iterator[tuple[str, str, Path]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        room = name.partition("/")[0].removesuffix(".py")
        if room not in ("__init__", "old_paths"):
            yield name, room, file


def test_python() -> None:
    found = list(modules())
    assert {room for _, room, _ in found} == {*ROOMS} - {"_C"}
    for name, room, file in found:
        imports = Imports()
        imports.visit(ast.parse(file.read_text(encoding="utf-8")))
        for other in imports.rooms:
            assert ROOMS.index(other) <= ROOMS.index(room), f"{name} imports from {other}"


@pytest.mark.skipif(not SOURCES.exists(), reason="the C++ sources are not here")
def test_cpp() -> None:
    allowed = {
        "": set(),
        "corpus": {""},
        "phrases": {"", "corpus"},
        "training": {""},
        "bindings": {"", "corpus", "phrases", "training"},
    }
    files = [file for kind in ("*.h", "*.cpp") for file in SOURCES.rglob(kind)]
    assert len(files) > 40
    for file in files:
        room, text = file.parent.relative_to(SOURCES).as_posix().removeprefix("."), file.read_text(encoding="utf-8")
        for include in re.findall(r'#include "(.*)"', text):
            target = (file.parent / include).resolve()
            assert target.exists(), f"{file} includes {include}"
            if target.is_relative_to(SOURCES):
                other = target.parent.relative_to(SOURCES).as_posix().removeprefix(".")
                assert other in allowed[room] | {room}, f"{file} includes {include}"
        assert room == "bindings" or not re.search(r"pybind|Python\.h|Py[A-Z]\w+", text), f"{file} knows Python"
