"""First values of recurrent weights: what they are, what they do to the state, and which layers they are for."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

import fastrnn
from fastrnn import init
from fastrnn._inside import cell_of
from tests.support.twins import CELLS, make, random

F64 = torch.float64
GATED = [cell for cell in CELLS if "rnn" not in cell]
H = 6


def layer_of(cell, **options):
    return make(fastrnn, cell, 3, H, dtype=F64, **options)


@pytest.mark.parametrize("cell", CELLS)
def test_orthogonal(cell):
    model = nn.Sequential(layer_of(cell, num_layers=2, bidirectional=True))
    assert init.orthogonal_(model, 2.0) is model
    gates = []
    for name, weight in model.named_parameters():
        if "weight_hh" in name:
            gates += weight.split(H)
    for gate in gates:
        torch.testing.assert_close(gate.T @ gate, 4 * torch.eye(gate.size(1), dtype=F64))
    assert len(gates) % 4 == 0
    assert len({round(gate.sum().item(), 9) for gate in gates}) == len(gates)


def test_orthogonal_takes_a_generator_and_narrow_weights():
    cells = [fastrnn.GRUCell(3, H, dtype=torch.bfloat16) for _ in range(3)]
    for cell, seed in zip(cells, (1, 1, 2), strict=True):
        init.orthogonal_(cell, generator=torch.Generator().manual_seed(seed))
    assert torch.equal(cells[0].weight_hh, cells[1].weight_hh)
    assert not torch.equal(cells[0].weight_hh, cells[2].weight_hh)
    gate = cells[0].weight_hh[:H].float()
    torch.testing.assert_close(gate @ gate.T, torch.eye(H), atol=0.03, rtol=0)


def test_identity_copies_the_state_and_its_gradient():
    layer = init.identity_(layer_of("rnn_relu"))
    with torch.no_grad():
        layer.weight_ih_l0.abs_()
    h = random(1, 2, H).abs().requires_grad_()
    _, h_n = layer(torch.zeros(30, 2, 3, dtype=F64), h)
    torch.testing.assert_close(h_n, h)
    h_n.sum().backward()
    torch.testing.assert_close(h.grad, torch.ones_like(h))
    init.identity_(layer, 0.5)
    assert torch.equal(layer.weight_hh_l0, 0.5 * torch.eye(H, dtype=F64))
    assert not layer.bias_hh_l0.any()
    assert torch.equal(init.identity_(nn.RNNCell(3, H)).weight_hh, torch.eye(H))


@pytest.mark.parametrize("cell", GATED)
def test_forget_bias_keeps_the_state(cell):
    layer = init.forget_bias_(layer_of(cell), 50.0)
    assert (layer.bias_ih_l0.abs() == 50).sum() == H
    if not isinstance(layer, fastrnn.LSTM):
        h = random(1, 2, H)
        torch.testing.assert_close(layer(random(5, 2, 3), h)[1], h)
        return
    # The input gate still adds to c: close it. If it is coupled, it is closed already.
    layer.bias_ih_l0.data[:H] = -50.0
    states = random(1, 2, layer.proj_size or H), random(1, 2, H)
    torch.testing.assert_close(layer(random(5, 2, 3), states)[1][1], states[1])


@pytest.mark.parametrize("cell", ["lstm", "lstm_projected", "peephole_lstm"])
class TestForgetBiasOfTheConstructor:
    def test_is_the_sum_of_the_two_biases(self, cell):
        plain, layer = (layer_of(cell, num_layers=2, bidirectional=True, **o) for o in ({}, {"forget_bias": 1.5}))
        assert plain.state_dict().keys() == layer.state_dict().keys()
        for name, value in layer.named_parameters():
            if name.startswith("bias_ih"):
                total = value + getattr(layer, name.replace("bias_ih", "bias_hh"))
                assert (total[H : 2 * H] == 1.5).all()
            of_plain = getattr(plain, name)
            same = torch.ones(len(value), dtype=torch.bool)
            if name.startswith("bias"):
                same[H : 2 * H] = False
            assert torch.equal(value[same], of_plain[same])  # the same random numbers as without

    def test_holds_when_parameters_are_reset(self, cell):
        layer = layer_of(cell, forget_bias=1.0)
        layer.to_empty(device="cpu")
        layer.reset_parameters()
        assert ((layer.bias_ih_l0 + layer.bias_hh_l0)[H : 2 * H] == 1).all()
        assert "forget_bias=1.0" in repr(layer)
        assert pickle.loads(pickle.dumps(layer)).forget_bias == copy.deepcopy(layer).forget_bias == 1.0

    def test_does_not_touch_what_is_loaded(self, cell):
        plain, layer = layer_of(cell), layer_of(cell, forget_bias=1.0)
        layer.load_state_dict(plain.state_dict())
        torch.testing.assert_close(layer(random(4, 2, 3)), plain(random(4, 2, 3)), rtol=0, atol=0)


def test_forget_bias_and_torch():
    back = fastrnn.to_torch(fastrnn.LSTM(3, H, forget_bias=1.0))
    assert type(back) is nn.LSTM
    assert (back.bias_ih_l0[H : 2 * H] == 1).all()
    with pytest.raises(ValueError, match="forget_bias changes parameters"):
        fastrnn.convert(back, forget_bias=2.0)


@pytest.mark.parametrize("longest", [2, 50, 1000])
@pytest.mark.parametrize("cell", GATED)
def test_chrono(cell, longest):
    layer = make(fastrnn, cell, 3, 400, dtype=F64)
    before = copy.deepcopy(layer)
    init.chrono_(layer, longest, torch.Generator().manual_seed(1))
    name = cell_of(layer)
    gates, keeps = layer.bias_ih_l0.chunk(layer.bias_ih_l0.numel() // 400), 0 if name == "coupled_lstm" else 1
    kept = (-1 if name == "coupled_lstm" else 1) * gates[keeps]
    times = kept.exp()
    assert 1 <= times.min() <= times.max() <= longest - 1 + 1e-3
    if longest > 2:  # uniform
        assert abs(times.mean() / (longest / 2) - 1) < 0.1
    changed = {keeps}
    if name.endswith("lstm") and name != "coupled_lstm":
        torch.testing.assert_close(gates[0], -kept)
        changed.add(0)
    pairs = zip(layer.bias_hh_l0.chunk(len(gates)), before.bias_hh_l0.chunk(len(gates)), strict=True)
    for number, (after, was) in enumerate(pairs):
        assert (not after.any()) if number in changed else torch.equal(after, was)
    for number, was in enumerate(before.bias_ih_l0.chunk(len(gates))):
        assert torch.equal(gates[number], was) != (number in changed)
    assert torch.equal(layer.weight_hh_l0, before.weight_hh_l0)


def test_torchs_modules_in_a_model():
    """Its layers and cells become what fastrnn's become."""
    theirs = nn.ModuleList([nn.LSTM(3, H, bidirectional=True), nn.LSTMCell(3, H), nn.Linear(3, 3)])
    ours = fastrnn.convert(copy.deepcopy(theirs))
    for change in (init.orthogonal_, init.forget_bias_, lambda model: init.chrono_(model, 100)):
        for model in (theirs, ours):
            torch.manual_seed(1)
            change(model)
        assert all(torch.equal(a, b) for a, b in zip(theirs.parameters(), ours.parameters(), strict=True))
    gru, rnn = nn.GRUCell(3, H), nn.RNNCell(3, H, nonlinearity="relu")
    assert [cell_of(module) for module in (gru, rnn, *theirs[:2])] == ["gru", "rnn_relu", "lstm", "lstm"]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: init.identity_(nn.GRU(3, H)), ValueError, "identity_ is for RNN layers and cells, got one of gru"),
        (lambda: init.forget_bias_(nn.RNN(3, H)), ValueError, "is for LSTM and GRU layers and cells, got one of rnn_t"),
        (lambda: init.chrono_(nn.Sequential(nn.RNNCell(3, H)), 9), ValueError, "got one of rnn_tanh: 0"),
        (lambda: init.forget_bias_(nn.LSTM(3, H, bias=False)), ValueError, "needs biases, got LSTM with bias=False"),
        (
            lambda: init.chrono_(nn.LSTM(3, H), 1.5),
            ValueError,
            "in steps, to be at least 2, got 1.5",
        ),
        (lambda: init.chrono_(nn.LSTM(3, H), math.nan), ValueError, "Expected longest to be finite, got nan"),
        (lambda: init.chrono_(nn.LSTM(3, H), math.inf), ValueError, "Expected longest to be finite, got inf"),
        (lambda: init.chrono_(nn.LSTM(3, H), "9"), TypeError, "Expected longest to be a number, got str"),
        (lambda: init.forget_bias_(nn.LSTM(3, H), math.nan), ValueError, "Expected value to be finite, got nan"),
        (lambda: init.identity_(nn.RNN(3, H), None), TypeError, "Expected scale to be a number, got NoneType"),
        (lambda: init.orthogonal_(nn.LSTM(3, H), True), TypeError, "Expected gain to be a number, got bool"),
        (lambda: init.orthogonal_(torch.zeros(3, 3)), TypeError, "Expected a torch.nn.Module, got Tensor"),
        (lambda: init.orthogonal_(nn.Linear(3, H)), ValueError, "got Linear, which has none"),
        (lambda: fastrnn.LSTM(3, H, forget_bias=True), TypeError, "forget_bias to be a number, got bool"),
        (lambda: fastrnn.LSTM(3, H, forget_bias=math.inf), ValueError, "forget_bias to be finite, got inf"),
        (lambda: fastrnn.LSTM(3, H, forget_bias=1, bias=False), ValueError, "needs biases"),
        (lambda: fastrnn.LSTM(3, H, forget_bias=1, coupled=True), ValueError, "Expected forget_bias or coupled"),
        (lambda: fastrnn.GRU(3, H, forget_bias=1), TypeError, "unexpected keyword argument 'forget_bias'"),
    ],
)
def test_what_cannot_be(call, error, message):
    with pytest.raises(error, match=message):
        call()
