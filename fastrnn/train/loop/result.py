"""The result of a training, and the comparison of two epochs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

# Metrics for which higher is better; for all others, such as losses, errors and perplexity, lower is.
HIGHER_IS_BETTER = ("accuracy", "bleu", "exact", "f1", "precision", "recall")


@dataclass(frozen=True)
class Result:
    """How a training went.

    Attributes:
        history: one dict per epoch: epoch (from 1), step, train_loss, lr, gradient_norm, seconds and items_per_second
            of training, and the metrics of validation, such as valid_loss. An interrupted epoch has ``partial``.
        best: the row of the epoch whose weights the model has; empty if no epoch was finished.
        seconds: the duration over all resumed parts, with validation and without reports.
        items: tokens, sequences or frames trained on.
        stopped: why it ended: "epochs", "patience", "interrupted" or "nan".
        reason: the same as a sentence, with the step.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    items: int = 0
    stopped: str = "epochs"
    reason: str = ""


def better(row: dict[str, Any], best: dict[str, Any], monitor: str) -> bool:
    """Whether an epoch is better than the best so far; without validation the later one is."""
    name = f"valid_{monitor}"
    if name not in row or name not in best or math.isnan(best[name]):
        return True
    sign = -1 if monitor.rsplit("_", 1)[-1] in HIGHER_IS_BETTER else 1
    return bool(sign * row[name] < sign * best[name])
