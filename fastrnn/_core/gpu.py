"""The GPU: whether it can be used, what it is, whose kernels run on it, and whether TF32 is allowed."""

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
_cudnn: Any = torch.backends.cudnn  # torch declares no types for its switches


def torch_device(text: str, *, numbered: bool = True) -> str:
    """Reads "cpu" or "cuda", with ``numbered`` also "cuda:1".

    Raises:
        ValueError: it is another text, or torch finds no GPU.
    """
    kind = text.partition(":")[0] if numbered else text
    if kind not in DEVICES:
        raise ValueError(f"--device must be one of {', '.join(DEVICES)}; got {text!r}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"--device {text} needs a GPU, and torch {torch.__version__} finds none")
    return text


def parse_device(text: str) -> str:
    """Reads "cpu" or "cuda"; raises ValueError for other texts, and where fastrnn cannot compute on the GPU."""
    torch_device(text, numbered=False)
    if text == "cuda" and not _C.build_info()["cuda"]:
        raise ValueError(
            "--device cuda needs fastrnn's CUDA kernels, which this build lacks: torch would be compared with itself"
        )
    return text


def kernel() -> str | None:
    """Returns the value of FASTRNN_CUDA_KERNEL, such as "step"; None if it is unset, which means torch's operator."""
    return os.environ.get(KERNEL) or None


def kernels_asked_for() -> bool:
    """Whether FASTRNN_CUDA_KERNEL asks for fastrnn's kernels instead of torch's operator.

    Raises:
        RuntimeError: it does, and this build has no CUDA kernels.
    """
    if kernel() and not BUILT:
        raise RuntimeError(
            f"{KERNEL}={kernel()} asks for fastrnn's CUDA kernels, which this build lacks. Unset {KERNEL}, or install "
            f"fastrnn where torch is built for CUDA and nvcc is found: FASTRNN_CUDA=1 {rebuild_command()}"
        )
    return kernel() is not None


@contextmanager
def own_kernels() -> Iterator[str]:
    """Within it fastrnn's kernels run: those that FASTRNN_CUDA_KERNEL names, or "step" if it is unset.

    Comparisons of fastrnn with torch on CUDA use it, since by default they would compare torch with itself.
    """
    before = kernel()
    os.environ[KERNEL] = asked = before or "step"
    try:
        yield asked
    finally:
        if before is None:
            os.environ.pop(KERNEL, None)


def describe() -> dict[str, Any]:
    """Describes the GPU, its software and the compared kernels, for files of results."""
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
    """Returns the version of NVIDIA's driver, which torch does not know."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "unknown"


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Within it cuDNN's operators on CUDA, recurrent layers among them, may, or may not, round the operands of float32
    products to TF32.

    torch has a switch for recurrent layers, one for convolutions and an older one for both, allow_tf32. Where they
    disagree, torch.export and torch.backends.cudnn.flags raise an error: all three are set, and put back afterwards.
    """
    before = [_cudnn.rnn.fp32_precision, _cudnn.conv.fp32_precision]
    older = _older_switch()
    _set_tf32(allowed, ["tf32" if allowed else "ieee"] * 2)
    try:
        yield
    finally:
        _set_tf32(older, before)


def _set_tf32(older: bool, precisions: list[str]) -> None:
    _cudnn.allow_tf32 = older  # sets the others, too: it comes first
    _cudnn.rnn.fp32_precision, _cudnn.conv.fp32_precision = precisions


def _older_switch() -> bool:
    """Reads allow_tf32, which torch refuses while the operators' switches say otherwise; leaves those at "tf32"."""
    _cudnn.rnn.fp32_precision = _cudnn.conv.fp32_precision = "tf32"
    try:
        return _cudnn.allow_tf32
    except RuntimeError:  # it disagrees
        return False
