"""The kinds of input that layers take: padded (three dimensions), packed, and a single sequence (two dimensions)."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fastrnn._core.call import State
from fastrnn._core.tracing import recorded_call


def each(function: Any, hx: State | None) -> Any:
    """Apply a function to a state: to h, to both of (h, c), to those of each layer, or to none."""
    if hx is None:
        return None
    return tuple(each(function, part) for part in hx) if isinstance(hx, (tuple, list)) else function(hx)


def _check_batch(state: Tensor, batch: int) -> None:
    if state.dim() != 3 or state.size(1) != batch:
        raise RuntimeError(f"Expected a state of 3 dimensions and batch size {batch}, got size {list(state.shape)}")


def _with_batch(state: Tensor) -> Tensor:
    if state.dim() != 2:
        raise RuntimeError(f"Expected hx of 2 dimensions for an unbatched 2D input, got {state.dim()}")
    return state.unsqueeze(1)


class AnyInput:
    """A base of layers that compute :meth:`_sequence`: of any kind of input."""

    batch_first: bool

    def _sequence(self, input: Tensor, hx: Any, batch_sizes: Tensor | None, batch_first: bool) -> tuple[Tensor, Any]:
        """Output and state of padded input, or of packed rows with ``batch_sizes``."""
        raise NotImplementedError

    def _run(self: Any, input: Any, hx: Any) -> Any:
        if isinstance(input, PackedSequence):
            return self._packed(input, hx)
        if isinstance(input, Proxy):
            return recorded_call(self, input, hx)
        rank = input.dim()
        if rank == 3:
            return self._sequence(input, hx, None, self.batch_first)
        if rank != 2:
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {rank}D instead")
        return self._unbatched(input, hx)

    def _packed(self, input: PackedSequence, hx: Any) -> tuple[PackedSequence, Any]:
        """The states that go in and come out are in the caller's order. Inside, the longest sequence is first."""
        data, batch_sizes, to_sorted, to_callers = input
        if to_sorted is not None:
            each(lambda state: _check_batch(state, to_sorted.numel()), hx)
            hx = each(lambda state: state.index_select(1, to_sorted), hx)
        output, hidden = self._sequence(data, hx, batch_sizes, False)
        if to_callers is not None:
            hidden = each(lambda state: state.index_select(1, to_callers), hidden)
        return PackedSequence(output, batch_sizes, to_sorted, to_callers), hidden

    def _unbatched(self, input: Tensor, hx: Any) -> tuple[Tensor, Any]:
        """One sequence (T, I), states (L D, H). ``batch_first`` is ignored."""
        hx = each(_with_batch, hx)
        output, hidden = self._sequence(input.unsqueeze(1), hx, None, False)
        return output.squeeze(1), each(lambda state: state.squeeze(1), hidden)
