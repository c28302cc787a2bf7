"""torch.set_default_device says where new tensors are; layers compute where their weights and input are all the same.

"meta" stands for another device here: what is made on it by mistake has no numbers.
"""

import copy
from unittest import mock

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn._core import backend
from fastrnn._core.extension import _C
from tests.support.regularized import computed, layer_of
from tests.support.twins import CELLS, assert_same, random


@pytest.fixture
def elsewhere():
    return torch.device("meta")  # a context within which it is the default


OPTIONS = [{}, {"lengths": torch.tensor([4, 0, 6])}, {"resets": torch.tensor([[False, True, False]] * 6)}]
OPTIONS += [{"return_states": True, **OPTIONS[1], **OPTIONS[2]}]


@pytest.mark.parametrize("called", OPTIONS, ids=lambda called: "-".join(called) or "plain")
@pytest.mark.parametrize("cell", CELLS)
def test_training(elsewhere, cell, called):
    rates = {"dropout": 0.2, "input_dropout": 0.2, "weight_dropout": 0.2, "locked_dropout": True}
    layer = layer_of(cell, 8, (0.25,) * 3, heads=2, num_layers=2, learn_initial_state=True, bidirectional=True, **rates)
    x = random(6, 3, 3, dtype=torch.float32)
    expected = computed(layer, x, None, **called)

    def call(layer, *given, **options):
        with elsewhere:
            return layer(*given, **options)

    assert_same(computed(layer, x, None, call=call, **called), expected)


def test_lengths_where_rows_are_packed(elsewhere):
    """As on CUDA."""
    layer, x, called = layer_of("lstm", 8, ()), random(6, 3, 3, dtype=torch.float32), OPTIONS[-1]
    expected = layer(x, **called)[0]
    with (
        mock.patch.object(_C, "run_layer", return_value=None),
        mock.patch.object(backend, "_takes_options_as_given", return_value=False),
        elsewhere,
    ):
        found = layer(x, **called)[0]
    torch.testing.assert_close(found, expected)


def test_packed_input(elsewhere):
    layer = layer_of("gru", 8, (0.25,), num_layers=2, dropout=0.2, locked_dropout=True)
    x = pack_padded_sequence(random(6, 3, 3, dtype=torch.float32), [6, 4, 1])
    torch.manual_seed(0)
    expected = layer(x)[0].data
    torch.manual_seed(0)
    with elsewhere:
        assert torch.equal(layer(x)[0].data, expected)


PACKED = {
    "freeze": fastrnn.freeze,
    "bfloat16": lambda model: fastrnn.quantize(model, dtype="bfloat16"),
    "int8": fastrnn.quantize,
}


@pytest.mark.parametrize("called", OPTIONS[:3], ids=lambda called: "-".join(called) or "plain")
@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("pack", PACKED)
def test_packed_layers_and_streams(elsewhere, pack, heads, called):
    model = torch.nn.Sequential(layer_of("lstm", 8, (), heads=heads, num_layers=2)).eval()
    x = random(6, 3, 3, dtype=torch.float32)
    expected = PACKED[pack](copy.deepcopy(model))[0](x, **called)
    with elsewhere:
        packed = PACKED[pack](model)[0]
        found = packed(x, **called)
        stream = packed.stream(3)
        steps = [stream(x_t) for x_t in x]
    assert torch.equal(found[0], expected[0])
    if not called:
        assert torch.equal(torch.stack(steps), expected[0])


def test_nested_tensors(elsewhere):
    layer = layer_of("gru", 8, ())
    x = torch.nested.nested_tensor([random(n, 3, dtype=torch.float32) for n in (4, 2)], layout=torch.jagged)
    layer.batch_first = True
    expected = layer(x)[0].values()
    with elsewhere:
        assert torch.equal(layer(x)[0].values(), expected)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # torch's own forward mode calls it
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_derivatives(elsewhere, cell):
    layer, x = layer_of(cell, 8, ()), random(6, 3, 3, dtype=torch.float32)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights, x):
        return functional_call(layer, weights, (x.unsqueeze(1),))[0].square().sum()

    def everything():
        forward = jvp(lambda x: layer(x)[0], (x,), (x.cos(),))
        return [*forward, *vmap(grad(loss), in_dims=(None, 1))(weights, x).values()]

    expected = everything()
    with elsewhere:
        found = everything()
    for got, want in zip(found, expected, strict=True):
        assert torch.equal(got, want)
