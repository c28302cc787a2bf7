"""Lengths, resets, every state and the learned initial state in torch's transforms, graphs and modes."""

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.func import functional_call, grad, jvp, vmap

import fastrnn
import fastrnn.nn
from tests.support.twins import by_reference, make, random

# What torch.func.jvp itself does.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F32, F64 = torch.float32, torch.float64
T, B = 6, 4
LENGTHS = torch.tensor([3, 6, 0, 2])
RESETS = torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.3
OPTIONS = {"lengths": LENGTHS, "resets": RESETS, "return_states": True}


def layer_of(cell, dtype=F64, **options):
    layer = make(fastrnn.nn, cell, 3, 5, bidirectional=True, learn_initial_state=True, dtype=dtype, **options)
    for i, name in enumerate(layer._initial_states()):
        getattr(layer, name).data = random(*getattr(layer, name).shape, seed=20 + i, dtype=dtype)
    return layer


def flat(found):
    return tuple(t for each in found for t in (each if isinstance(each, tuple) else (each,)) if t is not None)


def assert_close(found, expected, tolerance=1e-10):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=0, atol=tolerance)


@pytest.mark.parametrize("own", [(), ("lengths",), ("resets",), ("lengths", "resets")], ids=str)
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_vmap(cell, own):
    """Entries that share lengths or resets, or have their own; and the gradients of each for the weights."""
    layer, x = layer_of(cell), random(3, T, B, 3)
    options = {"lengths": LENGTHS, "resets": RESETS}
    if "lengths" in own:
        options["lengths"] = torch.stack([LENGTHS, LENGTHS.flip(0), torch.full_like(LENGTHS, 4)])
    if "resets" in own:
        options["resets"] = torch.stack([RESETS, ~RESETS, RESETS & False])
    dims = tuple(0 if name in own else None for name in options)
    weights = {name: w.detach() for name, w in layer.named_parameters()}

    def run(x, *given):
        return flat(layer(x, **dict(zip(options, given, strict=True)), return_states=True))

    def loss(weights, x, *given):
        found = functional_call(layer, weights, (x,), dict(zip(options, given, strict=True)))
        return sum(t.square().sum() for t in flat(found))

    def entry(i):
        return [t[i] if dim == 0 else t for t, dim in zip(options.values(), dims, strict=True)]

    found = vmap(run, (0, *dims))(x, *options.values())
    assert_close(found, [torch.stack(each) for each in zip(*[run(x[i], *entry(i)) for i in range(3)], strict=True)])
    gradients = vmap(grad(loss), (None, 0, *dims))(weights, x, *options.values())
    for i in range(3):
        alone = grad(loss)(weights, x[i], *entry(i))
        assert_close([g[i] for g in gradients.values()], list(alone.values()))
    inputs = vmap(grad(lambda x, *given: loss(weights, x, *given)), (0, *dims))(x, *options.values())
    for i in range(3):
        assert_close([inputs[i]], [grad(lambda x, i=i: loss(weights, x, *entry(i)))(x[i])])


@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_forward_mode(cell):
    layer, x, tangent = layer_of(cell), random(T, B, 3), random(T, B, 3, seed=9)
    _, derivative = jvp(lambda x: flat(layer(x, **OPTIONS)), (x,), (tangent,))
    step = 1e-6
    ahead, behind = (flat(layer(x + sign * step * tangent, **OPTIONS)) for sign in (1, -1))
    assert_close(derivative, [(a - b) / (2 * step) for a, b in zip(ahead, behind, strict=True)], 1e-7)


@pytest.mark.parametrize("train", [False, True])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_one_compiled_graph_for_all_sizes(cell, train):
    layer = layer_of(cell, F32, num_layers=2).requires_grad_(train)
    graphs = CompileCounterWithBackend("aot_eager")
    run, counts = torch.compile(layer, fullgraph=True, dynamic=True, backend=graphs), []
    for times, batch in ((6, 4), (9, 5), (7, 11)):
        x = random(times, batch, 3, dtype=F32)
        lengths = torch.randint(0, times + 1, (batch,), generator=torch.Generator().manual_seed(batch))
        resets = torch.rand(times, batch, generator=torch.Generator().manual_seed(times)) < 0.2
        found = flat(run(x, lengths=lengths, resets=resets, return_states=True))
        expected = flat(layer(x, lengths=lengths, resets=resets, return_states=True))
        assert_close(found, expected, 1e-6)
        if train:
            for results in (found, expected):
                sum(t.square().sum() for t in results).backward()
            both = layer.h_0.grad.clone()
            layer.zero_grad()
            sum(t.square().sum() for t in flat(layer(x, lengths=lengths, resets=resets, return_states=True))).backward()
            torch.testing.assert_close(both, 2 * layer.h_0.grad)
            layer.zero_grad()
        counts.append(graphs.frame_count)
    assert counts[0] == counts[2]  # torch may count its first graph twice


