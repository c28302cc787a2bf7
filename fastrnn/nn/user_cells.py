"""The layers of users' cells: ``fastrnn.layer(YourCell)``."""

from __future__ import annotations

import math
import warnings
from collections import namedtuple
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.nn.functional import dropout
from torch.nn.utils.rnn import PackedSequence

from fastrnn._cell import eager, kernels
from fastrnn._cell.compiled import CompiledKernel
from fastrnn._cell.declaration import Cell, Declaration
from fastrnn._core import options as given_options
from fastrnn._core.call import Call
from fastrnn._core.checks import autocasts
from fastrnn._core.tracing import NotScriptable
from fastrnn.nn.inputs import AnyInput, CallOptions
from fastrnn.nn.options import count, rate

_HALF = (torch.bfloat16, torch.float16)


class CellLayer(AnyInput, NotScriptable, torch.nn.Module):
    """Layers of a cell that a user declared: :class:`fastrnn.Cell`.

    On the CPU the loop over time runs on kernels, which compute the step by an interpreter of its instructions. They
    are one operator: in torch.compile and torch.export a single node for each layer, whatever the number of steps. On
    other devices, within vmap and forward mode, and for second derivatives, a loop in Python runs the step as it is
    written: the same numbers, several times slower.

    T steps, B batch entries, I = ``input_size``, H = ``hidden_size``, L = ``num_layers``, D = 2 if ``bidirectional``,
    else 1; G gates of the input and R of the state.

    Args:
        input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, device, dtype: as of
            ``torch.nn.RNN``.
        heads: n: h is cut into n heads, and every unit reads its own head of h_(t-1) alone, as in the sLSTM of Beck et
            al., 2024. ``weight_hh_l{k}`` has H / n columns: of each gate n blocks, which are the diagonal of W_hh. The
            cell's matrices are cut likewise.
        compile: the machine's C++ compiler compiles the step when it first runs on the CPU in a dtype, which takes part
            of a second, and keeps it on disk: see the guide, docs/guide/cells.md. Same bits, and less time where there
            are few units. Without a compiler a RuntimeWarning says so, and the step is interpreted as otherwise. A
            layer's attribute for it is ``compiled``, which may be set.

    Call:
        ``output, state = layer(input, hx=None)``. input (T, B, I), (B, T, I) with ``batch_first``, (T, I) for one
        sequence, a PackedSequence or a nested tensor. The output has the kind and shape of the input with D H
        features: the first of the cell's states after every step. hx and the state that comes back are a tensor (L D,
        B, H), for one sequence (L D, H), or where the cell has several states a tuple of them, in the cell's order.
        Without hx each begins with the number that the cell declares. ``lengths``, ``resets`` and ``return_states`` are
        as of :class:`fastrnn.RNN`, and ``states`` has the names of the cell's states.

        Numbers per step are further keyword arguments of the names that the cell declares, (T, B, 1), of the kind of
        the input. Every layer and direction has the same ones, with the step that they came with.

    Parameters:
        ``weight_ih_l{k}`` (G H, I; D H above layer 0), ``weight_hh_l{k}`` (R H, H / ``heads``), ``bias_ih_l{k}`` (G H),
        ``bias_hh_l{k}`` (R H), gate by gate as the cell has them, and for each of its vectors ``{name}_l{k}`` (H), of
        its matrices ``{name}_l{k}`` (H, H / ``heads``); with ``_reverse`` for the second direction. All uniform in
        +-1/sqrt(H) at first, vectors as the cell declares.

    bfloat16 and float16 are computed in float32, also under torch.autocast; results have the dtype of the input.

    Raises:
        ValueError: arguments out of range; input of another rank, or another dtype than the weights'.
        TypeError: arguments of another type, or numbers per step that are missing.
        RuntimeError: sizes or states that do not fit, or an empty sequence.
    """

    heads: int = 1  # of layers that were pickled before there were any
    compiled: bool = False

    cell: ClassVar[type[Cell]]
    _states: ClassVar[Any]  # the named tuple of all states
    _kernel: ClassVar[kernels.Kernel]
    _compiled_kernel: ClassVar[CompiledKernel]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        heads: int = 1,
        compile: bool = False,
    ) -> None:
        super().__init__()
        self.compiled = bool(compile)
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if isinstance(size, bool) or not isinstance(size, int):
                raise TypeError(f"Expected {name} to be an int, got {type(size).__name__}")
            if size < 1:
                raise ValueError(f"Expected {name} of at least 1, got {size}")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bool(bias), bool(batch_first), bool(bidirectional)
        self.heads = self._checked_heads(heads)
        self.dropout = rate("dropout", dropout)
        if self.dropout and num_layers == 1:
            warnings.warn(
                f"dropout={dropout} is between layers, and there is one: it has no effect with num_layers=1",
                stacklevel=2,
            )
        declared, size = self._declared, input_size
        for layer in range(num_layers):
            for suffix in self._suffixes(layer):
                shapes = {"weight_ih": (len(declared.input_gates) * hidden_size, size)}
                recurrent = len(declared.recurrent_gates) * hidden_size
                if recurrent:
                    shapes["weight_hh"] = (recurrent, hidden_size // heads)
                if self.bias:
                    shapes["bias_ih"] = shapes["weight_ih"][:1]  # type: ignore[assignment]
                    if recurrent:
                        shapes["bias_hh"] = (recurrent,)  # type: ignore[assignment]
                for vector in declared.vectors:
                    shapes[vector] = (hidden_size,)  # type: ignore[assignment]
                for matrix in declared.matrices:
                    shapes[matrix] = (hidden_size, hidden_size // heads)
                for name, shape in shapes.items():
                    self.register_parameter(name + suffix, Parameter(torch.empty(shape, device=device, dtype=dtype)))
            size = hidden_size * self._directions
        self.reset_parameters()

    def _checked_heads(self, heads: int) -> int:
        """Their number.

        Raises:
            TypeError, ValueError: it is not a number, does not divide H, or there is no W_hh and no matrix to cut.
        """
        if count("heads", heads) > 1 and not (self._declared.recurrent_gates or self._declared.matrices):
            raise ValueError(f"{self.cell.__name__} has no W_hh, which heads={heads} would cut; leave heads out")
        if self.hidden_size % heads:
            raise ValueError(f"Expected heads that divide hidden_size={self.hidden_size}, got heads={heads}")
        return heads

    @property
    def _declared(self) -> Declaration:
        return self.cell.declaration

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}{direction}" for direction in ("", "_reverse")[: self._directions]]

    def reset_parameters(self) -> None:
        """All uniform in +-1/sqrt(H), and vectors as the cell declares."""
        bound = 1 / math.sqrt(self.hidden_size)
        for name, parameter in self.named_parameters():
            first = self._declared.vectors.get(name.rpartition("_l")[0])
            low, high = (-bound, bound) if first is None else first if isinstance(first, tuple) else (first, first)
            if low == high:
                torch.nn.init.constant_(parameter, low)
            else:
                torch.nn.init.uniform_(parameter, low, high)

    def flatten_parameters(self) -> None:
        """Nothing: there is no copy of the weights in another layout. (torch.nn's layers have this method.)"""

    def forward(self, input: Any, hx: Any = None, **options: Any) -> Any:
        numbers = {name: options.pop(name) for name in self._declared.per_step if name in options}
        if not isinstance(input, torch.fx.Proxy):
            input = self._with_numbers(input, numbers)
            numbers = {}
        return self._run(input, hx, options | numbers)

    def _with_numbers(self, input: Any, numbers: dict[str, Any]) -> Any:
        """The input followed by the numbers per step, as further features: so all kinds of input have them."""
        name = type(self).__name__
        for per_step in self._declared.per_step:
            if numbers.get(per_step) is None:
                raise TypeError(f"{name}.forward() needs the numbers per step {per_step}; pass {per_step}=tensor")
        if not numbers:
            return input
        if isinstance(input, PackedSequence):
            rows = [_packed_rows(per_step, each, input) for per_step, each in numbers.items()]
            return input._replace(data=_side_by_side(input.data, dict(zip(numbers, rows, strict=True))))
        if input.is_nested:
            raise ValueError(f"{name} takes numbers per step with padded or packed input; pad it, and pass lengths")
        return _side_by_side(input, numbers)

    def _sequence(
        self, input: Tensor, hx: Any, batch_sizes: Tensor | None, batch_first: bool, options: CallOptions
    ) -> tuple[Any, ...]:
        declared, weights = self._declared, self._weights()
        dtype, w = input.dtype, weights[0][0].w_ih
        if dtype != w.dtype and not autocasts(input):
            raise ValueError(f"Expected input of the weights' dtype {w.dtype}, got {dtype}; convert input or layer")
        features = input.size(-1) - len(declared.per_step)
        if features != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {features}"
            )
        if input.size(1 if batch_first else 0) == 0:
            raise RuntimeError(f"Expected a sequence of at least one step, got input of size {list(input.shape)}")
        call = Call(None, input, None, None, (), batch_sizes, options.lengths, options.resets, batch_first=batch_first)  # type: ignore[arg-type]
        call = given_options.checked(call)
        batch: Any = input.size(call.batch_axis())
        if batch_sizes is not None:  # data, at which a graph that is traced cannot look
            batch = None if torch.compiler.is_compiling() else int(batch_sizes[0])
        initial = self._initial(hx, batch)
        if batch_first:
            input = input.transpose(0, 1)
        resets = call.resets.t() if batch_first and call.resets is not None else call.resets
        computed = torch.promote_types(dtype, w.dtype)
        computed = torch.float32 if computed in _HALF else computed
        with torch.autocast(input.device.type, enabled=False) if autocasts(input) else nullcontext():
            input = input if dtype == computed else input.to(computed)
            widths = [features, *(1 for _ in declared.per_step)]
            x, *numbers = input.split(widths, -1) if declared.per_step else [input]
            steps = eager.Steps(x, tuple(numbers), batch_sizes, call.lengths, resets)
            states = [_to(state, computed) for state in initial]
            every, last = self._stacked(steps, states, weights, computed, options.return_states)
        if computed != dtype:
            every = [[_to(state, dtype) for state in layer] for layer in every]
            last = [state.to(dtype) for state in last]
        final = tuple(last)
        if batch_first:
            every = [[state if state is None else state.transpose(0, 1) for state in layer] for layer in every]
        result = every[-1][0], final[0] if len(final) == 1 else final
        if not options.return_states:
            return result
        return *result, self._states(*(torch.stack(of) for of in zip(*every, strict=True)))

    def _stacked(
        self,
        steps: eager.Steps,
        initial: list[Tensor | None],
        weights: Sequence[Sequence[eager.Weights]],
        dtype: torch.dtype,
        every_state: bool,
    ) -> tuple[list[list[Any]], list[Tensor]]:
        """All states after every step, of each layer, and the last of all layers."""
        kernel = self._compiled_kernel if self.compiled else self._kernel
        every: list[list[Any]] = []
        last = []
        for layer, of_layer in enumerate(weights):
            rows = slice(layer * self._directions, (layer + 1) * self._directions)
            begin = [state if state is None else state[rows] for state in initial]
            converted = [w.to(dtype) for w in of_layer]
            operands = [*begin, *(t for w in converted for t in w.tensors()), *steps.per_step]
            if kernels.serve(kernel, steps.input, operands):
                found: Any = kernels.layer(kernel, steps, begin, converted, every_state)
            else:
                found = eager.layer(self._declared, steps, begin, converted)
            states, final = found
            every.append(states)
            last.append(final)
            steps = steps._replace(input=dropout(states[0], self.dropout, self.training) if self.dropout else states[0])
        return every, last[0] if len(last) == 1 else [torch.cat(of) for of in zip(*last, strict=True)]

    def _weights(self) -> list[list[eager.Weights]]:
        """Those of each layer and direction, by their names: so that parametrizations and functional_call hold."""
        return [
            [
                eager.Weights(
                    getattr(self, "weight_ih" + suffix),
                    self._blocks("weight_hh" + suffix, len(self._declared.recurrent_gates)),
                    getattr(self, "bias_ih" + suffix, None),
                    getattr(self, "bias_hh" + suffix, None),
                    tuple(getattr(self, name + suffix) for name in self._declared.vectors),
                    tuple(self._blocks(name + suffix, 1) for name in self._declared.matrices),  # type: ignore[misc]
                )
                for suffix in self._suffixes(layer)
            ]
            for layer in range(self.num_layers)
        ]

    def _blocks(self, name: str, gates: int) -> Tensor | None:
        """The blocks of W_hh or of a matrix, or None where the cell has none. Their width says to the loops how many
        heads there are.

        Raises:
            RuntimeError: another size than that of so many heads.
        """
        found: Tensor | None = getattr(self, name, None)
        expected = [gates * self.hidden_size, self.hidden_size // self.heads]
        if found is not None and list(found.shape) != expected:
            kind = name.rpartition("_l")[0]
            raise RuntimeError(f"Expected {kind} size {expected} of {self.heads} heads, got {list(found.shape)}")
        return found

    def _initial(self, hx: Any, batch: int | None) -> list[Tensor | None]:
        names = list(self._declared.states)
        if hx is None:
            return [None] * len(names)
        states = [hx] if len(names) == 1 else hx
        if isinstance(states, Tensor) or len(states) != len(names) or not all(isinstance(s, Tensor) for s in states):
            got = f"a {type(hx).__name__}" + ("" if isinstance(hx, Tensor) else f" of {len(hx)}")
            what = "a tensor" if len(names) == 1 else f"a tuple of {len(names)} tensors"
            raise RuntimeError(f"Expected hx to be {what}, {', '.join(names)}; got {got}")
        for name, state in zip(names, states, strict=True):
            rows = state.shape[1:2] if batch is None else (batch,)
            shape = (self.num_layers * self._directions, *rows, self.hidden_size)
            if state.shape != shape:
                raise RuntimeError(f"Expected the initial {name} of size {list(shape)}, got {list(state.shape)}")
        return list(states)

    def extra_repr(self) -> str:
        defaults: dict[str, Any] = {"num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults |= {"bidirectional": False, "heads": 1}
        chosen = [f"{name}={getattr(self, name)}" for name, of in defaults.items() if getattr(self, name) != of]
        chosen += ["compile=True"] * self.compiled
        return ", ".join([str(self.input_size), str(self.hidden_size), *chosen])

    def __reduce_ex__(self, protocol: Any) -> Any:
        """By the cell: the class itself is made when it is asked for, and has no name to be found by."""
        words: Any = super().__reduce_ex__(max(protocol, 2))
        return words if type(self) is not layer(self.cell) else (_made, (self.cell,), *words[2:])


def layer(cell: type[Cell]) -> type[CellLayer]:
    """The class of a cell's layers, as ``fastrnn.layer(Peephole)(128, 256, num_layers=2)``: see :class:`CellLayer`.

    Of one cell it is always the same class. A cell with more than 32 gates, 16 states, 32 vectors, 32 numbers per step,
    4 matrices or 8 products with them, or with so long a step that 256 numbers are not enough for it and its gradient,
    warns: its layers run in Python.

    Raises:
        TypeError: not a class that is derived from :class:`fastrnn.Cell`.
    """
    if not isinstance(cell, type) or not issubclass(cell, Cell) or cell is Cell:
        raise TypeError(f"fastrnn.layer takes a class derived from fastrnn.Cell, got {cell!r}")
    if "_layer" not in vars(cell):
        kernel = kernels.Kernel(cell.declaration, cell.__name__)
        namespace = {
            "__doc__": CellLayer.__doc__,
            "__module__": cell.__module__,
            "cell": cell,
            "_states": namedtuple("States", cell.declaration.states),
            "_kernel": kernel,
            "_compiled_kernel": CompiledKernel(kernel),
        }
        cell._layer = type(cell.__name__, (CellLayer,), namespace)  # type: ignore[attr-defined]
    return cell._layer  # type: ignore[attr-defined]


def _made(cell: type[Cell]) -> CellLayer:
    cls = layer(cell)
    return cls.__new__(cls)


def _to(state: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    return None if state is None else state.to(dtype)


def _packed_rows(name: str, numbers: Any, input: PackedSequence) -> Tensor:
    if not isinstance(numbers, PackedSequence):
        raise ValueError(f"Expected {name} to be a PackedSequence, as the input is, got {type(numbers).__name__}")
    order, others = input.sorted_indices, numbers.sorted_indices
    same = order is others if order is None or others is None else torch.equal(order, others)
    if not same or not torch.equal(numbers.batch_sizes, input.batch_sizes):
        raise ValueError(f"Expected {name} to be packed as the input is: with the same lengths, in the same order")
    return numbers.data


def _side_by_side(input: Tensor, numbers: dict[str, Any]) -> Tensor:
    shape = [*input.shape[:-1], 1]
    for name, each in numbers.items():
        if not isinstance(each, Tensor):
            raise ValueError(f"Expected {name} to be a tensor, got {type(each).__name__}")
        if list(each.shape) != shape:
            raise ValueError(f"Expected {name} of size {shape}, a number for each step, got {list(each.shape)}")
        if each.dtype != input.dtype:
            raise ValueError(
                f"Expected {name} of the input's dtype, got {each.dtype}; convert it with .to({input.dtype})"
            )
    return torch.cat([input, *numbers.values()], -1)
