"""Processes that work together through torch.distributed: either all succeed, or all raise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


class Ranks:
    """The processes of a group. All of them must call the same methods in the same order.

    Args:
        group: by default that of ``init_process_group``. With nccl, data is copied through this rank's current GPU.
    Raises:
        RuntimeError: there is no group yet; and from every method, if a process has ended or cannot be reached.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "torch.distributed is not initialized; start the program with torchrun and call "
                "torch.distributed.init_process_group('gloo')"
            )
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        by_gpu = dist.get_backend(group) == dist.Backend.NCCL  # NCCL supports GPU tensors only
        self.device = torch.device("cuda", torch.cuda.current_device()) if by_gpu else torch.device("cpu")

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """Run the block on all ranks. If it raises on one rank, the others raise a RuntimeError that names it."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:  # also Ctrl-C: the others would wait for this rank
            error = raised
        try:
            said = self.gather(None if error is None else f"{type(error).__name__}: {error}".rstrip(": "))
        except RuntimeError as unreachable:
            raise error or unreachable from None
        if error is not None:
            raise error
        for rank, what in enumerate(said):
            if what is not None:
                raise RuntimeError(f"rank {rank} failed: {what}")

    def gather(self, thing: Any) -> list[Any]:
        """The arguments of all ranks, in order of rank."""
        things = [None] * self.size
        with _reachable():
            dist.all_gather_object(things, thing, self.group)
        return things

    def add(self, rows: np.ndarray) -> None:
        """Replace ``rows`` by their sum over all ranks, with the same bits on each."""
        with self._shared(rows) as tensor:
            dist.all_reduce(tensor, group=self.group)

    def copy_first(self, rows: np.ndarray) -> None:
        """Replace ``rows`` on all ranks by the first rank's."""
        with self._shared(rows) as tensor:
            dist.broadcast(tensor, group=self.group, group_src=0)

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raise ValueError if a fact differs between ranks."""
        gathered = self.gather(facts)
        for name in facts:
            values = [theirs[name] for theirs in gathered]
            if any(value != values[0] for value in values):
                raise ValueError(f"all ranks must have the same {name}, got {', '.join(map(str, values))}")

    @contextmanager
    def _shared(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """``rows`` as a tensor on the group's device; on the CPU it shares their memory."""
        own = torch.from_numpy(rows)
        tensor = own.to(self.device)
        with _reachable():
            yield tensor
        own.copy_(tensor)


@contextmanager
def _reachable() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RuntimeError(f"another rank has ended or cannot be reached: {error}") from error
