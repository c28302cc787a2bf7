"""Who runs a call: kernels, torch's operator where they do not serve, the reference where torch has none."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn.nn
from fastrnn import functional
from fastrnn._core import backend, cells
from fastrnn.nn.by_cell import LAYERS
from tests.support.twins import CELLS, OWN_CELLS, TORCH_CELLS, assert_same, initial, make, random, results, twins


@pytest.fixture
def no_kernels(monkeypatch):
    """As on a device that has none."""
    monkeypatch.setattr(backend, "kernels_serve", lambda input: False)
    monkeypatch.setattr(backend.autograd, "layer", None)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("where", ["cpu", "meta"])
def test_kernels_serve(dtype, where):
    assert backend.kernels_serve(torch.zeros(1, dtype=dtype, device=where))


@pytest.mark.parametrize("dtype", [torch.complex64, torch.int32, torch.float8_e4m3fn], ids=str)
def test_kernels_do_not_serve(dtype):
    assert not backend.kernels_serve(torch.zeros(1, dtype=dtype))


@pytest.mark.parametrize("arrange", ["time first", "batch first", "packed", "packed unsorted", "unbatched"])
@pytest.mark.parametrize("cell", CELLS)
def test_without_kernels(cell, arrange, no_kernels, monkeypatch):
    options = {"batch_first": arrange == "batch first", "num_layers": 2, "bidirectional": True, "dtype": torch.float64}
    ours = make(fastrnn.nn, cell, 3, 6, **options)
    batch = None if arrange == "unbatched" else 4
    x, hx = random(*((4, 3) if batch is None else (4, 4, 3))), initial(ours, batch, torch.float64)

    def pack(x):
        if not arrange.startswith("packed"):
            return x
        lengths = [2, 4, 1, 1] if arrange == "packed unsorted" else [4, 3, 3, 1]
        return pack_padded_sequence(x, lengths, enforce_sorted=arrange == "packed")

    for state in (hx, None):
        found = results(ours, x, state, pack)
        if cell in TORCH_CELLS:
            assert_same(found, results(make(torch.nn, cell, 3, 6, **options), x, state, pack))
        else:
            with monkeypatch.context() as with_kernels:
                with_kernels.setattr(backend, "kernels_serve", lambda input: True)
                with_kernels.setattr(backend.autograd, "layer", backend.operators.run_reference)
                assert_same(found, results(ours, x, state, pack))


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells_without_kernels(name, no_kernels):
    torch.manual_seed(2)
    theirs = getattr(torch.nn, name)(3, 4)
    torch.manual_seed(2)
    ours = getattr(fastrnn.nn, name)(3, 4)
    x = random(2, 3, dtype=torch.float32)
    torch.testing.assert_close(ours(x), theirs(x))
    torch.testing.assert_close(ours(x, ours(x)), theirs(x, theirs(x)))


def test_a_dtype_without_kernels_runs_torchs_operator():
    theirs, ours = twins("rnn_tanh", 3, 4, dtype=torch.complex64)
    x = random(5, 2, 3).to(torch.complex64)
    torch.testing.assert_close(ours(x)[0], theirs(x)[0])


def test_own_cells_are_those_that_torch_lacks():
    assert set(backend._TORCH_OPERATORS) == {"rnn_tanh", "rnn_relu", "gru", "lstm"}
    assert not set(OWN_CELLS) & set(backend._TORCH_OPERATORS)


def test_every_cell_has_a_layer():
    assert set(LAYERS) == set(cells.CELLS)
    for name, make_layer in LAYERS.items():
        assert make_layer(3, 4)._cell == name


def test_what_the_table_says_is_what_the_layers_have():
    for name, cell in cells.CELLS.items():
        layer = LAYERS[name](3, 4)
        assert layer.weight_ih_l0.shape == (cell.gates * 4, 3)
        assert isinstance(layer(torch.ones(2, 1, 3))[1], tuple) == cell.carries_c


ROUTES = {
    "kernels": lambda layer, packed: layer.requires_grad_()(packed),
    "kernels at inference": lambda layer, packed: layer.requires_grad_(False)(packed),
    "reference in forward mode": lambda layer, packed: torch.func.jvp(
        lambda x: layer(PackedSequence(x, packed.batch_sizes))[0].data, (packed.data,), (packed.data,)
    ),
    "torch.func": lambda layer, packed: torch.func.grad(
        lambda x: layer(PackedSequence(x, packed.batch_sizes))[0].data.sum()
    )(packed.data),
    "meta": lambda layer, packed: layer.to("meta")(PackedSequence(packed.data.to("meta"), packed.batch_sizes)),
    "another dtype": lambda layer, packed: functional.rnn(
        packed.data.to(torch.complex64),
        None,
        [w.to(torch.complex64) for w in layer.parameters()],
        nonlinearity=layer.nonlinearity,
        batch_sizes=packed.batch_sizes,
    ),
}


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # by torch's own derivatives
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_sigmoid"])
@pytest.mark.parametrize(
    ("sizes", "words"),
    [([1, 2], "not to increase, got 2 at 1"), ([2, 0, 1], "positive.*got 0 at 1"), ([2, 2], "input of 4 rows.*got 3")],
    ids=str,
)
def test_wrong_lengths_are_an_error_by_every_route(cell, route, sizes, words):
    layer, packed = LAYERS[cell](3, 4), PackedSequence(torch.zeros(3, 3), torch.tensor(sizes))
    with pytest.raises(RuntimeError, match=words):
        ROUTES[route](layer, packed)


@pytest.mark.parametrize("proj_size", [0, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("options", [{}, {"peephole": True}, {"coupled": True}], ids=str)
def test_the_function_computes_what_the_layer_does(options, bias, proj_size):
    shape = {"num_layers": 2, "bidirectional": True}
    layer = fastrnn.nn.LSTM(3, 4, bias=bias, proj_size=proj_size, **shape, **options)
    x, weights = torch.randn(5, 2, 3), list(layer.parameters())
    output, states = functional.lstm(x, None, weights, biases=bias, **shape, **options)
    expected, expected_states = layer(x)
    for found, right in zip((output, *states), (expected, *expected_states), strict=True):
        assert torch.equal(found, right)


def test_peephole_and_coupled_exclude_each_other():
    with pytest.raises(ValueError, match="got peephole and coupled"):
        functional.lstm(torch.randn(5, 2, 3), None, [], peephole=True, coupled=True)


def test_parameters_come_in_the_order_of_the_kernels():
    for make_layer in LAYERS.values():
        layer = make_layer(3, 4, num_layers=2, bidirectional=True)
        assert list(map(id, layer.parameters())) == list(map(id, layer._weights()))
