"""Layers of users' cells: the step as it is written, row by row and step by step, in whatever way they are called."""

import copy
import itertools
import pickle

import pytest
import torch
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn import cells
from tests.support.user_cells import F64, GRU, LSTM, as_given, assert_by_hand, numbers, of, random, states_of

CELLS = [getattr(cells, name) for name in cells.__all__]


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_as_by_hand(cell, path):
    for hidden, biases in ((1, True), (7, False), (40, True)):
        layer = of(cell, 3, hidden, num_layers=2, bidirectional=True, bias=biases)
        x = random(6, 3, 3)
        assert_by_hand(layer, x, **numbers(cell, 6, 3))
        assert_by_hand(layer, x, states_of(layer, 3), **numbers(cell, 6, 3))


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_ragged_rows_and_resets(cell, path):
    layer = of(cell, 3, 5, num_layers=2, bidirectional=True)
    x, lengths = random(7, 5, 3), torch.tensor([3, 7, 0, 1, 7])
    resets = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    x[3:, 0] = torch.nan  # beyond the end of a row
    given = numbers(cell, 7, 5)
    for states in (None, states_of(layer, 5)):
        assert_by_hand(layer, x, states, lengths=lengths, **given)
        assert_by_hand(layer, x, states, lengths=lengths, resets=resets, **given)
    assert_by_hand(layer, random(7, 5, 3), resets=resets, **given)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_packed_as_lengths(cell, path):
    layer = of(cell, 3, 5, num_layers=2, bidirectional=True)
    x, lengths, given = random(7, 4, 3), torch.tensor([3, 7, 1, 7]), numbers(cell, 7, 4)
    expected, final, states = layer(x, as_given(states_of(layer, 4)), lengths=lengths, return_states=True, **given)
    packed = {name: pack_padded_sequence(each, lengths, enforce_sorted=False) for name, each in given.items()}
    rows = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, packed_final, every = layer(rows, as_given(states_of(layer, 4)), return_states=True, **packed)
    torch.testing.assert_close(pad_packed_sequence(output)[0], expected)
    torch.testing.assert_close(packed_final, final)
    assert every._fields == states._fields == tuple(cell.declaration.states)
    for name in every._fields:
        of_top = output._replace(data=getattr(every, name)[-1])
        torch.testing.assert_close(pad_packed_sequence(of_top)[0], getattr(states, name)[-1])


def test_layouts_and_every_state(path):
    layer = of(LSTM, 3, 5, num_layers=2, bidirectional=True)
    x, hx, resets = random(6, 4, 3), states_of(layer, 4), random(6, 4) > 1
    output, final, states = layer(x, tuple(hx), resets=resets, return_states=True)
    assert states.h.shape == states.c.shape == (2, 6, 4, 10)
    torch.testing.assert_close(states.h[-1], output)
    torch.testing.assert_close([states.c[0, -1, :, :5], states.c[1, 0, :, 5:]], [final[1][0], final[1][3]])
    layer.batch_first = True
    first = layer(x.transpose(0, 1), tuple(hx), resets=resets.t(), return_states=True)
    torch.testing.assert_close(first[0].transpose(0, 1), output)
    torch.testing.assert_close(first[2].c.transpose(1, 2), states.c)
    torch.testing.assert_close(first[1], final)
    one = layer(x[:, 1], (hx[0][:, 1], hx[1][:, 1]), resets=resets[:, 1], return_states=True)
    torch.testing.assert_close(one[0], output[:, 1])
    torch.testing.assert_close(one[1][1], final[1][:, 1])
    torch.testing.assert_close(one[2].c, states.c[:, :, 1])


def test_nested():
    layer = of(GRU, 3, 5, bidirectional=True)
    rows = [random(n, 3, seed=n) for n in (4, 1, 6)]
    output, h_n = layer(torch.nested.nested_tensor(rows, layout=torch.jagged))
    for b, row in enumerate(rows):
        expected, last = layer(row)
        torch.testing.assert_close(output.unbind()[b], expected)
        torch.testing.assert_close(h_n[:, b], last)


def test_dropout_between_layers():
    with pytest.warns(UserWarning, match="no effect with num_layers=1"):
        of(GRU, 3, 5, dropout=0.5)
    layer, x = of(GRU, 3, 5, num_layers=2, dropout=0.5), random(6, 4, 3)
    torch.manual_seed(0)
    output, _, states = layer(x, return_states=True)
    torch.manual_seed(0)
    dropped = torch.nn.functional.dropout(states.h[0], 0.5)
    top = of(GRU, 5, 5)
    top.load_state_dict({name.replace("l1", "l0"): p for name, p in layer.state_dict().items() if "l1" in name})
    torch.testing.assert_close(top(dropped)[0], output)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_in_and_out(dtype, path):
    layer = of(cells.SLSTM, 3, 6, num_layers=2, dtype=torch.float32).to(dtype)
    wide = copy.deepcopy(layer).float()
    x = random(20, 4, 3, dtype=torch.float32).to(dtype)
    output, state = layer(x)
    expected, wide_state = wide(x.float())
    assert {output.dtype, *(s.dtype for s in state)} == {dtype}
    assert torch.equal(output, expected.to(dtype))
    assert torch.equal(state[1], wide_state[1].to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(wide(x.float())[0], expected)
        assert wide(x)[0].dtype == dtype


def test_parameters_and_first_values():
    layer = of(cells.Peephole, 3, 5, num_layers=2, bidirectional=True)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()][-7:] == [
        ("weight_ih_l1_reverse", (20, 10)), ("weight_hh_l1_reverse", (20, 5)), ("bias_ih_l1_reverse", (20,)),
        ("bias_hh_l1_reverse", (20,)), ("p_i_l1_reverse", (5,)), ("p_f_l1_reverse", (5,)), ("p_o_l1_reverse", (5,)),
    ]  # fmt: skip
    assert all(p.abs().max() <= 5**-0.5 and p.std() > 0.05 for p in layer.parameters())
    assert set(of(cells.IndRNN, 3, 5).state_dict()) == {"weight_ih_l0", "bias_ih_l0", "u_l0"}
    assert of(cells.IndRNN, 3, 100).u_l0.min() >= 0
    ltc = of(cells.LTC, 3, 100)
    assert not ltc.log_tau_l0.any()
    assert -1 <= ltc.target_l0.min() < -0.5 < 0.5 < ltc.target_l0.max() <= 1
    assert repr(of(cells.MGU, 3, 5, num_layers=2, bias=False)) == "MGU(3, 5, num_layers=2, bias=False)"


