"""convert and to_torch: in place, the same objects, nothing lost, and nothing changed that cannot be."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import fastrnn
from tests.twins import TORCH_CELLS, initial, make, random

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


def test_a_derived_class_is_left_alone_and_named():
    class Mine(nn.LSTM):
        pass

    model = nn.Sequential(nn.GRU(3, 3), Mine(3, 4))
    with pytest.warns(UserWarning, match=r"1 \(Mine\)") as caught:
        fastrnn.convert(model)
    assert caught[0].filename == __file__
    assert [type(m) for m in model] == [fastrnn.GRU, Mine]
    with pytest.warns(UserWarning, match=r"the model itself \(Mine\)"):
        assert type(fastrnn.convert(Mine(3, 4))) is Mine


def test_parametrized_modules_are_left_alone_and_named():
    model = nn.Sequential(parametrizations.weight_norm(nn.LSTM(3, 4), "weight_hh_l0"))
    with pytest.warns(UserWarning, match=r"0 \(ParametrizedLSTM\)"):
        fastrnn.convert(model)
    assert isinstance(model[0], nn.LSTM)


def test_a_module_with_a_forward_of_its_own_is_left_alone_and_named():
    layer = nn.LSTM(3, 4)
    layer.forward = lambda *_: "replaced"
    with pytest.warns(UserWarning, match=r"the model itself \(LSTM\)"):
        assert fastrnn.convert(layer)(None) == "replaced"


def test_to_torch_leaves_derived_classes_alone():
    class Mine(fastrnn.GRU):
        pass

    with pytest.warns(UserWarning, match=r"the model itself \(Mine\)"):
        assert type(fastrnn.to_torch(Mine(3, 4))) is Mine


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


def test_a_model_without_recurrent_modules():
    model = nn.Linear(3, 4)
    assert fastrnn.convert(model) is model
    assert type(model) is nn.Linear
