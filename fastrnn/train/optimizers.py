"""torch's optimizers by name."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import nn
from torch.optim import Optimizer

from fastrnn.train.names import unknown

OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "sgd": torch.optim.SGD,
}


def make(
    optimizer: str | Optimizer, parameters: Iterable[nn.Parameter], lr: float, momentum: float, weight_decay: float
) -> Optimizer:
    """The optimizer of a name, or the one given. Adam has betas of its own, so ``momentum`` is sgd's and rmsprop's."""
    if isinstance(optimizer, Optimizer):
        return optimizer
    if optimizer not in OPTIMIZERS:
        raise unknown("optimizer", optimizer, OPTIMIZERS)
    options = {"lr": lr, "weight_decay": weight_decay}
    if optimizer in ("sgd", "rmsprop"):
        options["momentum"] = momentum
    elif momentum:
        raise ValueError(f"{optimizer} has no momentum; got momentum={momentum}. Leave it out, or use sgd or rmsprop")
    return OPTIMIZERS[optimizer](parameters, **options)
