"""Training with several processes, as torchrun starts them: each takes a part of every batch, all take one step.

A batch of ``fastrnn.train.data`` is split by columns, so that a stateful loop works too. Other batches are distributed
whole, every n-th to each process; a DataLoader with a DistributedSampler is already split. The step equals that of the
joined batch: DistributedDataParallel averages the gradients of losses times their items, and the loop divides by all
items.
"""

from __future__ import annotations

import atexit
import gc
import os
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DistributedSampler

from fastrnn.train.data.batch import Captioned, Labelled, Pairs, Tagged, Window
from fastrnn.train.loop.evaluation import Loss
from fastrnn.train.loop.step import Step

if dist.is_available():
    # Its functions keep the process group that exists at their import as a default, and DistributedDataParallel imports
    # it. Imported before there is a group, they keep none, and destroy_process_group ends the threads of gloo.
    import torch.distributed.nn.functional

# For each field of a batch: the dimension of its columns, and the field with the lengths that its time is cut to.
_FIELDS: dict[type, dict[str, tuple[int, str | None]]] = {
    Window: {"input": (1, None), "target": (1, None)},
    Labelled: {"input": (1, "lengths"), "lengths": (0, None), "target": (0, None)},
    Tagged: {"input": (1, "lengths"), "lengths": (0, None), "target": (1, "lengths")},
    Pairs: {
        "source": (1, "source_lengths"),
        "source_lengths": (0, None),
        "target": (1, "target_lengths"),
        "target_lengths": (0, None),
    },
    Captioned: {"input": (0, None), "target": (1, "target_lengths"), "target_lengths": (0, None)},
}


def torchrun() -> bool:
    """Whether several processes train together: under torchrun, or in an existing process group."""
    return dist.is_available() and (dist.is_initialized() or int(os.environ.get("WORLD_SIZE", "1")) > 1)


def device_of_process(device: torch.device) -> torch.device:
    """The GPU of this process, by its number on the machine, if there are several processes."""
    if device.type == "cuda" and device.index is None and torchrun():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    return device


class World:
    """The processes that train together; this class is for a single one."""

    rank = 0
    size = 1

    def __enter__(self) -> World:
        return self

    def __exit__(self, *error: object) -> None:
        """Ends what ``wrap`` began; the processes stay together for the next training."""

    def batches_at_once(self, batch: Any) -> int:
        """Batches that the processes take together for every batch that a single process would take."""
        return 1

    def share(self, group: list[Any]) -> list[tuple[Any, bool]]:
        """This process's part of a group of batches, and whether it counts; a process without work gets a stand-in."""
        return [(batch, True) for batch in group]

    def wrap(self, model: nn.Module, loss: Loss) -> Loss:
        return loss

    def waiting(self, more: bool) -> AbstractContextManager[Any]:
        """Around a batch: with ``more`` batches to come, processes do not exchange gradients yet."""
        return nullcontext()

    def sum(self, *values: float) -> tuple[float, ...]:
        """Each value, summed over all processes."""
        return values

    def gather(self, value: Any) -> list[Any]:
        """The values of all processes, in the first one; an empty list in the others."""
        return [value]

    def agree(self, value: Any) -> Any:
        """The first process's value."""
        return value

    def own_generators(self) -> None:
        """From here on, each process draws its own random numbers: those of dropout, after the order of the data."""

    def common_generators(self) -> None:
        """From here on, all processes draw the same random numbers."""


