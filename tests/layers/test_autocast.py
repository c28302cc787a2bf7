"""torch.autocast on the CPU: torch.nn's result dtypes in every combination, states that are carried in float32."""

import copy
import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import CELLS, make, random

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
DTYPES = (F32, BF16, F16)
LAYERS = {
    "rnn": ("RNN", {}),
    "relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "projected": ("LSTM", {"proj_size": 2}),
}


def dtypes_of(module, low, *args):
    """The dtypes of all results in order, or None where the call raises."""
    try:
        with torch.autocast("cpu", low):
            results = module(*args)
    except (RuntimeError, ValueError):
        return None
    flat = torch.utils._pytree.tree_leaves(results)
    return [t.dtype for t in flat if t is not None and t.is_floating_point()]


def same_dtypes(theirs, low, combinations):
    """Compare over pairs of input and state, except where torch raises; returns how many were compared."""
    ours, compared = fastrnn.convert(copy.deepcopy(theirs)), 0
    for x, hx in combinations:
        expected, found = dtypes_of(theirs, low, x, hx), dtypes_of(ours, low, x, hx)
        if expected is not None:
            where = [t if t is None else t.dtype for t in torch.utils._pytree.tree_leaves((x, hx), lambda t: t is None)]
            assert found == expected, f"{theirs}, {low}: input and states {where}"
            compared += 1
    return compared


@pytest.mark.parametrize("grad", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
@pytest.mark.parametrize("kind", LAYERS)
def test_the_result_dtypes_of_layers_are_torchs(kind, packed, grad):
    name, options = LAYERS[kind]
    compared = 0
    for weights, low, num_layers in itertools.product((*DTYPES, F64), (BF16, F16), (1, 2)):
        theirs = getattr(torch.nn, name)(4, 5, num_layers, dtype=weights, **options)
        given = (F64,) if weights == F64 else DTYPES
        combinations = []
        for x, h, c in itertools.product(given, (None, *given), (None, *given) if name == "LSTM" else (None,)):
            input = torch.ones(6, 3, 4, dtype=x)
            if packed:
                input = pack_padded_sequence(input, [6, 4, 2])
            if (h is None) != (c is None) and name == "LSTM":
                continue
            hx = None if h is None else torch.zeros(num_layers, 3, options.get("proj_size", 5), dtype=h)
            if hx is not None and name == "LSTM":
                hx = hx, torch.zeros(num_layers, 3, 5, dtype=c)
            combinations.append((input, hx))
        with torch.set_grad_enabled(grad):
            compared += same_dtypes(theirs, low, combinations)
    assert compared > 100


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_the_result_dtypes_of_cells_are_torchs(name):
    compared = 0
    for weights, low in itertools.product((*DTYPES, F64), (BF16, F16)):
        theirs = getattr(torch.nn, name)(4, 5, dtype=weights)
        given = (F64,) if weights == F64 else DTYPES
        combinations = []
        for x, h in itertools.product(given, (None, *given)):
            hx = None if h is None else torch.zeros(3, 5, dtype=h)
            if hx is not None and name == "LSTMCell":
                combinations += [(torch.ones(3, 4, dtype=x), (hx, torch.zeros(3, 5, dtype=c))) for c in given]
            else:
                combinations.append((torch.ones(3, 4, dtype=x), hx))
        compared += same_dtypes(theirs, low, combinations)
    assert compared > 70


def test_without_onednn_lstm_layers_give_what_torch_gives_then():
    theirs = torch.nn.LSTM(4, 5)
    was = torch.backends.mkldnn.enabled
    torch._C._set_mkldnn_enabled(False)
    try:
        assert same_dtypes(theirs, BF16, [(torch.ones(6, 3, 4), None)]) == 1
    finally:
        torch._C._set_mkldnn_enabled(was)


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_numbers_and_gradients_are_those_of_float32_rounded_at_the_end(cell, dtype):
    layer = make(fastrnn.nn, cell, 5, 16, num_layers=2)
    x = random(6, 3, 5, dtype=F32)
    exact = layer(x)[0]
    with torch.autocast("cpu", dtype):
        output, _ = layer(x)
    assert torch.equal(output, exact.to(output.dtype))
    output.float().sum().backward()
    gradients = [p.grad.clone() for p in layer.parameters()]
    layer.zero_grad()
    layer(x)[0].sum().backward()
    for found, p in zip(gradients, layer.parameters(), strict=True):
        torch.testing.assert_close(found, p.grad)


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_a_cells_state_is_carried_in_float32(name):
    """With a forget bias of 3 c grows to about 20, where a step in bfloat16 rounds by 0.06, 1000 times over."""
    theirs = getattr(torch.nn, name)(4, 5)
    with torch.no_grad():
        theirs.bias_ih[5:10] = 3.0
    exact, ours = copy.deepcopy(theirs).double(), fastrnn.convert(copy.deepcopy(theirs))
    x, errors = random(1000, 2, 4), []
    expected = actual = None
    for module, dtype in ((exact, F64), (theirs, F32), (ours, F32)):
        state = None
        with torch.no_grad(), torch.autocast("cpu", BF16, enabled=dtype == F32):
            for step in x.to(dtype):
                state = module(step, state)
        actual = torch.stack(state if isinstance(state, tuple) else (state,)).double()
        expected = actual if expected is None else expected
        errors.append((actual - expected).abs().max().item())
    assert errors[2] < 1e-3 < errors[1]


def test_float64_is_left_alone():
    layer = make(fastrnn.nn, "lstm", 5, 16, dtype=F64)
    x = random(6, 3, 5)
    with torch.autocast("cpu", BF16):
        output, _ = layer(x)
    torch.testing.assert_close(output, layer(x)[0], rtol=0, atol=0)


def test_it_compiles():
    layer, x = fastrnn.GRU(5, 6), random(4, 3, 5, dtype=F32)

    def model(x):
        with torch.autocast("cpu", BF16):
            return layer(x)[0]

    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")(x)
    assert torch.equal(compiled, model(x))
    assert compiled.dtype == F32
