"""The roofline: how close inference comes to the limits of the machine, over hidden sizes and batches.

Two ceilings (Williams, Waterman and Patterson 2009). The first is multiply-adds on registers alone: `fma_peak` of
fastrnn._environment. The second is reading the weights: every step needs the one before it, so that a call reads W_hh
T times. W_ih does not count, since its product can be done for many steps at once.
"""

import time
from typing import Any

import torch

from fastrnn._bench.results import Row, work_of
from fastrnn._bench.work import Shape, Work

SIZES = (16, 32, 64, 128, 256, 512, 1024)
BATCHES = (1, 8, 32, 128)

# Enough steps to make reading and packing W_ih a small part, and few enough to keep a call below about 0.1 s.
MOST_STEPS, FEWEST_STEPS, CALL_FLOPS = 64, 8, 4e9


def works(cell: str, threads: int) -> list[Work]:
    """Returns inference for every batch and hidden size, with an input as wide as the state."""
    return [Work("infer", cell, threads, shape(cell, B, H)) for B in BATCHES for H in SIZES]


def shape(cell: str, B: int, H: int) -> Shape:
    step = Work("infer", cell, 1, Shape(1, B, H, H)).flops
    return Shape(min(MOST_STEPS, max(FEWEST_STEPS, round(CALL_FLOPS / step))), B, H, H)


def recurrent_bytes(work: Work) -> int:
    """The size of W_hh in float32."""
    return 4 * work.gates * work.shape.H**2


def bandwidth(size: int, threads: int, seconds: float = 0.5) -> float:
    """Measures the bytes per second at which a working set of `size` bytes can be read repeatedly.

    torch.sum of float32 reads it: a vectorised stream with one addition for each number. A set that fits a cache is
    read from there, as weights are. Threads share the weights and each reads its part, so the result is the rate of
    one thread on a part times the number of threads; contention is ignored. The best repeat within `seconds` counts.
    """
    part = torch.ones(max(1, size // 4 // threads))
    repeats = max(1, 2**22 // len(part))  # 16 MiB a call, so that the call itself does not count
    stream = part.expand(repeats, -1)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        stream.sum(1)
        best = min(best, time.perf_counter() - start)
    torch.set_num_threads(before)
    return threads * repeats * part.nbytes / best


def with_bandwidth(results: dict[str, Any]) -> dict[str, Any]:
    """Adds the bandwidth for each size of W_hh in the results, in bytes per second."""
    sets = dict.fromkeys((recurrent_bytes(work), work.threads) for work in map(work_of, results["rows"]))
    return results | {"bandwidth": {str(size): bandwidth(size, threads) for size, threads in sets}}


def bandwidth_ceiling(row: Row, results: dict[str, Any]) -> float:
    """Returns the GFLOP/s of a call that takes exactly the time of reading W_hh once per step.

    For the recurrent product alone that is batch * bandwidth / 2: two operations for each weight of 4 bytes and each
    row. With an input as wide as the state it is twice that. A kernel that keeps part of W_hh in a faster cache from
    step to step can exceed it.
    """
    work = work_of(row)
    size = recurrent_bytes(work)
    return work.flops / (work.shape.T * size / results["bandwidth"][str(size)]) / 1e9


def fma_ceiling(row: Row, results: dict[str, Any]) -> float:
    return results["machine"]["fma_peak"][str(row["threads"])]
