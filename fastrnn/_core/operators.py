"""The operators of the C++ core, called with a Call, and the shapes of what they return.

``torch.ops.fastrnn.*`` are declared in csrc/torch/schema.h. The order of their arguments is known here alone: a
``run_`` function takes a Call apart, and the ``_call`` function beside it puts one together again by the names of the
schema, for the shape functions and the rules of autograd and vmap. The shapes let torch.compile, torch.export and the
meta device work with the operators without running a kernel.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn import reference
from fastrnn._core import cells
from fastrnn._core.call import Call, Results
from fastrnn._core.checks import check_devices, check_lengths

forward = torch.ops.fastrnn.forward.default
backward = torch.ops.fastrnn.backward.default
infer = torch.ops.fastrnn.infer.default
infer_packed = torch.ops.fastrnn.infer_packed.default

_Size = int | torch.SymInt
_WEIGHTS = 3  # place of the first weight in Call.tensors()
_CACHE_LINE = 64
_LEAST_STEPS_PER_CHECKPOINT = 8  # as in csrc/sequence/problem.h and csrc/cuda/sequence.cpp
_ROWS_PER_CHECKPOINT = 2048  # as in csrc/cuda/sequence.cpp
_DEVIATIONS_SAVED = 4  # as in csrc/cuda/layer_norm.h


class Backward(NamedTuple):
    """What the backward operator takes beside the call."""

    incoming: tuple[Tensor | None, Tensor | None, Tensor | None]  # gradients of output, h_n and c_n
    output: Tensor
    saved: Tensor  # as forward returned it
    needs: Sequence[bool]  # whose gradients are wanted, in the order of Call.tensors()


def run_forward(call: Call, save: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One layer, all its directions: output, h_n, c_n and, with ``save``, what the backward operator needs of it."""
    return forward(
        call.cell.name,
        call.input,
        call.batch_sizes,
        call.h0,
        call.c0,
        list(call.weights),
        call.biases,
        call.bidirectional,
        call.batch_first,
        save,
        call.recompute,
        call.projected,
        call.lengths,
        call.resets,
        call.every_state,
        call.learned_state,
        call.recurrent_mask,
        call.zoneout_h,
        call.zoneout_c,
        call.heads,
    )


def forward_call(*arguments: Any) -> tuple[Call, bool]:
    """The call of which these are the forward operator's arguments, and ``save``."""
    given = by_name(forward, arguments)
    save = given.pop("save")
    return _call(given), save


def run_backward(call: Call, given: Backward) -> list[Tensor]:
    """The gradients of ``call.tensors()``, empty where they are not wanted."""
    return backward(
        call.cell.name,
        *given.incoming,
        call.input,
        call.batch_sizes,
        call.h0,
        call.c0,
        list(call.weights),
        given.output,
        given.saved,
        call.biases,
        call.bidirectional,
        call.batch_first,
        list(given.needs),
        call.recompute,
        call.projected,
        call.groups,
        call.lengths,
        call.resets,
        call.every_state,
        call.learned_state,
        call.recurrent_mask,
        call.zoneout_h,
        call.zoneout_c,
        call.heads,
    )


def backward_call(*arguments: Any) -> tuple[Call, Backward]:
    """The call of which these are the backward operator's arguments, and what that takes besides."""
    given = by_name(backward, arguments)
    incoming = given.pop("d_output"), given.pop("d_hn"), given.pop("d_cn")
    besides = Backward(incoming, given.pop("output"), given.pop("saved"), given.pop("needs"))
    return _call(given), besides


def run_infer(call: Call) -> Results:
    """All layers at once, without saving."""
    return infer(
        call.cell.name,
        call.input,
        call.batch_sizes,
        call.h0,
        call.c0,
        call.weights,
        call.num_layers,
        call.biases,
        call.bidirectional,
        call.batch_first,
        call.projected,
        call.lengths,
        call.resets,
        call.learned_state,
        call.heads,
    )


class Packed(NamedTuple):
    """What ``infer_packed`` is told beside the call: numbers and sizes of matrices that are packed once and for all."""

    numbers: str  # "float32", "bfloat16" or "int8"
    input_size: int
    hidden_size: int
    projection_size: int  # 0 without


def run_infer_packed(call: Call, packed: Packed) -> Results:
    """All layers at inference, with packed matrices among ``call.weights`` (see csrc/sequence/packed.h)."""
    return infer_packed(
        call.cell.name,
        packed.numbers,
        call.input,
        call.batch_sizes,
        call.h0,
        call.c0,
        call.weights,
        packed.input_size,
        packed.hidden_size,
        packed.projection_size,
        call.num_layers,
        call.biases,
        call.bidirectional,
        call.batch_first,
        call.lengths,
        call.resets,
        call.every_state,
        call.learned_state,
        call.heads,
        call.zoneout_h,
        call.zoneout_c,
    )


def run_reference(call: Call) -> Results:
    """One layer in plain torch: on any device, in any dtype, differentiable as often as asked."""
    check_lengths(call)
    return reference.layer(
        call.cell.name,
        call.input,
        call.batch_sizes,
        call.h0,
        call.c0,
        call.weights,
        call.biases,
        call.bidirectional,
        call.batch_first,
        projected=call.projected,
        lengths=call.lengths,
        resets=call.resets,
        every_state=call.every_state,
        learned_state=call.learned_state,
        recurrent_mask=call.recurrent_mask,
        zoneout_h=call.zoneout_h,
        zoneout_c=call.zoneout_c,
        heads=call.heads,
    )


def infer_call(*arguments: Any) -> Call:
    """The call of which these are the arguments of ``infer``."""
    return _call(by_name(infer, arguments))


