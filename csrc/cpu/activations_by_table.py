"""Prints the tables of activations_by_table.h: python csrc/cpu/activations_by_table.py"""

from collections.abc import Callable

import mpmath as mp
import numpy as np

mp.mp.dps = 40
DEGREE = 6  # of tanh's polynomials
# Intervals of |x| + 1. What its exponent and two bits of its fraction are numbers them, modulo 16, from 12 on.
ENDS = (1, 1.25, 1.5, 1.75, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 10)


def nearest(x: mp.mpf) -> float:
    return float(np.float32(float(x)))


def distance(x: mp.mpf) -> float:
    """Of x from the nearest float32, in units in the last place."""
    return float(abs(x - nearest(x)) / mp.mpf(float(np.spacing(np.float32(float(x))))))


def fit(
    f: Callable[[mp.mpf], mp.mpf], low: float, high: float, degree: int, fixed: list[float], weight: list[float] | None
) -> list[float]:
    """Coefficients of the polynomial of least largest weighted error; the first are given. By Lawson's iteration."""
    points = [(low + high) / 2 + (high - low) / 2 * float(mp.cos(mp.pi * (i + 0.5) / 400)) for i in range(400)]
    rest = np.array([float(f(mp.mpf(t)) - sum(c * mp.mpf(t) ** k for k, c in enumerate(fixed))) for t in points])
    size = max(abs(low), abs(high))
    powers = np.array([[(t / size) ** k for k in range(len(fixed), degree + 1)] for t in points])
    w = np.array(weight or [float(1 / abs(f(mp.mpf(t)))) for t in points])
    share = np.ones(len(points)) / len(points)
    for _ in range(200):
        q = np.sqrt(share) * w
        found = np.linalg.lstsq(powers * q[:, None], rest * q, rcond=None)[0]
        share = share * np.abs(powers @ found - rest) * w
        share /= share.sum()
    return [*fixed, *(nearest(mp.mpf(float(c)) / mp.mpf(size) ** (k + len(fixed))) for k, c in enumerate(found))]


def center_of(low: float, high: float) -> float:
    """A number near the middle whose tanh is nearly a float32, and its derivative too where that counts."""
    if low >= 3:  # many inputs share one float32 value of tanh, so search the values
        around = nearest(mp.tanh((low + high) / 2))
        values = [around + i * 2.0**-24 for i in range(-3000, 3001)]
        tried = [nearest(mp.atanh(v)) for v in values if v < 1]
    else:
        middle = int(np.float32((low + high) / 2).view(np.int32))
        tried = [float(np.int32(middle + i).view(np.float32)) for i in range(-2000, 2001)]
    width = high - low

    def cost(x: float) -> float:
        t = mp.tanh(x)
        return distance(t) + (0.2 * distance(1 - t * t) if low < 1 else 0) + 0.1 * abs(x - (low + high) / 2) / width

    return min((x for x in tried if low + 0.3 * width <= x <= low + 0.7 * width), key=cost)


def tanh_column(low: float, high: float) -> list[float]:
    """The middle of an interval and the coefficients of tanh around it."""
    if low == 0:
        by_x = fit(lambda t: mp.tanh(t) / t, 1e-6, high, DEGREE - 1, [1.0], None)
        return [0.0, 0.0, *by_x]
    center = center_of(low, high)

    def f(t: mp.mpf) -> mp.mpf:
        return mp.tanh(center + t)

    first = [nearest(f(mp.mpf(0)))]
    first = fit(f, low - center, high - center, DEGREE, first, None)[:2]
    return [center, *fit(f, low - center, high - center, DEGREE, first, None)]


def row(values: list[float]) -> str:
    return "{" + ", ".join(f"{v.hex()}f" if v % 1 else f"{v:g}.f" for v in values) + "},"


def main() -> None:
    ends = [end - 1 for end in ENDS]
    columns = {(i + 12) % 16: tanh_column(*ends[i : i + 2]) for i in range(len(ends) - 1)}
    one = [9.0, 1.0] + [0.0] * DEGREE
    for k in range(DEGREE + 2):
        print(row([columns.get(i, one)[k] for i in range(16)]))
    powers = [mp.mpf(2) ** (mp.mpf(j) / 16) for j in range(16)]
    bits = [np.int32(int(np.float32(nearest(p)).view(np.int32)) - (j << 19)) for j, p in enumerate(powers)]
    print(row([float(b.view(np.float32)) for b in bits]))
    print(row([nearest(mp.log(p / nearest(p))) for p in powers]))
    step = mp.log(2) / 16
    high = float((np.float32(float(step)).view(np.int32) & np.int32(~0xFFF)).view(np.float32))
    print("step", high.hex(), nearest(step - high).hex(), "steps in 1", nearest(1 / step).hex())
    end = float(step) / 2 * 1.005
    points = [end * float(mp.cos(mp.pi * (i + 0.5) / 400)) for i in range(400)]
    print("series", row(fit(lambda r: (mp.expm1(r) - r) / r**2, -end, end, 1, [], [t * t for t in points])))


if __name__ == "__main__":
    main()
