"""Times of several contenders in one process, taken in turns, so that a change in speed affects all alike."""

import importlib.metadata
import shlex
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

from fastrnn._environment import machine

PAUSE = 0.01  # seconds; threads of the previous contender may still spin
WARM_UP = 2


def turns(runs: Mapping[str, Callable[[], Any]], rounds: int, block: float) -> dict[str, list[float]]:
    """The milliseconds that a call of each contender takes, one mean for each round. ``block``: seconds of a turn.

    Every other round goes the other way round: whoever comes after a loop in Python finds caches and memory as that
    has left them.
    """
    repeats = {}
    for name, run in runs.items():
        for _ in range(WARM_UP):
            run()
        repeats[name] = max(1, round(block / seconds(run, 1)))
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: -1 if number % 2 else 1]:
            time.sleep(PAUSE)
            times[name].append(1e3 * seconds(runs[name], repeats[name]))
    return times


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The mean seconds of some calls."""
    begin = time.perf_counter()
    for _ in range(repeats):
        run()
    return (time.perf_counter() - begin) / repeats


def medians(times: Mapping[str, list[float]]) -> dict[str, float]:
    return {name: median(of_name) for name, of_name in times.items()}


def heading(module: str, *packages: str) -> dict[str, Any]:
    """What a file of results begins with: the machine, with the versions of further packages, and the command."""
    described = machine()
    described["versions"] |= {name: importlib.metadata.version(name) for name in packages}
    return {"machine": described, "command": shlex.join(["python", "-m", module, *sys.argv[1:]])}
