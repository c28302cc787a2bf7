"""The operators of users' cells: in compiled and exported graphs, in transforms, and of cells that are too large."""

import io
import subprocess
import sys

import pytest
import torch
from torch._dynamo.testing import CompileCounterWithBackend
from torch.nn.utils.rnn import pack_padded_sequence
from torch.utils.flop_counter import FlopCounterMode

import fastrnn
from fastrnn import cells, ops
from fastrnn._cell import kernels
from tests.support.cell_calls import F32, LENGTHS, RESETS, B, T, arguments, backward_arguments
from tests.support.user_cells import F64, GRU, LSTM, as_given, numbers, of, random, states_of


def flat(found):
    return [t for each in found for t in (flat(each) if isinstance(each, (tuple, list)) else [each])]


@pytest.mark.parametrize(
    ("cell", "given"),
    [
        (cells.SLSTM, {}),
        (cells.LTC, {"packed": True}),
        (cells.SLSTM, {"lengths": LENGTHS, "resets": RESETS, "states": None}),
        (cells.IndRNN, {"every_state": False}),
        (cells.TextbookGRU, {}),
    ],
    ids=["padded", "packed", "lengths", "h alone", "matrices"],
)
def test_opcheck(cell, given):
    call = arguments(cell, **given)
    torch.library.opcheck(ops.cell_forward, (*call.values(), False))
    every, last, saved = ops.cell_forward(*call.values(), True)
    if call["lengths"] is None:  # what is saved of rows that have ended is whatever was there
        torch.library.opcheck(ops.cell_forward, (*call.values(), True))
    torch.library.opcheck(ops.cell_backward, tuple(backward_arguments(call, every, last, saved).values()))


def test_opcheck_with_gradients():
    call = arguments(cells.SLSTM)
    call["input"].requires_grad_()
    call["weights"] = [w.requires_grad_() for w in call["weights"]]
    torch.library.opcheck(ops.cell_forward, (*call.values(), False))


class Recorded:
    """A backend that keeps what the graphs call, and runs them through AOTAutograd."""

    def __init__(self):
        self.inner, self.targets = CompileCounterWithBackend("aot_eager"), []

    def __call__(self, graph, inputs):
        self.targets += [node.target for node in graph.graph.nodes if node.op == "call_function"]
        return self.inner(graph, inputs)


@pytest.mark.parametrize(("cell", "train"), [(cells.SLSTM, True), (cells.LTC, False), (cells.TextbookGRU, True)])
def test_one_compiled_graph_for_all_sizes(cell, train):
    """Lengths, resets, states and numbers per step as operands; the graph calls the operator once a layer."""
    layer = of(cell, 3, 5, num_layers=2, bidirectional=True, dtype=F32).requires_grad_(train)
    backend, counts = Recorded(), []
    run = torch.compile(layer, fullgraph=True, dynamic=True, backend=backend)
    for times, batch in ((6, 7), (9, 5), (7, 11)):  # other numbers than those of the layer
        x = random(times, batch, 3, dtype=F32).requires_grad_(train)
        lengths = torch.randint(0, times + 1, (batch,), generator=torch.Generator().manual_seed(batch))
        resets = torch.rand(times, batch, generator=torch.Generator().manual_seed(times)) < 0.2
        hx = as_given([s.float() for s in states_of(layer, batch)])
        given = {name: n.float() for name, n in numbers(cell, times, batch).items()}
        results = []
        for call in (run, layer):
            found = flat(call(x, hx, lengths=lengths, resets=resets, return_states=True, **given))
            if train:
                loss = sum(t.square().sum() for t in found)
                found += torch.autograd.grad(loss, [x, *layer.parameters()])
            results.append(found)
        assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))
        counts.append(backend.inner.frame_count)
    assert counts[0] == counts[2]  # torch may count its first graph twice
    assert backend.targets.count(ops.cell_forward) == 2 * counts[0]


@pytest.mark.filterwarnings("ignore:.*script_method.* is deprecated:DeprecationWarning")
def test_compiled_by_inductor():
    """The whole way down, once: between two operations that inductor fuses around the layer."""
    layer = of(cells.SLSTM, 3, 5, dtype=F32)

    def model(x):
        return torch.relu(layer(x * 2)[0] + 1).sum()

    x = random(T, B, 3, dtype=F32).requires_grad_()
    expected, found = model(x), torch.compile(model, fullgraph=True)(x)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(torch.autograd.grad(found, x), torch.autograd.grad(expected, x))


def test_bfloat16_compiled():
    layer, x = of(cells.SLSTM, 3, 5, dtype=F32).bfloat16(), random(T, B, 3, dtype=F32).bfloat16()
    found = torch.compile(layer, fullgraph=True, backend="aot_eager")(x)
    assert all(torch.equal(a, b) for a, b in zip(flat(found), flat(layer(x)), strict=True))


class WithLengths(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, dt, lengths):
        output, h_n, states = self.layer(x, lengths=lengths, dt=dt, return_states=True)
        return output, h_n, states.h


