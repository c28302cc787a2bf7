"""Hashes of all that fastrnn computes, to see whether a change keeps every bit.

    python -m tests.support.bits write FILE      before the change
    python -m tests.support.bits compare FILE    after it: prints what differs; the exit code is 1 if anything does

A case is a layer, a single cell or the softmax loss, with its options, dtype and sizes, on each instruction set that
the processor has, at 1 and at 2 threads. Hashed are its outputs, final states and gradients, and for layers and cells
once more outputs and states without autograd.

The tool knows only fastrnn's public Python names, so one version of it judges two versions of fastrnn: run it by its
path with the other source folder in PYTHONPATH. All inputs are made from integers, not from a library's random numbers.
Compare on the machine that wrote the file: torch's own operations around the kernels (sums, gathering of packed rows,
casts) may round differently on another processor or in another version of torch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

import fastrnn

sys.path.append(str(Path(__file__).parents[2]))  # run by its path, from another source folder, it finds its cases
from tests.support.bit_cases import Hashes, cases
from tests.support.instruction_sets import sets_here

THREADS = (1, 2)


def hashes(only: re.Pattern) -> dict[str, dict[str, Hashes]]:
    """Of all cases on this process's instruction set, at each number of threads."""
    found: dict[str, dict[str, Hashes]] = {}
    for threads in THREADS:
        torch.set_num_threads(threads)
        found[f"{threads} threads"] = {name: compute() for name, compute in cases(threads) if only.search(name)}
    return found


def everything(sets: list[str], only: str) -> dict[str, Any]:
    """Hashes on these instruction sets, each in a process of its own, and what they depend on."""
    command = [sys.executable, __file__, "hashes", "--only", only]
    found = {}
    for isa in sets:
        done = subprocess.run(command, env=os.environ | {"FASTRNN_ISA": isa}, stdout=subprocess.PIPE)
        if done.returncode:
            raise SystemExit(f"The process with FASTRNN_ISA={isa} failed with exit code {done.returncode}")
        found[isa] = json.loads(done.stdout)
    return {"processor": fastrnn.info()["processor"], "torch": torch.__version__, "hashes": found}


def flat(found: dict[str, dict[str, dict[str, Hashes]]]) -> dict[str, str]:
    """From {instruction set: {threads: {case: {what: hash}}}} to one name for each hash."""
    return {
        f"{isa}, {threads}, {case}: {what}": value
        for isa, of_set in found.items()
        for threads, of_threads in of_set.items()
        for case, of_case in of_threads.items()
        for what, value in of_case.items()
    }


def differences(before: dict[str, Any], after: dict[str, Any], sets: list[str], only: re.Pattern) -> list[str]:
    """The names of hashes of ``before`` that differ or are missing. What only ``after`` has came later."""
    old = {isa: before["hashes"].get(isa, {}) for isa in sets}
    old = {s: {t: {c: h for c, h in cs.items() if only.search(c)} for t, cs in ts.items()} for s, ts in old.items()}
    old, new = flat(old), flat(after["hashes"])
    return [
        f"{name} {'differs' if name in new else 'is missing'}" for name, value in old.items() if new.get(name) != value
    ]


def main() -> int:
    sets = sets_here()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=["write", "compare", "hashes"])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--isa", choices=sets, nargs="+", default=sets, help="instruction sets; default: all there are")
    parser.add_argument("--only", default="", metavar="REGEX", help="cases whose name has this, such as '^gru float64'")
    arguments = parser.parse_args()
    if arguments.command == "hashes":  # what the other commands start
        json.dump(hashes(re.compile(arguments.only)), sys.stdout)
        return 0
    if arguments.file is None:
        parser.error(f"{arguments.command} needs a FILE")
    print(f"fastrnn in {Path(fastrnn.__file__).parent}", flush=True)
    found = everything(arguments.isa, arguments.only)
    if arguments.command == "write":
        arguments.file.write_text(json.dumps(found, indent=0))
        print(f"{len(flat(found['hashes']))} hashes written to {arguments.file}")
        return 0
    before = json.loads(arguments.file.read_text())
    for key in ("processor", "torch"):
        if before[key] != found[key]:
            print(
                f"Caution: {arguments.file} is of {key} {before[key]}, this is {found[key]}; bits may differ for that"
            )
    different = differences(before, found, arguments.isa, re.compile(arguments.only))
    print(*different[:200], sep="\n", end="\n" if different else "")
    if len(different) > 200:
        print(f"… and {len(different) - 200} more")
    known, total = flat(before["hashes"]), flat(found["hashes"])
    new = sum(name not in known for name in total)
    print(f"{len(different)} of {len(total) - new} hashes differ from {arguments.file}, which lacks {new} more")
    return 1 if different else 0


if __name__ == "__main__":
    sys.exit(main())
