"""What happens to gradients between backward and the step of the optimizer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm


@torch.no_grad()
def finish(parameters: Iterable[nn.Parameter], divisor: float, clip: float | None) -> Tensor:
    """Divide the gradients, scale them down to a norm of at most ``clip``, and return their norm before scaling.

    It reads them once and writes them once, if they change: on the CPU a gradient shorter than ``clip`` is not written;
    on a GPU that test would make the CPU wait.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return torch.zeros(())
    norm = get_total_norm(gradients) / divisor
    factor: Tensor | float = 1 / divisor
    if clip is not None:
        factor = (clip / (norm + 1e-6)).clamp(max=1.0) / divisor
        factor = float(factor) if norm.device.type == "cpu" else factor
    if isinstance(factor, Tensor) or factor != 1:
        torch._foreach_mul_(gradients, factor)
    return norm
