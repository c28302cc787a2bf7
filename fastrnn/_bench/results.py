"""What a run of the benchmark leaves: a description of the machine, the command, and a row for each piece of work."""

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
        without: names of contenders to leave out.
        rounds: how often each contender takes its turn.
        block: seconds of one turn.
        command: the command line, recorded with the results.
        track: wraps the loop over the works, to show progress.
        budget: seconds after which no other work is begun; `missing` in the results is how many that leaves out.
        save: gets the results after every piece of work, so that whatever ends this early ends nothing else.

    Raises:
        ContenderError: if a contender fails, or its numbers are not those of torch.nn. On CUDA, where a lent machine's
            time would be lost, that work is recorded under `failed` instead, and the others are measured.
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
    """Joins a piece of work and what it took, seconds or bytes, with how many times fastrnn's the others took.

    Where it is seconds, also with fastrnn's GFLOP/s and, where that is known, its share of the multiply-add peak.
    """
    unit = "bytes" if work.mode == "memory" else "seconds"
    found: Row = {**work._asdict(), "shape": list(work.shape), unit: measured}
    peers = {name: value for name, value in measured.items() if name != "fastrnn"}
    if "fastrnn" in measured:
        if unit == "seconds":
            found["gflops"] = work.flops / measured["fastrnn"] / 1e9
            if peak:
                found["peak_share"] = found["gflops"] / peak
        if peers:
            found["best_peer"] = min(peers, key=peers.__getitem__)
            found["ratio"] = peers[found["best_peer"]] / measured["fastrnn"]
        if "torch" in peers:
            found["ratio_torch"] = peers["torch"] / measured["fastrnn"]
    return found


def work_of(row: Row) -> Work:
    """Returns the piece of work that a row measured. Files of old know only the four fields without a default."""
    known = {field: row[field] for field in Work._fields if field in row}
    return Work(**known | {"shape": Shape(*row["shape"])})


def geometric_mean(values: Sequence[float]) -> float:
    """The mean for ratios: a factor of two won here and lost there is 1."""
    return math.exp(sum(map(math.log, values)) / len(values))


class Summary(NamedTuple):
    """Ratios summed up: the geometric mean, the worst, and in how many of all fastrnn is behind."""

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
