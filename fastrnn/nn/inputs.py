"""The kinds of input that layers take: padded (three dimensions), packed, nested, and a single sequence (two)."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor
from torch.fx import Proxy
from torch.nn.utils.rnn import PackedSequence

from fastrnn._core.call import State
from fastrnn._core.options import refuse_lengths
from fastrnn._core.tracing import recorded_call
from fastrnn.nn.nested import Padded


class CallOptions(NamedTuple):
    """What a call may be given beside input and state."""

    lengths: Any = None
    resets: Any = None
    return_states: bool = False


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

    def _sequence(
        self, input: Tensor, hx: Any, batch_sizes: Tensor | None, batch_first: bool, options: CallOptions
    ) -> tuple[Any, ...]:
        """Output and state of padded input, or of packed rows with ``batch_sizes``; all states too if asked for."""
        raise NotImplementedError

    def _run(self: Any, input: Any, hx: Any, options: dict[str, Any] | None = None) -> Any:
        """A call with these keyword arguments, whose names are those of :class:`CallOptions`. (Were they named in
        ``forward``, torch.onnx would pass them by position.)"""
        if isinstance(input, Proxy):
            return recorded_call(self, input, hx, options)
        for name in options or ():
            if name not in CallOptions._fields:
                raise TypeError(
                    f"{type(self).__name__}.forward() got an unexpected keyword argument {name!r}; it takes input, hx, "
                    f"{', '.join(CallOptions._fields)}"
                )
        given = CallOptions(**(options or {}))
        if not isinstance(given.return_states, bool):
            raise TypeError(f"Expected return_states to be a bool, got {type(given.return_states).__name__}")
        if isinstance(input, PackedSequence):
            return self._packed(input, hx, given)
        if input.is_nested:
            return self._nested(input, hx, given)
        rank = input.dim()
        if rank == 3:
            return self._sequence(input, hx, None, self.batch_first, given)
        if rank != 2:
            raise ValueError(f"{type(self).__name__}: Expected input to be 2D or 3D, got {rank}D instead")
        return self._unbatched(input, hx, given)

    def _packed(self, input: PackedSequence, hx: Any, options: CallOptions) -> tuple[Any, ...]:
        """The states that go in and come out are in the caller's order. Inside, the longest sequence is first."""
        refuse_lengths(
            options.lengths, "a PackedSequence, which has its own", "leave them out, or pass the padded tensor"
        )
        if options.resets is not None:
            raise ValueError(
                "Expected resets with padded input, got resets and a PackedSequence; pass the padded tensor with "
                "lengths and resets"
            )
        data, batch_sizes, to_sorted, to_callers = input
        if to_sorted is not None:
            each(lambda state: _check_batch(state, to_sorted.numel()), hx)
            hx = each(lambda state: state.index_select(1, to_sorted), hx)
        output, hidden, *states = self._sequence(data, hx, batch_sizes, False, options)
        if to_callers is not None:
            hidden = each(lambda state: state.index_select(1, to_callers), hidden)
        return PackedSequence(output, batch_sizes, to_sorted, to_callers), hidden, *states

    def _nested(self, input: Tensor, hx: Any, options: CallOptions) -> tuple[Any, ...]:
        """Sequences (B, ragged, I), whose batch is first whatever ``batch_first`` says, and so of all states."""
        refuse_lengths(options.lengths, "a nested tensor, which has its own", "leave them out")
        padded = Padded.of(input)
        options = options._replace(lengths=padded.lengths)
        output, *others = self._sequence(padded.data, hx, None, True, options)
        return padded.as_nested(output, input), *others

    def _unbatched(self, input: Tensor, hx: Any, options: CallOptions) -> tuple[Any, ...]:
        """One sequence (T, I), states (L D, H). ``batch_first`` is ignored."""
        refuse_lengths(options.lengths, "one sequence of 2 dimensions", "pass input[:length]")
        hx = each(_with_batch, hx)
        if isinstance(options.resets, Tensor) and options.resets.dim() == 1:
            options = options._replace(resets=options.resets.unsqueeze(1))
        output, hidden, *states = self._sequence(input.unsqueeze(1), hx, None, False, options)
        states = [type(found)(*(each(lambda every: every.squeeze(-2), kind) for kind in found)) for found in states]
        return output.squeeze(1), each(lambda state: state.squeeze(1), hidden), *states
