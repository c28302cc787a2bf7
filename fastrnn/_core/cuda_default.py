"""Which calls fastrnn's kernels run on CUDA when nobody has asked for them: those that were measured to be faster than
torch's operator (docs/adr/0016, docs/cuda.md).

These are whole padded sequences in bfloat16, float16, or float32 where torch allows TF32, that a team of blocks takes
through all steps in one kernel. They were measured on GPUs of compute capability 9.0 (H100, H200); elsewhere there are
no such teams.
"""

from __future__ import annotations

import torch

from fastrnn._core import gpu
from fastrnn._core.call import Call

# cuDNN has kernels that keep the weights on the chip, too, in float16 and TF32: up to these sizes for cells of several
# gates and of one; and for LSTMs in float16 of some larger sizes, where a team of more blocks than a cluster has is
# slower (H1024 B32, 320 steps, forward and both passes on an H200: cuDNN 1.6 and 3.9 ms, fastrnn 2.4 and 6.4).
SMALL, SMALL_OF_ONE_GATE = 128, 384
CLUSTER = 16  # blocks at most


def kernels_are_faster(call: Call) -> bool:
    """Whether fastrnn's kernels were measured to be faster for such a call of a cell that torch has; never in a traced
    graph, where sizes are unknown."""
    cell = call.cell
    if not gpu.BUILT or torch.compiler.is_compiling():
        return False
    if call.projected or call.recompute or call.batch_sizes is not None:
        return False
    dtype, hidden_size, batch = call.input.dtype, call.hidden_size(), call.input.size(call.batch_axis())
    if not isinstance(batch, int) or batch == 0:
        return False
    if dtype != torch.bfloat16 and hidden_size <= (SMALL if cell.gates > 1 else SMALL_OF_ONE_GATE):
        return False
    teams = [team(cell.name, dtype, hidden_size, batch, backward) for backward in (False, True)]
    in_cudnn = cell.carries_c and dtype == torch.float16 and hidden_size % 128 == 0 and batch % 8 == 0
    return all(teams) and not (in_cudnn and max(blocks for blocks, *_ in teams) > CLUSTER)


def team(cell: str, dtype: torch.dtype, hidden_size: int, batch: int, backward: bool) -> list[int]:
    """The blocks, rows and bytes of shared memory of the team that runs a layer, [] where it would go step by step."""
    return list(torch.ops.fastrnn.cuda_team(cell, dtype, hidden_size, batch, backward))
