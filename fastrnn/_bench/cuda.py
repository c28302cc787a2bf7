"""The measurement on CUDA: fastrnn and torch.nn take turns on one stream of one process, timed by the GPU.

- CUDA events enclose a block of calls. They measure from the start of the first kernel to the end of the last, gaps
  included where the host launches kernels more slowly than they run: what a call costs in a program that never waits.
- Turns, so that a change of the GPU's clock rate affects both; and their median, since the minimum would be a
  measurement of the highest clock rate.
- One process, since two would share the GPU.
"""

import copy
import statistics
import time
from collections.abc import Iterable

import torch

from fastrnn._bench.contenders import TOLERANCES, Run, contender, of_module, relative_errors, torch_layers
from fastrnn._bench.measure import ContenderError, Contest
from fastrnn._bench.peers import PEERS
from fastrnn._bench.work import Work
from fastrnn._core import gpu

WARM_UP, WARM_UP_SECONDS = 3, 0.1  # calls; fewer for slow layers
FEWEST_ROUNDS, TURNS_SECONDS = 5, 0.2  # at least this many rounds, then more until this time is over
CHECKED_STEPS = 32  # checking a long sequence in float64 would take longer than the measurement


class CudaContest(Contest):
    """The contest on CUDA, without processes."""

    def __init__(self) -> None:
        super().__init__([])

    def __enter__(self) -> "CudaContest":
        super().__enter__()
        self.missing = dict.fromkeys(PEERS, "not measured on CUDA")
        return self

    def seconds(self, work: Work, names: Iterable[str], rounds: int = 18, block: float = 0.02) -> dict[str, float]:
        """Measures seconds per call of each named contender; `block` is the seconds of one turn.

        Raises ContenderError if fastrnn's results are wrong or the GPU runs out of memory.
        """
        try:
            with gpu.own_kernels(), gpu.tf32(work.dtype == "tf32"):
                check(work)
                layers = torch_layers(work)
                return take_turns({name: contender(name, work, layers) for name in names}, rounds, block)
        except (ArithmeticError, torch.OutOfMemoryError) as error:
            raise ContenderError(f"{type(error).__name__}: {error}") from error


def check(work: Work) -> None:
    """Raises ArithmeticError if fastrnn's error is more than twice torch.nn's, and more than rounding explains.

    Both errors are distances from torch.nn in float64, over the first steps only.
    """
    short = work._replace(shape=work.shape._replace(T=min(work.shape.T, CHECKED_STEPS)))
    layers = torch_layers(short)
    exact = listed(of_module(short, copy.deepcopy(layers).double(), torch.float64)())
    theirs, ours = (relative_errors(listed(contender(name, short, layers)()), exact) for name in ("torch", "fastrnn"))
    for error, theirs_error in zip(ours, theirs, strict=True):
        allowed = max(2 * theirs_error, TOLERANCES[work.dtype])
        if not error <= allowed:  # a NaN fails, too
            raise ArithmeticError(f"fastrnn's relative error is {error:.2e}; at most {allowed:.2e} is allowed")


def listed(results: object) -> list[torch.Tensor]:
    """Returns the gradients of a training step, or a list of the output of inference."""
    return results if isinstance(results, list) else [results]  # type: ignore[list-item]


def take_turns(runs: dict[str, Run], rounds: int, block: float) -> dict[str, float]:
    """Returns each contender's median seconds per call over at most `rounds` rounds."""
    calls = {name: max(1, round(block / warm_up(run))) for name, run in runs.items()}
    times: dict[str, list[float]] = {name: [] for name in runs}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= FEWEST_ROUNDS and time.perf_counter() - start > TURNS_SECONDS:
            break
        for name, run in runs.items():
            times[name].append(turn(run, calls[name]))
    return {name: statistics.median(values) for name, values in times.items()}


def warm_up(run: Run) -> float:
    """Calls it a few times and returns the seconds of the last call; the first one loads kernels and makes plans."""
    turn(run, 1)
    times: list[float] = []
    while len(times) < WARM_UP and sum(times) < WARM_UP_SECONDS:
        times.append(turn(run, 1))
    return times[-1]


def turn(run: Run, calls: int) -> float:
    """Returns the mean seconds of a call over `calls` calls, by CUDA events."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / calls
