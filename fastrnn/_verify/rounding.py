"""The reference on the CPU as it would be rounded elsewhere: the operands of products to TF32 or bfloat16, or every
result at random."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_DROPPED = 13  # bits of fraction: float32 has 23, TF32 has 10
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
_ARITHMETIC = {
    getattr(torch.ops.aten, name)
    for name in (
        *("mm", "addmm", "add", "sub", "rsub", "mul", "div", "sum", "mean", "rsqrt", "sigmoid", "tanh", "relu"),
        *("sigmoid_backward", "tanh_backward", "native_layer_norm", "native_layer_norm_backward"),
    )
}


def to_tf32(values: Tensor) -> Tensor:
    """Rounds float32 numbers to the nearest TF32 number, ties away from zero."""
    bits = values.contiguous().view(torch.int32)
    return ((bits + (1 << (_DROPPED - 1))) & -(1 << _DROPPED)).view(torch.float32)


def to_bfloat16(values: Tensor) -> Tensor:
    """Rounds numbers to the nearest bfloat16 number, ties to even, and keeps their dtype."""
    return values.bfloat16().to(values.dtype)


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


class RandomRounding(TorchDispatchMode):
    """Within it, every result of arithmetic is moved at random, by up to ``eps`` times itself.

    How far that moves what a computation returns says how well its own rounding can be known (Monte Carlo arithmetic,
    Parker 1997): a cell that divides by a small deviation magnifies what came before.
    """

    def __init__(self, eps: float, seed: int) -> None:
        super().__init__()
        self.eps = eps
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        results = func(*args, **(kwargs or {}))
        if func.overloadpacket not in _ARITHMETIC:
            return results
        if isinstance(results, Tensor):
            return self.moved(results)
        return tuple(self.moved(result) if isinstance(result, Tensor) else result for result in results)

    def moved(self, result: Tensor) -> Tensor:
        part = torch.rand(result.shape, generator=self.generator, dtype=result.dtype)
        return result * (1 + self.eps * (2 * part - 1))
