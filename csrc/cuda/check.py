"""Compiles all that a GPU runs, and the loops that start it, without a GPU: `make cuda-check`.

Prints the registers, static shared memory and spills of each kernel, and fails where a compiler warns or a kernel
spills registers into memory. What torch sees (csrc/torch/cuda*.cpp) is checked where torch and the headers of CUDA's
libraries are installed.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import check_cells

ARCHITECTURES = ("80", "90a")  # A100, H100
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PREFLIGHT = ROOT / "bench" / "gpu" / "preflight.cu"  # what the kernels' design rests on, measured alone
EMULATION = ROOT / "tests" / "cuda" / "emulation"  # its cublas_v2.h declares what csrc/cuda uses
NVCC = ["nvcc", "-std=c++20", "-O3", "--expt-relaxed-constexpr", "-Werror", "all-warnings", "-Xptxas", "-v"]
GCC = ["g++", "-std=c++20", "-Wall", "-Wextra", "-Wno-unused-parameter", "-Werror", "-fsyntax-only"]
TORCH_NEEDS = ("cublas_v2.h", "cublasLt.h", "cusparse.h", "cusolverDn.h")
KERNEL = re.compile(r"Compiling entry function '(\w+)' for 'sm_(\w+)'")
USED = re.compile(r"Used (\d+) registers(?:.*?(\d+) bytes smem)?")
SPILLED = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")


def main() -> int:
    includes = cuda_includes()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        emitted = pool.submit(check_emitted)
        kernels = pool.map(check_kernels, [*sorted(HERE.glob("*.cu")), PREFLIGHT])
        of_host = pool.map(lambda job: check_host(*job), [*loops(includes), *torch_side(includes)])
        return sum(kernels) + sum(of_host) + emitted.result() > 0


def cuda_includes() -> list[Path]:
    """Folders of CUDA's headers: beside nvcc, and in pip's packages of its libraries."""
    nvcc = shutil.which("nvcc")
    if not nvcc:
        raise SystemExit("nvcc is not on PATH. Install CUDA's toolkit, or add its bin folder to PATH")
    found = [Path(nvcc).resolve().parents[1] / "include", Path("/usr/local/cuda/include")]
    packages = importlib.util.find_spec("nvidia")
    for place in (packages and packages.submodule_search_locations) or []:
        found += sorted(Path(place).glob("*/include"))
    return [folder for folder in found if any(folder.glob("cu*.h"))]


def loops(includes: list[Path]) -> list[tuple[Path, list[str]]]:
    """The C++ of this folder, with the compiler's flags: it sees CUDA and no torch."""
    places = [*includes] if has(includes, "cublas_v2.h") else [*includes, EMULATION]
    if EMULATION in places:
        print(f"cublas_v2.h is not installed: the loops are checked against {EMULATION.relative_to(ROOT)}/cublas_v2.h")
    return [(source, include(places)) for source in sorted(HERE.glob("*.cpp"))]


def torch_side(includes: list[Path]) -> list[tuple[Path, list[str]]]:
    """csrc/torch/cuda*.cpp likewise, where what torch's headers of CUDA include is installed."""
    missing = [name for name in TORCH_NEEDS if not has(includes, name)]
    if importlib.util.find_spec("torch") is None:
        missing.append("torch")
    if missing:
        print(f"csrc/torch/cuda*.cpp: not checked: {', '.join(missing)} not installed")
        return []
    from torch.utils.cpp_extension import include_paths

    of_torch = [Path(path) for path in include_paths()]
    return [(source, include([*of_torch, *includes])) for source in sorted((ROOT / "csrc" / "torch").glob("cuda*.cpp"))]


def has(includes: list[Path], header: str) -> bool:
    return any((folder / header).exists() for folder in includes)


def include(folders: list[Path]) -> list[str]:
    return [f"-isystem{folder}" for folder in folders]


def check_host(source: Path, flags: list[str]) -> bool:
    """Prints what the C++ compiler makes of a file; returns whether it fails."""
    with tempfile.TemporaryDirectory() as folder:
        # Of the headers that a torch without CUDA lacks, the one that says how torch's CUDA was built.
        macros = Path(folder) / "c10" / "cuda" / "impl" / "cuda_cmake_macros.h"
        macros.parent.mkdir(parents=True)
        macros.write_text("#pragma once\n")
        command = [*GCC, *flags, f"-idirafter{folder}", str(source)]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    print(f"{source.relative_to(ROOT)}: {'FAILED' if result.returncode else 'compiles'}\n{result.stderr}", end="")
    return result.returncode != 0


def check_kernels(source: Path) -> bool:
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


def check_emitted() -> bool:
    """The same of what fastrnn emits for users' cells."""
    emitted = check_cells.source()
    if emitted is None:
        return False
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "emitted.cu"
        source.write_text(emitted)
        return check_kernels(source)


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
