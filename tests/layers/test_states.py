"""return_states=True: the state after every step of every layer, and its gradients."""

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random, results

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("cell", CELLS)
def test_against_the_reference(cell, layers, batch_first):
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=layers, bidirectional=True, batch_first=batch_first, dtype=F64)
    x, hx = random(5, 4, 3), initial(layer, 5 if batch_first else 4, F64)
    found = results(layer, x, hx, return_states=True)
    assert_same(found, results(layer, x, hx, call=by_reference, return_states=True))
    assert torch.equal(found["every_h"][-1], found["output"])
    output, _ = layer(x, hx)
    assert torch.equal(found["output"], output)
    assert found["every_h"].shape == (layers, 5, 4, 2 * (layer.proj_size or 6))
    assert ("every_c" in found) == (layer.mode == "LSTM")


@pytest.mark.parametrize("cell", ["gru", "lstm", "lstm_projected"])
def test_the_last_are_the_final_state(cell):
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, dtype=F64)
    _, final, states = layer(random(5, 4, 3), return_states=True)
    assert isinstance(states, tuple)
    h_n = final[0] if isinstance(final, tuple) else final
    assert torch.equal(states.h[:, -1], h_n)
    if states.c is None:
        assert cell == "gru"
    else:
        assert torch.equal(states.c[:, -1], final[1])


def test_going_on_from_a_step_in_the_middle():
    layer, x = make(fastrnn.nn, "lstm", 3, 6, num_layers=2, dtype=F64), random(9, 4, 3)
    output, _, states = layer(x, return_states=True)
    again, _ = layer(x[5:], (states.h[:, 4].contiguous(), states.c[:, 4].contiguous()))
    assert torch.allclose(again, output[5:], rtol=0, atol=1e-12)


def test_beyond_the_end_they_are_zero():
    layer, lengths = make(fastrnn.nn, "lstm", 3, 6, bidirectional=True, dtype=F64), torch.tensor([2, 5, 0])
    _, _, states = layer(random(5, 3, 3), lengths=lengths, return_states=True)
    for every in states:
        alive = torch.arange(5)[:, None] < lengths
        assert torch.equal(every[0].any(2).cpu(), alive)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_other_kinds_of_input(cell):
    layer, x = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=F64), random(5, 3, 3)
    lengths = [5, 4, 2]
    expected = layer(x, lengths=torch.tensor(lengths), return_states=True)[2]
    output, _, states = layer(pack_padded_sequence(x, lengths), return_states=True)
    for found, every in zip(states, expected, strict=True):
        if found is not None:
            rows = torch.cat([every[:, t, : output.batch_sizes[t]] for t in range(5)], 1)
            assert torch.allclose(found, rows, rtol=0, atol=1e-12)
    alone = layer(x[:, 0], return_states=True)[2]
    for found, every in zip(alone, expected, strict=True):
        assert found is None or torch.allclose(found, every[:, :, 0], rtol=0, atol=1e-12)


def test_dropout_is_after_the_states():
    """The states of a lower layer are what it computed, not what the next one was given."""
    layer = make(fastrnn.nn, "lstm", 3, 6, num_layers=2, batch_first=True, dropout=0.5, dtype=F64)
    x = random(2, 5, 3)
    lower, _ = layer.train()(x, return_states=True)[2].h
    assert torch.equal(lower, layer.eval()(x, return_states=True)[2].h[0])
    assert lower.all()


@pytest.mark.cpu  # on CUDA torch draws a mask in the order in which the output lies in memory
def test_dropout_is_the_same_with_the_states():
    layer = make(fastrnn.nn, "lstm", 3, 6, num_layers=2, batch_first=True, dropout=0.5, dtype=F64).train()
    x = random(2, 5, 3)
    torch.manual_seed(3)
    plain = layer(x)[0]
    torch.manual_seed(3)
    assert torch.equal(layer(x, return_states=True)[0], plain)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_narrow_dtypes(dtype):
    layer, x = make(fastrnn.nn, "lstm", 3, 6, num_layers=2, dtype=dtype), random(5, 4, 3, dtype=dtype)
    output, _, states = layer(x, return_states=True)
    assert states.h.dtype == states.c.dtype == output.dtype == dtype
    assert torch.equal(states.h[-1], output)


@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_derivatives(cell):
    layer, x = make(fastrnn.nn, cell, 1, 2, num_layers=2, dtype=F64), random(2, 2, 1).requires_grad_()
    names = [name for name, _ in layer.named_parameters()]
    weights = [w.detach().requires_grad_() for w in layer.parameters()]

    def run(x, *weights):
        parameters = dict(zip(names, weights, strict=True))
        states = torch.func.functional_call(layer, parameters, (x,), {"return_states": True})[2]
        return states.h if states.c is None else tuple(states)

    assert gradcheck(run, (x, *weights))
    assert gradgradcheck(run, (x, *weights))


@pytest.mark.cpu
@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_a_hidden_size_for_each_layer(name):
    """The states are tuples of each layer's, as the final ones are; lengths and resets go to all layers."""
    layer, x = getattr(fastrnn, name)(3, [6, 4], num_layers=2, dtype=F64), random(5, 3, 3)
    options = {"lengths": torch.tensor([2, 5, 4]), "resets": torch.rand(5, 3) < 0.3}
    output, _, states = layer(x, **options, return_states=True)
    below, above = (getattr(fastrnn, name)(inputs, size, dtype=F64) for inputs, size in ((3, 6), (6, 4)))
    for number, alone in enumerate((below, above)):
        for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(alone, f"{kind}_l0").data = getattr(layer, f"{kind}_l{number}").data
    first, _, of_first = below(x, **options, return_states=True)
    second, _, of_second = above(first, **options, return_states=True)
    assert torch.equal(output, second)
    for found, *expected in zip(states, of_first, of_second, strict=True):
        assert found is expected[0] or all(
            torch.equal(one, other[0]) for one, other in zip(found, expected, strict=True)
        )
    with pytest.raises(ValueError, match="Expected learn_initial_state=False with a hidden size for each layer"):
        getattr(fastrnn, name)(3, [6, 4], num_layers=2, learn_initial_state=True)
