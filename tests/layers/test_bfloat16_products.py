"""Products of bfloat16 by the processor's own instructions: operands are rounded, sums, gates and states are float32.

The expected numbers are the reference's in float64, with the operands of every product rounded to bfloat16, forward and
backward. A number half-way between two of bfloat16 may be rounded the other way, so errors are root mean squares, and
must be far below those against the reference without rounding.
"""

from contextlib import nullcontext
from functools import partial

import pytest
import torch

import fastrnn.nn
from fastrnn import _C, reference
from fastrnn._verify.rounding import RoundedProducts
from tests.support.twins import PLAIN_CELLS, make, random

pytestmark = pytest.mark.skipif(
    _C.instruction_set() != "avx512_bf16", reason="this processor, or FASTRNN_ISA, has no instructions for bfloat16"
)

# T, B, I, H: packed at use; by rows; by hidden units; odd sizes; a batch beyond one chunk of the backward pass
SHAPES = [(1, 33, 19, 37), (5, 9, 16, 70), (6, 2, 131, 33), (7, 3, 1, 9), (3, 130, 8, 17), (20, 3, 31, 8)]


def _operands(cell, shape, batch_sizes):
    """The name of the cell, input, h0, c0 in float32, weights in bfloat16, whether there is a projection."""
    times, batch, input_size, hidden_size = shape
    layer = make(fastrnn.nn, cell, input_size, hidden_size, bidirectional=True).bfloat16()
    rows = (times, batch) if batch_sizes is None else (int(batch_sizes.sum()),)
    x, h0 = random(*rows, input_size, dtype=torch.float32), random(2, batch, layer.proj_size or hidden_size, seed=3)
    c0 = random(2, batch, hidden_size, seed=4).float() if layer._cell.endswith("lstm") else None
    return layer._cell, x, h0.float(), c0, [w.detach() for w in layer._weights()], layer.proj_size > 0


def _computed(operator, name, x, batch_sizes, h0, c0, weights, *options):
    """Outputs, final states and all gradients of a sum of outputs and states."""
    leaves = [t.requires_grad_() for t in (x, h0, c0, *weights) if t is not None]
    results = operator(name, x, batch_sizes, h0, c0, weights, *options)
    results = [t for t in results[:3] if t.numel()]
    incoming = [random(*t.shape, dtype=t.dtype, seed=5 + i) for i, t in enumerate(results)]
    grads = torch.autograd.grad(results, leaves, incoming)
    return [t.detach() for t in (*results, *grads)]


def _wide(t):
    return None if t is None else t.detach().double()


def _errors(found, exact):
    """Of each tensor: the root mean square error, relative to the tensor's root mean square."""
    differences = [(a.double() - b.to(a.dtype).double()).square().mean() for a, b in zip(found, exact, strict=True)]
    return torch.stack([d / b.square().mean() for d, b in zip(differences, exact, strict=True)]).sqrt()


@pytest.mark.parametrize("lengths", ["equal", "packed"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_operands_are_rounded_and_nothing_else(cell, shape, lengths):
    times, batch = shape[:2]
    batch_sizes = None
    if lengths == "packed":
        batch_sizes = torch.tensor([max(1, batch - batch * t // times) for t in range(times)])
    name, x, h0, c0, weights, projected = _operands(cell, shape, batch_sizes)
    exact = []
    for rounding in (RoundedProducts(lambda operand: operand.bfloat16().to(operand.dtype)), nullcontext()):
        with rounding:
            layer = partial(reference.layer, projected=projected)
            wide = [_wide(w) for w in weights]
            operands = _wide(x), batch_sizes, _wide(h0), _wide(c0), wide
            exact.append(_computed(layer, name, *operands, True, True, False))
    rounded, unrounded = exact
    for recompute in (False, True):
        options = (True, True, False, True, recompute, projected)
        found = _computed(torch.ops.fastrnn.forward, name, x.detach(), batch_sizes, h0.detach(), c0, weights, *options)
        errors = _errors(found, rounded)
        assert errors.max() < 1.5e-3
        assert errors.norm() < 0.3 * _errors(found, unrounded).norm()


@pytest.fixture
def teams():
    """Restores the number of threads, the number of cores and that teams stay together."""
    threads = torch.get_num_threads()
    _C.assume_cores(8)
    yield
    torch.set_num_threads(threads)
    _C.assume_cores(0)
    _C.dissolve_teams(None)


@pytest.mark.parametrize(
    "shape", [(1, 33, 18, 70), (1, 33, 19, 70), (6, 3, 18, 70), (6, 3, 19, 70), (5, 40, 9, 17)], ids=str
)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_same_bits_with_any_team(cell, shape, teams):
    """Where threads share the rounding of rows, where they wait for it, and where the team is dissolved there."""
    times, batch, input_size, hidden_size = shape
    options = {"bidirectional": True, "num_layers": 2, "recompute": input_size % 2 == 1}
    layer = make(fastrnn.nn, cell, input_size, hidden_size, **options).bfloat16()
    x = random(times, batch, input_size, dtype=torch.float32).bfloat16().requires_grad_()
    found = []
    for threads, dissolved in ((1, None), (2, None), (3, None), (2, 0), (2, 1), (3, 2), (3, 4)):
        torch.set_num_threads(threads)
        _C.dissolve_teams(dissolved)
        with torch.no_grad():
            short = layer(x)[0]
        output = layer(x)[0]
        grads = torch.autograd.grad(output.float().square().sum(), [x, *layer.parameters()])
        found.append([short, output.detach(), *grads])
        assert torch.equal(short, output)
    for each in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(each, found[0], strict=True))
