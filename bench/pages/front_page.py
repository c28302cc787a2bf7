"""README's numbers and its picture, from the committed results.

Both are for two threads, the default on the measured machine.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no display
import matplotlib.pyplot as plt
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from bench.pages import word2vec_table
from fastrnn import _markdown
from fastrnn._bench.results import Row, summarise
from fastrnn._bench.table import MODES
from fastrnn._saving import replacing

THREADS = 2
COLOURS = {"RNN": "#e09f3e", "GRU": "#2e6f95", "LSTM": "#d1495b"}
TICKS = (1, 2, 5, 10, 20, 50)


def rows_of(layers: dict[str, Any], mode: str) -> list[Row]:
    return [row for row in layers["rows"] if (row["mode"], row["threads"]) == (mode, THREADS)]


def numbers(layers: dict[str, Any], words: dict[str, Any], verified: dict[str, Any]) -> str:
    """A table of six numbers, and the machines they were measured on."""
    lines = []
    for mode, key, against in (
        ("infer", "ratio_torch", "torch.nn"),
        ("infer", "ratio", "the fastest of torch.nn, ONNX Runtime and OpenVINO"),
        ("train", "ratio_torch", "torch.nn"),
    ):
        found = summarise([row[key] for row in rows_of(layers, mode)])
        what = f"{MODES[mode]}, {found.total} layers of all sizes"
        lines.append([what, against, f"**{found.mean:.1f} ×** as fast", f"{found.worst:.2f} × in the worst layer"])
    for task in ("skip-gram", "CBOW"):
        ours, theirs = word2vec_table.median(words["rows"], task, "fastrnn"), word2vec_table.peer(words["rows"], task)
        if ours is None or theirs is None:
            raise ValueError(f"the results of Word2Vec lack {task}")
        lines.append([f"Word2Vec, {task}", "gensim", f"**{theirs / ours:.1f} ×** as fast", f"{ours:.1f} s an epoch"])
    errors = [error for layer in verified["results"] for error in layer["errors"]]
    share = max(error["fastrnn"] / error["allowed"] for error in errors)
    what = f"Largest error of {len(verified['results'])} layers"
    lines.append(
        [
            what,
            "what [is allowed](docs/benchmarks.md#accuracy), about twice torch.nn's",
            f"**{share:.0%}** of that",
            "every output and gradient",
        ]
    )
    machine = words["machine"]
    about = (
        f"Layers, means over their sizes on {THREADS} threads: {_markdown.about(layers['machine'])} Word2Vec, enwiki8: "
        f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, gensim {words['gensim']}."
    )
    return f"{_markdown.table(['', 'against', 'fastrnn', ''], lines)}\n\n{about}"


def digest(layers: dict[str, Any]) -> str:
    """Identifies the results that a picture was drawn from; it is stored in the picture."""
    return hashlib.sha256(json.dumps(layers, sort_keys=True).encode()).hexdigest()


def draw(layers: dict[str, Any], file: Path) -> None:
    """Draws each layer's speed relative to torch.nn, for inference and for training, into a PNG file."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharex=True, sharey=True, layout="constrained")
    for panel, mode in zip(axes, ("infer", "train"), strict=True):
        rows = rows_of(layers, mode)
        shapes = list(dict.fromkeys(tuple(row["shape"]) for row in rows))
        panel.axvline(1, color="black", linewidth=1)
        for cell, colour in COLOURS.items():
            chosen = [row for row in rows if row["cell"] == cell]
            places = [shapes.index(tuple(row["shape"])) for row in chosen]
            panel.plot([row["ratio_torch"] for row in chosen], places, "o", color=colour, label=cell, markersize=6)
        panel.set_title(MODES[mode], fontsize=11)
        panel.set_xlabel("times as fast as torch.nn")
        panel.set_xscale("log")
        panel.xaxis.set_major_locator(FixedLocator(TICKS))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        panel.set_yticks(range(len(shapes)), [f"T{T} B{B} H{H}" for T, B, _, H in shapes], fontsize=8)
        panel.set_ylim(len(shapes) - 0.5, -0.5)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("steps, batch, hidden size")
    axes[1].legend(frameon=False, fontsize=9)
    machine = layers["machine"]
    title = f"{machine['processor']}, {THREADS} threads, torch {machine['versions']['torch']}, {machine['date']}"
    figure.suptitle(title, fontsize=10)
    with replacing(file) as out:
        figure.savefig(out, format="png", dpi=110, metadata={"Source": digest(layers)})
    plt.close(figure)
