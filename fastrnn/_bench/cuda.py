"""The measurement on CUDA: fastrnn and torch.nn on one stream of one process, in turns, by the GPU's own clock.

- Events around a block of calls: the time from the first kernel's start to the last one's end, with the gaps that the
  host leaves where it starts kernels more slowly than they run. So much a call takes in a program that never waits.
- In turns, so that a change in the GPU's clock rate hits both, and the median of the turns: the least would be that of
  the highest rate.
- One process, for only one can have a GPU to itself.
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

WARM_UP, WARM_UP_SECONDS = 3, 0.1  # calls; a slow layer is warm sooner
FEWEST_ROUNDS, TURNS_SECONDS = 5, 0.2  # so many, and then others for as long as this
CHECKED_STEPS = 32  # in float64 a long sequence would take longer than the measurement


class CudaContest(Contest):
    """The contest on CUDA, without processes."""

    def __init__(self) -> None:
        super().__init__([])

    def __enter__(self) -> "CudaContest":
        super().__enter__()
        self.missing = dict.fromkeys(PEERS, "not measured on CUDA")
        return self

    def seconds(self, work: Work, names: Iterable[str], rounds: int = 18, block: float = 0.02) -> dict[str, float]:
        """Measures seconds per call of the named contenders; `block` is the seconds of a contender's turn.

        Raises ContenderError if fastrnn's numbers are wrong or the GPU's memory is too small.
        """
        try:
            with gpu.own_kernels(), gpu.tf32(work.dtype == "tf32"):
                check(work)
                layers = torch_layers(work)
                return take_turns({name: contender(name, work, layers) for name in names}, rounds, block)
        except (ArithmeticError, torch.OutOfMemoryError) as error:
            raise ContenderError(f"{type(error).__name__}: {error}") from error


def check(work: Work) -> None:
    """Raises ArithmeticError if fastrnn is further than twice as far as torch.nn from torch.nn in float64.

    On the first steps, and what rounding explains is allowed in any case.
    """
    short = work._replace(shape=work.shape._replace(T=min(work.shape.T, CHECKED_STEPS)))
    layers = torch_layers(short)
    exact = listed(of_module(short, copy.deepcopy(layers).double())())
    theirs, ours = (relative_errors(listed(contender(name, short, layers)()), exact) for name in ("torch", "fastrnn"))
    for error, theirs_error in zip(ours, theirs, strict=True):
        allowed = max(2 * theirs_error, TOLERANCES[work.dtype])
        if not error <= allowed:  # a NaN fails, too
            raise ArithmeticError(f"fastrnn's relative error is {error:.2e}, {allowed:.2e} is allowed")


def listed(results: object) -> list[torch.Tensor]:
    """Returns the gradients of a training step, or the output of inference as the only one."""
    return results if isinstance(results, list) else [results]  # type: ignore[list-item]


def take_turns(runs: dict[str, Run], rounds: int, block: float) -> dict[str, float]:
    """Returns the median seconds of a call of each, over at most so many rounds."""
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
    """Calls it a few times; returns the seconds of the last, for the first loads kernels and plans."""
    turn(run, 1)
    times: list[float] = []
    while len(times) < WARM_UP and sum(times) < WARM_UP_SECONDS:
        times.append(turn(run, 1))
    return times[-1]


def turn(run: Run, calls: int) -> float:
    """Returns the mean seconds of a call over so many, by CUDA events."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / calls
