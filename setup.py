"""Builds fastrnn._C, the C++ (and, on a machine with a CUDA torch and nvcc, CUDA) core, and fastrnn.word2vec._C.

FASTRNN_CUDA=0|1 overrides the choice. An nvcc alone is not enough: it may stand beside a torch for the CPU only.
"""

import importlib.util
import os
import sys
from pathlib import Path

import pybind11
import torch
from setuptools import Extension, setup
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


def cuda_include_dirs() -> list[str]:
    """Where the headers of cuBLAS and its kin are, if not beside nvcc: pip's own packages of CUDA's libraries."""
    if (Path(CUDA_HOME) / "include" / "cublas_v2.h").exists():
        return []
    nvidia = importlib.util.find_spec("nvidia")
    places = list(nvidia.submodule_search_locations or []) if nvidia else []
    return sorted(str(path) for place in places for path in Path(place).glob("*/include"))


cuda_sources = (sources("cuda/*.cpp") + sources("cuda/*.cu")) if with_cuda() else []
extension = CUDAExtension if cuda_sources else CppExtension

# For the GPU that is here, as torch does by itself; where none is, for the A100 and H100, and those that come after.
if cuda_sources and not torch.cuda.is_available():
    os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")

# -ffp-contract=fast lets a*b+c become one multiply-add. It is the default of gcc; said here because the kernels' speed
# rests on it. The instruction set is chosen per file (csrc/cpu/kernels_*.cpp), so there is no -march.
flags = ["-std=c++20", "-O3", "-fopenmp", "-ffp-contract=fast", "-fvisibility=hidden"]
flags += ["-Wall", "-Wextra", "-Wno-unused-parameter"]
if sys.platform == "darwin":
    flags[flags.index("-fopenmp") : flags.index("-fopenmp") + 1] = ["-Xpreprocessor", "-fopenmp"]
link_flags = ["-fopenmp"] if sys.platform != "darwin" else ["-lomp"]

# What Word2Vec shares with the layers.
WITHOUT_TORCH = ("forked", "instruction_set", "thread_count", "waiting")

# fastrnn/core.py compares this with the torch it runs under, before it loads the binary.
(ROOT / "fastrnn" / "_built.py").write_text(
    f'"""Written by setup.py."""\n\ntorch_version = "{torch.__version__}"\ncuda = {bool(cuda_sources)}\n'
)

setup(
    ext_modules=[
        extension(
            "fastrnn._C",
            sources("*.cpp") + sources("cpu/*.cpp") + cuda_sources,
            include_dirs=cuda_include_dirs() if cuda_sources else [],
            define_macros=[("FASTRNN_WITH_CUDA", None)] if cuda_sources else [],
            extra_compile_args={"cxx": flags, "nvcc": ["-std=c++20", "-O3", "--expt-relaxed-constexpr"]},
            extra_link_args=link_flags,
            depends=sources("**/*.h"),
        ),
        Extension(  # a plain one: without torch's libraries, it loads without torch
            "fastrnn.word2vec._C",
            [*sources("word2vec/*.cpp"), *(f"csrc/cpu/{name}.cpp" for name in WITHOUT_TORCH)],
            include_dirs=[pybind11.get_include()],
            extra_compile_args=flags,
            extra_link_args=link_flags,
            language="c++",
            depends=sources("**/*.h"),
        ),
    ],
    cmdclass={"build_ext": BuildExtension},
)
