"""How long does a step take? Every kernel of fastrnn's and torch.nn, over hidden sizes, batches and dtypes.

    python -m bench.gpu.sweep [--out out/sweep.jsonl] [--budget 85] [--device cuda]
    python -m bench.gpu.sweep --render out/sweep.jsonl

Inference ("forward") and the gradients alone ("backward"), at two lengths. The difference gives the microseconds of a
step, what is left the microseconds of a call: the weights brought onto the chip, the host's start. "host" is how long
the host is busy with a step while the GPU has nothing else to do: where it is as long as the step, the GPU waits.
A kernel that no team fits would go step by step: it is recorded as "fell back" and not measured. JSON after every row;
what matters most comes first, so that the budget cuts off the rest.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, product
from pathlib import Path

import torch

from bench.gpu import processes
from bench.gpu.layers import Layer

KERNELS = ("torch", "step", "cluster", "grid", "block")
CELLS = ("LSTM", "GRU", "RNN")
DTYPES = ("bfloat16", "float16", "tf32")
HIDDEN = (64, 128, 192, 256, 384, 512, 768, 1024)
BATCHES = (1, 8, 32, 64, 128, 256)
# Those that tell most: gated cells, at one row, at a batch of training and at a large one.
FIRST = (("LSTM", "GRU"), DTYPES, (128, 256, 512, 1024), (1, 32, 128))
MOST_OF_BLOCK = 192  # hidden units; the weights of more do not fit one block
LENGTHS = (128, 512)
WARM_UP, TURNS = 2, 5
LIMIT = 20  # seconds of a row
PASSES = ("forward", "backward")


def rows() -> Iterator[Layer]:
    """Yields all layers, those that are compared next to each other; T is the longer of the lengths."""
    for cell, dtype, H, B in dict.fromkeys((*product(*FIRST), *product(CELLS, DTYPES, HIDDEN, BATCHES))):
        for kernel in KERNELS:
            if kernel != "block" or H <= MOST_OF_BLOCK:
                yield Layer(kernel, cell, dtype, LENGTHS[-1], B, H, H)


def measure(layer: Layer, device: str, lengths: Sequence[int] = LENGTHS) -> processes.Found:
    """Measures the passes that a kernel runs itself; each has microseconds "step", "call" and, of a step, "host"."""
    teams = {name: layer.team(device, name == "backward") for name in PASSES}
    found: processes.Found = {"status": "measured"} | {f"{name}_team": team for name, team in teams.items()}
    serves = [name for name in PASSES if layer.kernel == "step" or teams[name] != []]
    found |= {name: "fell back" for name in PASSES if name not in serves}
    if not serves:
        return found
    # Made once and where they run: drawn on the CPU they would take longer than the calls.
    module, clock = layer.drawn(device, layer.torch_dtype), Clock(device)
    input = torch.randn(lengths[-1], layer.B, layer.I, device=device, dtype=layer.torch_dtype)
    for name in serves:
        with layer.kernel_asked_for(device):
            short, long = (of_length(module, input[:T], name, clock) for T in lengths)
        step = (long["seconds"] - short["seconds"]) / (lengths[1] - lengths[0])
        found[name] = {
            "step": 1e6 * step,
            "call": 1e6 * (short["seconds"] - lengths[0] * step),
            "host": 1e6 * (long["host"] - short["host"]) / (lengths[1] - lengths[0]),
            "seconds": {str(T): each["seconds"] for T, each in zip(lengths, (short, long), strict=True)},
        }
    return found


class Clock:
    """Times a call by the GPU's clock, or by the CPU's where `device` is that."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"

    def synchronize(self) -> None:
        if self.on_gpu:
            torch.cuda.synchronize()

    def turn(self, run: Callable[[], object]) -> tuple[float, float]:
        """Returns the seconds that a call takes, and those after which the host is free again."""
        self.synchronize()
        if not self.on_gpu:
            start = time.perf_counter()
            run()
            return (time.perf_counter() - start,) * 2
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start = time.perf_counter()
        begin.record()
        run()
        end.record()
        host = time.perf_counter() - start
        end.synchronize()
        return begin.elapsed_time(end) / 1e3, host


