"""Every CUDA kernel once or twice on small odd shapes: what compute-sanitizer watches in bench/gpu.sh."""

import itertools
import os

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn import _C

LAYERS = (
    lambda **options: fastrnn.RNN(7, 9, **options),
    lambda **options: fastrnn.RNN(7, 9, nonlinearity="relu", **options),
    lambda **options: fastrnn.RNN(7, 9, nonlinearity="sigmoid", **options),
    lambda **options: fastrnn.GRU(7, 9, **options),
    lambda **options: fastrnn.GRU(7, 9, reset_after=False, **options),
    lambda **options: fastrnn.LSTM(7, 9, **options),
    lambda **options: fastrnn.LSTM(7, 9, proj_size=4, **options),
)
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def run(make, dtype, recompute, packed):
    layer = make(bidirectional=True, recompute=recompute, device="cuda", dtype=dtype)
    x = torch.randn(3, 5, 7, device="cuda", dtype=dtype, requires_grad=True)
    input = pack_padded_sequence(x, [3, 3, 2, 1, 1]) if packed else x
    output, _ = layer(input)
    (output.data if packed else output).sum().backward()
    with torch.no_grad():
        layer(input)


for kernel in _C.build_info()["cuda_kernels"]:
    os.environ["FASTRNN_CUDA_KERNEL"] = kernel
    if kernel == "step":
        for arguments in itertools.product(LAYERS, DTYPES, (False, True), (False, True)):
            run(*arguments)
    else:  # these serve no float64, and neither packed input nor recompute is theirs
        for make, dtype in itertools.product(LAYERS, DTYPES[1:]):
            run(make, dtype, False, False)
torch.cuda.synchronize()
