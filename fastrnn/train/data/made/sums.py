"""Sums to learn: "123+34" and "157" (Zaremba & Sutskever, 2014, "Learning to execute"; an example of Keras since)."""

from __future__ import annotations

import random
from itertools import combinations_with_replacement

from fastrnn.train.data.splitting import split

Sum = tuple[str, str]


def sums(
    count: int = 50_000, digits: int = 3, *, padded: bool = False, held_out: float = 0.1, seed: int = 0
) -> tuple[list[Sum], list[Sum]]:
    """Questions and answers: those to train on, and held-out ones.

    Each pair of numbers occurs once: with "1+23" there is no "23+1", so no held-out sum is known from training. Numbers
    of at most 1, 2, …, ``digits`` digits are equally frequent, as in the Keras example, so there are short sums until
    they run out. If ``count`` is more than half of all pairs, all pairs are equally likely.

    Args:
        count: sums, training and held out.
        digits: of the longest number.
        padded: pad questions and answers with spaces to the longest possible length.
        held_out: share of the second part.
        seed: the same seed gives the same sums.

    Raises:
        ValueError: there are fewer pairs of such numbers than ``count``, or a part is empty.
    """
    if digits < 1:
        raise ValueError(f"digits must be at least 1, got {digits}")
    numbers = 10**digits
    possible = numbers * (numbers + 1) // 2
    if not 1 <= count <= possible:
        raise ValueError(
            f"count must be between 1 and {possible}, the pairs of numbers of up to {digits} digits, got {count}"
        )
    generator = random.Random(seed)
    pairs = _all(numbers, count, generator) if 2 * count > possible else _drawn(digits, count, generator)
    question, answer = (2 * digits + 1, digits + 1) if padded else (0, 0)
    made = [(f"{a}+{b}".ljust(question), str(a + b).ljust(answer)) for a, b in pairs]
    train, rest = split(made, (1 - held_out, held_out), seed)
    return train, rest


def _drawn(digits: int, count: int, generator: random.Random) -> list[tuple[int, int]]:
    def number() -> int:
        return generator.randrange(10 ** generator.randint(1, digits))

    pairs: dict[tuple[int, int], tuple[int, int]] = {}  # by the sorted numbers; dicts keep the order of drawing
    while len(pairs) < count:
        a, b = number(), number()
        pairs.setdefault((min(a, b), max(a, b)), (a, b))
    return list(pairs.values())


def _all(numbers: int, count: int, generator: random.Random) -> list[tuple[int, int]]:
    drawn = generator.sample(list(combinations_with_replacement(range(numbers), 2)), count)
    return [pair if generator.random() < 0.5 else pair[::-1] for pair in drawn]
