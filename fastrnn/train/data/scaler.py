"""Scales numbers to mean 0 and standard deviation 1, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch


class Scaler:
    """Subtracts the mean of each column and divides by its standard deviation.

    Args:
        mean, deviation: (F,) of the columns. A constant column has deviation 1 and becomes 0.
    """

    def __init__(self, mean: Sequence[float] | np.ndarray, deviation: Sequence[float] | np.ndarray) -> None:
        self.mean, self.deviation = np.asarray(mean, np.float64), np.asarray(deviation, np.float64)
        if self.mean.shape != self.deviation.shape or self.mean.ndim != 1:
            raise ValueError(
                "mean and deviation must have one number for each column, "
                f"got shapes {self.mean.shape} and {self.deviation.shape}"
            )
        if not (np.isfinite(self.mean).all() and np.isfinite(self.deviation).all() and (self.deviation > 0).all()):
            raise ValueError("mean and deviation must be finite, and the deviation positive")

    @classmethod
    def fit(cls, values: np.ndarray) -> Scaler:
        """The scaler of values (T, F). Pass the training part only: test data must not influence the scaling."""
        deviation = values.std(axis=0, dtype=np.float64)
        # The computed deviation of equal values is rounding error.
        constant = (values == values[:1]).all(axis=0)
        return cls(values.mean(axis=0, dtype=np.float64), np.where(constant, 1.0, deviation))

    def transform(self, values: Any, columns: Sequence[int] | None = None) -> Any:
        """Scale values (..., F), an array or a tensor, where F are all columns or the given ones."""
        mean, deviation = self._like(values, columns)
        return (values - mean) / deviation

    def inverse(self, values: Any, columns: Sequence[int] | None = None) -> Any:
        """Convert values (..., F) back to their units."""
        mean, deviation = self._like(values, columns)
        return values * deviation + mean

    def config(self) -> dict[str, Any]:
        """JSON that :meth:`from_config` creates the same scaler from."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Scaler:
        return cls(config["mean"], config["deviation"])

    def _like(self, values: Any, columns: Sequence[int] | None) -> tuple[Any, Any]:
        mean, deviation = self.mean, self.deviation
        if columns is not None:
            mean, deviation = mean[list(columns)], deviation[list(columns)]
        if values.shape[-1:] != mean.shape:
            raise ValueError(f"expected {len(mean)} columns in the last dimension, got shape {tuple(values.shape)}")
        if isinstance(values, torch.Tensor):
            return torch.as_tensor(mean).to(values), torch.as_tensor(deviation).to(values)
        return mean, deviation
