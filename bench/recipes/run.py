"""Trains a recipe and records the result beside the published one; README.md describes recipes.

    python bench/recipes/run.py ptb-small --data DATA [--minutes 60] [--threads 2] [--out out/recipes]

A run that --minutes or Ctrl-C ends is recorded too, with its number of epochs. --resume continues one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from fastrnn._environment import machine
from fastrnn._saving import write_text
from fastrnn.train import tasks
from fastrnn.train.tasks.config import BESIDE, read_toml

FOLDER = Path(__file__).parent
RESULTS = FOLDER.parent / "results" / "recipes"


def recipe(name: str) -> dict[str, Any]:
    """The contents of a recipe's file; raises ValueError with the known recipes."""
    file = FOLDER / f"{name}.toml"
    if not file.exists():
        names = sorted(each.stem for each in FOLDER.glob("*.toml"))
        raise ValueError(f"there is no recipe {name!r}. Recipes: {', '.join(names)}")
    return read_toml(file)


def settings_of(found: dict[str, Any], data: Path | None, smoke: bool = False) -> dict[str, Any]:
    """The settings of a recipe, with its data in a folder of data sets."""
    settings = {key: value for key, value in found.items() if key not in BESIDE}
    settings |= found.get("smoke", {}) if smoke else {}
    if "data" in settings:
        if data is None:
            raise ValueError(f"the recipe learns from {settings['data']}. Give the folder of data sets: --data")
        settings["data"] = str(data / settings["data"])
    return settings


def busy_seconds() -> float | None:
    """Busy seconds of all cores since the start of the machine, as Linux reports them."""
    try:
        user, nice, system = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:4]
    except OSError:
        return None
    return (int(user) + int(nice) + int(system)) / os.sysconf("SC_CLK_TCK")


class Neighbours:
    """The number of cores that other programs keep busy, since minutes measured beside them are too long."""

    def __init__(self) -> None:
        self.start, self.busy, self.own = time.perf_counter(), busy_seconds(), time.process_time()

    def cores(self) -> float | None:
        busy, own = busy_seconds(), time.process_time() - self.own
        if busy is None or self.busy is None:
            return None
        return round(max(0.0, busy - self.busy - own) / (time.perf_counter() - self.start), 2)


def record(name: str, found: dict[str, Any], run: tasks.Run, command: str, others: float | None) -> dict[str, Any]:
    """The record of a run; ``others`` is the number of cores that other programs kept busy."""
    result = run.result
    return {
        "recipe": name,
        "task": run.task.name,
        "command": command,
        "seed": run.settings.seed,
        "settings": {key: value for key, value in vars(run.settings).items() if key != "data"},
        "machine": machine() | {"threads": torch.get_num_threads(), "cores_of_others": others},
        "parameters": parameters(run.model),
        "seconds": round(result.seconds if result else run.seconds, 1),
        "epochs": {"planned": getattr(run.settings, "epochs", 0), "done": epochs_done(result)},
        "stopped": result.stopped if result else "counted",
        "history": result.history if result else [],
        "best": result.best if result else {},
        "test": run.test,
        "published": found.get("published"),
        "goal": found.get("goal"),
    }


@contextlib.contextmanager
def limited(minutes: float | None) -> Iterator[None]:
    """Stop fit after this many minutes, as SIGTERM does. The evaluation and the report still run."""
    if minutes is None:
        yield
        return
    over = threading.Event()

    def ask() -> None:
        over.wait(minutes * 60)
        while not over.wait(0.1):  # repeatedly, since fit may not have started
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield
    finally:
        over.set()
        asking.join()
        signal.signal(signal.SIGTERM, before)


def command_of(given: argparse.Namespace) -> str:
    """The command that runs it again, without the folders of this machine."""
    parts = ["python bench/recipes/run.py", given.name, *(["--data DATA"] if given.data else [])]
    parts += [f"--{name} {getattr(given, name):g}" for name in ("threads", "minutes") if getattr(given, name)]
    return " ".join(parts)


def epochs_done(result: Any) -> int:
    """Complete epochs: the last may have been interrupted."""
    return sum(not row.get("partial") for row in result.history) if result else 0


def parameters(model: Any) -> int:
    """The number of parameters; models that count have their own number."""
    found = getattr(model, "parameters_count", None)
    return sum(each.numel() for each in model.parameters()) if found is None else int(found)


def file_of(name: str, processor: str) -> Path:
    """The file of the results of a recipe on a processor."""
    slug = re.sub(r"\((?:r|tm)\)|\b(?:cpu|processor|\d+-core)\b", " ", processor.lower())
    return RESULTS / f"{name}-{'-'.join(re.findall(r'[a-z0-9.]+', slug))}.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="a recipe: NAME of bench/recipes/NAME.toml")
    parser.add_argument("--data", type=Path, help="folder of the data sets")
    parser.add_argument("--out", type=Path, default=Path("out/recipes"), help="folder for the runs")
    parser.add_argument("--threads", type=int, help="threads of torch; by default one per core")
    parser.add_argument("--minutes", type=float, help="time limit for training; saves and evaluates as Ctrl-C does")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--overwrite", action="store_true", help="replace the run in --out")
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    neighbours = Neighbours()
    try:
        found = recipe(given.name)
        with limited(given.minutes):
            run = tasks.train(
                found["task"],
                out=given.out / given.name,
                resume=given.resume,
                overwrite=given.overwrite,
                progress=True,
                **settings_of(found, given.data),
            )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    kept = record(given.name, found, run, command_of(given), neighbours.cores())
    file = file_of(given.name, kept["machine"]["processor"])
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(kept, indent=1) + "\n")
    print(f"{kept['test']}\nrecorded in {file}")


if __name__ == "__main__":
    main()
