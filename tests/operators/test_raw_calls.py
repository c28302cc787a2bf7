"""The operators and fastrnn._C called by hand, with whatever: a result or an error, never a read out of bounds.

In the ordinary suite this finds wrong results and errors that do not say what is wrong. That nothing is read or written
out of bounds, and that nothing in between is undefined, shows when it runs under AddressSanitizer: `make sanitize`.
"""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
from fastrnn import _C
from tests.support.raw_calls import (
    CELLS,
    backward,
    backward_call,
    forward,
    infer,
    resized,
    right_call,
    views,
    with_masks,
)
from tests.support.twins import random

# The tests draw from a random.Random that hypothesis steers. Tensors are not drawn themselves: hypothesis would
# print them, and torch crashes when it prints a tensor whose storage was freed.
NUMBERS = [0, 1, -1, 2, 3, 1 << 31, 1 << 62, (1 << 63) - 1, -(1 << 63)]
MASKS = ("recurrent_mask", "zoneout_h", "zoneout_c")
OPTIONAL = ("batch_sizes", "h0", "c0", "d_output", "d_hn", "d_cn", *MASKS)


def _one_in(n, draw):
    return draw.randrange(n) == 0


def _other_tensor(draw, t):
    """Something like ``t``."""
    match draw.choice(["dtype", "shape", "expanded", "freed", "part", "strides", "spoiled", "device", "scalar"]):
        case "dtype":
            return t.to(draw.choice([torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool]))
        case "shape":
            return torch.zeros([draw.choice([0, 1, 2, 3, 17]) for _ in range(draw.randrange(4))], dtype=t.dtype)
        case "expanded":
            return torch.zeros((), dtype=t.dtype).expand(
                [draw.choice([0, 1, 3, 1 << 20]) for _ in range(draw.randrange(4))]
            )
        case "freed" if t.numel():
            return resized(t, draw.randrange(t.numel() * t.itemsize))
        case "part" if t.dim():
            axis = draw.randrange(t.dim())
            return t.narrow(axis, 0, draw.randint(0, t.size(axis)))
        case "strides" if t.dim() and t.is_floating_point():
            return draw.choice([*views(t), t.transpose(0, -1)])
        case "spoiled" if t.is_floating_point():
            return t * draw.choice([math.nan, math.inf, -math.inf, 1e38, 0.0])
        case "device":
            return t.to("meta")
    return t.new_zeros(())


