"""The environment: kernels, build, versions and processor, as `fastrnn info` and files of results show them."""

import importlib.metadata
import os
import platform
from datetime import date
from typing import Any

import torch

from fastrnn._built import torch_version
from fastrnn._core import gpu
from fastrnn._core.extension import _C
from fastrnn._core.gpu import OWN_KERNELS

OTHER_DEVICES = tuple(device for device in ("cuda", "mps", "xpu") if device not in OWN_KERNELS)


def info() -> dict[str, Any]:
    """Describes what computes on which device, and the instruction set, threads, build and versions.

    Keys: `kernels` (device type to description), `instruction_set` ("generic", "avx2", "avx512" or "avx512_bf16"),
    `threads` (the intra-op threads that torch will use), `build` (torch, compiler, OpenMP, CUDA), `processor`, `cores`,
    `versions`.
    """
    return {
        "kernels": kernels(),
        "instruction_set": _C.instruction_set(),
        "threads": torch.get_num_threads(),
        "build": {"torch": torch_version} | _C.build_info(),
        "processor": processor(),
        "cores": cores(),
        "versions": versions(),
    }


def kernels() -> dict[str, str]:
    """Maps each device type to a description of what computes there."""
    own = {"cpu": on_cpu(), "cuda": on_cuda(gpu.kernel())}
    own = {device: own[device] for device in OWN_KERNELS}
    return own | dict.fromkeys(OTHER_DEVICES, "torch's own operator; the plain-torch reference for cells torch lacks")


def on_cpu() -> str:
    """Describes what runs on this machine's processor."""
    return f"fastrnn's kernels ({_C.instruction_set()})"


def on_cuda(kernel: str | None) -> str:
    """Describes what a build with CUDA kernels runs on a GPU, given FASTRNN_CUDA_KERNEL; None if that is unset."""
    if kernel:
        return f"fastrnn's kernels ({gpu.KERNEL}={kernel})"
    return (
        "fastrnn's kernels where they were measured to be faster (H100, H200), and for cells torch lacks; elsewhere "
        f"torch's own operator. {gpu.KERNEL}=fastest, step, block, cluster or grid runs fastrnn's for every cell"
    )


def versions() -> dict[str, str]:
    """Maps Python, fastrnn, torch and the installed peers to their versions."""
    found = {"python": platform.python_version()}
    for name in ("fastrnn", "torch", "onnxruntime", "openvino"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def cores() -> int:
    """Returns the number of processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processor() -> str:
    """Returns the processor's name, as its maker writes it if the system reports that."""
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def fma_peak(threads: int) -> float:
    """Measures the peak of float32 multiply-adds on some threads, in GFLOP/s: the best of three runs."""
    return max(_C.fma_peak(threads) for _ in range(3))


def machine() -> dict[str, Any]:
    """Describes the machine and its software, for files of results."""
    return {
        "processor": processor(),
        "cores": cores(),
        "instruction_set": _C.instruction_set(),
        "date": date.today().isoformat(),
        "versions": versions(),
    }
