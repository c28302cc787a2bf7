"""The memory of a training step: by how much a process grows above what it held before, at its highest.

What it held before are the libraries, the weights, the input and the gradient of the output. So the growth is what the
forward pass saves, the output, the gradients, and whatever the contender needs besides or keeps for the next step.
"""

import ctypes
import gc
import mmap
from pathlib import Path

from fastrnn._bench.contenders import check, set_up
from fastrnn._bench.work import Shape, Work

STEPS = 3  # what stays from one step to the next is there from the second on
SMALL = Shape(2, 2, 4, 5)

LARGE = 128 << 10  # bytes
M_MMAP_THRESHOLD = -3  # malloc.h


def growth(name: str, work: Work) -> int:
    """Returns by how many bytes this process, which should be a fresh one, grows in a few training steps at most.

    Linux only. Repeatable to a percent with glibc, but for less than a MiB: the system counts loosely, 64 pages a
    thread. A page at least.

    Raises ArithmeticError if the contender's numbers are not those of torch.nn.
    """
    give_back_at_once()
    small, _ = set_up(name, work._replace(shape=SMALL))
    small()  # what the libraries set up at their first call is no part of a step
    run, expected = set_up(name, work)
    before = resident()
    for _ in range(STEPS):
        run()
    grown = max(highest() - before, mmap.PAGESIZE)
    check(name, work, run(), expected())
    return grown


def give_back_at_once() -> None:
    """Has glibc return every large block to the system when it is freed.

    By default it does so at first, and later keeps more and more of them, by what was freed in which order. The same
    step then took between 17 and 25 MiB.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(M_MMAP_THRESHOLD, LARGE)


def resident() -> int:
    """Returns the bytes in memory, and has `highest` begin there."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc again
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the high-water mark comes down to what is there
    return highest()


def highest() -> int:
    """Returns the most bytes that this process has had in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
