"""What a cell is stands in csrc/cells alone: the loops, the operators and the rest of the package name none."""

import ast
import re
from pathlib import Path

import pytest

from fastrnn import _C

ROOT = Path(__file__).parents[2]
CPP = [
    path
    for folder in ("sequence", "cpu", "cuda", "loss", "torch")
    for path in (ROOT / "csrc" / folder).rglob("*.*")
    if path.suffix != ".pyc"
]
NAMES = "|".join(_C.cells())
LAYERS = "(RNN|GRU|LSTM)(Cell)?"  # classes of torch.nn

# Who speaks of particular cells, and why. Everyone else asks the table.
SPEAKS = {
    "reference.py": "the equations",
    "nn/": "the layers that users name",
    "functional.py": "the same as functions",
    "__init__.py": "the public names",
    "_bench/work.py": "which layers of torch.nn the benchmark measures",
    "_bench/peers.py": "how the nodes of ONNX, a format of others, differ from torch's layers",
    "train/flow/comparison.py": "the cells of the figure that a user gets without a choice",
}
PYTHON = [
    path
    for path in (ROOT / "fastrnn").rglob("*.py")
    if not path.relative_to(ROOT / "fastrnn").as_posix().startswith(tuple(SPEAKS))
]


@pytest.mark.parametrize("path", CPP, ids=lambda path: str(path.relative_to(ROOT)))
def test_cpp_names_no_cell(path):
    code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
    assert not re.search(rf'"[^"\n]*\b({NAMES})\b', code)
    without_text = re.sub(r'"[^"\n]*"', "", code)
    assert not re.search(r"\b(LSTM|PeepholeLSTM|CoupledLSTM|GRU|GRUResetBefore|RNN *<)", without_text)


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_python_names_no_cell(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert not re.fullmatch(f"{NAMES}|{LAYERS}", node.value), f"line {node.lineno}"
