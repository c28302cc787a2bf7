"""Lengths and resets as the user gives them: checked, and made what the operators take.

Lengths may be of any integer dtype and on any device; the operators want int64 on the CPU. The numbers of a tensor that
is traced cannot be looked at: the operators check them when they run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fastrnn._core.call import Call

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def checked(call: Call) -> Call:
    """The call with lengths and resets that fit its input, whose rank has been checked.

    Raises:
        ValueError: wrong type, dtype, size or range, or lengths beside ``batch_sizes``.
    """
    if call.lengths is not None:
        call = call._replace(lengths=_lengths(call, call.lengths))
    if call.resets is not None:
        _check_resets(call, call.resets)
    return call


def refuse_lengths(lengths: Any, input: str, instead: str) -> None:
    """Raise ValueError where lengths are given for input that cannot have them."""
    if lengths is not None:
        raise ValueError(f"Expected lengths with padded input alone, got lengths and {input}; {instead}")


def _lengths(call: Call, lengths: Any) -> Tensor:
    if call.batch_sizes is not None:
        refuse_lengths(lengths, "packed input", "its batch_sizes say how long each row is: leave lengths out")
    batch, steps = call.input.size(call.batch_axis()), call.input.size(1 - call.batch_axis())
    if not isinstance(lengths, Tensor):
        raise ValueError(
            f"Expected lengths to be a tensor of integers, got {_kind(lengths)}; pass torch.tensor(lengths)"
        )
    if lengths.dtype not in _INTEGERS:
        raise ValueError(
            f"Expected lengths of an integer dtype, got {lengths.dtype}; convert them with .to(torch.int64)"
        )
    if lengths.dim() != 1 or lengths.size(0) != batch:
        raise ValueError(
            f"Expected lengths of size [{batch}], one for each row of the batch, got size {list(lengths.shape)}"
        )
    _check_dense("lengths", lengths)
    if lengths.is_meta and not call.input.is_meta:
        raise ValueError("Expected lengths with numbers, got a tensor on meta, which has none; pass them on the cpu")
    lengths = lengths.to(device="meta" if lengths.is_meta else "cpu", dtype=torch.int64)
    check_range(lengths, steps)
    return lengths


def check_range(lengths: Tensor, steps: int) -> None:
    """Check that lengths are from 0 to ``steps``, where their numbers are known."""
    if lengths.is_meta or torch.compiler.is_compiling():
        return
    plain: Any = lengths
    while torch._C._functorch.is_functorch_wrapped_tensor(plain):
        plain = torch._C._functorch.get_unwrapped(plain)
    for wrong in ((plain < 0) | (plain > steps)).nonzero().tolist()[:1]:
        raise ValueError(
            f"Expected lengths from 0 to {steps}, the steps of the input, got {plain[tuple(wrong)]} at {wrong[-1]}"
        )


def _check_resets(call: Call, resets: Any) -> None:
    if not isinstance(resets, Tensor):
        raise ValueError(f"Expected resets to be a tensor of dtype torch.bool, got {_kind(resets)}")
    if resets.dtype != torch.bool:
        raise ValueError(f"Expected resets of dtype torch.bool, got {resets.dtype}; convert it with .bool()")
    if resets.shape != call.input.shape[:-1]:
        raise ValueError(
            f"Expected resets of size {list(call.input.shape[:-1])}, that of the input without its features, got size "
            f"{list(resets.shape)}"
        )
    _check_dense("resets", resets)
    if resets.device != call.input.device:
        raise ValueError(
            f"Expected resets on the input's device {call.input.device}, got {resets.device}; move it there with "
            f'.to("{call.input.device}")'
        )


def _check_dense(name: str, t: Tensor) -> None:
    if t.layout is not torch.strided:
        raise ValueError(f"Expected {name} to be a dense tensor, got layout {t.layout}; pass {name}.to_dense()")


def _kind(value: Any) -> str:
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, (list, tuple)) else "")
