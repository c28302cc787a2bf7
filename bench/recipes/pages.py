"""Puts the committed results of the recipes into docs/guide/results.md, and draws their curves.

    python bench/recipes/pages.py

Run it before committing new results; tests/train/test_recipes.py compares page and files.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")  # draws into files; needs no display
import matplotlib.pyplot as plt

from fastrnn._markdown import about, insert, table
from fastrnn._saving import replacing

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "bench" / "results" / "recipes"
PAGE, PICTURE = ROOT / "docs" / "guide" / "results.md", ROOT / "docs" / "guide" / "curves.png"
COLOURS = ("#d1495b", "#2e6f95")
PER_ROW = 3  # panels side by side
CURVES = ("perplexity", "accuracy", "exact", "f1", "loss")  # draws the first of these that validation measured


def results() -> list[dict[str, Any]]:
    """The committed results, by recipe and processor."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(RESULTS.glob("*.json"))]


def metric_of(result: dict[str, Any]) -> str:
    """The metric of a recipe."""
    return str((result["published"] or {}).get("metric") or (result["goal"] or {}).get("metric") or "loss")


def figure_of(result: dict[str, Any]) -> float | None:
    """The value of that metric, on the test data, or on the validation data if it is called valid_…"""
    metric = metric_of(result)
    figures = result["best"] if metric.startswith("valid_") else result["test"] or {}
    return figures.get(metric)


def markdown(found: list[dict[str, Any]]) -> str:
    """A table of all results, followed by the command and machine of each."""
    rows = []
    for each in found:
        figure = figure_of(each)
        shown = "–" if figure is None else f"**{figure:.4g}** {metric_of(each).replace('_', ' ')}"
        minutes = f"{each['seconds'] / 60:{'.1f' if each['seconds'] >= 60 else '.2f'}}"
        minutes += " shared" if shared(each) else ""
        rows.append([each["recipe"], shown, published(each), goal(each, figure), epochs(each), minutes])
    columns = ["recipe", "figure", "published", "goal", "epochs", "minutes"]
    return f"{table(columns, rows)}\n\n{machines(found)}".rstrip()


def shared(result: dict[str, Any]) -> bool:
    """Whether other programs used the cores during the run; True if that was not measured."""
    others = result["machine"].get("cores_of_others")
    return others is None or others > 0.1


def published(result: dict[str, Any]) -> str:
    given = result["published"]
    return f"{given['figure']:g} ({given['source']})" if given else "–"


def goal(result: dict[str, Any], figure: float | None) -> str:
    """The goal, and whether it was reached."""
    given = result["goal"]
    if not given:
        return "–"
    above = "at_least" in given
    limit = given["at_least" if above else "at_most"]
    within = figure is not None and (figure >= limit if above else figure <= limit)
    quick = result["seconds"] <= 60 * given.get("minutes", math.inf)
    time = f" in {given['minutes']:g} min" if "minutes" in given else ""
    return f"{'≥' if above else '≤'} {limit:g}{time}: {'reached' if within and quick else 'not reached'}"


def epochs(result: dict[str, Any]) -> str:
    planned, done = result["epochs"]["planned"], result["epochs"]["done"]
    if not planned:
        return "–"
    ends = {"epochs": "", "patience": ", no longer better", "interrupted": ", cut short", "nan": ", not finite"}
    return f"{done} of {planned}{ends[result['stopped']]}"


def machines(found: list[dict[str, Any]]) -> str:
    """One line for each result: the command, and the machine it ran on."""
    return "\n".join(
        f"- `{each['command']}`, seed {each['seed']}, {each['parameters']:,} parameters, {each['machine']['threads']} "
        f"threads: {about(each['machine'])}"
        for each in found
    )


def digest(found: list[dict[str, Any]]) -> str:
    """Identifies the results that a picture was drawn from; it is stored in the picture."""
    return hashlib.sha256(json.dumps(found, sort_keys=True).encode()).hexdigest()


def draw(found: list[dict[str, Any]], file: Path) -> None:
    """Draws the validation metric over epochs for each recipe."""
    curves = [each for each in found if each["history"]]
    rows = max(1, math.ceil(len(curves) / PER_ROW))
    figure, axes = plt.subplots(rows, PER_ROW, figsize=(10, 2.8 * rows), layout="constrained", squeeze=False)
    for panel in axes.flat[len(curves) :]:
        panel.set_axis_off()
    for panel, each in zip(axes.flat, curves, strict=False):
        names = [metric_of(each).removeprefix("valid_"), *CURVES]
        metric = next((name for name in names if f"valid_{name}" in each["history"][0]), None)
        key = f"valid_{metric}" if metric else "train_loss"
        points = [(row["epoch"], row[key]) for row in each["history"] if row.get(key) is not None]
        panel.plot(*zip(*points, strict=True), color=COLOURS[0], marker=".", label=key.replace("_", " "))
        if each["published"] and metric == names[0]:
            panel.axhline(each["published"]["figure"], color=COLOURS[1], linestyle="--", linewidth=1, label="published")
        if metric == "perplexity":
            panel.set_yscale("log")
        panel.set_title(each["recipe"], fontsize=10)
        panel.set_xlabel("epoch", fontsize=8)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.25)
        panel.spines[["top", "right"]].set_visible(False)
        panel.legend(frameon=False, fontsize=7)
    with replacing(file) as out:
        figure.savefig(out, format="png", dpi=110, metadata={"Source": digest(found)})
    plt.close(figure)


def main() -> None:
    found = results()
    insert(markdown(found), "recipes", PAGE)
    draw(found, PICTURE)


if __name__ == "__main__":
    main()
