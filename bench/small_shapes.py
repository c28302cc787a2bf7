"""Every CUDA kernel once or twice on small odd shapes: what compute-sanitizer watches in bench/gpu.sh."""

import itertools

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn

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

for make, dtype, recompute in itertools.product(LAYERS, DTYPES, (False, True)):
    layer = make(bidirectional=True, recompute=recompute, device="cuda", dtype=dtype)
    x = torch.randn(3, 5, 7, device="cuda", dtype=dtype, requires_grad=True)
    for input in (x, pack_padded_sequence(x, [3, 3, 2, 1, 1])):
        output, _ = layer(input)
        (output if input is x else output.data).sum().backward()
        with torch.no_grad():
            layer(input)
torch.cuda.synchronize()
