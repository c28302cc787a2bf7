"""Learning rate schedules.

A schedule multiplies the optimizer's initial rates. The loop asks it before every step and tells it every validation
loss; its state is JSON, for the checkpoint.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from fastrnn.train._names import unknown


class Schedule:
    """A constant learning rate; the other schedules derive from it."""

    may_average = False  # whether it may use averaged weights, as NT-ASGD does
    averages = False  # whether it uses them now
    needs_validation = False

    def begin(self, steps: int | None) -> None:
        """Called once with the number of steps of the training, or None if the data has no length."""

    def multiplier(self, step: int, epoch: int) -> float:
        """The factor of the learning rate at a step (from 0) of an epoch (from 1)."""
        return 1.0

    def validated(self, loss: float) -> None:
        """Called with the validation loss after each epoch."""

    def config(self) -> dict[str, Any]:
        """The name and arguments, as :func:`make` takes them."""
        arguments = inspect.signature(type(self)).parameters
        return {"name": type(self).__name__.lower(), **{name: getattr(self, name) for name in arguments}}

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)


class Decay(Schedule):
    """Multiply by ``factor`` every epoch after epoch ``after`` (Zaremba et al. 2014: 0.5 after the 4th)."""

    def __init__(self, factor: float = 0.5, after: int = 1) -> None:
        self.factor = _between("factor", factor)
        self.after = after

    def multiplier(self, step: int, epoch: int) -> float:
        return float(self.factor ** max(0, epoch - self.after))


class Plateau(Schedule):
    """Multiply by ``factor`` when the validation loss has not improved for more than ``patience`` epochs.

    With factor 0.25 and patience 0, the rule of word_language_model in pytorch/examples.
    """

    needs_validation = True

    def __init__(self, factor: float = 0.25, patience: int = 0) -> None:
        self.factor = _between("factor", factor)
        self.patience = patience
        self.rate = 1.0
        self.best = math.inf
        self.waited = 0

    def multiplier(self, step: int, epoch: int) -> float:
        return self.rate

    def validated(self, loss: float) -> None:
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.rate, self.waited = self.rate * self.factor, 0

    def state(self) -> dict[str, Any]:
        return {"rate": self.rate, "best": self.best, "waited": self.waited}


class Cosine(Schedule):
    """Rise linearly over ``warmup`` steps, then fall along half a cosine to ``floor`` at the last step."""

    def __init__(self, warmup: int = 0, floor: float = 0.0) -> None:
        if warmup < 0 or not 0 <= floor <= 1:
            raise ValueError(
                f"cosine needs warmup of at least 0 steps and floor from 0 to 1; got warmup={warmup}, floor={floor}"
            )
        self.warmup = warmup
        self.floor = floor
        self.steps = 0

    def begin(self, steps: int | None) -> None:
        if steps is None:
            raise ValueError(
                "the cosine schedule needs training data with a length, to know the last step; use decay or plateau"
            )
        self.steps = steps

    def multiplier(self, step: int, epoch: int) -> float:
        if step < self.warmup:
            return (step + 1) / self.warmup
        way = min(1.0, (step - self.warmup) / max(1, self.steps - self.warmup))
        return self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * way))

    def state(self) -> dict[str, Any]:
        return {"steps": self.steps}

    def restore(self, state: Mapping[str, Any]) -> None:
        if state["steps"] != self.steps:
            raise ValueError(
                f"the checkpoint's cosine schedule ends at step {state['steps']}, and this one at {self.steps}; "
                "resume with the same number of epochs"
            )


class NTASGD(Schedule):
    """Average the weights of every step once validation stops improving (Merity et al. 2018, algorithm 1).

    Averaging starts after the first validation loss above the minimum of all but the last ``patience`` losses. Then
    validation and saved models use the average; the optimizer continues from the weights themselves.
    """

    may_average = True
    needs_validation = True

    def __init__(self, patience: int = 5) -> None:
        if patience < 1:
            raise ValueError(f"ntasgd needs a patience of at least 1 epoch; got {patience}")
        self.patience = patience
        self.losses: list[float] = []

    def validated(self, loss: float) -> None:
        before = self.losses[: len(self.losses) - self.patience]
        if len(self.losses) > self.patience and loss > min(before):
            self.averages = True
        self.losses.append(loss)

    def state(self) -> dict[str, Any]:
        return {"losses": self.losses, "averages": self.averages}


SCHEDULES: dict[str, type[Schedule]] = {"cosine": Cosine, "decay": Decay, "ntasgd": NTASGD, "plateau": Plateau}


def make(schedule: Schedule | Mapping[str, Any] | str | None) -> Schedule:
    """A schedule from itself, from its name, or from a table of its name and arguments, as in TOML.

    Raises:
        ValueError: the name of the schedule or of an argument is unknown.
    """
    if schedule is None:
        return Schedule()
    if isinstance(schedule, Schedule):
        return deepcopy(schedule)  # its state belongs to one training
    options = {"name": schedule} if isinstance(schedule, str) else dict(schedule)
    name = options.pop("name", None)
    if name is None:
        raise ValueError(f'a schedule needs a name, as in {{name = "decay", factor = 0.5}}; got {dict(options)}')
    if name not in SCHEDULES:
        raise unknown("schedule", name, SCHEDULES)
    known = inspect.signature(SCHEDULES[name]).parameters
    for option in options:
        if option not in known:
            raise unknown(f"argument of the schedule {name}", option, known)
    return SCHEDULES[name](**options)


def _between(name: str, value: float) -> float:
    if not 0 < value < 1:
        raise ValueError(f"{name} must be above 0 and below 1; got {value}")
    return value
