"""The settings that all tasks share. A task adds its own in a subclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from inspect import signature
from typing import Any

CELLS = (
    "lstm",
    "peephole_lstm",
    "coupled_lstm",
    "gru",
    "gru_reset_before",
    "rnn_tanh",
    "rnn_relu",
    "rnn_sigmoid",
)


def setting(default: Any, help: str, *, least: float | None = None, choices: Sequence[str] = ()) -> Any:
    """A field of a settings class: its default, its help, and limits beyond its type."""
    return field(default=default, metadata={"help": help, "least": least, "choices": tuple(choices)})


def help_of(of: Field[Any]) -> str:
    """The help of a setting, with its choices if there are any."""
    choices = ", ".join(of.metadata.get("choices", ()))
    return f"{of.metadata.get('help', '')}{f' One of {choices}.' if choices else ''}"


@dataclass(frozen=True, kw_only=True)
class TaskSettings:
    """The settings of every task."""

    data: str | None = setting(None, "File or folder to train on; by default the task makes its own data.")
    seed: int = setting(0, "Random seed for weights, data order and dropout.", least=0)

    def given_data(self) -> str:
        """The data, where a task needs the user's own; raises ValueError if there is none."""
        if self.data is None:
            raise ValueError("there is no data to evaluate on; type --data FILE")
        return self.data

    def arguments_of(self, function: Callable[..., Any]) -> dict[str, Any]:
        """The settings with names of keyword arguments of a function or class, to pass to it."""
        taken = {each.name for each in signature(function).parameters.values() if each.kind is each.KEYWORD_ONLY}
        return {each.name: getattr(self, each.name) for each in fields(self) if each.name in taken}


@dataclass(frozen=True, kw_only=True)
class FitSettings(TaskSettings):
    """A recurrent model and its training. A setting with the name of a keyword argument of :func:`fastrnn.train.fit` or
    of the model is that argument."""

    cell: str = setting("lstm", "Recurrent cell.", choices=CELLS)
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
