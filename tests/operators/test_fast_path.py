"""The fast path to the kernels (csrc/torch/fast_path.cpp): when it is taken, and that it computes the same."""

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
    return _C.run_layer(layer._cell, input, hx, vars(layer), type(layer), {})


def tensors(results):
    output, state = results
    return [output, *(state if isinstance(state, tuple) else [state])]


class Watching(TorchDispatchMode):
    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


class Overriding(TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


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
    for t in hx if isinstance(hx, tuple) else () if hx is None else (hx,):
        t.requires_grad_()
    leaves = [input.requires_grad_(), *(hx if isinstance(hx, tuple) else () if hx is None else (hx,))]
    leaves += layer.parameters()
    with Overriding():  # a call that is watched takes the long way
        expected = layer(input, hx)
    weights = [torch.randn_like(t) for t in tensors(expected)]
    wanted = torch.autograd.grad(tensors(expected), leaves, weights)
    trained = direct(layer, input, hx)
    assert trained is not None
    for result, want in zip(tensors(trained), tensors(expected), strict=True):
        assert torch.equal(result, want)
        assert result.requires_grad
    for result, want in zip(torch.autograd.grad(tensors(trained), leaves, weights), wanted, strict=True):
        assert torch.equal(result, want)
    with torch.no_grad():
        found = direct(layer, input, hx)
        assert found is not None
        for result, want in zip(tensors(found), tensors(expected), strict=True):
            assert torch.equal(result, want)
        for result, want in zip(tensors(layer(input, hx)), tensors(expected), strict=True):
            assert torch.equal(result, want)


@pytest.mark.filterwarnings("ignore:.*Profiler clears events")  # which torch 2.11 says of every profile
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
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
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
    for recorded in (False, True):
        with torch.set_grad_enabled(recorded):
            assert direct(fastrnn.LSTM(I, H), input, hx) is None


def test_only_what_is_wanted_is_recorded():
    layer, input = fastrnn.GRU(I, H, num_layers=2), torch.randn(4, 3, I)
    for parameter in layer.all_weights[0]:
        parameter.requires_grad_(False)
    assert direct(layer, input)[0].requires_grad
    layer.requires_grad_(False)
    assert not direct(layer, input)[0].requires_grad
    assert direct(layer, input.requires_grad_())[0].requires_grad
    with torch.no_grad():
        assert not direct(layer, input, torch.randn(2, 3, H, requires_grad=True))[0].requires_grad


def test_long_way_for_training_that_needs_more_than_layers():
    """Dropout between layers, and gradients in 16 bits, which are computed in float32."""
    assert direct(fastrnn.GRU(I, H, num_layers=2, dropout=0.5), torch.randn(4, 3, I)) is None
    assert direct(fastrnn.GRU(I, H, dtype=torch.bfloat16), torch.randn(4, 3, I, dtype=torch.bfloat16)) is None


@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_recompute_saves_less_on_the_fast_path(options):
    torch.manual_seed(0)
    plain, again = (fastrnn.LSTM(I, 32, recompute=recompute, **options) for recompute in (False, True))
    again.load_state_dict(plain.state_dict())
    input, bytes_kept, gradients = torch.randn(40, 3, I), [], []
    for layer in (plain, again):
        kept = {}

        def keep(t, kept=kept):
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
            output = direct(layer, input)[0]
        bytes_kept.append(sum(kept.values()))
        gradients.append(torch.autograd.grad(output.sum(), list(layer.parameters())))
    assert bytes_kept[1] < 0.5 * bytes_kept[0]
    for result, want in zip(gradients[1], gradients[0], strict=True):
        assert torch.equal(result, want)


def test_gradients_can_be_differentiated_again():
    layer, input = fastrnn.LSTM(I, H, dtype=torch.float64), torch.randn(4, 2, I, dtype=torch.float64)
    assert torch.autograd.gradgradcheck(lambda x: direct(layer, x)[0], input.requires_grad_())


def described(weights, num_layers):
    """As a layer's own dictionary would be."""
    names = [f"weight_{i}" for i in range(len(weights))]
    plain = {"bias": True, "bidirectional": False, "batch_first": False, "dropout": 0.0, "training": True}
    plain |= {"proj_size": 0, "hidden_size": H}
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
        assert _C.run_layer("gru", input, None, described(weights[:4], 1), fastrnn.GRU, {}) is not None
        assert _C.run_layer("gru", input, None, described(weights, 3), fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, described(weights[:5], 2), fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, described([], 1), fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, described(weights[:4], 0), fastrnn.GRU, {}) is None
        assert _C.run_layer("no cell", input, None, described(weights[:4], 1), fastrnn.GRU, {}) is None


def test_odd_dictionaries_are_refused():
    whole, input = described(fastrnn.GRU(I, H)._weights(), 1), torch.randn(4, 3, I)
    with torch.no_grad():
        for name in whole:
            assert (
                _C.run_layer("gru", input, None, {k: v for k, v in whole.items() if k != name}, fastrnn.GRU, {}) is None
            )
        for name in whole:
            assert _C.run_layer("gru", input, None, whole | {name: object()}, fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, whole | {"num_layers": 10**30}, fastrnn.GRU, {}) is None
        assert (
            _C.run_layer("gru", input, None, whole | {"_flat_weights_names": ["no such name"]}, fastrnn.GRU, {}) is None
        )
        assert _C.run_layer("gru", input, None, whole | {"dropout": 0.5}, fastrnn.GRU, {}) is None
        assert (
            _C.run_layer("gru", input, None, whole | {"dropout": 0.5, "training": False}, fastrnn.GRU, {}) is not None
        )


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
    with Overriding():
        expected = cell(input, hx)
    trained = cell(input, hx)
    for result, want in zip(states(trained), states(expected), strict=True):
        assert torch.equal(result, want)
        gradients = [torch.autograd.grad(t.sum(), list(cell.parameters()), retain_graph=True) for t in (result, want)]
        assert all(map(torch.equal, *gradients))
    with torch.no_grad():
        found = cell(input, hx)
        weights = list(cell.parameters())
        name = {fastrnn.RNNCell: "rnn_tanh", fastrnn.GRUCell: "gru", fastrnn.LSTMCell: "lstm"}[type(cell)]
        direct = _C.run_step(name, input, hx, weights, bias)
        assert _C.run_step(name, input[0], None, weights, bias) is None
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


def test_options_that_only_the_long_way_knows_are_left_to_it():
    """An option counts as ``layer.name`` finds it: of the layer, or of its class."""

    class Learns(fastrnn.GRU):
        learn_initial_state = True

    class Drops(fastrnn.GRU):
        weight_dropout = 0.5

    class Computed(fastrnn.GRU):
        weight_dropout = property(lambda self: 0.5)

    whole, input = described(fastrnn.GRU(I, H)._weights(), 1), torch.randn(4, 3, I)
    training, inference = whole | {"training": True}, whole | {"training": False}
    with torch.no_grad():
        assert _C.run_layer("gru", input, None, training, fastrnn.GRU, {}) is not None
        assert _C.run_layer("gru", input, None, inference, Learns, {}) is None
        assert _C.run_layer("gru", input, None, inference | {"learn_initial_state": True}, fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, inference | {"hidden_size": (H,)}, fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, inference, None, {}) is None
        for cls in (Drops, Computed):
            assert _C.run_layer("gru", input, None, training, cls, {}) is None
            assert _C.run_layer("gru", input, None, inference, cls, {}) is not None
        for name in ("weight_dropout", "input_dropout"):
            assert _C.run_layer("gru", input, None, training | {name: 0.5}, fastrnn.GRU, {}) is None
        assert _C.run_layer("gru", input, None, training | {"weight_dropout": 0.0}, Drops, {}) is not None
