"""Forecasts: in the units of the series, beside the baselines, and after training."""

import json
import math

import numpy as np
import pytest
import torch

from fastrnn.train import evaluate, fit
from fastrnn.train.data import Labelled, Series
from fastrnn.train.models.forecaster import Forecaster


def wave(steps: int = 300) -> np.ndarray:
    """(T, 2): a sine that repeats after 12 steps, on a slope; and its double, shifted."""
    t = np.arange(steps)
    sine = np.sin(2 * np.pi * t / 12)
    return np.stack([100 + 0.5 * t + 10 * sine, 20 * np.roll(sine, 3)], axis=1)


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("targets", [None, [1]])
def test_shapes_with_any_cell_and_layers(cell: str, targets: list[int] | None) -> None:
    made = Forecaster(2, targets, 5, cell=cell, hidden=4, layers=2, dropout=0.1)
    count = 2 if targets is None else 1
    assert made(torch.randn(9, 3, 2)).shape == (3, 5 * count)
    assert made.forecast(wave()[:9]).shape == (5, count)


def test_the_baselines_by_hand() -> None:
    """Of three columns the last and the first, in that order; two steps' values side by side."""
    input = torch.arange(4.0).view(4, 1, 1) + torch.tensor([10.0, 20.0, 30.0])  # rows 10 20 30, 11 21 31, …

    def made(season: int | None) -> Forecaster:
        return Forecaster(3, [2, 0], 3, hidden=2, season=season)

    assert made(None).repeat_last(input).tolist() == [[33, 13, 33, 13, 33, 13]]
    assert made(2).repeat_season(input).tolist() == [[32, 12, 33, 13, 32, 12]]
    assert made(4).repeat_season(input).tolist() == [[30, 10, 31, 11, 32, 12]]
    with pytest.raises(ValueError, match="a season of 5 steps is longer than the window of 4"):
        made(5).repeat_season(input)
    with pytest.raises(ValueError, match="has no season"):
        made(None).repeat_season(input)


def test_evaluate_beside_the_baselines_by_hand() -> None:
    """Two batches of different size: what is written out over all windows at once."""
    made = Forecaster(1, None, 2, hidden=3, loss="mae", season=3).eval()
    input, target = torch.randn(6, 5, 1), torch.randn(5, 2)
    batches = [Labelled(input[:, :2], None, target[:2]), Labelled(input[:, 2:], None, target[2:])]
    found = made.evaluate(batches)
    last, season = input[-1].expand(5, 2), torch.stack([input[3, :, 0], input[4, :, 0]], dim=1)
    for name, forecast in (("", made(input).detach()), ("repeat_last_", last), ("repeat_season_", season)):
        assert found[f"{name}mse"] == pytest.approx(float((forecast - target).square().mean()), rel=1e-5)
        assert found[f"{name}mae"] == pytest.approx(float((forecast - target).abs().mean()), rel=1e-5)
    assert found["loss"] == found["mae"]
    assert "repeat_season_mse" not in Forecaster(1, hidden=3).evaluate([Labelled(input, None, target[:, :1])])


def test_a_forecast_is_in_the_units_of_the_series() -> None:
    """What the model outputs for the window, unscaled: the same as by way of the series' batches."""
    series = Series(wave(), 24, 6, targets=[1, 0])
    made = Forecaster(2, [1, 0], 6, hidden=5, scaler=series.scaler).eval()
    batch = next(iter(series.test))
    begin = series.parts[2][0]
    expected = series.inverse(made(batch.input)).detach()[0]
    torch.testing.assert_close(made.forecast(wave()[begin - 24 : begin]).float(), expected, rtol=1e-5, atol=1e-4)


def test_of_a_long_history_the_last_window_is_read() -> None:
    made = Forecaster(2, None, 3, hidden=5, window=24)
    assert torch.equal(made.forecast(wave()), made.forecast(wave()[-24:]))
    assert made.forecast(wave()[:5]).shape == (3, 2)


def test_with_a_base_forecasts_move_with_the_level_and_correct_it() -> None:
    input = torch.randn(8, 2, 1, dtype=torch.float64)
    for base in ("last", "season"):
        made = Forecaster(1, None, 3, hidden=4, base=base, season=4).double()
        torch.testing.assert_close(made(input + 100), made(input) + 100)
        torch.nn.init.zeros_(made.output.weight)
        torch.nn.init.zeros_(made.output.bias)
        assert torch.equal(made(input), made.repeat_last(input) if base == "last" else made.repeat_season(input))
    without = Forecaster(1, None, 3, hidden=4, base="none").double()
    assert (without(input + 100) - without(input)).abs().max() < 10


def test_it_learns_and_beats_what_needs_no_model() -> None:
    series = Series(wave(), 12, 6, split=(0.6, 0.2, 0.2), targets=[0])
    made = Forecaster(2, [0], 6, cell="gru", hidden=12, season=12, scaler=series.scaler)
    fit(made, series.train, epochs=12, lr=0.03, progress=False)
    found = evaluate(made, series.test)
    assert found["mse"] < 0.1 * min(found["repeat_season_mse"], found["repeat_last_mse"])
    expected = wave(400)[300:306, :1]
    assert np.abs(made.forecast(wave()[-12:]).numpy() - expected).max() < 4


def test_config_makes_it_again() -> None:
    series = Series(wave(), 24, 6)
    made = Forecaster(2, None, 6, hidden=5, layers=2, season=12, loss="mae", scaler=series.scaler)
    again = Forecaster.from_config(json.loads(json.dumps(made.config())))
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.forecast(wave()[:24]), made.forecast(wave()[:24]))
    assert again.config() == made.config()


def test_errors() -> None:
    with pytest.raises(ValueError, match="Expected loss to be one of mse, mae, got 'rmse'"):
        Forecaster(1, loss="rmse")
    with pytest.raises(ValueError, match="Expected base to be one of last, season, none, got 'mean'"):
        Forecaster(1, base="mean")
    with pytest.raises(ValueError, match='base="season" needs season='):
        Forecaster(1, base="season")
    with pytest.raises(ValueError, match=r"Expected targets to be columns from 0 to 1, got \[2\]"):
        Forecaster(2, [2])
    made = Forecaster(2, hidden=3)
    with pytest.raises(ValueError, match=r"Expected a history \(T, 2\) with at least one step, got \(9, 1\)"):
        made.forecast(np.zeros(9))
    with pytest.raises(ValueError, match="step 4, column 1 of the history is nan"):
        made.forecast(np.where(np.arange(18).reshape(9, 2) == 9, math.nan, 0))
    with pytest.raises(ValueError, match="no batches"):
        made.evaluate([])
