"""Keeps freed memory in the process: what a training step frees, the next one allocates again.

glibc returns large blocks to the system, and using their pages again costs a page fault each. PTB small, T20, B20, two
cores of an AMD EPYC (Zen 5): 3,400 faults take 6 of a step's 28 ms; inside :func:`memory_kept` there are none, and a
step takes 22 ms.
"""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_… of malloc.h
_KEEP = 1 << 30
_USUAL = 32 << 20  # the values that glibc's own adaptation reaches in a program that frees large blocks


@contextmanager
def memory_kept() -> Iterator[None]:
    """Within it, freed blocks of up to 1 GiB stay in the process; at its end free memory goes back to the system.

    Does nothing if the C library is not glibc.
    """
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    glibc = ctypes.CDLL(None)
    try:
        for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            glibc.mallopt(threshold, _KEEP)
        yield
    finally:
        for threshold in (_MMAP_THRESHOLD, _TRIM_THRESHOLD):
            glibc.mallopt(threshold, _USUAL)
        glibc.malloc_trim(0)
