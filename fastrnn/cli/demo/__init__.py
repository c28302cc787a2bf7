"""What `fastrnn demo` runs: verify, a short benchmark, a character language model, and sums."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from fastrnn import _verify
from fastrnn._bench.plot import plot
from fastrnn._bench.work import LAYERS, MODES, Shape, Work
from fastrnn.cli import terminal
from fastrnn.cli.demo.baselines import baselines
from fastrnn.cli.demo.report import Trained, write_report
from fastrnn.cli.demo.step import seconds_per_step
from fastrnn.train import tasks

SHAPES = (Shape(1, 1, 64, 64), Shape(100, 1, 256, 256), Shape(35, 20, 200, 200))
CHARACTERS: dict[str, Any] = {"hidden": 256, "steps": 64, "batch": 32}
SUMS: dict[str, Any] = {"digits": 2, "count": 5000, "epochs": 40, "batch": 32}
PROMPT, SUM = "The ", "47+85"


def run(out: Path, epochs: int, console: Console) -> bool:
    """Runs everything and writes report.md, speed.png and two runs into a folder; returns whether verify passed."""
    out.mkdir(parents=True, exist_ok=True)
    console.rule("Numbers")
    verified = terminal.run_verify(console, _verify.all_cases(quick=True))
    console.rule("Speed")
    threads = torch.get_num_threads()
    works = [Work(mode, cell, threads, shape) for mode in MODES for cell in LAYERS for shape in SHAPES]
    results = terminal.run_bench(console, works, rounds=6, command="fastrnn demo")
    plot(results, out / "speed.png")
    console.rule("A character language model")
    characters = train("chars", out / "characters", epochs=epochs, **CHARACTERS)
    console.print("\nA sample:\n", style="bold")
    sample = characters.generate(PROMPT, length=600, temperature=0.7, seed=0)
    console.print(f"{sample}\n", highlight=False)
    console.rule("Sums")
    sums = train("addition", out / "sums", **SUMS)
    answer = f"{SUM} = {sums.generate(SUM)}"
    console.print(f"{answer}\n", highlight=False)
    trained = Trained(characters, sample, baselines(characters), seconds_per_step(characters), sums, answer)
    write_report(out, verified, results, trained)
    console.print(
        f"{out / 'report.md'} has all results; speed.png and the models in characters/ and sums/ are beside it."
    )
    return all(result.passed for result in verified)


def train(task: str, folder: Path, **settings: Any) -> tasks.Run:
    return tasks.train(task, out=folder, overwrite=True, progress=True, **settings)
