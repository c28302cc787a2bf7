"""What each option of a layer costs, and how much faster it is than what one does without fastrnn, in turns in one run.

    python -m bench.suites.features --json bench/results/NAME.json [--only lengths,resets] [--device cuda]

A row of the table below names an option, who takes part (feature_contenders.py, mask_contenders.py and
derivative_contenders.py), and the goals. Times are medians over rounds, of training steps: forward, and backward to
input and weights. Of a stream it is a step at inference, of forward mode output and derivative. All is float32. Before
they are timed, the layer with the option and the other way are compared, where they draw no masks. On CUDA a call
includes the wait for its end, and there are no goals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import torch

from bench.suites import derivative_contenders as derivatives
from bench.suites import feature_contenders as contenders
from bench.suites import mask_contenders as masks
from bench.suites.feature_contenders import Contenders
from bench.turns import heading, medians, turns
from fastrnn import _markdown
from fastrnn._bench.work import Shape
from fastrnn._core import gpu
from fastrnn._saving import write_text

COMPARED = 10  # steps
NOT_ON_CUDA = ("stream", "forward mode")  # the CPU's alone; torch's cell there has no forward mode to compare with
FIGURES = {  # what a goal may be about, of the milliseconds of the three
    "cost": lambda ms: ms["option"] / ms["plain"],
    "faster": lambda ms: ms["other"] / ms["option"],
    "µs": lambda ms: 1e3 * ms["option"],
}


class Goal(NamedTuple):
    """A limit for one figure: the least for "faster", the most for "cost" and "µs"."""

    figure: str
    limit: float

    def __str__(self) -> str:
        return {"cost": "cost ≤ {:g}", "faster": "≥ {:g} × as fast", "µs": "≤ {:g} µs"}[self.figure].format(self.limit)

    def is_met(self, milliseconds: dict[str, float]) -> bool:
        found = FIGURES[self.figure](milliseconds)
        return found >= self.limit if self.figure == "faster" else found <= self.limit


class Row(NamedTuple):
    option: str
    make: Callable[[str, Shape], Contenders]
    cell: str
    shape: Shape
    other: str  # what the third contender is
    goals: Sequence[Goal] = ()
    random: bool = False  # masks are drawn, so that results differ
    inference: bool = False


RAGGED = Shape(200, 32, 128, 256)
ROLLOUT, LARGE_ROLLOUT = Shape(128, 8, 64, 64), Shape(128, 32, 64, 256)
SINGLE, SMALL, MIDDLE, TEXT = (
    Shape(100, 1, 128, 128),
    Shape(35, 20, 200, 200),
    Shape(100, 32, 256, 256),
    Shape(70, 20, 400, 400),
)
CHEAP = (Goal("cost", 1.1),)
NORMED = (Goal("cost", 1.4), Goal("faster", 5))
SAMPLES = Shape(50, 64, 64, 64)
WIDE, BLOCKS = Shape(128, 32, 64, 512), "torch.nn, whole matrices"
STEPS, LOOP = "torch.nn, a call for each step", "torch.nn, a cell for each step"
ROWS = (
    Row("lengths", contenders.lengths, "LSTM", RAGGED, "torch.nn, packed", (Goal("faster", 5),)),
    Row("lengths", contenders.lengths, "GRU", RAGGED, "torch.nn, packed", (Goal("faster", 5),)),
    Row("nested tensors", contenders.nested, "LSTM", RAGGED, "torch.nn, packed"),
    Row("resets", contenders.resets, "LSTM", ROLLOUT, STEPS, (*CHEAP, Goal("faster", 5))),
    Row("resets", contenders.resets_by_cell, "LSTM", ROLLOUT, LOOP, (*CHEAP, Goal("faster", 5))),
    Row("resets", contenders.resets, "GRU", ROLLOUT, STEPS, (*CHEAP, Goal("faster", 5))),
    Row("resets", contenders.resets_by_cell, "GRU", ROLLOUT, LOOP, (*CHEAP, Goal("faster", 5))),
    Row("resets", contenders.resets_by_cell, "LSTM", LARGE_ROLLOUT, LOOP, (*CHEAP, Goal("faster", 5))),
    Row("resets", contenders.resets_by_cell, "GRU", LARGE_ROLLOUT, LOOP, (*CHEAP, Goal("faster", 5))),
    Row("every state", contenders.every_state, "LSTM", MIDDLE, LOOP),
    Row("every state", contenders.every_state, "GRU", MIDDLE, LOOP),
    Row("learned initial state", contenders.learned_state, "LSTM", MIDDLE, "torch.nn, hx expanded"),
    Row("hidden size per layer", contenders.hidden_sizes, "LSTM", MIDDLE, "torch.nn, a module for each layer"),
    Row("layer norm", contenders.layer_norms, "LSTM", SINGLE, "a loop in Python", NORMED),
    Row("layer norm", contenders.layer_norms, "GRU", SINGLE, "a loop in Python", NORMED),
    Row("layer norm", contenders.layer_norms, "LSTM", SMALL, "a loop in Python", NORMED),
    Row("layer norm", contenders.layer_norms, "GRU", SMALL, "a loop in Python", NORMED),
    Row("layer norm", contenders.layer_norms, "LSTM", MIDDLE, "a loop in Python", NORMED),
    Row("layer norm", contenders.layer_norms, "GRU", MIDDLE, "a loop in Python", NORMED),
    Row("layer norm with masks", masks.regularized_layer_norm, "LSTM", SMALL, "a loop in Python", random=True),
    Row("layer norm with masks", masks.regularized_layer_norm, "LSTM", MIDDLE, "a loop in Python", random=True),
    Row("heads", contenders.heads, "LSTM", WIDE, BLOCKS, (Goal("cost", 0.4),)),
    Row("heads", contenders.heads, "GRU", WIDE, BLOCKS, (Goal("cost", 0.4),)),
    Row("heads", contenders.heads, "LSTM", WIDE._replace(I=512), BLOCKS),
    Row("weight dropout", masks.weight_dropout, "LSTM", TEXT, "torch.nn, dropped weights", CHEAP, random=True),
    Row("locked dropout of the input", masks.locked_dropout, "LSTM", TEXT, "torch.nn, a mask", CHEAP, random=True),
    Row("recurrent dropout", masks.recurrent_dropout, "LSTM", SMALL, LOOP, CHEAP, random=True),
    Row("recurrent dropout", masks.recurrent_dropout, "LSTM", MIDDLE, LOOP, CHEAP, random=True),
    Row("recurrent dropout", masks.recurrent_dropout, "GRU", MIDDLE, LOOP, CHEAP, random=True),
    Row("zoneout", masks.zoneout, "LSTM", SMALL, LOOP, random=True),
    Row("zoneout", masks.zoneout, "LSTM", MIDDLE, LOOP, random=True),
    Row("zoneout", masks.zoneout, "GRU", MIDDLE, LOOP, random=True),
    Row("AWD-LSTM's dropouts in 3 layers", masks.awd_lstm, "LSTM", TEXT, "torch.nn, both", CHEAP, random=True),
    Row("per-sample gradients", derivatives.per_sample_gradients, "LSTM", SAMPLES, "torch.nn, one by one"),
    Row("forward mode", derivatives.forward_mode, "LSTM", SAMPLES, LOOP),
    Row("second derivatives", derivatives.second_derivatives, "LSTM", SAMPLES, LOOP),
    *(
        Row(
            "stream", contenders.stream, cell, Shape(1, 1, 64, 64), "torch.nn, a step", (Goal("µs", 5),), inference=True
        )
        for cell in ("LSTM", "GRU")
    ),
)


def measure(row: Row, rounds: int, block: float, device: str = "cpu") -> dict[str, Any]:
    """The times of a row.

    Raises:
        ArithmeticError: the layer with the option and the other way differ.
    """
    with torch.inference_mode() if row.inference else nullcontext():
        if not row.random:
            compare(row, device)
        with torch.device(device):
            made = row.make(row.cell, row.shape)._asdict()
        waited = {name: waiting_for(run, device) for name, run in made.items()}
        times = turns(waited, rounds, block)
    return {
        "option": row.option,
        "cell": row.cell,
        "shape": list(row.shape),
        "other": row.other,
        "milliseconds": medians(times),
        "least": {name: min(of_name) for name, of_name in times.items()},
        "goals": [list(goal) for goal in row.goals] if device == "cpu" else [],
    }


def waiting_for(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """The function, and on a GPU the wait until what it has asked for is done."""
    if device == "cpu":
        return run

    def waits() -> None:
        run()
        torch.cuda.synchronize()

    return waits


def compare(row: Row, device: str = "cpu") -> None:
    """Raise ArithmeticError unless the first and the third contender compute the same, up to rounding.

    Over a few steps, because rounding grows from step to step: over a hundred that of a layer normalization to 1e-3.
    """
    with torch.device(device):
        made = row.make(row.cell, row.shape._replace(T=min(row.shape.T, COMPARED)))
    with gpu.tf32(False):
        both = zip(made.option(), made.other(), strict=True)
    for found, expected in both:
        error = float((found - expected).norm() / expected.norm())
        if not error < 1e-3:  # so that a NaN fails too
            raise ArithmeticError(f"{row.option}, {row.cell}: differs from {row.other}, relative error {error:.1e}")


def markdown(found: dict[str, Any]) -> str:
    """A line for each row; a figure that misses its goal is bold."""
    columns = ["option", "cell", "T", "B", "I", "H", "with it, ms", "plain, ms", "cost"]
    columns += ["without fastrnn", "ms", "× as fast", "goal"]
    lines = []
    for row in found["rows"]:
        ms, goals = row["milliseconds"], [Goal(*goal) for goal in row["goals"]]
        missed = {goal.figure for goal in goals if not goal.is_met(ms)}
        shown = {"µs": f"{ms['option']:.3g}"} | {name: f"{FIGURES[name](ms):.2f}" for name in ("cost", "faster")}
        shown |= {name: f"**{shown[name]}**" for name in missed}
        lines.append(
            [
                *(row["option"], row["cell"], *map(str, row["shape"])),
                *(shown["µs"], f"{ms['plain']:.3g}", shown["cost"]),
                *(row["other"], f"{ms['other']:.3g}", shown["faster"], ", ".join(map(str, goals))),
            ]
        )
    card = f"{found['gpu']['name']}. " if "gpu" in found else ""
    about = f"{card}{_markdown.about(found['machine'])} {found['threads']} threads. `{found['command']}`"
    return f"{about}\n\n{_markdown.table(columns, lines, 'llrrrrrrrlrrl')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--only", help="options to measure, with commas between them; by default all")
    parser.add_argument("--rounds", type=int, default=16)
    parser.add_argument("--block", type=float, default=0.1, help="seconds of a turn")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", choices=gpu.DEVICES, default="cpu")
    given = parser.parse_args()
    names = list(dict.fromkeys(row.option for row in ROWS))
    chosen = given.only.split(",") if given.only else names
    if unknown := [name for name in chosen if name not in names]:
        parser.error(f"--only takes {', '.join(names)}; got {', '.join(unknown)}")
    torch.set_num_threads(given.threads)
    found = heading("bench.suites.features") | {"threads": given.threads, "rows": []}
    if given.device == "cuda":
        found["gpu"] = gpu.describe() | {"kernel": gpu.kernel() or "default"}
    for row in ROWS:
        if row.option not in chosen or (given.device == "cuda" and row.option in NOT_ON_CUDA):
            continue
        found["rows"].append(measure(row, given.rounds, given.block, given.device))
        figures = ", ".join(f"{name} {ms:.4g} ms" for name, ms in found["rows"][-1]["milliseconds"].items())
        print(f"{row.option}, {row.cell}: {figures}", flush=True)
        if given.json:
            write_text(given.json, json.dumps(found, indent=1) + "\n")
    print(markdown(found))


if __name__ == "__main__":
    main()
