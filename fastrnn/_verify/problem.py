"""One case as numbers, and three ways to solve it: fastrnn's layer, torch.nn's layer, the reference."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fastrnn._core import gpu
from fastrnn._core.call import call_of
from fastrnn._core.cells import CELLS
from fastrnn._core.operators import run_reference
from fastrnn._core.stack import stack
from fastrnn._verify.cases import Case
from fastrnn._verify.rounding import RoundedProducts
from fastrnn.conversion import to_torch
from fastrnn.nn.by_cell import LAYERS

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Problem:
    """The inputs of a layer and the gradients of its outputs, all rounded to the case's dtype.

    `states` has h_0 and, for an LSTM, c_0; `grads` has output, h_n and, for an LSTM, c_n.
    """

    case: Case
    input: Tensor
    batch_sizes: Tensor | None
    states: Tensors
    weights: Tensors
    grads: Tensors

    def by_module(self, module: torch.nn.Module, device: torch.device) -> Tensors:
        """Solves it with a layer of torch.nn or fastrnn. On CUDA fastrnn's own kernels run; TF32 as the case says."""
        module.to(device).load_state_dict(self.weights)
        weights: Tensors = dict(module.named_parameters())

        def run(input: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
            argument = input if self.batch_sizes is None else PackedSequence(input, self.batch_sizes)
            output, final = module(argument, tuple(states) if len(states) == 2 else states[0])
            final = final if len(states) == 2 else (final,)
            return (output if self.batch_sizes is None else output.data, *final)

        with ExitStack() as settings:
            if device.type == "cuda":
                settings.enter_context(gpu.own_kernels())
                settings.enter_context(gpu.tf32(self.case.tf32))
            return self._solve(run, weights, self.case.dtype, device)

    def by_reference(self, dtype: torch.dtype, rounded: Callable[[Tensor], Tensor] | None = None) -> Tensors:
        """Solves it with the plain-torch reference on the CPU, in a dtype, with the operands of products `rounded`."""
        weights = {name: weight.to(dtype).requires_grad_() for name, weight in self.weights.items()}

        def run(input: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
            call = call_of(
                self.case.cell,
                input,
                (states[0], states[1]) if len(states) == 2 else states[0],
                list(weights.values()),
                batch_sizes=self.batch_sizes,
                num_layers=self.case.shape.num_layers,
                projected=bool(self.case.proj_size),
                bidirectional=self.case.shape.bidirectional,
            )
            output, *last, _ = stack(run_reference, call)
            return output, *last[: len(states)]

        with one_thread(), RoundedProducts(rounded) if rounded else nullcontext():
            return self._solve(run, weights, dtype, torch.device("cpu"))

    def _solve(
        self,
        run: Callable[[Tensor, list[Tensor]], tuple[Tensor, ...]],
        weights: Tensors,
        dtype: torch.dtype,
        device: torch.device,
    ) -> Tensors:
        """Runs forward and backward; returns the outputs and every gradient by name, on the CPU."""
        leaves = {"input": self.input, **self.states}
        leaves = {name: value.to(device, dtype).requires_grad_() for name, value in leaves.items()}
        input, *states = leaves.values()
        outputs = dict(zip(self.grads, run(input, states), strict=True))
        leaves |= weights
        gradients = torch.autograd.grad(
            list(outputs.values()), list(leaves.values()), [grad.to(device, dtype) for grad in self.grads.values()]
        )
        outputs |= {f"grad {name}": gradient for name, gradient in zip(leaves, gradients, strict=True)}
        return {name: value.detach().cpu() for name, value in outputs.items()}


def distances(found: Tensors, true: Tensors) -> dict[str, float]:
    """The largest absolute difference in each tensor; infinite if one is NaN."""
    return {name: float((found[name].double() - true[name]).abs().nan_to_num(math.inf).max()) for name in true}


@contextmanager
def one_thread() -> Iterator[None]:
    """Within it torch uses one thread: the reference multiplies small matrices, and a second thread slows it down."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def random_problem(case: Case, seed: int) -> Problem:
    """Draws a problem: normal inputs, states and gradients; weights from torch.nn's distribution."""
    generator = torch.Generator().manual_seed(seed)
    shape = case.shape
    rows = shape.num_layers * (2 if shape.bidirectional else 1)
    features = case.proj_size or shape.H

    def normal(*sizes: int) -> Tensor:
        return torch.randn(*sizes, generator=generator, dtype=torch.float64).to(case.dtype)

    def uniform(sizes: torch.Size) -> Tensor:
        values = torch.rand(sizes, generator=generator, dtype=torch.float64)
        return ((2 * values - 1) / math.sqrt(shape.H)).to(case.dtype)

    input, batch_sizes = normal(shape.T, shape.B, shape.I), None
    if shape.ragged:
        lengths = torch.randint(1, shape.T + 1, (shape.B,), generator=generator)
        lengths[0], lengths[-1] = shape.T, 1
        packed = pack_padded_sequence(input, lengths.sort(descending=True).values)
        input, batch_sizes = packed.data, packed.batch_sizes
    states = {"h_0": normal(rows, shape.B, features)}
    grads = {"output": normal(*input.shape[:-1], rows // shape.num_layers * features)}
    grads["h_n"] = normal(*states["h_0"].shape)
    if CELLS[case.cell].carries_c:
        states["c_0"], grads["c_n"] = normal(rows, shape.B, shape.H), normal(rows, shape.B, shape.H)
    weights = {name: uniform(weight.shape) for name, weight in fastrnn_layer(case).named_parameters()}
    return Problem(case, input, batch_sizes, states, weights, grads)


def fastrnn_layer(case: Case) -> torch.nn.Module:
    return LAYERS[case.cell](**case.options)


def torch_layer(case: Case) -> torch.nn.Module | None:
    """Returns torch.nn's layer, or None if torch lacks the cell."""
    try:
        return to_torch(fastrnn_layer(case))
    except ValueError:
        return None
