"""Results as a picture: speed relative to torch.nn, a panel for each cell, mode and thread count."""

from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fastrnn._bench.results import bands
from fastrnn._bench.table import LABELS, heading
from fastrnn._saving import replacing

matplotlib.use("Agg")  # draws into files; needs no display
import matplotlib.pyplot as plt

COLOURS = {"fastrnn": "#d1495b", "frozen": "#edae49", "onnxruntime": "#8d96a3", "openvino": "#2e6f95"}
TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100)


def plot(results: dict[str, Any], file: Path) -> None:
    """Draws the speed of every contender as a multiple of torch.nn's, on a logarithmic axis, into a PNG file."""
    rows = [row for row in results["rows"] if "torch" in row.get("seconds", {})]
    if not rows:
        raise ValueError("nothing to draw: torch.nn was left out")
    in_band = bands(rows)
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    shapes = list(dict.fromkeys("×".join(map(str, row["shape"])) for row in rows))
    names = [name for name in COLOURS if any(name in row["seconds"] for row in rows)]
    drawn = {
        band: [name for name in names if any(name in row["seconds"] for row in members)]
        for band, members in in_band.items()
    }
    heights = [0.7 + 0.16 * len(shapes) * (len(drawn[band]) + 0.8) for band in in_band]
    figure, axes = plt.subplots(
        len(in_band),
        len(cells),
        figsize=(2.2 + 3.6 * len(cells), sum(heights) + 1.2),
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=heights,
        layout="constrained",
    )
    for (band, members), panels in zip(in_band.items(), axes, strict=True):
        for cell, panel in zip(cells, panels, strict=True):
            chosen = {"×".join(map(str, row["shape"])): row["seconds"] for row in members if row["cell"] == cell}
            bars(panel, shapes, chosen, drawn[band])
            panel.set_title(f"{cell}, {heading(*band).lower()}", fontsize=11)
    for panel in axes[-1]:
        panel.set_xlabel("times as fast as torch.nn")
    for panels in axes:
        panels[0].set_ylabel("T × B × I × H")
    machine = results["machine"]
    figure.suptitle(f"{machine['processor']}, {machine['date']}, torch {machine['versions']['torch']}", fontsize=10)
    keys = {LABELS[name]: plt.Rectangle((0, 0), 1, 1, color=COLOURS[name]) for name in names}
    figure.legend(list(keys.values()), list(keys), loc="outside lower center", ncols=len(names), frameon=False)
    with replacing(file) as out:
        figure.savefig(out, format=file.suffix[1:] or "png", dpi=110)
    plt.close(figure)


def bars(panel: Any, shapes: list[str], seconds: dict[str, dict[str, float]], names: list[str]) -> None:
    """Draws a group of bars for each shape, the first on top; each bar starts at torch.nn's speed, 1."""
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        for place, shape in enumerate(shapes):
            if name not in seconds.get(shape, {}):
                continue
            ratio = seconds[shape]["torch"] / seconds[shape][name]
            y = place - 0.4 + height * (index + 0.5)
            panel.barh(y, ratio - 1, height, left=1, color=COLOURS[name])
            panel.annotate(
                f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}",
                (ratio, y),
                (3 if ratio >= 1 else -3, 0),
                textcoords="offset points",
                va="center",
                ha="left" if ratio >= 1 else "right",
                fontsize=6.5,
                color=COLOURS[name],
            )
    panel.axvline(1, color="black", linewidth=0.8)
    panel.set_xscale("log")
    panel.margins(x=0.15)
    panel.xaxis.set_major_locator(FixedLocator(TICKS))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.set_yticks(range(len(shapes)), shapes, fontsize=8)
    panel.set_ylim(len(shapes) - 0.4, -0.6)
    panel.tick_params(axis="x", labelsize=8)
    panel.grid(axis="x", alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
