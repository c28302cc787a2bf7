"""Streams: the bits of the frozen layer over the whole sequence, their state, and what they refuse."""

import contextlib
import copy
import itertools
import pickle
import threading
import warnings

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, initial, make, random

OPTIONS = ({}, {"num_layers": 3, "bias": False})


def steps(stream, x):
    """The outputs of a stream over a sequence (T, B, I)."""
    return torch.stack([stream(step) for step in x])


def same(a, b):
    """Whether two states are equal to the last bit."""
    pairs = zip(a, b, strict=True) if isinstance(a, tuple) else ((a, b),)
    return all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("cell", CELLS)
def test_bits_of_the_whole_sequence(cell, numbers):
    for batch, options in itertools.product((1, 2, 7, 33), OPTIONS):
        plain = make(fastrnn.nn, cell, 5, 34, **options).eval()
        packed = fastrnn.freeze(plain) if numbers == "float32" else fastrnn.quantize(plain, dtype=numbers)
        x, hx = random(6, batch, 5, dtype=torch.float32), initial(plain, batch, torch.float32)
        with torch.no_grad():
            for stream in (plain.stream(batch, dtype=numbers), packed.stream(batch)):
                for start in (None, hx):
                    if start is not None:
                        stream.state = start
                    found, (expected, state) = steps(stream, x), packed(x, start)
                    assert torch.equal(found, expected), (batch, options)
                    assert same(stream.state, state)
                stream.reset()
                assert torch.equal(steps(stream, x), packed(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_numbers_of_the_plain_layer(cell):
    plain = make(fastrnn.nn, cell, 40, 70, num_layers=2).eval()
    x = random(20, 3, 40, dtype=torch.float32)
    with torch.inference_mode():
        torch.testing.assert_close(steps(plain.stream(3), x), plain(x)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_any_number_of_threads(cell):
    """A layer that is large enough for several threads, made and run with any number of them."""
    layer = make(fastrnn.nn, cell, 64, 1100).eval()
    model = nn.Sequential(layer, nn.Linear(1100, 2500)).eval()
    frozen, x = fastrnn.freeze(layer), random(3, 2, 64, dtype=torch.float32)
    before = torch.get_num_threads()
    with torch.no_grad():
        torch.set_num_threads(1)
        expected, of_model = frozen(x)[0], steps(fastrnn.stream(model, 2), x)
        for made, run in ((1, 2), (2, 1), (3, 3), (3, 2)):
            torch.set_num_threads(made)
            streams = frozen.stream(2), fastrnn.stream(model, 2)
            torch.set_num_threads(run)
            assert torch.equal(steps(streams[0], x), expected)
            assert torch.equal(steps(streams[1], x), of_model)
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits(dtype):
    """Input and output are rounded, the state between steps is not."""
    plain = make(fastrnn.nn, "lstm", 6, 20, num_layers=2, dtype=dtype).eval()
    stream, frozen = plain.stream(3), fastrnn.freeze(plain)
    x = random(7, 3, 6, dtype=torch.float32).to(dtype)
    with torch.no_grad():
        found, (expected, _) = steps(stream, x), frozen(x)
        assert found.dtype == dtype
        assert torch.equal(found, expected)
        into = torch.empty(3, 20, dtype=dtype)
        stream.reset()
        assert torch.equal(stream(x[0], out=into), expected[0])
    assert all(state.dtype == torch.float32 for state in stream.state)


def test_any_strides():
    layer = make(fastrnn.nn, "gru", 5, 5).eval()
    x = random(4, 3, 5, dtype=torch.float32)
    with torch.no_grad():
        expected = steps(layer.stream(3), x)
        wide = random(4, 3, 11, dtype=torch.float32)
        wide[:, :, 3:8] = x
        shifted = torch.zeros(4, 15 * 4 + 1, dtype=torch.uint8)
        shifted[:, 1:].copy_(x.view(4, 15).view(torch.uint8))
        for given in (wide[:, :, 3:8], x.transpose(1, 2).contiguous().transpose(1, 2)):
            assert torch.equal(steps(layer.stream(3), given), expected)
        same_row = x[:, :1].expand(4, 3, 5)
        assert torch.equal(steps(layer.stream(3), same_row), steps(layer.stream(3), same_row.contiguous()))


def test_output_argument():
    """Rows of any stride, the input itself, and interleaved with it; the version says that it was written."""
    layer = make(fastrnn.nn, "lstm", 20, 20).eval()
    x = random(3, 20, dtype=torch.float32)
    expected = layer.stream(3)(x)
    wide = torch.full((3, 64), 5.0)
    wide[:, :20] = x
    for given, into in (
        (x, torch.empty(3, 20)),
        (x, torch.empty(3, 50)[:, 7:27]),
        (x, torch.empty(20, 3).T),
        (x.clone(),) * 2,
        (wide[:, :20], wide[:, 30:50]),
        (wide[:, :20], wide[:, 10:30]),
    ):
        version = into._version
        assert layer.stream(3)(given, out=into) is into
        assert torch.equal(into, expected)
        assert into._version == version + 1
    assert (wide[:, 50:] == 5).all()
    zeros = torch.zeros(3, 20)
    layer.stream(3)(x, out=torch._lazy_clone(zeros))
    assert not zeros.any()
    first = layer.stream(3)
    kept = first(x)
    first(x)
    assert torch.equal(kept, expected)  # a new tensor for every step


def test_state_is_copied():
    layer = make(fastrnn.nn, "lstm", 4, 9, num_layers=2, proj_size=3).eval()
    stream, x = layer.stream(5), random(5, 4, dtype=torch.float32)
    given = initial(layer, 5, torch.float32)
    before = tuple(state.clone() for state in given)
    stream.state = given
    read = stream.state
    y = stream(x)
    assert same(read, before)
    assert same(given, before)
    assert [list(state.shape) for state in read] == [[2, 5, 3], [2, 5, 9]]
    read[0].zero_()
    stream.state = list(given)
    assert torch.equal(stream(x), y)
    stream.state = tuple(state.transpose(0, 1).contiguous().transpose(0, 1) for state in given)
    assert torch.equal(stream(x), y)


@pytest.mark.parametrize("cell", ["rnn_relu", "lstm_projected"])
def test_reset(cell):
    layer = make(fastrnn.nn, cell, 4, 18, num_layers=2).eval()
    stream, alone = layer.stream(5), layer.stream(1)
    x = random(6, 5, 4, dtype=torch.float32)
    steps(stream, x[:3])
    mask = torch.tensor([True, False, False, True, False])
    before = stream.state
    stream.reset(mask)
    for now, was in zip(*(s if isinstance(s, tuple) else (s,) for s in (stream.state, before)), strict=True):
        assert (now[:, mask] == 0).all()
        assert torch.equal(now[:, ~mask], was[:, ~mask])
    found = steps(stream, x[3:])
    assert torch.equal(found[:, 3:4], steps(alone, x[3:, 3:4]))
    alone.reset()
    assert torch.equal(found[:, 1:2], steps(alone, x[:, 1:2])[3:])
    stream.reset(mask.repeat_interleave(2)[::2])
    stream.reset(torch.ones(5, dtype=torch.bool))
    assert torch.equal(steps(stream, x), steps(layer.stream(5), x))


@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_learned_initial_state(cell):
    layer = make(fastrnn.nn, cell, 4, 18, num_layers=2, learn_initial_state=True).eval()
    x, mask = random(6, 5, 4, dtype=torch.float32), torch.tensor([True, False, False, True, False])
    with torch.no_grad():
        for name in layer._initial_states():
            getattr(layer, name).normal_()
        frozen = fastrnn.freeze(layer)
        expected, state = frozen(x)
        for stream in (layer.stream(5), frozen.stream(5), copy.deepcopy(layer.stream(5))):
            assert torch.equal(steps(stream, x), expected)
            assert same(stream.state, state)
            stream.reset(mask)
            assert torch.equal(steps(stream, x)[:, mask], expected[:, mask])
            stream.reset()
            assert torch.equal(steps(stream, x), expected)
        stream = layer.stream(5)
        layer.h_0.add_(1)
    with pytest.raises(RuntimeError, match="they have changed since"):
        stream(x[0])


def test_copies_go_on_alone():
    for stream in (
        make(fastrnn.nn, "peephole_lstm", 4, 9, num_layers=2).eval().stream(2),
        fastrnn.stream(nn.Sequential(fastrnn.GRU(4, 6), nn.Linear(6, 9)).eval(), 2, dtype="int8"),
    ):
        x = random(6, 2, 4, dtype=torch.float32)
        steps(stream, x[:3])
        copies = copy.deepcopy(stream), pickle.loads(pickle.dumps(stream))
        expected = steps(stream, x[3:])
        for other in copies:
            assert torch.equal(steps(other, x[3:]), expected)


def test_changed_weights_are_noticed():
    for change in (
        lambda layer: layer.weight_hh_l0.mul_(2),
        lambda layer: layer.bias_ih_l0.zero_(),
        lambda layer: layer.load_state_dict(layer.state_dict()),
        lambda layer: torch.optim.SGD(layer.parameters(), 0.1).step(),
    ):
        layer = make(fastrnn.nn, "lstm", 4, 9).eval()
        stream, x = layer.stream(2), random(2, 4, dtype=torch.float32)
        stream(x)
        layer.weight_hh_l0.grad = torch.ones_like(layer.weight_hh_l0)
        with torch.no_grad():
            change(layer)
        with pytest.raises(RuntimeError, match=r"they have changed since; make a new stream.*new\.state = old\.state"):
            stream(x)
        again = layer.stream(2)
        again.state = stream.state
        again(x)
    frozen = fastrnn.freeze(layer)
    stream = frozen.stream(2)
    frozen.load_state_dict(layer.state_dict())
    with pytest.raises(RuntimeError, match="they have changed since"):
        stream(x)


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


def test_arguments_that_are_refused():
    layer = fastrnn.LSTM(4, 6).eval()
    for size, error, words in (
        (0, ValueError, "batch_size to be at least 1, got 0"),
        (2.0, TypeError, "batch_size to be an int, got float"),
        (True, TypeError, "batch_size to be an int, got bool"),
    ):
        with pytest.raises(error, match=words):
            layer.stream(size)
    with pytest.raises(ValueError, match="got 'int4'"):
        layer.stream(2, dtype="int4")
    with pytest.raises(ValueError, match="which is packed as float32, got 'int8'"):
        fastrnn.freeze(layer).stream(2, dtype="int8")
    stream, x, before = layer.stream(2), torch.zeros(2, 4), None
    for given, error, words in (
        ([[0.0] * 4] * 2, TypeError, r"input to be a torch\.Tensor, got a list"),
        (x[:1], ValueError, r"input of size \[2, 4\].* got \[1, 4\]"),
        (x[:, :3], ValueError, r"got \[2, 3\]"),
        (x[None], ValueError, r"got \[1, 2, 4\]"),
        (x.double(), ValueError, r"torch\.float16, got torch\.float64; convert it with \.to\(torch\.float32\)"),
        (x.long(), ValueError, r"got torch\.int64"),
        (x.to("meta"), ValueError, "Expected input to be a dense tensor on the cpu.* got a Strided tensor on meta"),
        (x.to_sparse(), ValueError, "got a Sparse tensor on cpu"),
        (x.clone().requires_grad_(), RuntimeError, r"A stream computes no gradients.*input\.detach\(\)"),
    ):
        before = stream.state
        with pytest.raises(error, match=words):
            stream(given)
        assert same(stream.state, before)
    stream(torch.ones(2, 4))
    gone = torch.zeros(2, 4)
    gone.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="Expected input in memory"):
        stream(gone)
    for out, error, words in (
        (torch.empty(2, 5), ValueError, r"out of size \[2, 6\]"),
        (torch.empty(2, 6, dtype=torch.bfloat16), ValueError, r"dtype torch\.float32, got torch\.bfloat16"),
        (torch.empty(2, 1).expand(2, 6), ValueError, r"share memory, got strides \[1, 0\]"),
        (torch.empty(1, 6).expand(2, 6), ValueError, r"share memory, got strides \[0, 1\]"),
        (torch.empty(2, 6).requires_grad_(), RuntimeError, "out not to require gradients"),
    ):
        with pytest.raises(error, match=words):
            stream(x, out=out)
    h, c = torch.zeros(1, 2, 6), torch.zeros(1, 2, 6)
    for state, error, words in (
        (h, ValueError, r"a pair \(h, c\), got a Tensor"),
        ((h,), ValueError, r"a pair \(h, c\), got a tuple of 1"),
        ((h, c[:, :1]), ValueError, r"c of size \[1, 2, 6\], \(layers, batch, features\), got \[1, 1, 6\]"),
        ((h, None), TypeError, "c to be a torch.Tensor, got a NoneType"),
        ((h.double(), c), ValueError, r"h of dtype torch\.float32"),
        ((h.clone().requires_grad_(), c), RuntimeError, r"its h requires them.*h\.detach\(\)"),
    ):
        before = stream.state
        with pytest.raises(error, match=words):
            stream.state = state
        assert same(stream.state, before)
    for mask in (torch.zeros(2), torch.zeros(3, dtype=torch.bool), torch.zeros(2, 1, dtype=torch.bool)):
        with pytest.raises(ValueError, match=r"mask to be a bool tensor of size \[2\]"):
            stream.reset(mask)
    with pytest.raises(TypeError, match=r"mask to be a torch\.Tensor, got a list"):
        stream.reset([True, False])


def test_tracers_are_refused():
    layer, x = fastrnn.LSTM(4, 6).eval(), torch.zeros(2, 4)
    stream = layer.stream(2)
    with torch.no_grad():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of trace
            with pytest.raises(RuntimeError, match=r"outside torch\.jit\.trace"):
                torch.jit.trace(lambda x: stream(x), (x,), check_trace=False)
        with pytest.raises((RuntimeError, ValueError), match="Expected"):
            torch.func.vmap(stream)(x[None])
        with pytest.raises(RuntimeError, match="no part of a graph"):
            make_fx(lambda x: stream(x))(x)
        # What only looks on or changes other operators does not matter.
        expected = fastrnn.freeze(layer)(x[None])[0][0]
        for around in (torch.autocast("cpu"), torch.device("cpu"), torch.profiler.profile(), torch.inference_mode()):
            stream.reset()
            with around:
                assert torch.equal(stream(x), expected)


def test_one_thread_at_a_time():
    """A long step lets other threads run; a second call meanwhile is an error, and waits for nothing."""
    layer = fastrnn.LSTM(256, 512, num_layers=2).eval()
    stream, x = layer.stream(64), random(64, 256, dtype=torch.float32)
    done, errors = threading.Event(), []

    def other():
        while not done.is_set():
            try:
                stream.state  # noqa: B018
            except RuntimeError as error:
                errors.append(str(error))
                return

    thread = threading.Thread(target=other)
    thread.start()
    for _ in range(100):
        with contextlib.suppress(RuntimeError):  # where the other thread was first
            stream(x)
        if errors:
            break
    done.set()
    thread.join()
    assert errors
    assert "make a stream for each thread" in errors[0]


def test_compiled_around():
    """A stream runs between the graphs of torch.compile, and one graph of all is an error."""
    stream, x = fastrnn.LSTM(4, 6).eval().stream(2), random(5, 2, 4, dtype=torch.float32)

    def around(x):
        return stream(x + 1) * 2

    with torch.no_grad():
        with pytest.raises(torch._dynamo.exc.Unsupported, match="class `Stream`"):
            torch.compile(around, fullgraph=True, backend="eager")(x[0])
        expected = steps(stream, x + 1) * 2
        stream.reset()
        torch._dynamo.reset()
        assert torch.equal(steps(torch.compile(around, backend="eager"), x), expected)
