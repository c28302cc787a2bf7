"""Every CUDA kernel once on small odd shapes: what compute-sanitizer watches.

    compute-sanitizer --tool racecheck python -m bench.gpu.small_shapes [KERNEL...]

The persistent kernels run in teams of a forced size on 40 hidden units, so that blocks have something to tell each
other; a team that does not fit is an error, not a quiet step by step.
"""

import itertools
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from bench.gpu.layers import Layer, options_of

KERNELS = ("step", "block", "cluster:2", "cluster:4", "grid:2", "grid:4")
LAYERS: tuple[Callable[..., Any], ...] = (
    fastrnn.RNN,
    partial(fastrnn.RNN, nonlinearity="relu"),
    partial(fastrnn.RNN, nonlinearity="sigmoid"),
    fastrnn.GRU,
    partial(fastrnn.GRU, reset_after=False),
    fastrnn.LSTM,
    partial(fastrnn.LSTM, proj_size=3),
)
NORMALIZED = tuple(partial(make, layer_norm=True) for make in (fastrnn.RNN, fastrnn.GRU, fastrnn.LSTM))
DTYPES = ("float64", "float32", "tf32", "bfloat16", "float16")


INPUTS = ("padded", "packed", "masks", "heads")


def run(make: Callable[..., Any], layer: Layer, recompute: bool, given: str, device: str) -> None:
    cell = getattr(make, "func", make).__name__
    kind = {"bidirectional": True, "recompute": recompute}
    with_options = given in ("masks", "heads")
    kind |= options_of(cell, layer.H, given) if with_options else {}
    module = make(layer.I, layer.H, **kind, device=device, dtype=layer.torch_dtype)
    x = layer.input(device).requires_grad_()
    input = pack_padded_sequence(x, [3, 3, 2, 1, 1]) if given == "packed" else x
    options = {"resets": layer.resets(device), "return_states": True} if with_options else {}
    with layer.kernel_asked_for(device):
        output, _, *states = module(input, **options)
        every_c = [after.c.sum() for after in states if after.c is not None]
        sum(every_c, (output.data if given == "packed" else output).sum()).backward()
        with torch.no_grad():
            module.eval()(input, **options)


def main(kernels: list[str], device: str = "cuda") -> None:
    for kernel in kernels or KERNELS:
        if kernel == "step":
            for make, dtype, recompute, given in itertools.product(LAYERS, DTYPES, (False, True), INPUTS):
                run(make, Layer(kernel, "LSTM", dtype, 3, 5, 7, 9), recompute, given, device)
            for make, dtype, given in itertools.product(NORMALIZED, DTYPES, INPUTS[2:]):  # 40 units: two warps a row
                run(make, Layer(kernel, "LSTM", dtype, 3, 5, 7, 40), False, given, device)
            continue
        for make, dtype in itertools.product((LAYERS[0], LAYERS[3], LAYERS[5]), DTYPES[2:]):
            layer = Layer(kernel, make.__name__, dtype, 3, 9, 7, 40)
            if not all(layer.team(device, backward) != [] for backward in (False, True)):
                raise SystemExit(f"no team for {layer}")
            run(make, layer, False, "padded", device)
    if device == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    main(sys.argv[1:])
