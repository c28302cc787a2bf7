"""What the demo leaves: a page that reports every figure as it was measured, and a plot of the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

from fastrnn._saving import replacing, write_text
from fastrnn.bench.table import markdown
from fastrnn.demo.text import Text
from fastrnn.demo.train import BATCH, WINDOW, Step
from fastrnn.verify import Result

matplotlib.use("Agg")  # draws into files; needs no display
import matplotlib.pyplot as plt


@dataclass(frozen=True)
class Run:
    """A training run: its steps, the validation loss after so many steps, and what it was measured against."""

    text: Text
    parameters: int
    epochs: int
    steps: Sequence[Step]
    validation: dict[int, float]
    unigram: float
    bigram: float
    step_seconds: dict[str, float]
    sample: str

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps)

    @property
    def characters(self) -> int:
        return len(self.steps) * BATCH * WINDOW

    def train_loss(self, last: int = 100) -> float:
        """The mean over the last steps: single windows differ a lot."""
        losses = [step.loss for step in self.steps[-last:]]
        return sum(losses) / len(losses)


def write_report(out: Path, verified: Sequence[Result], results: dict[str, Any], run: Run) -> None:
    """Writes report.md, which shows speed.png and loss.png beside it."""
    failed = [result for result in verified if not result.passed]
    verdict = (
        f"All {len(verified)} layers are as accurate as torch's."
        if not failed
        else f"**{len(failed)} of {len(verified)} layers are less accurate than allowed.**"
    )
    fast, slow = run.step_seconds["fastrnn"], run.step_seconds["torch"]
    per_epoch = len(run.steps) // run.epochs
    first, last = run.steps[0].loss, run.validation[max(run.validation)]
    losses: list[tuple[str, float | None, float]] = [
        ("each character from how often it occurs", None, run.unigram),
        ("each character from the one before", None, run.bigram),
        ("the model before training", first, run.validation[0]),
        ("the model after training", run.train_loss(), last),
    ]
    page = f"""# fastrnn on this machine

## Numbers

`fastrnn verify --quick` compares outputs, final states and gradients with a reference in float64.
{verdict}

## Speed

{markdown(results)}

![Speed relative to torch.nn](speed.png)

## A character language model

Embedding, one `fastrnn.LSTM`, one linear layer: {run.parameters:,} parameters. It read the documentation that ships
with Python ({len(run.text.train):,} characters to learn from, {len(run.text.validation):,} others to be judged by,
{len(run.text.alphabet)} different ones) {run.epochs} times in {run.seconds:.0f} s:
{run.characters / run.seconds:,.0f} characters a second.

| | training loss, nats | validation loss, nats | validation, bits a character |
| :-- | --: | --: | --: |
{chr(10).join(loss_line(*line) for line in losses)}

![Loss](loss.png)

The same training step took {fast * 1e3:.1f} ms with `fastrnn.LSTM` and {slow * 1e3:.1f} ms with `torch.nn.LSTM`,
measured in turns: for an epoch of {per_epoch} steps {per_epoch * fast:.1f} s against {per_epoch * slow:.1f} s, that is
{slow / fast:.2f} times as fast. The embedding, the output layer, the loss and Adam are in both.

What it writes (temperature 0.7):

```
{run.sample}
```
"""
    write_text(out / "report.md", page)


def loss_line(what: str, train: float | None, validation: float) -> str:
    shown = "" if train is None else f"{train:.3f}"
    return f"| {what} | {shown} | {validation:.3f} | {validation / math.log(2):.3f} |"


def plot_loss(file: Path, run: Run) -> None:
    """Draws training and validation loss over the characters read."""
    figure, axis = plt.subplots(figsize=(8, 4.5), layout="constrained")
    read = [step.number * BATCH * WINDOW / 1e6 for step in run.steps]
    axis.plot(read, [step.loss for step in run.steps], color="#8d96a3", linewidth=0.8, label="training, each window")
    axis.plot(
        [number * BATCH * WINDOW / 1e6 for number in run.validation],
        list(run.validation.values()),
        color="#d1495b",
        marker="o",
        label="validation",
    )
    axis.axhline(run.bigram, color="#2e6f95", linestyle="--", linewidth=1, label="each character from the one before")
    axis.set_xlabel("million characters read")
    axis.set_ylabel("loss, nats a character")
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
    with replacing(file) as out:
        figure.savefig(out, format="png", dpi=110)
    plt.close(figure)
