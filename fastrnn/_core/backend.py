"""Who runs a call: the fused kernels, torch's own operator or the plain-torch reference.

The fused kernels serve the devices and dtypes of :func:`kernels_serve`. Elsewhere torch's operator runs, or the
reference for a cell that torch lacks.

On CUDA torch's operator runs the cells that torch has, with ``recompute`` checkpointed, except where the kernels were
measured to be faster (:mod:`fastrnn._core.cuda_default`); the kernels run the others. FASTRNN_CUDA_KERNEL asks for the
kernels everywhere (docs/adr/0016).

The CPU's kernels compute in float32 and float64. Input and states in bfloat16 or float16 are first converted to
float32, weights are read in their own dtype, and only the results of the last layer are rounded: between layers and
steps all numbers and gradients are float32. Where the processor multiplies bfloat16 (instruction set avx512_bf16), the
operands of products are rounded to it, forward and backward; sums, gates and states stay float32 (docs/adr/0032).

The GPU's kernels take bfloat16 and float16 directly: its matrix units multiply them; sums and states are float32.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import _VF, Tensor
from torch.autograd import forward_ad
from torch.utils.checkpoint import checkpoint

from fastrnn._core import as_packed, autograd, gpu, operators, options
from fastrnn._core import flops as _flops  # noqa: F401, which registers the formulas
from fastrnn._core.autocast import autocast, cast
from fastrnn._core.call import Call, Layer, Results, States, cell_and_states, state_of
from fastrnn._core.cells import CELLS
from fastrnn._core.checks import check_lengths, check_sequence, check_step
from fastrnn._core.cuda_default import kernels_are_faster
from fastrnn._core.dropping import before_layers, drops_between
from fastrnn._core.extension import _C
from fastrnn._core.gpu import OWN_KERNELS
from fastrnn._core.stack import stack
from fastrnn._core.tracing import exports_to_onnx

_NARROW_DTYPES = (torch.bfloat16, torch.float16)
_KERNEL_DEVICES = (*OWN_KERNELS, "meta")
_KERNEL_DTYPES = (torch.float32, torch.float64, *_NARROW_DTYPES)

# torch has an operator for layers of a cell and one for its single steps. Their names are the cells'.
TORCH_CELLS: dict[str, Any] = {
    name: getattr(_VF, f"{name}_cell") for name in CELLS if hasattr(_VF, name) and hasattr(_VF, f"{name}_cell")
}
_TORCH_OPERATORS: dict[str, Any] = {name: getattr(_VF, name) for name in TORCH_CELLS}


def kernels_serve(input: Tensor) -> bool:
    """Whether there are fused kernels for this input: on the CPU, on CUDA if they were built, on meta for shapes alone;
    in four dtypes."""
    return (input.is_cpu or input.device.type in _KERNEL_DEVICES) and input.dtype in _KERNEL_DTYPES


def sequence(call: Call) -> tuple[Any, ...]:
    """Run a call of a stack of layers: the output, the state as :func:`state_of` has it, and with ``every_state`` the
    states after every step."""
    dtypes = call.input.dtype, call.input.dtype  # of the results: h and c
    if _casts(call):
        dtypes, call = autocast(call, layer=True)
    check_sequence(call)
    if call.lengths is not None or call.resets is not None:
        call = options.checked(call)
    call, rows = before_layers(call), None
    if call.has_options() and not _takes_options_as_given(call):
        padded_call = call = as_packed.with_states_given(call)
        # Without kernels the masks of padded steps are drawn, as where kernels take lengths as they are given.
        if as_packed.possible(call) and (kernels_serve(call.input) or not call.is_regularized()):
            call, rows = as_packed.packed(call)
    layer = _layer(call)
    if layer is autograd.layer and call.input.is_cpu and call.input.dtype in _NARROW_DTYPES:
        call = _widened(call)
    if call.recompute:
        layer = _recomputing(layer, call)
    states = None
    if layer is None:
        output, h_n, c_n = _torch_operator(call)
    elif layer is autograd.layer and _compiled_for_inference(call):
        output, h_n, c_n = operators.run_infer(call)
    else:
        output, h_n, c_n, states = stack(layer, call)
    if rows is not None:
        output, h_n, c_n, states = as_packed.padded((output, h_n, c_n, states), rows, padded_call)
    if call.input.is_cpu and (output.dtype, c_n.dtype) != dtypes:
        output, h_n, c_n = output.to(dtypes[0]), h_n.to(dtypes[0]), c_n.to(dtypes[1])
        states = states and States(states.h.to(dtypes[0]), None if states.c is None else states.c.to(dtypes[1]))
    if states is None:
        return output, state_of(call, h_n, c_n)
    return output, state_of(call, h_n, c_n), states


def step(cell: str, input: Tensor, hx: Any, weights: list[Tensor], biases: bool) -> Any:
    """Run one step of any cell, as a sequence of length one: input (B, I), hx (B, H) or a pair of them."""
    if not torch.compiler.is_compiling():
        result = _C.run_step(cell, input, hx, weights, biases)
        if result is not None:
            return result
    kind, h0, c0 = cell_and_states(cell, hx)
    call = Call(kind, input, h0, c0, weights, biases=biases)
    dtypes = input.dtype, input.dtype  # of the results: h and c
    if _casts(call):
        dtypes, call = autocast(call, layer=False)
    check_step(call)
    layer = _layer(call)
    if layer is None:
        return _torch_cell(call)
    if layer is autograd.layer and input.is_cpu and call.input.dtype in _NARROW_DTYPES:
        call = _widened(call)
    h0, c0 = (None if state is None else state.unsqueeze(0) for state in (call.h0, call.c0))
    _, h_n, c_n = layer(call.with_tensors(call.input.unsqueeze(0), h0, c0, call.weights))
    if input.is_cpu and (h_n.dtype, c_n.dtype) != dtypes:
        h_n, c_n = h_n.to(dtypes[0]), c_n.to(dtypes[1])
    return state_of(call, h_n.squeeze(0), c_n.squeeze(0))


def _widened(call: Call) -> Call:
    """Input and states in float32. The kernels read bfloat16 and float16 weights directly."""
    input, h0, c0 = cast(torch.float32, (call.input, call.h0, call.c0))
    return call.with_tensors(input, h0, c0, call.weights)


def _left_to_torch(call: Call) -> bool:
    """Whether torch's operator runs this call although there may be kernels for it: where on CUDA they are not known to
    be faster, and in an ONNX graph, which consists of torch's operators."""
    asked_for = call.input.is_cuda and gpu.kernels_asked_for()
    if call.cell.name not in _TORCH_OPERATORS or call.has_options():
        return False
    if _beyond_cudnn(call):
        return False
    return exports_to_onnx() or (call.input.is_cuda and not asked_for and not kernels_are_faster(call))


