"""Lengths and resets on the fast path (csrc/torch/fast_path.cpp): when it is taken, and that it computes the same."""

import itertools

import pytest
import torch
from torch.overrides import TorchFunctionMode

import fastrnn
from fastrnn import _C

T, B, I, H = 6, 4, 5, 7
LENGTHS = torch.tensor([3, 6, 0, 5])
RESETS = torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.3
GIVEN = [{"lengths": LENGTHS}, {"resets": RESETS}, {"lengths": LENGTHS, "resets": RESETS}, {"resets": None}]
LAYERS = {
    "RNN": lambda **options: fastrnn.RNN(I, H, nonlinearity="relu", **options),
    "GRU": lambda **options: fastrnn.GRU(I, H, reset_after=False, **options),
    "LSTM": lambda **options: fastrnn.LSTM(I, H, proj_size=3, **options),
    "norm": lambda **options: fastrnn.LSTM(I, H, layer_norm=True, **options),
}


class LongWay(TorchFunctionMode):
    """A call that is watched takes the long way."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


def direct(layer, input, options):
    """What the fast path returns; None where it leaves the call to the long way."""
    if hasattr(layer, "numbers"):
        return _C.infer_packed(input, None, vars(layer), options)
    return _C.run_layer(layer._cell, input, None, vars(layer), type(layer), options)


def tensors(results):
    output, state = results
    return [output, *(state if isinstance(state, tuple) else [state])]


def operands(layer, given):
    input = torch.randn(T, B, I)
    if not layer.batch_first:
        return input, given
    return input.transpose(0, 1), {k: v.t() if k == "resets" and v is not None else v for k, v in given.items()}


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: " ".join(given))
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"batch_first": True}], ids=str)
@pytest.mark.parametrize("kind", LAYERS)
def test_same_bits_as_the_long_way(kind, options, given):
    torch.manual_seed(0)
    layer = LAYERS[kind](**options)
    input, given = operands(layer, given)
    leaves = [input.requires_grad_(), *layer.parameters()]
    with LongWay():
        assert direct(layer, input, given) is None
        expected = tensors(layer(input, **given))
    found = direct(layer, input, given)
    assert found is not None
    weights = [torch.randn_like(t) for t in expected]
    for result, want in zip(tensors(found), expected, strict=True):
        assert torch.equal(result, want)
    wanted = torch.autograd.grad(expected, leaves, weights)
    for result, want in zip(torch.autograd.grad(tensors(found), leaves, weights), wanted, strict=True):
        assert torch.equal(result, want)
    with torch.no_grad():
        for result, want in zip(tensors(direct(layer, input, given)), expected, strict=True):
            assert torch.equal(result, want)


@pytest.mark.parametrize("given", GIVEN, ids=lambda given: " ".join(given))
@pytest.mark.parametrize("pack", [fastrnn.freeze, fastrnn.quantize])
def test_same_bits_of_packed_layers(pack, given):
    torch.manual_seed(0)
    layer = pack(fastrnn.GRU(I, H, 2, bidirectional=True).eval())
    input, given = operands(layer, given)
    with torch.inference_mode():
        with LongWay():
            expected = tensors(layer(input, **given))
        found = direct(layer, input, given)
        assert found is not None
        for result, want in zip(tensors(found), expected, strict=True):
            assert torch.equal(result, want)


@pytest.mark.parametrize(
    "given",
    [
        {"return_states": True},
        {"lengths": LENGTHS, "return_states": False},
        {"length": LENGTHS},
        {"lengths": LENGTHS.int()},
        {"lengths": LENGTHS + 1},
        {"lengths": LENGTHS - 1},
        {"lengths": LENGTHS[:3]},
        {"lengths": LENGTHS.tolist()},
        {"lengths": LENGTHS.to("meta")},
        {"resets": RESETS.float()},
        {"resets": RESETS.t()},
        {"resets": RESETS[0]},
        {"resets": RESETS.to_sparse()},
        {"resets": RESETS.as_subclass(torch.nn.Buffer)},
    ],
    ids=str,
)
def test_left_to_the_long_way(given):
    for layer, recorded in itertools.product(
        (fastrnn.LSTM(I, H), fastrnn.freeze(fastrnn.LSTM(I, H).eval())), (False, True)
    ):
        with torch.set_grad_enabled(recorded):
            assert direct(layer, torch.randn(T, B, I), given) is None


def test_resets_begin_with_what_is_learned():
    """Which the fast path does not know."""
    layer = fastrnn.GRU(I, H, learn_initial_state=True)
    assert direct(layer, torch.randn(T, B, I), {"resets": RESETS}) is None
