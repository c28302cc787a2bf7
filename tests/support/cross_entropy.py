"""What the tests of linear_cross_entropy share: operands, gradients, and the same in plain torch and in float64."""

import math

import pytest
import torch
from torch.nn.functional import cross_entropy, linear

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
REDUCTIONS = ("mean", "sum", "none")
torchs = getattr(torch.nn.functional, "linear_cross_entropy", None)
needs_torchs = pytest.mark.skipif(torchs is None, reason="this torch has no linear_cross_entropy")


def problem(rows, features, classes, dtype=F32, *, bias=True, weighted=False, ignored=True, seed=0):
    """The differentiable operands (input, linear_weight, linear_bias or None), the target and the class weights."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=F64)

    operands = [normal(rows, features), normal(classes, features) * 3 / features**0.5, normal(classes)]
    target = torch.randint(classes, (rows,), generator=generator)
    if ignored:
        target[1::4] = -100
    weight = torch.rand(classes, generator=generator, dtype=F64).to(dtype) if weighted else None
    operands = [t.to(dtype).requires_grad_() for t in operands]
    return (*operands[:2], operands[2] if bias else None), target, weight


def with_gradients(function, operands, target, d_loss=None, **options):
    """The loss and the gradients of the operands, for an incoming gradient that is not all ones."""
    input, linear_weight, linear_bias = operands
    loss = function(input, linear_weight, target, linear_bias=linear_bias, **options)
    d_loss = torch.linspace(0.5, 1.5, loss.numel(), dtype=F64).reshape(loss.shape) if d_loss is None else d_loss
    given = [t for t in operands if t is not None and t.requires_grad]
    return loss.detach(), *torch.autograd.grad(loss, given, d_loss.to(loss.dtype))


def in_plain_torch(input, linear_weight, target, *, linear_bias=None, ignore_index=None, **options):
    """What torch's function is said to be equivalent to; every torch has its two halves."""
    index = -100 if ignore_index is None else ignore_index
    return cross_entropy(linear(input, linear_weight, linear_bias), target, ignore_index=index, **options)


def exact(operands, target, weight=None, **options):
    """The same in float64."""
    operands = [t if t is None else t.detach().double().requires_grad_() for t in operands]
    return with_gradients(
        in_plain_torch, operands, target, weight=None if weight is None else weight.double(), **options
    )


def error(found, true):
    difference = (found.double() - true).abs()
    return 0.0 if not difference.numel() else float(difference.nan_to_num(math.inf).max())
