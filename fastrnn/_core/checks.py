"""Checks of a call before it runs. Exception types are those that torch.nn raises for the same mistake.

The operators check every operand again, in the same words, because they can be called without a layer. What needs a
look at every weight or step, the sizes of the weights and the numbers in ``batch_sizes``, is left to them;
:func:`check_lengths` is for calls that do not reach them.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import torch
from torch import Tensor

from fastrnn._core.call import Call
from fastrnn._core.options import check_range


def check_sequence(call: Call) -> None:
    """Check the call of a stack of layers."""
    input, weights, shape = call.input, call.weights, call.input.shape
    if len(weights) != call.state_rows() * call.weights_per_direction():
        biases, projection = ("with" if has else "without" for has in (call.biases, call.projected))
        raise RuntimeError(
            f"Expected {call.directions() * call.weights_per_direction()} weights for each of {call.num_layers} "
            f"layer(s) in {call.directions()} direction(s) of {call.cell.name} {biases} biases and {projection} a "
            f"projection{' and with a learned initial state' if call.learned_state else ''}, got {len(weights)} in all"
        )
    rank = 3 if call.batch_sizes is None else 2
    if len(shape) != rank:
        raise RuntimeError(f"Expected input to have {rank} dimensions, got {len(shape)}: {list(shape)}")
    if input.dtype != weights[0].dtype and (input.is_cpu or not autocasts(input)):
        raise ValueError(
            f"Expected input of the weights' dtype {weights[0].dtype}, got {input.dtype}; convert input or layer"
        )
    _check_input(call, shape)
    if call.heads != 1:
        _check_heads(call)
    if call.batch_sizes is None:
        steps, batch = (shape[1], shape[0]) if call.batch_first else (shape[0], shape[1])
        if steps == 0:
            raise RuntimeError(f"Expected sequence length to be larger than 0 in RNN, got input of size {list(shape)}")
    elif torch.compiler.is_compiling():
        return  # the batch size is data here, and a traced graph cannot branch on data
    else:
        batch = _largest_batch(call.batch_sizes)
        if input.is_meta:  # its kernels compute shapes alone
            check_lengths(call)
    if call.h0 is not None:
        _check_state(call.h0, (call.state_rows(), batch, call.output_size()), "h0")
    if call.c0 is not None:
        _check_state(call.c0, (call.state_rows(), batch, call.hidden_size()), "c0")


def check_step(call: Call) -> None:
    """Check the call of a cell: one step, input (B, I) and states (B, H)."""
    shape = call.input.shape
    if len(shape) != 2:
        raise RuntimeError(f"Expected input to have 2 dimensions, got {len(shape)}: {list(shape)}")
    _check_input(call, shape)
    if call.h0 is not None:
        _check_state(call.h0, (shape[0], call.output_size()), "h0")
    if call.c0 is not None:
        _check_state(call.c0, (shape[0], call.output_size()), "c0")


def check_lengths(call: Call) -> None:
    """Check the numbers in ``batch_sizes`` or ``lengths``, where there are any."""
    if call.lengths is not None:
        check_range(call.lengths, call.input.size(1 - call.batch_axis()))
    if call.batch_sizes is None or torch.compiler.is_compiling():
        return
    sizes = call.batch_sizes.tolist()
    for step, (before, size) in enumerate(zip([sizes[0], *sizes], sizes, strict=False)):
        if not 0 < size <= before:
            raise RuntimeError(f"Expected batch_sizes to be positive and not to increase, got {size} at {step}")
    rows = call.input.shape[0]
    if sum(sizes) != rows:
        raise RuntimeError(f"Expected packed input of {sum(sizes)} rows (the sum of batch_sizes), got {rows}")


def check_devices(call: Call, *others: Tensor | None) -> None:
    """Check that no operand is elsewhere than the input, but lengths and batch_sizes, which are on the CPU."""
    device = call.input.device
    check_numbers(call.input, call.batch_sizes, call.lengths)
    names = ("resets", "recurrent_mask", "zoneout_h", "zoneout_c", "d_output", "d_hn", "d_cn", "output", "saved")
    masks = call.resets, call.recurrent_mask, call.zoneout_h, call.zoneout_c
    for name, tensor in (*_named(call), *zip(names, (*masks, *others), strict=False)):
        if tensor is not None and tensor.device != device:
            _refuse_device(name, tensor, device)


def check_numbers(input: Tensor, batch_sizes: Tensor | None, lengths: Tensor | None) -> None:
    """Check that lengths and batch_sizes are not without data where the input has some: its shapes alone would be
    computed, and the memory of the results left as it was."""
    for name, tensor in (("batch_sizes", batch_sizes), ("lengths", lengths)):
        if tensor is not None and tensor.is_meta and not input.is_meta:
            raise RuntimeError(f"Expected {name} on the cpu, got a tensor on {tensor.device}, which has no numbers")


def autocasts(input: Tensor) -> bool:
    """Whether torch.autocast is on for the device of ``input``; the meta device has no such state."""
    return not input.is_meta and torch.is_autocast_enabled(input.device.type)


def _largest_batch(batch_sizes: Tensor) -> int:
    if batch_sizes.dtype != torch.int64 or batch_sizes.dim() != 1 or not batch_sizes.is_cpu:
        raise RuntimeError(
            "Expected batch_sizes to be a contiguous 1-D int64 tensor on the cpu, "
            f"got {batch_sizes.dim()}-D {batch_sizes.dtype} on {batch_sizes.device}"
        )
    if batch_sizes.numel() == 0:
        raise IndexError("Expected batch_sizes of at least one step, got none")
    return int(batch_sizes[0])


def _check_input(call: Call, shape: torch.Size) -> None:
    """What the input has in common with weights and states."""
    w_ih, w_hh = call.weights[0].shape, call.weights[1].shape
    if not len(w_ih) == len(w_hh) == 2:
        raise RuntimeError(f"Expected weight_ih and weight_hh to have 2 dimensions, got {len(w_ih)} and {len(w_hh)}")
    expected = w_ih[1]
    if shape[-1] != expected:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {expected}, got {shape[-1]} in {list(shape)}"
        )
    dtype, on_cpu = call.input.dtype, call.input.is_cpu
    for tensor in (*call.weights, call.h0, call.c0):
        # There is one CPU, and is_cpu takes a quarter of the time of comparing devices.
        if tensor is not None and (tensor.dtype != dtype or not (on_cpu and tensor.is_cpu)):
            _check_kinds(call)
            break


def _check_heads(call: Call) -> None:
    heads, w_ih, w_hh = call.heads, call.weights[0].shape, call.weights[1].shape
    if heads < 1:
        raise ValueError(f"Expected heads of at least 1, got {heads}")
    gates, hidden = call.cell.gates, w_ih[0] // call.cell.gates
    sizes = f"{hidden} and {call.output_size()}" if call.projected else f"{hidden}"
    if hidden % heads:
        raise ValueError(f"Expected heads that divide the features of the state, {sizes}, got {heads}")
    if w_hh[0] != gates * hidden or not (call.projected or w_hh[1] * heads == hidden):
        columns = w_hh[1] if call.projected else hidden // heads
        raise RuntimeError(f"Expected weight_hh size {[gates * hidden, columns]} of {heads} heads, got {list(w_hh)}")


def _check_state(state: Tensor, expected: tuple[int, ...], name: str) -> None:
    if state.shape != expected:
        raise RuntimeError(f"Expected {name} size {list(expected)}, got {list(state.shape)}")


def _check_kinds(call: Call) -> None:
    """One device and one dtype for all tensors. Under autocast torch's own operator converts them itself."""
    device, dtype = call.input.device, call.input.dtype
    for name, tensor in _named(call):
        if tensor is None:
            continue
        if tensor.device != device:
            _refuse_device(name, tensor, device)
        if tensor.dtype != dtype and (call.input.is_cpu or not autocasts(call.input)):
            raise RuntimeError(f"Expected {name} of dtype {dtype}, got {tensor.dtype}; convert it with .to({dtype})")


def _refuse_device(name: str, tensor: Tensor, device: torch.device) -> None:
    raise RuntimeError(
        f'Expected {name} on the input\'s device {device}, got {tensor.device}; move it there with .to("{device}")'
    )


def _named(call: Call) -> Iterator[tuple[str, Tensor | None]]:
    """Weights and states with the names that the operators give them."""
    whole = {"w": "weight", "b": "bias"}
    parts = [name.partition("_") for name in call.weight_names()]
    names = [f"{whole.get(kind, kind)}_{which}" for kind, _, which in parts]
    yield from zip(cycle(names), call.weights, strict=False)
    yield from (("h0", call.h0), ("c0", call.c0))
