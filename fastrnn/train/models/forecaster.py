"""Forecasts a series: recurrent layers over the last steps, then all steps of the horizon at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, mse_loss

from fastrnn.train.data.batch import Labelled
from fastrnn.train.data.scaler import Scaler
from fastrnn.train.loop.step import Step
from fastrnn.train.models.means import Means
from fastrnn.train.models.recurrent import CELLS, Recurrent

LOSSES = {"mse": mse_loss, "mae": l1_loss}
BASES = ("last", "season", "none")


class Forecaster(nn.Module):
    """Predicts ``horizon`` steps of C columns of a series with F columns.

    Args:
        features: F, the columns that the model sees.
        targets: the columns to predict; None for all.
        horizon: steps to predict.
        cell, hidden, layers: the recurrent layers; see :class:`Recurrent`.
        dropout: probability of zeroing an element between layers and of the last state.
        loss: "mse" or "mae" of the scaled values.
        base: what the model corrects: "last", a repetition of the last value; "season", a repetition of the last
            season; or "none". With a base, inputs are relative to the last values of the window, so that the model
            follows a level outside that of the training part.
        season: steps of one period of the series, such as 24 for hourly data. With it, :meth:`evaluate` also measures
            the repetition of the last season.
        window: steps of the training windows; :meth:`forecast` reads this many last steps of a history. None reads all.
        log: the model's values are logarithms, for a series that grows by percentages; :meth:`forecast` still takes and
            returns values of the series.
        scaler: converts between the units of the series, as in :meth:`forecast`, and those of the model; None if they
            are equal.

    Raises:
        ValueError: the loss or base is unknown, targets are not columns, or base="season" has no season.
    """

    def __init__(
        self,
        features: int,
        targets: Sequence[int] | None = None,
        horizon: int = 1,
        *,
        cell: str = CELLS[0],
        hidden: int = 64,
        layers: int = 1,
        dropout: float = 0.0,
        loss: str = "mse",
        base: str = "last",
        season: int | None = None,
        window: int | None = None,
        log: bool = False,
        scaler: Scaler | None = None,
    ):
        super().__init__()
        if loss not in LOSSES:
            raise ValueError(f"Expected loss to be one of {', '.join(LOSSES)}, got {loss!r}")
        if base not in BASES:
            raise ValueError(f"Expected base to be one of {', '.join(BASES)}, got {base!r}")
        if season is None and base == "season":
            raise ValueError('base="season" needs season=, the steps of one period, such as season=24 for hourly data')
        self.targets = list(range(features) if targets is None else targets)
        if not self.targets or not all(0 <= column < features for column in self.targets):
            raise ValueError(f"Expected targets to be columns from 0 to {features - 1}, got {self.targets}")
        self.features, self.horizon, self.season, self.scaler = features, horizon, season, scaler
        self.window, self.log = window, log
        self.base, self._loss = base, LOSSES[loss]
        self._options = {
            "features": features,
            "targets": self.targets,
            "horizon": horizon,
            "cell": cell,
            "hidden": hidden,
            "layers": layers,
            "dropout": dropout,
            "loss": loss,
            "base": base,
            "season": season,
            "window": window,
            "log": log,
        }
        self.recurrent = Recurrent(cell, features, hidden, layers, dropout=dropout)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(self.recurrent.output_size, horizon * len(self.targets))

    def forward(self, input: Tensor) -> Tensor:
        """The forecast (B, horizon * C) after windows (T, B, F), in scaled values, step by step."""
        _, state = self.recurrent(input if self.base == "none" else input - input[-1])
        h = state[0] if isinstance(state, tuple) else state
        output = self.output(self.dropout(h[-1]))
        if self.base == "season":
            return output + self.repeat_season(input)
        return output + self.repeat_last(input) if self.base == "last" else output

    def repeat_last(self, input: Tensor) -> Tensor:
        """The forecast (B, horizon * C) that repeats the last value."""
        return input[-1][:, self.targets].repeat(1, self.horizon)

    def repeat_season(self, input: Tensor) -> Tensor:
        """The forecast (B, horizon * C) that repeats the last season."""
        season = self.season
        if season is None:
            raise ValueError("this model has no season; create it with season=, such as season=24 for hourly data")
        if len(input) < season:
            raise ValueError(f"a season of {season} steps is longer than the window of {len(input)}")
        steps = len(input) - season + torch.arange(self.horizon) % season
        return input[steps][:, :, self.targets].transpose(0, 1).flatten(1)

    def loss(self, batch: Labelled, state: Any = None) -> Step:
        """The mean over the values of the windows' forecasts."""
        return Step(self._loss(self(batch.input), batch.target), len(batch.target))

    @torch.no_grad()
    def evaluate(self, batches: Iterable[Labelled]) -> dict[str, float]:
        """The loss, the mean squared and absolute error of scaled values, and those of forecasts without a model:

        ``repeat_last_mse`` and ``_mae`` repeat the last value and, with a season, ``repeat_season_mse`` and ``_mae``
        repeat the last season.
        """
        means = Means()
        for batch in batches:
            forecasts = {"": self(batch.input), "repeat_last_": self.repeat_last(batch.input)}
            if self.season is not None:
                forecasts["repeat_season_"] = self.repeat_season(batch.input)
            figures = {"loss": self._loss(forecasts[""], batch.target)}
            for name, forecast in forecasts.items():
                figures |= {f"{name}{kind}": error(forecast, batch.target) for kind, error in LOSSES.items()}
            means.add(len(batch.target), **figures)
        return means.result()

    @torch.no_grad()
    def forecast(self, history: Any) -> Tensor:
        """The next steps (horizon, C) in the units of the series.

        Args:
            history: the last steps (T, F), or (T,) of a series of one column, in the units of the series. The model is
                best with as many steps as its training windows.
        """
        steps = torch.as_tensor(history, dtype=torch.float64)
        steps = steps.unsqueeze(1) if steps.dim() == 1 else steps
        if steps.dim() != 2 or steps.shape[1] != self.features or not len(steps):
            raise ValueError(
                f"Expected a history (T, {self.features}) with at least one step, got {tuple(steps.shape)}"
            )
        steps = steps if self.window is None else steps[-self.window :]
        if not steps.isfinite().all():
            step, column = (int(i) for i in (~steps.isfinite()).nonzero()[0])
            raise ValueError(
                f"step {step}, column {column} of the history is {float(steps[step, column])}; expected finite numbers"
            )
        if self.log and not (steps > 0).all():
            raise ValueError(f"the model takes logarithms, so the history must be above 0, got {float(steps.min())}")
        values = steps.log() if self.log else steps
        scaled = values if self.scaler is None else self.scaler.transform(values)
        was = self.training
        self.eval()
        try:
            output = self(scaled.unsqueeze(1).to(self.output.weight))[0]
        finally:
            self.train(was)
        return self.in_units(output.double().cpu()[None])[0]

    def in_units(self, output: Tensor) -> Tensor:
        """Outputs or targets (B, horizon * C) in the units of the series: (B, horizon, C)."""
        values = output.reshape(len(output), self.horizon, len(self.targets))
        values = values if self.scaler is None else self.scaler.inverse(values, self.targets)
        return values.exp() if self.log else values

    def config(self) -> dict[str, Any]:
        return {**self._options, "scaler": None if self.scaler is None else self.scaler.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Forecaster:
        options = dict(config)
        scaler = options.pop("scaler")
        return cls(**options, scaler=None if scaler is None else Scaler.from_config(scaler))
