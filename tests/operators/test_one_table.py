"""What a cell is stands in csrc/cells alone: the loops, the operators and the core of the package name none."""

import ast
import re
from pathlib import Path

import pytest

from fastrnn import _C

ROOT = Path(__file__).parents[2]
CPP = [
    path for folder in ("sequence", "cpu", "cuda", "loss", "torch") for path in (ROOT / "csrc" / folder).rglob("*.*")
]
PYTHON = [path for folder in ("_core", "_verify") for path in (ROOT / "fastrnn" / folder).rglob("*.py")]
NAMES = "|".join(_C.cells())


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
            assert not re.fullmatch(NAMES, node.value), f"line {node.lineno}"
