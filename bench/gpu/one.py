"""One layer forward and backward: what a profiler watches.

ncu --kernel-name regex:run_ python -m bench.gpu.one cluster LSTM bfloat16 32 32 512 512
"""

import sys
from collections.abc import Sequence

import torch

from bench.gpu.layers import Layer


def main(arguments: Sequence[str], device: str = "cuda") -> None:
    kernel, cell, dtype, *sizes = arguments
    layer = Layer(kernel, cell, dtype, *map(int, sizes))
    module, input = layer.make(device), layer.input(device).requires_grad_()
    print(layer, "team", layer.team(device), "backward", layer.team(device, backward=True))
    with layer.kernel_asked_for(device):
        for _ in range(2):  # the first loads kernels and plans
            output, _ = module(input)
            torch.autograd.grad(output.sum(), [input, *module.parameters()])
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
