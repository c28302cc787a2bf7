"""Layers beside busy programs, and with more threads than cores.

    python -m bench.suites.busy_neighbour --json busy.json

Beside 0, 1 and 2 busy processes all contenders take turns at the same work on one thread and on all cores. With twice
as many threads, fastrnn is told that the machine has that many cores, as in a container with a quota of two cores on a
large machine. A time is the mean over all calls, unlike in other suites: here the slow calls matter. "worst" is the
slowest turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager

from fastrnn._bench.measure import Contender, serve
from fastrnn._bench.work import Shape, Work
from fastrnn._environment import machine
from fastrnn._saving import write_text

CORES = len(os.sched_getaffinity(0))
WORKS = [
    ("infer", "GRU", (100, 1, 256, 256)),
    ("infer", "LSTM", (100, 1, 128, 128)),
    ("infer", "LSTM", (128, 8, 128, 128)),
    ("infer", "LSTM", (128, 32, 512, 512)),
    ("infer", "LSTM", (1, 1, 256, 256)),
    ("train", "GRU", (100, 1, 256, 256)),
    ("train", "LSTM", (128, 8, 128, 128)),
]
CONTENDERS = [("fastrnn", 1), ("fastrnn", CORES), ("fastrnn", 2 * CORES), ("torch", 1), ("torch", CORES)]


def serve_on_more_cores(name, pipe):
    import fastrnn

    fastrnn._C.assume_cores(2 * CORES)
    serve(name, pipe)


@contextmanager
def busy_processes(count):
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def turns(contenders, works, rounds, block):
    """The mean milliseconds of a call in each of the rounds."""
    repeats = {key: max(1, round(block / contenders[key].prepare(works[key]))) for key in works}
    times = {key: [] for key in works}
    for _ in range(rounds):
        for key in works:
            time.sleep(0.02)  # the previous contender's threads may still spin
            times[key].append(1e3 * contenders[key].block(repeats[key], None))
    return times


def row(mode, cell, shape, busy, times):
    one = {name: statistics.mean(times[name, 1]) for name in ("fastrnn", "torch") if (name, 1) in times}
    return {
        "work": f"{mode} {cell} {Shape(*shape)}",
        "busy processes": busy,
        "times": [
            {
                "contender": name,
                "threads": threads,
                "mean": statistics.mean(t),
                "median": statistics.median(t),
                "worst": max(t),
                "of one thread": statistics.mean(t) / one[name],
            }
            for (name, threads), t in times.items()
        ],
    }


def markdown(found):
    """A line for each work and number of busy processes: milliseconds, and the ratio to one thread."""
    titles = [f"{t['contender']} {t['threads']}" for t in found["rows"][0]["times"]]
    lines = ["| work | busy | " + " | ".join(titles) + " |", "| :-- | --: |" + " --: |" * len(titles)]
    for r in found["rows"]:
        cells = [f"{t['mean']:.3g} ({t['of one thread']:.2f})" for t in r["times"]]
        lines.append(f"| {r['work']} | {r['busy processes']} | " + " | ".join(cells) + " |")
    of = found["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in of["versions"].items())
    return f"{of['processor']}, {of['cores']} cores, {of['date']}; {versions}. `{found['command']}`\n\n" + "\n".join(
        lines
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--block", type=float, default=0.05, help="seconds of a turn on a quiet machine")
    parser.add_argument("--busy", default="0,1,2", help="how many busy processes")
    parser.add_argument("--works", default="", help="numbers of the works to measure, all by default")
    parser.add_argument("--without-torch", action="store_true")
    options = parser.parse_args()
    chosen = [WORKS[int(i)] for i in options.works.split(",")] if options.works else WORKS
    keys = [key for key in CONTENDERS if not (options.without_torch and key[0] == "torch")]
    contenders = {key: Contender(key[0], serve_on_more_cores if key[1] > CORES else None) for key in keys}
    found = {
        "machine": machine(),
        "command": " ".join(["python -m bench.suites.busy_neighbour", *sys.argv[1:]]),
        "rows": [],
    }
    for busy in map(int, options.busy.split(",")):
        for mode, cell, shape in chosen:
            works = {key: Work(mode, cell, key[1], Shape(*shape)) for key in keys}
            with busy_processes(busy):
                measured = row(mode, cell, shape, busy, turns(contenders, works, options.rounds, options.block))
            found["rows"].append(measured)
            print(f"{measured['work']}, {busy} busy: ", end="")
            for t in measured["times"]:
                print(f"{t['contender']} {t['threads']}: {t['mean']:.3g} ({t['worst']:.3g})", end="  ", flush=True)
            print()
            if options.json:
                write_text(options.json, json.dumps(found, indent=1))
    for contender in contenders.values():
        contender.close()


if __name__ == "__main__":
    main()
