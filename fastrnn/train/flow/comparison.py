"""Compares gradients through time of several cells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn import reference
from fastrnn._saving import write_figure
from fastrnn.init import forget_bias_
from fastrnn.train.data.batch import Labelled
from fastrnn.train.flow.measure import GradientFlow, gradient_flow
from fastrnn.train.loop.step import Step
from fastrnn.train.models.recurrent import Recurrent


class LastStep(nn.Module):
    """Recurrent layers with a loss of their last output only, which reaches earlier steps only through time."""

    def __init__(self, cell: str, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.recurrent = Recurrent(cell, input_size, hidden_size)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, input: Tensor) -> Tensor:
        """(T, B, I) -> (B, 1)"""
        return self.output(self.recurrent(input)[0][-1])

    def loss(self, batch: Labelled, state: Any = None) -> Step:
        return Step(nn.functional.mse_loss(self(batch.input), batch.target), len(batch.target))


def compare(
    cells: Iterable[str] = ("rnn_sigmoid", "rnn_tanh", "gru", "lstm"),
    *,
    steps: int = 100,
    batch: int = 16,
    input_size: int = 16,
    hidden_size: int = 32,
    recurrent_scale: float = 1.0,
    forget_bias: float | None = None,
    seed: int = 0,
) -> dict[str, GradientFlow]:
    """The gradient flow of one layer of each cell, with equal sizes, on one random batch with a loss at the last step.

    Args:
        recurrent_scale: factor of torch's initial W_hh, which is drawn from U(-1/sqrt(H), 1/sqrt(H)).
        forget_bias: of cells with gates; see :func:`fastrnn.init.forget_bias_`.

    Returns:
        by cell, in float64, so that gradients of 1e-200 are visible.
    """
    generator = torch.Generator().manual_seed(seed)
    input = torch.randn(steps, batch, input_size, generator=generator, dtype=torch.float64)
    target = torch.randn(batch, 1, generator=generator, dtype=torch.float64)
    flows = {}
    for cell in cells:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = LastStep(cell, input_size, hidden_size).double()
        if forget_bias is not None and reference.CELLS[cell].keeps is not None:
            forget_bias_(model, forget_bias)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "weight_hh" in name:
                    parameter.mul_(recurrent_scale)
        flows[cell] = gradient_flow(model, Labelled(input, None, target))
    return flows


def plot(flows: Mapping[str, GradientFlow], file: Any = None) -> Any:
    """Draws a panel for each flow: the norms of dLoss/dh_t and, dashed, of dLoss/dc_t over t.

    Args:
        flows: by title, such as the cells of :func:`compare`.
        file: where to write the picture.

    Returns:
        matplotlib's Figure.
    """
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no global state
    except ImportError as error:
        raise ImportError("pictures need matplotlib. Type: pip install 'fastrnn[train]'") from error

    figure = Figure(figsize=(max(3 * len(flows), 5), 3.2), layout="constrained")
    axes = figure.subplots(1, len(flows), sharey=True, squeeze=False)[0]
    for axis, (title, flow) in zip(axes, flows.items(), strict=True):
        draw(axis, flow, title)
    axes[0].set_ylabel("norm of the gradient")
    if file is not None:
        write_figure(file, figure)
    return figure


def draw(axis: Any, flow: GradientFlow, title: str = "") -> None:
    """One panel of :func:`plot`, on an axis of matplotlib's."""
    for letter, by_layer, style in (("h", flow.h, "-"), ("c", flow.c, "--")):
        for layer, norms in by_layer.items():
            of = f" of {layer}" if len(by_layer) > 1 else ""
            axis.plot(range(1, len(norms) + 1), norms, style, label=f"by ${letter}_t${of}")
    axis.set(title=title, xlabel="$t$", yscale="log")
    axis.grid(alpha=0.3)
    axis.legend()
