"""The memory of a training step: the peak of a process above what it held before the step.

Before the step it holds the libraries, the weights, the input and the gradient of the output. The growth is what the
forward pass saves, the output, the gradients, and anything else the contender allocates or keeps for the next step.
"""

import ctypes
import gc
import mmap
from pathlib import Path

from fastrnn._bench.contenders import check, set_up
from fastrnn._bench.work import Shape, Work

STEPS = 3  # from the second on, a step has what stays from the one before
SMALL = Shape(2, 2, 4, 5)

LARGE = 128 << 10  # bytes
M_MMAP_THRESHOLD = -3  # malloc.h


def growth(name: str, work: Work) -> int:
    """Returns the peak growth of this process, which should be fresh, in bytes over a few training steps.

    Linux only. With glibc repeatable to a percent above a MiB; below that the kernel's counting is too loose (64 pages
    a thread). At least one page.

    Raises ArithmeticError if the contender's results differ from torch.nn's.
    """
    give_back_at_once()
    small, _ = set_up(name, work._replace(shape=SMALL))
    small()  # what libraries allocate at their first call is not part of a step
    run, expected = set_up(name, work)
    before = resident()
    for _ in range(STEPS):
        run()
    grown = max(highest() - before, mmap.PAGESIZE)
    check(name, work, run(), expected())
    return grown


def give_back_at_once() -> None:
    """Makes glibc return every large block to the system when it is freed.

    By default it starts that way and then keeps more and more of them, depending on the order of earlier calls. The
    same step then took between 17 and 25 MiB.
    """
    if set_option := getattr(ctypes.CDLL(None), "mallopt", None):
        set_option(M_MMAP_THRESHOLD, LARGE)


def resident() -> int:
    """Returns the bytes in memory and resets the high-water mark to that."""
    gc.collect()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc again
        trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # resets the high-water mark
    return highest()


def highest() -> int:
    """Returns the high-water mark of this process's memory in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024
