"""torch.autocast: in which dtype a layer computes under it, and in which its results come out.

The CPU's kernels compute in float32 whatever the dtype, so under autocast they take the operands in float32, round
nothing on the way, and carry every state in float32. Only the results are rounded, to the dtype in which torch.nn's
come out. There the products are in autocast's dtype and the rest follows by type promotion: an RNN's state is a sum of
products; a GRU's new state is mixed with the old one, an LSTM's c with the old c. LSTM layers that oneDNN runs return
autocast's dtype alone.

The GPU's kernels multiply in autocast's dtype, and all results have it, as cuDNN's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

Dtypes = tuple[torch.dtype, torch.dtype]


def autocast(cell: str, operands: Sequence[Tensor | None], padded: bool) -> tuple[Dtypes, list]:
    """Apply autocast, which is on for the device of the input.

    Args:
        operands: input, h0, c0 and the weights.
        padded: whether this is a layer over a padded sequence, not a packed one nor a cell.

    Returns:
        the dtypes of h and c among the results, and the operands in the dtype to compute in. float64 stays float64.
    """
    input, h0, c0, *weights = operands
    assert input is not None  # the states may be
    given, low = input.dtype, torch.get_autocast_dtype(input.device.type)
    if not input.is_cpu:
        return (low, low), cast(low, operands)
    results = (given, given) if given == torch.float64 else _on_cpu(cell, low, given, h0, c0, weights, padded)
    return results, cast(torch.float32, operands)


def cast(dtype: torch.dtype, tensors: Sequence[Tensor | None]) -> list:
    """To another dtype, except float64, which torch.autocast does not touch."""
    return [t if t is None or t.dtype == torch.float64 else t.to(dtype) for t in tensors]


def _on_cpu(
    cell: str,
    low: torch.dtype,
    given: torch.dtype,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor | None],
    padded: bool,
) -> Dtypes:
    """The dtypes of torch.nn's h and c, observed over all combinations of layer, input and state."""
    if cell.startswith("rnn"):
        return low, low
    mixed = c0 if cell == "lstm" else h0  # the old state that the new one is mixed with; zeros are of the input's dtype
    promoted = torch.promote_types(low, given if mixed is None else mixed.dtype)
    if cell != "lstm":
        return promoted, promoted
    w_hh = weights[1]
    assert w_hh is not None
    projected = w_hh.size(1) * 4 != w_hh.size(0)
    if projected:
        return low, promoted
    # oneDNN takes a float16 input only where the processor multiplies float16.
    onednn = torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled and given != torch.float16
    return (low, low) if padded and onednn else (promoted, promoted)
