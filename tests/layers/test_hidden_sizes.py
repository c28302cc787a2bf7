"""A hidden size for each layer: what a chain of modules with these sizes computes, in every layout."""

import copy
import pickle

import pytest
import torch
import torch._dynamo.testing
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn.train import Step, gradient_flow
from tests.support.twins import CELLS, by_reference, random

F64 = torch.float64
SIZES = [5, 7, 4]
OWN = [cell for cell in CELLS if cell != "lstm_projected"]


def layer_of(cell, sizes=SIZES, **options):
    name, fixed = CELLS[cell]
    torch.manual_seed(7)
    return getattr(fastrnn, name)(3, sizes, num_layers=len(sizes), dtype=F64, **fixed, **options)


def chain_of(layer):
    """A module of one layer for each, with the same weights."""
    directions, inputs, parts = 2 if layer.bidirectional else 1, layer.input_size, []
    for number, size in enumerate(layer.hidden_size):
        options = {name: getattr(layer, name) for name in ("bias", "batch_first", "bidirectional")}
        options |= {name: getattr(layer, name) for name in ("nonlinearity", "reset_after") if hasattr(layer, name)}
        options |= {
            name: getattr(layer, name) for name in ("peephole", "coupled", "layer_norm") if hasattr(layer, name)
        }
        part = type(layer)(inputs, size, dtype=F64, **options)
        state = {name: value for name, value in layer.state_dict().items() if f"_l{number}" in name}
        part.load_state_dict({name.replace(f"_l{number}", "_l0"): value for name, value in state.items()})
        parts.append(part)
        inputs = size * directions
    return parts


def run_chain(parts, x, hx=None):
    """Output, and the states of each layer."""
    states = []
    for number, part in enumerate(parts):
        of_layer = None if hx is None else hx[number]
        x, state = part(x, of_layer)
        states.append(state)
    return x, states


def state_of(layer, states):
    """The states of each layer as the module of all layers has them."""
    return tuple(zip(*states, strict=True)) if isinstance(layer, fastrnn.LSTM) else tuple(states)


def initial(layer, batch):
    rows = (2 if layer.bidirectional else 1, *batch)
    h = [random(*rows, size, seed=size) for size in layer.hidden_size]
    return [(t, t.cos()) for t in h] if isinstance(layer, fastrnn.LSTM) else h


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}, {"bias": False}], ids=str)
@pytest.mark.parametrize("cell", OWN)
def test_is_a_chain_of_modules(cell, options):
    layer = layer_of(cell, **options)
    parts, x = chain_of(layer), random(4, 6, 3)
    batch = 4 if layer.batch_first else 6
    for states in (None, initial(layer, (batch,))):
        x = x.detach().requires_grad_()
        expected, finals = run_chain(parts, x, states)
        output, final = layer(x, None if states is None else state_of(layer, states))
        torch.testing.assert_close((output, final), (expected, state_of(layer, finals)))
        of_parts = [weight for part in parts for weight in part.parameters()]
        found = torch.autograd.grad(output.sin().sum(), [x, *layer.parameters()])
        torch.testing.assert_close(found, torch.autograd.grad(expected.sin().sum(), [x, *of_parts]))
    torch.testing.assert_close(parts[0](x)[0], by_reference(parts[0], x, None)[0])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
