"""Gradients by every state, against finite differences through the fused layers."""

import copy
import math
import runpy
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn._inside import cell_of
from fastrnn.train import Step, gradient_flow
from fastrnn.train.data import Labelled, Vocabulary, Window
from fastrnn.train.flow.comparison import compare, plot
from fastrnn.train.flow.measure import stepwise
from fastrnn.train.models import Classifier, LanguageModel
from fastrnn.train.models.recurrent import CELLS, Recurrent

T, B, I, H = 5, 3, 2, 4


def layer_of(cell, *sizes, **options):
    return Recurrent(cell, *sizes, **options).layers.double()


def input_of(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def judged(output):
    """A loss of all outputs."""
    return (output * input_of(*output.shape, seed=7)).tanh().pow(2).sum()


def last(output):
    return output[-1].pow(2).sum()


def flow_of(layer, input, judge=judged, hx=None):
    return gradient_flow(layer, input, loss=lambda model, batch, state: Step(judge(model(batch, hx)[0]), 1))


def read(layer, c):
    """What the output of a layer reads of c."""
    if not layer.layer_norm:
        return c
    return torch.nn.functional.layer_norm(c, c.shape[-1:], layer.weight_norm_c_l0, layer.bias_norm_c_l0)


def finite_differences(layers, input, judge, where, t, which=0, step=1e-6):
    """The norm of dLoss/d(state t of layers[where]): which = 0 for h, 1 for c. The layers are run a step at a time."""

    def loss(change):
        x = input
        for number, layer in enumerate(layers):
            state, outputs = None, []
            for i, x_t in enumerate(x):
                output, state = layer(x_t[None], state)
                if (number, i) == (where, t):
                    parts = list(state) if isinstance(state, tuple) else [state]
                    parts[which] = parts[which] + change
                    if which == 1:  # h_t = o tanh(c_t), and o = h_t / tanh(c_t)
                        o = parts[0] / read(layer, state[1]).tanh()
                        if hasattr(layer, "weight_co_l0"):  # o sees c_t
                            o = torch.sigmoid(torch.logit(o) + layer.weight_co_l0 * change)
                        parts[0] = o * read(layer, parts[1]).tanh()
                    state = tuple(parts) if isinstance(state, tuple) else parts[0]
                    output = parts[0]
                outputs.append(output)
            x = torch.cat(outputs)
        return float(judge(x))

    with torch.no_grad():
        columns = torch.eye(B * H, dtype=torch.float64).view(-1, 1, B, H) * step
        return math.sqrt(sum(((loss(c) - loss(-c)) / (2 * step)) ** 2 for c in columns))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("judge", [judged, last])
def test_finite_differences(cell, judge):
    torch.manual_seed(1)
    layer, input = layer_of(cell, I, H), input_of(T, B, I)
    flow = flow_of(layer, input, judge)
    assert list(flow.h) == ["l0"]
    carries_c = isinstance(layer, fastrnn.LSTM)
    for which, norms in enumerate([flow.h, flow.c] if carries_c else [flow.h]):
        expected = [finite_differences([layer], input, judge, 0, t, which) for t in range(T)]
        assert norms["l0"].tolist() == pytest.approx(expected, rel=1e-6, abs=1e-9)
    assert bool(flow.c) == carries_c


@pytest.mark.parametrize("cell", ["lstm", "rnn_tanh"])
def test_two_layers(cell):
    torch.manual_seed(2)
    both, input = layer_of(cell, I, H, num_layers=2), input_of(T, B, I)
    apart = [layer_of(cell, I, H), layer_of(cell, H, H)]
    for number, layer in enumerate(apart):
        for name, parameter in layer.named_parameters():
            parameter.data.copy_(getattr(both, name.replace("l0", f"l{number}")))
    flow = flow_of(both, input)
    for number in (0, 1):
        expected = [finite_differences(apart, input, judged, number, t) for t in range(T)]
        assert flow.h[f"l{number}"].tolist() == pytest.approx(expected, rel=1e-6)


def test_by_hand():
    """One unit: dLoss/dh_t is the product of w s'(a_k) over k > t, the equation of backpropagation through time."""
    layer = layer_of("rnn_sigmoid", 1, 1)
    w_ih, w, b_ih, b_hh = (parameter.item() for parameter in layer.parameters())
    a, h = [], 0.0
    input = input_of(6, 1, 1)
    for x in input.flatten().tolist():
        a.append(w * h + w_ih * x + b_ih + b_hh)
        h = 1 / (1 + math.exp(-a[-1]))
    derivative = [1 / (1 + math.exp(-x)) * (1 - 1 / (1 + math.exp(-x))) for x in a]
    expected = [2 * h * math.prod(abs(w) * d for d in derivative[t + 1 :]) for t in range(6)]
    assert flow_of(layer, input, last).h["l0"].tolist() == pytest.approx(expected)


class Both(nn.Module):
    """Two directions as two layers, the second on the reversed sequence."""

    def __init__(self, layer):
        super().__init__()
        cell = cell_of(layer)
        self.there, self.back = layer_of(cell, I, H), layer_of(cell, I, H)
        for each, ending in ((self.there, ""), (self.back, "_reverse")):
            for name, parameter in each.named_parameters():
                parameter.data.copy_(getattr(layer, name + ending))

    def forward(self, input, hx=None):
        return torch.cat([self.there(input)[0], self.back(input.flip(0))[0].flip(0)], 2), None


@pytest.mark.parametrize("cell", CELLS)
def test_two_directions(cell):
    layer, input = layer_of(cell, I, H, bidirectional=True), input_of(T, B, I)
    flow, apart = flow_of(layer, input), flow_of(Both(layer), input)
    torch.testing.assert_close(flow.h["l0"], apart.h["there l0"])
    torch.testing.assert_close(flow.h["l0_reverse"], apart.h["back l0"].flip(0))


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_ragged_sequences_each_have_their_own(cell, bidirectional):
    layer, input = layer_of(cell, I, H, num_layers=2, bidirectional=bidirectional), input_of(T, B, I)
    lengths = [2, 5, 3]

    def loss(model, batch, state):
        rows = [model(input[:n, b : b + 1])[0].pow(2).sum() for b, n in enumerate(lengths)] if batch is None else None
        if rows is None:
            output, _ = model(pack_padded_sequence(batch, lengths, enforce_sorted=False))
            return Step(pad_packed_sequence(output)[0].pow(2).sum(), 1)
        return Step(sum(rows), 1)

    together, apart = gradient_flow(layer, input, loss=loss), gradient_flow(layer, None, loss=loss)
    assert together.loss == pytest.approx(apart.loss)
    for name, norms in together.h.items():
        squares = torch.zeros(T, dtype=torch.float64)
        for row in apart.h[name].split(lengths):
            squares[: len(row)] += row**2
        torch.testing.assert_close(norms, squares.sqrt())


@pytest.mark.parametrize("kind", [torch.nn, fastrnn])
@pytest.mark.parametrize(
    "options", [{}, {"batch_first": True}, {"bias": False}, {"proj_size": 2}, {"bidirectional": True}]
)
def test_the_function_is_the_layers(kind, options):
    layer = kind.LSTM(I, H, num_layers=2, **options).double()
    directions, features = 1 + layer.bidirectional, layer.proj_size or H
    hx = (input_of(2 * directions, B, features), input_of(2 * directions, B, H))
    one = tuple(state[:, 0] for state in hx)
    packed = pack_padded_sequence(input_of(T, B, I), [2, 5, 3], enforce_sorted=False)
    calls = [(input_of(T, B, I), None), (input_of(B, T, I), None), (input_of(T, I), one), (packed, hx)]
    calls.append((input_of(B, T, I) if layer.batch_first else input_of(T, B, I), hx))
    for input, state in calls:
        expected = layer(input, state)
        with stepwise(layer):
            found = layer(input, state)
        if input is packed:
            expected, found = (expected[0].data, expected[1]), (found[0].data, found[1])
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("options", [{"dropout": 0.5}, {"locked_dropout": 0.3}, {"weight_drop": 0.4}])
def test_what_is_dropped_out_is_the_same(options):
    model, input = Recurrent("gru", I, H, 2, **options).double(), input_of(T, B, I)
    torch.manual_seed(3)
    expected = judged(model(input)[0]).item()
    torch.manual_seed(3)
    assert flow_of(model, input).loss == pytest.approx(expected)


def test_the_model_is_left_as_it_was():
    model, input = Recurrent("lstm", I, H).double(), input_of(T, B, I)
    before = copy.deepcopy(model.state_dict())
    flow_of(model, input)
    with pytest.raises(ZeroDivisionError):
        gradient_flow(model, input, loss=lambda model, batch, state: Step(model(batch)[0].sum() / 0, 1 // 0))
    assert "forward" not in vars(model.layers)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_frozen_weights_have_gradients_by_states_too():
    layer, input = layer_of("lstm", I, H), input_of(T, B, I)
    expected = flow_of(layer, input)
    with torch.no_grad():
        found = flow_of(layer.requires_grad_(False), input)
    torch.testing.assert_close(found.h, expected.h)
    torch.testing.assert_close(found.c, expected.c)


def test_models_of_this_layer():
    tokens = torch.arange(12).view(4, 3) % 5
    vocabulary = Vocabulary(["<eos>", "a", "b", "c", "d"], eos="<eos>")
    lm = LanguageModel(vocabulary, embedding=4, hidden=6, layers=2, dropout=0.2)
    flow = gradient_flow(lm, Window(tokens, tokens.roll(-1, 0), first=True))
    assert {name: len(norms) for name, norms in flow.h.items()} == {
        "recurrent.layers l0": 4,
        "recurrent.layers l1": 4,
    }
    classifier = Classifier(vocabulary, ["x", "y"], cell="gru", hidden=4, bidirectional=True)
    flow = gradient_flow(classifier, Labelled(tokens, torch.tensor([2, 4, 1]), torch.tensor([0, 1, 1])))
    assert [len(norms) for norms in flow.h.values()] == [4, 4]
    assert all(norms.min() > 0 for norms in flow.h.values())


class Halved(nn.LSTM):
    def forward(self, input, hx=None):
        return super().forward(input / 2, hx)


def test_errors():
    with pytest.raises(ValueError, match="an RNN, GRU or LSTM layer, got Linear, which has none"):
        gradient_flow(nn.Linear(2, 2), None)
    with pytest.raises(ValueError, match="Halved overrides forward"):
        gradient_flow(nn.Sequential(Halved(I, H)), input_of(T, B, I), loss=None)
    with pytest.raises(TypeError, match="has no method loss"):
        gradient_flow(layer_of("gru", I, H), None)
    with pytest.raises(ValueError, match="did not call any of its recurrent layers"):
        gradient_flow(layer_of("gru", I, H), None, loss=lambda *_: Step(torch.ones((), requires_grad=True), 1))


class TestComparison:
    """What the lecture says."""

    def test_gradients_vanish(self):
        for flow in compare(steps=50).values():
            (norms,) = flow.h.values()
            assert norms[0] < 1e-6 * norms[-1]

    def test_an_open_forget_gate_keeps_them(self):
        for flow in compare(("gru", "lstm"), forget_bias=math.log(99)).values():
            (norms,) = flow.h.values()
            assert norms.min() > 0.01 * norms[-1]

    def test_with_large_weights_they_explode(self):
        flows = compare(("rnn_tanh", "rnn_relu"), steps=50, recurrent_scale=4.0)
        for flow in flows.values():
            (norms,) = flow.h.values()
            assert norms[0] > 1e3 * norms[-1]

    def test_plot(self, tmp_path):
        flows = compare(("rnn_tanh", "lstm"), steps=5)
        figure = plot(flows, tmp_path / "flow.png")
        assert [axis.get_title() for axis in figure.axes] == ["rnn_tanh", "lstm"]
        h, c = figure.axes[1].get_lines()
        assert h.get_ydata().tolist() == next(iter(flows["lstm"].h.values())).tolist()
        assert c.get_ydata().tolist() == next(iter(flows["lstm"].c.values())).tolist()
        assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
        assert len(flows["lstm"].plot().axes) == 1


def test_the_example(tmp_path, monkeypatch, capsys):
    example = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "gradient_flow.py"))
    monkeypatch.setitem(example["main"].__globals__, "STEPS", 20)
    example["main"](tmp_path / "flow.png")
    assert (tmp_path / "flow.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out.count("step 1:") == 12
