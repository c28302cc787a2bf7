"""Recurrent: every cell, ragged sequences, masks that stay the same in time, and the fused kernels under all of it."""

import copy
from dataclasses import fields

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import fastrnn
from fastrnn import reference
from fastrnn.nn.by_cell import LAYERS
from fastrnn.train.models.recurrent import CELLS, Recurrent
from fastrnn.train.tasks.fit_settings import FitSettings


class Operators(TorchDispatchMode):
    """The names of the operators that run within it."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))


def states_of(state):
    return state if isinstance(state, tuple) else (state,)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_every_cell_computes_its_equations(cell, bidirectional):
    for locked in (0.0, 0.5):
        model = Recurrent(cell, 3, 4, 2, bidirectional=bidirectional, locked_dropout=locked).double().eval()
        x = torch.randn(5, 2, 3, dtype=torch.float64)
        output, state = model(x)
        weights = list(model.layers.parameters())
        expected, finals, per_layer = x, [], len(weights) // 2
        for number in range(2):
            part = weights[number * per_layer : (number + 1) * per_layer]
            expected, *final = reference.layer(cell, expected, None, None, None, part, True, bidirectional, False)
            finals.append(final)
        torch.testing.assert_close(output, expected)
        for found, parts in zip(states_of(state), zip(*finals, strict=True), strict=False):
            torch.testing.assert_close(found, torch.cat(parts))
        assert output.shape == (5, 2, model.output_size)


@pytest.mark.parametrize("locked", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_state_goes_on_where_the_last_call_ended(cell, locked):
    model, x = Recurrent(cell, 3, 4, 2, locked_dropout=locked).eval(), torch.randn(6, 2, 3)
    whole, end = model(x)
    first, state = model(x[:2])
    second, state = model(x[2:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole)
    for found, expected in zip(states_of(state), states_of(end), strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("locked", [0.0, 0.5])
@pytest.mark.parametrize("cell", ["lstm", "rnn_tanh"])
def test_ragged_rows_in_any_order_are_what_each_is_alone(cell, locked):
    model = Recurrent(cell, 3, 4, 2, bidirectional=True, locked_dropout=locked).eval()
    x, lengths = torch.randn(7, 4, 3), torch.tensor([2, 6, 1, 4])  # no row has all 7 steps
    x[6:] = float("nan")  # beyond all lengths, where nothing is read
    output, state = model(x, None, lengths)
    assert output.shape == (7, 4, 8)
    for row, length in enumerate(lengths.tolist()):
        alone, alone_state = model(x[:length, row : row + 1])
        torch.testing.assert_close(output[:length, row : row + 1], alone)
        assert not output[length:, row].any()
        for found, expected in zip(states_of(state), states_of(alone_state), strict=True):
            torch.testing.assert_close(found[:, row : row + 1], expected)


def test_the_settings_of_tasks_offer_every_cell():
    (cell,) = (each for each in fields(FitSettings) if each.name == "cell")
    assert cell.metadata["choices"] == CELLS == tuple(LAYERS)


def test_locked_dropout_has_one_mask_for_all_steps():
    torch.manual_seed(1)
    model = Recurrent("gru", 3, 50, 3, locked_dropout=(0.0, 0.0, 0.4))
    zero = model(torch.randn(6, 4, 3))[0] == 0
    assert (zero == zero[0]).all()  # the same at every step
    assert 0.3 < zero[0].float().mean() < 0.5
    assert not (zero[0] == zero[0, 0]).all()  # another for every sequence


def test_locked_dropout_is_of_the_input_and_between_the_layers_too():
    """With identity layers what is zeroed in front of a layer is zero behind it."""
    model = Recurrent("rnn_relu", 40, 40, 2, locked_dropout=(0.25, 0.5, 0.0))
    with torch.no_grad():
        for name, weight in model.layers.named_parameters():
            weight.copy_(torch.eye(40) if name.startswith("weight_ih") else torch.zeros_like(weight))
    output = model(torch.ones(5, 50, 40))[0]
    assert (output == output[0]).all()
    assert abs(float((output == 0).float().mean()) - (1 - 0.75 * 0.5)) < 0.05
    torch.testing.assert_close(output[output != 0].unique(), torch.tensor([1 / (0.75 * 0.5)]))
    assert (model.eval()(torch.ones(5, 50, 40))[0] == 1).all()


def test_weight_drop_zeroes_recurrent_weights_alone_and_by_call():
    model = Recurrent("rnn_relu", 1, 200, weight_drop=0.5)
    layer = model.layers
    with torch.no_grad():
        for weight in layer.parameters():
            weight.zero_()
        layer.weight_hh_l0.copy_(torch.eye(200))  # h stays h, times 2 or 0 at each step
    ones = torch.ones(1, 1, 200)
    output, _ = model(torch.zeros(3, 1, 1), ones)
    dropped = output[0, 0] == 0
    assert 0.4 < dropped.float().mean() < 0.6
    assert (output[:, 0, ~dropped] == torch.tensor([[2.0], [4.0], [8.0]])).all()  # the same mask at every step
    assert ((model(torch.zeros(1, 1, 1), ones)[0][0, 0] == 0) != dropped).any()
    output.sum().backward()
    assert (layer.weight_hh_l0.grad[:, dropped][dropped].diagonal() == 0).all()
    assert torch.equal(layer.weight_hh_l0, torch.eye(200))
    assert torch.equal(model.eval()(torch.zeros(3, 1, 1), ones)[0], ones.expand(3, 1, 200))


def test_weight_drop_and_locked_dropout_keep_the_fused_kernels():
    model = Recurrent("lstm", 3, 8, 2, locked_dropout=0.3, weight_drop=0.5)
    for lengths in (None, torch.tensor([2, 5])):
        with Operators() as seen:
            model(torch.randn(5, 2, 3), None, lengths)[0].sum().backward()
        assert seen.names.count("fastrnn.forward.default") == 2
        assert seen.names.count("fastrnn.backward.default") == 2


def test_state_dicts_of_earlier_versions():
    """They had a list of modules: one with all layers, or with locked dropout one for each layer."""
    model = Recurrent("gru", 3, 4, 2, bidirectional=True)
    saved = {name.removeprefix("layers."): torch.randn_like(value) for name, value in model.state_dict().items()}
    of_one = {f"0.layers.0.{name}": value for name, value in saved.items()}
    of_each = {
        f"0.layers.{name.partition('_l')[2][0]}.{name.replace('_l1', '_l0')}": value for name, value in saved.items()
    }
    assert "0.layers.1.weight_hh_l0_reverse" in of_each
    for earlier in (of_one, of_each):
        torch.nn.init.zeros_(model.layers.weight_hh_l1_reverse)
        torch.nn.Sequential(model).load_state_dict(earlier)
        assert all(torch.equal(getattr(model.layers, name), value) for name, value in saved.items())


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_relu"])
def test_the_same_model_on_torch_draws_the_same_masks(cell):
    ours = Recurrent(cell, 3, 8, 2, dropout=0.4)
    theirs = fastrnn.to_torch(copy.deepcopy(ours))
    assert type(theirs.layers).__module__ == "torch.nn.modules.rnn"
    found = []
    for model in (ours, theirs):
        torch.manual_seed(5)
        output, _ = model(torch.linspace(-1, 1, 30).view(5, 2, 3))
        output.square().sum().backward()
        found.append([output.detach(), *(weight.grad for weight in model.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("elman", 3, 4), {}, "Expected cell to be one of lstm, .*gru, .*got 'elman'"),
        (("lstm", 3, 4), {"dropout": 1.0}, r"Expected dropout to be a probability in \[0, 1\), got 1.0"),
        (("lstm", 3, 4), {"weight_drop": -0.1}, "Expected weight_drop to be a probability"),
        (("lstm", 3, 4), {"locked_dropout": (0.1, 0.2)}, "Expected locked_dropout to be one number or three"),
        (
            ("lstm", 3, 4, 2),
            {"locked_dropout": 0.1, "dropout": 0.1},
            "Expected only one kind of dropout in front of and between layers",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Recurrent(*arguments, **options)


@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([3, 0], "Expected lengths from 1 to the 5 steps of the input, got 0 for row 1"),
        ([6, 1], "Expected lengths from 1 to the 5 steps of the input, got 6 for row 0"),
        ([5], r"Expected lengths of shape \[2\] for a batch of 2, got shape \[1\]"),
    ],
)
def test_lengths_that_do_not_fit_are_refused(lengths, message):
    with pytest.raises(ValueError, match=message):
        Recurrent("gru", 3, 4)(torch.zeros(5, 2, 3), None, torch.tensor(lengths))
