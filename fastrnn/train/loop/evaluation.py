"""The metrics of a model over a data set."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fastrnn.train.loop.placement import device_of, to_device
from fastrnn.train.loop.step import Step

Loss = Callable[[Any, Any, Any], Step]


def loss_of(model: Any, loss: Loss | None) -> Loss:
    """The loss function (model, batch, state) -> Step: the given one, or the model's method."""
    if loss is not None:
        return loss
    if not callable(getattr(model, "loss", None)):
        raise TypeError(
            f"{type(model).__name__} has no method loss(batch, state) -> Step. "
            "Write one, or pass loss=function(model, batch, state) -> Step"
        )
    return lambda model, batch, state: model.loss(batch, state)


def checked(step: Any, stateful: bool = False) -> Step:
    """Checks what a loss function returned, and returns it."""
    if not isinstance(step, Step):
        raise TypeError(
            f"the loss function must return fastrnn.train.Step(loss, items, state); got {type(step).__name__}"
        )
    if step.loss.dim() != 0:
        raise ValueError(f"Step.loss must be a scalar, the mean over the items; got shape {tuple(step.loss.shape)}")
    if stateful and step.state is None:
        raise ValueError(
            "stateful=True needs a state to carry: return Step(loss, items, state), or pass stateful=False"
        )
    if step.items <= 0:
        raise ValueError(f"Step.items must be at least 1, got {step.items}: the batch has nothing to learn from")
    return step


def length(data: Any) -> int | None:
    """Batches in an epoch, or None if the data has no length."""
    try:
        return len(data)
    except TypeError:  # also from a DataLoader over an iterable
        return None


def batches_of(data: Any, epoch: int, device: torch.device) -> Iterator[Any]:
    """The batches of an epoch, on a device."""
    batches = data.epoch(epoch) if hasattr(data, "epoch") else iter(data)
    return (to_device(batch, device) for batch in batches)


def carried(state: Any, batch: Any, stateful: bool) -> Any:
    """The initial state of a batch: that of the previous one, if this batch continues it."""
    return state if stateful and not getattr(batch, "first", False) else None


def evaluate(
    model: Any, data: Any, *, loss: Loss | None = None, stateful: bool = False, device: str | torch.device | None = None
) -> dict[str, float]:
    """Measure a model over all batches of a data set, in eval mode, without gradients.

    Args:
        model: with a method ``evaluate(batches)``, which returns the metrics, or with ``loss(batch, state)``.
        data: batches, or an object whose ``epoch(0)`` yields them.
        loss: a function (model, batch, state) -> Step instead of the model's methods; then only the loss is measured.
        stateful: carry the state from batch to batch when measuring the loss.
        device: where to move model and batches; by default the batches go to the model's device.

    Returns:
        Metrics by name, always with ``loss``: the mean over all items.

    Raises:
        ValueError: there are no batches.
    """
    if not isinstance(model, nn.Module):  # a model that counts is not on a device
        return dict(model.evaluate(data.epoch(0) if hasattr(data, "epoch") else iter(data)))
    if device is not None:
        model.to(device)
    batches = batches_of(data, 0, device_of(model))
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            if loss is None and callable(getattr(model, "evaluate", None)):
                return dict(model.evaluate(batches))  # type: ignore[operator]
            return {"loss": _mean_loss(model, batches, loss_of(model, loss), stateful)}
    finally:
        model.train(training)


def _mean_loss(model: nn.Module, batches: Iterator[Any], loss: Loss, stateful: bool) -> float:
    total: Tensor | float = 0.0
    items = 0
    state = None
    for batch in batches:
        step = checked(loss(model, batch, carried(state, batch, stateful)))
        state = step.state
        total = total + step.loss.double() * step.items
        items += step.items
    if items == 0:
        raise ValueError(
            "there are no batches to evaluate on. An iterator can be read only once; pass a list or a DataLoader"
        )
    return float(total) / items
