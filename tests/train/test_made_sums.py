"""Sums: right, each pair of numbers once, and none held out that training has the other way round."""

import pytest

from fastrnn.train.data.made.sums import sums


def key(question: str) -> tuple[int, ...]:
    return tuple(sorted(int(number) for number in question.split("+")))


def test_answers_are_right_and_pairs_differ() -> None:
    train, held_out = sums(3000, 3)
    assert (len(train), len(held_out)) == (2700, 300)
    for question, answer in train + held_out:
        assert sum(key(question)) == int(answer)
        assert all(number == str(int(number)) and len(number) <= 3 for number in question.split("+"))
    assert len({key(question) for question, _ in train + held_out}) == 3000


def test_both_parts_have_sums_of_every_length() -> None:
    def shares(part: list[tuple[str, str]]) -> list[float]:
        return [sum(len(question) == length for question, _ in part) / len(part) for length in range(4, 10)]

    train, held_out = sums(30_000, 4)
    assert shares(held_out) == pytest.approx(shares(train), abs=0.025)
    assert min(shares(held_out)) > 0.01


def test_padded_to_the_longest_there_can_be() -> None:
    train, held_out = sums(200, 2, padded=True)
    assert {(len(question), len(answer)) for question, answer in train + held_out} == {(5, 3)}
    assert [(q.strip(), a.strip()) for q, a in train] == sums(200, 2)[0]


def test_all_pairs_there_are() -> None:
    train, held_out = sums(55, 1, held_out=0.0)
    assert {key(question) for question, _ in train} == {(a, b) for b in range(10) for a in range(b + 1)}
    assert held_out == []


def test_the_seed_decides() -> None:
    assert sums(500, 3, seed=1) == sums(500, 3, seed=1)
    assert sums(500, 3, seed=1) != sums(500, 3, seed=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((56, 1), "between 1 and 55, the pairs of numbers of up to 1 digits, got 56"),
        ((0, 1), "between 1 and 55"),
        ((10, 0), "digits must be at least 1, got 0"),
    ],
)
def test_more_than_there_are(arguments: tuple[int, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sums(*arguments)


@pytest.mark.parametrize("share", [-0.1, 1.1, 0.999])
def test_nothing_to_train_on(share: float) -> None:
    with pytest.raises(ValueError, match=r"shares|too few"):
        sums(10, 1, held_out=share)
