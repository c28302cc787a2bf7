"""TF32 on the CPU: rounds the operands of products as a GPU rounds them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED = 13  # bits of fraction: float32 has 23, TF32 has 10
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def rounded(values: Tensor) -> Tensor:
    """Rounds float32 numbers to the nearest TF32 number, ties away from zero."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


class TF32Products(TorchDispatchMode):
    """Within it, products of float32 matrices use operands rounded to TF32 and sum in float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            *others, left, right = args
            args = (*others, rounded(left), rounded(right))
        return func(*args, **(kwargs or {}))
