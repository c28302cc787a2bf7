"""learn_initial_state=True: the state to begin with is a parameter, also after resets."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random, results

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64


def learning(cell, *sizes, dtype=F64, **options):
    """A layer whose initial state is not zero."""
    layer = make(fastrnn.nn, cell, *sizes, learn_initial_state=True, dtype=dtype, **options)
    for i, name in enumerate(layer._initial_states()):
        parameter = getattr(layer, name)
        parameter.data = random(*parameter.shape, seed=10 + i, dtype=dtype)
    return layer


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_as_if_given(cell, recompute):
    layer = learning(cell, 3, 6, num_layers=2, bidirectional=True, recompute=recompute)
    x = random(5, 40, 3)
    found = results(layer, x, None)
    assert_same(found, results(layer, x, None, call=by_reference))
    given = tuple(
        getattr(layer, name).detach()[:, None].expand(-1, 40, -1).contiguous() for name in layer._initial_states()
    )
    expected = results(layer, x, given if len(given) == 2 else given[0])
    for name, value in expected.items():
        if name in ("d_h_0", "d_c_0"):
            assert torch.allclose(found[f"d_learned_{name[2:]}"], value.sum(1), rtol=0, atol=1e-11)
        elif "learned" in name:
            assert not value.any()
        else:
            assert torch.allclose(found[name], value, rtol=0, atol=1e-12), name


@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_after_resets(cell, given):
    layer = learning(cell, 3, 6, num_layers=2, bidirectional=True)
    x, hx = random(9, 37, 3), initial(layer, 37, F64) if given else None
    resets = (torch.rand(9, 37, generator=torch.Generator().manual_seed(1)) < 0.2).to(x.device)
    found = results(layer, x, hx, resets=resets)
    assert_same(found, results(layer, x, hx, call=by_reference, resets=resets))
    assert found["d_learned_h_0"].any()


@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_with_every_kind_of_input(cell):
    layer, x = learning(cell, 3, 6, bidirectional=True), random(5, 3, 3)
    lengths = [5, 2, 4]
    output, final = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
    again, same = layer(x, lengths=torch.tensor(lengths))
    assert torch.allclose(again[:2, 1], torch.nn.utils.rnn.pad_packed_sequence(output)[0][:2, 1], rtol=0, atol=1e-12)
    for one, other in zip(final, same, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=1e-12)
    assert torch.allclose(layer(x[:, 0])[0], again[:, 0], rtol=0, atol=1e-12)


def test_parameters():
    """They are last, zero at first, and the other weights are those of a plain layer at the same seed."""
    plain, layer = (
        make(fastrnn.nn, "lstm_projected", 3, 6),
        make(fastrnn.nn, "lstm_projected", 3, 6, learn_initial_state=True),
    )
    names = [name for name, _ in plain.named_parameters()]
    assert [name for name, _ in layer.named_parameters()] == [*names, "h_0", "c_0"]
    assert (layer.h_0.shape, layer.c_0.shape) == ((1, 3), (1, 6))
    assert all(torch.equal(getattr(plain, name), getattr(layer, name)) for name in names)
    assert not layer.h_0.any()
    x = random(5, 2, 3, dtype=torch.float32)
    assert torch.equal(plain(x)[0], layer(x)[0])
    torch.nn.init.ones_(layer.h_0)
    layer.reset_parameters()
    assert not layer.h_0.any()
    assert "learn_initial_state=True" in repr(layer)
    assert not hasattr(make(fastrnn.nn, "gru", 3, 6, learn_initial_state=True), "c_0")
    with pytest.raises(TypeError, match="Expected learn_initial_state to be a bool, got int"):
        fastrnn.GRU(3, 6, learn_initial_state=1)


def test_it_is_saved_and_copied():
    layer, x = learning("lstm", 3, 6), random(5, 2, 3)
    other = make(fastrnn.nn, "lstm", 3, 6, learn_initial_state=True, dtype=F64)
    other.load_state_dict(layer.state_dict())
    for same in (other, copy.deepcopy(layer)):
        assert torch.equal(same(x)[0], layer(x)[0])


def test_torch_has_no_such_layer():
    with pytest.raises(ValueError, match=r"torch.nn has no module that computes the same"):
        fastrnn.to_torch(learning("gru", 3, 6))
    with pytest.raises(ValueError, match="learn_initial_state changes parameters"):
        fastrnn.convert(torch.nn.LSTM(3, 6), learn_initial_state=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_gradients_in_the_dtype_of_the_parameter(dtype):
    layer = learning("lstm", 3, 6, dtype=dtype)
    layer(random(5, 2, 3, dtype=dtype))[0].sum().backward()
    assert layer.h_0.grad.dtype == layer.c_0.grad.dtype == dtype
    assert layer.h_0.grad.any()