def _beyond_cudnn(call: Call) -> bool:
    """Whether this call is inside torch.func or forward mode's dual level, for which cuDNN's operator has no rules."""
    return call.input.is_cuda and (torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0)


def _takes_options_as_given(call: Call) -> bool:
    """Whether what runs this call has all that torch's operators lack. Else it is given what comes to the same, where
    there is such a thing."""
    return kernels_serve(call.input) and not call.input.is_cuda and not exports_to_onnx()


def _kernels_know_options(call: Call) -> bool:
    """Whether the kernels of this call's device have what it asks for: those of the GPU have no lengths but packed
    ones. Else the reference runs."""
    return not exports_to_onnx() and not (call.lengths is not None and call.input.is_cuda)


def _casts(call: Call) -> bool:
    """Whether to apply torch.autocast here. torch's operator applies it itself and keeps the weights in one piece."""
    device = "cpu" if call.input.is_cpu else call.input.device.type  # which costs more
    return device in OWN_KERNELS and torch.is_autocast_enabled(device) and not _left_to_torch(call)


def _layer(call: Call) -> Layer | None:
    """What runs one layer, or None where torch's operator runs them all."""
    if not _left_to_torch(call):
        if kernels_serve(call.input):
            # torch's cells (not its layers) allow sizes of zero, where there is nothing to fuse.
            known = not call.has_options() or _kernels_know_options(call)
            return autograd.layer if call.weights[0].numel() and known else operators.run_reference
        if call.has_options() or call.cell.name not in _TORCH_OPERATORS or _beyond_cudnn(call):
            return operators.run_reference
    return _torch_operator if call.locked_dropout and drops_between(call) else None  # it locks no dropout


