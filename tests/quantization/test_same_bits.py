"""Frozen and quantized layers: the same bits for a row in any batch, a sequence in chunks, any number of threads.

Streams are served together and a few steps at a time, and a stream's numbers must not depend on the others. On every
instruction set of the processor, int8 also without VNNI.
"""

import json

import pytest

from tests.support.instruction_sets import SETS, printed
from tests.support.twins import CELLS

# Prints what differs. Sizes: off every vector; so deep that sums go in several chains; few units.
PROGRAM = """
import json, sys, torch
import fastrnn
import fastrnn.nn
from fastrnn import _C
from torch.nn.utils.rnn import pack_padded_sequence
from tests.support.company import cuts_with_other_steps, heights_with_other_rows
from tests.support.twins import CELLS, initial, make, random

_C.assume_cores(8)
HEIGHTS = [(2, 1), (3, 2), (7, 1), (12, 2)]
CUTS = [((1,) * 9, 2), ((4, 1, 4), 2), ((2, 7), 1)]
ROWS = 12
wrong, compared = [], 0


def look(name, found, runs):
    global compared
    compared += len(runs)
    wrong.extend(f"{name}: {each}" for each in found)


for cell in sys.argv[2:] or CELLS:
    for inputs, hidden in ((37, 83), (260, 17), (5, 4)):
        plain = make(fastrnn.nn, cell, inputs, hidden).eval()
        for numbers in sys.argv[1:2] or ("float32", "bfloat16", "int8"):
            layer = fastrnn.freeze(plain) if numbers == "float32" else fastrnn.quantize(plain, dtype=numbers)
            for dtype in (torch.float32, torch.bfloat16):
                x, hx = random(9, ROWS, inputs, dtype=dtype), initial(plain, ROWS, dtype)
                name = f"{cell} I{inputs} H{hidden}, {numbers}, input of {dtype}"
                for steps in (1, 9):
                    found = heights_with_other_rows(layer, x[:steps], hx, HEIGHTS)
                    look(f"{name}, {steps} steps", found, HEIGHTS)
            # Threads that own rows, of which one's end early.
            packed = pack_padded_sequence(x.float(), [9] * (ROWS // 2) + [1] * (ROWS // 2))
            found = []
            for threads in (1, 2):
                torch.set_num_threads(threads)
                with torch.no_grad():
                    found.append(layer(packed)[0].data)
            look(name, [] if torch.equal(*found) else ["packed, 2 threads"], [2])
            # Between chunks of 16 bits the states are rounded to them, as the result's dtype asks.
            x, hx = x.float(), initial(plain, ROWS, torch.float32)
            for rows in (1, ROWS):
                state = tuple(h[:, :rows] for h in hx) if isinstance(hx, tuple) else hx[:, :rows]
                name = f"{cell} I{inputs} H{hidden}, {numbers}, {rows} rows"
                look(name, cuts_with_other_steps(layer, x[:, :rows], state, CUTS), CUTS)
print(json.dumps({"set": _C.instruction_set(), "compared": compared, "wrong": wrong}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_any_batch_any_chunk_any_threads(isa):
    result = json.loads(printed(PROGRAM, isa))
    assert result["set"] == isa
    assert result["compared"] == len(CELLS) * 3 * 3 * (2 * 2 * 4 + 1 + 2 * 3)
    assert result["wrong"] == []


@pytest.mark.parametrize("isa", ["avx2", "avx512"])
def test_int8_without_vnni(isa):
    result = json.loads(printed(PROGRAM, isa, "int8", "gru_reset_before", "lstm_projected", FASTRNN_VNNI="0"))
    assert result["compared"] == 2 * 3 * (2 * 2 * 4 + 1 + 2 * 3)
    assert result["wrong"] == []
