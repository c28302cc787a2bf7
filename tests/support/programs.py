"""The functions of users' cells as the interpreter computes them, against float64: run on any instruction set."""

from __future__ import annotations

import numpy as np
import scipy.special
import torch
import torch.nn.functional as F

from fastrnn import _C
from fastrnn._cell.bytecode import OPERATIONS, emit
from fastrnn._cell.graph import Graph

# Each function of one number: in float64, between which numbers, and torch's.
FUNCTIONS = {
    "exp": (np.exp, (-110, 88.7), torch.exp),
    "log": (np.log, (0, 3e38), torch.log),
    "log1p": (np.log1p, (-1, 1e4), torch.log1p),
    "sqrt": (np.sqrt, (0, 3e38), torch.sqrt),
    "abs": (np.abs, (-1e30, 1e30), torch.abs),
    "sign": (np.sign, (-1, 1), torch.sign),
    "sigmoid": (scipy.special.expit, (-80, 80), torch.sigmoid),
    "tanh": (np.tanh, (-10, 10), torch.tanh),
    "relu": (lambda x: np.maximum(x, 0), (-9, 9), torch.relu),
    "softplus": (lambda x: np.where(x > 20, x, np.log1p(np.exp(x))), (-80, 80), F.softplus),
    "logsigmoid": (lambda x: np.where(x < 0, x, 0) - np.log1p(np.exp(-np.abs(x))), (-80, 80), F.logsigmoid),
    "normal_cdf": (scipy.special.ndtr, (-12, 12), torch.special.ndtr),
    "normal_density": (lambda x: np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), (-12, 12), None),
    "sin": (np.sin, (-1e6, 1e6), torch.sin),
    "cos": (np.cos, (-1e6, 1e6), torch.cos),
}
SPECIAL = (0.0, -0.0, 1.0, -1.0, 20.0, 21.0, 1e-40, -1e-40, 1e4, -1e4, np.inf, -np.inf, np.nan)


def computed(op: str, x: np.ndarray, value: object = None) -> np.ndarray:
    g = Graph()
    a = g.input("gate", "a")
    code = emit([a], [g.node(op, a, value=value)])
    program = _C.Program(*code)
    return (program.run_float if x.dtype == np.float32 else program.run_double)([x])[0]


def points(low: float, high: float) -> np.ndarray:
    random = np.random.default_rng(0)
    even = random.uniform(max(low, -1e38), min(high, 1e38), 100_000)
    near = random.uniform(-1, 1, 100_000) * 10.0 ** random.uniform(-6, 1, 100_000)
    tiny = random.uniform(-1, 1, 1_000) * 10.0 ** random.uniform(-44, -20, 1_000)
    large = 10.0 ** random.uniform(0, np.log10(max(high, 10)), 1_000)
    x = np.concatenate([even, near, tiny, large]).astype(np.float32)
    return x[(x > low) & (x < high)]


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    return np.abs(got.astype(np.float64) - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


def check() -> None:
    """All functions in float32 within 4 units in the last place, in float64 about as exact, and torch's at the ends."""
    assert len(OPERATIONS) == len(set(OPERATIONS))
    for op, (exact, (low, high), by_torch) in FUNCTIONS.items():
        x = points(low, high)
        with np.errstate(all="ignore"):
            expected = exact(x.astype(np.float64))
            distance = ulps(computed(op, x), expected)
        assert distance.max() <= 4, f"{op} at {x[distance.argmax()]}: {distance.max()}"
        wide = computed(op, x.astype(np.float64))
        np.testing.assert_allclose(wide, expected, rtol=2e-14, atol=1e-300, err_msg=op)
        for dtype in (np.float32, np.float64):
            ends = np.array(SPECIAL, dtype)
            found = computed(op, ends)
            if by_torch is not None:
                wanted = by_torch(torch.from_numpy(ends)).numpy()
                np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-44, err_msg=f"{op} of {ends}")
    for n in range(-8, 9):
        if n not in (0, 1):
            x = np.concatenate([points(-30, 30)[:20_000], -points(0, 30)[:20_000]])
            with np.errstate(all="ignore"):
                expected = x.astype(np.float64) ** n
                usual = (np.abs(expected) > 1e-37) & (np.abs(expected) < 1e38)  # neither denormal nor beyond float32
            distance = ulps(computed("power", x, n)[usual], expected[usual])
            assert distance.max() <= 4, f"power {n}: {distance.max()}"
    check_means()


def check_means() -> None:
    """Means of rows of one block and of several, in float32 and all units alike: as exact as their terms."""
    g = Graph()
    a, b = g.input("gate", "a"), g.input("gate", "b")
    program = _C.Program(*emit([a, b], [g.mean(a), g.mean(g.mul(a, b))]))
    random = np.random.default_rng(0)
    for n in (1, 2, 3, 15, 16, 17, 63, 64, 65, 255, 256, 257, 511, 1000, 5000):
        x, y = (1e4 + random.standard_normal(n)).astype(np.float32), random.standard_normal(n).astype(np.float32)
        for found, terms in zip(program.run_float([x, y]), (np.float64(x), np.float64(x) * y), strict=True):
            assert np.ptp(found) == 0
            error = abs(float(found[0]) - terms.mean()) / np.abs(terms).mean()
            assert error < 2.5e-7, f"mean of {n}: {error}"
        for found, terms in zip(program.run_double([x, y]), (np.float64(x), np.float64(x) * y), strict=True):
            np.testing.assert_allclose(found, np.full(n, terms.mean()), rtol=0, atol=1e-15 * np.abs(terms).mean())


if __name__ == "__main__":
    check()
    print(_C.instruction_set())
