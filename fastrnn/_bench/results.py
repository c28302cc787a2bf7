"""The results of a benchmark: the machine, the command, and a row for each piece of work."""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from fastrnn._bench.contenders import entrants
from fastrnn._bench.cuda import CudaContest
from fastrnn._bench.measure import ContenderError, Contest
from fastrnn._bench.work import Shape, Work
from fastrnn._core import gpu
from fastrnn._environment import fma_peak, machine

Row = dict[str, Any]

OWN = ("fastrnn", "frozen")  # the contenders that are no peers


def run(
    works: Sequence[Work],
    without: Iterable[str] = (),
    rounds: int = 18,
    block: float = 0.02,
    command: str = "",
    track: Callable[[Sequence[Work]], Iterable[Work]] = iter,
    budget: float = math.inf,
    save: Callable[[dict[str, Any]], None] = lambda results: None,
) -> dict[str, Any]:
    """Measures every piece of work and returns the results, ready for JSON.

    Args:
        works: what to measure, all on one device.
        without: names of contenders to skip.
        rounds: turns of each contender.
        block: seconds of one turn.
        command: the command line, recorded with the results.
        track: wraps the loop over the works, to show progress.
        budget: seconds after which no further work starts; `missing` in the results counts what was not measured.
        save: called with the results after every piece of work, so that an early end loses none.

    Raises:
        ContenderError: a contender failed, or its results differ from torch.nn's. On CUDA, where machine time is
            scarce, the work is recorded under `failed` instead and the others are still measured.
    """
    on_cuda = any(work.device == "cuda" for work in works)
    peaks = {} if on_cuda else {threads: fma_peak(threads) for threads in sorted({work.threads for work in works})}
    names = {work: [name for name in entrants(work) if name not in set(without)] for work in works}
    everyone = dict.fromkeys(name for entered in names.values() for name in entered)
    head = {"gpu": gpu.describe()} if on_cuda else {"fma_peak": {str(threads): peak for threads, peak in peaks.items()}}
    failed: dict[str, str] = {}
    rows: list[Row] = []
    found = {"machine": machine() | head, "command": command, "missing": len(works), "failed": failed, "rows": rows}
    start = time.monotonic()
    with CudaContest() if on_cuda else Contest(everyone) as contest:
        found["left_out"] = contest.missing
        for work in track(works):
            if time.monotonic() - start > budget:
                break
            try:
                if work.mode == "memory":
                    measured = contest.bytes(work, names[work])
                else:
                    measured = contest.seconds(work, names[work], rounds, block)
                rows.append(row(work, measured, peaks.get(work.threads)))
            except ContenderError as error:
                if not on_cuda:
                    raise
                failed[str(work)] = str(error)
            found["missing"] = len(works) - len(rows) - len(failed)
            save(found)
    return found


def row(work: Work, measured: dict[str, float], peak: float | None) -> Row:
    """Describes a piece of work, what it took in seconds or bytes, and the ratio of the others to fastrnn.

    Seconds come with fastrnn's GFLOP/s and, if the peak is known, its share of the peak.
    """
    unit = "bytes" if work.mode == "memory" else "seconds"
    found: Row = {**work._asdict(), "shape": list(work.shape), unit: measured}
    peers = {name: value for name, value in measured.items() if name not in OWN}
    if "fastrnn" in measured:
        if unit == "seconds":
            found["gflops"] = work.flops / measured["fastrnn"] / 1e9
            if peak and work.dtype == "float32":
                found["peak_share"] = found["gflops"] / peak
        if peers:
            found["best_peer"] = min(peers, key=peers.__getitem__)
            found["ratio"] = peers[found["best_peer"]] / measured["fastrnn"]
        if "torch" in peers:
            found["ratio_torch"] = peers["torch"] / measured["fastrnn"]
        if "frozen" in measured and peers:
            found["ratio_frozen"] = peers[found["best_peer"]] / measured["frozen"]
    if work.dtype not in ("float32", "float64"):
        found["weight_bytes"] = work.weight_bytes
    return found


def work_of(row: Row) -> Work:
    """Returns the piece of work that a row measured. Old files have only the four fields without a default."""
    known = {field: row[field] for field in Work._fields if field in row}
    return Work(**known | {"shape": Shape(*row["shape"])})


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios: twice as fast and half as fast average to 1."""
    return math.exp(sum(map(math.log, values)) / len(values))


class Summary(NamedTuple):
    """A summary of ratios: the geometric mean, the worst, and how many of the total are below 1."""

    mean: float
    worst: float
    behind: int
    total: int


def summarise(ratios: Sequence[float]) -> Summary:
    return Summary(geometric_mean(ratios), min(ratios), sum(ratio < 1 for ratio in ratios), len(ratios))


def bands(rows: Sequence[Row]) -> dict[tuple[str, int, str], list[Row]]:
    """Groups rows by mode, thread count and kind of work."""
    groups: dict[tuple[str, int, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["mode"], row["threads"], work_of(row).kind), []).append(row)
    return groups