def infer_packed_call(*arguments: Any) -> tuple[Call, Packed]:
    """The call of which these are the arguments of ``infer_packed``, and what that takes besides."""
    given = by_name(infer_packed, arguments)
    packed = Packed(*[given.pop(name) for name in Packed._fields])
    return _call(given | {"projected": packed.projection_size > 0}), packed


def by_name(operator: torch._ops.OpOverload, arguments: Sequence[Any]) -> dict[str, Any]:
    """An operator's arguments by the names in its schema, those that were left out with their defaults."""
    schema = operator._schema.arguments
    left_out = {argument.name: argument.default_value for argument in schema[len(arguments) :]}
    return {argument.name: value for argument, value in zip(schema, arguments, strict=False)} | left_out


def _call(given: dict[str, Any]) -> Call:
    return Call(cells.named(given.pop("cell")), **given)


@torch.library.register_fake("fastrnn::forward")
def _forward_shapes(*arguments: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    call, save = forward_call(*arguments)
    output, hn, cn = _result_shapes(call)
    return output, hn, cn, _saved_shape(call, hn.size(1)) if save else call.input.new_empty(0)


@torch.library.register_fake("fastrnn::infer")
def _infer_shapes(*arguments: Any) -> Results:
    call = infer_call(*arguments)
    output, hn, cn = _result_shapes(call)
    rows = call.state_rows()
    return output, hn.new_empty(rows, *hn.shape[1:]), cn.new_empty(rows, *cn.shape[1:]) if call.cell.carries_c else cn


@torch.library.register_fake("fastrnn::infer_packed")
def _infer_packed_shapes(*arguments: Any) -> Results:
    call, packed = infer_packed_call(*arguments)
    output, hn = _output_shapes(call, packed.projection_size or packed.hidden_size, packed.hidden_size)
    rows = call.state_rows()
    cn = hn.new_empty(rows, hn.size(1), packed.hidden_size) if call.cell.carries_c else call.input.new_empty(0)
    return output, hn.new_empty(rows, *hn.shape[1:]), cn


@torch.library.register_fake("fastrnn::backward")
def _backward_shapes(*arguments: Any) -> list[Tensor]:
    call, given = backward_call(*arguments)
    check_devices(call, *given.incoming, given.output, given.saved)
    groups = (call.groups,) if call.groups else ()
    return [
        t.new_empty(*(groups if i >= _WEIGHTS else ()), *t.shape) if t is not None and need else call.input.new_empty(0)
        for i, (t, need) in enumerate(zip(call.tensors(), given.needs, strict=True))
    ]


def _result_shapes(call: Call) -> Results:
    output, hn = _output_shapes(call, call.output_size(), call.hidden_size())
    c = hn.new_empty(*hn.shape[:2], call.hidden_size()) if call.cell.carries_c else call.input.new_empty(0)
    return output, hn, c


def _output_shapes(call: Call, output_size: _Size, hidden_size: _Size) -> tuple[Tensor, Tensor]:
    """Output and h_n of one layer."""
    check_devices(call)
    input, directions = call.input, call.directions()
    if call.batch_sizes is None:
        batch: _Size = input.size(call.batch_axis())
    else:
        # The longest batch is a number inside a tensor: known when there is data, else a size of its own.
        batch = call.h0.size(1) if call.h0 is not None else torch.library.get_ctx().new_dynamic_size()
    width = output_size + hidden_size if call.every_state and call.cell.carries_c else output_size
    output = input.new_empty(*input.shape[:-1], directions * width)
    return output, input.new_empty(directions, batch, output_size)


def _saved_shape(call: Call, batch: _Size) -> Tensor:
    cell, zoned_h, zoned_c = call.cell, call.zoneout_h is not None, call.zoneout_c is not None
    numbers = cell.saves + call.projected + zoned_c + (zoned_h and cell.goes_back_from_h)  # of a unit in a row
    saved = (_saved_on_cuda if call.input.is_cuda else _saved_on_cpu)(call, numbers, batch)
    return saved.new_empty(call.directions(), *saved.shape)


def _saved_on_cpu(call: Call, numbers: int, batch: _Size) -> Tensor:
    per_line = _CACHE_LINE // call.input.dtype.itemsize
    width = (call.hidden_size() + per_line - 1) // per_line * per_line
    if not (call.recompute and call.cell.recomputable):
        return call.input.new_empty(_rows(call), numbers * width)
    checkpoints = (_times(call) + _LEAST_STEPS_PER_CHECKPOINT - 1) // _LEAST_STEPS_PER_CHECKPOINT
    return call.input.new_empty(checkpoints * batch * width if call.cell.carries_c else 0)


def _saved_on_cuda(call: Call, numbers: int, batch: _Size) -> Tensor:
    accumulated = torch.float64 if call.input.dtype == torch.float64 else torch.float32
    if not (call.recompute and call.cell.recomputable):
        width = numbers * call.hidden_size()
        if call.cell.normalized:  # the last number of a unit is one of the row
            width += _DEVIATIONS_SAVED - call.hidden_size()
        return call.input.new_empty(_rows(call), width, dtype=accumulated)
    steps = torch.sym_max(_LEAST_STEPS_PER_CHECKPOINT, (_ROWS_PER_CHECKPOINT + batch - 1) // torch.sym_max(1, batch))
    checkpoints = (_times(call) + steps - 1) // steps
    return call.input.new_empty(checkpoints * batch * call.hidden_size(), dtype=accumulated)


def _rows(call: Call) -> _Size:
    return call.input.size(0) * call.input.size(1) if call.batch_sizes is None else call.input.size(0)


def _times(call: Call) -> _Size:
    return call.input.size(1 - call.batch_axis()) if call.batch_sizes is None else call.batch_sizes.size(0)
