"""What `fastrnn verify` runs: the errors of fastrnn's and torch.nn's layers against a float64 reference.

Every layer gets inputs and weights rounded to its dtype; the reference gets the same rounded numbers in float64. The
error of a tensor (the output, a final state, a gradient) is the largest absolute difference. fastrnn passes if every
tensor's error is at most twice torch's, plus one unit in the last place of the tensor's largest value. Small layers are
drawn several times, and the errors of a tensor are root mean squares over the draws.

For float64 layers the reference has no more digits than the layers, and it rounds exactly as torch does, so its
distance from torch says little about torch's error. But rounding errors scale with the precision: the errors of torch
and of the reference are taken to be torch's float32 errors, scaled down. fastrnn may differ from the reference by twice
the one plus once the other, plus the unit in the last place.

On CUDA torch may round the operands of float32 products to TF32, so float32 is verified with TF32 forbidden and, as
"tf32", allowed. Whether cuDNN then uses TF32 depends on the shape.

A layer beyond that is not yet wrong: torch's error is that of one order of adding, and of one side of every ReLU whose
sum is within rounding of zero. So there an error may also be twice what right computations may be off by on the same
problems, whatever their order (monte_carlo.py), on the layer's side of its ReLUs (kinks.py). Layer normalization of few
numbers, which magnifies what was rounded before, is judged by that too.

For cells that torch lacks (the sigmoid RNN, the GRU that resets before the product) the torch column is the reference
in the layer's dtype.
"""

from fastrnn._verify.cases import CELLS as CELLS
from fastrnn._verify.cases import Case as Case
from fastrnn._verify.cases import all_cases as all_cases
from fastrnn._verify.cases import parse_cells as parse_cells
from fastrnn._verify.errors import Result as Result
from fastrnn._verify.errors import verify as verify
