"""Learning rates, against the rules as their papers and programs state them."""

import math

import pytest
import torch

from fastrnn.train import schedules
from fastrnn.train.schedules import NTASGD, Cosine, Decay, Plateau


def test_decay_halves_every_epoch_after_the_fourth() -> None:
    rates = [Decay(0.5, after=4).multiplier(0, epoch) for epoch in range(1, 8)]
    assert rates == [1, 1, 1, 1, 0.5, 0.25, 0.125]


def test_plateau_divides_when_validation_is_no_better_than_the_best() -> None:
    plateau, rates = Plateau(0.25), []
    for loss in (5.0, 4.0, 4.5, 4.2, 3.0, 3.0):
        plateau.validated(loss)
        rates.append(plateau.multiplier(0, 1))
    assert rates == [1, 1, 0.25, 0.0625, 0.0625, 0.015625]

    patient, rates = Plateau(0.1, patience=1), []
    for loss in (5.0, 5.0, 5.0, 5.0, 5.0, 4.0):
        patient.validated(loss)
        rates.append(patient.multiplier(0, 1))
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])


def test_cosine_is_torchs_after_an_even_rise() -> None:
    cosine = Cosine(warmup=4, floor=0.1)
    cosine.begin(24)
    rates = [cosine.multiplier(step, 1) for step in range(25)]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    torchs = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20, eta_min=0.1)
    expected = []
    for _ in range(21):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4:] == pytest.approx(expected)
    assert cosine.multiplier(99, 1) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="needs training data with a length"):
        Cosine().begin(None)


def test_ntasgd_averages_after_a_loss_above_the_best_of_all_but_the_last_few() -> None:
    schedule, began = NTASGD(patience=2), []
    for loss in (5.0, 4.0, 4.1, 4.2, 3.9, 4.05, 3.0):
        schedule.validated(loss)
        began.append(schedule.averages)
    # The 4th, 4.2, is compared with 5.0; the 5th, 3.9, with 4.0; the 6th, 4.05, is above that 4.0; it stays so.
    assert began == [False, False, False, False, False, True, True]


def test_what_a_schedule_remembers_comes_back() -> None:
    for schedule in (Plateau(), NTASGD(1)):
        twin = schedules.make(schedule)
        for loss in (5.0, 6.0, 7.0):
            schedule.validated(loss)
        twin.restore(schedule.state())
        assert vars(twin) == vars(schedule)
    short, long = Cosine(), Cosine()
    short.begin(10)
    long.begin(20)
    with pytest.raises(ValueError, match="ends at step 10, and this one at 20; resume with the same number of epochs"):
        long.restore(short.state())


def test_schedules_by_name_and_as_toml_writes_them() -> None:
    made = schedules.make({"name": "decay", "factor": 0.8, "after": 6})
    assert isinstance(made, Decay)
    assert made.config() == {"name": "decay", "factor": 0.8, "after": 6}
    assert isinstance(schedules.make("ntasgd"), NTASGD)
    assert schedules.make(None).multiplier(5, 5) == 1.0
    given = Plateau()
    schedules.make(given).validated(1.0)
    assert given.best == math.inf  # one object may be given to several trainings


@pytest.mark.parametrize("wrong", [{"factor": 1.0}, {"factor": 0}, {"factor": math.nan}])
def test_a_factor_that_is_none(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="factor must be above 0 and below 1"):
        schedules.make({"name": "plateau", **wrong})
