"""The settings that all tasks share. A task adds its own in a dataclass of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, dataclass, field
from typing import Any


def setting(default: Any, help: str) -> Any:
    """A field of a settings class: its default, and the line that explains it."""
    return field(default=default, metadata={"help": help})


def help_of(of: Field[Any]) -> str:
    return str(of.metadata.get("help", ""))


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How to train; see :func:`fastrnn.train.fit`."""

    data: str | None = setting(None, "File or folder to train on; by default what every machine has or makes.")
    cell: str = setting("lstm", "lstm, gru, gru_reset_before, rnn_tanh, rnn_relu or rnn_sigmoid.")
    hidden: int = setting(128, "Hidden units of each layer.")
    layers: int = setting(1, "Recurrent layers.")
    dropout: float = setting(0.0, "Probability of zeroing an element between layers.")
    batch: int = setting(32, "Sequences in a batch.")
    epochs: int = setting(10, "Passes over the data.")
    optimizer: str = setting("adam", "adam, adamw, sgd or rmsprop.")
    lr: float = setting(1e-3, "Learning rate at the start.")
    momentum: float = setting(0.0, "Momentum of sgd.")
    weight_decay: float = setting(0.0, "Weight decay.")
    schedule: Mapping[str, Any] | None = setting(None, 'Such as {name = "decay", factor = 0.5, after = 4}.')
    clip: float | None = setting(None, "Largest norm of the gradient.")
    accumulate: int = setting(1, "Batches per step of the optimizer.")
    patience: int | None = setting(None, "Stop after so many epochs without a better validation.")
    autocast: str | None = setting(None, "bfloat16 or float16: the dtype of products under autocast.")
    seed: int = setting(0, "Seed of weights, order and dropout.")