def of_length(module: torch.nn.Module, input: torch.Tensor, name: str, clock: Clock) -> dict[str, float]:
    """Returns the medians of several calls of one pass."""
    run = forward(module, input) if name == "forward" else backward(module, input)
    seconds, host = zip(*[clock.turn(run) for _ in range(WARM_UP + TURNS)][WARM_UP:], strict=True)
    return {"seconds": statistics.median(seconds), "host": statistics.median(host)}


def forward(module: torch.nn.Module, input: torch.Tensor) -> Callable[[], object]:
    """Returns a call at inference."""

    def run() -> object:
        with torch.no_grad():
            return module(input)

    return run


def backward(module: torch.nn.Module, input: torch.Tensor) -> Callable[[], object]:
    """Returns a call of the gradients alone, of one pass forward."""
    leaf = input.detach().requires_grad_()
    output, _ = module(leaf)
    wanted, incoming = [leaf, *module.parameters()], torch.ones_like(output)
    return lambda: torch.autograd.grad(output, wanted, incoming, retain_graph=True)


def markdown(found: Sequence[processes.Found]) -> str:
    """Returns a table for each dtype and cell: microseconds of a step forward / backward, by kernel."""
    parts = []
    order = [CELLS.index, DTYPES.index, int, int]
    names = ("cell", "dtype", "H", "B")
    found = sorted(found, key=lambda row: [of(row[name]) for of, name in zip(order, names, strict=True)])
    for (dtype, cell), several in groupby(found, key=lambda row: (row["dtype"], row["cell"])):
        lines = [
            f"### {cell}, {dtype}: µs a step, forward / backward",
            "",
            f"| H | B | {' | '.join(KERNELS)} | blocks |",
            "|--:|--:|" + "--:|" * (len(KERNELS) + 1),
        ]
        for (H, B), same in groupby(several, key=lambda row: (row["H"], row["B"])):
            by_kernel = {row["kernel"]: row for row in same}
            cells = [" / ".join(shown(by_kernel.get(kernel, {}), name) for name in PASSES) for kernel in KERNELS]
            teams = [by_kernel.get(kernel, {}).get("forward_team") for kernel in ("cluster", "grid")]
            lines.append(f"| {H} | {B} | {' | '.join(cells)} | {', '.join(str(t[0]) if t else '–' for t in teams)} |")
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def shown(row: processes.Found, name: str) -> str:
    value = row.get(name, row.get("status", ""))
    return f"{value['step']:.2f}" if isinstance(value, dict) else {"fell back": "–"}.get(value, value)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/sweep.jsonl"))
    parser.add_argument("--budget", type=float, default=85, help="seconds after which no other row is begun")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--render", type=Path, help="measure nothing; print this file as Markdown")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        processes.serve(lambda row: measure(Layer(*row), given.device))
        return 0
    if given.render:
        print(markdown(processes.read(given.render)))
        return 0
    given.out.unlink(missing_ok=True)
    command = processes.worker("bench.gpu.sweep", "--device", given.device)
    return sweep(list(rows()), command, given.out, given.budget)


def sweep(chosen: Sequence[Layer], command: Sequence[str], out: Path, budget: float) -> int:
    """Measures row by row into a file; returns 1 if any was lost."""
    start, lost = time.monotonic(), 0
    results = processes.results(command, chosen, LIMIT)
    done = 0
    for layer, found in zip(chosen, results, strict=False):
        done += 1
        processes.append(out, layer._asdict() | found)
        lost += found["status"] != "measured"
        if found["status"] != "measured":
            print(f"{layer}: {found}", flush=True)
        if time.monotonic() - start > budget:
            break
    results.close()  # ends the worker
    print(f"{done} of {len(chosen)} rows, {lost} lost, {time.monotonic() - start:.0f} s")
    return int(lost > 0)


if __name__ == "__main__":
    sys.exit(main())