def _compiled_for_inference(call: Call) -> bool:
    """Whether a graph on the CPU is traced in which nothing is differentiated. All layers are then one operator."""
    if not torch.compiler.is_compiling() or not call.input.is_cpu or drops_between(call):
        return False
    if call.every_state or call.is_regularized():
        return False
    return not torch.is_grad_enabled() or not call.requires_grad()


def _recomputing(layer: Layer | None, call: Call) -> Layer | None:
    """What runs one layer without saving what can be computed again: kernels that find it again, if they know how, else
    whatever runs the layer, a second time.

    Nothing in a layer is random. Masks are drawn by the stack, which keeps them. So is dropout between layers: cuDNN
    would not draw the same mask a second time.

    Inside torch.func and exported programs all is saved, because torch's checkpoint works in neither.
    """
    if layer is autograd.layer and autograd.saves_little(call):
        return layer
    if torch._C._are_functorch_transforms_active() or torch.compiler.is_exporting():
        return layer
    again = partial(checkpoint, layer or _torch_operator, use_reentrant=False, preserve_rng_state=False)
    return lambda one: again(one._replace(recompute=False))


def _torch_operator(call: Call) -> Results:
    check_lengths(call)
    input, batch_sizes, h0, c0 = call.input, call.batch_sizes, call.h0, call.c0
    if h0 is None:
        batch: Any = input.size(call.batch_axis()) if batch_sizes is None else batch_sizes[0]  # seen by tracers
        h0 = torch.zeros(call.state_rows(), batch, call.output_size(), dtype=input.dtype, device=input.device)
        c0 = torch.zeros(call.state_rows(), batch, call.hidden_size(), dtype=input.dtype, device=input.device)
    h0, c0 = _in_one_piece(h0), None if c0 is None else _in_one_piece(c0)
    dropout, training = call.dropout, call.training
    if input.is_cuda and not training:
        # In eval mode cuDNN keeps nothing for a backward pass. Without dropout training computes the same.
        dropout, training = 0.0, call.requires_grad() and torch.is_grad_enabled()
    operator = _TORCH_OPERATORS[call.cell.name]
    given = (call.weights, call.biases, call.num_layers, dropout, training, call.bidirectional)
    if input.is_cuda and torch.compiler.is_dynamo_compiling():
        operator = _outside_graphs(operator)
    if batch_sizes is None:
        output, h_n, *c_n = operator(input, state_of(call, h0, c0), *given, call.batch_first)
    else:
        output, h_n, *c_n = operator(input, batch_sizes, state_of(call, h0, c0), *given)
    return output, h_n, c_n[0] if c_n else input.new_empty(0)


def _in_one_piece(state: Tensor) -> Tensor:
    """Contiguous, as cuDNN wants states; a learned one is expanded."""
    return state if state.is_contiguous() else state.clone(memory_format=torch.contiguous_format)


def _torch_cell(call: Call) -> Any:
    """One step by torch's operator for cells. On CUDA its operator for layers would copy the weights at every step."""
    h0, c0 = call.h0, call.c0
    if h0 is None:
        h0 = c0 = call.input.new_zeros(call.input.size(0), call.output_size())
    biases = () if call.biases else (None, None)
    return TORCH_CELLS[call.cell.name](call.input, state_of(call, h0, c0), *call.weights, *biases)


def _outside_graphs(operator: Any) -> Any:
    """Keep torch's operator out of a compiled graph, in which every step on CUDA would become several nodes."""
    torch._dynamo.graph_break(
        "torch.compile has no graph of torch's recurrent operators on CUDA and runs them between two graphs. For "
        "fullgraph=True set FASTRNN_CUDA_KERNEL=fastest, which runs fastrnn's kernels"
    )
    return torch.compiler.disable(operator)
