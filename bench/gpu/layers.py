"""One recurrent layer, as the programs of this folder run it: by a kernel of fastrnn's or by torch.nn."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch import Tensor

import fastrnn
from fastrnn._bench.work import described
from fastrnn._core import gpu, masks, regularized

CELLS = ("LSTM", "GRU", "RNN")


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """As gpu.tf32, and of torch's own products too, of which the plain-torch reference is made: it would be judged by
    float32's accuracy else."""
    matmul = torch.backends.cuda.matmul
    before, matmul.fp32_precision = matmul.fp32_precision, "tf32" if allowed else "ieee"
    try:
        with gpu.tf32(allowed):
            yield
    finally:
        matmul.fp32_precision = before


def options_of(cell: str, hidden: int, options: str) -> dict[str, Any]:
    """Returns a layer's arguments for the options of that name, see :class:`Layer`.

    What dropout keeps is doubled, which every dtype can do.
    """
    found: dict[str, Any] = {"learn_initial_state": True}
    if options in ("masks", "heads"):
        found |= {"recurrent_dropout": 0.5, "zoneout_h": 0.25} | ({"zoneout_c": 0.25} if cell == "LSTM" else {})
    if options == "heads":
        found["heads"] = next(n for n in (5, 3, 1) if hidden % n == 0)
    return found


@contextmanager
def masks_from_the_cpu() -> Iterator[None]:
    """Draws the masks of steps from the CPU's generator, wherever the layer is: the same ones."""
    drawn = masks.kept

    def kept(sizes: Sequence[int], p: float, device: torch.device) -> Tensor:
        return drawn(sizes, p, torch.device("cpu")).to(device)

    with mock.patch.object(regularized, "kept", kept):
        yield


class Layer(NamedTuple):
    """A layer's sizes, and who runs it: "torch", or what FASTRNN_CUDA_KERNEL says, such as "cluster:4".

    dtype: float64, float32, tf32 (float32 with TF32 allowed), bfloat16 or float16.
    options: "resets" has resets, every state and a learned initial state, "masks" besides recurrent dropout and
        zoneout, and "heads" several heads too: what torch.nn lacks, so "torch" is the plain-torch reference then, as
        with layer_norm. "" has none.
    """

    kernel: str
    cell: str
    dtype: str
    T: int
    B: int
    I: int
    H: int
    options: str = ""
    layer_norm: bool = False

    def __str__(self) -> str:
        sizes = f"{self.T}x{self.B}x{self.I}x{self.H}"
        lacking = (f" with {self.options}" if self.options else "") + (" normalized" if self.layer_norm else "")
        return f"{self.kernel} {self.cell} {self.dtype} {sizes}{lacking}"

    @property
    def torch_dtype(self) -> torch.dtype:
        return torch.float32 if self.dtype == "tf32" else getattr(torch, self.dtype)

    @property
    def lacking_in_torch(self) -> bool:
        """Whether torch.nn has no such layer."""
        return bool(self.options) or self.layer_norm

    def make(self, device: str, **options: Any) -> Any:
        """Returns torch.nn's module or fastrnn's, with the same weights on every device."""
        torch.manual_seed(7)
        return self.drawn("cpu", torch.float64, **options).to(device, self.torch_dtype)

    def drawn(self, device: str, dtype: torch.dtype, **options: Any) -> Any:
        """Returns the module with weights that were drawn on the device itself: soon, where there are many."""
        package = fastrnn if self.kernel != "torch" or self.lacking_in_torch else torch.nn
        if self.options:
            options |= options_of(self.cell, self.H, self.options)
        if self.layer_norm:
            options["layer_norm"] = True
        return getattr(package, self.cell)(self.I, self.H, device=device, dtype=dtype, **options)

    def input(self, device: str) -> Tensor:
        torch.manual_seed(8)
        return torch.randn(self.T, self.B, self.I, dtype=torch.float64).to(device, self.torch_dtype)

    def resets(self, device: str) -> Tensor:
        """Returns where rows begin anew: at a third of their steps."""
        torch.manual_seed(10)
        return (torch.rand(self.T, self.B) < 1 / 3).to(device)

    @contextmanager
    def kernel_asked_for(self, device: str) -> Iterator[None]:
        """Sets FASTRNN_CUDA_KERNEL and the switches of TF32 while it lasts."""
        before = os.environ.pop(gpu.KERNEL, None)
        if self.kernel != "torch":
            os.environ[gpu.KERNEL] = self.kernel
        try:
            with tf32(self.dtype == "tf32") if device == "cuda" else nullcontext():
                yield
        finally:
            os.environ.pop(gpu.KERNEL, None)
            if before is not None:
                os.environ[gpu.KERNEL] = before

    def team(self, device: str, backward: bool = False) -> list[int] | None:
        """Returns the blocks, rows and bytes of shared memory of the team that runs it, [] where it goes step by step.

        None where there are no teams: for torch, and on the CPU.
        """
        if self.kernel == "torch" or device != "cuda":
            return None
        with self.kernel_asked_for(device):
            cell, dtype = described(self.cell).name, self.torch_dtype
            return list(torch.ops.fastrnn.cuda_team(cell, dtype, self.H, self.B, backward))
