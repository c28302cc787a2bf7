"""convert and to_torch: in place, the same objects, nothing lost, and nothing changed that cannot be."""

import copy
import warnings

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fastrnn
from fastrnn.nn.by_cell import LAYERS
from tests.support.twins import TORCH_CELLS, initial, make, random

NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")
PAIRS = [(getattr(nn, name), getattr(fastrnn, name)) for name in NAMES]


class Model(nn.Module):
    """Recurrent modules at several depths, one of them twice."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Linear(3, 4)
        self.encoder = nn.LSTM(4, 6, 2, batch_first=True, bidirectional=True, dropout=0.5)
        self.blocks = nn.ModuleList([nn.GRU(12, 12), nn.RNN(12, 12, nonlinearity="relu")])
        self.again = self.blocks[0]
        cells = {"a": nn.LSTMCell(12, 5), "b": nn.GRUCell(5, 5), "c": nn.RNNCell(5, 2, nonlinearity="relu")}
        self.cells = nn.ModuleDict(cells)

    def forward(self, x):
        x, _ = self.encoder(self.embed(x))
        x, _ = self.blocks[0](x)
        x, _ = self.again(x)
        x, _ = self.blocks[1](x)
        h, _ = self.cells["a"](x[0])
        return self.cells["c"](self.cells["b"](h))


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_the_root_round_trip(cell):
    theirs = make(nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=torch.float64)
    x, hx = random(4, 2, 3), initial(theirs, 2, torch.float64)
    expected, text, attributes = theirs(x, hx), repr(theirs), dict(theirs.__dict__)
    ours = fastrnn.convert(theirs)
    assert type(ours).__module__.startswith("fastrnn")
    assert repr(ours) == text
    torch.testing.assert_close(ours(x, hx), expected)
    back = fastrnn.to_torch(ours)
    assert type(back).__module__ == "torch.nn.modules.rnn"
    assert back.__dict__.keys() == attributes.keys()
    torch.testing.assert_close(back(x, hx), expected, rtol=0, atol=0)


def test_a_model_round_trip():
    model = Model().double().eval()
    x = random(2, 5, 3)
    expected, state = model(x), {k: v.clone() for k, v in model.state_dict().items()}
    parameters, names = list(model.parameters()), [name for name, _ in model.named_modules()]
    assert fastrnn.convert(model) is model
    for theirs, ours in PAIRS:
        assert not any(type(m) is theirs for m in model.modules())
        assert any(type(m) is ours for m in model.modules())
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert [name for name, _ in model.named_modules()] == names
    assert model.again is model.blocks[0]
    torch.testing.assert_close(model(x), expected)
    fastrnn.convert(model)  # once more changes nothing
    torch.testing.assert_close(model(x), expected)
    assert fastrnn.to_torch(model) is model
    assert not any(type(m).__module__.startswith("fastrnn") for m in model.modules())
    torch.testing.assert_close(model(x), expected, rtol=0, atol=0)
    torch.testing.assert_close(model.state_dict(), state, rtol=0, atol=0)


def test_an_optimizer_made_before_stays_right():
    models = [Model().double().eval() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x = random(2, 5, 3)
    for model in models:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if model is models[1]:
            fastrnn.convert(model)
        for _ in range(3):
            optimizer.zero_grad()
            model(x).pow(2).sum().backward()
            optimizer.step()
    torch.testing.assert_close(models[0].state_dict(), models[1].state_dict())


def test_mode_frozen_weights_and_what_the_user_added_are_kept():
    layer = nn.LSTM(3, 4).eval()
    layer.weight_hh_l0.requires_grad_(False)
    layer.note = "mine"
    layer.register_buffer("count", torch.tensor(3))
    fastrnn.convert(layer)
    assert not layer.training
    assert not layer.weight_hh_l0.requires_grad
    assert (layer.note, layer.count.item()) == ("mine", 3)
    assert "count" in layer.state_dict()


def test_every_kind_of_hook_is_kept_and_its_handle_works():
    layer, seen = nn.GRU(3, 4), []

    def note(kind):
        return lambda *_: seen.append(kind)

    handles = [
        layer.register_forward_pre_hook(note("forward pre")),
        layer.register_forward_hook(note("forward")),
        layer.register_full_backward_pre_hook(note("backward pre")),
        layer.register_full_backward_hook(note("backward")),
        layer.register_state_dict_pre_hook(note("state dict pre")),
        layer.register_state_dict_post_hook(note("state dict")),
        layer.register_load_state_dict_pre_hook(note("load pre")),
        layer.register_load_state_dict_post_hook(note("load")),
    ]
    fastrnn.convert(layer)

    def use():
        seen.clear()
        layer(torch.zeros(2, 1, 3, requires_grad=True))[0].sum().backward()
        layer.load_state_dict(layer.state_dict())
        return seen

    kinds = ["forward pre", "forward", "backward pre", "backward", "state dict pre", "state dict", "load pre", "load"]
    assert use() == kinds
    for handle in handles:
        handle.remove()
    assert use() == []


class Mine(nn.LSTM):
    pass


def test_a_subclass_is_skipped_and_named():
    model = nn.Sequential(nn.GRU(3, 3), Mine(3, 4))
    with pytest.warns(UserWarning, match=r"skipped 1 \(Mine: subclass; try convert\(model, derived=True\)\)") as caught:
        fastrnn.convert(model)
    assert caught[0].filename == __file__
    assert [type(m) for m in model] == [fastrnn.GRU, Mine]
    with pytest.warns(UserWarning, match=r"the model itself \(Mine: subclass"):
        assert type(fastrnn.convert(Mine(3, 4))) is Mine


@pytest.mark.parametrize("name", ["LSTM", "RNNCell"])
def test_parametrized_modules_are_converted_and_go_back(name):
    module, x = getattr(nn, name)(3, 4), torch.randn(2, 3) if "Cell" in name else torch.randn(5, 2, 3)
    weight = "weight_hh" if "Cell" in name else "weight_hh_l0"
    parametrizations.weight_norm(module, weight)
    expected = module(x)
    assert fastrnn.convert(module) is module
    assert issubclass(type(module), getattr(fastrnn, name))
    torch.testing.assert_close(module(x), expected)
    fastrnn.to_torch(module)
    assert type(module).__bases__ == (getattr(nn, name),)
    torch.testing.assert_close(module(x), expected, rtol=0, atol=0)
    fastrnn.convert(module)
    parametrize.remove_parametrizations(module, weight)
    assert type(module) is getattr(fastrnn, name)
    torch.testing.assert_close(module(x), expected)


def test_a_module_with_a_forward_of_its_own_is_skipped_and_named():
    layer = nn.LSTM(3, 4)
    layer.forward = lambda *_: "replaced"
    with pytest.warns(UserWarning, match=r"the model itself \(LSTM: its forward was replaced; del module.forward"):
        assert fastrnn.convert(layer)(None) == "replaced"


def test_to_torch_skips_subclasses():
    class Ours(fastrnn.GRU):
        pass

    with pytest.warns(UserWarning, match=r"the model itself \(Ours: subclass of fastrnn.GRU; derive from torch.nn.GRU"):
        assert type(fastrnn.to_torch(Ours(3, 4))) is Ours


def test_what_torch_lacks_cannot_go_back_and_nothing_is_changed():
    model = nn.ModuleDict(
        {
            "fine": fastrnn.LSTM(3, 4),
            "classic": fastrnn.RNN(3, 4, nonlinearity="sigmoid"),
            "paper": fastrnn.GRUCell(3, 4, reset_after=False),
        }
    )
    with pytest.raises(ValueError, match=r"classic: RNN.*sigmoid.*paper: GRUCell.*reset_after=False"):
        fastrnn.to_torch(model)
    assert [type(m) for m in model.values()] == [fastrnn.LSTM, fastrnn.RNN, fastrnn.GRUCell]
    with pytest.raises(ValueError, match="the model itself"):
        fastrnn.to_torch(model["paper"])


@pytest.mark.parametrize("function", [fastrnn.convert, fastrnn.to_torch])
def test_not_a_module(function):
    with pytest.raises(TypeError, match="got dict"):
        function({"a": nn.LSTM(3, 4)})


def unchanged(model, message):
    with pytest.warns(UserWarning, match=message) as caught:
        assert fastrnn.convert(model) is model
    assert [w.filename for w in caught] == [__file__]


def test_nothing_to_convert_is_said():
    unchanged(nn.Linear(3, 4), "found no RNN, GRU, LSTM or cell of torch.nn in Linear: it has 1 Linear")
    unchanged(nn.Sequential(nn.ReLU(), nn.Linear(2, 2), nn.ReLU()), "in Sequential: it has 2 ReLU, 1 Sequential, 1 Lin")


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_scripted_and_quantized_layers_are_named():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scripted = torch.jit.script(nn.Sequential(nn.LSTM(3, 4)))
        quantized = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.LSTM(3, 4)))
    unchanged(scripted, "torch.jit has compiled 0; convert the model first, then use torch.jit.trace")
    unchanged(quantized, r"torch.ao.nn.quantized.dynamic.modules.rnn.LSTM is not torch.nn's; convert the model before")


class Hiding(nn.Module):
    def __init__(self):
        super().__init__()
        self.fine = nn.GRU(2, 2)
        self.cells = [nn.LSTMCell(2, 2), nn.Sequential(nn.GRUCell(2, 2))]
        self.named = {"a": nn.RNN(2, 2)}
        self.numbers = [1] * 5000
        self.others = [nn.Linear(2, 2), self.fine]
        self.__dict__["bare"] = nn.LSTM(2, 2)


def test_layers_that_torch_does_not_see_are_named_with_what_to_write():
    model = Hiding()
    with pytest.warns(UserWarning, match="did not reach") as caught:
        fastrnn.convert(model)
    assert type(model.fine) is fastrnn.GRU
    assert type(model.cells[0]) is nn.LSTMCell
    (message,) = [str(w.message) for w in caught]
    assert message.removeprefix("fastrnn.convert did not reach ").split("; ") == [
        "cells[0] (LSTMCell), which torch does not register: write self.cells = torch.nn.ModuleList([...])",
        "cells[1] (Sequential), which torch does not register: write self.cells = torch.nn.ModuleList([...])",
        "named['a'] (RNN), which torch does not register: write self.named = torch.nn.ModuleDict({...})",
        "bare (LSTM), which torch does not register: write self.bare = ... after super().__init__()",
    ]
    model.cells = nn.ModuleList(model.cells)
    model.named = nn.ModuleDict(model.named)
    model.bare = model.__dict__.pop("bare")
    fastrnn.convert(model)
    assert type(model.cells[1][0]) is fastrnn.GRUCell
    model.more = [fastrnn.RNN(2, 2)]
    with pytest.warns(UserWarning, match=r"fastrnn.to_torch did not reach more\[0\] \(RNN\)"):
        fastrnn.to_torch(model)


CHANGES = [
    {"batch_first": True},
    {"dropout": 1.0},
    {"dropout": 1},
    {"mode": "RNN_RELU"},
    {"nonlinearity": "relu"},
    {"training": False},
]
REFUSED = [{"bidirectional": True}, {"num_layers": 1}, {"num_layers": 3}, {"bias": False}]


def changed(name, change):
    theirs = getattr(nn, name)(3, 6, 2, dropout=0.5, dtype=torch.float64)
    ours = fastrnn.convert(copy.deepcopy(theirs))
    for module in (theirs, ours):
        for attribute, value in change.items():
            setattr(module, attribute, value)
    if name == "RNN" and "nonlinearity" in change:
        theirs.mode = "RNN_RELU"  # by which alone torch.nn goes
    return theirs, ours


def seeded(module):
    torch.manual_seed(1)
    return module(random(5, 2, 3))[0]


@pytest.mark.parametrize("change", CHANGES, ids=str)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_options_that_change_after_construction(name, change):
    theirs, ours = changed(name, change)
    expected = seeded(theirs)
    torch.testing.assert_close(seeded(ours), expected)
    torch.testing.assert_close(seeded(fastrnn.to_torch(ours)), expected)


@pytest.mark.parametrize("change", REFUSED, ids=str)
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_options_that_the_weights_do_not_fit(name, change):
    theirs, ours = changed(name, change)
    for module in (theirs, ours, fastrnn.to_torch(copy.deepcopy(ours))):
        with pytest.raises((RuntimeError, IndexError)):
            seeded(module)


def test_a_nonlinearity_set_later():
    x = random(5, 2, 3)
    layer = fastrnn.RNN(3, 4, dtype=torch.float64)
    tanh = layer(x)[0]
    layer.nonlinearity = "relu"
    relu = layer(x)[0]
    assert not torch.allclose(relu, tanh)
    assert layer.mode == "RNN_RELU"
    assert repr(layer) == repr(nn.RNN(3, 4))
    torch.testing.assert_close(fastrnn.to_torch(layer)(x)[0], relu)
    torch.testing.assert_close(fastrnn.convert(layer)(x)[0], relu)
    layer.mode = "RNN_TANH"
    torch.testing.assert_close(layer(x)[0], tanh)
    layer.nonlinearity = "sigmoid"
    with pytest.raises(ValueError, match="nonlinearity=sigmoid"):
        fastrnn.to_torch(layer)
    with pytest.raises(ValueError, match="one of tanh, relu, sigmoid, got 'gelu'"):
        layer.nonlinearity = "gelu"
    with pytest.raises(ValueError, match="RNN_TANH or RNN_RELU, got 'GRU'"):
        layer.mode = "GRU"
    cell = fastrnn.RNNCell(3, 4)
    cell.nonlinearity = "relu"
    x = random(2, 3, dtype=torch.float32)
    expected = cell(x)
    torch.testing.assert_close(fastrnn.to_torch(cell)(x), expected)
    cell = fastrnn.RNNCell(3, 4, nonlinearity="gelu")  # as torch's: an error when it is called
    assert type(fastrnn.to_torch(cell)) is nn.RNNCell


@pytest.mark.parametrize("cell", LAYERS)
def test_torch_has_a_cell_or_the_way_back_is_an_error(cell):
    layer = LAYERS[cell](3, 4, recompute=True)
    if cell in TORCH_CELLS:
        assert type(fastrnn.to_torch(layer)).__module__.startswith("torch.nn")
        assert not {"recompute", "reset_after"} & vars(layer).keys()
    else:
        with pytest.raises(ValueError, match="no module that computes the same"):
            fastrnn.to_torch(layer)
