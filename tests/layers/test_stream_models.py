"""Streams of whole models: in one call of C++ or module by module, and what they refuse."""

import copy

import pytest
import torch
from torch import nn

import fastrnn
from tests.support.streams import same, steps
from tests.support.twins import random


def sequential():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 12),
        nn.Sequential(nn.ReLU(), nn.Dropout(0.5), fastrnn.LSTM(12, 20, num_layers=2, dropout=0.3, proj_size=8)),
        nn.LayerNorm(8),
        fastrnn.GRU(8, 16),
        nn.BatchNorm1d(16),
        nn.Linear(16, 4),
        nn.Softmax(dim=-1),
    )


def test_a_model():
    model = sequential()
    model[4](random(50, 16, dtype=torch.float32))  # running statistics
    model.eval()
    x = random(5, 3, 6, dtype=torch.float32)
    with torch.no_grad():
        expected = model[1][2](model[0](x).relu())[0]
        expected = model[3](model[2](expected))[0]
        expected = torch.stack([model[6](model[5](model[4](step))) for step in expected])
    for given in (model, fastrnn.freeze(model)):
        stream = fastrnn.stream(given, 3)
        model.train()  # a stream stays as it was made
        found = steps(stream, x)
        model.eval()
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
        assert not found.requires_grad
        first, second = stream.state
        assert [list(state.shape) for state in (*first, second)] == [[2, 3, 8], [2, 3, 20], [1, 3, 16]]
        stream.reset()
        half = steps(stream, x[:2])
        middle = stream.state
        rest = steps(stream, x[2:])
        assert torch.equal(torch.cat([half, rest]), found)
        stream.state = middle
        assert torch.equal(steps(stream, x[2:]), rest)
        with pytest.raises(ValueError, match="a tuple of 2 states, one for each recurrent layer, got 1"):
            stream.state = (first,)
        stream.state = middle
        with pytest.raises(TypeError, match=r"Expected h to be a torch\.Tensor, got a tuple"):
            stream.state = (tuple(state + 1 for state in middle[0]), middle[0])
        assert all(map(same, stream.state, middle))  # nothing was set
        stream.reset(torch.tensor([False, True, True]))
        assert not stream.state[1][:, 1:].any()
        assert torch.equal(stream.state[1][:, 0], steps_state(given, x[:2])[:, 0])
    with pytest.raises(RuntimeError, match="A stream computes no gradients"):
        stream(x[0].clone().requires_grad_())
    assert type(fastrnn.stream(model[3], 2)) is type(model[3].stream(2))


def policy(dtype=torch.float32):
    """A model of nothing but what C++ runs."""
    torch.manual_seed(5)
    middle = nn.Sequential(nn.Identity(), fastrnn.GRU(70, 40), nn.Dropout(0.5), nn.LayerNorm(40), nn.Linear(40, 9))
    last = nn.LayerNorm(9, elementwise_affine=False), nn.Linear(9, 1, bias=False), nn.ReLU()
    return nn.Sequential(nn.Linear(130, 70), nn.Tanh(), middle, nn.Sigmoid(), *last).eval().to(dtype)


def layer_by_layer(model, x):
    with torch.no_grad():
        return model[3:](model[2][3:](model[2][1](model[:2](x))[0]))


def assert_nearer(found, theirs, model, x):
    """To the same model in float64 than torch's numbers, or as near."""
    exact = layer_by_layer(copy.deepcopy(model).double(), x.double())
    error, bound = ((t.double() - exact).square().mean().sqrt().item() for t in (found, theirs))
    assert error <= 1.5 * bound + 1e-7, (error, bound)