def test_copies():
    layer, x = of(cells.SLSTM, 3, 5, num_layers=2), random(6, 4, 3)
    expected = layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(copied) is type(layer) is fastrnn.layer(cells.SLSTM)
        torch.testing.assert_close(copied(x), expected, rtol=0, atol=0)
    other = of(cells.SLSTM, 3, 5, num_layers=2, seed=4)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
    weights = {name: p.detach() for name, p in layer.named_parameters()}
    other.reset_parameters()
    torch.testing.assert_close(torch.func.functional_call(other, weights, (x,)), expected, rtol=0, atol=0)


class _Doubled(torch.nn.Module):
    def forward(self, x):
        return 2 * x


def test_parametrized():
    layer, x = of(cells.MGU, 3, 5), random(6, 4, 3)
    doubled = copy.deepcopy(layer)
    doubled.weight_hh_l0.data *= 2
    parametrize.register_parametrization(layer, "weight_hh_l0", _Doubled())
    torch.testing.assert_close(layer(x), doubled(x))


@pytest.mark.parametrize(
    "cell",
    [cells.SLSTM, cells.LTC, cells.Peephole, cells.LayerNormLSTM, cells.TextbookGRU],
    ids=lambda c: c.__name__,
)
def test_second_derivatives(cell, path):
    layer = of(cell, 2, 2, bidirectional=True)
    given = numbers(cell, 3, 2)
    inputs = [random(3, 2, 2).requires_grad_(), *(each.requires_grad_() for each in given.values())]

    def run(x, *per_step):
        return layer(x, **dict(zip(given, per_step, strict=True)))[0]

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


@pytest.mark.parametrize("cell", [LSTM, cells.TextbookGRU], ids=lambda c: c.__name__)
def test_compiled_and_exported(cell):
    layer = of(cell, 3, 5, num_layers=2)
    model, x = torch.nn.Sequential(layer), random(3, 2, 3)
    expected = layer(x)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), expected)


def failure(kind, says, call):
    with pytest.raises(kind, match=says):
        call()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_wrong_calls():
    layer, ltc = of(LSTM, 3, 5), of(cells.LTC, 3, 5)
    x, dt = random(6, 4, 3), torch.ones(6, 4, 1, dtype=F64)
    one = torch.zeros(1, 4, 5, dtype=F64)
    failure(RuntimeError, "Expected hx to be a tuple of 2 tensors, h, c; got a Tensor", lambda: layer(x, one))
    failure(RuntimeError, "tuple of 2 tensors, h, c; got a tuple of 3", lambda: layer(x, (one,) * 3))
    failure(RuntimeError, r"the initial c of size \[1, 4, 5\]", lambda: layer(x, (one, one[:, :2])))
    failure(RuntimeError, "Expected 3, got 4", lambda: layer(random(6, 4, 4)))
    failure(RuntimeError, "at least one step", lambda: layer(x[:0]))
    failure(ValueError, "weights' dtype torch.float64, got torch.float32", lambda: layer(x.float()))
    failure(ValueError, "2D or 3D, got 4D", lambda: layer(x[None]))
    failure(ValueError, "lengths from 0 to 6", lambda: layer(x, lengths=torch.tensor([7, 1, 1, 1])))
    failure(ValueError, r"resets of size \[6, 4\]", lambda: layer(x, resets=torch.zeros(6, 3, dtype=torch.bool)))
    failure(TypeError, "unexpected keyword argument 'dt'", lambda: layer(x, dt=dt))
    failure(TypeError, "needs the numbers per step dt; pass dt=tensor", lambda: ltc(x))
    failure(ValueError, r"dt of size \[6, 4, 1\], .*, got \[6, 4\]", lambda: ltc(x, dt=dt[..., 0]))
    failure(ValueError, "dt of the input's dtype", lambda: ltc(x, dt=dt.float()))
    failure(RuntimeError, "Expected 3, got 4", lambda: ltc(random(6, 4, 4), dt=dt))
    for wrong, kind in itertools.product(
        ("input_size", "hidden_size", "num_layers"), ((0, ValueError), (1.5, TypeError))
    ):
        sizes = {"input_size": 3, "hidden_size": 5, "num_layers": 1} | {wrong: kind[0]}
        failure(kind[1], f"Expected {wrong}", lambda sizes=sizes: fastrnn.layer(LSTM)(**sizes))
    failure(ValueError, r"dropout to be a probability", lambda: fastrnn.layer(LSTM)(3, 5, dropout=2))
    failure(RuntimeError, "torch.jit.script cannot compile", lambda: torch.jit.script(layer))
