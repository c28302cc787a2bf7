"""Cross entropy of a linear layer's outputs, without those outputs in memory: forward and backward in one pass.

The kernels of csrc/loss serve class indices on the CPU, in four dtypes. Everything else (class probabilities,
K-dimensional weights, other devices and dtypes, tensor subclasses, forward-mode derivatives, torch.func, tracers) runs
torch's function, or ``linear`` and ``cross_entropy`` in a torch that has none. So do wrong arguments, so that the
errors are torch's.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import has_torch_function_variadic

from fastrnn._core import loss_operators as operators
from fastrnn._core.batching import under_autograds_vmap
from fastrnn._core.loss_operators import LossCall
from fastrnn._core.tracing import exports_to_onnx

_NARROW = (torch.bfloat16, torch.float16)
_DTYPES = (torch.float32, torch.float64, *_NARROW)
_REDUCTIONS = ("none", "mean", "sum")
_IGNORED = -100  # torch's default of ignore_index


def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: Any = None,
) -> Tensor:
    """``cross_entropy(linear(input, linear_weight, linear_bias), target)``, without the (N, C) logits in memory.

    N rows, H features, C classes. Values, gradients, defaults and errors are those of
    ``torch.nn.functional.linear_cross_entropy`` of torch 2.13.

    Args:
        input: (N, H), or (H) for one row.
        linear_weight: (C, H); in general (C, d_1, ..., d_K, H).
        target: class indices, int64 (N), or () for one row; in general as ``torch.nn.functional.cross_entropy``.
        linear_bias: (C), added to the logits.
        weight: (C), a factor for the loss of each class; "mean" divides by the sum over the rows of their factors.
        reduction: "mean", "sum" or "none".
        ignore_index: rows with this target count for nothing. None is -100.
        label_smoothing: share of the target that is spread over all classes, 0 to 1.
        options: torch's, for calls that run torch's function.

    Returns:
        the loss, a scalar, or (N) without a reduction, in the dtype of the input. bfloat16 and float16 accumulate in
        float32, and the loss is rounded once. Under ``torch.autocast`` it is float32.

    Raises:
        RuntimeError, ValueError, TypeError: as torch, for shapes, dtypes and options that do not fit.
        IndexError: a target that is no class.

    With "mean" and "sum" the gradients are computed in the forward pass, three matrix products in all, and kept; with
    "none" the backward pass computes the logits again. See docs/adr/0021.
    """
    index = _IGNORED if ignore_index is None else ignore_index
    call = LossCall(input, linear_weight, target, linear_bias, weight, reduction, index, label_smoothing)
    by_torch = partial(_by_torch, call, ignore_index, options)
    if has_torch_function_variadic(*call.tensors()):
        return by_torch()
    _check(call, given_index=ignore_index is not None)
    if not _kernels_serve(call):
        return by_torch()
    call = call._replace(label_smoothing=float(label_smoothing))
    if torch.is_autocast_enabled("cpu") and input.dtype != torch.float64:
        bias, weight = (None if t is None else t.float() for t in (linear_bias, weight))
        call = call._replace(input=input.float(), linear_bias=bias, weight=weight)
    batched = input.dim() == 2
    if not batched:
        call = call._replace(input=call.input.unsqueeze(0), target=target.unsqueeze(0))
    loss = operators.forward(*call, [False] * 3)[0]
    return loss.squeeze(0) if reduction == "none" and not batched else loss


def _check(call: LossCall, given_index: bool) -> None:
    """What torch's function checks itself before it calls cross_entropy, in its words."""
    input, linear_weight, linear_bias = call.variables()
    if input.dim() not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {input.dim()}")
    if linear_weight.dim() < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {linear_weight.dim()}")
    features, (classes, *inner, expected) = input.shape[-1], linear_weight.shape
    if features != expected:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), "
            f"got {features} and {expected}, respectively"
        )
    if linear_bias is not None and tuple(linear_bias.shape) != (classes, *inner):
        raise RuntimeError(f"expected linear_bias shape {(classes, *inner)}, got {tuple(linear_bias.shape)}")
    if inner and input.dim() == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {tuple(linear_weight.shape)} requires batched input, "
            f"(N, {features}), got unbatched input with shape {tuple(input.shape)}"
        )
    if call.target.shape == (*input.shape[:-1], classes, *inner) and given_index:
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")


