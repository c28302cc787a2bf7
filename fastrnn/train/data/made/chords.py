"""Generated music whose best possible likelihood is known.

A piece is in one of twelve major keys. Each bar has one chord of that key, drawn given the previous chord by
:data:`FOLLOWS`; the first is the tonic. A bar has four steps: the chord sounds in all of them, its root in the bass in
the first and third, and a random one of its three notes an octave higher.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

LOWEST = 21  # MIDI's number of key 0
STEPS = 4  # in a bar
_SCALE = (0, 2, 4, 5, 7, 9, 11)
_CHORD, _MELODY, _BASS = 60 - LOWEST, 72 - LOWEST, 36 - LOWEST
# The probability of the next chord, by the degrees of the roots: 0 is the tonic, 4 the dominant.
FOLLOWS: dict[int, dict[int, float]] = {
    0: {3: 0.4, 4: 0.2, 5: 0.3, 1: 0.1},
    1: {4: 0.8, 3: 0.2},
    3: {4: 0.5, 0: 0.3, 1: 0.2},
    4: {0: 0.7, 5: 0.3},
    5: {3: 0.6, 1: 0.4},
}


class Piece(NamedTuple):
    """A roll (T, 88) uint8 of zeros and ones, and its negative log-probability under the rules, in nats.

    The nats of many pieces over their steps are the lowest loss that a model can reach on average.
    """

    roll: npt.NDArray[np.uint8]
    nats: float


def chords(count: int = 300, *, bars: int = 16, seed: int = 0) -> list[Piece]:
    """``count`` pieces of that many bars.

    Raises:
        ValueError: either is less than 1.
    """
    if count < 1 or bars < 1:
        raise ValueError(f"count and bars must be at least 1, got {count} and {bars}")
    generator = np.random.default_rng(seed)
    return [_piece(bars, generator) for _ in range(count)]


def triad(degree: int) -> list[int]:
    """The chord on a degree of the scale, in semitones above the tonic, root first."""
    return [_SCALE[(degree + step) % 7] + 12 * ((degree + step) // 7) for step in (0, 2, 4)]


def _piece(bars: int, generator: np.random.Generator) -> Piece:
    roll = np.zeros((bars * STEPS, 88), np.uint8)
    tonic, degree = int(generator.integers(12)), 0
    nats = math.log(12)
    for bar in range(bars):
        if bar:
            degrees, chances = zip(*FOLLOWS[degree].items(), strict=True)
            chosen = int(generator.choice(len(degrees), p=chances))
            degree, nats = degrees[chosen], nats - math.log(chances[chosen])
        notes = [(tonic + note) % 12 for note in triad(degree)]
        begin, end = bar * STEPS, (bar + 1) * STEPS
        roll[begin:end, [_CHORD + note for note in notes]] = 1
        roll[begin:end:2, _BASS + notes[0]] = 1
        roll[np.arange(begin, end), _MELODY + np.array(notes)[generator.integers(3, size=STEPS)]] = 1
        nats += STEPS * math.log(3)
    return Piece(roll, nats)
