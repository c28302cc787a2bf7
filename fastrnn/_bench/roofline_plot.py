"""The roofline as a picture: GFLOP/s against the hidden size, a panel for each batch, under the machine's ceilings."""

from pathlib import Path
from typing import Any

from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from fastrnn._bench.plot import COLOURS, plt
from fastrnn._bench.results import Row, work_of
from fastrnn._bench.roofline import bandwidth_ceiling, fma_ceiling
from fastrnn._bench.table import LABELS, heading
from fastrnn._saving import replacing

LINES = COLOURS | {"torch": "#3a3a3a"}
CEILINGS = {"multiply-adds": (fma_ceiling, "--"), "W_hh read once a step": (bandwidth_ceiling, ":")}
COLUMNS = 2
TICKS = (0.01, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)


def plot(results: dict[str, Any], file: Path) -> None:
    """Draws results of `fastrnn roofline` into a picture; raises ValueError for other results."""
    if "bandwidth" not in results:
        raise ValueError("these are not results of fastrnn roofline: they have no bandwidth")
    by_batch: dict[int, list[Row]] = {}
    for row in results["rows"]:
        by_batch.setdefault(row["shape"][1], []).append(row)
    figure, axes = plt.subplots(
        -(-len(by_batch) // COLUMNS),
        COLUMNS,
        figsize=(9, 1 + 3.4 * -(-len(by_batch) // COLUMNS)),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
    for (batch, rows), panel in zip(by_batch.items(), axes.flat, strict=False):
        lines(panel, rows, results)
        panel.set_title(f"{batch} row{'s' * (batch > 1)}", fontsize=10)
    for panel in axes.flat[len(by_batch) :]:
        panel.set_axis_off()
    for panels in axes:
        panels[0].set_ylabel("GFLOP/s")
    for panel in axes[-1]:
        panel.set_xlabel("hidden size")
    first, machine = results["rows"][0], results["machine"]
    title = f"{first['cell']}, {heading(first['mode'], first['threads'], '').lower()}"
    figure.suptitle(f"{title}\n{machine['processor']}, {machine['date']}", fontsize=10)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    with replacing(file) as out:
        figure.savefig(out, format=file.suffix[1:] or "png", dpi=110)
    plt.close(figure)


def lines(panel: Any, rows: list[Row], results: dict[str, Any]) -> None:
    """Draws a line for each contender and each ceiling."""
    sizes = [row["shape"][3] for row in rows]
    for name, colour in LINES.items():
        if all(name in row["seconds"] for row in rows):
            rates = [work_of(row).flops / row["seconds"][name] / 1e9 for row in rows]
            on_top = 3 if name == "fastrnn" else 2
            panel.plot(sizes, rates, "o-", color=colour, label=LABELS[name], markersize=4, linewidth=1.4, zorder=on_top)
    for label, (ceiling, style) in CEILINGS.items():
        heights = [ceiling(row, results) for row in rows]
        panel.plot(sizes, heights, style, color="#777777", label=label, linewidth=1.4)
    panel.set_xscale("log", base=2)
    panel.set_yscale("log")
    panel.set_ylim(top=2 * fma_ceiling(rows[0], results))
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_locator(FixedLocator(TICKS))
    panel.yaxis.set_minor_locator(NullLocator())
    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    panel.tick_params(labelsize=8)
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