def _kernels_serve(call: LossCall) -> bool:
    """Whether the kernels compute the same as torch's function with these arguments."""
    input, linear_weight, target, weight = call.input, call.linear_weight, call.target, call.weight
    numbers = [t for t in (*call.variables(), weight) if t is not None]
    if not all(t.is_cpu and t.layout == torch.strided for t in (*numbers, target)):
        return False
    dtypes = {t.dtype for t in numbers}
    together = dtypes <= {torch.float32, *_NARROW} if torch.is_autocast_enabled("cpu") else len(dtypes) == 1
    if input.dtype not in _DTYPES or not (together or dtypes == {torch.float64}):
        return False
    if linear_weight.dim() != 2 or target.dtype != torch.int64 or target.shape != input.shape[:-1]:
        return False
    if weight is not None:
        derived = weight.requires_grad and torch.is_grad_enabled()
        if weight.shape != linear_weight.shape[:1] or derived:
            return False
    if input.numel() == 0 or linear_weight.numel() == 0:
        return False
    if call.reduction not in _REDUCTIONS or type(call.ignore_index) is not int or not 0 <= call.label_smoothing <= 1:
        return False
    if forward_ad._current_level >= 0 or torch._C._are_functorch_transforms_active():
        return False
    return not torch.jit.is_tracing() and not exports_to_onnx()


def _by_torch(call: LossCall, ignore_index: int | None, options: Any) -> Tensor:
    if not hasattr(functional, "linear_cross_entropy"):
        return reference(*call)
    return functional.linear_cross_entropy(
        call.input,
        call.linear_weight,
        call.target,
        linear_bias=call.linear_bias,
        weight=call.weight,
        reduction=call.reduction,
        ignore_index=ignore_index,
        label_smoothing=call.label_smoothing,
        options=options,
    )


def reference(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    linear_bias: Tensor | None,
    weight: Tensor | None,
    reduction: str,
    ignore_index: int,
    label_smoothing: float,
) -> Tensor:
    """The same in plain torch, with the logits in memory. It can be differentiated repeatedly, in both modes."""
    shape = linear_weight.shape[:-1]
    bias = None if linear_bias is None else linear_bias.flatten()
    logits = functional.linear(input, linear_weight.flatten(0, -2), bias).unflatten(-1, shape)
    return functional.cross_entropy(
        logits,
        target,
        weight=weight,
        reduction=reduction,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )


def _setup(ctx: Any, inputs: tuple, output: Any) -> None:
    d_loss, input, linear_weight, target, linear_bias, weight, *ctx.options, ctx.needs = inputs
    ctx.save_for_backward(d_loss, input, linear_weight, linear_bias, target, weight)


def _second_derivative(ctx: Any, *grads_of_grads: Tensor | None) -> tuple:
    """Differentiate what the backward operator computes, as a function of d_loss, input, weight and bias."""
    *variables, target, weight = ctx.saved_tensors
    given = [t for t in variables if t is not None]

    def gradients(d_loss: Tensor, *operands: Tensor) -> tuple[Tensor, ...]:
        wanted = [t for t, need in zip(operands, ctx.needs, strict=False) if need]

        def loss(*wanted: Tensor) -> Tensor:
            found = iter(wanted)
            input, linear_weight, *bias = (
                next(found) if need else t for t, need in zip(operands, ctx.needs, strict=False)
            )
            return reference(input, linear_weight, target, bias[0] if bias else None, weight, *ctx.options)

        return torch.func.vjp(loss, *wanted)[1](d_loss)

    primal, pull = torch.func.vjp(gradients, *given)  # type: ignore[misc]
    again = [gg for gg, need in zip(grads_of_grads, ctx.needs, strict=True) if need]
    pairs = zip(primal, again, strict=True)
    found = pull(tuple(torch.zeros_like(g) if gg is None else gg for g, gg in pairs))
    d_loss, input, linear_weight, linear_bias = (*found, None)[:4]
    return d_loss, input, linear_weight, None, linear_bias, None, None, None, None, None


def _backward_under_vmap(size: int, dims: Any, *arguments: Any) -> tuple[list, list]:
    """One entry after the other: a batch of gradients for a backward pass that was recorded without vmap."""

    def entry(i: int) -> list:
        pairs = zip(arguments, dims, strict=True)
        return [a.select(dim, i) if isinstance(dim, int) else a for a, dim in pairs]

    results = [operators.backward(*entry(i)) for i in range(size)]
    stacked = [torch.stack(tensors) for tensors in zip(*results, strict=True)]
    return stacked, [0] * len(stacked)


torch.library.register_autograd("fastrnn::linear_cross_entropy_backward", _second_derivative, setup_context=_setup)
_library = torch.library.Library("fastrnn", "IMPL")
_library.impl("linear_cross_entropy_backward", under_autograds_vmap(_backward_under_vmap), "Batched")
