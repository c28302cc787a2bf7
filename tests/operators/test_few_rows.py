"""A few rows are multiplied where the weights lie: a row's numbers are the same to the bit whatever rows are beside it.

On every instruction set of the processor, each in a process of its own. That the numbers are right is held by
tests/cpp and test_instruction_sets.py, whose shapes include such rows. Not bfloat16: more than six rows are rounded to
it where the processor multiplies it.
"""

import json

import pytest

from tests.operators.test_instruction_sets import _has, _run
from tests.support.instruction_sets import SETS

# Prints the cases in which a batch's rows are not those of batches of one row, for every height that tiles have. Sizes:
# off every vector, of several vectors of units, so deep that sums go in two chains.
PROGRAM = """
import json, torch
import fastrnn.nn
from fastrnn import _C
from tests.support.twins import CELLS, initial, make, random

_C.assume_cores(8)
wrong, compared = [], 0
for cell in CELLS:
    for dtype in (torch.float32, torch.float64, torch.float16):
        for inputs, hidden in ((37, 83), (3000, 9)):
            layer = make(fastrnn.nn, cell, inputs, hidden, dtype=dtype)
            x, hx = random(1, 20, inputs, dtype=dtype), initial(layer, 20, dtype)

            def run(rows):
                state = [h[:, rows].contiguous() for h in (hx if isinstance(hx, tuple) else (hx,))]
                with torch.no_grad():
                    y, new = layer(x[:, rows].contiguous(), tuple(state) if isinstance(hx, tuple) else state[0])
                return torch.cat([y, *new] if isinstance(hx, tuple) else [y, new], -1)

            torch.set_num_threads(1)
            alone = torch.cat([run(slice(i, i + 1)) for i in range(20)], 1)
            for rows, threads in ((2, 1), (3, 2), (4, 1), (5, 1), (6, 3), (7, 1), (11, 2), (13, 1), (20, 2)):
                torch.set_num_threads(threads)
                compared += 1
                if not torch.equal(run(slice(0, rows)), alone[:, :rows]):
                    wrong.append(f"{cell} {dtype} I{inputs} H{hidden} B{rows}, {threads} threads")
print(json.dumps({"set": _C.instruction_set(), "compared": compared, "wrong": wrong}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_a_row_is_the_same_in_any_company(isa):
    if not _has(isa):
        pytest.skip(f"this processor has no {isa}")
    done = _run(PROGRAM, isa)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["set"] == isa
    assert result["compared"] == 9 * 3 * 2 * 9
    assert result["wrong"] == []
