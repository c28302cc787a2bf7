"""torch.func's transforms, vectorized backward passes and forward mode: torch.nn's values where torch.nn has them, and
those of the plain-torch reference where it has none (torch.vmap of a layer, packed sequences under a transform)."""

from __future__ import annotations

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch.autograd import forward_ad
from torch.autograd.functional import hessian as autograd_hessian
from torch.autograd.functional import jacobian
from torch.func import functional_call, functionalize, grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
import fastrnn.nn
from fastrnn import ops
from fastrnn._core import autograd, operators
from tests.support.twins import CELLS, OWN_CELLS, TORCH_CELLS, make, random, twins

# torch's own, of forward mode
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F64 = torch.float64
INPUT, INPUTS = random(4, 3, 3), random(5, 4, 3, 3, seed=3)
SMALL = INPUT[:2, :1]
LENGTHS = [4, 2, 1]


def weights_of(layer):
    return {name: p.detach() for name, p in layer.named_parameters()}


def several(layer, count=3):
    """The weights of an ensemble."""
    return {name: torch.stack([w * (1 + i / 2) for i in range(count)]) for name, w in weights_of(layer).items()}


def run(layer, x, weights=None):
    """Output, h_n and, of an LSTM, c_n; x may be the data of a packed sequence."""
    if x.dim() == 2:
        x = PackedSequence(x, pack_padded_sequence(INPUT, LENGTHS).batch_sizes)
    output, final = layer(x) if weights is None else functional_call(layer, weights, (x,))
    output = output.data if isinstance(output, PackedSequence) else output
    return output, *(final if isinstance(final, tuple) else (final,))


def loss(layer, x, weights=None):
    return sum((t * (i + 1)).sin().sum() for i, t in enumerate(run(layer, x, weights)))


def heads(layer, x, weights=None):
    """Few numbers, each of all inputs, for Jacobians."""
    return run(layer, x, weights)[0].sum(-1).flatten()[-4:]


def batched_gradients(layer, how):
    x = INPUT.clone().requires_grad_()
    y, leaves = run(layer, x)[0], [x, *layer.parameters()]
    v = torch.stack([torch.ones_like(y), y.detach().cos()])
    if how == "is_grads_batched":
        return torch.autograd.grad(y, leaves, v, is_grads_batched=True)
    return vmap(lambda v: torch.autograd.grad(y, leaves, v, retain_graph=True))(v)


def dual_numbers(layer):
    with forward_ad.dual_level():
        x = forward_ad.make_dual(INPUT, INPUT.cos())
        weights = {name: forward_ad.make_dual(w, w.cos()) for name, w in weights_of(layer).items()}
        return [forward_ad.unpack_dual(t) for t in run(layer, x, weights)]


