"""Two builds of fastrnn against each other on the standard grid of layers, in turns, in one run.

    git worktree add ../old main && (cd ../old && python setup.py build_ext --inplace)
    python bench/suites/compare_builds.py ../old . --json comparison.json

OLD and NEW are source folders with built extensions. Each has a process of its own, and the two take turns of a few
calls, so that drift of the machine hits both. A ratio is the old time over the new one, above 1 where the new build is
faster: the median over pairs of turns. Turns are spread over several set-ups, as where the allocator puts things can
cost some per cent, and on one thread over the cores, one of which may have a busy neighbour.

Modes: "step" is one step through the module, T1 B1 H64, without autograd; "infer" and "train" run the grid.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

STEP = (1, 1, 64, 64)
SETUPS = 3


class Build:
    """A process that computes with the fastrnn of one folder."""

    def __init__(self, folder: Path) -> None:
        if not list(folder.glob("fastrnn/**/_C.*.so")):
            raise SystemExit(
                f"{folder} has no built extension. Type: cd {folder} && python setup.py build_ext --inplace"
            )
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), "worker"],
            env=os.environ | {"PYTHONPATH": str(folder)},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        found = Path(self.ask({})["folder"])
        if found.resolve() != folder.resolve():
            raise SystemExit(f"Expected fastrnn of {folder}, but the process imported that of {found}")

    def ask(self, request: dict) -> dict:
        assert self.process.stdin
        assert self.process.stdout
        print(json.dumps(request), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"The worker ended with exit code {self.process.wait()}")
        return json.loads(line)


def prepare(mode: str, cell: str, threads: int, shape: list[int]):
    import torch

    import fastrnn

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    times, batch, inputs, hidden = shape
    layer = getattr(fastrnn, cell)(inputs, hidden)
    x = torch.randn(times, batch, inputs)
    if mode == "step":
        state = layer(x)[1]
        state = tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()

        def run():
            with torch.no_grad():
                return layer(x, state)[0]

    elif mode == "infer":

        def run():
            with torch.inference_mode():
                return layer(x)[0]

    else:
        d_output = torch.randn(times, batch, hidden)
        x.requires_grad_()

        def run():
            layer.zero_grad(set_to_none=True)
            x.grad = None
            layer(x)[0].backward(d_output)
            return x.grad

    return run


def worker() -> None:
    """Reads requests, a JSON object a line: work to prepare, or a number of calls to time."""
    import fastrnn

    run = None
    for line in sys.stdin:
        request = json.loads(line)
        if "mode" in request:
            run = prepare(**request)
            result = run()
            for _ in range(2):
                run()
            start = time.perf_counter()
            run()
            answer = {"seconds": time.perf_counter() - start, "sum": result.double().sum().item()}
        elif "calls" in request:
            for thread in os.listdir("/proc/self/task"):
                os.sched_setaffinity(int(thread), request["cores"])
            run()
            start = time.perf_counter()
            for _ in range(request["calls"]):
                run()
            answer = {"seconds": (time.perf_counter() - start) / request["calls"]}
        else:
            answer = {"folder": str(Path(fastrnn.__file__).parents[1])}
        print(json.dumps(answer), flush=True)


def compare(builds: list[Build], work: dict, turns: int, block: float) -> dict:
    everywhere = sorted(os.sched_getaffinity(0))
    places = [[core] for core in everywhere] if work["threads"] == 1 else [everywhere]
    seconds: list[list[float]] = [[], []]
    for setup in range(SETUPS):
        prepared = [build.ask(work) for build in builds]
        if prepared[0]["sum"] != prepared[1]["sum"]:
            print(f"Caution: the two builds compute different numbers in {work}")
        calls = max(1, round(block / max(p["seconds"] for p in prepared)))  # the same for both
        for turn in range(max(1, turns // SETUPS)):
            for i in (0, 1) if (turn + setup) % 2 else (1, 0):
                time.sleep(0.01)  # threads of the other build may still be waiting for work
                asked = {"calls": calls, "cores": places[turn % len(places)]}
                seconds[i].append(builds[i].ask(asked)["seconds"])
    ratios = [old / new for old, new in zip(*seconds, strict=True)]
    least = [min(s) for s in seconds]
    return work | {
        "ratio": statistics.median(ratios),
        "of_least": least[0] / least[1],
        "old": least[0],
        "new": least[1],
    }


def summary(mode: str, rows: list[dict]) -> str:
    values = [row["ratio"] for row in rows]
    mean = math.exp(statistics.fmean(map(math.log, values)))
    worst = min(rows, key=lambda row: row["ratio"])
    below = sum(v < 0.95 for v in values)
    told = f"{mode}: geometric mean {mean:.3f}, {below} of {len(rows)} below 0.95"
    return f"{told}, worst {worst['ratio']:.3f}: {label(worst)}"


def label(row: dict) -> str:
    times, batch, inputs, hidden = row["shape"]
    return f"{row['mode']} {row['cell']} T{times} B{batch} I{inputs} H{hidden}, {row['threads']} threads"


def main() -> None:
    from fastrnn._bench.work import GRID, LAYERS, parse_shapes  # only here: the worker imports an older fastrnn

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--modes", default="step,infer,train")
    parser.add_argument("--cells", default=",".join(LAYERS))
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--shapes", help="TxBxIxH, separated by commas; default: the standard grid")
    parser.add_argument("--turns", type=int, default=18, help="of each build, for every row")
    parser.add_argument("--block", type=float, default=0.02, help="seconds of a turn")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    arguments = parser.parse_args()
    builds = [Build(arguments.old.absolute()), Build(arguments.new.absolute())]
    grid = parse_shapes(arguments.shapes) if arguments.shapes else GRID
    rows: list[dict] = []
    for mode in arguments.modes.split(","):
        threads = [1] if mode == "step" else [int(n) for n in arguments.threads.split(",")]
        works = product(threads, arguments.cells.split(","), [STEP] if mode == "step" else grid)
        turns = 10 * arguments.turns if mode == "step" else arguments.turns
        for count, cell, shape in works:
            work = {"mode": mode, "cell": cell, "threads": count, "shape": shape}
            row = compare(builds, work, turns, arguments.block)
            times = f"old {row['old'] * 1e3:.4g} ms, new {row['new'] * 1e3:.4g} ms"
            print(f"{label(row)}: ratio {row['ratio']:.3f} (of the least {row['of_least']:.3f}; {times})", flush=True)
            rows.append(row)
    print(*(summary(mode, [r for r in rows if r["mode"] == mode]) for mode in arguments.modes.split(",")), sep="\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    worker() if sys.argv[1:] == ["worker"] else main()
