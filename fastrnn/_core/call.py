"""One call of a layer or a stack of layers: the argument of everything between fastrnn.functional and the operators.

An option is a field here, an argument of the functions and modules that offer it, and read where it matters; everything
in between passes the call on.

T steps, B batch entries, I input features, H hidden features, P = H or the size of the projection, L layers, D
directions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from fastrnn._core import cells
from fastrnn._core.cells import Cell

State = Tensor | tuple[Tensor, Tensor]
Results = tuple[Tensor, Tensor, Tensor]  # output, h_n and c_n, which is of shape (0,) where the cell carries no c


class States(NamedTuple):
    """The state after every step of every layer, zeros beyond the ends that ``lengths`` give."""

    h: Tensor  # (L, T, B, D P), (L, B, T, D P) with batch_first, (L, rows, D P) of packed input
    c: Tensor | None  # likewise with D H features, where the cell carries c


class Call(NamedTuple):
    """The operands and options of a call, as :func:`fastrnn.functional.lstm` describes them.

    First the cell and the tensors, then the options of a layer, last those of a stack only. Nothing is a property:
    torch.compile traces the methods of a tuple, but not its properties.
    """

    cell: Cell
    input: Tensor  # (T, B, I), (B, T, I) with batch_first, or packed (sum of batch_sizes, I)
    h0: Tensor | None  # (L D, B, P), or zeros
    c0: Tensor | None  # (L D, B, H), or zeros, where the cell carries c
    weights: Sequence[Tensor]  # of each layer, and in it of each direction, those of weight_names()
    batch_sizes: Tensor | None = None  # int64 (T,) on the CPU: rows that are still active at each step
    lengths: Tensor | None = None  # of padded input: int64 (B,) on the CPU, steps of each row, in any order
    resets: Tensor | None = None  # bool, shaped as the input without features: rows that begin anew before a step
    recurrent_mask: Tensor | None = None  # (D, B, P), of one layer: h_{t-1} is multiplied by it before W_hh
    zoneout_h: Tensor | None = None  # shaped as the output with D P features: how much of h_{t-1} a step keeps
    zoneout_c: Tensor | None = None  # likewise with D H, of c_{t-1}
    biases: bool = True
    projected: bool = False
    bidirectional: bool = False
    batch_first: bool = False
    training: bool = False
    recompute: bool = False
    groups: int = 0  # of the backward pass: weights' gradients (groups, ...), number v over the rows b % groups = v
    every_state: bool = False  # where the cell carries c, c after every step follows h in a layer's output: D P + D H
    learned_state: bool = False  # h_0 (P) and c_0 (H) are weights: where no state is given, and after resets
    heads: int = 1  # of h: w_hh (G H, P / heads) is block diagonal for each gate
    num_layers: int = 1
    dropout: float = 0.0  # between layers
    input_dropout: float = 0.0  # of the input of the first layer
    locked_dropout: bool = False  # both with one mask for all steps of a sequence
    weight_dropout: float = 0.0  # of every w_hh, with one mask for all steps
    recurrent_dropout: float = 0.0  # of h_{t-1} as w_hh reads it, with one mask for all steps
    zoneout_rates: tuple[float, float] = (0.0, 0.0)  # of h and of c: how likely, or at inference how much, it is kept

    def weight_names(self) -> tuple[str, ...]:
        """The weights of one direction, in their order."""
        biases = ("b_ih", "b_hh") if self.biases else ()
        learned = () if not self.learned_state else ("h_0", "c_0") if self.cell.carries_c else ("h_0",)
        return "w_ih", "w_hh", *biases, *(("w_hr",) if self.projected else ()), *self.cell.vectors, *learned

    def weights_per_direction(self) -> int:
        learned = self.learned_state * (1 + self.cell.carries_c)
        return (4 if self.biases else 2) + self.projected + len(self.cell.vectors) + learned

    def directions(self) -> int:
        return 2 if self.bidirectional else 1

    def state_rows(self) -> int:
        """L D: the first size of h_0."""
        return self.num_layers * self.directions()

    def hidden_size(self) -> int:
        """H, as a number of columns: a number of rows would have to be divided, which guards a symbolic size."""
        return self.weights[self.weight_names().index("w_hr")].size(1) if self.projected else self.output_size()

    def output_size(self) -> int:
        """P: features of h."""
        return self.weights[1].size(1) * self.heads

    def batch_axis(self) -> int:
        """The axis of input and output that the batch entries lie along."""
        return 0 if self.batch_first or self.batch_sizes is not None else 1

    def tensors(self) -> tuple[Tensor | None, ...]:
        """Input, h_0, c_0 and the weights: all that may have a gradient."""
        return (self.input, self.h0, self.c0, *self.weights)

    def constants(self) -> tuple[Tensor | None, ...]:
        """The tensors that never have a gradient."""
        return self.batch_sizes, self.lengths, self.resets, self.recurrent_mask, self.zoneout_h, self.zoneout_c

    def has_options(self) -> bool:
        """Whether the call asks for what torch's operators lack."""
        options = self.lengths is not None or self.resets is not None or self.every_state or self.learned_state
        return options or self.heads != 1 or self.is_regularized()

    def is_regularized(self) -> bool:
        """Whether there is recurrent dropout or zoneout in its steps."""
        return self.zoneout_rates != (0.0, 0.0) or (self.training and self.recurrent_dropout != 0)

    def with_tensors(self, input: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]) -> Call:
        """The same call of other tensors. (``_replace`` takes twice as long.)"""
        return Call(self.cell, input, h0, c0, weights, *self[_OPTIONS:])  # type: ignore[arg-type]

    def of_layer(self, input: Tensor, h0: Tensor | None, c0: Tensor | None, weights: Sequence[Tensor]) -> Call:
        """The call of one layer of the stack, without the options that are the stack's only."""
        return Call(self.cell, input, h0, c0, weights, *self[_OPTIONS:_OF_STACK])  # type: ignore[arg-type]

    def bare(self) -> Call:
        """The same call without its tensors. :meth:`filled` gives them back."""
        bare: Any = self.with_tensors(None, None, None, ())  # type: ignore[arg-type]
        return bare._replace(**dict.fromkeys(_CONSTANTS))

    def filled(self, constants: Sequence[Tensor | None], tensors: Sequence[Any]) -> Call:
        """The same call with these :meth:`constants` and :meth:`tensors`."""
        input, h0, c0, *weights = tensors
        named: Any = zip(_CONSTANTS, constants, strict=True)
        return self.with_tensors(input, h0, c0, weights)._replace(**dict(named))

    def requires_grad(self) -> bool:
        return any(t is not None and t.requires_grad for t in self.tensors())


