"""What the demo leaves: a page that reports every figure as it was measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastrnn._bench.table import markdown
from fastrnn._saving import write_text
from fastrnn._verify import Result
from fastrnn.train import tasks


@dataclass(frozen=True)
class Trained:
    """The two models, what they wrote, and what the first is measured against."""

    characters: tasks.Run
    sample: str
    baselines: dict[str, float]
    step_seconds: dict[str, float]
    sums: tasks.Run
    answer: str


def write_report(out: Path, verified: Sequence[Result], results: dict[str, Any], trained: Trained) -> None:
    """Writes report.md, which shows speed.png and the curves of the runs beside it."""
    failed = [result for result in verified if not result.passed]
    verdict = (
        f"All {len(verified)} layers are as accurate as torch's."
        if not failed
        else f"**{len(failed)} of {len(verified)} layers are less accurate than allowed.**"
    )
    run, result = trained.characters, trained.characters.result
    fast, slow = trained.step_seconds["fastrnn"], trained.step_seconds["torch"]
    epochs, speed = len(result.history), result.items / result.seconds
    steps = result.history[-1]["step"] // epochs
    losses = trained.baselines | ({"the model after training": run.test["loss"]} if run.test else {})
    page = f"""# fastrnn on this machine

## Numbers

`fastrnn verify --quick` compares outputs, final states and gradients with a reference in float64.
{verdict}

## Speed

{markdown(results)}

![Speed relative to torch.nn](speed.png)

## A character language model

`fastrnn train chars`: embedding, one `fastrnn.LSTM`, one linear layer: {run.model.parameters_count:,} parameters. It
read the documentation that ships with Python {epochs} times in {result.seconds:.0f} s: {speed:,.0f} characters a
second.

| | test loss, nats a character | bits a character |
| :-- | --: | --: |
{chr(10).join(f"| {name} | {loss:.3f} | {loss / math.log(2):.3f} |" for name, loss in losses.items())}

![Loss](characters/curves.png)

The same training step took {fast * 1e3:.1f} ms with `fastrnn.LSTM` and {slow * 1e3:.1f} ms with `torch.nn.LSTM`,
measured in turns: for an epoch of {steps} steps {steps * fast:.1f} s against {steps * slow:.1f} s, that is
{slow / fast:.2f} times as fast. The embedding, the output layer, the loss and Adam are in both.

What it writes (temperature 0.7):

```
{trained.sample}
```

## Sums

`fastrnn train addition`: an encoder-decoder of two LSTMs read sums and their answers, digit by digit, for
{trained.sums.result.seconds:.0f} s. Of sums that it had not seen:

{trained.sums.sample}

{figures(trained.sums)}

    fastrnn generate {out / "sums"} --prompt {trained.answer.partition(" = ")[0]}
    {trained.answer.partition(" = ")[2]}
"""
    write_text(out / "report.md", page)


def figures(run: tasks.Run) -> str:
    """The test figures in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in (run.test or {}).items()) + "."
