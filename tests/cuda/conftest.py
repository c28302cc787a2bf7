"""The CUDA layers' operators: compiled for the CPU (see emulation/library.cpp), or on a GPU."""

import os
from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import CUDA_HOME, load

from fastrnn._core import gpu

ROOT = Path(__file__).parents[2]
EMULATION = ROOT / "tests" / "cuda" / "emulation"
OF_TORCH = [ROOT / "csrc" / "torch" / f"{name}.cpp" for name in ("arguments", "layer", "operators", "cuda")]


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory):
    """Compiled once: a second process of tests waits for the first, at the lock that torch keeps in the folder."""
    include = Path(CUDA_HOME or "/usr/local/cuda") / "include"
    if not (include / "cuda_fp16.h").exists():
        pytest.skip(f"the headers of CUDA's numbers are not in {include}")
    sources = [*EMULATION.glob("*.cpp"), *(ROOT / "csrc" / "cuda").glob("*.cpp"), *OF_TORCH]
    ours = tmp_path_factory.getbasetemp()
    build = (ours.parent if "PYTEST_XDIST_WORKER" in os.environ else ours) / "cuda_on_cpu"
    build.mkdir(exist_ok=True)
    load(
        "fastrnn_cuda_on_cpu",
        [*map(str, sources), str(ROOT / "csrc" / "cpu" / "forked.cpp")],
        extra_cflags=["-std=c++20", "-O1", "-w", f'-DFASTRNN_HARDWARE=\\"{EMULATION / "gpu.h"}\\"'],
        extra_include_paths=[str(EMULATION), str(include)],
        build_directory=str(build),
        is_python_module=False,
    )
    return torch.ops.fastrnn_cuda_on_cpu


@pytest.fixture
def kernels(request, device):
    """The operators: those of the GPU with `--device cuda`, else the emulated ones."""
    return torch.ops.fastrnn if device == "cuda" else request.getfixturevalue("emulated")


@pytest.fixture(autouse=True)
def _steps_by_default(request, monkeypatch):
    """What runs, where a test does not ask for other kernels."""
    if {"emulated", "kernels"} & set(request.fixturenames):
        monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "step")


@pytest.fixture
def on_cuda(device):
    """Of tests that no other device can run."""
    try:
        gpu.parse_device("cuda")
    except ValueError as error:
        pytest.skip(str(error))
    if device != "cuda":
        pytest.skip("needs pytest --device cuda")


@pytest.fixture
def small_chunks(emulated):
    """Chunks of a step or two, which have to be of many megabytes else."""
    before = emulated.set_chunk_bytes(200)
    yield
    emulated.set_chunk_bytes(before)
