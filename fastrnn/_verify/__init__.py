"""What `fastrnn verify` runs: the errors of fastrnn's layers beside those of torch.nn's, against the float64 reference.

Every layer gets inputs and weights rounded to its dtype; the reference gets the same rounded numbers in float64. The
error of a tensor (the output, a final state, a gradient) is the largest absolute difference. fastrnn passes if no
tensor's error is more than twice torch's plus one unit in the last place of the tensor's largest value.

In float64 the oracle has no more digits than the layers and makes torch's very roundings, so the distance from it says
little about torch's error. Rounding errors scale with the precision, though: torch's, and the oracle's own, are taken
to be those that the same layer makes in float32, scaled down. fastrnn may differ from the oracle by twice the one plus
once the other, plus the unit in the last place.

On CUDA torch may round the operands of float32 products to TF32, so float32 is verified with TF32 forbidden and, as
"tf32", allowed. Whether cuDNN then makes use of it depends on the shape; fastrnn's error may also be twice that of the
reference in float32 with the operands of its products rounded to TF32.

Where torch lacks the cell (the sigmoid RNN, the GRU that resets before the product) its column is the reference in the
layer's dtype.
"""

from fastrnn._verify.cases import CELLS as CELLS
from fastrnn._verify.cases import Case as Case
from fastrnn._verify.cases import all_cases as all_cases
from fastrnn._verify.cases import parse_cells as parse_cells
from fastrnn._verify.errors import Result as Result
from fastrnn._verify.errors import verify as verify
