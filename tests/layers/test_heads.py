"""heads=n: the layer whose recurrent matrices are block diagonal, against the one that has the whole matrices."""

import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import fastrnn
import fastrnn.nn
from fastrnn import functional, reference
from fastrnn._core import backend, cells
from tests.support.heads import SHAPES, blocks
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random, results

F32, F64 = torch.float32, torch.float64


def whole(layer):
    """The same layer with one head, whose matrices are zero outside of the blocks."""
    one = copy.deepcopy(layer)
    one.heads = 1
    gates = cells.named(layer._cell).gates
    for name, weight in layer.named_parameters():
        if name.startswith("weight_hh"):
            gate_by_gate = [torch.block_diag(*gate.chunk(layer.heads)) for gate in weight.detach().chunk(gates)]
            setattr(one, name, torch.nn.Parameter(torch.cat(gate_by_gate)))
    one._init_flat_weights()
    return one


def assert_equals_the_whole(layer, x, hx, tolerance, call=None, **called):
    one = whole(layer)
    found, expected = results(layer, x, hx, call=call, **called), results(one, x, hx, call=call, **called)
    gates = cells.named(layer._cell).gates
    for name, gradient in expected.items():
        if name.startswith("d_weight_hh"):
            expected[name] = blocks(gradient, gates, layer.heads)
    assert_same(found, expected, tolerance)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_equals_the_layer_with_whole_matrices(cell, shape):
    times, batch, inputs, hidden, heads = shape
    if cell == "lstm_projected" and hidden // 2 % heads:
        heads //= 2
    for dtype, tolerance in ((F64, 1e-12), (F32, 3e-5 if cell.startswith("layer_norm") else 1e-5)):
        layer = make(fastrnn.nn, cell, inputs, hidden, heads=heads, bidirectional=True, dtype=dtype)
        x, hx = random(times, batch, inputs, dtype=dtype), initial(layer, batch, dtype)
        assert_equals_the_whole(layer, x, hx, tolerance)


@settings(max_examples=80)
@given(
    data=st.data(),
    cell=st.sampled_from(list(CELLS)),
    times=st.integers(1, 14),
    batch=st.integers(1, 9),
    heads=st.integers(1, 6),
    units=st.integers(1, 21),
    layers=st.integers(1, 2),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
)
def test_any_combination_of_options(data, cell, times, batch, heads, units, layers, flags):
    names = ("bidirectional", "batch_first", "recompute", "learn_initial_state")
    units += cell == "lstm_projected" and units % 2  # the projection has half of it
    options = dict(zip(names, flags, strict=True))
    layer = make(fastrnn.nn, cell, 3, heads * units, heads=heads, num_layers=layers, dtype=F64, **options)
    for i, name in enumerate(layer._initial_states()):
        getattr(layer, name).data = random(*getattr(layer, name).shape, seed=20 + i)
    generator = torch.Generator().manual_seed(times * batch)
    sizes = (batch, times) if layer.batch_first else (times, batch)
    called = {}
    if data.draw(st.booleans(), label="lengths"):
        called["lengths"] = torch.randint(0, times + 1, (batch,), generator=generator)
    if data.draw(st.booleans(), label="resets"):
        called["resets"] = torch.rand(sizes, generator=generator) < 0.3
    if data.draw(st.booleans(), label="states"):
        called["return_states"] = True
    hx = initial(layer, batch, F64) if data.draw(st.booleans(), label="hx") else None
    x = random(*sizes, 3)
    assert_same(results(layer, x, hx, **called), results(layer, x, hx, call=by_reference, **called))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", [(9, 6, 5, 64, 4), (12, 9, 3, 60, 3), (1, 2, 4, 30, 6)], ids=str)
@pytest.mark.parametrize("cell", ["rnn_relu", "gru_reset_before", "lstm_projected"])
def test_recurrent_dropout_and_zoneout(cell, shape, recompute):
    """The masks are of the state, and those of the same seed are the same."""
    times, batch, inputs, hidden, heads = shape
    hidden *= 1 + (cell == "lstm_projected")
    options = {"recurrent_dropout": 0.4, "zoneout_h": 0.2, "recompute": recompute, "dtype": F64}
    layer = make(fastrnn.nn, cell, inputs, hidden, heads=heads, bidirectional=True, **options)

    def seeded(layer, x, hx, **called):
        torch.manual_seed(5)
        return layer(x, hx, **called)

    x, hx = random(times, batch, inputs), initial(layer, batch, F64)
    assert_equals_the_whole(layer, x, hx, 1e-12, call=seeded, return_states=True)
    assert_equals_the_whole(layer.eval(), x, hx, 1e-12)