def _any_call(draw):
    cell, hidden = draw.choice(list(CELLS)), draw.choice([1, 2, 5, 16, 33])
    heads = draw.choice([1, 1, hidden, {16: 2, 33: 3}.get(hidden, 1)])
    lengths = sorted((draw.randint(1, 9) for _ in range(draw.randint(1, 6))), reverse=True)
    return right_call(
        cell,
        lengths=draw.choice([None, lengths]),
        times=draw.randint(1, 9),
        batch=draw.randint(0, 9),
        inputs=draw.choice([1, 3, 16]),
        hidden=hidden,
        projection=draw.choice([0, hidden // 2]) if CELLS[cell]["projectable"] and heads == 1 else 0,
        biases=draw.choice([False, True]),
        directions=draw.choice([1, 2]),
        heads=heads,
        dtype=draw.choice([torch.float32, torch.float64]),
    )


def _maybe_masked(draw):
    call = _any_call(draw)
    return with_masks(call) if draw.choice([False, True]) else call


def _other(draw, name, value, call):
    """Another value of the argument of this name."""
    tensors = [t for t in call.values() if isinstance(t, torch.Tensor)]
    if name == "cell":
        return draw.choice([*CELLS, "", "lstm\0", "é"])
    if name == "needs":
        return draw.choice([[True] * draw.randrange(14), [draw.choice([False, True]) for _ in value]])
    if name == "weights":
        match draw.choice(["one", "fewer", "more", "shuffled"]):
            case "one":
                place = draw.randrange(len(value))
                return [_other_tensor(draw, w) if i == place else w for i, w in enumerate(value)]
            case "fewer":
                return value[: draw.randrange(len(value))]
            case "more":
                return [*value, *draw.choices([*value, *tensors], k=draw.randint(1, 9))]
        return draw.sample(value, len(value))
    if name == "heads":
        return draw.choice([*NUMBERS, 5, 33])
    if isinstance(value, bool):
        return not value
    if name == "batch_sizes" and value is not None and draw.choice([False, True]):
        return torch.tensor([draw.choice(NUMBERS) for _ in range(draw.randrange(8))], dtype=torch.int64)
    if value is None or _one_in(4, draw):
        return draw.choice(tensors)
    if name in OPTIONAL and _one_in(4, draw):  # torch checks the others, and crashes at printing what was freed
        return None
    return _other_tensor(draw, value)


def _near(draw, call):
    """``call`` with some arguments changed: one, two, or now and then all."""
    count = draw.choice([0, 1, 1, 1, 2, 2, len(call)])
    return call | {name: _other(draw, name, call[name], call) for name in draw.sample(list(call), count)}


def _right_or_an_error(run, call, **options):
    """Runs it, and reads every number that it returns."""
    try:
        found = run(call, **options)
    except (RuntimeError, ValueError, IndexError):
        return
    for t in found:
        if not t.is_meta:
            t.double().sum().item()


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_forward_with_anything(draw):
    save, recompute = draw.choice([False, True]), draw.choice([False, True])
    _right_or_an_error(forward, _near(draw, _maybe_masked(draw)), save=save, recompute=recompute)


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_backward_with_anything(draw):
    call = backward_call(_maybe_masked(draw), draw.choice([False, True]))
    _right_or_an_error(backward, _near(draw, call))


def _gradients(call):
    """By autograd, which calls the backward operator with what it has kept."""

    def leaf(t):
        return t.detach().requires_grad_() if isinstance(t, torch.Tensor) and t.is_floating_point() else t

    call = {name: [leaf(w) for w in value] if name == "weights" else leaf(value) for name, value in call.items()}
    leaves = [t for t in (call["input"], call["h0"], call["c0"], *call["weights"]) if t is not None and t.requires_grad]
    found = [t for t in forward(call) if t.requires_grad]
    gradients = torch.autograd.grad(found, leaves, [torch.ones_like(t) for t in found], allow_unused=True)
    return [t for t in gradients if t is not None]


@given(st.randoms(use_true_random=False))
def test_gradients_with_anything(draw):
    _right_or_an_error(_gradients, _near(draw, _maybe_masked(draw)))


@settings(max_examples=150)
@given(st.randoms(use_true_random=False))
def test_all_layers_at_once_with_anything(draw):
    call = _near(draw, _any_call(draw))
    layers = draw.choice([1, 1, 2, 3, *NUMBERS])
    call["weights"] = list(call["weights"]) * (layers if 0 < layers < 4 else 1)
    _right_or_an_error(infer, call, num_layers=layers)


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

    def near(*shape):
        t = random(*shape, dtype=torch.float32)
        return _other_tensor(draw, t) if _one_in(4, draw) else t

    with torch.no_grad():
        lengths = draw.choice([None, torch.tensor([7, 0, 3, 7]), torch.tensor([8, 0, 3, 7]), near(4), 3])
        resets = draw.choice([None, torch.rand(7, 4) < 0.5, torch.rand(7, 3) < 0.5, near(7, 4), [True]])
        options = draw.choice([{}, {"lengths": lengths}, {"resets": resets}, {"lengths": lengths, "resets": resets}])
        found = _C.run_layer(cell, near(7, 4, 3), hx, dictionary, fastrnn.RNN, options)
        if found is not None:
            found[0].double().sum().item()
        _C.run_step(cell, near(4, 3), hx, weights, draw.choice([False, True]))


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
        assert _C.run_layer("gru", torch.zeros(2, 1, 3), None, dictionary, fastrnn.GRU, {}) is None


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
