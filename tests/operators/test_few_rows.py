"""A few rows are multiplied where the weights lie: a row's numbers are the same to the bit whatever rows are beside it.

On every instruction set of the processor, each in a process of its own. That the numbers are right is held by
tests/cpp and test_instruction_sets.py, whose shapes include such rows. Not bfloat16: more than six rows are rounded to
it where the processor multiplies it. Frozen and quantized layers: tests/quantization/test_same_bits.py.
"""

import json

import pytest

from tests.support.instruction_sets import SETS, printed
from tests.support.twins import CELLS

# For every height that tiles have. Sizes: off every vector, of several vectors of units, so deep that sums go in two
# chains.
PROGRAM = """
import json, torch
import fastrnn.nn
from fastrnn import _C
from tests.support.company import heights_with_other_rows
from tests.support.twins import CELLS, initial, make, random

_C.assume_cores(8)
RUNS = ((2, 1), (3, 2), (4, 1), (5, 1), (6, 3), (7, 1), (11, 2), (13, 1), (20, 2))
wrong, compared = [], 0
for cell in CELLS:
    for dtype in (torch.float32, torch.float64, torch.float16):
        for inputs, hidden in ((37, 83), (3000, 9)):
            layer = make(fastrnn.nn, cell, inputs, hidden, dtype=dtype)
            found = heights_with_other_rows(layer, random(1, 20, inputs, dtype=dtype), initial(layer, 20, dtype), RUNS)
            wrong += [f"{cell} {dtype} I{inputs} H{hidden}: {each}" for each in found]
            compared += len(RUNS)
print(json.dumps({"set": _C.instruction_set(), "compared": compared, "wrong": wrong}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_a_row_is_the_same_in_any_company(isa):
    result = json.loads(printed(PROGRAM, isa))
    assert result["set"] == isa
    assert result["compared"] == len(CELLS) * 3 * 2 * 9
    assert result["wrong"] == []
