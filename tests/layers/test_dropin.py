"""A drop-in: constructors, state dicts, initial weights, text, copies, pickles, warnings and weights put in place."""

import copy
import io
import itertools
import pickle

import pytest
import torch
from torch.nn.utils import parametrizations

import fastrnn
import fastrnn.nn
from tests.support.twins import TORCH_CELLS, make, random, twins

pytestmark = pytest.mark.usefixtures("device")

CLASSES = ("RNN", "GRU", "LSTM")
OPTIONS = [
    {},
    {"num_layers": 2, "dropout": 0.25},
    {"bias": False},
    {"batch_first": True, "bidirectional": True},
    {"num_layers": 3, "bidirectional": True, "bias": False, "dropout": 1.0},
]


def both(name, *args, **options):
    """torch.nn's and fastrnn's, each built from the same seed."""
    modules = []
    for package in (torch.nn, fastrnn.nn):
        torch.manual_seed(11)
        modules.append(getattr(package, name)(*args, **options))
    return modules


def test_exported():
    for name in ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell"):
        assert getattr(fastrnn, name) is getattr(fastrnn.nn, name)


@pytest.mark.parametrize(("cell", "options"), list(itertools.product(TORCH_CELLS, OPTIONS)), ids=str)
def test_same_seed_same_weights_keys_and_text(cell, options):
    theirs, ours = twins(cell, 3, 6, **options)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for (name, a), (_, b) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        assert isinstance(a, torch.nn.Parameter)
        assert torch.equal(a, b), name
    assert [[w.shape for w in ws] for ws in ours.all_weights] == [[w.shape for w in ws] for ws in theirs.all_weights]


def test_the_random_state_is_left_where_torch_leaves_it():
    after = []
    for package in (torch.nn, fastrnn.nn):
        torch.manual_seed(5)
        package.LSTM(3, 4, 2)
        after.append(torch.rand(4))
    assert torch.equal(*after)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_state_dicts_go_both_ways(cell):
    theirs, ours = twins(cell, 3, 6, num_layers=2, dtype=torch.float64)  # in float32 cuDNN's RNN is off by 2e-5
    with torch.no_grad():
        for p in theirs.parameters():
            p.mul_(2)
    assert str(ours.load_state_dict(theirs.state_dict())) == "<All keys matched successfully>"
    x = random(4, 2, 3)
    torch.testing.assert_close(ours(x), theirs(x))
    assert str(theirs.load_state_dict(ours.state_dict())) == "<All keys matched successfully>"


def test_assigned_state_dict():
    theirs, ours = twins("lstm", 3, 6)
    ours.load_state_dict({key: value * 2 for key, value in theirs.state_dict().items()}, assign=True)
    theirs.load_state_dict(ours.state_dict())
    x = random(4, 2, 3, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RNN", (3, 4, 2, "relu", False, True, 0.5, True)),
        ("GRU", (3, 4, 2, False, True, 0.5, True)),
        ("LSTM", (3, 4, 2, False, True, 0.5, True, 2)),
        ("LSTM", (3, 4, 2, False, True, 0.5, True, 2, "meta", torch.float64)),
    ],
)
def test_positional_arguments(name, arguments):
    theirs, ours = both(name, *arguments)
    for attribute in (*torch.nn.RNNBase.__constants__, *(["nonlinearity"] if name == "RNN" else [])):
        assert getattr(ours, attribute) == getattr(theirs, attribute), attribute
    assert [(p.device, p.dtype, p.shape) for p in ours.parameters()] == [
        (p.device, p.dtype, p.shape) for p in theirs.parameters()
    ]


@pytest.mark.parametrize("name", CLASSES)
def test_device_and_dtype(name):
    ours = getattr(fastrnn.nn, name)(3, 4, device="meta", dtype=torch.bfloat16)
    assert {(p.device.type, p.dtype) for p in ours.parameters()} == {("meta", torch.bfloat16)}
    output, _ = ours(torch.zeros(5, 2, 3, device="meta", dtype=torch.bfloat16))
    assert (output.shape, output.dtype, output.is_meta) == ((5, 2, 4), torch.bfloat16, True)
    assert next(getattr(fastrnn.nn, name)(3, 4).double().parameters()).dtype == torch.float64


@pytest.mark.parametrize("name", CLASSES)
def test_dropout_without_a_layer_above_warns(name):
    for package in (torch.nn, fastrnn.nn):
        with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
            getattr(package, name)(3, 4, dropout=0.5)


