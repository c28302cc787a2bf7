"""The five shapes of sequence problems are learned, each from the data of its example."""

import runpy
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "examples" / "sequence_shapes.py"


def test_all_five_are_learnt(capsys):
    answers = runpy.run_path(str(EXAMPLE))["main"]()
    assert len(answers) == 5
    for shape, (_, answered, right) in answers.items():
        assert answered == right, shape
    assert "one to many            7 → seven" in capsys.readouterr().out
