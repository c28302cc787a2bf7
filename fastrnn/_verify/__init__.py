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
"tf32", allowed. Whether cuDNN then uses TF32 depends on the shape. fastrnn's error may therefore also be twice that of
the reference in float32 with the operands of its products rounded to TF32. On a processor that multiplies bfloat16 the
same holds for bfloat16: its products sum in float32, but their operands are rounded, and where that turns units of a
ReLU on or off, which ones is luck, torch's and ours.

Layer normalization divides by a deviation, which may be small where few numbers are normalized: what was rounded before
is magnified, in fastrnn and in torch, each by its luck. There an error may also be twice what the float64 reference is
off by if every operation's result is moved at random by up to one unit of the layer's dtype.

For cells that torch lacks (the sigmoid RNN, the GRU that resets before the product) the torch column is the reference
in the layer's dtype.
"""

from fastrnn._verify.cases import CELLS as CELLS
from fastrnn._verify.cases import Case as Case
from fastrnn._verify.cases import all_cases as all_cases
from fastrnn._verify.cases import parse_cells as parse_cells
from fastrnn._verify.errors import Result as Result
from fastrnn._verify.errors import verify as verify
