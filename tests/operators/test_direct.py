"""The short way to the kernels at inference (csrc/torch/fast_path.cpp): when it is taken, and that it is the same."""

import weakref

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import fastrnn
from fastrnn import _C

I, H = 5, 7
CELLS = {
    "rnn_tanh": fastrnn.RNN,
    "rnn_relu": lambda *a, **k: fastrnn.RNN(*a, nonlinearity="relu", **k),
    "gru": fastrnn.GRU,
    "gru_reset_before": lambda *a, **k: fastrnn.GRU(*a, reset_after=False, **k),
    "lstm": fastrnn.LSTM,
}
OPTIONS = [
    {},
    {"bias": False},
    {"num_layers": 3},
    {"num_layers": 2, "bidirectional": True},
    {"batch_first": True, "dtype": torch.float64},
]


def direct(layer, input, hx=None):
    """What the short way returns; None where it leaves the call to the long one."""
    return _C.infer(layer._cell, input, hx, vars(layer))


def tensors(results):
    output, state = results
    return [output, *(state if isinstance(state, tuple) else [state])]


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("cell", [*CELLS, "projected"])
def test_same_bits_as_the_long_way(cell, options, given_state):
    torch.manual_seed(0)
    options = options | ({"proj_size": 3} if cell == "projected" else {})
    layer = CELLS.get(cell, fastrnn.LSTM)(I, H, **options)
    dtype = options.get("dtype", torch.float32)
    input = torch.randn(4, 3, I, dtype=dtype)
    batch = 4 if layer.batch_first else 3
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    hx = None
    if given_state:
        hx = torch.randn(rows, batch, layer.proj_size or H, dtype=dtype)
        if layer._cell == "lstm":
            hx = (hx, torch.randn(rows, batch, H, dtype=dtype))
    expected = layer(input, hx)  # gradients are wanted, so this is the long way
    assert expected[0].requires_grad
    with torch.no_grad():
        found = direct(layer, input, hx)
        assert found is not None
        for result, want in zip(tensors(found), tensors(expected), strict=True):
            assert torch.equal(result, want)
        for result, want in zip(tensors(layer(input, hx)), tensors(expected), strict=True):
            assert torch.equal(result, want)


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Overriding(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "watcher",
    [
        lambda: torch.autocast("cpu"),
        Watching,
        Overriding,
        lambda: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
    ],
    ids=["autocast", "dispatch mode", "function mode", "profiler"],
)
def test_long_way_where_somebody_watches(watcher):
    layer, input = fastrnn.LSTM(I, H), torch.randn(4, 3, I)
    with torch.no_grad():
        assert direct(layer, input) is not None
        with watcher():
            assert direct(layer, input) is None


class Subclass(torch.Tensor):
    pass


@pytest.mark.parametrize(
    ("input", "hx"),
    [
        (torch.randn(4, 3, I).as_subclass(Subclass), None),
        (torch.randn(4, 3, I, device="meta"), None),
        (torch.randn(4, 3, I, dtype=torch.bfloat16), None),
        (torch.randn(4, 3, I, dtype=torch.float64), None),
        (torch.randn(4, 3, I).to_sparse(), None),
        (torch.randn(4, 3, I + 1), None),
        (torch.randn(0, 3, I), None),
        (torch.randn(3, I), None),
        ([[[0.0] * I]], None),
        (torch.randn(4, 3, I), torch.randn(1, 3, H)),
        (torch.randn(4, 3, I), (torch.randn(1, 3, H),)),
        (torch.randn(4, 3, I), (torch.randn(1, 3, H), torch.randn(1, 2, H))),
        (torch.randn(4, 3, I), (torch.randn(2, 3, H), torch.randn(2, 3, H))),
    ],
)
def test_long_way_for_what_is_not_plain(input, hx):
    with torch.no_grad():
        assert direct(fastrnn.LSTM(I, H), input, hx) is None


def test_long_way_where_a_gradient_is_wanted():
    layer, input = fastrnn.GRU(I, H), torch.randn(4, 3, I)
    assert direct(layer, input) is None
    layer.requires_grad_(False)
    assert direct(layer, input) is not None
    assert direct(layer, input.requires_grad_()) is None
    with torch.no_grad():
        assert direct(layer, input, torch.randn(1, 3, H, requires_grad=True)) is not None


def described(weights, num_layers):
    """As a layer's own dictionary would be."""
    names = [f"weight_{i}" for i in range(len(weights))]
    plain = {"bias": True, "bidirectional": False, "batch_first": False, "dropout": 0.0, "training": True}
    plain["proj_size"] = 0
    return plain | {
        "num_layers": num_layers,
        "_parameters": dict(zip(names, weights, strict=True)),
        "_flat_weights_names": names,
        "_flat_weights": weights,
        "_flat_weight_refs": list(map(weakref.ref, weights)),
    }


