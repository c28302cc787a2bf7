"""The results of the clients as Markdown, without the packages that the clients need."""

from __future__ import annotations

from statistics import mean, median
from typing import Any

from fastrnn import _markdown

LEARNERS = ("torch.nn", "converted", "converted, resets=", "torch.nn, last bit changed")  # of recurrent_ppo.py
MODELS = ("torch.nn", "converted", "fastrnn's options")  # of awd_lstm.py
FORECASTERS = ("tirex-2", "compiled", "fastrnn's sLSTM", "fastrnn's sLSTM, others compiled")  # of tirex2.py
LAST, PARTS = 100, 6  # episodes whose returns are averaged; pieces of the curve


def recurrent_ppo(found: dict[str, Any]) -> str:
    """Times, then returns: those of the last episodes for every seed, and the curve, a mean over seeds."""
    runs = [{each["name"]: each for each in run["contenders"]} for run in found["runs"]]
    steps = runs[0][LEARNERS[0]]["steps"]
    times, curves = [], []
    for name in LEARNERS:
        line = [name]
        for what in ("update", "rollout"):
            own, first = (median(s for run in runs for s in run[who]["seconds"][what]) for who in (name, LEARNERS[0]))
            line += [f"{1e3 * own:.0f}", f"{first / own:.2f}"]
        times.append([*line, ", ".join(f"{run[name]['same actions']:,}" for run in runs)])
        returns = [run[name]["returns"] for run in runs]
        lasts = ", ".join(f"{mean(r for _, r in of_run[-LAST:]):.0f}" for of_run in returns)
        parts = (part_of_curve(returns, steps * i / PARTS, steps * (i + 1) / PARTS) for i in range(PARTS))
        curves.append([name, *parts, lasts])
    seeds = ", ".join(str(run["seed"]) for run in found["runs"])
    columns = ["", "update, ms", "× as fast", "rollout, ms", "× as fast", "steps with the same actions"]
    ends = [f"to {steps * (i + 1) / PARTS:,.0f}" for i in range(PARTS)]
    return "\n\n".join(
        [
            f"{about(found)} {found['envs']} environments, rollouts of {found['steps']} steps, batches of "
            f"{found['batch']}, LSTMs of {found['hidden']} units, {steps:,} steps, seeds {seeds}.",
            _markdown.table(columns, times),
            f"Mean return of the episodes that end in each part of the training, and of the last {LAST} for each seed:",
            _markdown.table(["", *ends, f"last {LAST}"], curves),
        ]
    )


def part_of_curve(runs: list[list[list[float]]], begin: float, end: float) -> str:
    """The mean over runs of the mean return of the episodes that ended in this part."""
    parts = [[r for step, r in returns if begin < step <= end] for returns in runs]
    return f"{mean(mean(part) for part in parts):.0f}" if all(parts) else ""


def awd_lstm(found: dict[str, Any]) -> str:
    """A line for each model."""
    first = median(found["models"][0]["milliseconds"])
    lines = []
    for model in found["models"]:
        step = median(model["milliseconds"])
        losses = [f"{model[loss]:.6f}" for loss in ("loss", "loss without dropout")]
        lines.append([model["name"], f"{step:.0f}", f"{first / step:.2f}", *losses])
    sizes = (
        f"{found['layers']} layers of {found['hidden']} units, embedding of {found['embedding']}, "
        f"{found['words']:,} words, {found['steps']} × {found['batch']} tokens."
    )
    columns = ["", "training step, ms", "× as fast", "loss before training", "after 5 steps without dropout"]
    return f"{about(found)} {sizes}\n\n{_markdown.table(columns, lines)}"


def tirex2(found: dict[str, Any]) -> str:
    """A line for each contender, with columns for each number of series: of whole forecasts, and of a layer alone."""
    columns, lines = [""], [[name] for name in FORECASTERS]
    for row in found["rows"]:
        what = f"{row['series']} series" if row["series"] > 1 else "1 series"
        columns += [f"{what}, ms", "× as fast", "× compiled", "first, s", "differs by", "sLSTM layer, ms", "× compiled"]
        ms, layer = row["milliseconds"], row["layer, milliseconds"]
        for name, line in zip(FORECASTERS, lines, strict=True):
            first, compiled = (f"{ms[other] / ms[name]:.2f}" for other in FORECASTERS[:2])
            line += [f"{ms[name]:.1f}", first, compiled, f"{row['first call, seconds'][name]:.1f}"]
            line.append(f"{row['differences'][name]:.0e}" if name != FORECASTERS[0] else "")
            alone = [f"{layer[name]:.2f}", f"{layer[FORECASTERS[1]] / layer[name]:.2f}"] if name in layer else ["", ""]
            line += alone
    sizes = f"{found['blocks']} blocks, series of {found['length']} numbers, forecasts of {found['horizon']}."
    return f"{about(found)} {sizes}\n\n{_markdown.table(columns, lines)}"


def about(found: dict[str, Any]) -> str:
    note = f" {found['note']}" if "note" in found else ""  # by hand, of what a reader should know
    return f"{_markdown.about(found['machine'])} {found['threads']} threads. `{found['command']}`.{note} Sizes:"
