"""The operators as torch's compiler sees them: opcheck, torch.compile in one graph, torch.export; their own checks."""

import subprocess
import sys

import pytest
import torch

import fastrnn.nn
from fastrnn import _C, ops
from tests.support.raw_calls import backward_call, right_call, with_masks
from tests.support.twins import CELLS, initial, make, random

pytestmark = pytest.mark.usefixtures("device")

NAMES = {cell: cell.removesuffix("_projected") for cell in CELLS}


def _arguments(cell, *, bidirectional=False, batch_first=False, packed=False, dtype=torch.float32):
    """Arguments of the forward operator, without `save`."""
    layer = make(fastrnn.nn, cell, 5, 6, bidirectional=bidirectional, dtype=dtype)
    hx = initial(layer, 3, dtype)
    h0, c0 = hx if isinstance(hx, tuple) else (hx, None)
    shape, sizes = ((4, 3, 5), None) if not packed else ((6, 5), torch.tensor([3, 2, 1]))
    weights = [w.detach() for w in layer._flat_weights]
    return NAMES[cell], random(*shape, dtype=dtype), sizes, h0, c0, weights, True, bidirectional, batch_first


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}, {"packed": True}], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_opcheck(cell, options):
    if options.get("batch_first"):
        options = options | {"packed": False}
    arguments, projected = _arguments(cell, **options), {"projected": "projected" in cell}
    name, input, sizes, h0, c0, weights, biases, bidirectional, batch_first = arguments
    if batch_first:  # (B, T, I) with the batch of the states
        input = random(3, 4, 5, dtype=torch.float32)
        arguments = (name, input, *arguments[2:])
    for save in (False, True):
        torch.library.opcheck(ops.forward, (*arguments, save), projected)
    output, _, cn, saved = ops.forward(*arguments, True, **projected)
    incoming = (torch.ones_like(output), None, torch.ones_like(cn) if c0 is not None else None)
    needs = [True, True, c0 is not None, *([True] * len(weights))]
    torch.library.opcheck(
        ops.backward,
        (name, *incoming, input, sizes, h0, c0, weights, output, saved, biases, bidirectional, batch_first, needs),
        projected,
    )


@pytest.mark.cpu
@pytest.mark.parametrize("cell", _C.cells())
def test_opcheck_with_masks(cell):
    """What is saved depends on them."""
    call = with_masks(right_call(cell, directions=2))
    fake = ("test_schema", "test_faketensor")
    torch.library.opcheck(ops.forward, (), call | {"save": True}, test_utils=fake)
    torch.library.opcheck(ops.backward, (), backward_call(call), test_utils=fake)


@pytest.mark.cpu
@pytest.mark.parametrize("cell", CELLS)
def test_opcheck_of_all_layers_at_once(cell):
    for packed in (False, True):
        name, input, sizes, _, _, weights, biases, bidirectional, batch_first = _arguments(cell, packed=packed)
        second = [random(*w.shape[:1], weights[1].size(1), dtype=torch.float32) if i == 0 else w
                  for i, w in enumerate(weights)]  # fmt: skip
        states = random(2, 3, weights[1].size(1), dtype=torch.float32)
        c0 = random(2, 3, 6, dtype=torch.float32) if name == "lstm" else None
        for h, c in ((None, None), (states, c0)):
            torch.library.opcheck(
                ops.infer,
                (name, input, sizes, h, c, [*weights, *second], 2, biases, bidirectional, batch_first),
                {"projected": "projected" in cell},
            )


@pytest.mark.cpu
def test_a_graph_without_gradients_runs_all_layers_at_once():
    layer = make(fastrnn.nn, "lstm", 5, 6, num_layers=3, bidirectional=True)
    targets = []

    def backend(graph, _):
        targets.extend(node.target for node in graph.graph.nodes if node.op == "call_function")
        return graph

    x = random(4, 3, 5, dtype=torch.float32)
    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for run in (torch.no_grad, torch.inference_mode):
        with run():
            output, (h_n, c_n) = compiled(x)
            expected, (expected_h, expected_c) = layer(x)
        assert torch.equal(output, expected)
        assert torch.equal(h_n, expected_h)
        assert torch.equal(c_n, expected_c)
    assert ops.infer in targets
    assert ops.forward not in targets
    assert compiled(x)[0].requires_grad


@pytest.mark.cpu
def test_all_layers_at_once_are_checked():
    name, input, sizes, _, _, weights, *options = _arguments("lstm")
    for layers, given, message in (
        (0, weights, "4 weights for each of 0 layer"),
        (2**63 - 1, weights, "4 weights for each of 9223372036854775807 layer"),
        (1, [], "Expected 4 weights for each of 1 layer.*, got 0"),
        (3, weights, "Expected 4 weights for each of 3 layer.*, got 4"),
        (2, [*weights, *weights], "Expected 5, got 6"),
        (1, [weights[0].double(), *weights[1:]], "the weights' dtype torch.float64, got torch.float32"),
    ):
        with pytest.raises((RuntimeError, ValueError), match=message):
            ops.infer(name, input, sizes, None, None, given, layers, *options)


