"""torch.use_deterministic_algorithms(True): nothing complains, and a row has the same bits alone as in any batch, a
sequence the same in one piece as in chunks, and the same as a frozen layer. On every instruction set, each in a process
of its own.
"""

import json

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

import fastrnn
import fastrnn.nn
from fastrnn._core import backend
from tests.support.instruction_sets import SETS, printed
from tests.support.twins import CELLS, make

# Sizes: off every vector, few units, so deep that sums go in several chains. Heights and chunks are on both sides of
# every choice of csrc/cpu/plan.h: threads by rows or by units, weights read where they lie or packed.
PROGRAM = """
import json, torch
import fastrnn
import fastrnn.nn
from fastrnn import _C
from tests.support.company import cuts_with_other_steps, heights_with_other_rows
from tests.support.twins import CELLS, initial, make, random

_C.assume_cores(8)
torch.use_deterministic_algorithms(True)
HEIGHTS = [(2, 1), (7, 3), (16, 2), (40, 1), (40, 3)]
CUTS = [((1,) * 9, 2), ((4, 1, 4), 2), ((2, 7), 1)]
wrong, compared = [], 0

def look(name, found, runs):
    global compared
    compared += len(runs)
    wrong.extend(f"{name}: {each}" for each in found)

for cell in CELLS:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        for inputs, hidden in ((37, 83), (260, 17), (5, 4)):
            layer = make(fastrnn.nn, cell, inputs, hidden, dtype=dtype).eval()
            x, hx = random(9, 40, inputs, dtype=dtype), initial(layer, 40, dtype)
            name = f"{cell} I{inputs} H{hidden} {dtype}"
            for steps in (1, 9):
                look(f"{name}, {steps} steps", heights_with_other_rows(layer, x[:steps], hx, HEIGHTS), HEIGHTS)
            if dtype != torch.bfloat16:  # whose states are rounded between chunks
                for rows in (1, 40):
                    state = tuple(h[:, :rows] for h in hx) if isinstance(hx, tuple) else hx[:, :rows]
                    look(f"{name}, {rows} rows", cuts_with_other_steps(layer, x[:, :rows], state, CUTS), CUTS)
            if dtype == torch.float32:
                frozen = fastrnn.freeze(layer)
                for rows in (1, 40):
                    with torch.no_grad():
                        same = torch.equal(layer(x[:, :rows])[0], frozen(x[:, :rows])[0])
                    look(name, [] if same else [f"{rows} rows frozen"], [rows])
print(json.dumps({"set": _C.instruction_set(), "compared": compared, "wrong": wrong}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_the_same_bits_in_any_batch_and_in_chunks(isa):
    result = json.loads(printed(PROGRAM, isa))
    assert result["set"] == isa
    assert result["compared"] == len(CELLS) * 3 * (3 * 2 * 5 + 2 * 2 * 3 + 2)
    assert result["wrong"] == []


def test_without_it_few_rows_take_another_way():
    """Else the test above would hold anyway."""
    layer, x = make(fastrnn.nn, "lstm", 37, 83).eval(), torch.randn(5, 40, 37)
    with torch.no_grad():
        assert not torch.equal(layer(x)[0][:, :1], layer(x[:, :1])[0])


@pytest.fixture
def deterministic():
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize("cell", CELLS)
def test_no_layer_complains(cell, deterministic):
    options = {"dropout": 0.3, "input_dropout": 0.2, "locked_dropout": True, "weight_dropout": 0.5}
    packed = pack_sequence([torch.randn(length, 3) for length in (2, 4, 3)], enforce_sorted=False)
    for given in ({"recompute": True}, options):
        layer = make(fastrnn, cell, 3, 5, num_layers=2, bidirectional=True, **given)
        for x in (torch.randn(4, 3, 3).requires_grad_(), torch.randn(4, 3), packed):
            output, _ = layer(x)
            (output if isinstance(output, torch.Tensor) else output.data).sum().backward()
    weight = layer.weight_hh_l0
    (gradient,) = torch.autograd.grad(layer(torch.randn(2, 3))[0].sum(), weight, create_graph=True)
    gradient.square().sum().backward()


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_no_cell_complains(name, deterministic):
    cell = getattr(fastrnn, name)(3, 5)
    h = cell(torch.randn(2, 3))
    (h[0] if isinstance(h, tuple) else h).sum().backward()


def test_no_loss_complains(deterministic):
    x, target = torch.randn(6, 4, requires_grad=True), torch.tensor([0, 3, 2, -100, 1, 4])
    loss = fastrnn.LinearCrossEntropyLoss(4, 5)
    loss(x, target).backward()
    weight = torch.randn(5, 4, requires_grad=True)
    fastrnn.functional.linear_cross_entropy(x, weight, target, label_smoothing=0.1).backward()


def test_no_reference_and_no_frozen_layer_complains(deterministic, monkeypatch):
    x = torch.randn(4, 2, 3)
    model = torch.nn.Sequential(fastrnn.GRU(3, 5)).eval()
    for packed in (fastrnn.freeze(model), fastrnn.quantize(model)):
        packed(x)
    monkeypatch.setattr(backend, "kernels_serve", lambda input: False)
    fastrnn.LSTM(3, 5, peephole=True)(x)[0].sum().backward()
