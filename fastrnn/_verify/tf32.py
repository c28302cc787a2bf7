"""What TF32 costs: the reference on the CPU, with the operands of its products rounded as a GPU rounds them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED = 13  # of float32's 23 bits of fraction; TF32 has 10
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def rounded(values: Tensor) -> Tensor:
    """Rounds float32 numbers to TF32, the nearest, and of two as near the larger."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


class TF32Products(TorchDispatchMode):
    """While it lasts, every product of two float32 matrices is that of their rounded elements, summed up in float32."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            *others, left, right = args
            args = (*others, rounded(left), rounded(right))
        return func(*args, **(kwargs or {}))