def test_layers_of_other_sizes_are_refused():
    """Three layers of which the second is wider: its states would not fit into those of the first."""
    weights = [*fastrnn.GRU(I, H)._weights(), *fastrnn.GRU(H, H + 2)._weights(), *fastrnn.GRU(H + 2, H)._weights()]
    input = torch.randn(4, 3, I)
    with torch.no_grad():
        assert _C.infer("gru", input, None, described(weights[:4], 1)) is not None
        assert _C.infer("gru", input, None, described(weights, 3)) is None
        assert _C.infer("gru", input, None, described(weights[:5], 2)) is None
        assert _C.infer("gru", input, None, described([], 1)) is None
        assert _C.infer("gru", input, None, described(weights[:4], 0)) is None
        assert _C.infer("no cell", input, None, described(weights[:4], 1)) is None


def test_odd_dictionaries_are_refused():
    whole, input = described(fastrnn.GRU(I, H)._weights(), 1), torch.randn(4, 3, I)
    with torch.no_grad():
        for name in whole:
            assert _C.infer("gru", input, None, {k: v for k, v in whole.items() if k != name}) is None
        for name in whole:
            assert _C.infer("gru", input, None, whole | {name: object()}) is None
        assert _C.infer("gru", input, None, whole | {"num_layers": 10**30}) is None
        assert _C.infer("gru", input, None, whole | {"_flat_weights_names": ["no such name"]}) is None
        assert _C.infer("gru", input, None, whole | {"dropout": 0.5}) is None
        assert _C.infer("gru", input, None, whole | {"dropout": 0.5, "training": False}) is not None


def in_place(layer, other):
    for weight, new in zip(layer.parameters(), other.parameters(), strict=True):
        weight.copy_(new)


def through_data(layer, other):
    for weight, new in zip(layer.parameters(), other.parameters(), strict=True):
        weight.data.view(-1)[:] = new.data.view(-1)


def replaced(layer, other):
    for name, new in other.named_parameters():
        setattr(layer, name, torch.nn.Parameter(new.clone()))


def exchanged_data(layer, other):
    for weight, new in zip(layer.parameters(), other.parameters(), strict=True):
        weight.data = new.data.clone()


def loaded(layer, other):
    layer.load_state_dict(other.state_dict())


def converted(layer, other):
    other.to(torch.float64).to(torch.float32)
    layer.to(torch.float64)
    in_place(layer, other)
    layer.to(torch.float32)


@pytest.mark.parametrize("shape", [(1, 1), (1, 32), (6, 3)])
@pytest.mark.parametrize("change", [in_place, through_data, replaced, exchanged_data, loaded, converted])
def test_changed_weights_are_seen_at_once(change, shape):
    torch.manual_seed(1)
    layer, other, input = fastrnn.LSTM(16, 32), fastrnn.LSTM(16, 32), torch.randn(*shape, 16)
    with torch.no_grad():
        for _ in range(3):
            before = layer(input)[0]
        change(layer, other)
        assert not torch.equal(layer(input)[0], before)
        assert torch.equal(layer(input)[0], other(input)[0])


def test_functional_call_uses_the_weights_it_is_given():
    layer, other, input = fastrnn.LSTM(I, H), fastrnn.LSTM(I, H), torch.randn(4, 3, I)
    with torch.no_grad():
        found, _ = torch.func.functional_call(layer, dict(other.named_parameters()), (input,))
        assert torch.equal(found, other(input)[0])


def test_vmap_and_inference_mode():
    layer, input = fastrnn.LSTM(I, H), torch.randn(4, 3, I)
    with torch.inference_mode():
        assert direct(layer, input) is not None
        assert layer(input)[0].is_inference()
    # Batched tensors are for the operators' rules.
    with torch.no_grad():
        torch.testing.assert_close(torch.func.vmap(lambda x: layer(x)[0])(input.unsqueeze(0))[0], layer(input)[0])


@pytest.mark.parametrize("given_state", [False, True])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("cell", [fastrnn.RNNCell, fastrnn.GRUCell, fastrnn.LSTMCell])
def test_cells_have_the_same_bits_as_the_long_way(cell, bias, given_state):
    torch.manual_seed(2)
    cell, input = cell(I, H, bias=bias), torch.randn(3, I)
    hx = torch.randn(3, H) if given_state else None
    if given_state and isinstance(cell, fastrnn.LSTMCell):
        hx = (hx, torch.randn(3, H))
    expected = cell(input, hx)
    with torch.no_grad():
        found = cell(input, hx)
        weights = list(cell.parameters())
        name = {fastrnn.RNNCell: "rnn_tanh", fastrnn.GRUCell: "gru", fastrnn.LSTMCell: "lstm"}[type(cell)]
        direct = _C.infer_step(name, input, hx, weights, bias)
        assert _C.infer_step(name, input[0], None, weights, bias) is None
    for result, want in zip(*map(states, (found, expected)), strict=True):
        assert want.requires_grad
        assert torch.equal(result, want)
    for result, want in zip(*map(states, (direct, found)), strict=True):
        assert torch.equal(result, want)


def states(result):
    return result if isinstance(result, tuple) else (result,)


@pytest.mark.parametrize("cell", [fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM])
def test_the_way_through_the_weights_changes_nothing(cell):
    """Every other call of one step goes through the weights from their end."""
    layer, input = cell(48, 80), torch.randn(1, 1, 48)
    with torch.no_grad():
        first, second, third = (layer(input)[0] for _ in range(3))
    assert torch.equal(first, second)
    assert torch.equal(first, third)
