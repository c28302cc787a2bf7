"""Who runs a call: the fused kernels, torch's own operator or the plain-torch reference.

The fused kernels serve the devices and dtypes of :func:`kernels_serve`. Anything else runs torch's operator, and a cell
that torch lacks runs the reference. A call can be predicted from this page.

On CUDA the kernels have not been measured yet, so torch's operator runs every cell that torch has, with ``recompute``
checkpointed, and the kernels run the others. FASTRNN_CUDA_KERNEL asks for the kernels everywhere (docs/adr/0016).

The CPU's kernels compute in float32 and float64. Input and states in bfloat16 or float16 are widened on their way in,
weights are read as they are, and only the results of the last layer are rounded: the numbers between layers and steps,
and their gradients, are float32. One thing is left to torch there: padded LSTMs in bfloat16 on a processor with
instructions for it, if batch and state are large (csrc/torch/stack.h has the figures).

The GPU's take the narrow dtypes as they are: its matrix units multiply them, sums and states are float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import _VF, Tensor
from torch.utils.checkpoint import checkpoint

from fastrnn import reference
from fastrnn._core import autograd, gpu, operators
from fastrnn._core.autocast import autocast, cast
from fastrnn._core.checks import check_sequence, check_step
from fastrnn._core.extension import _C
from fastrnn._core.gpu import OWN_KERNELS
from fastrnn._core.stack import stack
from fastrnn._core.tracing import exports_to_onnx

State = Tensor | tuple[Tensor, Tensor]

_NARROW_DTYPES = (torch.bfloat16, torch.float16)
_KERNEL_DEVICES = (*OWN_KERNELS, "meta")
_KERNEL_DTYPES = (torch.float32, torch.float64, *_NARROW_DTYPES)
_TORCH_OPERATORS: dict[str, Any] = {
    "rnn_tanh": _VF.rnn_tanh,
    "rnn_relu": _VF.rnn_relu,
    "gru": _VF.gru,
    "lstm": _VF.lstm,
}
_TORCH_CELLS: dict[str, Any] = {
    "rnn_tanh": _VF.rnn_tanh_cell,
    "rnn_relu": _VF.rnn_relu_cell,
    "gru": _VF.gru_cell,
    "lstm": _VF.lstm_cell,
}


def kernels_serve(input: Tensor) -> bool:
    """Whether the fused kernels run this input: on the CPU, on CUDA where they are built for it (or meta, for shapes
    alone), in four dtypes."""
    return input.device.type in _KERNEL_DEVICES and input.dtype in _KERNEL_DTYPES


def sequence(
    cell: str,
    input: Tensor,
    hx: State | None,
    weights: Sequence[Tensor],
    *,
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
    biases: bool = True,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    recompute: bool = False,
) -> tuple[Tensor, State]:
    """Run any cell, named as in :func:`fastrnn.reference.layer`, over a sequence; see :mod:`fastrnn.functional`."""
    h0, c0 = _states(cell, hx)
    dtypes = input.dtype, input.dtype  # of the results: h and c
    if _casts(cell, input):
        dtypes, (input, h0, c0, *weights) = autocast(cell, (input, h0, c0, *weights), padded=batch_sizes is None)
    check_sequence(cell, input, (h0, c0), weights, batch_sizes, num_layers, biases, bidirectional, batch_first)
    layer = _layer(cell, input, weights)
    if layer is autograd.layer and input.is_cpu and input.dtype in _NARROW_DTYPES:
        if batch_sizes is None and not recompute and _torch_is_faster(cell, input, weights, batch_first):
            layer = None
        else:
            input, h0, c0 = cast(torch.float32, (input, h0, c0))  # the kernels read narrow weights as they are
    if recompute:
        layer = _recomputing(layer, training)
    if layer is None:
        options = (num_layers, biases, dropout, training, bidirectional, batch_first)
        output, h_n, c_n = _torch_operator(cell, input, h0, c0, weights, batch_sizes, *options)
    elif layer is autograd.layer and _compiled_for_inference(input, h0, c0, weights) and not (dropout and training):
        output, h_n, c_n = operators.infer(
            cell, input, batch_sizes, h0, c0, weights, num_layers, biases, bidirectional, batch_first
        )
    else:
        output, h_n, c_n = stack(
            layer,
            cell,
            input,
            (h0, c0),
            weights,
            batch_sizes=batch_sizes,
            num_layers=num_layers,
            biases=biases,
            dropout=dropout,
            training=training,
            bidirectional=bidirectional,
            batch_first=batch_first,
        )
    if input.is_cpu and (output.dtype, c_n.dtype) != dtypes:
        output, h_n, c_n = output.to(dtypes[0]), h_n.to(dtypes[0]), c_n.to(dtypes[1])
    return output, ((h_n, c_n) if cell == "lstm" else h_n)


def step(cell: str, input: Tensor, hx: State | None, weights: Sequence[Tensor]) -> State:
    """Run one step of any cell: input (B, I), hx (B, H) or a pair of them. It is a sequence of length one."""
    if not torch.compiler.is_compiling():
        result = _C.infer_step(cell, input, hx, list(weights))
        if result is not None:
            return result
    h0, c0 = _states(cell, hx)
    dtypes = input.dtype, input.dtype  # of the results: h and c
    if _casts(cell, input):
        dtypes, (input, h0, c0, *weights) = autocast(cell, (input, h0, c0, *weights), padded=False)
    check_step(cell, input, (h0, c0), weights)
    layer = _layer(cell, input, weights)
    if layer is None:
        return _torch_cell(cell, input, h0, c0, weights)
    if layer is autograd.layer and input.is_cpu and input.dtype in _NARROW_DTYPES:
        input, h0, c0 = cast(torch.float32, (input, h0, c0))  # the kernels read narrow weights as they are
    input = input.unsqueeze(0)
    h0 = None if h0 is None else h0.unsqueeze(0)
    c0 = None if c0 is None else c0.unsqueeze(0)
    biases = len(weights) == 4
    _, h_n, c_n = layer(cell, input, None, h0, c0, weights, biases, False, False)
    if input.is_cpu and (h_n.dtype, c_n.dtype) != dtypes:
        h_n, c_n = h_n.to(dtypes[0]), c_n.to(dtypes[1])
    return (h_n.squeeze(0), c_n.squeeze(0)) if cell == "lstm" else h_n.squeeze(0)


def _states(cell: str, hx: State | None) -> tuple[Tensor | None, Tensor | None]:
    if hx is None:
        return None, None
    # The types of these errors are torch.nn's: it misses the second state, but counts the third.
    if cell != "lstm":
        if isinstance(hx, (tuple, list)):
            raise AttributeError(f"Expected hx to be a tensor, got a {type(hx).__name__} of {len(hx)}; pass hx[0]")
        return hx, None
    if isinstance(hx, Tensor) or len(hx) != 2:
        got = f"a tensor of shape {list(hx.shape)}" if isinstance(hx, Tensor) else len(hx)
        error = IndexError if len(hx) < 2 else RuntimeError
        raise error(f"Expected hx to be a pair, got {got}; pass (h_0, c_0)")
    return hx[0], hx[1]


def _left_to_torch(cell: str, input: Tensor) -> bool:
    """Whether torch's operator runs this call though there may be kernels for it: on CUDA they are not measured, and
    what is exported to ONNX is made of torch's operators."""
    unmeasured = input.is_cuda and not gpu.kernels_asked_for()
    return (unmeasured or exports_to_onnx()) and cell in _TORCH_OPERATORS


