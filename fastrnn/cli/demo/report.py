"""The demo's report: a page with every figure as it was measured."""

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
    """The two models, what they generated, and the baselines of the first."""

    characters: tasks.Run
    sample: str
    baselines: dict[str, float]
    step_seconds: dict[str, float]
    sums: tasks.Run
    answer: str


def write_report(out: Path, verified: Sequence[Result], results: dict[str, Any], trained: Trained) -> None:
    """Writes report.md, which shows speed.png and the runs' curves."""
    failed = [result for result in verified if not result.passed]
    verdict = (
        f"All {len(verified)} layers are as accurate as torch's."
        if not failed
        else f"**{len(failed)} of {len(verified)} layers exceed the allowed error.**"
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

`fastrnn train chars`: an embedding, one `fastrnn.LSTM` and one linear layer with {run.model.parameters_count:,}
parameters. {epochs} epochs of the documentation that ships with Python took {result.seconds:.0f} s, at {speed:,.0f}
characters per second.

| | test loss, nats per character | bits per character |
| :-- | --: | --: |
{chr(10).join(f"| {name} | {loss:.3f} | {loss / math.log(2):.3f} |" for name, loss in losses.items())}

![Loss](characters/curves.png)

One training step took {fast * 1e3:.1f} ms with `fastrnn.LSTM` and {slow * 1e3:.1f} ms with `torch.nn.LSTM`,
measured in turns. An epoch of {steps} steps takes {steps * fast:.1f} s instead of {steps * slow:.1f} s:
{slow / fast:.2f} times as fast. Both include the embedding, the output layer, the loss and Adam.

A sample at temperature 0.7:

```
{trained.sample}
```

## Sums

`fastrnn train addition`: an encoder-decoder of two LSTMs learned sums digit by digit, in
{trained.sums.result.seconds:.0f} s. Its answers to sums that it had not seen:

{trained.sums.sample}

{figures(trained.sums)}

    fastrnn generate {out / "sums"} --prompt {trained.answer.partition(" = ")[0]}
    {trained.answer.partition(" = ")[2]}
"""
    write_text(out / "report.md", page)


def figures(run: tasks.Run) -> str:
    """The test metrics in a line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in (run.test or {}).items()) + "."
