"""The report of a training: settings, metrics and curves on one page."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fastrnn._environment import processor
from fastrnn._markdown import cell
from fastrnn._saving import write_figure, write_text
from fastrnn.train.loop.result import Result

REPORT, CURVES = "report.md", "curves.png"


def write(
    folder: str | os.PathLike[str],
    result: Result,
    *,
    title: str = "Training",
    settings: Mapping[str, Any] | None = None,
    test: Mapping[str, float] | None = None,
    published: Mapping[str, Any] | None = None,
    samples: str = "",
) -> None:
    """Write ``report.md`` and, where matplotlib is installed, ``curves.png`` into a folder.

    Args:
        result: the return value of ``fit``.
        title: the heading.
        settings: the settings of the training.
        test: metrics of the best model on the test data.
        published: a figure to compare with, and its source: {"figure": ..., "source": ...}.
        samples: output of the model, such as sentences or sums.
    """
    place = Path(folder)
    drawn = draw(place / CURVES, result.history)
    parts = [
        f"# {title}",
        _summary(result, test, published),
        f"![Loss by epoch]({CURVES})" if drawn else "",
        "## Samples\n\n" + _fenced(samples) if samples else "",
        "## Epochs\n\n" + _table(result.history) if result.history else "",
        "## Settings\n\n" + _table([{"setting": k, "value": v} for k, v in settings.items()]) if settings else "",
        f"## Machine\n\n{machine()}",
    ]
    write_text(place / REPORT, "\n\n".join(part for part in parts if part) + "\n")


def draw(file: Path, history: list[dict[str, Any]]) -> bool:
    """Draw the losses over the epochs. Returns False without matplotlib or without epochs."""
    try:
        from matplotlib.figure import Figure  # not pyplot: no window, no global state
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        return False
    if not history:
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, label in (("train_loss", "training"), ("valid_loss", "validation")):
        points = [(row["epoch"], row[name]) for row in history if name in row]
        if points:
            axes.plot(*zip(*points, strict=True), marker="o", markersize=3, label=label)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    axes.grid(alpha=0.3)
    write_figure(file, figure)
    return True


def machine() -> str:
    """A line with the GPU, if there is one, the processor, threads and versions."""
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    software = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{gpu}{processor()}, {torch.get_num_threads()} threads, {software}"


def _summary(result: Result, test: Mapping[str, float] | None, published: Mapping[str, Any] | None) -> str:
    lines = [f"Ended: {result.reason}. {_time(result.seconds)}, {result.items:,} items."]
    if result.best:
        figures = _figures({k.removeprefix("valid_"): v for k, v in result.best.items() if k.startswith("valid_")})
        where = f"validation: {figures}" if figures else f"training loss {result.best['train_loss']:.4g}"
        lines.append(f"Best epoch: {result.best['epoch']}; {where}.")
    if test:
        lines.append(f"Test: {_figures(test)}.")
    if published:
        lines.append("Published: " + "; ".join(str(value) for value in published.values()) + ".")
    return "\n\n".join(lines)


def _figures(figures: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_cell(value)}" for name, value in figures.items())


def _table(rows: list[dict[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    lines = [[name.replace("_", " ") for name in columns], ["---"] * len(columns)]
    lines += [[_cell(row.get(name, "")) for name in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    return cell(f"{value:.5g}" if isinstance(value, float) else str(value))


def _fenced(text: str) -> str:
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}\n{text.rstrip()}\n{fence}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"
