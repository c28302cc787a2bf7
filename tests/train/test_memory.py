"""Freed memory stays with a training, and goes back after it."""

import platform

import pytest
import torch

from fastrnn.train.loop.memory import memory_kept

resource = pytest.importorskip("resource")


def faults(size: int) -> int:
    """Page faults of ten blocks that are made, written and freed one after the other."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(size, dtype=torch.uint8).fill_(1)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the two thresholds")
def test_blocks_that_are_freed_are_used_again() -> None:
    size = 64 << 20  # more than what glibc keeps by itself
    page = resource.getpagesize()
    with memory_kept():
        faults(size)  # small blocks may come to lie where the large one was, until there is room for all
        kept = faults(size)
    again = faults(size)
    assert kept < size / page / 10, "a page that was freed had to be got again"
    assert again > 10 * kept


def test_an_error_inside_goes_through() -> None:
    with pytest.raises(ValueError, match="inside"), memory_kept():
        raise ValueError("inside")
