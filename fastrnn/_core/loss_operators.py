"""The operators of the softmax loss, and the shapes of what they return: as operators.py for the layers'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn._core.extension import _C as _C  # whose operators these are

forward = torch.ops.fastrnn.linear_cross_entropy.default
backward = torch.ops.fastrnn.linear_cross_entropy_backward.default


class LossCall(NamedTuple):
    """The arguments of a loss, in the order in which the operators take them, before ``needs``.

    N rows, H features, C classes.
    """

    input: Tensor  # (N, H)
    linear_weight: Tensor  # (C, H)
    target: Tensor  # int64 (N)
    linear_bias: Tensor | None  # (C)
    weight: Tensor | None  # (C)
    reduction: str
    ignore_index: int
    label_smoothing: float

    def tensors(self) -> tuple[Tensor | None, ...]:
        return self.input, self.linear_weight, self.target, self.linear_bias, self.weight

    def variables(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """What has a gradient, in the order of ``needs``."""
        return self.input, self.linear_weight, self.linear_bias


@torch.library.register_fake("fastrnn::linear_cross_entropy")
def _forward_shapes(*arguments: Any) -> tuple[Tensor, ...]:
    call, needs = LossCall(*arguments[:-1]), arguments[-1]
    loss = call.input.new_empty(call.input.shape[:1] if call.reduction == "none" else ())
    computed = torch.float64 if call.input.dtype == torch.float64 else torch.float32
    return loss, *_gradient_shapes(call, needs, computed)


@torch.library.register_fake("fastrnn::linear_cross_entropy_backward")
def _backward_shapes(d_loss: Tensor, *arguments: Any) -> tuple[Tensor, ...]:
    return _gradient_shapes(LossCall(*arguments[:-1]), arguments[-1], None)


def _gradient_shapes(call: LossCall, needs: Sequence[bool], dtype: torch.dtype | None) -> tuple[Tensor, ...]:
    """Empty where they are not wanted; in the dtype of each operand if no other is given."""
    return tuple(
        t.new_empty(t.shape if need else 0, dtype=dtype) if t is not None else call.input.new_empty(0, dtype=dtype)
        for t, need in zip(call.variables(), needs, strict=True)
    )