class Processes(World):
    """Several processes, over gloo on the CPU and NCCL on GPUs."""

    def __init__(self, device: torch.device, data: Any, stateful: bool) -> None:
        if not dist.is_initialized():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
            atexit.register(_leave)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.stateful = stateful
        self.divided = isinstance(getattr(data, "sampler", None), DistributedSampler)
        self.parallel: DistributedDataParallel | None = None
        # Small numbers go over the CPU if possible, so that nothing waits for the GPU.
        self.device = torch.device("cpu") if "gloo" in str(dist.get_backend_config()) else device

    def __exit__(self, *error: object) -> None:
        self.parallel = None  # it holds the process group

    def batches_at_once(self, batch: Any) -> int:
        if self.divided or type(batch) in _FIELDS:
            return 1
        if self.stateful:
            raise ValueError(
                f"a stateful loop over {self.size} processes splits batches by columns, and those of "
                f"{type(batch).__name__} are unknown; use the batches of fastrnn.train.data, or stateful=False"
            )
        return self.size

    def share(self, group: list[Any]) -> list[tuple[Any, bool]]:
        if self.divided:
            return [(batch, True) for batch in group]
        if type(group[0]) in _FIELDS:
            return [columns(batch, self.rank, self.size) for batch in group]
        mine = [(batch, True) for batch in group[self.rank :: self.size]]
        missing = -(-len(group) // self.size) - len(mine)
        return mine + [(group[-1], False)] * missing

    def wrap(self, model: nn.Module, loss: Loss) -> Loss:
        # A step may leave parameters without a gradient, such as clusters of an adaptive softmax. If none does, torch
        # prints once that the search was not needed; that cannot be turned off.
        self.parallel = DistributedDataParallel(_Loss(model, loss), find_unused_parameters=True)

        def step(model: nn.Module, batch: Any, state: Any) -> Step:
            assert self.parallel is not None, "the training is over"
            return Step(*self.parallel(batch, state))

        return step

    def waiting(self, more: bool) -> AbstractContextManager[Any]:
        return self.parallel.no_sync() if more and self.parallel is not None else nullcontext()

    def sum(self, *values: float) -> tuple[float, ...]:
        total = torch.tensor(values, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return tuple(total.tolist())

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] | None = [None] * self.size if self.rank == 0 else None
        dist.gather_object(value, values)
        return values or []

    def agree(self, value: Any) -> Any:
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    def own_generators(self) -> None:
        torch.manual_seed((torch.initial_seed() + 1 + self.rank) % 2**63)

    def common_generators(self) -> None:
        torch.manual_seed(self.agree(int(torch.randint(2**62, ()))))


class _Loss(nn.Module):
    """A module whose forward is the loss, as DistributedDataParallel needs it."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model = model
        self.loss = loss

    def forward(self, batch: Any, state: Any) -> tuple[Any, ...]:
        return tuple(self.loss(self.model, batch, state))


def world(device: torch.device, data: Any, stateful: bool) -> World:
    return Processes(device, data, stateful) if torchrun() else World()


def columns(batch: Any, rank: int, size: int) -> tuple[Any, bool]:
    """A process's columns of a batch, cut to their longest length, and whether they count.

    With fewer columns than processes it may be the first column, which does not count: every process must take part in
    the step.
    """
    fields = _FIELDS[type(batch)]
    count = next(getattr(batch, name).shape[dimension] for name, (dimension, _) in fields.items())
    start, stop = count * rank // size, count * (rank + 1) // size
    counts = stop > start
    if not counts:
        start, stop = 0, 1
    part = {
        name: getattr(batch, name).narrow(dimension, start, stop - start)
        for name, (dimension, _) in fields.items()
        if getattr(batch, name) is not None
    }
    for name, (_, lengths) in fields.items():
        if lengths in part and part[name].dim() > 1:
            part[name] = part[name][: int(part[lengths].max())]
    return batch._replace(**part), counts


def _leave() -> None:
    """Ends the process group that ``Processes`` made, and the threads of gloo with it.

    A thread of gloo drops the tensors of a work a little after the work is done, and takes Python's lock for it. If the
    interpreter ends just then, Python 3.11 ends the thread within a destructor, which aborts the process.
    """
    if dist.is_initialized():
        gc.collect()  # nothing else may hold the group, such as a training that raised an error
        dist.destroy_process_group()
