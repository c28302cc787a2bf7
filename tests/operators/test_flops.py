"""FlopCounterMode: as many operations as torch counts for torch.nn's layers, and as a hand counts."""

import copy
import itertools
import subprocess
import sys

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import fastrnn
import fastrnn.nn
from tests.support.twins import TORCH_CELLS, initial, make, random, twins


def count(module, x, hx=None, backward=True):
    """Operations of the forward pass, and of both."""
    with FlopCounterMode(display=False) as counter:
        output = module(x, hx)[0]
        forward = counter.get_total_flops()
        if backward:
            (output.data if isinstance(output, PackedSequence) else output).sum().backward()
    return forward, counter.get_total_flops()


@pytest.fixture
def without_onednn():
    """torch counts nothing of the products inside oneDNN."""
    was = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(was)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_as_torch_counts(cell, without_onednn):
    for layers, bidirectional, packed, given, wanted in itertools.product((1, 2), *[(False, True)] * 4):
        counts = []
        for layer in twins(cell, 3, 4, num_layers=layers, bidirectional=bidirectional):
            x = random(5, 3, 3, dtype=torch.float32).requires_grad_(wanted)
            hx = initial(layer, 3, torch.float32) if given else None
            if given and wanted:
                [state.requires_grad_() for state in (hx if isinstance(hx, tuple) else (hx,))]
            counts.append(count(layer, pack_padded_sequence(x, [5, 4, 1]) if packed else x, hx))
        assert counts[1] == counts[0], (layers, bidirectional, packed, given, wanted)


def test_as_torch_counts_with_frozen_weights(without_onednn):
    for name in ("weight_ih_l0", "weight_hh_l0"):
        theirs, ours = twins("gru", 3, 4, batch_first=True)
        for layer in (theirs, ours):
            getattr(layer, name).requires_grad_(False)
        x = random(2, 5, 3, dtype=torch.float32)
        assert count(ours, x) == count(theirs, x)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell"])
def test_cells(name):
    theirs = getattr(torch.nn, name)(3, 4)
    ours, x = fastrnn.convert(copy.deepcopy(theirs)), random(2, 3, dtype=torch.float32)
    assert count(ours, x, backward=False) == count(theirs, x, backward=False)


def test_by_hand():
    """LSTM, T 7, B 2, I 3, H 5: 14 rows, 20 x 3 and 20 x 5 numbers of weights, two operations each."""
    layer, x = make(fastrnn.nn, "lstm", 3, 5), random(7, 2, 3, dtype=torch.float32)
    forward = 2 * 14 * (60 + 100)
    backward = 2 * (14 * 60 + 14 * 100 + 12 * 100)  # gradients of both weights, of h at all steps but the first
    assert count(layer, x) == (forward, forward + backward)
    layer.recompute = True
    assert count(layer, x) == (forward, 2 * forward + backward)


def test_a_cell_that_torch_lacks():
    layer, x = make(fastrnn.nn, "gru_reset_before", 3, 5), random(7, 2, 3, dtype=torch.float32)
    assert count(layer, x, backward=False)[0] == 2 * 14 * (45 + 75)


ALONE = """
import fastrnn, torch
from torch.utils.flop_counter import FlopCounterMode
for layer in (fastrnn.LSTM(3, 4), fastrnn.layer(fastrnn.cells.Peephole)(3, 4)):
    with FlopCounterMode(display=False) as counter:
        layer(torch.randn(5, 2, 3))
    assert counter.get_total_flops() == 2 * 10 * 16 * 7, counter.get_total_flops()
"""


def test_the_formulas_come_with_the_layers():
    done = subprocess.run([sys.executable, "-c", ALONE], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