class TestLayouts:
    def test_packed(self, cell):
        layer, x, lengths = layer_of(cell, bidirectional=True), random(5, 3, 3), [2, 5, 3]
        hx = state_of(layer, initial(layer, (3,)))
        output, final = layer(pack_padded_sequence(x, lengths, enforce_sorted=False), hx)
        output = pad_packed_sequence(output)[0]
        for row, length in enumerate(lengths):
            own = torch.utils._pytree.tree_map(lambda t, row=row: t[:, row : row + 1], (hx, final))
            alone, state = layer(x[:length, row : row + 1], own[0])
            torch.testing.assert_close(output[:length, row : row + 1], alone)
            torch.testing.assert_close(own[1], state)

    def test_one_sequence(self, cell):
        layer, x = layer_of(cell), random(5, 3)
        hx = state_of(layer, initial(layer, ()))
        output, final = layer(x, hx)
        batch = torch.utils._pytree.tree_map(lambda t: t.unsqueeze(1), hx)
        expected, state = layer(x.unsqueeze(1), batch)
        torch.testing.assert_close(output, expected.squeeze(1))
        torch.testing.assert_close(final, torch.utils._pytree.tree_map(lambda t: t.squeeze(1), state))

    def test_states_go_on_and_are_cut(self, cell):
        layer, x = layer_of(cell), random(7, 2, 3)
        chunks = fastrnn.tbptt(x, 3)
        for chunk, state in chunks:
            chunks.keep(layer(chunk, state)[1])
        torch.testing.assert_close(chunks.state, fastrnn.detach(layer(x)[1]))

    def test_copies_state_dicts_and_text(self, cell):
        layer, x = layer_of(cell), random(4, 2, 3)
        again = layer_of(cell)
        with torch.no_grad():
            again.weight_hh_l1.zero_()
        again.load_state_dict(layer.state_dict())
        gates = 4 if cell == "lstm" else 3
        assert [tuple(layer.state_dict()[f"weight_ih_l{i}"].shape) for i in range(3)] == [
            (gates * 5, 3),
            (gates * 7, 5),
            (gates * 4, 7),
        ]
        for other in (again, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
            assert repr(other) == f"{type(layer).__name__}(3, (5, 7, 4), num_layers=3)"
            torch.testing.assert_close(other(x), layer(x), rtol=0, atol=0)
        found = functional_call(layer, {name: 2 * value for name, value in layer.named_parameters()}, (x,))
        assert not torch.allclose(found[0], layer(x)[0])

    def test_compiled_and_exported(self, cell):
        layer, counter = layer_of(cell), torch._dynamo.testing.CompileCounter()
        compiled = torch.compile(layer, fullgraph=True, backend=counter, dynamic=True)
        for steps, batch in ((6, 10), (8, 9), (11, 12)):
            x = random(steps, batch, 3)
            torch.testing.assert_close(compiled(x), layer(x))
        assert counter.frame_count == 1
        layer.eval()
        torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


def test_dropout_between_weight_dropout_and_input_dropout():
    """Where a feature is dropped by a locked mask its column of the next weight has no gradient."""
    options = {"dropout": 0.5, "locked_dropout": True, "input_dropout": 0.5, "weight_dropout": 0.5}
    layer, x = layer_of("lstm", [40, 50, 30], **options), random(6, 1, 3)
    layer(x)[0].sum().backward()
    for name, size in (("weight_ih_l1", 40), ("weight_ih_l2", 50)):
        dropped = (getattr(layer, name).grad == 0).all(0)
        assert dropped.shape == (size,)
        assert 0.2 < dropped.double().mean() < 0.8
    for number in range(3):
        assert 0.4 < (getattr(layer, f"weight_hh_l{number}").grad == 0).double().mean() < 0.6
    assert torch.equal(layer.eval()(x)[0], layer(x)[0])
    plain = layer_of("lstm", [40, 50, 30], dropout=0.5)
    assert not torch.equal(plain(x)[0], plain(x)[0])


def test_initial_values_are_of_each_layers_size():
    layer = fastrnn.LSTM(3, [100, 400], num_layers=2, forget_bias=1.0, peephole=True)
    for number, size in enumerate((100, 400)):
        for name in ("weight_ih", "weight_hh", "weight_ci"):
            largest = getattr(layer, f"{name}_l{number}").abs().max()
            assert 0.9 * size**-0.5 < largest <= size**-0.5
        assert (getattr(layer, f"bias_ih_l{number}")[size : 2 * size] == 1).all()
    fastrnn.init.orthogonal_(layer)
    torch.testing.assert_close(layer.weight_hh_l1[:400] @ layer.weight_hh_l1[:400].T, torch.eye(400), atol=1e-4, rtol=0)


def test_equal_sizes_in_a_list_have_states_of_each_layer_too():
    layer = layer_of("gru", [4, 4])
    assert [tuple(h.shape) for h in layer(random(3, 2, 3))[1]] == [(1, 2, 4), (1, 2, 4)]


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fastrnn.LSTM(3, [4, 5]),
            ValueError,
            r"each of 1 layer\(s\), got 2: \[4, 5\]; with num_layers=2 they fit",
        ),
        (lambda: fastrnn.GRU(3, [4, 0], 2), ValueError, "hidden sizes of at least 1, got 0"),
        (lambda: fastrnn.RNN(3, [4, 5.0], 2), TypeError, "an int or a list of ints, got a float in it"),
        (
            lambda: fastrnn.LSTM(3, [4, 5], 2, proj_size=2),
            ValueError,
            "Expected proj_size=0 with a hidden size for each",
        ),
        (
            lambda: layer_of("gru")(random(4, 2, 3), random(3, 2, 4)),
            RuntimeError,
            r"a tuple h_0 of 3 tensors, one for each layer, .* got a tensor of size \[3, 2, 4\]",
        ),
        (
            lambda: layer_of("lstm")(random(4, 2, 3), (random(3, 2, 4), random(3, 2, 4))),
            RuntimeError,
            r"a pair, a tuple h_0 of 3 tensors and a tuple c_0 of 3 tensors, .* got a tuple of a tensor of size",
        ),
        (
            lambda: layer_of("gru")(random(4, 2, 3), tuple(random(1, 2, 5) for _ in SIZES)),
            RuntimeError,
            r"Expected h0 size \[1, 2, 7\], got \[1, 2, 5\]",
        ),
        (lambda: fastrnn.to_torch(layer_of("gru")), ValueError, "torch.nn has no module that computes the same"),
        (
            lambda: fastrnn.freeze(layer_of("gru").float().eval()),
            ValueError,
            "one hidden size for all layers to be packed, got",
        ),
        (
            lambda: gradient_flow(layer_of("gru"), random(4, 2, 3), loss=lambda m, x, _: Step(m(x)[0].sum(), 1)),
            ValueError,
            "Expected layers of one hidden size, got",
        ),
    ],
)
def test_what_cannot_be(call, error, message):
    with pytest.raises(error, match=message):
        call()
