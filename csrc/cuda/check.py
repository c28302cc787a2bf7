"""Compiles every kernel for the GPUs that are meant, without one: `make cuda-check`.

Prints the registers, static shared memory and spills of each kernel, and fails where the compiler warns or a kernel
spills registers into memory.
"""

import os
import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ARCHITECTURES = ("80", "90a")  # A100, H100
HERE = Path(__file__).parent
PREFLIGHT = HERE.parents[1] / "bench" / "gpu" / "preflight.cu"  # what the kernels' design rests on, measured alone
NVCC = ["nvcc", "-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Werror", "all-warnings", "-Xptxas", "-v"]
KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def main() -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(check, [*sorted(HERE.glob("*.cu")), PREFLIGHT])) > 0


def check(source: Path) -> bool:
    """Prints what nvcc makes of a file; returns whether that is not as it should be."""
    with tempfile.TemporaryDirectory() as folder:
        targets = [f"-gencode=arch=compute_{a},code=sm_{a}" for a in ARCHITECTURES]
        command = [*NVCC, *targets, "-c", str(source), "-o", str(Path(folder) / "object.o")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        print(f"{source.name}: FAILED\n{result.stderr}")
        return True
    kernels = read(result.stderr)
    spilled = any(spills for found in kernels.values() for _, _, spills in found.values())
    lines = [f"{source.name}: registers, shared memory, bytes spilled for sm_{' and sm_'.join(ARCHITECTURES)}"]
    for name, found in sorted(kernels.items()):
        lines.append("  ".join(f"{r:4d} {s:5d} {b:3d}" for r, s, b in (found[a] for a in ARCHITECTURES)) + f"  {name}")
    lines.append(f"{source.name}: {len(kernels)} kernels" + (", FAILED: registers are spilled" if spilled else ""))
    print("\n".join(lines), flush=True)
    return spilled


def read(log: str) -> dict[str, dict[str, tuple[int, int, int]]]:
    """Kernel to architecture to (registers, bytes of static shared memory, bytes spilled)."""
    kernels: dict[str, dict[str, tuple[int, int, int]]] = {}
    mangled = architecture = ""
    spills = 0
    for line in log.splitlines():
        if match := KERNEL.search(line):
            mangled, architecture = match.groups()
        elif match := SPILLED.search(line):
            spills = sum(map(int, match.groups()))
        elif match := USED.search(line):
            kernels.setdefault(mangled, {})[architecture] = (int(match[1]), int(match[2] or 0), spills)
    names = subprocess.run(["c++filt"], input="\n".join(kernels), capture_output=True, text=True, check=True).stdout
    return dict(zip(map(short, names.splitlines()), kernels.values(), strict=True))


def short(name: str) -> str:
    """A kernel's name without namespaces, parameters and return type."""
    return re.sub(r"\(anonymous namespace\)::|fastrnn::|cuda::|^void ", "", name).partition("(")[0]


if __name__ == "__main__":
    sys.exit(main())