AS_TORCH = {
    "grad": lambda m: grad(lambda w: loss(m, INPUT, w))(weights_of(m)),
    "grad of input": lambda m: grad(lambda x: loss(m, x))(INPUT),
    "grad of an output changed in place": lambda m: grad(lambda x: run(m, x)[0].mul_(2).sin().sum())(INPUT),
    "vjp": lambda m: vjp(lambda x: run(m, x), INPUT)[1](run(m, INPUT)),
    "jacrev": lambda m: jacrev(lambda w: heads(m, INPUT, w))(weights_of(m)),
    "jacfwd": lambda m: jacfwd(lambda x: heads(m, x))(SMALL),
    "jvp": lambda m: jvp(lambda x: run(m, x), (INPUT,), (INPUT.cos(),)),
    "dual numbers": dual_numbers,
    "hessian": lambda m: hessian(lambda x: loss(m, x))(SMALL),
    "jacrev twice": lambda m: jacrev(jacrev(lambda x: loss(m, x)))(SMALL),
    "jacrev of jacfwd": lambda m: jacrev(jacfwd(lambda x: loss(m, x)))(SMALL),
    "grad of grad": lambda m: grad(lambda x: grad(lambda x: loss(m, x))(x).square().sum())(INPUT),
    "jacobian vectorized": lambda m: jacobian(lambda x: heads(m, x), INPUT, vectorize=True),
    "hessian vectorized": lambda m: autograd_hessian(lambda x: loss(m, x), SMALL, vectorize=True),
    "functionalize": lambda m: functionalize(lambda x: run(m, x))(INPUT),
    "functionalize of grad": lambda m: functionalize(lambda x: grad(lambda x: loss(m, x))(x).cos())(INPUT),
    "is_grads_batched": lambda m: batched_gradients(m, "is_grads_batched"),
    "vmap over autograd.grad": lambda m: batched_gradients(m, "vmap"),
}
BEYOND_TORCH = {
    "vmap": lambda m: vmap(lambda x: run(m, x))(INPUTS),
    "vmap elsewhere": lambda m: vmap(lambda x: run(m, x), in_dims=2, out_dims=1)(INPUTS.movedim(0, 2)),
    "vmap twice": lambda m: vmap(vmap(lambda x: run(m, x)))(torch.stack([INPUTS, INPUTS + 1])),
    "vmap of grad": lambda m: vmap(grad(lambda w, x: loss(m, x, w)), (None, 0))(weights_of(m), INPUTS),
    "grad of vmap": lambda m: grad(lambda w: vmap(lambda x: loss(m, x, w))(INPUTS).sum())(weights_of(m)),
    "ensemble": lambda m: vmap(lambda w: run(m, INPUT, w))(several(m)),
    "grad of an ensemble": lambda m: vmap(grad(lambda w, x: loss(m, x, w)), (0, None))(several(m), INPUT),
    "vmap of hessian": lambda m: vmap(hessian(lambda x: loss(m, x)))(INPUTS[:2, :2, :1]),
    "vmap of grad of grad": lambda m: vmap(grad(lambda x: grad(lambda x: loss(m, x))(x).square().sum()))(INPUTS),
    "vmap, then backward": lambda m: torch.autograd.grad(
        vmap(lambda x: loss(m, x))(INPUTS).sum(), list(m.parameters())
    ),
    "jacobian in forward mode": lambda m: jacfwd(lambda w: heads(m, INPUT, w))(weights_of(m)),
}
PACKED = {
    "grad": lambda m, x: grad(lambda x: loss(m, x))(x),
    "jvp": lambda m, x: jvp(lambda x: run(m, x), (x,), (x.cos(),)),
    "vmap": lambda m, x: vmap(lambda x: run(m, x))(torch.stack([x, x + 1])),
    "vmap of grad": lambda m, x: vmap(grad(lambda x: loss(m, x)))(torch.stack([x, x + 1])),
    "jacobian vectorized": lambda m, x: jacobian(lambda x: heads(m, x), x, vectorize=True),
}


def assert_as_reference(call, layer, monkeypatch):
    found = call(layer)
    with monkeypatch.context() as plain:
        plain.setattr(autograd, "layer", operators.run_reference)
        torch.testing.assert_close(found, call(layer))


@pytest.mark.parametrize("name", AS_TORCH)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_as_torch(cell, name):
    theirs, ours = twins(cell, 3, 4, num_layers=2, bidirectional=True, dtype=F64)
    torch.testing.assert_close(AS_TORCH[name](ours), AS_TORCH[name](theirs))


@pytest.mark.parametrize("name", BEYOND_TORCH)
@pytest.mark.parametrize("cell", CELLS)
def test_as_the_reference(cell, name, monkeypatch):
    assert_as_reference(BEYOND_TORCH[name], make(fastrnn.nn, cell, 3, 4, bidirectional=True, dtype=F64), monkeypatch)


@pytest.mark.parametrize("name", AS_TORCH)
@pytest.mark.parametrize("cell", OWN_CELLS)
def test_cells_that_torch_lacks(cell, name, monkeypatch):
    assert_as_reference(AS_TORCH[name], make(fastrnn.nn, cell, 3, 4, dtype=F64), monkeypatch)


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("cell", ["rnn_relu", "gru", "lstm_projected"])
def test_packed(cell, name, monkeypatch):
    layer = make(fastrnn.nn, cell, 3, 4, num_layers=2, bidirectional=True, dtype=F64)
    x = pack_padded_sequence(INPUT, LENGTHS).data
    assert_as_reference(lambda layer: PACKED[name](layer, x), layer, monkeypatch)


@pytest.mark.parametrize("options", [{"batch_first": True}, {"recompute": True}], ids=str)
@pytest.mark.parametrize("name", ["vmap", "vmap of grad", "grad of vmap", "is_grads_batched", "jacobian vectorized"])
def test_layouts_and_what_is_saved(name, options, monkeypatch):
    layer = make(fastrnn.nn, "lstm", 3, 4, dtype=F64, **options)
    assert_as_reference((AS_TORCH | BEYOND_TORCH)[name], layer, monkeypatch)


