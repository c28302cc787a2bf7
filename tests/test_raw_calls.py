"""The operators and fastrnn._C called by hand, with whatever: a result or an error, never a read out of bounds.

In the ordinary suite this finds wrong results and errors that do not say what is wrong. That nothing is read or written
out of bounds, and that nothing in between is undefined, shows when it runs under AddressSanitizer: `make sanitize`.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fastrnn
from fastrnn import _C, ops
from tests.twins import random

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "rnn_sigmoid": 1, "gru": 3, "gru_reset_before": 3, "lstm": 4}
FORWARD = ("cell", "input", "batch_sizes", "h0", "c0", "weights", "biases", "bidirectional", "batch_first")


def _call(cell="lstm", *, lengths=None, times=3, batch=2, inputs=5, hidden=6, projection=0, biases=True, directions=1,
          dtype=torch.float32):  # fmt: skip
    """The arguments of a forward call that is right, by name."""
    gates, output = GATES[cell] * hidden, projection or hidden
    sizes = [
        (gates, inputs),
        (gates, output),
        *([(gates,)] * 2 if biases else []),
        *([(output, hidden)] if projection else []),
    ]
    weights = [random(*size, dtype=dtype) / 3 for size in sizes] * directions
    rows = (times, batch, inputs) if lengths is None else (sum(lengths), inputs)
    batch = batch if lengths is None else lengths[0]
    return {
        "cell": cell,
        "input": random(*rows, dtype=dtype),
        "batch_sizes": None if lengths is None else torch.tensor(lengths),
        "h0": random(directions, batch, output, dtype=dtype),
        "c0": random(directions, batch, hidden, dtype=dtype) if cell == "lstm" else None,
        "weights": weights,
        "biases": biases,
        "bidirectional": directions == 2,
        "batch_first": False,
        "projected": projection > 0,
    }  # fmt: skip


def _forward(call, save=False, recompute=False):
    return ops.forward(*[call[name] for name in FORWARD], save, recompute, call["projected"])


def _backward_arguments(call, recompute=False):
    """The arguments of the backward call that follows, by name."""
    output, hn, cn, saved = _forward(call, True, recompute)
    incoming = {"d_output": torch.ones_like(output), "d_hn": torch.ones_like(hn), "d_cn": None}
    if call["c0"] is not None:
        incoming["d_cn"] = torch.ones_like(cn)
    operands = {name: call[name] for name in FORWARD[1:6]}
    options = {name: call[name] for name in FORWARD[6:]}
    last = {"recompute": recompute, "projected": call["projected"]}
    needs = [True, True, call["c0"] is not None, *([True] * len(call["weights"]))]
    results = {"output": output, "saved": saved}
    return {"cell": call["cell"], **incoming, **operands, **results, **options, "needs": needs, **last}


def _resized(t, bytes_left):
    """``t`` with its storage cut to so many bytes, as FSDP frees parameters."""
    t = t.clone()
    t.untyped_storage().resize_(bytes_left)
    return t


def _replaced(call, name, change):
    if name.startswith("weights"):
        weights = list(call["weights"])
        weights[int(name[-1])] = change(weights[int(name[-1])])
        return call | {"weights": weights}
    return call | {name: change(call[name])}


@pytest.mark.parametrize("left", [0, 4])
@pytest.mark.parametrize("name", ["input", "batch_sizes", "h0", "c0", "weights0", "weights1", "weights2", "weights4"])
def test_freed_operand(name, left):
    call = _call(lengths=[3, 2, 1], projection=2)
    call = _replaced(call, name, lambda t: _resized(t, left))
    with pytest.raises(RuntimeError, match=f"in memory: it needs .* bytes, and its storage has {left}"):
        _forward(call)


@pytest.mark.parametrize("left", [0, 4])
@pytest.mark.parametrize("name", ["d_output", "d_hn", "d_cn", "output", "saved", "input", "weights3"])
@pytest.mark.parametrize("recompute", [False, True])
def test_freed_operand_of_backward(name, left, recompute):
    call = _backward_arguments(_call(), recompute)
    with pytest.raises(RuntimeError, match=f"Expected [a-z_]+ in memory.*, and its storage has {left}"):
        ops.backward(*_replaced(call, name, lambda t: _resized(t, left)).values())


@pytest.mark.parametrize("training", [False, True])
def test_freed_weight_of_a_layer(training):
    layer = fastrnn.GRU(5, 6)
    layer.weight_hh_l0.untyped_storage().resize_(0)
    with torch.set_grad_enabled(training), pytest.raises(RuntimeError, match="Expected weight_hh in memory"):
        layer(random(3, 2, 5, dtype=torch.float32))


@pytest.mark.parametrize("sizes", [
    [1 << 62] * 4 + [1] * 3,  # the sum wraps to the number of rows, 3
    [(1 << 63) - 1] * 2 + [1] * 5,
    [1 << 62, 1, 1, 1],
    [],
    [3, 0],
    [-1] * 3,
    [-(1 << 63)] * 2 + [3],
])  # fmt: skip
@pytest.mark.parametrize("backward", [False, True])
def test_batch_sizes_that_do_not_fit(sizes, backward):
    call = _call("gru", lengths=[1, 1, 1])
    call = _backward_arguments(call) if backward else call
    call["batch_sizes"] = torch.tensor(sizes, dtype=torch.int64)
    with pytest.raises(RuntimeError, match=r"batch_sizes|sequence length"):
        ops.backward(*call.values()) if backward else _forward(call)


def test_unaligned_numbers():
    """torch.frombuffer makes tensors that begin anywhere."""
    call = _call()
    expected = _forward(call)

    def shifted(t):
        copy = bytearray(1) + bytearray(t.numpy().tobytes())
        return torch.frombuffer(copy, dtype=t.dtype, offset=1).view(t.shape)

    for name in ("input", "h0", "c0", "weights0", "weights2"):
        found = _forward(_replaced(call, name, shifted))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), name


def test_a_batch_of_nothing_takes_no_memory():
    """However long it is."""
    call = _call("gru", batch=0) | {"input": torch.empty(1 << 40, 0, 5)}
    output, hn, *_ = _forward(call, True, True)
    assert output.shape == (1 << 40, 0, 6)
    assert hn.shape == (1, 0, 6)


@pytest.mark.parametrize("name", ["weights0", "h0", "input"])
@pytest.mark.parametrize("change", [
    lambda t: t.to_sparse(),
    lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.quint8),
    lambda t: torch.nested.nested_tensor(list(t), layout=torch.strided),
    lambda t: t.to_mkldnn(),
    lambda t: t.to(torch.complex64),
], ids=["sparse", "quantized", "nested", "mkldnn", "complex"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch's constructors
def test_another_kind_of_tensor(name, change):
    with pytest.raises((RuntimeError, NotImplementedError)):
        _forward(_replaced(_call(), name, change))


@pytest.mark.parametrize("needs", [[], [True] * 6, [True] * 8])
def test_needs_of_another_length(needs):
    with pytest.raises(RuntimeError, match="Expected needs for input, h0, c0 and 4 weights"):
        ops.backward(*(_backward_arguments(_call()) | {"needs": needs}).values())


def _views(t):
    """``t`` as it may lie in memory: equal numbers, other strides."""
    spread = torch.empty(*[2 * n for n in t.shape], dtype=t.dtype)[tuple([slice(None, None, 2)] * t.dim())]
    yield spread.copy_(t)
    yield t.transpose(0, -1).contiguous().transpose(0, -1)
    yield torch.complex(t, -t).conj().imag  # the negative bit
    yield t.movedim(-1, 0).contiguous().movedim(0, -1)


@pytest.mark.parametrize("name", ["input", "h0", "c0", "weights0", "weights1", "weights3"])
def test_strides_do_not_matter(name):
    call = _call(directions=2)
    arguments = _backward_arguments(call)
    expected = [*_forward(call), *ops.backward(*arguments.values())]
    original = call["weights"][int(name[-1])] if name[-1].isdigit() and name != "h0" and name != "c0" else call[name]
    for view in _views(original):
        found = [*_forward(_replaced(call, name, lambda _, v=view: v)),
                 *ops.backward(*_replaced(arguments, name, lambda _, v=view: v).values())]  # fmt: skip
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["d_output", "d_hn", "d_cn", "output"])
def test_strides_of_gradients_do_not_matter(name):
    arguments = _backward_arguments(_call(directions=2))
    expected = ops.backward(*arguments.values())
    views = list(_views(arguments[name]))
    if name.startswith("d_"):
        views.append(torch.ones(()).expand_as(arguments[name]))
    for view in views:
        found = ops.backward(*(arguments | {name: view}).values())
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


# What follows draws from a random.Random that hypothesis steers. Tensors are not drawn themselves: hypothesis would
# print them, and torch crashes when it prints a tensor whose storage was freed.
NUMBERS = [0, 1, -1, 2, 3, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63)]
OPTIONAL = ("batch_sizes", "h0", "c0", "d_output", "d_hn", "d_cn")


def _one_in(n, draw):
    return draw.randrange(n) == 0


def _near_tensor(draw, t):
    """``t``, or something like it."""
    if t is None or not _one_in(4, draw):
        return t
    match draw.choice(["dtype", "shape", "expanded", "freed", "view", "spoiled", "scalar"]):
        case "dtype":
            return t.to(draw.choice([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]))
        case "shape":
            return torch.zeros([draw.choice([0, 1, 2, 3, 17]) for _ in range(draw.randrange(4))], dtype=t.dtype)
        case "expanded":
            return torch.zeros((), dtype=t.dtype).expand(
                [draw.choice([0, 1, 3, 1 << 20]) for _ in range(draw.randrange(4))]
            )
        case "freed" if t.numel():
            return _resized(t, draw.randrange(t.numel() * t.itemsize))
        case "view" if t.dim():
            return t.narrow(0, 0, draw.randint(0, t.size(0))).flip(-1)
        case "spoiled" if t.is_floating_point():
            return t * draw.choice([math.nan, math.inf, -math.inf, 1e38, 0.0])
    return t.new_zeros(())


def _any_call(draw):
    cell, hidden = draw.choice(list(GATES)), draw.choice([1, 2, 5, 16, 33])
    lengths = sorted((draw.randint(1, 9) for _ in range(draw.randint(1, 6))), reverse=True)
    return _call(
        cell,
        lengths=draw.choice([None, lengths]),
        times=draw.randint(1, 9),
        batch=draw.randint(0, 9),
        inputs=draw.choice([1, 3, 16]),
        hidden=hidden,
        projection=draw.choice([0, hidden // 2]) if cell == "lstm" else 0,
        biases=draw.choice([False, True]),
        directions=draw.choice([1, 2]),
        dtype=draw.choice([torch.float32, torch.float64]),
    )


def _near(draw, call):
    """``call`` with some arguments changed."""

    def changed(name, value):
        if name == "cell":
            return draw.choice([*GATES, "", "lstm\0", "é"]) if _one_in(16, draw) else value
        if name == "needs":
            return [True] * draw.randrange(14) if _one_in(8, draw) else value
        if name == "weights":
            weights = [_near_tensor(draw, w) for w in value]
            return weights[: draw.randint(0, len(weights))] if _one_in(16, draw) else weights
        if isinstance(value, bool):
            return value ^ _one_in(16, draw)
        if name in OPTIONAL and _one_in(10, draw):  # torch checks the others, and crashes at printing what was freed
            return None
        if name == "batch_sizes" and value is not None and _one_in(5, draw):
            return torch.tensor([draw.choice(NUMBERS) for _ in range(draw.randrange(8))], dtype=torch.int64)
        return _near_tensor(draw, value)

    return {name: changed(name, value) for name, value in call.items()}


def _right_or_an_error(run, arguments):
    """Runs it, and reads every number that it returns."""
    try:
        found = run(*arguments)
    except (RuntimeError, ValueError, IndexError):
        return
    for t in found:
        t.double().sum().item()


@given(st.randoms(use_true_random=False))
def test_forward_with_anything(draw):
    call = _near(draw, _any_call(draw))
    *arguments, projected = call.values()
    save, recompute = draw.choice([False, True]), draw.choice([False, True])
    _right_or_an_error(ops.forward, [*arguments, save, recompute, projected])


@given(st.randoms(use_true_random=False))
def test_backward_with_anything(draw):
    call = _backward_arguments(_any_call(draw), draw.choice([False, True]))
    _right_or_an_error(ops.backward, _near(draw, call).values())


@given(st.randoms(use_true_random=False))
def test_all_layers_at_once_with_anything(draw):
    cell, input, batch_sizes, h0, c0, weights, *options = _near(draw, _any_call(draw)).values()
    layers = draw.choice([1, 1, 2, 3, *NUMBERS])
    weights = weights * (layers if 0 < layers < 4 else 1)
    _right_or_an_error(ops.infer, [cell, input, batch_sizes, h0, c0, weights, layers, *options])


@given(st.randoms(use_true_random=False))
def test_infer_with_anything(draw):
    """The short way takes the dictionary of a layer, and says None where it is not as expected."""
    cell, layers, directions = draw.choice(["gru", "lstm"]), draw.randint(1, 3), draw.randint(1, 2)
    layer = getattr(fastrnn, cell.upper())(3, 5, layers, bidirectional=directions == 2)
    dictionary = dict(layer.__dict__)
    for name in draw.sample(sorted(dictionary), draw.randrange(3)):
        dictionary[name] = draw.choice([None, True, *NUMBERS, 0.5, math.nan, "", torch.zeros(2), [1], {}, (), object()])
    state = random(layers * directions, 4, 5, dtype=torch.float32)
    hx = draw.choice([None, state, (state, state), (state,), (state, None), [state, state], 3])
    weights = draw.choice([layer._flat_weights[:4], layer._flat_weights[:2], [], [None] * 4, [1, state]])
    with torch.no_grad():
        found = _C.infer(cell, _near_tensor(draw, random(7, 4, 3, dtype=torch.float32)), hx, dictionary)
        if found is not None:
            found[0].double().sum().item()
        _C.infer_step(cell, _near_tensor(draw, random(4, 3, dtype=torch.float32)), hx, weights)


class Destroys(str):
    """A key that empties dictionaries and lists when it is compared."""

    victims: tuple = ()
    __hash__ = str.__hash__

    def __eq__(self, other):
        for victim in self.victims:
            victim.clear()
        return False


@pytest.mark.parametrize("name", ["num_layers", "_parameters", "_flat_weights", "weight_ih_l0"])
def test_infer_with_a_dictionary_that_changes_meanwhile(name):
    layer = fastrnn.GRU(3, 5)
    dictionary, key = dict(layer.__dict__), Destroys(name)
    lists = [list(layer._flat_weights), list(layer._flat_weights_names)]
    dictionary |= dict(zip(("_flat_weights", "_flat_weights_names"), lists, strict=True))
    dictionary[key] = dictionary.pop(name, None)
    key.victims = (dictionary, *lists)
    with torch.no_grad():
        assert _C.infer("gru", torch.zeros(2, 1, 3), None, dictionary) is None


@pytest.mark.parametrize("run", [_C.activation_float, _C.activation_double])
def test_activations_of_any_array(run):
    dtype = np.float32 if run is _C.activation_float else np.float64
    numbers = np.linspace(-3, 3, 24, dtype=dtype)
    expected = run("tanh", numbers)
    unaligned = np.frombuffer(bytearray(1) + bytearray(numbers.tobytes()), dtype, offset=1)
    for array in (
        numbers.reshape(2, 3, 4),
        np.repeat(numbers, 2)[::2],
        numbers.astype(numbers.dtype.newbyteorder()),
        unaligned,
    ):
        np.testing.assert_array_equal(run("tanh", array), expected)
    np.testing.assert_array_equal(run("tanh", numbers[::-1])[::-1], expected)
    assert run("relu", np.zeros((0, 3), dtype)).size == 0
    with pytest.raises(TypeError):
        run("tanh", np.zeros(3, np.complex128))


@pytest.mark.parametrize("threads", [0, -1, -(1 << 31)])
def test_peak_of_no_thread(threads):
    with pytest.raises(ValueError, match=f"threads must be at least 1, got {threads}"):
        _C.fma_peak(threads)


def test_peak_of_more_threads_than_processors():
    assert _C.fma_peak((1 << 31) - 1) > 0
