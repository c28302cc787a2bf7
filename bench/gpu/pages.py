"""The results that the README shows, without the command line's packages: `fastrnn verify` and `bench` on CUDA.

    python -m bench.gpu.pages verify out/verify.json
    python -m bench.gpu.pages bench out/bench.json BUDGET

`fastrnn verify --render` and `fastrnn bench --render` make tables of the files on a machine that has them installed.
"""

import json
import sys
from pathlib import Path
from typing import Any

from fastrnn import _verify
from fastrnn._bench import cuda_grid, results
from fastrnn._bench.work import DTYPES, LAYERS, MODES
from fastrnn._core import gpu
from fastrnn._environment import machine
from fastrnn._saving import write_text


def write(found: Any, file: Path) -> None:
    write_text(file, json.dumps(found, indent=1) + "\n")


def verified(file: Path, device: str = "cuda", quick: bool = False) -> bool:
    """Verifies every layer on the device; the file is whole after every one."""
    about = machine() | ({"gpu": gpu.describe()} if device == "cuda" else {})
    found: list[dict[str, Any]] = []
    passed = True
    for result in _verify.verify(_verify.all_cases(quick=quick, tf32=device == "cuda"), device):
        found.append(result.as_json())
        passed &= result.passed
        write({"machine": about, "device": device, "passed": passed, "results": found}, file)
    return passed


def measured(file: Path, budget: float) -> bool:
    works = list(cuda_grid.default_works(MODES, LAYERS, DTYPES["cuda"]))
    command = " ".join(["python -m bench.gpu.pages", *sys.argv[1:]])
    found = results.run(works, command=command, budget=budget, save=lambda found: write(found, file))
    write(found, file)
    return not found["failed"]


if __name__ == "__main__":
    topic, file, *rest = sys.argv[1:]
    sys.exit(not (verified(Path(file)) if topic == "verify" else measured(Path(file), float(rest[0]))))
