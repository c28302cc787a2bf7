"""torch.autocast: the dtype in which a layer computes, and the dtypes of its results.

The CPU's kernels always compute in float32, so under autocast they take float32 operands, round nothing on the way and
keep every state in float32. Only the results are rounded, to the dtypes that torch.nn returns. Its products are in
autocast's dtype and the rest follows from type promotion: an RNN's state is a sum of products; a GRU's new state is
mixed with the old one, an LSTM's c with the old c. LSTM layers that oneDNN runs return only autocast's dtype.

The GPU's kernels multiply in autocast's dtype and return it, as cuDNN does.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fastrnn._core.call import Call

Dtypes = tuple[torch.dtype, torch.dtype]

_ONEDNN_TAKES_BFLOAT16 = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def autocast(call: Call, layer: bool) -> tuple[Dtypes, Call]:
    """Apply autocast, which is on for the device of the input.

    Args:
        layer: whether this is a call of a layer, not of a cell.

    Returns:
        the dtypes of h and c among the results, and the call in the dtype to compute in. float64 stays float64.
    """
    given, low = call.input.dtype, torch.get_autocast_dtype(call.input.device.type)
    if not call.input.is_cpu:
        return (low, low), _cast(low, call)
    results = (given, given) if given == torch.float64 else _on_cpu(call, low, layer and call.batch_sizes is None)
    return results, _cast(torch.float32, call)


def cast(dtype: torch.dtype, tensors: Sequence[Tensor | None]) -> list:
    """To another dtype, except float64, which torch.autocast does not touch."""
    return [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]


def _cast(dtype: torch.dtype, call: Call) -> Call:
    input, h0, c0, *weights = cast(dtype, call.tensors())
    return call.with_tensors(input, h0, c0, weights)


def _on_cpu(call: Call, low: torch.dtype, padded: bool) -> Dtypes:
    """The dtypes of torch.nn's h and c, observed over all combinations of layer, input and state."""
    cell, given = call.cell, call.input.dtype
    if not cell.carries_c and not cell.reads_h:
        return low, low
    mixed = call.c0 if cell.carries_c else call.h0  # the old state in the new one; zeros are of the input's dtype
    promoted = torch.promote_types(low, given if mixed is None else mixed.dtype)
    if call.projected:
        return low, promoted
    if not (cell.onednn and padded):
        return promoted, promoted
    # oneDNN takes a float16 or bfloat16 input only where the processor multiplies it.
    taken = given == torch.float32 or (given == torch.bfloat16 and _ONEDNN_TAKES_BFLOAT16)
    enabled = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled and taken
    return (low, low) if enabled else (promoted, promoted)
