"""heads=n in layers of users' cells, against the layer with the whole matrices, zero outside of the blocks."""

import copy
import os
import pickle
from pathlib import Path

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn import cells
from fastrnn.reference import block_diagonal
from tests.support.heads import SHAPES, blocks
from tests.support.instruction_sets import printed
from tests.support.user_cells import F64, GRU, LSTM, as_given, assert_by_hand, numbers, of, random, states_of

ROOT = Path(__file__).parents[2]


class OfAMatrixAlone(fastrnn.Cell):
    """No W_hh: its matrix alone is cut."""

    input_gates = "a"
    recurrent_gates = ""
    matrices = "u"

    def step(a, h, u):
        return torch.tanh(a + u(h))


RECURRENT = [cell for name in cells.__all__ if (cell := getattr(cells, name)).declaration.recurrent_gates]
CELLS = [LSTM, GRU, OfAMatrixAlone, *RECURRENT]


def whole(layer):
    """The same layer with one head."""
    options = {name: getattr(layer, name) for name in ("num_layers", "bidirectional", "bias")}
    one = of(layer.cell, layer.input_size, layer.hidden_size, dtype=layer.weight_ih_l0.dtype, **options)
    weights = {
        name: block_diagonal(w, layer.heads, gates) if (gates := recurrent(layer, name)) else w
        for name, w in layer.state_dict().items()
    }
    one.load_state_dict(weights)
    return one


def recurrent(layer, name):
    """How many matrices a weight that heads cut has: the gates of W_hh, or one. 0 of others."""
    declared, kind = layer.cell.declaration, name.rpartition("_l")[0].removeprefix("d ")
    return len(declared.recurrent_gates) if kind == "weight_hh" else int(kind in declared.matrices)


def results(layer, x, hx, **called):
    """All that a call returns, and all gradients; those of W_hh by blocks of ``heads``."""
    leaves = [x.clone().requires_grad_(), *(state.clone().requires_grad_() for state in hx)]
    output, final, *states = layer(leaves[0], as_given(leaves[1:]), **called)
    data = output if isinstance(output, torch.Tensor) else output.data
    found = [data, *(final if isinstance(final, tuple) else [final]), *(states[0] if states else ())]
    loss = sum((r * random(*r.shape, seed=k, dtype=r.dtype)).sum() for k, r in enumerate(found))
    wanted = [*leaves, *layer.parameters()]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
    names = [f"d {k}" for k in range(len(leaves))] + [f"d {name}" for name, _ in layer.named_parameters()]
    return {f"result {k}": r for k, r in enumerate(found)} | dict(zip(names, gradients, strict=True))


def assert_equals_the_whole(layer, x, tolerance, **called):
    hx = [state.to(x.dtype) for state in states_of(layer, x.size(1))]
    found, expected = results(layer, x, hx, **called), results(whole(layer), x, hx, **called)
    for name, value in expected.items():
        if gates := recurrent(layer, name):
            value = blocks(value, gates, layer.heads)
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_equals_the_layer_with_whole_matrices(cell, path):
    for times, batch, inputs, hidden, heads in SHAPES:
        layer = of(cell, inputs, hidden, heads=heads, bidirectional=True)
        x, given = random(times, batch, inputs), numbers(cell, times, batch)
        assert_equals_the_whole(layer, x, 1e-10, return_states=True, **given)


@pytest.mark.parametrize("cell", [LSTM, GRU, cells.SLSTM], ids=lambda c: c.__name__)
def test_float32(cell):
    for times, batch, inputs, hidden, heads in SHAPES:
        layer = of(cell, inputs, hidden, heads=heads, bidirectional=True, dtype=torch.float32)
        assert_equals_the_whole(layer, random(times, batch, inputs, dtype=torch.float32), 1e-4)


@pytest.mark.parametrize("cell", [LSTM, GRU], ids=lambda c: c.__name__)
def test_the_same_bits_for_any_threads(cell):
    """Where threads own rows, and where they own units: heads of whole vectors, and heads that vectors straddle."""
    before = torch.get_num_threads()
    try:
        for times, batch, inputs, hidden, heads in [(7, 40, 5, 64, 4), (9, 3, 5, 384, 4), (9, 3, 5, 300, 5)]:
            layer = of(cell, inputs, hidden, heads=heads, dtype=torch.float32)
            x, hx = random(times, batch, inputs, dtype=torch.float32), [s.float() for s in states_of(layer, batch)]
            found = []
            for threads in (1, 2, 8):
                torch.set_num_threads(threads)
                found.append(results(layer, x, hx))
            for other in found[1:]:
                assert all(torch.equal(value, other[name]) for name, value in found[0].items())
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_instruction_sets(isa):
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    program = """
from fastrnn import _C
from tests.cells import test_heads
for cell in (test_heads.GRU, test_heads.cells.SLSTM):
    test_heads.test_float32(cell)
print(_C.instruction_set())
"""
    assert isa in printed(program, isa, PYTHONPATH=paths)


