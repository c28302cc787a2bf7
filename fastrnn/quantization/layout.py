"""Weight matrices as plain rows, and packed as the kernels read them: the layout of csrc/sequence/packed.h.

The rows of a matrix are ``gates`` blocks of N outputs, each of depth K, of ``heads`` heads over K numbers of their own
each. ``numbers`` says what a packed number is: "float32", "bfloat16" or "int8", whose rows have a scale each: a weight
is its number times the scale of its row.
"""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "int8": torch.int8}
_OUTPUTS, _GROUP_BYTES = 16, 4  # these and the next as in csrc/sequence/packed.h
DEEPEST_INT8 = 65536  # columns whose products are summed exactly
_AFTER = 2  # of int8 a block's rows are followed by a scale and a sum for each


def quantized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (N, K) as int8 (N, K) and scales float32 (N): symmetric, the largest weight of each row becomes +-127."""
    scale = rows.float().abs().amax(1) / 127
    steps = rows.float() / torch.where(scale > 0, scale, 1).unsqueeze(1)
    return steps.round().clamp(-127, 127).to(torch.int8), scale


def packed(rows: Tensor, scale: Tensor | None, gates: int, heads: int = 1) -> Tensor:
    """Rows (gates N, K) of float32, bfloat16 or int8, the last with scales (gates N), as one tensor of bytes."""
    outputs, depth = rows.size(0) // gates, rows.size(1)
    group = _GROUP_BYTES // rows.element_size()
    blocks, groups, columns = _places(group, outputs, depth, heads)
    padded = rows.new_zeros(gates, blocks * _OUTPUTS, groups * group)
    of_outputs = padded[:, :outputs]
    of_outputs.scatter_(2, columns.expand(gates, -1, -1), rows.unflatten(0, (gates, outputs)))
    lanes = padded.view(gates, blocks, _OUTPUTS, groups, group).permute(1, 3, 0, 2, 4).contiguous()
    numbers = lanes.flatten(1).view(torch.uint8)
    if scale is None:
        return numbers.flatten()
    scales = scale.new_zeros(gates, blocks * _OUTPUTS)
    scales[:, :outputs] = scale.view(gates, outputs)
    after = (scales, padded.sum(2, dtype=torch.int32))
    of_blocks = [
        t.view(gates, blocks, _OUTPUTS).transpose(0, 1).contiguous().flatten(1).view(torch.uint8) for t in after
    ]
    return torch.cat([numbers, *of_blocks], 1).flatten()


def packed_bytes(numbers: str, gates: int, outputs: int, depth: int, heads: int = 1) -> int:
    """The size of the tensor that :func:`packed` returns."""
    blocks, groups, _ = _places(_GROUP_BYTES // DTYPES[numbers].itemsize, outputs, depth, heads)
    return (groups + _AFTER * (numbers == "int8")) * gates * _OUTPUTS * _GROUP_BYTES * blocks


def rows_of(
    data: Tensor, numbers: str, gates: int, outputs: int, depth: int, heads: int = 1
) -> tuple[Tensor, Tensor | None]:
    """The rows (gates N, K) and, of int8, the scales (gates N) of a packed matrix: the reverse of :func:`packed`."""
    dtype = DTYPES[numbers]
    group = _GROUP_BYTES // dtype.itemsize
    blocks, groups, columns = _places(group, outputs, depth, heads)
    of_numbers = groups * gates * _OUTPUTS * _GROUP_BYTES
    found = data.view(blocks, -1)
    lanes = found[:, :of_numbers].contiguous().view(dtype)
    lanes = lanes.view(blocks, groups, gates, _OUTPUTS, group).permute(2, 0, 3, 1, 4)
    padded = lanes.reshape(gates, blocks * _OUTPUTS, groups * group)[:, :outputs]
    rows = padded.gather(2, columns.expand(gates, -1, -1)).reshape(gates * outputs, depth)
    if numbers != "int8":
        return rows, None
    after = found[:, of_numbers:].contiguous().view(torch.float32).view(blocks, _AFTER, gates, _OUTPUTS)
    scale = after[:, 0].transpose(0, 1).reshape(gates, blocks * _OUTPUTS)[:, :outputs].reshape(-1)
    return rows, scale


def _places(group: int, outputs: int, depth: int, heads: int) -> tuple[int, int, Tensor]:
    """Blocks of outputs, groups of a row in each, and the columns there of each output's numbers: (outputs, depth)."""
    unit = torch.arange(outputs, device="cpu")  # where packed weights are, whatever the default device
    own = unit // (outputs // heads) * depth  # the first number of a row of A that an output is multiplied by
    first = unit // _OUTPUTS * _OUTPUTS
    last = (first + _OUTPUTS - 1).clamp(max=outputs - 1)
    all_groups = -(-depth * heads // group)
    groups = int((-(-(own[last] + depth) // group) - own[first] // group).max())
    before = (own[first] // group).clamp(max=all_groups - groups) * group
    return -(-outputs // _OUTPUTS), groups, (own - before).unsqueeze(1) + torch.arange(depth, device=own.device)