def test_opcheck_in_float64():
    torch.library.opcheck(ops.forward, (*_arguments("lstm", dtype=torch.float64), True))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_opcheck_with_gradients(cell):
    name, input, sizes, h0, c0, weights, *options = _arguments(cell)
    weights = [w.requires_grad_() for w in weights]
    torch.library.opcheck(ops.forward, (name, input.requires_grad_(), sizes, h0, c0, weights, *options, False))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_compile_in_one_graph(cell, training):
    layer = make(fastrnn.nn, cell, 5, 6, num_layers=2, bidirectional=True)
    compiled = torch.compile(layer, fullgraph=True, backend="aot_eager")
    results = []
    for run in (layer, compiled):
        x = random(4, 3, 5, dtype=torch.float32).requires_grad_(training)
        with torch.set_grad_enabled(training):
            output, _ = run(x)
        grads = torch.autograd.grad(output.square().sum(), [x, *layer.parameters()]) if training else ()
        results.append([output, *grads])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


@pytest.mark.filterwarnings("ignore:TensorFloat32 tensor cores")  # inductor on CUDA would like them
def test_compile_with_inductor():
    """The whole way down, once: between two operations that inductor fuses around the layer."""
    layer = make(fastrnn.nn, "lstm", 5, 6)

    def model(x):
        return torch.relu(layer(x * 2)[0] + 1).sum()

    x = random(4, 3, 5, dtype=torch.float32).requires_grad_()
    expected = model(x)
    (expected_grad,) = torch.autograd.grad(expected, x)
    actual = torch.compile(model, fullgraph=True)(x)
    (grad,) = torch.autograd.grad(actual, x)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(grad, expected_grad)


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "gru", "lstm"])
def test_export(cell):
    layer = make(fastrnn.nn, cell, 5, 6, batch_first=True).eval()
    x = random(3, 4, 5, dtype=torch.float32)
    batch, times = torch.export.Dim("batch", min=2, max=64), torch.export.Dim("times", min=2, max=256)
    program = torch.export.export(layer, (x,), dynamic_shapes=({0: batch, 1: times},))
    assert any(node.target is ops.forward for node in program.graph.nodes)
    other = random(7, 9, 5, dtype=torch.float32)
    assert torch.equal(program.module()(other)[0], layer(other)[0])


LOAD = """
import sys, fastrnn.ops, torch
x, expected = torch.load(sys.argv[2])
assert torch.equal(torch.export.load(sys.argv[1]).module()(x)[0], expected)
"""


@pytest.mark.cpu  # a process of its own need not find the GPU free
def test_an_exported_program_runs_where_only_the_operators_are_loaded(tmp_path):
    layer = fastrnn.LSTM(5, 6).eval()
    x = random(4, 3, 5, dtype=torch.float32)
    torch.export.save(torch.export.export(layer, (x,)), tmp_path / "layer.pt2")
    torch.save((x, layer(x)[0]), tmp_path / "numbers.pt")
    arguments = [sys.executable, "-c", LOAD, tmp_path / "layer.pt2", tmp_path / "numbers.pt"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("change", "message"), [
    (lambda a: a | {"cell": "gru2"}, "cell to be one of .* got 'gru2'"),
    (lambda a: a | {"input": a["input"].int()}, "Expected input of the weights' dtype torch.float32, got torch.int32"),
    (lambda a: a | {"input": a["input"][0]}, "Expected input to have 3 dimensions, got 2"),
    (lambda a: a | {"input": a["input"][:, :, :4]}, "Expected 5, got 4"),
    (lambda a: a | {"input": a["input"][:0]}, "larger than 0"),
    (lambda a: a | {"h0": a["h0"][:, :2]}, r"Expected h0 size \[1, 3, 6\], got \[1, 2, 6\]"),
    (lambda a: a | {"h0": a["h0"].double()}, "Expected h0 of dtype torch.float32, got torch.float64; convert"),
    (lambda a: a | {"weights": a["weights"][:3]}, "Expected 4 weights for each of 1 layer"),
    (lambda a: a | {"weights": [a["weights"][0][:, :3], *a["weights"][1:]]}, "Expected 3, got 5"),
    (lambda a: a | {"weights": [a["weights"][0], a["weights"][1][:5], *a["weights"][2:]]}, "Expected weight_hh size"),
    (lambda a: a | {"input": a["input"][0], "batch_sizes": torch.tensor([2, 3])}, "not to increase, got 3 at 1"),
    (lambda a: a | {"input": a["input"][0], "batch_sizes": torch.tensor([3, 2])}, "packed input of 5 rows .* got 3"),
    (lambda a: a | {"input": a["input"][0], "batch_sizes": torch.tensor([3.0])}, "int64"),
])  # fmt: skip
def test_called_directly_with_bad_arguments(change, message):
    """The operators guard themselves: nothing reads out of bounds whoever calls them."""
    names = ["cell", "input", "batch_sizes", "h0", "c0", "weights", "biases", "bidirectional", "batch_first"]
    arguments = change(dict(zip(names, _arguments("gru"), strict=True)))
    with pytest.raises((RuntimeError, ValueError), match=message):
        ops.forward(*arguments.values(), False)
