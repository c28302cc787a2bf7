"""The training loop: for each epoch and each batch the loss, its gradient, a step."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from os import PathLike
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from fastrnn._detach import detach
from fastrnn.train import schedules
from fastrnn.train._names import unknown
from fastrnn.train.loop import distributed, optimizers
from fastrnn.train.loop.evaluation import Loss, carried, checked, evaluate, length, loss_of
from fastrnn.train.loop.gradients import finish
from fastrnn.train.loop.interrupt import Interrupt
from fastrnn.train.loop.memory import memory_kept
from fastrnn.train.loop.placement import device_of
from fastrnn.train.loop.progress import Progress
from fastrnn.train.loop.random_state import seed_all
from fastrnn.train.loop.result import Result
from fastrnn.train.loop.training import Training
from fastrnn.train.saving.folder import Folder
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
        train: batches: a list, a DataLoader, any iterable, or an object whose ``epoch(number)`` yields them.
        valid: the same, measured by :func:`evaluate` after each epoch.
        epochs: passes over ``train``.
        optimizer: adam, adamw, rmsprop or sgd, or an optimizer of torch with the model's parameters.
        lr, momentum, weight_decay: for an optimizer by name.
        schedule: how the learning rate changes; see :mod:`fastrnn.train.schedules`.
        clip: the maximum norm of the gradient of all parameters together.
        stateful: carry ``Step.state``, detached, into the next batch, unless that batch has ``first`` set: truncated
            backpropagation through time. False starts every batch without a state.
        accumulate: batches per step; the gradient is that of the joined batch, weighted by ``Step.items``.
        autocast: bfloat16 or float16 for the products of the forward pass.
        patience: stop after this many epochs without an improvement.
        monitor: the validation metric that decides which epoch is best.
        folder: where to write the best model, checkpoints, logs and a report.
        resume: continue from the folder's checkpoint, to the same bits as without the stop; start if there is none.
        checkpoint_every: seconds between checkpoints within an epoch; one is also written after each epoch.
        device: where to train; by default where the model is.
        seed: of the global generators of torch, numpy and Python, for dropout and shuffling; None does not seed them.
        loss: a function (model, batch, state) -> Step, for models without a method ``loss``.
        progress: show a bar if the output is a terminal.
        tensorboard: also write ``folder/tensorboard``.
        callbacks: functions of the model and the epoch's row of the history, called after each epoch.

    Ctrl-C or SIGTERM finishes the step, saves, evaluates and returns; a second Ctrl-C raises KeyboardInterrupt. A loss
    or gradient that is not finite ends the training with a RuntimeWarning before that step changes the weights; on a
    GPU up to 50 steps later, but before anything is saved.

    Raises:
        ValueError: an argument is out of range; a name is unknown; there are no batches or no state to carry; the
            checkpoint belongs to another model, other settings or other data.
        TypeError: the model has no loss.
        FileExistsError: the folder already contains a training, and ``resume`` is not set.
        OSError: a file cannot be written; what was saved before is unchanged.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"fit trains a torch.nn.Module, got {type(model).__name__}; a model that counts has count()")
    settings = {
        "epochs": epochs,
        "optimizer": optimizer if isinstance(optimizer, str) else type(optimizer).__name__,
        "lr": lr if isinstance(optimizer, str) else [group["lr"] for group in optimizer.param_groups],
        "momentum": momentum,
        "weight_decay": weight_decay,
        "schedule": schedules.make(schedule).config(),
        "clip": clip,
        "stateful": stateful,
        "accumulate": accumulate,
        "autocast": autocast,
        "patience": patience,
        "monitor": monitor,
        "seed": seed,
    }
    _check(settings, validated=valid is not None)
    place = distributed.device_of_process(device_of(model) if device is None else torch.device(device))
    model.to(place)
    world = distributed.world(place, train, stateful)
    loss_function = world.wrap(model, loss_of(model, loss))
    casting = torch.autocast(place.type, AUTOCAST[autocast]) if autocast else nullcontext()
    joined = accumulate > 1 or world.size > 1  # several losses make a step, weighted by their items
    if seed is not None:
        seed_all(seed)
    planned = schedules.make(schedule)
    batches = length(train)
    planned.begin(None if batches is None else math.ceil(batches / accumulate) * epochs)
    made = optimizers.make(optimizer, model.parameters(), lr, momentum, weight_decay)
    training = Training(model, train, made, planned, autocast, world)
    files = Folder(folder, training, settings, resume=resume, every=checkpoint_every, tensorboard=tensorboard)
    row: dict[str, Any] = {}
    stopped = ""

    with world, files, memory_kept(), Interrupt() as interrupt, Progress(training, epochs, shown=progress) as bar:
        while training.epoch < epochs and not (stopped or training.waited(patience)):
            model.train()
            for group in training.groups(accumulate):
                items = 0
                share = world.share(group)
                for number, (batch, counts) in enumerate(share, 1):
                    with world.waiting(number < len(share)):
                        with casting:
                            step = loss_function(model, batch, carried(training.state, batch, stateful))
                        step = checked(step, stateful)
                        weight = step.items * counts
                        training.scaler.scale(step.loss * weight if joined else step.loss).backward()
                    training.state = detach(step.state) if stateful else None
                    training.loss_sum += step.loss.detach().double() * weight
                    items += weight
                items, interrupted, due = map(int, world.sum(items, interrupt.requested, files.due()))
                training.scaler.unscale_(training.optimizer)
                training.norm = finish(training.parameters, items / world.size if joined else 1, clip)
                if training.diverged():
                    break
                training.update(len(group), items)
                bar.step()
                if interrupted:
                    stopped = "interrupted"
                    break
                if due and not training.diverged(look=True):
                    files.checkpoint()

            if training.diverged(look=True):
                stopped = "nan"
                break
            training.tick()
            if stopped:
                files.checkpoint(with_best=True)  # before the evaluation, which may take long
            with training.average.in_place():
                figures = {} if valid is None else world.agree(evaluate(model, valid, loss=loss, stateful=stateful))
                if figures and monitor not in figures:
                    files.checkpoint()  # a wrong name must not cost the epoch
                    raise unknown("metric to monitor", monitor, figures)
                row = training.row(figures) | ({"partial": True} if stopped else {})
                if training.keep_if_best(row, monitor):
                    files.best()
                for callback in callbacks:
                    callback(model, row)
            bar.epoch(row)
            files.log([*training.history, row])
            if not stopped:
                training.next_epoch(row)
                files.checkpoint()
                stopped = "interrupted" if world.sum(interrupt.requested)[0] and training.epoch < epochs else ""

    stopped = stopped or ("patience" if training.epoch < epochs else "epochs")
    if stopped == "interrupted" and row not in training.history:
        training.history.append(row)
    reason = _reason(stopped, training)
    if stopped == "nan":
        warnings.warn(
            f"Training stopped: {reason}. Try a lower lr, or clip the gradient with clip=.",
            RuntimeWarning,
            stacklevel=2,
        )
    if training.best_weights:
        model.load_state_dict(training.best_weights)
    result = Result(training.history, training.best, training.seconds, training.items, stopped, reason)
    files.report(result)
    return result


def _check(settings: dict[str, Any], *, validated: bool) -> None:
    for name, least in (("epochs", 1), ("accumulate", 1), ("patience", 1), ("clip", 0)):
        value = settings[name]
        if value is not None and not (value >= least and value > 0):
            raise ValueError(f"{name} must be {'above 0' if least == 0 else 'at least 1'}; got {value}")
    if settings["autocast"] not in (None, *AUTOCAST):
        raise unknown("autocast dtype", settings["autocast"], AUTOCAST)
    if not validated and (settings["schedule"]["name"] in ("plateau", "ntasgd") or settings["patience"] is not None):
        raise ValueError("the schedules plateau and ntasgd and the argument patience need validation data; pass valid=")


def _reason(stopped: str, training: Training) -> str:
    """Why a training ended, as a sentence."""
    if stopped == "nan":
        what = "gradient" if training.loss_sum.isfinite() else "loss"
        now = int(training.bad_step) == training.step + 1  # on a GPU it may be noticed later
        where = f": epoch {training.epoch + 1}, batch {training.batch + 1}" if now else ""
        return f"the {what} is not finite at step {int(training.bad_step)}{where}"
    if stopped == "interrupted":
        return f"interrupted after step {training.step}; pass resume=True to continue"
    if stopped == "patience":
        return f"no improvement in validation since epoch {training.best['epoch']}"
    return f"all {training.epoch} epochs done"
