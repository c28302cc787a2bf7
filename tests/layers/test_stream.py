"""Streams of single layers: the bits of the frozen layer over the whole sequence, their state, and what they refuse."""

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
from tests.support.streams import same, steps
from tests.support.twins import CELLS, initial, make, random

OPTIONS = ({}, {"num_layers": 3, "bias": False})


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
