"""The five shapes of sequence problems are learnt, each from its example's own data."""

import runpy
from pathlib import Path

import pytest
import torch

EXAMPLE = Path(__file__).parents[2] / "examples" / "sequence_shapes.py"


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_all_five_are_learnt(threads, capsys):
    answers = runpy.run_path(str(EXAMPLE))["main"]()
    assert len(answers) == 5
    for shape, (_, answered, right) in answers.items():
        assert answered == right, shape
    assert "one to many            7 → seven" in capsys.readouterr().out
