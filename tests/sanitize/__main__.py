"""`make sanitize`: the C++ under gcc's sanitizers. Needs g++ with libasan, libubsan and libtsan (Debian: package gcc).

**Memory**, AddressSanitizer and UndefinedBehaviorSanitizer: the extensions are compiled with both, in a tree of their
own (build/sanitize), and the tests of HOSTILE hand the operators and Word2Vec whatever they can think of, on every
instruction set where kernels of one read memory in a way of their own. Python itself is not compiled so: libasan is
loaded before it, and leaks, which are Python's and torch's, are not looked for.

**Races**, ThreadSanitizer: the kernels of the layers (kernels.cpp), of users' cells (cells.cpp) and of Word2Vec
(word2vec.cpp) by themselves, without Python and torch, whose threads the sanitizer could not see through. Nor is gcc's
OpenMP compiled for it, so openmp.h brings the few functions of it that are used. They also check that a team finds the
numbers of one thread. races.txt says which race is on purpose.

`python -m tests.sanitize memory` or `races` does one of the two; most of the time goes into compiling. An error ends
the run with the sanitizer's report.
"""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
BUILD = ROOT / "build" / "sanitize"
CXX = os.environ.get("CXX", "g++")
FLAGS = ["-std=c++20", "-O1", "-g1", "-fopenmp", "-ffp-contract=fast", "-fsanitize=thread"]
HOSTILE = [
    "tests/operators/test_raw_calls.py",
    "tests/cells/test_kernels.py",
    "tests/cells/test_raw_calls.py",
    "tests/operators/test_wrong_operands.py",
    "tests/loss/test_raw_calls.py",
    "tests/operators/test_few_rows.py",
    "tests/layers/test_narrow.py",
    "tests/layers/test_bfloat16_products.py",
    "tests/quantization/test_freeze.py",
    "tests/layers/test_stream.py",
    "tests/layers/test_stream_models.py",
    "tests/quantization/test_quantize.py",
    "tests/quantization/test_same_bits.py",
    "tests/word2vec/test_raw_calls.py",
    "tests/word2vec/test_processes.py",
    "tests/word2vec/test_threads.py",
    "tests/word2vec/test_interrupt.py",
    "tests/word2vec/test_hostile_files.py",
]
PROGRAMS = {
    "kernels": [
        "cpu/kernels_generic.cpp",
        "cpu/kernels_avx512.cpp",  # what few rows of bfloat16 take
        "cpu/kernels_avx512_bf16.cpp",
        "loss/kernels_generic.cpp",
        "cpu/waiting.cpp",
        "cpu/thread_count.cpp",
    ],
    "cells": ["cpu/interpreter_generic.cpp", "cpu/waiting.cpp", "cpu/thread_count.cpp"],
    "word2vec": [
        "word2vec/training/kernel_generic.cpp",
        "word2vec/worker_threads.cpp",
        "cpu/waiting.cpp",
        "cpu/thread_count.cpp",
    ],
}


def run(*command: object, **environment: str) -> None:
    print("+", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=os.environ | environment)


def library(name: str) -> str:
    return subprocess.run([CXX, f"-print-file-name={name}"], check=True, capture_output=True, text=True).stdout.strip()


def memory() -> None:
    (BUILD / "lib").mkdir(parents=True, exist_ok=True)
    # With the package's metadata, without which fastrnn says that it is not installed.
    run(sys.executable, "setup.py", "-q", "build", "--build-base", BUILD, "--build-lib", BUILD / "lib",
        "egg_info", "--egg-base", BUILD / "lib", FASTRNN_SANITIZE="address,undefined")  # fmt: skip
    # The copy beside the compiled package is what Python imports, not this tree.
    run("cp", "-r", "tests", "pyproject.toml", BUILD / "lib")
    run("env", "-C", BUILD / "lib", sys.executable, "-m", "pytest", "-q", *HOSTILE,
        LD_PRELOAD=f"{library('libasan.so')} {library('libubsan.so')}", ASAN_OPTIONS="detect_leaks=0",
        UBSAN_OPTIONS="print_stacktrace=1", PYTHONPATH="")  # fmt: skip


def races() -> None:
    folder = BUILD / "races"
    folder.mkdir(parents=True, exist_ok=True)

    def compiled(source: Path) -> Path:
        to = folder / f"{source.parent.name}_{source.stem}.o"
        run(CXX, *FLAGS, "-c", source, "-o", to)
        return to

    sources = {ROOT / "csrc" / name for names in PROGRAMS.values() for name in names}
    sources |= {HERE / f"{name}.cpp" for name in PROGRAMS}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = dict(zip(sources, pool.map(compiled, sources), strict=True))
    for name, needed in PROGRAMS.items():
        parts = [objects[ROOT / "csrc" / source] for source in needed] + [objects[HERE / f"{name}.cpp"]]
        # OpenMP of openmp.h is found before libgomp's.
        run(CXX, "-fsanitize=thread", *parts, "-o", folder / name, "-lgomp", "-lpthread")
        run(folder / name, TSAN_OPTIONS=f"suppressions={HERE / 'races.txt'} halt_on_error=1")


if __name__ == "__main__":
    parts = {"races": races, "memory": memory}
    chosen = sys.argv[1:] or list(parts)
    if unknown := [name for name in chosen if name not in parts]:
        raise SystemExit(f"python -m tests.sanitize takes {' and '.join(parts)}, got {' '.join(unknown)}")
    for name in chosen:
        parts[name]()