LOAD = """
import sys, fastrnn.ops, torch
x, dt, lengths, expected = torch.load(sys.argv[2])
found = torch.export.load(sys.argv[1]).module()(x, dt, lengths)
assert len(found) == 3 and all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
assert "fastrnn.cells" not in sys.modules and "fastrnn.nn" not in sys.modules
"""


def test_an_exported_program_needs_no_class(tmp_path):
    """For any number of steps and rows, in a process that knows the operators alone."""
    model = WithLengths(of(cells.LTC, 3, 5, num_layers=2, bidirectional=True, dtype=F32)).eval()
    t, b = torch.export.Dim("t", min=2, max=999), torch.export.Dim("b", min=2, max=99)
    shapes = ({0: t, 1: b}, {0: t, 1: b}, {0: b})
    x, dt = random(T, B, 3, dtype=F32), random(T, B, 1, dtype=F32).abs()
    program = torch.export.export(model, (x, dt, LENGTHS), dynamic_shapes=shapes)
    calls = [node for node in program.graph.nodes if node.target is ops.cell_forward]
    assert len(calls) == 2
    assert not any(argument == [] for node in calls for argument in node.args)  # which AOTInductor would lose
    x, dt, lengths = random(9, 2, 3, dtype=F32), random(9, 2, 1, dtype=F32).abs(), torch.tensor([4, 9])
    expected = model(x, dt, lengths)
    torch.export.save(program, tmp_path / "layer.pt2")
    torch.save((x, dt, lengths, expected), tmp_path / "numbers.pt")
    command = [sys.executable, "-c", LOAD, tmp_path / "layer.pt2", tmp_path / "numbers.pt"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean:torch.jit.TracerWarning")
def test_jit_trace():
    layer, x = of(LSTM, 3, 5, num_layers=2).eval(), random(T, B, 3)
    with torch.no_grad():
        traced = torch.jit.trace(layer, (x,))
    file = io.BytesIO()
    torch.jit.save(traced, file)
    file.seek(0)
    longer = random(9, 2, 3)
    torch.testing.assert_close(torch.jit.load(file)(longer), layer(longer))


def test_gradients_in_batches():
    """Several incoming gradients at once, through a graph that was recorded outside of vmap."""
    layer, x = of(cells.SLSTM, 2, 3, bidirectional=True), random(T, B, 2).requires_grad_()
    wanted = [x, *layer.parameters()]
    incoming = random(4, T, B, 6)
    found = torch.autograd.grad(layer(x)[0], wanted, incoming, is_grads_batched=True)
    for i in range(4):
        alone = torch.autograd.grad(layer(x)[0], wanted, incoming[i])
        torch.testing.assert_close([g[i] for g in found], list(alone))
    output = layer(x)[0]
    through = torch.func.vmap(lambda d: torch.autograd.grad(output, x, d, retain_graph=True)[0])(incoming)
    torch.testing.assert_close(through, found[0])


@pytest.mark.parametrize("cell", [GRU, cells.TextbookGRU])
@pytest.mark.parametrize("states", [False, True])
def test_flops_are_those_of_the_eager_loop(cell, states, monkeypatch):
    layer, x = of(cell, 3, 5, num_layers=2, bidirectional=True), random(T, B, 3).requires_grad_()
    hx, counted = states_of(layer, B)[0].requires_grad_() if states else None, []
    for _ in range(2):
        with FlopCounterMode(display=False) as counter:
            layer(x, hx)[0].sum().backward()
        counted.append(counter.get_total_flops())
        monkeypatch.setattr(kernels, "serve", lambda *_: False)
    assert counted[0] == counted[1] > 0


def test_changes_in_place_do_not_reach_the_gradient():
    layer, x = of(cells.SLSTM, 3, 5), random(T, B, 3).requires_grad_()
    expected = torch.autograd.grad(layer(x)[1][0].sum(), x)
    output, final, states = layer(x, return_states=True)
    output.mul_(2)
    states.c.zero_()
    torch.testing.assert_close(torch.autograd.grad(final[0].sum(), x), expected, rtol=0, atol=0)


@pytest.mark.parametrize("batch_first", [False, True])
def test_no_rows_and_rows_without_steps(batch_first):
    layer = of(LSTM, 3, 5, bidirectional=True, batch_first=batch_first)
    shape = (0, T) if batch_first else (T, 0)
    output, (h_n, c_n) = layer(random(*shape, 3).requires_grad_())
    assert output.shape == (*shape, 10)
    assert h_n.shape == c_n.shape == (2, 0, 5)
    (output.sum() + h_n.sum()).backward()
    assert not any(p.grad.any() for p in layer.parameters())
    layer = of(LSTM, 3, 5, bidirectional=True)
    hx = [state.requires_grad_() for state in states_of(layer, B)]
    output, final = layer(random(T, B, 3), tuple(hx), lengths=torch.zeros(B, dtype=torch.int64))
    assert not output.any()
    assert all(torch.equal(a, b) for a, b in zip(final, hx, strict=True))
    found = torch.autograd.grad(final[1].sum(), [*hx, *layer.parameters()], allow_unused=True, materialize_grads=True)
    assert torch.equal(found[1], torch.ones_like(hx[1]))
    assert not any(g.any() for g in (found[0], *found[2:]))


def test_packed_in_a_graph():
    """A packed sequence that is made outside, as fastrnn.LSTM takes it."""
    layer = of(cells.SLSTM, 3, 5, bidirectional=True)
    run = torch.compile(layer, fullgraph=True, backend="aot_eager")
    for lengths in ([3, 7, 1], [4, 4, 2]):
        packed = pack_padded_sequence(random(7, 3, 3), torch.tensor(lengths), enforce_sorted=False)
        found, expected = run(packed), layer(packed)
        torch.testing.assert_close(found[0].data, expected[0].data, rtol=0, atol=0)
        torch.testing.assert_close(found[1], expected[1], rtol=0, atol=0)


def named(count):
    return [f"n{i}" for i in range(count)]


def cell_of(body, arguments, **declared):
    namespace = {"torch": torch}
    exec(f"def step({', '.join(arguments)}):\n" + "".join(f"    {line}\n" for line in body), namespace)
    return type("Large", (fastrnn.Cell,), {"gates": "a", "step": namespace["step"]} | declared)


def of_many_states(count):
    new = ", ".join(f"torch.tanh(a + {n})" for n in named(count))
    return cell_of([f"return {new}"], ["a", *named(count)], state=named(count))


def of_many_vectors(count):
    return cell_of(
        [f"return torch.tanh({' + '.join(['a', *named(count)])})"], ["a", *named(count)], vectors=named(count)
    )


def of_many_gates(count):
    return cell_of([f"return torch.tanh({' + '.join(named(count))})"], named(count), gates=named(count))


def of_many_steps(count):
    """Each of which the gradient reads."""
    return cell_of(["a = a + h", *["a = torch.tanh(a + 0.1)"] * count, "return a"], ["a", "h"])


@pytest.mark.parametrize(
    ("make", "most", "too_many", "says"),
    [
        (of_many_states, 16, 17, "17 states, and there is room for 16"),
        (of_many_vectors, 32, 33, "33 vectors, and there is room for 32"),
        (of_many_gates, 32, 33, "33 gates, and there is room for 32"),
        (
            of_many_steps,
            200,
            260,
            r"\d+ numbers at a time in its step or the gradient of it, and there is room for 256",
        ),
    ],
)
def test_a_cell_that_is_too_large_runs_in_python(make, most, too_many, says, monkeypatch):
    """With one warning, where the layer is asked for. One that just fits runs on the kernels, and equals the step."""
    x, results = random(2, 2, 3).requires_grad_(), []
    layer = of(make(most), 3, 4)
    run = kernels.layer
    for fits in (True, False):
        monkeypatch.setattr(kernels, "layer", run if fits else None)
        output, _ = layer(x)
        results.append([output, *torch.autograd.grad(output.sum(), [x, *layer.parameters()])])
        monkeypatch.setattr(kernels, "serve", lambda *_: False)
    torch.testing.assert_close(*results)
    monkeypatch.undo()
    large = make(too_many)
    with pytest.warns(UserWarning, match=f"^Large has {says} in fastrnn's kernels; its layers run the step in a loop"):
        made = fastrnn.layer(large)
    monkeypatch.setattr(kernels, "layer", None)
    assert made(3, 4, dtype=F64)(x)[0].shape == (2, 2, 4)  # without another warning


def test_third_derivatives(monkeypatch):
    layer, x, found = of(cells.SLSTM, 2, 3), random(3, 2, 2).requires_grad_(), []
    for _ in range(2):
        derivative = layer(x)[0].square().sum()
        for _ in range(3):
            (derivative,) = torch.autograd.grad(derivative.square().sum(), x, create_graph=True)
        found.append(derivative)
        monkeypatch.setattr(kernels, "serve", lambda *_: False)
    torch.testing.assert_close(found[0], found[1], rtol=1e-9, atol=1e-12)
    assert found[0].any()


def test_second_derivatives_need_the_class():
    call = arguments(cells.MGU, every_state=False)
    call["program"] += "\n"  # a text that no class of this process has
    x = call["input"].requires_grad_()
    (first,) = torch.autograd.grad(ops.cell_forward(*call.values(), False)[0][0].square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match=r"whose class this process has not got. Import the module"):
        torch.autograd.grad(first.sum(), x)


def test_an_onnx_exporter_gets_torchs_operations(monkeypatch):
    layer, x = of(cells.MGU, 3, 5), random(T, B, 3)
    expected = layer(x)
    monkeypatch.setattr("torch.onnx.is_in_onnx_export", lambda: True)
    monkeypatch.setattr(kernels, "layer", None)
    torch.testing.assert_close(layer(x), expected)
