"""The same layers on every instruction set this processor has, each forced in a process of its own."""

import json
from pathlib import Path

import pytest

from tests.support.instruction_sets import SETS, printed, started

# Prints, for a choice of awkward shapes, the largest relative error against the float64 reference.
PROGRAM = """
import json, torch
import fastrnn.nn
from fastrnn import _C
from tests.support.twins import CELLS, by_reference, initial, make, random

errors = {}
for dtype in (torch.float32, torch.float64):
    for cell in CELLS:
        for shape in [(1, 1, 3, 2), (2, 5, 17, 3), (5, 33, 16, 129), (151, 1, 1, 16), (9, 7, 64, 64), (1, 7, 45, 70),
                      (5, 33, 16, 13), (7, 3, 16, 130)]:
            times, batch, inputs, hidden = shape
            if cell.startswith("layer_norm"):  # few numbers are ill-conditioned, and many steps chaotic
                times, inputs, hidden = min(times, 12), max(inputs, 16), max(hidden, 16)
            layer = make(fastrnn.nn, cell, inputs, hidden, bidirectional=True, dtype=dtype)
            if hidden in (13, 130):
                layer.recurrent_dropout, layer.zoneout_h, layer.zoneout_c = 0.25, 0.2, 0.1 * (layer.mode == "LSTM")
            x, hx = random(times, batch, inputs, dtype=dtype).requires_grad_(), initial(layer, batch, dtype)
            torch.manual_seed(1)
            ours = layer(x, hx)
            ours = [ours[0], *(ours[1] if isinstance(ours[1], tuple) else ours[1:])]
            ours += torch.autograd.grad(ours[0].sum(), [x, *layer.parameters()])
            layer.double()
            x = x.detach().double().requires_grad_()
            hx = tuple(h.double() for h in hx) if isinstance(hx, tuple) else hx.double()
            torch.manual_seed(1)
            truth = by_reference(layer, x, hx)
            truth = [truth[0], *(truth[1] if isinstance(truth[1], tuple) else truth[1:])]
            truth += torch.autograd.grad(truth[0].sum(), [x, *layer.parameters()])
            scale = [b.abs().max().clamp(min=1e-3) for b in truth]
            error = max(float((a.double() - b).abs().max() / s) for a, b, s in zip(ours, truth, scale))
            errors[f"{cell} {shape} {dtype}"] = error
print(json.dumps({"set": _C.instruction_set(), "errors": errors}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_forced(isa):
    result = json.loads(printed(PROGRAM, isa))
    assert result["set"] == isa
    worst32 = max(e for name, e in result["errors"].items() if name.endswith("float32"))
    worst64 = max(e for name, e in result["errors"].items() if name.endswith("float64"))
    assert worst32 < 1e-5
    assert worst64 < 1e-13


# What operators return, padding and all, in memory that held NaN before; prints the cases in which some of it is left.
LEFTOVERS = """
import math, torch
from fastrnn import ops
from tests.operators.test_operators import _arguments
from tests.support.twins import CELLS, random

for cell in CELLS:
    for dtype in (torch.float32, torch.float64):
        name, _, _, *others = _arguments(cell, bidirectional=True, dtype=dtype)
        for x, sizes in ((random(20, 3, 5, dtype=dtype), None),
                         (random(40, 5, dtype=dtype), torch.tensor([3] * 9 + [2] * 2 + [1] * 9))):
            for recompute, masked in ((False, False), (True, False), (False, True)):
                output = others[2][1].size(1)
                masks = {"recurrent_mask": random(2, 3, output, dtype=dtype)} if masked else {}
                if masked:
                    masks["zoneout_h"] = random(*x.shape[:-1], 2 * output, dtype=dtype).sigmoid()
                if masked and "lstm" in cell:
                    masks["zoneout_c"] = random(*x.shape[:-1], 12, dtype=dtype).sigmoid()
                def forward():
                    return ops.forward(name, x, sizes, *others, True, recompute, "projected" in cell, **masks)
                before = [torch.full_like(t, math.nan) for t in forward() for _ in range(3)]
                del before
                if any(t.isnan().any() for t in forward()):
                    print(cell, dtype, "equal" if sizes is None else "packed", "recompute" if recompute else "", *masks)
"""


@pytest.mark.parametrize("isa", SETS)
def test_nothing_that_memory_held_before_is_returned(isa):
    assert printed(LEFTOVERS, isa) == ""


@pytest.mark.parametrize("isa", SETS[:-1])  # what is left is what this processor runs anyway
def test_activations_at_their_ends_and_narrow_weights(isa):
    tests = Path(__file__).parents[1]
    names = ("operators/test_activations.py", "layers/test_not_finite.py", "layers/test_narrow.py")
    files = [str(tests / name) for name in names]
    printed(f"import pytest; raise SystemExit(pytest.main(['-q', '-p', 'no:cacheprovider', *{files}]))", isa)


def test_unknown_set_is_an_error_that_names_the_known():
    done = started("import fastrnn; fastrnn._C.instruction_set()", "sse9")
    assert done.returncode != 0
    assert "FASTRNN_ISA is 'sse9'" in done.stderr
    assert "generic" in done.stderr
