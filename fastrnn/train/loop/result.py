"""What training returns, and which of two epochs is the better one."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

# Figures of which more is better; of all others, such as losses, errors and perplexity, less is.
HIGHER_IS_BETTER = ("accuracy", "bleu", "exact", "f1", "precision", "recall")


@dataclass(frozen=True)
class Result:
    """How a training went.

    Attributes:
        history: one dict per epoch: epoch (from 1), step, train_loss, lr, gradient_norm, seconds and items_per_second
            of training, and what validation measured, as valid_loss and so on. An interrupted one has ``partial``.
        best: the row of the epoch whose weights the model has now; empty where no epoch was finished.
        seconds: time spent, over all resumed parts; validation counts, reports do not.
        items: tokens, sequences or frames trained on.
        stopped: why it ended: "epochs", "patience", "interrupted" or "nan".
        reason: the same for people, with the step where it happened.
    """

    history: list[dict[str, Any]] = field(default_factory=list)
    best: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    items: int = 0
    stopped: str = "epochs"
    reason: str = ""


def better(row: dict[str, Any], best: dict[str, Any], monitor: str) -> bool:
    """Whether an epoch is better than the best one; without validation the later one always is."""
    name = f"valid_{monitor}"
    if name not in row or name not in best or math.isnan(best[name]):
        return True
    sign = -1 if monitor.rsplit("_", 1)[-1] in HIGHER_IS_BETTER else 1
    return bool(sign * row[name] < sign * best[name])
