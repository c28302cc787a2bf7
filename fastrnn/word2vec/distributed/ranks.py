"""Processes that do the same together, through torch.distributed: all of them succeed, or all of them raise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


class Ranks:
    """The processes of a group; every method is to be called by all of them, in the same order.

    Args:
        group: by default the one of ``init_process_group``. With nccl, numbers go by way of this rank's current GPU.
    Raises:
        RuntimeError: there is no group yet. Every method, too: a process has ended or cannot be reached.
    """

    def __init__(self, group: dist.ProcessGroup | None = None) -> None:
        if not (dist.is_available() and dist.is_initialized()):
            raise RuntimeError(
                "there are no ranks yet; start the program with torchrun and call "
                "torch.distributed.init_process_group('gloo')"
            )
        self.group = group
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        by_gpu = dist.get_backend(group) == dist.Backend.NCCL  # which knows no other tensors
        self.device = torch.device("cuda", torch.cuda.current_device()) if by_gpu else torch.device("cpu")

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """What is done inside, all ranks do. If it raises on one, RuntimeError names that one on the others."""
        error: BaseException | None = None
        try:
            yield
        except BaseException as raised:  # Ctrl-C, too: the others would wait for this rank
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
        """What each rank gave, by rank."""
        things = [None] * self.size
        with _reachable():
            dist.all_gather_object(things, thing, self.group)
        return things

    def add(self, rows: np.ndarray) -> None:
        """Put the sum over all ranks in place of ``rows``, the same bits on each."""
        with self._shared(rows) as tensor:
            dist.all_reduce(tensor, group=self.group)

    def copy_first(self, rows: np.ndarray) -> None:
        """Put the first rank's ``rows`` in place of everybody's."""
        with self._shared(rows) as tensor:
            dist.broadcast(tensor, group=self.group, group_src=0)

    def check_same(self, facts: Mapping[str, Any]) -> None:
        """Raises ValueError if a fact is not the same on all ranks."""
        everybodys = self.gather(facts)
        for name in facts:
            values = [theirs[name] for theirs in everybodys]
            if any(value != values[0] for value in values):
                raise ValueError(f"all ranks must have the same {name}, got {', '.join(map(str, values))}")

    @contextmanager
    def _shared(self, rows: np.ndarray) -> Iterator[torch.Tensor]:
        """``rows`` where the group can work on them; on the CPU that is their own memory."""
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
