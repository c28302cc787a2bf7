"""The roofline: how near inference comes to what the machine can do, over hidden sizes and batches.

Two ceilings (Williams, Waterman and Patterson 2009). The first is multiply-adds on registers alone: `fma_peak` of
fastrnn._environment. The second is reading the weights: every step needs the one before it, so that a call reads W_hh
T times. W_ih does not count, since its product can be done for many steps at once.
"""

import time
from typing import Any

import torch

from fastrnn._bench.results import Row, work_of
from fastrnn._bench.work import GATES, Shape, Work

SIZES = (16, 32, 64, 128, 256, 512, 1024)
BATCHES = (1, 8, 32, 128)

# Enough steps that reading and packing W_ih is a small part, few enough that a call stays below 0.1 s or so.
MOST_STEPS, FEWEST_STEPS, CALL_FLOPS = 64, 8, 4e9


def works(cell: str, threads: int) -> list[Work]:
    """Returns inference for every batch and hidden size, the input as wide as the state."""
    return [Work("infer", cell, threads, shape(cell, B, H)) for B in BATCHES for H in SIZES]


def shape(cell: str, B: int, H: int) -> Shape:
    step = Work("infer", cell, 1, Shape(1, B, H, H)).flops
    return Shape(min(MOST_STEPS, max(FEWEST_STEPS, round(CALL_FLOPS / step))), B, H, H)


def recurrent_bytes(work: Work) -> int:
    """The size of W_hh in float32."""
    return 4 * GATES[work.cell] * work.shape.H**2


def bandwidth(size: int, threads: int, seconds: float = 0.5) -> float:
    """Measures the bytes a second at which a working set of so many bytes is read, over and over from its beginning.

    What reads is torch.sum of float32: a stream, in vectors, one addition for each number. A set that fits a cache
    comes from there, as weights do. Where threads share the weights, each reads its part; so this is so many times the
    rate of one thread on a part, as if they did not hinder one another. The best of as many repeats as fit `seconds`.
    """
    part = torch.ones(max(1, size // 4 // threads))
    repeats = max(1, 2**22 // len(part))  # 16 MiB a call: the call itself is no part of the figure
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
    """Adds to the results of `fastrnn._bench.run` the bandwidth for each size of W_hh in them, in bytes a second."""
    sets = dict.fromkeys((recurrent_bytes(work), work.threads) for work in map(work_of, results["rows"]))
    return results | {"bandwidth": {str(size): bandwidth(size, threads) for size, threads in sets}}


def bandwidth_ceiling(row: Row, results: dict[str, Any]) -> float:
    """Returns the GFLOP/s of a call that takes as long as reading W_hh once a step takes.

    That is batch * bandwidth / 2 for the recurrent product alone, two operations for each weight of 4 bytes and row,
    and twice that with an input as wide as the state. Whoever keeps part of W_hh nearer from step to step can be above.
    """
    work = work_of(row)
    size = recurrent_bytes(work)
    return work.flops / (work.shape.T * size / results["bandwidth"][str(size)]) / 1e9


def fma_ceiling(row: Row, results: dict[str, Any]) -> float:
    return results["machine"]["fma_peak"][str(row["threads"])]