@pytest.mark.parametrize("heads", [1, 2, 3, 6])
@pytest.mark.parametrize("gates", [1, 4])
def test_block_diagonal(heads, gates):
    w_hh = random(gates * 12, 6 // heads).requires_grad_()
    found = reference.block_diagonal(w_hh, heads, gates)
    expected = torch.cat([torch.block_diag(*gate.chunk(heads)) for gate in w_hh.chunk(gates)])
    assert torch.equal(found, expected if heads > 1 else w_hh)
    assert torch.equal(blocks(found, gates, heads), w_hh)


def test_packed_sequences():
    layer = make(fastrnn.nn, "gru_reset_before", 5, 30, heads=3, bidirectional=True, dtype=F64)

    def pack(x):
        return torch.nn.utils.rnn.pack_padded_sequence(x, [9, 7, 7, 1])

    x = random(9, 4, 5)
    found, expected = results(layer, x, None, pack), results(whole(layer), x, None, pack)
    expected["d_weight_hh_l0"] = blocks(expected["d_weight_hh_l0"], 3, 3)
    expected["d_weight_hh_l0_reverse"] = blocks(expected["d_weight_hh_l0_reverse"], 3, 3)
    assert_same(found, expected)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("shape", [(7, 40, 6, 64, 4), (9, 5, 3, 51, 3), (1, 1, 4, 30, 6), (5, 20, 4, 25, 5)], ids=str)
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "gru_reset_before", "lstm"])
def test_sixteen_bits(cell, shape, dtype):
    """Odd depths too: where the processor multiplies pairs of bfloat16, one of them belongs to two heads."""
    times, batch, inputs, hidden, heads = shape
    layer = make(fastrnn.nn, cell, inputs, hidden, heads=heads, dtype=dtype)
    x, hx = random(times, batch, inputs, dtype=dtype), initial(layer, batch, dtype)
    assert_equals_the_whole(layer, x, hx, 0.02 if dtype == torch.bfloat16 else 0.003)


@pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("shape", [(7, 20, 6, 64, 4), (4, 3, 5, 60, 3), (1, 1, 4, 30, 6), (5, 9, 4, 52, 26)], ids=str)
@pytest.mark.parametrize("cell", ["rnn_relu", "gru_reset_before", "lstm", "lstm_projected", "layer_norm_gru"])
def test_packed_weights(cell, shape, numbers):
    times, batch, inputs, hidden, heads = shape
    heads = heads // 2 if cell == "lstm_projected" and hidden // 2 % heads else heads
    layer = make(fastrnn.nn, cell, inputs, hidden, num_layers=2, heads=heads).eval()
    packed = fastrnn.freeze(layer) if numbers == "float32" else fastrnn.quantize(layer, dtype=numbers)
    plain = fastrnn.dequantize(packed)
    assert plain.heads == packed.heads == heads
    if numbers == "float32":
        assert all(torch.equal(w, plain.state_dict()[name]) for name, w in layer.state_dict().items())
    again = copy.deepcopy(packed)
    again.load_state_dict(packed.state_dict())
    x, hx = random(times, batch, inputs, dtype=F32), initial(layer, batch, F32)
    with torch.inference_mode():
        found, expected = packed(x, hx), plain(x, hx)
        tolerance = 0.05 if numbers == "int8" else 1e-5  # int8 rounds x and h
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
        for other in (again, pickle.loads(pickle.dumps(packed))):
            assert torch.equal(other(x, hx)[0], found[0])
        stream = packed.stream(batch)
        stream.state = hx
        assert torch.equal(torch.stack([stream(step) for step in x]), found[0])


def test_memory_falls_with_the_heads():
    layers = [fastrnn.freeze(fastrnn.LSTM(64, 512, heads=heads).eval()) for heads in (1, 8)]
    bytes_of = [sum(b.numel() for name, b in layer.named_buffers() if "weight_hh" in name) for layer in layers]
    assert bytes_of[0] == 8 * bytes_of[1]


def test_the_option_is_kept():
    layer = fastrnn.LSTM(6, 12, num_layers=2, bidirectional=True, heads=4)
    assert layer.weight_hh_l1_reverse.shape == (48, 3)
    assert "heads=4" in repr(layer)
    assert "heads" not in repr(fastrnn.LSTM(6, 12))
    assert [name for name, _ in layer.named_parameters()] == [
        name for name, _ in torch.nn.LSTM(6, 12, num_layers=2, bidirectional=True).named_parameters()
    ]
    x = random(5, 3, 6, dtype=F32)
    other = fastrnn.LSTM(6, 12, num_layers=2, bidirectional=True, heads=4)
    other.load_state_dict(layer.state_dict())
    for again in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert again.heads == 4
        assert torch.equal(again(x)[0], layer(x)[0])
    with pytest.raises(RuntimeError, match="size mismatch for weight_hh_l0"):
        fastrnn.LSTM(6, 12, num_layers=2, bidirectional=True).load_state_dict(layer.state_dict())