def _casts(cell: str, input: Tensor) -> bool:
    """Whether torch.autocast is on and left to us. torch's operator casts by itself, and keeps weights in one piece."""
    device = input.device.type
    return device in OWN_KERNELS and torch.is_autocast_enabled(device) and not _left_to_torch(cell, input)


def _layer(cell: str, input: Tensor, weights: Sequence[Tensor]) -> Callable[..., tuple[Tensor, Tensor, Tensor]] | None:
    """What runs one layer, or None where torch's operator runs them all."""
    if _left_to_torch(cell, input):
        return None
    if kernels_serve(input):
        # torch's cells (not its layers) allow sizes of zero, where there is nothing to fuse.
        return autograd.layer if weights[0].numel() else reference.layer
    return None if cell in _TORCH_OPERATORS else reference.layer


def _compiled_for_inference(input: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]) -> bool:
    """Whether this is traced for a graph on the CPU in which nothing is differentiated: it runs all layers at once."""
    if not torch.compiler.is_compiling() or not input.is_cpu:
        return False
    return not torch.is_grad_enabled() or not any(t is not None and t.requires_grad for t in (input, h0, c0, *weights))


def _torch_is_faster(cell: str, input: Tensor, weights: Sequence[Tensor], batch_first: bool) -> bool:
    """Whether torch's operator is measured faster than the kernels on the CPU: csrc/torch/stack.h says where."""
    if cell != "lstm" or input.dtype != torch.bfloat16 or torch.compiler.is_compiling():
        return False
    steps, batch = (input.size(1), input.size(0)) if batch_first else (input.size(0), input.size(1))
    hidden = weights[0].size(0) // 4
    projected = weights[1].size(1) != hidden
    return not projected and torch.backends.mkldnn.enabled and _C.torch_is_faster(steps, batch, hidden)  # type: ignore


