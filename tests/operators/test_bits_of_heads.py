"""Layers of several heads on every instruction set of this processor, each in a process of its own: right, and the same
bits for any number of threads; frozen, quantized and in deterministic mode, in any batch and any chunks too.
"""

import json

import pytest
import torch

import fastrnn.nn
from fastrnn import _C
from tests.support.instruction_sets import SETS, printed
from tests.support.twins import make, random

# Prints what is wrong. Sizes: heads of whole vectors, of odd numbers of units that vectors straddle, of one unit each;
# so deep that sums go in several chains. T, B: threads own units, or rows; few rows. Cells: several vectors a panel, a
# second product, a projection, loops of their own.
PROGRAM = """
import json, torch
import fastrnn
import fastrnn.nn
from fastrnn import _C
from tests.support.company import cuts_with_other_steps, heights_with_other_rows
from tests.support.twins import by_reference, initial, make, random, results

_C.assume_cores(8)
SIZES = [(5, 64, 4), (6, 75, 3), (3, 24, 24), (9, 290, 2)]
CELLS = "rnn_tanh", "gru_reset_before", "lstm_projected", "layer_norm_gru"
wrong, compared, worst = [], 0, {}

def look(name, found):
    global compared
    compared += 1
    if found:
        wrong.append(f"{name}: {found}")

def make_layer(cell, inputs, hidden, heads, **options):
    if cell == "lstm_projected":
        hidden *= 2
    return make(fastrnn.nn, cell, inputs, hidden, heads=heads, **options)

for cell in CELLS:
    for inputs, hidden, heads in SIZES:
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            for times, batch, recompute in ((6, 40, False), (30, 5, True), (1, 7, False)):
                layer = make_layer(cell, inputs, hidden, heads, dtype=dtype, bidirectional=True, recompute=recompute)
                x, hx = random(times, batch, inputs, dtype=dtype), initial(layer, batch, dtype)
                found = []
                for threads in (1, 2, 8):
                    torch.set_num_threads(threads)
                    found.append(results(layer, x, hx))
                name = f"{cell} I{inputs} H{hidden} n{heads} T{times} B{batch} {dtype}"
                look(name, [n for n, t in found[0].items() for other in found[1:] if not torch.equal(t, other[n])])
                if dtype == torch.bfloat16 or times > 6:
                    continue
                exact = layer.double()
                hx = tuple(h.double() for h in hx) if isinstance(hx, tuple) else hx.double()
                for n, expected in results(exact, x.double(), hx, call=by_reference).items():
                    error = (found[0][n].double() - expected).abs().max() / expected.abs().max().clamp(min=1)
                    worst[str(dtype)] = max(worst.get(str(dtype), 0), float(error))

ROWS, HEIGHTS, CUTS = 12, [(2, 1), (7, 2), (12, 3)], [((1, 1, 3), 2)]
for cell in CELLS:
    for inputs, hidden, heads in SIZES:
        plain = make_layer(cell, inputs, hidden, heads).eval()
        layers = {"deterministic": plain, "frozen": fastrnn.freeze(plain)}
        layers |= {numbers: fastrnn.quantize(plain, dtype=numbers) for numbers in ("bfloat16", "int8")}
        x, hx = random(5, ROWS, inputs, dtype=torch.float32), initial(plain, ROWS, torch.float32)
        torch.use_deterministic_algorithms(True)
        for kind, layer in layers.items():
            name = f"{cell} I{inputs} H{hidden} n{heads} {kind}"
            look(name, heights_with_other_rows(layer, x, hx, HEIGHTS))
            look(name, cuts_with_other_steps(layer, x, hx, CUTS))
            if kind in ("bfloat16", "frozen"):
                low = x.bfloat16(), tuple(h.bfloat16() for h in hx) if isinstance(hx, tuple) else hx.bfloat16()
                look(name + " of bfloat16", heights_with_other_rows(layer, *low, HEIGHTS))
        with torch.no_grad():
            for rows in (1, ROWS):
                same = torch.equal(plain(x[:, :rows])[0], layers["frozen"](x[:, :rows])[0])
                look(f"{cell} H{hidden} n{heads}", [] if same else [f"{rows} rows frozen"])
        torch.use_deterministic_algorithms(False)
print(json.dumps({"set": _C.instruction_set(), "compared": compared, "wrong": wrong, "worst": worst}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_right_and_the_same_bits(isa):
    result = json.loads(printed(PROGRAM, isa))
    assert result["set"] == isa
    assert result["wrong"] == []
    assert result["compared"] == 4 * 4 * (3 * 3 + 2 * 4 + 2 + 2)
    assert result["worst"]["torch.float32"] < 1e-5
    assert result["worst"]["torch.float64"] < 1e-13


@pytest.mark.parametrize("barrier", [0, 2, 7])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru_reset_before", "lstm_projected"])
def test_the_same_bits_where_a_team_is_dissolved(cell, barrier):
    before = torch.get_num_threads()
    _C.assume_cores(8)
    try:
        for times, batch, hidden, heads in ((30, 5, 258, 3), (24, 40, 96, 6)):
            layer = make(fastrnn.nn, cell, 40, hidden, heads=heads)
            x = random(times, batch, 40, dtype=torch.float32).requires_grad_()

            def everything(layer=layer, x=x):
                output = layer(x)[0]
                return [output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])]

            torch.set_num_threads(1)
            expected = everything()
            torch.set_num_threads(3)
            _C.dissolve_teams(barrier)
            assert all(torch.equal(a, b) for a, b in zip(everything(), expected, strict=True))
            _C.dissolve_teams(None)
    finally:
        _C.assume_cores(0)
        _C.dissolve_teams(None)
        torch.set_num_threads(before)
