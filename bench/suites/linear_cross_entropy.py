"""The softmax loss of a vocabulary, forward and backward, against torch's: time in turns in one run, and peak memory.

    python -m bench.suites.linear_cross_entropy --json bench/results/NAME.json

A step computes the loss and the gradients of input and weight, in float32 on all cores. "linear, cross_entropy" are
torch's two functions, the other two are its linear_cross_entropy by default and with LinearCrossEntropyOptions(), which
cuts the rows into chunks. The first round does not count, except for contenders more than 20 times slower than fastrnn,
which run only once. Memory is the peak growth of a fresh process in two steps, without the gradients.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

import torch
from torch.nn import functional

from fastrnn._bench.memory import give_back_at_once, highest, resident
from fastrnn._environment import machine
from fastrnn._saving import write_text
from fastrnn.functional import linear_cross_entropy

SHAPES = [(700, 200, 10_000), (1024, 512, 33_000)]  # rows, features, classes


def torchs_in_chunks(input, weight, target):
    return functional.linear_cross_entropy(input, weight, target, options=torch.nn.LinearCrossEntropyOptions())


CONTENDERS = {
    "fastrnn": linear_cross_entropy,
    "linear, cross_entropy": lambda x, w, target: functional.cross_entropy(functional.linear(x, w), target),
}
if hasattr(functional, "linear_cross_entropy"):
    CONTENDERS["torch's linear_cross_entropy"] = functional.linear_cross_entropy
    CONTENDERS["the same in chunks"] = torchs_in_chunks


def operands(rows, features, classes):
    generator = torch.Generator().manual_seed(0)
    input = torch.randn(rows, features, generator=generator).requires_grad_()
    weight = (torch.randn(classes, features, generator=generator) / features**0.5).requires_grad_()
    return input, weight, torch.randint(classes, (rows,), generator=generator)


def step(function, input, weight, target):
    input.grad = weight.grad = None
    function(input, weight, target).backward()


def turns(names, shape, rounds):
    """Milliseconds of a step of every contender in each of the rounds."""
    given, times = operands(*shape), {name: [] for name in names}
    for number in range(rounds + 1):
        for name in names:
            if number and times[name][0] > 20 * times["fastrnn"][0]:
                continue
            time.sleep(0.02)  # the previous contender's threads may still spin
            begin = time.perf_counter()
            step(CONTENDERS[name], *given)
            times[name].append(1e3 * (time.perf_counter() - begin))
    return {name: of_name[1:] or of_name for name, of_name in times.items()}


def growth(name, shape):
    """The peak growth in bytes of this process, which should be fresh, in two steps, without the gradients."""
    give_back_at_once()
    step(CONTENDERS[name], *operands(2, 3, 4))
    given = operands(*shape)
    before = resident()
    for _ in range(2):
        step(CONTENDERS[name], *given)
    return highest() - before - sum(t.grad.nbytes for t in given[:2])


def in_a_process(name, shape):
    command = [sys.executable, __file__, "--memory", name, *map(str, shape)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def row(names, shape, rounds):
    times = turns(names, shape, rounds)
    logits = 4 * shape[0] * shape[2]
    flops = 6 * shape[0] * shape[1] * shape[2]
    own = statistics.median(times["fastrnn"])
    memory = {name: in_a_process(name, shape) for name in times}
    return {
        "rows": shape[0],
        "features": shape[1],
        "classes": shape[2],
        "contenders": [
            {
                "contender": name,
                "median": statistics.median(t),
                "times": t,
                "gflops": flops / statistics.median(t) / 1e6,
                "fastrnn is faster by": statistics.median(t) / own,
                "extra memory": memory[name],
                "of the logits": memory[name] / logits,
            }
            for name, t in times.items()
        ],
    }


def markdown(found):
    """A line for each shape and contender."""
    lines = ["| rows × features × classes | | ms | GFLOP/s | times fastrnn | extra memory, of the logits |",
             "| :-- | :-- | --: | --: | --: | --: |"]  # fmt: skip
    for r in found["rows"]:
        for c in r["contenders"]:
            shape = f"{r['rows']} × {r['features']} × {r['classes']}"
            lines.append(
                f"| {shape} | {c['contender']} | {c['median']:.1f} | {c['gflops']:.0f} | "
                f"{c['fastrnn is faster by']:.2f} | {c['extra memory'] / 2**20:.1f} MiB, {c['of the logits']:.3f} |"
            )
    of = found["machine"]
    versions = ", ".join(f"{name} {of['versions'][name]}" for name in ("python", "fastrnn", "torch"))
    return f"{of['processor']}, {of['cores']} cores, {of['date']}; {versions}. `{found['command']}`\n\n" + "\n".join(
        lines
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--without-chunks", action="store_true", help="not torch's chunks, which take minutes")
    parser.add_argument("--memory", nargs=4, metavar=("CONTENDER", "N", "H", "V"), help="bytes of one contender alone")
    options = parser.parse_args()
    if options.memory:
        print(growth(options.memory[0], tuple(map(int, options.memory[1:]))))
        return
    found = {
        "machine": machine(),
        "command": " ".join(["python -m bench.suites.linear_cross_entropy", *sys.argv[1:]]),
        "rows": [],
    }
    names = [name for name in CONTENDERS if not (options.without_chunks and "chunks" in name)]
    found["rows"] = [row(names, shape, options.rounds) for shape in SHAPES]
    print(markdown(found))
    if options.json:
        write_text(options.json, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
