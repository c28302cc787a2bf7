"""TF32 on the CPU: float32 numbers rounded to it, and products of matrices whose operands are."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED = 13  # bits of fraction: float32 has 23, TF32 has 10
TF32_EPS = 2.0**-10  # from 1 to the next number
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)


def to_tf32(values: Tensor) -> Tensor:
    """Rounds float32 numbers to the nearest TF32 number, ties away from zero."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


class RoundedProducts(TorchDispatchMode):
    """Within it, products of matrices use rounded operands; they are summed in the operands' own dtype."""

    def __init__(self, rounded: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.rounded = rounded

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            *others, left, right = args
            args = (*others, self.rounded(left), self.rounded(right))
        return func(*args, **(kwargs or {}))
