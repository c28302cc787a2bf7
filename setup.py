"""Builds fastrnn._C, the C++ (and, on a machine with a CUDA torch and nvcc, CUDA) core, and fastrnn.word2vec._C.

FASTRNN_CUDA=0|1 overrides the choice. An nvcc alone is not enough: it may stand beside a torch for the CPU only.
build_backend.py finds the torch to build against.
"""

import importlib.util
import os
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

from setuptools import Extension, setup

from build_backend import OLDEST, REQUIRED

ROOT = Path(__file__).parent

# -ffp-contract=fast lets a*b+c become one multiply-add. It is the default of gcc; said here because the kernels' speed
# rests on it. The instruction set is chosen per file (csrc/cpu/kernels_*.cpp), so there is no -march. -g0 and strip:
# Python's own flags ask for debug information, which was nine tenths of the binaries.
flags = ["-std=c++20", "-O3", "-fopenmp", "-ffp-contract=fast", "-fvisibility=hidden", "-g0"]
flags += ["-Wall", "-Wextra", "-Wno-unused-parameter"]
link_flags = ["-fopenmp", "-Wl,--strip-all"]
if sanitizers := os.environ.get("FASTRNN_SANITIZE"):  # for `make sanitize`: see tests/sanitize
    flags += [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g1"]
    link_flags = ["-fopenmp", f"-fsanitize={sanitizers}"]
if sys.platform == "darwin":
    flags[flags.index("-fopenmp") : flags.index("-fopenmp") + 1] = ["-Xpreprocessor", "-fopenmp"]
    link_flags = ["-lomp", "-Wl,-x"]

# What of csrc/cpu Word2Vec shares with the layers.
WITHOUT_TORCH = ("forked", "instruction_set", "thread_count", "waiting")


# What compiles a user's cell includes these: they are installed with the package.
of_cells = runpy.run_path(str(ROOT / "fastrnn" / "_cell" / "headers.py"))


def sources(pattern: str) -> list[str]:
    return sorted(str(p.relative_to(ROOT)) for p in (ROOT / "csrc").glob(pattern))


def compiled() -> dict[str, Any]:
    """What setup() needs to compile both extensions, and to require the torch that they are compiled against."""
    try:
        import pybind11
        import torch
        from torch.utils.cpp_extension import CppExtension, CUDAExtension
    except ImportError as error:
        raise SystemExit(
            f"fastrnn is compiled against the torch it will run under, but {error.name} is not installed in "
            f"{sys.prefix}. Type: pip install torch numpy setuptools wheel ninja pybind11"
        ) from error
    release = tuple(map(int, torch.__version__.split(".")[:2]))
    if release < OLDEST:
        raise SystemExit(
            f"fastrnn needs {REQUIRED}; {torch.__version__} is installed in {Path(torch.__file__).parents[1]}. "
            "Type: pip install --upgrade torch"
        )
    cuda = with_cuda()
    extension = CUDAExtension if cuda else CppExtension
    layers = extension(
        "fastrnn._C",
        [source for source in sources("torch/**/*.cpp") if cuda or not source.startswith("csrc/torch/cuda")]
        + sources("cpu/*.cpp")
        + sources("loss/*.cpp")
        + (sources("cuda/*.cpp") + sources("cuda/*.cu") if cuda else []),
        include_dirs=cuda_include_dirs() if cuda else [],
        define_macros=[("FASTRNN_WITH_CUDA", None)] if cuda else [],
        extra_compile_args={"cxx": flags, "nvcc": ["-std=c++20", "-O3", "--expt-relaxed-constexpr"]},
        extra_link_args=link_flags,
        depends=sources("**/*.h"),
    )
    word2vec = Extension(  # a plain one: without torch's libraries, it loads without torch
        "fastrnn.word2vec._C",
        [*sources("word2vec/**/*.cpp"), *(f"csrc/cpu/{name}.cpp" for name in WITHOUT_TORCH)],
        include_dirs=[pybind11.get_include()],
        extra_compile_args=flags,
        extra_link_args=link_flags,
        language="c++",
        depends=sources("**/*.h"),
    )
    return {
        "install_requires": [f"torch=={release[0]}.{release[1]}.*", "numpy"],
        "ext_modules": [layers, word2vec],
        "cmdclass": {"build_ext": build_command(torch.__version__, cuda)},
    }


def with_cuda() -> bool:
    import torch
    from torch.utils.cpp_extension import CUDA_HOME

    forced = os.environ.get("FASTRNN_CUDA", "")
    if forced not in ("", "0", "1"):
        raise SystemExit(f"FASTRNN_CUDA must be 0 or 1, got {forced!r}")
    possible = torch.version.cuda is not None and CUDA_HOME is not None
    if forced == "1" and not possible:
        raise SystemExit(
            f"FASTRNN_CUDA=1, but torch {torch.__version__} is built for CUDA {torch.version.cuda} "
            f"and nvcc is at {CUDA_HOME}"
        )
    wanted = possible if forced == "" else forced == "1"
    # For the GPU that is here, as torch does by itself; where none is, for the A100 and H100, and those after them.
    if wanted and not torch.cuda.is_available():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", "8.0;9.0+PTX")
    return wanted


def cuda_include_dirs() -> list[str]:
    """Where the headers of cuBLAS and its kin are, if not beside nvcc: pip's own packages of CUDA's libraries."""
    from torch.utils.cpp_extension import CUDA_HOME

    if (Path(CUDA_HOME) / "include" / "cublas_v2.h").exists():
        return []
    nvidia = importlib.util.find_spec("nvidia")
    places = list(nvidia.submodule_search_locations or []) if nvidia else []
    return sorted(str(path) for place in places for path in Path(place).glob("*/include"))


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def build_command(torch_version: str, cuda: bool) -> type:
    """torch's own build_ext, which also writes fastrnn/_built.py, by which _core/extension.py knows a binary's torch.

    What an earlier build with another torch has left is thrown away: by their dates its files would be up to date.
    """
    from torch.utils.cpp_extension import BuildExtension

    facts = f'"""Written by setup.py."""\n\ntorch_version = "{torch_version}"\ncuda = {cuda}\n'

    class Build(BuildExtension):
        def run(self) -> None:
            noted = Path(self.build_temp) / "built.py"
            if not noted.exists() or noted.read_text() != facts:
                shutil.rmtree(self.build_temp, ignore_errors=True)
                self.force = True
                write(noted, facts)  # now: a build that is interrupted goes on where it was
            super().run()
            for package in (Path(self.build_lib), *([ROOT] if self.inplace else [])):
                write(package / "fastrnn" / "_built.py", facts)
            for name in of_cells["HEADERS"]:
                header = Path(self.build_lib) / "fastrnn" / of_cells["IN_PACKAGE"] / name
                header.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / "csrc" / name, header)

    return Build


# Sources build against any torch, and need none to be packed.
setup(**({"install_requires": [REQUIRED, "numpy"]} if "sdist" in sys.argv else compiled()))
