"""The settings of every task that trains a recurrent model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastrnn.train.models.recurrent import CELLS
from fastrnn.train.tasks.settings import TaskSettings, setting


@dataclass(frozen=True, kw_only=True)
class FitSettings(TaskSettings):
    """A recurrent model and its training. A setting with the name of a keyword argument of :func:`fastrnn.train.fit` or
    of the model is that argument."""

    cell: str = setting(CELLS[0], "Recurrent cell.", choices=CELLS)
    hidden: int = setting(128, "Hidden units of each layer.", least=1)
    layers: int = setting(1, "Number of recurrent layers.", least=1)
    dropout: float = setting(0.0, "Dropout between layers.", least=0)
    batch: int = setting(32, "Sequences in a batch.", least=1)
    epochs: int = setting(10, "Number of passes over the data.", least=1)
    optimizer: str = setting("adam", "Optimizer.", choices=("adam", "adamw", "sgd", "rmsprop"))
    lr: float = setting(1e-3, "Initial learning rate.", least=0)
    momentum: float = setting(0.0, "Momentum of sgd.", least=0)
    weight_decay: float = setting(0.0, "Weight decay.", least=0)
    schedule: Mapping[str, Any] | str | None = setting(
        None, 'Learning rate schedule: a name, or a table such as {name = "decay", factor = 0.5, after = 4}.'
    )
    clip: float | None = setting(None, "Maximum norm of the gradient.", least=0)
    accumulate: int = setting(1, "Batches per step of the optimizer.", least=1)
    patience: int | None = setting(None, "Stop after this many epochs without an improvement in validation.", least=1)
    autocast: str | None = setting(None, "dtype of matrix products under autocast.", choices=("bfloat16", "float16"))
    checkpoint_every: float = setting(300.0, "Seconds between checkpoints.", least=0)
    tensorboard: bool = setting(False, "Also write TensorBoard logs.")
