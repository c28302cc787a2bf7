"""The same numbers as torch.nn: outputs, final states and every gradient, over every option and awkward size."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._pytree import tree_map

import fastrnn.nn
from tests.support.twins import (
    CELLS,
    TORCH_CELLS,
    assert_as_accurate,
    assert_same,
    by_reference,
    initial,
    make,
    random,
    results,
    twins,
)

pytestmark = pytest.mark.usefixtures("device")

F32, F64 = torch.float32, torch.float64
OPTIONS = [
    dict(zip(("num_layers", "bias", "batch_first", "bidirectional"), values, strict=True))
    for values in itertools.product((1, 2), (True, False), (False, True), (False, True))
]
# T, B, I, H: every value of each, and the pairs that a kernel's remainders depend on.
SIZES = [
    (1, 1, 1, 1),
    (1, 1, 129, 129),
    (1, 5, 17, 16),
    (1, 33, 16, 129),
    (2, 1, 16, 17),
    (2, 5, 3, 16),
    (2, 5, 129, 3),
    (2, 33, 129, 17),
    (2, 33, 17, 129),
    (151, 1, 17, 3),
    (151, 1, 1, 16),
    (151, 5, 1, 17),
    (151, 33, 3, 1),
    (3, 130, 5, 17),  # more rows than one thread takes at a time
]
# Draws of these sizes in which no sum comes nearer than 9e-7 to the ReLU's kink, where rounding would switch a unit.
SEEDS = range(150, 182)


def states_of(hx):
    return hx if isinstance(hx, tuple) else (hx,)


def case(cell, steps, batch, input_size, hidden_size, dtype=F64, **options):
    """The twins, an input and an initial state."""
    theirs, ours = twins(cell, input_size, hidden_size, dtype=dtype, **options)
    shape = (batch, steps) if ours.batch_first else (steps, batch)
    return theirs, ours, random(*shape, input_size, dtype=dtype), initial(ours, batch, dtype)


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: "-".join(str(int(v)) for v in o.values()))
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_every_option(cell, options):
    theirs, ours, x, hx = case(cell, 5, 3, 7, 6, **options)
    assert_same(results(ours, x, hx), results(theirs, x, hx))
    assert_same(results(ours, x, None), results(theirs, x, None))


@pytest.mark.parametrize("options", OPTIONS[::5], ids=lambda o: "-".join(str(int(v)) for v in o.values()))
@pytest.mark.parametrize("cell", TORCH_CELLS)
@pytest.mark.parametrize("dtype", [F32, torch.bfloat16, torch.float16], ids=str)
def test_every_option_in_lower_precision(cell, dtype, options):
    theirs, ours, x, _ = case(cell, 5, 3, 7, 6, dtype, **options)
    if x.is_cuda and cell == "rnn_relu" and dtype != F32:
        pytest.skip("h is rounded at every step, so that units switch at ReLU's kink; `fastrnn verify` allows for that")
    draws = [(random(*x.shape, dtype=dtype, seed=i), initial(ours, 3, dtype, seed=i)) for i in SEEDS]
    assert_as_accurate(cell, dtype, draws, ours, theirs)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_awkward_sizes(cell, sizes):
    steps, batch, input_size, hidden_size = sizes
    if cell == "lstm_projected" and hidden_size == 1:
        pytest.skip("a projection has fewer features than the state")
    ours = make(fastrnn.nn, cell, input_size, hidden_size, dtype=F64)
    x, hx = random(steps, batch, input_size), initial(ours, batch, F64)
    expected = results(ours, x, hx, call=by_reference)
    assert_same(results(ours, x, hx), expected)
    if cell in TORCH_CELLS:
        assert_same(results(make(torch.nn, cell, input_size, hidden_size, dtype=F64), x, hx), expected)


@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_awkward_sizes_in_float32(cell, sizes):
    steps, batch, input_size, hidden_size = sizes
    if cell == "lstm_projected" and hidden_size == 1:
        pytest.skip("a projection has fewer features than the state")
    if cell.startswith("layer_norm"):
        # Few numbers normalized are ill-conditioned, and many steps chaotic: errors grow until they are the state.
        steps, input_size, hidden_size = min(steps, 12), max(input_size, 16), max(hidden_size, 16)
    ours = make(fastrnn.nn, cell, input_size, hidden_size)
    peer = make(torch.nn if cell in TORCH_CELLS else fastrnn.nn, cell, input_size, hidden_size)
    draws = [(random(steps, batch, input_size, dtype=F32, seed=i), initial(ours, batch, F32, seed=i)) for i in SEEDS]
    assert_as_accurate(cell, F32, draws, ours, peer)


@given(
    cell=st.sampled_from(list(TORCH_CELLS)),
    steps=st.integers(1, 9),
    batch=st.integers(0, 20),
    input_size=st.integers(1, 40),
    hidden_size=st.integers(2, 40),
    options=st.sampled_from(OPTIONS),
    state=st.booleans(),
)
def test_any_shape(cell, steps, batch, input_size, hidden_size, options, state):
    theirs, ours, x, hx = case(cell, steps, batch, input_size, hidden_size, **options)
    hx = hx if state else None
    assert_same(results(ours, x, hx), results(theirs, x, hx))


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_unbatched(cell, batch_first):
    theirs, ours = twins(cell, 3, 4, num_layers=2, bidirectional=True, batch_first=batch_first, dtype=F64)
    x, hx = random(6, 3), initial(ours, None, F64)
    assert_same(results(ours, x, hx), results(theirs, x, hx))
    assert_same(results(ours, x, None), results(theirs, x, None))


STRIDES = {
    "transposed": lambda x: x.transpose(0, 1).contiguous().transpose(0, 1),
    "features first": lambda x: x.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "every second": lambda x: torch.repeat_interleave(x, 2, 0)[::2],
    "every second feature": lambda x: torch.repeat_interleave(x, 2, 2)[..., ::2],
    "inside a larger": lambda x: torch.nn.functional.pad(x, (1, 2, 3, 0))[:, 3:, 1:-2],
    "expanded over steps": lambda x: x[:1].expand_as(x),
    "expanded over batch": lambda x: x[:, :1].expand_as(x),
    "expanded over features": lambda x: x[..., :1].expand_as(x),
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("strides", STRIDES)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_strides_of_the_input(cell, strides, batch_first):
    theirs, ours, x, hx = case(cell, 4, 5, 3, 6, batch_first=batch_first)
    assert not STRIDES[strides](x).is_contiguous()
    assert_same(results(ours, x, hx, STRIDES[strides]), results(theirs, x, hx, STRIDES[strides]))


STATE_STRIDES = {
    "every second": lambda t: torch.repeat_interleave(t, 2, 1)[:, ::2],
    "transposed": lambda t: t.transpose(0, 1).contiguous().transpose(0, 1),
    "features first": lambda t: t.permute(2, 0, 1).contiguous().permute(1, 2, 0),
    "inside a larger": lambda t: torch.nn.functional.pad(t, (1, 2, 3, 0))[:, 3:, 1:-2],
    "expanded over batch": lambda t: t[:, :1].expand_as(t),
}


@pytest.mark.parametrize("strides", STATE_STRIDES)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_strides_of_the_state(cell, strides):
    theirs, ours, x, hx = case(cell, 4, 5, 3, 6, num_layers=2)
    hx = tuple(map(STATE_STRIDES[strides], hx)) if isinstance(hx, tuple) else STATE_STRIDES[strides](hx)
    assert not states_of(hx)[0].is_contiguous()
    in_one_piece = tree_map(torch.Tensor.contiguous, hx)  # cuDNN refuses others
    assert_same(results(ours, x, hx), results(theirs, x, in_one_piece))


LOSSES = {
    "last step": lambda output: output[-1].sum(),
    "one entry": lambda output: output[:, 1].sum(),
    "transposed": lambda output: output.transpose(0, 2).contiguous().pow(2).sum(),
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_strides_of_the_gradient(cell, loss):
    theirs, ours, x, _ = case(cell, 4, 5, 3, 6, num_layers=2)
    found = []
    for layer in (ours, theirs):
        LOSSES[loss](layer(x)[0]).backward()
        found.append({name: p.grad for name, p in layer.named_parameters()})
    assert_same(*found)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_strided_weights(cell):
    theirs, ours, x, hx = case(cell, 4, 5, 3, 6)
    for layer in (theirs, ours) if x.is_cpu else (ours,):  # cuDNN refuses them
        for parameter in layer.parameters():
            if parameter.dim() == 2:
                parameter.data = parameter.data.T.contiguous().T
    assert_same(results(ours, x, hx), results(theirs, x, hx))


@pytest.mark.parametrize("wanted", ["input", "h_0", "c_0", "weight_hh_l0", "bias_ih_l0", "weight_ih_l1", "output only"])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_gradients_of_any_subset(cell, wanted):
    theirs, ours, x, hx = case(cell, 4, 3, 5, 6, num_layers=2)
    if wanted == "c_0" and not isinstance(hx, tuple):
        pytest.skip("only an LSTM has a cell state")
    found = []
    for layer in (ours, theirs):
        for name, p in layer.named_parameters():
            p.requires_grad_(name == wanted)
        states = dict(zip(("h_0", "c_0"), states_of(hx), strict=False))
        leaves = {"input": x.detach(), **{name: s.detach() for name, s in states.items()}}
        for name, leaf in leaves.items():
            leaf.requires_grad_(name == wanted)
        given_hx = (leaves["h_0"], leaves["c_0"]) if isinstance(hx, tuple) else leaves["h_0"]
        output, _ = layer(leaves["input"], given_hx)
        assert output.requires_grad == (wanted != "output only")
        if output.requires_grad:
            output.pow(2).sum().backward()
        tensors = leaves | dict(layer.named_parameters())
        assert [name for name, t in tensors.items() if t.grad is not None] == [wanted] * output.requires_grad
        found.append({wanted: tensors[wanted].grad} if output.requires_grad else {"output": output})
    assert_same(*found)


@pytest.mark.parametrize("use", ["output", "h_n", "c_n"])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_gradient_through_one_result(cell, use):
    theirs, ours, x, hx = case(cell, 4, 3, 5, 6, bidirectional=True)
    if use == "c_n" and not isinstance(hx, tuple):
        pytest.skip("only an LSTM has a cell state")
    found = []
    for layer in (ours, theirs):
        output, final = layer(x, hx)
        chosen = {"output": output} | dict(zip(("h_n", "c_n"), states_of(final), strict=False))
        layer.zero_grad()
        chosen[use].pow(3).sum().backward()
        found.append({name: p.grad for name, p in layer.named_parameters() if p.grad is not None})
    if cell == "lstm_projected" and use == "c_n":  # the projection of the last step feeds nothing
        found = [{name: g for name, g in f.items() if "hr" not in name or g.abs().sum() > 0} for f in found]
    assert_same(*found)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_inference_gives_the_numbers_of_training(cell, mode):
    ours = make(fastrnn.nn, cell, 5, 17, num_layers=2, bidirectional=True, dtype=F64)
    x, hx = random(7, 3, 5), initial(ours, 3, F64)
    output, final = ours(x, hx)
    with mode():
        output_i, final_i = ours(x, hx)
    assert not output_i.requires_grad
    torch.testing.assert_close(output_i, output.detach(), rtol=0, atol=1e-14)
    torch.testing.assert_close(final_i, final, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", CELLS)
def test_inputs_are_left_alone(cell):
    ours = make(fastrnn.nn, cell, 3, 5, bidirectional=True)
    x, hx = random(4, 2, 3, dtype=F32), initial(ours, 2, F32)
    before = [t.clone() for t in (x, *states_of(hx))]
    results(ours, x, hx)
    after = (x, *states_of(hx))
    assert all(torch.equal(b, a) for b, a in zip(before, after, strict=True))
