"""The operators of the C++ core: what an exported program calls.

A process that loads such a program and has no layer begins with ``import fastrnn.ops``: before ``torch.export.load`` it
registers the operators ``torch.ops.fastrnn.*`` with the shapes that they return. To compute, call a layer or a function
of :mod:`fastrnn.functional`.
"""

from fastrnn._cell import flops as _cell_flops  # noqa: F401, which registers the formulas
from fastrnn._cell.operators import backward as cell_backward
from fastrnn._cell.operators import forward as cell_forward
from fastrnn._core import flops as _flops  # noqa: F401
from fastrnn._core.loss_operators import backward as linear_cross_entropy_backward
from fastrnn._core.loss_operators import forward as linear_cross_entropy
from fastrnn._core.operators import backward as backward
from fastrnn._core.operators import forward as forward
from fastrnn._core.operators import infer as infer
from fastrnn._core.operators import infer_packed as infer_packed

__all__ = [
    "backward",
    "cell_backward",
    "cell_forward",
    "forward",
    "infer",
    "infer_packed",
    "linear_cross_entropy",
    "linear_cross_entropy_backward",
]