def test_a_model_in_one_call():
    """Near torch's numbers, and a row's to the last bit in any batch, in any number of threads."""
    model, x = policy(), random(6, 33, 130, dtype=torch.float32)
    stream = fastrnn.stream(model, 33)
    assert type(stream) is type(model[2][1].stream(1))
    found = steps(stream, x)
    expected = layer_by_layer(model, x)
    assert_nearer(found, expected, model, x)
    assert len(stream.state) == 1
    before = torch.get_num_threads()
    for rows, threads in ((slice(0, 1), 1), (slice(3, 10), 3), (slice(0, 33), 2)):
        torch.set_num_threads(threads)
        part = fastrnn.stream(model, rows.stop - rows.start)
        assert torch.equal(steps(part, x[:, rows]), found[:, rows])
        assert torch.equal(part.state[0], stream.state[0][:, rows])
    torch.set_num_threads(before)
    narrow, x16 = policy(torch.bfloat16), x.bfloat16()
    found = steps(fastrnn.stream(narrow, 33), x16)
    assert found.dtype == torch.bfloat16
    assert_nearer(found, layer_by_layer(narrow, x16), narrow, x16)
    for module in (model[0], model[2][1], model[2][3]):
        stream = fastrnn.stream(model, 1)
        with torch.no_grad():
            next(module.parameters()).add_(1)
        with pytest.raises(RuntimeError, match="they have changed since"):
            stream(x[0, :1])
    with pytest.raises(
        ValueError, match="Expected a module of 6 inputs, as many as the one before has outputs, got one"
    ):
        fastrnn.stream(nn.Sequential(fastrnn.LSTM(4, 6), nn.Linear(7, 2)).eval(), 1)


def steps_state(model, x):
    """The second recurrent layer's state after a sequence."""
    stream = fastrnn.stream(model, x.size(1))
    steps(stream, x)
    return stream.state[1]


def test_modules_that_are_refused():
    class Mine(fastrnn.LSTM):
        pass

    hooked = fastrnn.LSTM(4, 4)
    hooked.register_forward_hook(lambda *_: None)
    linear = nn.Linear(4, 4)
    linear.register_forward_pre_hook(lambda *_: None)
    for module, words in (
        (nn.Conv1d(4, 4, 1), r"Linear, LayerNorm.* to stream, got 1, a Conv1d: it is none of these"),
        (nn.Sequential(nn.Bilinear(4, 4, 4)), r"got 1\.0, a Bilinear"),
        (nn.LSTM(4, 4), r"got 1, a LSTM: torch\.nn's; call fastrnn\.convert\(model\) first"),
        (fastrnn.LSTMCell(4, 4), r"got 1, a LSTMCell: it is none of these"),
        (Mine(4, 4), "a Mine: subclass, whose forward would not run"),
        (fastrnn.GRU(4, 4, bidirectional=True), "got 1, which is bidirectional: its second direction begins at"),
        (fastrnn.LSTM(4, [4, 5], num_layers=2), "Expected one hidden size for all layers to be packed"),
        (fastrnn.GRU(4, 4).double(), r"got 1 in float64; call model\.float\(\) first"),
        (hooked, "without forward hooks to stream, got 1"),
        (linear, "without forward hooks to stream, got 1"),
        (nn.LayerNorm((3, 4)), "it normalizes over 2 dimensions, and a row has one"),
        (nn.BatchNorm1d(4, track_running_stats=False), "without running statistics rows depend on each other"),
        (nn.Softmax(dim=1), "dim=-1, the features, got dim=1"),
    ):
        with pytest.raises(ValueError, match=words):
            fastrnn.stream(nn.Sequential(fastrnn.LSTM(4, 4), module).eval(), 2)
    model = sequential()
    with pytest.raises(RuntimeError, match=r"eval mode to stream, got the model in training mode; call model\.eval"):
        fastrnn.stream(model, 2)
    model.eval()
    model[5].train()
    with pytest.raises(RuntimeError, match="got 5 in training mode"):
        fastrnn.stream(model, 2)
    with pytest.raises(RuntimeError, match="got the layer in training mode"):
        fastrnn.LSTM(4, 4).stream(2)
    with pytest.raises(RuntimeError, match="got the layer on meta"):
        fastrnn.LSTM(4, 4, device="meta").eval().stream(2)
    with pytest.raises(ValueError, match="a Sequential without any"):
        fastrnn.stream(nn.Sequential(nn.Linear(4, 4)).eval(), 2)
    with pytest.raises(ValueError, match="got the layer, a Linear"):
        fastrnn.stream(nn.Linear(4, 4).eval(), 2)
    with pytest.raises(TypeError, match=r"Expected a torch\.nn\.Module, got str"):
        fastrnn.stream("model", 2)