def test_a_graph_checks_lengths_when_it_runs():
    layer = fastrnn.GRU(3, 5)
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend="aot_eager")
    x = random(T, B, 3, dtype=F32)
    with torch.no_grad():
        run(x, lengths=LENGTHS)
        with pytest.raises(ValueError, match="Expected lengths from 0 to 6, the steps of the input, got 7 at 1"):
            run(x, lengths=LENGTHS + 1)


class Model(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths, resets):
        return flat(self.layer(x, lengths=lengths, resets=resets, return_states=True))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("frozen", [False, True])
def test_exported(cell, frozen):
    layer = layer_of(cell, F32)
    model = Model(fastrnn.freeze(layer.eval()) if frozen else layer).eval()
    t, b = torch.export.Dim("t", min=2), torch.export.Dim("b", min=2)
    x = random(T, B, 3, dtype=F32)
    with torch.no_grad():
        program = torch.export.export(model, (x, LENGTHS, RESETS), dynamic_shapes=({0: t, 1: b}, {0: b}, {0: t, 1: b}))
        x, lengths, resets = random(9, 2, 3, dtype=F32), torch.tensor([4, 9]), RESETS[:1, :2].expand(9, 2)
        assert_close(program.module()(x, lengths, resets), model(x, lengths, resets), 1e-6)


def test_autocast():
    layer, x = layer_of("lstm", F32), random(T, B, 3, dtype=F32)
    with torch.autocast("cpu", torch.bfloat16):
        found = flat(layer(x, **OPTIONS))
    assert {t.dtype for t in found} <= {torch.bfloat16, F32}
    assert found[0].dtype == torch.bfloat16
    assert_close([t.float() for t in found], flat(by_reference(layer, x, None, **OPTIONS)), 0.05)


@pytest.mark.parametrize("cell", ["gru", "lstm_projected"])
def test_meta(cell):
    layer, x = layer_of(cell, F32), random(T, B, 3, dtype=F32)
    shapes = [t.shape for t in flat(layer(x, **OPTIONS))]
    moved = {name: t.to("meta") if isinstance(t, torch.Tensor) else t for name, t in OPTIONS.items()}
    found = flat(layer.to("meta")(x.to("meta"), **moved))
    assert [t.shape for t in found] == shapes
    assert all(t.is_meta for t in found)


def test_deterministic_algorithms():
    layer, x = layer_of("lstm", F32), random(T, B, 3, dtype=F32)
    torch.use_deterministic_algorithms(True)
    try:
        sum(t.sum() for t in flat(layer(x, **OPTIONS))).backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert layer.h_0.grad.any()


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_one_graph_of_a_recomputed_layer_for_all_sizes(cell):
    """An example of few steps has one checkpoint, and one integer for the bits of a mask: no size may say so."""
    layer = make(fastrnn.nn, cell, 3, 2, recompute=True, recurrent_dropout=0.5, dtype=F32)
    graphs = CompileCounterWithBackend("aot_eager")
    run, counts = torch.compile(layer, fullgraph=True, dynamic=True, backend=graphs), []
    for times, batch in ((6, 2), (30, 7), (70, 3)):
        output, _ = run(random(times, batch, 3, dtype=F32))
        output.sum().backward()
        counts.append(graphs.frame_count)
    assert counts[0] == counts[2]  # torch may count its first graph twice


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_recomputed_layer_exported_from_few_steps_runs_many(cell):
    layer, x = make(fastrnn.nn, cell, 3, 5, recompute=True, dtype=F32), random(4, 2, 3, dtype=F32)
    sizes = ({0: torch.export.Dim("t", min=2), 1: torch.export.Dim("b", min=2)},)
    program = torch.export.export(layer, (x,), dynamic_shapes=sizes).module()
    for many in (random(9, 3, 3, dtype=F32), random(100, 7, 3, dtype=F32)):
        torch.testing.assert_close(program(many), layer(many))
