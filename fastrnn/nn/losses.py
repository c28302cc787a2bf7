"""The module of :func:`fastrnn.functional.linear_cross_entropy`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.modules.loss import _WeightedLoss

from fastrnn._core.tracing import NotScriptable
from fastrnn.losses import linear_cross_entropy
from fastrnn.nn.calls import LossCall

# What torch calls it since 2.13: isinstance holds where there is such a class.
_Twin: Any = getattr(torch.nn, "LinearCrossEntropyLoss", _WeightedLoss)


class LinearCrossEntropyLoss(NotScriptable, _Twin):
    """A linear layer and the cross entropy of its outputs, which are never in memory as a whole.

    The twin of ``torch.nn.LinearCrossEntropyLoss`` of torch 2.13: the same arguments, and parameters ``linear.weight``
    and ``linear.bias`` that each loads from the other's ``state_dict``.

    Args:
        in_features: size of each input row.
        num_classes: number of classes C.
        out_features: (d_1, ..., d_K) for a K-dimensional loss.
        bias: whether the linear layer has one.
        device, dtype: of its parameters.
        reduction: "mean", "sum" or "none".
        weight: (C), a factor for the loss of each class.
        ignore_index: target of rows that count for nothing; None is -100.
        label_smoothing: share of the target that is spread over all classes, 0 to 1.
        options: torch's ``LinearCrossEntropyOptions``, for calls that run torch's function.

    Called with input (N, in_features), or (in_features), and a target as the function takes it.
    """

    if TYPE_CHECKING:
        __call__: LossCall

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: Any = None,
        dtype: torch.dtype | None = None,
        reduction: str = "mean",
        weight: Tensor | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: Any = None,
    ) -> None:
        if weight is not None and weight.shape != (num_classes,):
            raise RuntimeError(f"expected weight shape to be {(num_classes,)}, got {tuple(weight.shape)}")
        if not 0 <= label_smoothing <= 1:
            raise RuntimeError(f"expected label_smoothing to be in range [0, 1], got {label_smoothing}")
        _WeightedLoss.__init__(self, weight, None, None, reduction)
        self.num_classes = num_classes
        self.out_features = out_features
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing
        rows = num_classes * math.prod(out_features)
        self.linear = torch.nn.Linear(in_features, rows, bias=bias, device=device, dtype=dtype)
        self.options = options

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        linear, shape = self.linear, (self.num_classes, *self.out_features)
        return linear_cross_entropy(
            input,
            linear.weight.reshape(*shape, linear.in_features) if self.out_features else linear.weight,
            target,
            linear_bias=None if linear.bias is None else linear.bias.reshape(shape),
            weight=self.weight,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            options=self.options,
        )

    def extra_repr(self) -> str:
        return (
            f"in_features={self.linear.in_features}, num_classes={self.num_classes}, out_features={self.out_features}, "
            f"bias={self.linear.bias is not None}, reduction={self.reduction}, ignore_index={self.ignore_index}, "
            f"label_smoothing={self.label_smoothing}, options={self.options}"
        )