def test_hidden_sizes_and_dropout_options():
    layer = fastrnn.LSTM(
        5, [12, 6], num_layers=2, heads=3, dropout=0.3, locked_dropout=True, input_dropout=0.2, weight_dropout=0.5
    )
    assert [layer.weight_hh_l0.shape, layer.weight_hh_l1.shape] == [(48, 4), (24, 2)]
    layer(random(4, 3, 5, dtype=F32))[0].sum().backward()
    dropped = (layer.weight_hh_l0.grad == 0).float().mean()
    assert 0.2 < dropped < 0.8


def test_first_values():
    layer = fastrnn.init.orthogonal_(fastrnn.GRU(5, 12, heads=3))
    for block in layer.weight_hh_l0.chunk(9):
        torch.testing.assert_close(block @ block.T, torch.eye(4))
    layer = fastrnn.init.identity_(fastrnn.RNN(5, 12, heads=3), 0.5)
    assert torch.equal(reference.block_diagonal(layer.weight_hh_l0, 3), 0.5 * torch.eye(12))
    assert torch.equal(fastrnn.LSTM(5, 12, heads=3, forget_bias=1.0).bias_ih_l0[12:24], torch.ones(12))
    bound = fastrnn.LSTM(5, 64, heads=8).weight_hh_l0.abs().max()
    assert 0.12 < bound <= 0.125  # 1 / sqrt(H), as torch.nn's


@pytest.mark.parametrize(("heads", "error"), [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)])
def test_wrong_heads(heads, error):
    with pytest.raises(error, match="Expected heads"):
        fastrnn.GRU(3, 6, heads=heads)


def test_heads_that_do_not_divide():
    with pytest.raises(ValueError, match="Expected heads that divide hidden_size=10, got heads=4"):
        fastrnn.GRU(3, 10, heads=4)
    with pytest.raises(ValueError, match="Expected heads that divide proj_size=6, got heads=4"):
        fastrnn.LSTM(3, 12, proj_size=6, heads=4)
    with pytest.raises(ValueError, match="Expected heads that divide hidden_size=9, got heads=4"):
        fastrnn.RNN(3, [8, 9], num_layers=2, heads=4)
    layer = fastrnn.GRU(3, 12, heads=4)
    layer.heads = 3
    with pytest.raises(RuntimeError, match=r"Expected weight_hh size \[36, 4\] of 3 heads, got \[36, 3\]"):
        layer(random(2, 2, 3, dtype=F32))
    layer.heads = 5
    with pytest.raises(ValueError, match="Expected heads that divide the features of the state, 12, got 5"):
        layer(random(2, 2, 3, dtype=F32))


def test_convert():
    with pytest.raises(ValueError, match="heads changes parameters"):
        fastrnn.convert(torch.nn.LSTM(3, 4), heads=2)
    with pytest.raises(ValueError, match=r"torch\.nn has no module"):
        fastrnn.to_torch(fastrnn.LSTM(3, 4, heads=2))
    assert type(fastrnn.to_torch(fastrnn.LSTM(3, 4, heads=1))) is torch.nn.LSTM


def test_functions():
    layer = make(fastrnn.nn, "lstm", 5, 12, heads=3)
    x = random(4, 2, 5, dtype=F32)
    assert torch.equal(functional.lstm(x, None, layer._flat_weights, heads=3)[0], layer(x)[0])
    for run, cell in ((functional.rnn, "rnn_tanh"), (functional.gru, "gru")):
        layer = make(fastrnn.nn, cell, 5, 12, heads=3)
        assert torch.equal(run(x, None, layer._flat_weights, heads=3)[0], layer(x)[0])
        with pytest.raises(RuntimeError, match="Expected weight_hh size"):
            run(x, None, layer._flat_weights)


def test_where_there_are_no_kernels(monkeypatch):
    """As on CUDA: the reference runs, and never torch's operator, which would read other weights."""
    layer = make(fastrnn.nn, "lstm", 5, 12, heads=3, num_layers=2, batch_first=True, dtype=F64)
    x = random(4, 2, 5)
    expected = layer(x)[0]
    monkeypatch.setattr(backend, "kernels_serve", lambda input: False)
    monkeypatch.setattr(backend.autograd, "layer", None)
    x = x.requires_grad_()  # not the fast path
    layer.learn_initial_state = False
    found = layer(x, resets=torch.zeros(4, 2, dtype=torch.bool))[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    monkeypatch.setattr(backend._C, "run_layer", lambda *arguments: None)
    torch.testing.assert_close(layer(x)[0], expected, rtol=0, atol=1e-12)
