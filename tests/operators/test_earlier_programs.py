"""Programs that were exported before an operator got a new argument: they load, and the argument has its default."""

import io

import pytest
import torch

import fastrnn.nn
from tests.support.twins import CELLS, make, random

# The last argument of each operator before `projected` was added, as programs of that time call it.
LAST = {torch.ops.fastrnn.infer.default: "batch_first", torch.ops.fastrnn.forward.default: "recompute"}


def earlier_program(layer, x, grad):
    """The program as it was exported then, saved and loaded."""
    with torch.set_grad_enabled(grad):
        program = torch.export.export(layer, (x,))
    calls = [node for node in program.graph.nodes if node.target in LAST]
    assert calls
    for node in calls:
        names = [argument.name for argument in node.target._schema.arguments]
        node.args = node.args[: names.index(LAST[node.target]) + 1]
    program.graph_module.recompile()
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell != "lstm_projected"])
def test_an_earlier_program_runs(cell, grad):
    layer, x = make(fastrnn.nn, cell, 3, 4, num_layers=2).eval(), random(5, 2, 3, dtype=torch.float32)
    program = earlier_program(layer, x, grad)
    assert torch.equal(program.module()(x)[0], layer(x)[0])


@pytest.mark.parametrize("grad", [False, True])
def test_one_of_a_projected_lstm_says_that_the_weights_do_not_fit(grad):
    """`projected` is False there, and was told by the number of weights. Exported again it runs (docs/adr/0030)."""
    layer, x = make(fastrnn.nn, "lstm_projected", 3, 4).eval(), random(5, 2, 3, dtype=torch.float32)
    program = earlier_program(layer, x, grad)
    with pytest.raises(
        RuntimeError,
        match=r"Expected 4 weights for .* 1 direction.* of lstm with biases and without a projection, got 5",
    ):
        program.module()(x)
