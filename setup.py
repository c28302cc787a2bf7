"""Builds fastrnn._C, the C++ (and, on a machine with a CUDA torch and nvcc, CUDA) core.

FASTRNN_CUDA=0|1 overrides the choice. An nvcc alone is not enough: it may stand beside a torch for the CPU only.
"""

import os
import sys
from pathlib import Path

import torch
from setuptools import setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

ROOT = Path(__file__).parent


def with_cuda() -> bool:
    forced = os.environ.get("FASTRNN_CUDA", "")
    if forced not in ("", "0", "1"):
        raise SystemExit(f"FASTRNN_CUDA must be 0 or 1, got {forced!r}")
    possible = torch.version.cuda is not None and CUDA_HOME is not None
    if forced == "1" and not possible:
        raise SystemExit(
            f"FASTRNN_CUDA=1, but torch {torch.__version__} is built for CUDA {torch.version.cuda} "
            f"and nvcc is at {CUDA_HOME}"
        )
    return possible if forced == "" else forced == "1"


def sources(pattern: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").glob(pattern))


cuda_sources = (sources("cuda/*.cpp") + sources("cuda/*.cu")) if with_cuda() else []
extension = CUDAExtension if cuda_sources else CppExtension

# -ffp-contract=fast lets a*b+c become one multiply-add. It is the default of gcc; said here because the kernels' speed
# rests on it. The instruction set is chosen per file (csrc/cpu/kernels_*.cpp), so there is no -march.
flags = ["-O3", "-fopenmp", "-ffp-contract=fast", "-Wall", "-Wextra", "-Wno-unused-parameter", "-fvisibility=hidden"]
if sys.platform == "darwin":
    flags[flags.index("-fopenmp") : flags.index("-fopenmp") + 1] = ["-Xpreprocessor", "-fopenmp"]

# fastrnn/__init__.py compares this with the torch it runs under, before it loads the binary.
(ROOT / "fastrnn" / "_built.py").write_text(
    f'"""Written by setup.py."""\n\ntorch_version = "{torch.__version__}"\ncuda = {bool(cuda_sources)}\n'
)

setup(
    ext_modules=[
        extension(
            "fastrnn._C",
            sources("*.cpp") + sources("cpu/*.cpp") + cuda_sources,
            define_macros=[("FASTRNN_WITH_CUDA", None)] if cuda_sources else [],
            extra_compile_args={"cxx": flags, "nvcc": ["-O3", "--expt-relaxed-constexpr"]},
            extra_link_args=["-fopenmp"] if sys.platform != "darwin" else ["-lomp"],
            depends=sources("**/*.h"),
        )
    ],
    cmdclass={"build_ext": BuildExtension},
)