def test_initial_states_are_inputs_too(monkeypatch):
    layer, h, c = make(fastrnn.nn, "lstm", 3, 4, dtype=F64), random(5, 1, 3, 4), random(1, 3, 4, seed=9)

    def call(layer):
        def f(h, c):
            return layer(INPUT, (h, c))[0].sin().sum()

        return vmap(grad(f, (0, 1)), (0, None))(h, c), jvp(lambda c: f(h[0], c), (c,), (c.cos(),))

    assert_as_reference(call, layer, monkeypatch)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_cells_as_torchs(name):
    theirs = getattr(torch.nn, name)(3, 4, dtype=F64)
    ours, x = fastrnn.convert(copy.deepcopy(theirs)), INPUT[0]

    def numbers(cell, x, weights=None):
        state = cell(x) if weights is None else functional_call(cell, weights, (x,))
        state = functional_call(cell, weights, (x, state)) if weights else cell(x, state)
        return sum(t.sin() for t in (state if isinstance(state, tuple) else (state,)))

    for call in (
        lambda m: grad(lambda w: numbers(m, x, w).sum())(weights_of(m)),
        lambda m: jacrev(lambda x: numbers(m, x))(x),
        lambda m: jvp(lambda x: numbers(m, x), (x,), (x.cos(),)),
        lambda m: hessian(lambda x: numbers(m, x).sum())(x),
        lambda m: jacobian(lambda x: numbers(m, x), x, vectorize=True),
    ):
        torch.testing.assert_close(call(ours), call(theirs))
    entries = vmap(grad(lambda w, x: numbers(ours, x, w).sum()), (None, 0))(weights_of(ours), INPUTS[:, 0])
    for i, x in enumerate(INPUTS[:, 0]):
        expected = grad(lambda w, x=x: numbers(theirs, x, w).sum())(weights_of(theirs))
        torch.testing.assert_close({key: value[i] for key, value in entries.items()}, expected)


def test_entries_that_share_weights_are_one_call(monkeypatch):
    calls, layer = [], make(fastrnn.nn, "gru", 3, 4, dtype=F64)
    forward = ops.forward
    monkeypatch.setattr(operators, "forward", lambda *a, **k: calls.append(a[1].shape) or forward(*a, **k))
    vmap(lambda x: layer(x)[0])(INPUTS)
    assert calls == [(4, 5 * 3, 3)]


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_compiled(name):
    layer = getattr(fastrnn, name)(3, 4)
    x = random(4, 3, 3, dtype=torch.float32)

    def model(x):
        batched = vmap(lambda x: layer(x)[0])(x.unsqueeze(2))
        return grad(lambda x: layer(x * 2)[0].sin().sum())(x), jvp(lambda x: layer(x)[0], (x,), (x.cos(),)), batched

    torch.testing.assert_close(torch.compile(model, backend="aot_eager")(x), model(x))


def test_lengths_that_differ_between_entries_are_an_error_with_the_way_out():
    data, sizes = torch.ones(2, 4, 3), torch.tensor([[2, 1, 1], [2, 2, 0]])
    weights = [w.detach() for w in fastrnn.GRU(3, 4).parameters()]
    with pytest.raises(ValueError, match="pack the sequences of all entries into one PackedSequence"):
        vmap(lambda x, n: ops.forward("gru", x, n, None, None, weights, True, False, False, False)[0])(data, sizes)


def test_operators_among_dual_numbers_say_what_to_call():
    x, weights = torch.ones(2, 1, 3), [w.detach() for w in fastrnn.GRU(3, 4).parameters()]
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match=r"fastrnn.functional, inside the dual"):
        ops.forward("gru", forward_ad.make_dual(x, x), None, None, None, weights, True, False, False, False)
    y = fastrnn.GRU(3, 4)(x.requires_grad_())[0]
    with forward_ad.dual_level(), pytest.raises(NotImplementedError, match="inside the dual level"):
        torch.autograd.grad(y, x, forward_ad.make_dual(torch.ones_like(y), torch.ones_like(y)))


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_batched_gradients_on_another_thread(cell):
    """Where a backward pass on a GPU runs: it knows nothing of the vmap that waits for it."""
    layer, x = make(fastrnn.nn, cell, 3, 4, dtype=torch.float64), random(5, 2, 3).requires_grad_()
    wanted, output = [x, *layer.parameters()], layer(x)[0]
    incoming = random(6, *output.shape)
    expected = torch.autograd.grad(output, wanted, incoming, is_grads_batched=True, retain_graph=True)
    with ThreadPoolExecutor(1) as thread:

        def elsewhere(d_output):
            return thread.submit(torch.autograd.grad, output, wanted, d_output, retain_graph=True).result()

        found = torch._vmap_internals._vmap(elsewhere, 0, 0)(incoming)
    assert all(map(torch.equal, found, expected))
