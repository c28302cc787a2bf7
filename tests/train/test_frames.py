"""Frames of polyphonic music: the loss as in the paper, padding, and music that continues a prompt."""

import json

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from fastrnn.train.data import Bucketed, Tagged
from fastrnn.train.models.frames import FrameModel, silence_first

KEYS = 7


def model(**options: object) -> FrameModel:
    return FrameModel(KEYS, **{"hidden": 6, "cell": "gru", **options}).eval()


def rolls() -> list[Tensor]:
    return [(torch.rand(length, KEYS) < 0.3).float() for length in (5, 9, 1, 4)]


def batch(some: list[Tensor]) -> Tagged:
    """As Bucketed makes it of rolls; what is beyond their lengths is noise here."""
    items = [(silence_first(roll.unsqueeze(1)).squeeze(1), roll) for roll in some]
    made = next(iter(Bucketed(items, len(items), into=Tagged, shuffle=False)))
    for i, length in enumerate(made.lengths.tolist()):
        made.input[length:, i] = made.target[length:, i] = float("nan")
    return made


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
def test_loss_is_minus_the_log_likelihood_of_a_frame(cell: str) -> None:
    """Summed over keys, mean over the frames of all sequences, the first included; written out roll by roll."""
    made, some = model(cell=cell, layers=2), rolls()
    total = 0.0
    for roll in some:
        for t in range(len(roll)):
            heard = torch.cat([torch.zeros(1, KEYS), roll[:t]]).unsqueeze(1)
            logits = made(heard)[0][-1, 0]
            total -= float(torch.where(roll[t] > 0, logsigmoid(logits), logsigmoid(-logits)).sum().detach())
    step = made.loss(batch(some))
    assert step.items == 19
    assert float(step.loss.detach()) == pytest.approx(total / 19, rel=1e-5)
    assert made.evaluate([batch(some[:1]), batch(some[1:])])["loss"] == pytest.approx(total / 19, rel=1e-5)


def test_gradients_do_not_see_padding() -> None:
    made = model()
    made.loss(batch(rolls())).loss.backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters())


def test_without_lengths_every_frame_counts_and_the_state_goes_on() -> None:
    made, roll = model(), rolls()[1].unsqueeze(1).repeat(1, 3, 1)
    heard = silence_first(roll)
    whole = made.loss(Tagged(heard, None, roll))
    first = made.loss(Tagged(heard[:4], None, roll[:4]))
    second = made.loss(Tagged(heard[4:], None, roll[4:]), first.state)
    assert (whole.items, first.items, second.items) == (27, 12, 15)
    torch.testing.assert_close(whole.loss, (first.loss * 12 + second.loss * 15) / 27)


def test_accuracy_by_hand() -> None:
    """One key right, one missed, one too many: 1 / 3."""
    made = model()
    with torch.no_grad():
        made.output.weight.zero_()
        made.output.bias.copy_(torch.tensor([1.0, 1.0, -1.0, -1, -1, -1, -1]))
    target = torch.tensor([[[1.0, 0, 1, 0, 0, 0, 0]]])
    assert made.evaluate([Tagged(torch.zeros_like(target), None, target)])["accuracy"] == pytest.approx(1 / 3)


def test_it_learns_and_composes_what_it_has_learnt() -> None:
    """A scale, up and down again: after training, music continues any prompt by the rule."""
    scale = torch.eye(KEYS)[[*range(KEYS), *range(KEYS - 2, 0, -1)]].repeat(4, 1)
    made = FrameModel(KEYS, cell="gru", hidden=24)
    data = [batch([scale[:30], scale[:20]])]
    optimizer = torch.optim.Adam(made.parameters(), 0.05)
    for _ in range(100):
        optimizer.zero_grad()
        made.loss(data[0]).loss.backward()
        optimizer.step()
    made.eval()
    assert made.evaluate(data)["loss"] < 0.05
    assert torch.equal(made.compose(12, prompt=scale[:15], temperature=0.2, seed=0), scale[15:27])
    assert torch.equal(made.compose(12, temperature=0.2, seed=0), scale[:12])


def test_composing() -> None:
    made = model(dropout=0.5)
    one = made.compose(30, seed=3)
    assert one.shape == (30, KEYS)
    assert set(one.unique().tolist()) == {0, 1}
    assert torch.equal(one, made.compose(30, seed=3))
    assert not torch.equal(one, made.compose(30, seed=4))
    assert made.compose(0).shape == (0, KEYS)
    made.train()
    assert torch.equal(one, made.compose(30, seed=3)), "composing uses no dropout"
    assert made.training
    with pytest.raises(ValueError, match=r"expected a prompt of frames \(T, 7\), got \(3, 88\)"):
        made.compose(3, prompt=torch.zeros(3, 88))
    with pytest.raises(ValueError, match="temperature must be above 0, got 0"):
        made.compose(3, temperature=0)


def test_config_makes_it_again() -> None:
    made = model(layers=2, dropout=0.2)
    again = FrameModel.from_config(json.loads(json.dumps(made.config()))).eval()
    again.load_state_dict(made.state_dict())
    assert torch.equal(again.compose(9, seed=1), made.compose(9, seed=1))
