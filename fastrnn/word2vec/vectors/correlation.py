"""Pearson's and Spearman's correlation with their p-values, without scipy."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Correlation(NamedTuple):
    """A correlation coefficient, and the probability of one at least as extreme if there is no correlation."""

    statistic: float
    pvalue: float


def pearson(x: np.ndarray, y: np.ndarray) -> Correlation:
    """Pearson's correlation of x and y (n,), or Spearman's if they are ranks. NaN if x or y is constant."""
    x, y = x - x.mean(), y - y.mean()
    scale = float(np.sqrt((x @ x) * (y @ y)))
    if scale == 0:
        return Correlation(float("nan"), float("nan"))
    r = min(1.0, max(-1.0, float(x @ y) / scale))
    # r sqrt((n - 2) / (1 - r^2)) has Student's distribution with n - 2 degrees of freedom.
    return Correlation(r, incomplete_beta((len(x) - 2) / 2, 0.5, 1 - r * r))


def ranks(x: np.ndarray) -> np.ndarray:
    """The rank of each number in x (n,), from 1; equal numbers get their mean rank."""
    _, group, sizes = np.unique(x, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]


def incomplete_beta(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b), by its continued fraction (DLMF 8.17.22, Lentz's method)."""
    if x in (0.0, 1.0):
        return x
    if x > (a + 1) / (a + b + 2):  # the fraction converges slowly: use the symmetry DLMF 8.17.4
        return 1 - incomplete_beta(b, a, 1 - x)
    front = math.exp(math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)) / a
    value, c, d = 1.0, 1.0, 0.0
    for n in range(1000):
        m = n // 2
        if n == 0:
            term = 1.0
        elif n % 2 == 0:
            term = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        else:
            term = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        d = 1 / (1 + term * d)
        c = 1 + term / c
        value *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return front * (value - 1)
