"""The GPU: whether it can be used, what it is, whose kernels run on it, and whether float32 may become TF32."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from fastrnn._core.extension import _C, rebuild_command

DEVICES = ("cpu", "cuda")
BUILT: bool = _C.build_info()["cuda"]
OWN_KERNELS = ("cpu", "cuda") if BUILT else ("cpu",)  # the devices that fastrnn has kernels for
KERNEL = "FASTRNN_CUDA_KERNEL"
_cudnn_rnn: Any = torch.backends.cudnn.rnn  # torch declares no types for its switches


def parse_device(text: str) -> str:
    """Reads "cpu" or "cuda"; raises ValueError if it is neither, or if fastrnn cannot compute there."""
    if text not in DEVICES:
        raise ValueError(f"--device is one of {', '.join(DEVICES)}; got {text!r}")
    if text == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device cuda needs a GPU that torch can use; torch {torch.__version__} finds none")
    if text == "cuda" and not _C.build_info()["cuda"]:
        raise ValueError(
            "--device cuda needs fastrnn's CUDA kernels, or torch would be compared with itself; this build has none"
        )
    return text


def kernel() -> str | None:
    """Returns what FASTRNN_CUDA_KERNEL asks for, such as "step"; None where it is unset: torch's own operator."""
    return os.environ.get(KERNEL) or None


def kernels_asked_for() -> bool:
    """Whether fastrnn's kernels are to run where torch's operator would.

    Raises:
        RuntimeError: they are asked for, and this build has none.
    """
    if kernel() and not BUILT:
        raise RuntimeError(
            f"{KERNEL}={kernel()} asks for fastrnn's CUDA kernels, which this build lacks. Unset {KERNEL}, or install "
            f"fastrnn where torch is built for CUDA and nvcc is found: FASTRNN_CUDA=1 {rebuild_command()}"
        )
    return kernel() is not None


@contextmanager
def own_kernels() -> Iterator[str]:
    """Asks for fastrnn's kernels for a while: those that FASTRNN_CUDA_KERNEL names, or if it is unset those of "step".

    Whatever compares fastrnn with torch on CUDA says so explicitly. By default it would compare torch with itself.
    """
    before = kernel()
    os.environ[KERNEL] = asked = before or "step"
    try:
        yield asked
    finally:
        if before is None:
            os.environ.pop(KERNEL, None)


def describe() -> dict[str, Any]:
    """Describes the GPU, its software and the kernels that are compared, for the head of a file of results."""
    found = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "name": found.name,
        "capability": f"{found.major}.{found.minor}",
        "multiprocessors": found.multi_processor_count,
        "memory": found.total_memory,
        "driver": driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "kernel": kernel() or "step",  # as own_kernels() does
    }


def driver() -> str:
    """Returns the version of NVIDIA's driver: torch knows only that of CUDA."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allows recurrent layers on CUDA to round the operands of float32 products to TF32, or forbids it, for a while.

    With torch's newer switch alone: once that is used, torch refuses to say what the older one, allow_tf32, is.
    """
    before = _cudnn_rnn.fp32_precision
    _cudnn_rnn.fp32_precision = "tf32" if allowed else "ieee"
    try:
        yield
    finally:
        _cudnn_rnn.fp32_precision = before
