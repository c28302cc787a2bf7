"""Forecasts a series: generated waves, or the columns of a CSV file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fastrnn._markdown import table
from fastrnn.train.data.made.series import waves
from fastrnn.train.data.readers import read_table
from fastrnn.train.data.series import Series, Windows
from fastrnn.train.models.forecaster import BASES, LOSSES, Forecaster
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared

DAY = 24  # the shorter period of the generated waves


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Forecasts all steps of a horizon at once; see :class:`fastrnn.train.models.Forecaster`."""

    data: str | None = setting(
        None, "A CSV file; by default generated waves with daily and weekly periods, a trend and noise."
    )
    hidden: int = setting(64, "Hidden units of each layer.", least=1)
    dropout: float = setting(0.2, "Dropout between layers and of the last state.", least=0)
    clip: float | None = setting(1.0, "Maximum norm of the gradient.", least=0)
    patience: int | None = setting(4, "Stop after this many epochs without an improvement in validation.", least=0)
    columns: Sequence[str] | None = setting(None, "Columns that the model sees; by default all numeric ones.")
    targets: Sequence[str] | None = setting(None, "Columns to predict; by default all that the model sees.")
    window: int = setting(96, "Steps that the model sees.", least=1)
    horizon: int = setting(24, "Steps to forecast.", least=1)
    season: int | None = setting(None, "Steps of one period of the series, for a baseline.", least=1)
    split: Sequence[float] = setting(
        (0.7, 0.1, 0.2), "Training, validation and test parts: shares, or numbers of steps such as [8640, 2880, 2880]."
    )
    log: bool = setting(False, "Learn logarithms, for a series that grows by percentages.")
    error: str = setting("mse", "Loss: mean squared or mean absolute error.", choices=tuple(LOSSES))
    base: str = setting("last", "What the model corrects: the last value, the last season, or nothing.", choices=BASES)


def prepare(settings: Settings) -> Prepared:
    values, names, targets = _values(settings)
    series = _series(settings, values, targets)
    season = settings.season
    if season is None and settings.data is None and settings.window >= DAY:
        season = DAY
    if season is not None and season > settings.window:
        raise ValueError(f"season={season} is longer than window={settings.window}; use a longer window")
    model = Forecaster(
        len(names),
        targets,
        settings.horizon,
        loss=settings.error,
        scaler=series.scaler,
        **settings.arguments_of(Forecaster) | {"season": season},
    )
    return Prepared(
        model,
        series.train,
        series.valid,
        series.test,
        about={
            "columns": ", ".join(names),
            "predicted": ", ".join(names[each] for each in targets),
            "steps to train, validate and test": ", ".join(f"{end - begin:,}" for begin, end in series.parts),
        },
    )


def samples(model: Forecaster, prepared: Prepared) -> str:
    """The errors of the model and of the baselines, and the first forecast of the test part."""
    windows: Windows = prepared.test or prepared.valid or prepared.train
    found = model.evaluate(windows)
    forecasts = {"the model": "", "repeat the last value": "repeat_last_"}
    if model.season is not None:
        forecasts["repeat the last season"] = "repeat_season_"
    errors = [
        [name, f"{found[f'{prefix}mse']:.4f}", f"{found[f'{prefix}mae']:.4f}"] for name, prefix in forecasts.items()
    ]
    batch = next(iter(windows))
    first, came = model.in_units(model(batch.input[:, :1])), model.in_units(batch.target[:1])
    steps = [
        [str(step + 1), _numbers(first[0, step]), _numbers(came[0, step])] for step in range(min(model.horizon, 8))
    ]
    return "\n\n".join(
        [
            "Errors of scaled values:",
            table(["forecast", "mean squared error", "mean absolute error"], errors),
            table(["step", "forecast", "true value"], steps, align="rll"),
        ]
    )


def batches(settings: Settings, model: Forecaster) -> Windows:
    """What `fastrnn evaluate` measures: a whole CSV file, scaled like the training part."""
    data = settings.given_data()
    values, names, targets = _values(settings)
    if (len(names), targets) != (model.features, model.targets):
        raise ValueError(f"the model reads {model.features} columns; {data} has {', '.join(names)}")
    scaled = values if model.scaler is None else model.scaler.transform(values)
    whole = Series(
        scaled,
        settings.window,
        settings.horizon,
        batch=settings.batch,
        split=(1.0, 0.0, 0.0),
        targets=targets,
        scale=False,
    )
    return whole.train


def generate(model: Forecaster, prompt: str | None, options: Generation) -> str:
    """The forecast after a history: a CSV file, or the numbers of a series with one column."""
    if prompt is None:
        history = waves(model.window or 200, columns=model.features)
    elif prompt.endswith(".csv"):
        history = read_table(prompt).numbers()
    else:
        try:
            history = np.array([float(number) for number in prompt.replace(",", " ").split()])
        except ValueError as error:
            raise ValueError(f"Expected numbers, or a file that ends in .csv, got {prompt!r:.60}") from error
    return "\n".join(_numbers(step) for step in model.forecast(history))


def _values(settings: Settings) -> tuple[np.ndarray, list[str], list[int]]:
    """The table (T, F), the names of its columns, and the indices of those to predict."""
    if settings.data is None:
        values, names = waves(3000, seed=settings.seed), ["waves"]
    else:
        read = read_table(settings.data)
        names = list(settings.columns or [each for each in read.names if read[each].dtype.kind == "f"])
        values = read.numbers(names)
    if settings.log:
        if (values <= 0).any():
            raise ValueError("log=true needs values above 0, and the series has others; remove it")
        values = np.log(values)
    wanted = list(settings.targets or names)
    if unknown := [each for each in wanted if each not in names]:
        raise ValueError(f"unknown column to predict {unknown[0]!r}; there are {', '.join(names)}")
    return values, names, [names.index(each) for each in wanted]


def _series(settings: Settings, values: np.ndarray, targets: list[int]) -> Series:
    steps = all(float(each).is_integer() for each in settings.split) and sum(settings.split) > 1
    return Series(
        values,
        settings.window,
        settings.horizon,
        batch=settings.batch,
        split=[int(each) for each in settings.split] if steps else settings.split,
        targets=targets,
        seed=settings.seed,
    )


def _numbers(row: Any) -> str:
    return " ".join(f"{value:.4g}" for value in row.tolist())
