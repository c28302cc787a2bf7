"""The types of a call, for type checkers: ``torch.nn.Module`` says of its ``__call__`` that it takes and returns Any.

``State`` is a Tensor of RNN and GRU, the pair (h, c) of an LSTM.
"""

from __future__ import annotations

from typing import Literal, Protocol, TypeVar, overload

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastrnn._core.call import States

State = TypeVar("State")


class LayerCall(Protocol[State]):
    """How a layer is called. The output is of the kind of the input."""

    @overload
    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        return_states: Literal[False] = False,
    ) -> tuple[Tensor, State]: ...
    @overload
    def __call__(
        self,
        input: Tensor,
        hx: State | None = None,
        *,
        lengths: Tensor | None = None,
        resets: Tensor | None = None,
        return_states: Literal[True],
    ) -> tuple[Tensor, State, States]: ...
    @overload
    def __call__(
        self,
        input: PackedSequence,
        hx: State | None = None,
        *,
        lengths: None = None,
        resets: None = None,
        return_states: Literal[False] = False,
    ) -> tuple[PackedSequence, State]: ...
    @overload
    def __call__(
        self,
        input: PackedSequence,
        hx: State | None = None,
        *,
        lengths: None = None,
        resets: None = None,
        return_states: Literal[True],
    ) -> tuple[PackedSequence, State, States]: ...


class CellCall(Protocol[State]):
    """How a cell is called."""

    def __call__(self, input: Tensor, hx: State | None = None) -> State: ...


class LossCall(Protocol):
    """How a loss is called."""

    def __call__(self, input: Tensor, target: Tensor) -> Tensor: ...