def test_layers_lengths_and_resets(path):
    layer = of(cells.SLSTM, 3, 12, heads=3, num_layers=2, bidirectional=True)
    x, lengths = random(7, 5, 3), torch.tensor([3, 7, 0, 1, 7])
    resets = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    assert_equals_the_whole(layer, x, 1e-10, lengths=lengths, resets=resets, return_states=True)
    packed = pack_padded_sequence(x, lengths.clamp(1), enforce_sorted=False)
    torch.testing.assert_close(layer(packed)[0].data, whole(layer)(packed)[0].data)


def test_a_head_reads_itself_alone(path):
    """By hand: a layer of three heads is three layers."""
    layer, x = of(cells.MGU, 3, 12, heads=3), random(6, 4, 3)
    for head in range(3):
        one = of(cells.MGU, 3, 4)
        for name, parameter in one.named_parameters():
            gates = getattr(layer, name).detach().chunk(2)
            parameter.data = torch.cat([gate.chunk(3)[head] for gate in gates])
        assert_by_hand(one, x)
        torch.testing.assert_close(layer(x)[0][..., 4 * head : 4 * head + 4], one(x)[0])


@pytest.mark.filterwarnings("default")  # those of xlstm
def test_slstm_is_that_of_the_package_xlstm():
    """Its cell in plain torch, by the authors of the paper."""
    pytest.importorskip("xlstm", reason="the package xlstm is not installed, whose sLSTM this is compared with")
    from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig

    exact = {"dtype": "float32", "enable_automatic_mixed_precision": False}
    theirs = sLSTMCell(sLSTMCellConfig(hidden_size=12, num_heads=3, backend="vanilla", bias_init="standard", **exact))
    layer, x = of(cells.SLSTM, 5, 12, heads=3, dtype=torch.float32), 2 * random(4, 20, 5, dtype=torch.float32)
    with torch.no_grad():
        recurrent = random(3, 4, 4, 4, dtype=torch.float32) / 2  # (head, from, gate, to)
        theirs.recurrent_kernel[:] = recurrent
        layer.weight_hh_l0.copy_(recurrent.permute(2, 0, 3, 1).reshape(48, 4))
        layer.bias_hh_l0.copy_(theirs.bias[:].transpose(0, 1).flatten())
        expected, state = theirs(torch.nn.functional.linear(x, layer.weight_ih_l0, layer.bias_ih_l0))
        output, final = layer(x.transpose(0, 1))
    torch.testing.assert_close(output.permute(1, 2, 0).unflatten(1, (3, 4)).transpose(2, 3), expected)
    torch.testing.assert_close(torch.stack(final)[:, 0], state)


def test_second_derivatives(path):
    layer, x = of(LSTM, 2, 4, heads=2), random(3, 2, 2).requires_grad_()
    assert torch.autograd.gradgradcheck(lambda x, w: torch.func.functional_call(layer, {"weight_hh_l0": w}, (x,))[0], [
        x, layer.weight_hh_l0.detach().requires_grad_(),
    ])  # fmt: skip


def test_compiled():
    layer, x = of(GRU, 3, 6, heads=3), random(3, 2, 3)
    compiled = torch.compile(torch.nn.Sequential(layer), backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), layer(x))


def test_the_option_is_kept():
    layer = of(LSTM, 6, 12, num_layers=2, bidirectional=True, heads=4)
    assert layer.weight_hh_l1_reverse.shape == (48, 3)
    assert repr(layer) == "LSTM(6, 12, num_layers=2, bidirectional=True, heads=4)"
    x = random(5, 3, 6)
    other = of(LSTM, 6, 12, num_layers=2, bidirectional=True, heads=4, seed=4)
    other.load_state_dict(layer.state_dict())
    for again in (other, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert again.heads == 4
        assert torch.equal(again(x)[0], layer(x)[0])
    with pytest.raises(RuntimeError, match="size mismatch for weight_hh_l0"):
        of(LSTM, 6, 12, num_layers=2, bidirectional=True).load_state_dict(layer.state_dict())
    built_in = fastrnn.LSTM(6, 12, num_layers=2, bidirectional=True, heads=4, dtype=F64)
    built_in.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x), built_in(x))


@pytest.mark.parametrize(("heads", "error"), [(0, ValueError), (-2, ValueError), (2.0, TypeError), (True, TypeError)])
def test_wrong_heads(heads, error):
    with pytest.raises(error, match="Expected heads"):
        of(LSTM, 3, 6, heads=heads)


def test_heads_that_do_not_fit():
    with pytest.raises(ValueError, match="Expected heads that divide hidden_size=10, got heads=4"):
        of(LSTM, 3, 10, heads=4)
    with pytest.raises(ValueError, match="IndRNN has no W_hh, which heads=2 would cut; leave heads out"):
        of(cells.IndRNN, 3, 10, heads=2)
    layer, x = of(GRU, 3, 12, heads=4), random(2, 2, 3)
    weight = random(36, 4)
    with pytest.raises(RuntimeError, match=r"Expected weight_hh size \[36, 3\] of 4 heads, got \[36, 4\]"):
        torch.func.functional_call(layer, {"weight_hh_l0": weight}, (x,))
    layer.heads = 3
    with pytest.raises(RuntimeError, match=r"Expected weight_hh size \[36, 4\] of 3 heads, got \[36, 3\]"):
        layer(x)