def test_beyond_torch_in_text():
    assert repr(fastrnn.RNN(3, 4, nonlinearity="sigmoid")) == "RNN(3, 4, nonlinearity=sigmoid)"
    assert repr(fastrnn.GRU(3, 4, bias=False, reset_after=False)) == "GRU(3, 4, bias=False, reset_after=False)"
    assert repr(fastrnn.GRU(3, 4, reset_after=True)) == "GRU(3, 4)"


def saved(layer):
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


BEYOND = [("RNN", {"nonlinearity": "sigmoid"}), ("GRU", {"reset_after": False})]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved])
@pytest.mark.parametrize(("name", "options"), [*((name, {}) for name in CLASSES), *BEYOND], ids=str)
def test_copies(name, options, duplicate, device):
    layer = getattr(fastrnn, name)(3, 4, 2, bidirectional=True, device=device, **options).eval()
    other = duplicate(layer)
    x = random(5, 2, 3, dtype=torch.float32)
    expected = layer(x)[0]
    assert type(other) is type(layer)
    assert (repr(other), other.training) == (repr(layer), False)
    torch.testing.assert_close(other(x)[0], expected, rtol=0, atol=0)
    with torch.no_grad():
        other.weight_ih_l0.zero_()
    assert torch.equal(layer(x)[0], expected)
    assert not torch.equal(other(x)[0], expected)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m)), saved])
def test_copies_of_cells(name, duplicate, device):
    cell = getattr(fastrnn, name)(3, 4, device=device)
    x = random(2, 3, dtype=torch.float32)
    torch.testing.assert_close(duplicate(cell)(x), cell(x), rtol=0, atol=0)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_functional_call_uses_the_weights_it_is_given(cell):
    theirs, ours = twins(cell, 3, 6, dtype=torch.float64)
    x = random(4, 2, 3)
    own = ours(x)[0].detach()
    given = {name: (p * 2).detach().requires_grad_() for name, p in ours.named_parameters()}
    found, expected = (torch.func.functional_call(layer, given, (x,))[0] for layer in (ours, theirs))
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(p.grad is not None for p in given.values())
    assert all(p.grad is None for p in ours.parameters())
    torch.testing.assert_close(ours(x)[0], own)


def test_parametrized_weights():
    theirs, ours = twins("lstm", 3, 6, dtype=torch.float64)
    x = random(4, 2, 3)
    for layer in (theirs, ours):
        parametrizations.weight_norm(layer, "weight_hh_l0")
        with torch.no_grad():
            layer.parametrizations.weight_hh_l0.original0.mul_(3)
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x)[0].sum().backward()
    assert ours.parametrizations.weight_hh_l0.original0.grad.abs().max() > 0


@pytest.mark.parametrize("put", ["parameter", "tensor", "data"])
def test_weights_put_in_place(put):
    theirs, ours = twins("gru", 3, 6, dtype=torch.float64)
    x, new = random(4, 2, 3), random(18, 6, seed=9)
    for layer in (theirs, ours):
        if put == "data":
            layer.weight_hh_l0.data = new
        elif put == "parameter":
            layer.weight_hh_l0 = torch.nn.Parameter(new)
        else:  # as weight-dropping wrappers do
            del layer.weight_hh_l0
            layer.weight_hh_l0 = new
    torch.testing.assert_close(ours(x), theirs(x))


def test_moved_to_another_dtype_and_back():
    theirs, ours = twins("lstm", 3, 6)
    x = random(4, 2, 3)
    torch.testing.assert_close(ours.double()(x), theirs.double()(x))
    torch.testing.assert_close(ours.float()(x.float()), theirs.float()(x.float()))


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_training_loop_with_an_optimizer(cell):
    theirs, ours = twins(cell, 3, 6, dtype=torch.float64)
    x = random(4, 2, 3)
    for layer in (theirs, ours):
        optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            layer(x)[0].pow(2).mean().backward()
            optimizer.step()
    torch.testing.assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()))


def test_hooks():
    layer, seen = make(fastrnn.nn, "lstm", 3, 4), []
    layer.register_forward_hook(lambda module, arguments, result: seen.append(result[0].shape))
    layer(random(5, 2, 3, dtype=torch.float32))
    assert seen == [(5, 2, 4)]


def test_functions_are_the_modules():
    x = random(5, 2, 3)
    for cell, function, options in (
        ("rnn_relu", fastrnn.functional.rnn, {"nonlinearity": "relu"}),
        ("gru", fastrnn.functional.gru, {}),
        ("gru_reset_before", fastrnn.functional.gru, {"reset_after": False}),
        ("lstm_projected", fastrnn.functional.lstm, {}),
    ):
        layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=torch.float64)
        found = function(x, None, list(layer.parameters()), num_layers=2, bidirectional=True, **options)
        torch.testing.assert_close(found, layer(x), rtol=0, atol=0)