_CONSTANTS = ("batch_sizes", "lengths", "resets", "recurrent_mask", "zoneout_h", "zoneout_c")
CONSTANTS = len(_CONSTANTS)  # the number of Call.constants()
_OPTIONS, _OF_STACK = Call._fields.index("batch_sizes"), Call._fields.index("num_layers")

# What runs a call of one layer.
Layer = Callable[[Call], Results]


def call_of(cell: str, input: Tensor, hx: State | None, weights: Sequence[Tensor], **options: Any) -> Call:
    """A call as the user gives it: a cell by its name, the state as :func:`cell_and_states` takes it."""
    kind, h0, c0 = cell_and_states(cell, hx)
    return Call(kind, input, h0, c0, weights, **options)


def cell_and_states(name: str, hx: State | None) -> tuple[Cell, Tensor | None, Tensor | None]:
    """The cell of this name, h_0 and c_0, from h_0, from (h_0, c_0) where the cell carries c, or from None for zeros.

    Raises:
        ValueError: no cell has this name.
        AttributeError, IndexError, RuntimeError: a tensor where a pair is expected or the reverse.
    """
    cell = cells.named(name)
    if hx is None:
        return cell, None, None
    # The exception types are torch.nn's: IndexError where it would index a missing state, RuntimeError for a third.
    if not cell.carries_c:
        if isinstance(hx, (tuple, list)):
            raise AttributeError(f"Expected hx to be a tensor, got a {type(hx).__name__} of {len(hx)}; pass hx[0]")
        return cell, hx, None
    if isinstance(hx, Tensor) or len(hx) != 2:
        got = f"a tensor of size {list(hx.shape)}" if isinstance(hx, Tensor) else f"a {type(hx).__name__} of {len(hx)}"
        error = IndexError if len(hx) < 2 else RuntimeError
        raise error(f"Expected hx to be a pair, got {got}; pass (h_0, c_0)")
    return cell, hx[0], hx[1]


def with_initial_states(weights: Sequence[Tensor], initial: Sequence[Tensor]) -> list[Tensor]:
    """The weights of all directions, each followed by its row of h_0 (L D, P) and, where there is one, c_0 (L D, H)."""
    rows = list(zip(*(state.unbind() for state in initial), strict=True))
    each = len(weights) // len(rows)
    return [w for i, row in enumerate(rows) for w in (*weights[i * each : (i + 1) * each], *row)]


def state_of(call: Call, h: Tensor, c: Tensor | None) -> Any:
    """The state as the user sees it: the reverse of :func:`cell_and_states`."""
    return (h, c) if call.cell.carries_c else h
