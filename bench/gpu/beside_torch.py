"""What a user gets: layers as they run by default beside torch.nn, whole calls of two lengths.

    python -m bench.gpu.beside_torch [--out out/beside_torch.jsonl] [--budget 90] [--kernels torch,fastest,step]
    python -m bench.gpu.beside_torch --render out/beside_torch.jsonl

Inference ("infer") and a training step's forward and backward passes ("train"), milliseconds of 512 steps as the median
of seven or five calls after two, and microseconds a step from the difference to 128 steps. A line of JSON a row; what
no team of blocks fits is not measured under "fastest", since torch's operator runs there.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path

import torch

from bench.gpu import processes
from bench.gpu.layers import Layer

LENGTHS = (128, 512)
# dtype, cell, H, B: bfloat16 by size, then what cuDNN does best, then the other cells.
SIZES = (
    *(("bfloat16", "LSTM", H, B) for H in (128, 256, 512, 1024) for B in (1, 32, 128)),
    *(("float16", "LSTM", H, 32) for H in (128, 192, 256, 512, 1024)),
    *(("tf32", "LSTM", H, 32) for H in (128, 256, 512)),
    *(("bfloat16", "GRU", H, 32) for H in (256, 512, 1024)),
    *(("bfloat16", "RNN", 512, 32), ("float16", "LSTM", 256, 128), ("float16", "LSTM", 512, 1)),
    *(("float16", "GRU", 512, 32), ("tf32", "GRU", 256, 32), ("float16", "LSTM", 512, 128)),
    *(("bfloat16", "LSTM", 768, 32), ("bfloat16", "LSTM", 64, 32), ("bfloat16", "LSTM", 256, 256)),
    *(
        ("bfloat16", "LSTM", 512, 64),
        ("float16", "GRU", 192, 32),
        ("tf32", "LSTM", 192, 32),
        ("float16", "LSTM", 64, 32),
    ),
)


def measure(layer: Layer) -> processes.Found:
    teams = [layer.team("cuda", backward) for backward in (False, True)]
    if [] in teams and layer.kernel != "step":
        return {"status": "no team"}
    found: processes.Found = {"status": "measured", "teams": teams}
    module = layer.drawn("cuda", layer.torch_dtype)
    module.flatten_parameters()  # else torch.nn's operator copies the weights at every call
    input = torch.randn(LENGTHS[-1], layer.B, layer.I, device="cuda", dtype=layer.torch_dtype)

    def infer(x: torch.Tensor) -> None:
        with torch.no_grad():
            module(x)

    def train(x: torch.Tensor) -> None:
        x = x.detach().requires_grad_()
        y, _ = module(x)
        torch.autograd.grad(y, [x, *module.parameters()], torch.ones_like(y))

    with layer.kernel_asked_for("cuda"):
        for name, run, turns in (("infer", infer, 7), ("train", train, 5)):
            short, long = (median(lambda run=run, T=T: run(input[:T]), turns) for T in LENGTHS)
            found[name] = {"ms": long, "us a step": 1e3 * (long - short) / (LENGTHS[1] - LENGTHS[0])}
    return found


def median(run: Callable[[], None], turns: int) -> float:
    """Returns the milliseconds of a call, by the GPU's clock."""
    times = []
    for _ in range(2 + turns):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[2:])


def markdown(found: Sequence[processes.Found]) -> str:
    lines = [
        "| cell | dtype | H | B | torch.nn, ms | fastrnn, ms | times as fast | blocks |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for key, same in groupby(found, key=lambda row: (row["cell"], row["dtype"], row["H"], row["B"])):
        by = {row["kernel"]: row for row in same}
        peer, own = by["torch"], by.get("fastest", {})
        passes = ("infer", "train")
        times = [" / ".join(f"{row[name]['ms']:.2f}" for name in passes if name in row) or "–" for row in (peer, own)]
        ratio = " / ".join(f"{peer[name]['ms'] / own[name]['ms']:.1f}" for name in passes if name in own) or "–"
        blocks = f"{own['teams'][0][0]} × {own['teams'][0][1]} rows" if own.get("teams") else "–"
        lines.append(f"| {' | '.join(map(str, (*key, *times, ratio, blocks)))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/beside_torch.jsonl"))
    parser.add_argument("--budget", type=float, default=90, help="seconds after which no other row is begun")
    parser.add_argument("--kernels", default="torch,fastest,step")
    parser.add_argument("--render", type=Path, help="measure nothing; print this file as Markdown")
    given = parser.parse_args(arguments)
    if given.render:
        print(markdown(processes.read(given.render)))
        return 0
    given.out.unlink(missing_ok=True)
    measure(Layer("torch", "LSTM", "bfloat16", LENGTHS[-1], 1, 128, 128))  # loads libraries and kernels
    start = time.monotonic()
    for dtype, cell, H, B in SIZES:
        if time.monotonic() - start > given.budget:
            break
        for kernel in given.kernels.split(","):
            layer = Layer(kernel, cell, dtype, LENGTHS[-1], B, H, H)
            processes.append(given.out, layer._asdict() | measure(layer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
