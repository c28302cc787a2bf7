"""Truncated backpropagation through time: a sequence in chunks, and the state between them, cut from the graph.

R. J. Williams and J. Peng, 1990, An efficient gradient-based algorithm for on-line training of recurrent network
trajectories, with h' = h.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from fastrnn._detach import detach


def tbptt(x: Any, k: int, state: Any = None, *, batch_first: bool = False) -> Chunks:
    """Chunks of ``k`` steps of a sequence, each with the state to start from.

    Give every chunk's final state to :meth:`Chunks.keep`. The next chunk comes with it, detached, so gradients reach
    back to the beginning of their own chunk.

    Args:
        x: (T, B, ...), or (B, T, ...) with ``batch_first``; or a tuple of such tensors, such as inputs and targets,
            which are cut alike.
        k: steps in a chunk; the last one has what is left.
        state: of the first chunk; None for zeros, as of layers. It is detached, too.

    Raises:
        ValueError: k is less than 1, or the tensors have different lengths or no steps.
        TypeError: ``x`` is a PackedSequence, nested or no tensor, k no integer, or batch_first no bool.

    Example:
        >>> chunks = fastrnn.tbptt((x, y), 35)
        >>> for (input, target), state in chunks:
        ...     output, state = lstm(input, state)
        ...     chunks.keep(state)
        ...     loss(output, target).backward()
        ...     optimizer.step()
        ...     optimizer.zero_grad()
    """
    return Chunks(x, k, state, batch_first)


class Chunks:
    """What :func:`tbptt` returns: an iterator over pairs of a chunk and a state. Its length is the number of chunks.

    ``state`` is the state last kept, detached: at the end that of the whole sequence.
    """

    def __init__(self, x: Any, k: int, state: Any, batch_first: bool) -> None:
        tensors = x if isinstance(x, tuple) and not isinstance(x, PackedSequence) else (x,)
        if isinstance(k, bool) or not isinstance(k, int):
            raise TypeError(f"Expected k, the steps in a chunk, to be an int, got {type(k).__name__}")
        if k < 1:
            raise ValueError(f"Expected k, the steps in a chunk, to be at least 1, got {k}")
        if not isinstance(batch_first, bool):
            raise TypeError(f"Expected batch_first to be a bool, got {type(batch_first).__name__}")
        self._axis = 1 if batch_first else 0
        lengths = [_steps(tensor, self._axis) for tensor in tensors]
        if len(set(lengths)) != 1 or lengths[0] == 0:
            raise ValueError(f"Expected tensors of one length, at least 1, got lengths {lengths}")
        self._x, self._k, self._steps, self._next = x, k, lengths[0], 0
        self._waits = False  # for the state of the chunk that was given last
        self.state = detach(state)

    def keep(self, state: Any) -> None:
        """The final state of the chunk that came last, from which the next one starts."""
        self.state, self._waits = detach(state), False

    def __len__(self) -> int:
        return -(-self._steps // self._k)

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return self

    def __next__(self) -> tuple[Any, Any]:
        if self._waits:
            raise RuntimeError(
                "Expected the state of the last chunk before the next one: call keep(state) in the loop, as in "
                "chunks = fastrnn.tbptt(x, k); for chunk, state in chunks: ...; chunks.keep(state)"
            )
        if self._next >= self._steps:
            raise StopIteration
        begin, self._next, self._waits = self._next, min(self._next + self._k, self._steps), True
        cut = [tensor.narrow(self._axis, begin, self._next - begin) for tensor in self._tensors()]
        return (tuple(cut) if isinstance(self._x, tuple) else cut[0]), self.state

    def _tensors(self) -> tuple[Tensor, ...]:
        return self._x if isinstance(self._x, tuple) else (self._x,)


def _steps(tensor: Any, axis: int) -> int:
    if isinstance(tensor, PackedSequence):
        raise TypeError(
            "Expected padded tensors, got a PackedSequence, whose steps cannot be cut; pad it by "
            "torch.nn.utils.rnn.pad_packed_sequence, and pack each chunk with the lengths that are left"
        )
    if not isinstance(tensor, Tensor):
        raise TypeError(f"Expected a tensor or a tuple of tensors, got {type(tensor).__name__}")
    if tensor.is_nested:
        raise TypeError(
            "Expected padded tensors, got a nested one, whose steps cannot be cut; pad it by "
            "torch.nested.to_padded_tensor(x, 0.0), and give each chunk the lengths that are left"
        )
    if tensor.dim() <= axis:
        raise ValueError(f"Expected tensors of at least {axis + 1} dimensions, got size {list(tensor.shape)}")
    return tensor.size(axis)