def _recomputing(layer: Callable | None, training: bool) -> Callable[..., tuple[Tensor, Tensor, Tensor]]:
    """What runs one layer and saves nothing that can be computed again. Where there are no kernels, all of it is."""
    if layer is autograd.layer:
        return partial(autograd.layer, recompute=True)
    return partial(checkpoint, layer or partial(_torch_layer, training), use_reentrant=False)


def _torch_layer(
    training: bool,
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    *options: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer by torch's operator. Dropout is left to others: cuDNN would not draw the same mask a second time."""
    biases, bidirectional, batch_first = options
    return _torch_operator(
        cell, input, h0, c0, weights, batch_sizes, 1, biases, 0.0, training, bidirectional, batch_first
    )


def _torch_operator(
    cell: str,
    input: Tensor,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    batch_sizes: Tensor | None,
    num_layers: int,
    biases: bool,
    dropout: float,
    training: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    if h0 is None:
        rows = num_layers * (2 if bidirectional else 1)
        batch: Any = input.size(0 if batch_first else 1) if batch_sizes is None else batch_sizes[0]  # seen by tracers
        h0 = torch.zeros(rows, batch, weights[1].size(1), dtype=input.dtype, device=input.device)
        c0 = torch.zeros(rows, batch, weights[1].size(0) // 4, dtype=input.dtype, device=input.device)
    if input.is_cuda and not training:
        # In eval mode cuDNN keeps nothing for a backward pass. Without dropout training computes the same.
        recorded = any(t is not None and t.requires_grad for t in (input, h0, c0, *weights))
        dropout, training = 0.0, recorded and torch.is_grad_enabled()
    hx = (h0, c0) if cell == "lstm" else h0
    operator, options = _TORCH_OPERATORS[cell], (weights, biases, num_layers, dropout, training, bidirectional)
    if input.is_cuda and torch.compiler.is_dynamo_compiling():
        operator = _outside_graphs(operator)
    if batch_sizes is None:
        output, h_n, *c_n = operator(input, hx, *options, batch_first)
    else:
        output, h_n, *c_n = operator(input, batch_sizes, hx, *options)
    return output, h_n, c_n[0] if c_n else input.new_empty(0)


def _torch_cell(
    cell: str, input: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]
) -> Tensor | tuple[Tensor, Tensor]:
    """One step by the operator of torch's cell. That of its layers would copy the weights at every step on CUDA."""
    if h0 is None:
        h0 = c0 = input.new_zeros(input.size(0), weights[1].size(1))
    return _TORCH_CELLS[cell](input, (h0, c0) if cell == "lstm" else h0, *weights, *[None] * (4 - len(weights)))


def _outside_graphs(operator: Any) -> Any:
    """Keep torch's operator out of a compiled graph, where every step on CUDA would become nodes of its own."""
    torch._dynamo.graph_break(
        "torch.compile has no graph of torch's recurrent operators on CUDA and runs them between two graphs. For "
        "fullgraph=True set FASTRNN_CUDA_KERNEL=step, which runs fastrnn's kernels"
    )
    return torch.compiler.disable(operator)
