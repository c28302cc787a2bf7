"""The training loop: for each epoch, for each batch, the loss, its gradient, a step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sized
from contextlib import nullcontext
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fastrnn.train import optimizers, schedules
from fastrnn.train.evaluation import Loss, carried, checked, evaluate, loss_of
from fastrnn.train.gradients import finish
from fastrnn.train.interrupt import Interrupt
from fastrnn.train.names import unknown
from fastrnn.train.placement import detached, device_of
from fastrnn.train.result import Result
from fastrnn.train.run import Run
from fastrnn.train.schedules import Schedule

AUTOCAST = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def fit(
    model: nn.Module,
    train: Iterable[Any],
    valid: Iterable[Any] | None = None,
    *,
    epochs: int,
    optimizer: str | Optimizer = "adam",
    lr: float = 1e-3,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    schedule: Schedule | Mapping[str, Any] | str | None = None,
    clip: float | None = None,
    stateful: bool = False,
    accumulate: int = 1,
    autocast: str | None = None,
    patience: int | None = None,
    monitor: str = "loss",
    folder: str | PathLike[str] | None = None,
    resume: bool = False,
    checkpoint_every: float = 300.0,
    device: str | torch.device | None = None,
    seed: int | None = 0,
    loss: Loss | None = None,
    progress: bool = True,
    tensorboard: bool = False,
    callbacks: Iterable[Callable[[nn.Module, dict[str, Any]], None]] = (),
) -> Result:
    """Train a model, by default with its own ``loss(batch, state) -> Step``.

    Args:
        model: any module. It ends with the weights of the best epoch by validation, or of the last without ``valid``.
        train: batches: a list, a DataLoader, anything iterable, or an object whose ``epoch(number)`` iterates.
        valid: likewise, measured by :func:`evaluate` after each epoch.
        epochs: passes over ``train``.
        optimizer: adam, adamw, rmsprop or sgd, or one of torch's made with the model's parameters.
        lr, momentum, weight_decay: of an optimizer by name.
        schedule: how the learning rate changes; see :mod:`fastrnn.train.schedules`.
        clip: the largest norm of the gradient of all parameters together.
        stateful: carry ``Step.state`` into the next batch, detached, unless that batch says ``first``: truncated
            backpropagation through time. False starts every batch anew.
        accumulate: batches whose gradients make one step; it is that of the joined batch, weighted by ``Step.items``.
        autocast: bfloat16 or float16 for the products of the forward pass.
        patience: stop after so many epochs that were no better than the best.
        monitor: the figure of validation that decides which epoch is best.
        folder: where the best model, checkpoints, logs and a report are written.
        resume: go on from the folder's checkpoint, to the same bits as without the stop; begin anew if there is none.
        checkpoint_every: seconds between checkpoints within an epoch; one is written after each epoch too.
        device: where to train; by default where the model is.
        seed: of torch's, numpy's and Python's global generators, for dropout and shuffling; None leaves them alone.
        loss: a function (model, batch, state) -> Step, for models that have no method ``loss``.
        progress: show a bar, if this is a terminal.
        tensorboard: also write ``folder/tensorboard``.
        callbacks: functions of the model and the epoch's row of the history, called after each epoch.

    Ctrl-C or SIGTERM finishes the step, saves, evaluates and returns; a second Ctrl-C raises KeyboardInterrupt. A loss
    or gradient that is not finite ends the training with a RuntimeWarning, before the step that it would spoil.

    Raises:
        ValueError: an argument out of range; a name that does not exist.
        TypeError: the model has no loss.
    """
    if epochs < 1 or accumulate < 1:
        raise ValueError(f"epochs and accumulate must be 1 or more; got {epochs} and {accumulate}")
    if autocast is not None and autocast not in AUTOCAST:
        raise unknown("dtype of autocast", autocast, AUTOCAST)
    place = device_of(model) if device is None else torch.device(device)
    model.to(place)
    if seed is not None:
        torch.manual_seed(seed)
    planned = schedules.make(schedule)
    if valid is None and (planned.needs_validation or patience is not None):
        raise ValueError("the schedules plateau and ntasgd, and patience, need validation; pass valid=")
    planned.begin(math.ceil(len(train) / accumulate) * epochs if isinstance(train, Sized) else None)

    run = Run(model, optimizers.make(optimizer, model.parameters(), lr, momentum, weight_decay), planned, place)
    loss_function = loss_of(model, loss)
    casting = torch.autocast(place.type, AUTOCAST[autocast]) if autocast else nullcontext()
    scaler = torch.amp.GradScaler(place.type, enabled=autocast == "float16")
    stopped, reason = "epochs", f"all {epochs} epochs done"

    with Interrupt() as interrupt:
        while run.epoch < epochs and stopped == "epochs":
            model.train()
            for group in run.groups(train, accumulate):
                items = 0
                for batch in group:
                    with casting:
                        step = checked(loss_function(model, batch, carried(run.state, batch, stateful)))
                    run.state = detached(step.state) if stateful else None
                    scaler.scale(step.loss * step.items if accumulate > 1 else step.loss).backward()
                    run.count(step)
                    items += step.items
                scaler.unscale_(run.optimizer)
                run.norm = finish(run.parameters, items if accumulate > 1 else 1, clip)
                if not (run.loss_sum.isfinite() and (run.norm.isfinite() or scaler.is_enabled())):
                    stopped = "nan"
                    break
                run.update(scaler)
                if interrupt.requested:
                    stopped = "interrupted"
                    break

            if stopped == "nan":
                what = "gradient" if run.loss_sum.isfinite() else "loss"
                reason = (
                    f"the {what} is not finite at step {run.step + 1}: epoch {run.epoch + 1}, batch {run.batch + 1}"
                )
                warnings.warn(f"Training stopped: {reason}. Try a lower lr, or clip", RuntimeWarning, stacklevel=2)
                break
            if run.epoch_items == 0:
                raise ValueError(
                    f"epoch {run.epoch + 1} has no batches; an iterator can be read only once, a list again"
                )
            with run.average.in_place():
                figures = evaluate(model, valid, loss=loss, stateful=stateful) if valid is not None else {}
                row = run.row(figures, **({"partial": True} if stopped == "interrupted" else {}))
                run.keep_if_best(row, monitor)
            run.history.append(row)
            for callback in callbacks:
                callback(model, row)
            if stopped == "interrupted":
                reason = f"interrupted at step {run.step}"
                break
            if valid is not None:
                planned.validated(figures["loss"])
            run.next_epoch()
            if patience is not None and run.best is not None and run.epoch - run.best["epoch"] >= patience:
                stopped, reason = "patience", f"no better validation for {patience} epochs"

    if run.best_weights is not None:
        model.load_state_dict(run.best_weights)
    return Result(run.history, run.best or {}, run.seconds, run.items, stopped, reason)
