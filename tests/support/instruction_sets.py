"""The instruction sets that fastrnn has kernels for, from the least to the most, and programs run on one of them."""

import os
import subprocess
import sys

import pytest

import fastrnn

SETS = ("generic", "avx2", "avx512", "avx512_bf16")


def sets_here() -> tuple[str, ...]:
    """Those that this processor has, or up to the one that FASTRNN_ISA forces."""
    return SETS[: SETS.index(fastrnn.info()["instruction_set"]) + 1]


def started(program: str, isa: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A Python program, in a process of its own with kernels of this instruction set."""
    variables = os.environ | {"FASTRNN_ISA": isa} | environment
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], env=variables, capture_output=True, text=True, timeout=300
    )


def printed(program: str, isa: str, *arguments: str, **environment: str) -> str:
    """What a program prints that runs without an error. The test is skipped where the processor lacks the set."""
    if isa not in sets_here():
        pytest.skip(f"this processor has no {isa}")
    done = started(program, isa, *arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
