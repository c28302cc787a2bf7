"""The rooms of the package: which modules are public, and that dependencies point one way."""

import ast
import pkgutil
from collections.abc import Iterator
from pathlib import Path

import fastrnn

PACKAGE = Path(fastrnn.__file__).parent
PUBLIC = {"cli", "conversion", "functional", "init", "losses", "nn", "ops", "quantization", "reference", "train"}
PUBLIC |= {"cells", "streaming", "word2vec"}

# Each room imports only from rooms before it.
ORDER = [
    *(
        "_C",
        "_built",
        "_choices",
        "_numbers",
        "_saving",
        "_markdown",
        "reference",
        "_core",
        "_cell",
        "_environment",
        "_inside",
        "_detach",
        "_tbptt",
        "init",
        "losses",
        "ops",
        "functional",
    ),
    *("_unconverted", "nn", "cells", "conversion", "quantization", "streaming", "word2vec", "train", "_verify"),
    "_bench",
    *("cli", "__main__"),
]
LOOKS_BACK = {
    "nn/base.py": "streaming",  # layer.stream()
    "quantization/layers.py": "streaming",
    "nn/quantization.py": "conversion",  # torch's quantization asks a layer for torch's own
    "word2vec/cli.py": "cli",  # a command, also as `python -m fastrnn.word2vec`
}


def imported(file: Path) -> Iterator[str]:
    """The rooms that a file imports from."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module == "fastrnn":
            names = [f"fastrnn.{name.name}" for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        else:
            continue
        yield from (name.split(".")[1] for name in names if name.startswith("fastrnn."))


def test_dependencies_point_one_way() -> None:
    for file in sorted(PACKAGE.rglob("*.py")):
        name = file.relative_to(PACKAGE).as_posix()
        room = name.partition("/")[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(file):
            if LOOKS_BACK.get(name) != other:
                assert ORDER.index(other) <= ORDER.index(room), f"{name} imports from {other}"


def test_only_what_users_import_is_public() -> None:
    found = {module.name for module in pkgutil.iter_modules([str(PACKAGE)])}
    assert {name for name in found if not name.startswith("_")} == PUBLIC
