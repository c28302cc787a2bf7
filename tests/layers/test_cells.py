"""RNNCell, GRUCell, LSTMCell: torch.nn's numbers and gradients, and a layer's, step by step."""

import pytest
import torch

import fastrnn.nn
from fastrnn import functional
from tests.support import twins
from tests.support.twins import assert_same, random

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64
NAMES = ("RNNCell", "GRUCell", "LSTMCell")
TORCH_KINDS = [
    ("RNNCell", {"nonlinearity": "tanh"}),
    ("RNNCell", {"nonlinearity": "relu"}),
    ("GRUCell", {}),
    ("LSTMCell", {}),
]
OWN_KINDS = [("RNNCell", {"nonlinearity": "sigmoid"}), ("GRUCell", {"reset_after": False})]


def build(package, name, *sizes, **options):
    torch.manual_seed(3)
    return getattr(package, name)(*sizes, **{"device": twins.DEVICE, "dtype": F64} | options)


def state(name, *shape):
    return (random(*shape, seed=5), random(*shape, seed=6)) if name == "LSTMCell" else random(*shape, seed=5)


def outcome(cell, x, hx):
    leaves = [t.detach().requires_grad_() for t in (x, *(() if hx is None else hx if isinstance(hx, tuple) else (hx,)))]
    given = None if hx is None else tuple(leaves[1:]) if isinstance(hx, tuple) else leaves[1]
    new = cell(leaves[0], given)
    new = new if isinstance(new, tuple) else (new,)
    sum((t * random(*t.shape, seed=i)).sum() for i, t in enumerate(new)).backward()
    found = {f"state {i}": t.detach() for i, t in enumerate(new)} | {f"d {i}": t.grad for i, t in enumerate(leaves)}
    return found | {name: p.grad for name, p in cell.named_parameters()}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (5, 3, 4), (33, 129, 17), (2, 17, 129), (0, 3, 4)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "options"), TORCH_KINDS, ids=str)
def test_parity(name, options, bias, sizes):
    batch, input_size, hidden_size = sizes
    theirs, ours = (build(p, name, input_size, hidden_size, bias=bias, **options) for p in (torch.nn, fastrnn.nn))
    x = random(batch, input_size)
    for hx in (None, state(name, batch, hidden_size)):
        found, expected = outcome(ours, x, hx), outcome(theirs, x, hx)
        assert_same(found, expected)


@pytest.mark.parametrize(("name", "options"), TORCH_KINDS, ids=str)
def test_unbatched(name, options):
    theirs, ours = (build(p, name, 3, 4, **options) for p in (torch.nn, fastrnn.nn))
    for hx in (None, state(name, 4)):
        assert_same(outcome(ours, random(3), hx), outcome(theirs, random(3), hx))


@pytest.mark.parametrize(("name", "options"), TORCH_KINDS + OWN_KINDS, ids=str)
def test_steps_make_a_layer(name, options):
    cell = build(fastrnn.nn, name, 3, 5, **options)
    layer = build(fastrnn.nn, name.removesuffix("Cell"), 3, 5, **options)
    layer.load_state_dict({key + "_l0": value for key, value in cell.state_dict().items()})
    x, hx = random(4, 2, 3), None
    for t, expected in enumerate(layer(x)[0]):
        hx = cell(x[t], hx)
        torch.testing.assert_close(hx[0] if isinstance(hx, tuple) else hx, expected, msg=f"step {t}")


@pytest.mark.parametrize(("name", "options"), TORCH_KINDS, ids=str)
def test_the_function_is_the_module(name, options):
    cell = build(fastrnn.nn, name, 3, 5, **options)
    function = getattr(functional, name.removesuffix("Cell").lower() + "_cell")
    x, hx = random(2, 3), state(name, 2, 5)
    assert_same(
        {str(i): t for i, t in enumerate(function(x, hx, *cell.parameters(), **options))},
        {str(i): t for i, t in enumerate(cell(x, hx))},
        0.0,
    )


@pytest.mark.parametrize("name", NAMES)
def test_drop_in(name):
    theirs, ours = (build(p, name, 3, 5) for p in (torch.nn, fastrnn.nn))
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a, b)
    assert build(fastrnn.nn, name, 3, 5, False).bias_ih is None
    ours.load_state_dict(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())


def test_positional_arguments_are_torchs():
    for package in (torch.nn, fastrnn.nn):
        cell = package.RNNCell(3, 5, False, "relu", "meta", F64)
        assert (cell.bias_ih, cell.nonlinearity) == (None, "relu")
        assert (cell.weight_ih.is_meta, cell.weight_ih.dtype) == (True, F64)
        for name in ("GRUCell", "LSTMCell"):
            cell = getattr(package, name)(3, 5, False, "meta", F64)
            assert (cell.bias_ih, cell.weight_ih.is_meta, cell.weight_ih.dtype) == (None, True, F64)


def test_repr_beyond_torch():
    assert repr(fastrnn.nn.RNNCell(3, 5, nonlinearity="sigmoid")) == "RNNCell(3, 5, nonlinearity=sigmoid)"
    assert repr(fastrnn.nn.GRUCell(3, 5, reset_after=False)) == "GRUCell(3, 5, reset_after=False)"
