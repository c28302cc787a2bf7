"""sigmoid, tanh and relu as the kernels compute them, against float64 or better, in units in the last place."""

import numpy as np
import pytest
import torch

from fastrnn import _C


def _points(dtype):
    generator = np.random.default_rng(0)
    ends = 80 if dtype == np.float32 else 700
    small = 10.0 ** generator.uniform(-30, 0, 200_000)
    return np.concatenate(
        [generator.uniform(-ends, ends, 200_000), generator.uniform(-9, 9, 400_000), small, -small]
    ).astype(dtype)


def _ulps(got, exact):
    """Distance in units in the last place of got's type at the exact value."""
    return np.abs((got.astype(exact.dtype) - exact) / np.spacing(np.abs(exact).astype(got.dtype)).astype(exact.dtype))


@pytest.mark.parametrize(("dtype", "wide", "run"), [
    (np.float32, np.float64, _C.activation_float),
    (np.float64, np.longdouble, _C.activation_double),
])  # fmt: skip
@pytest.mark.parametrize(("name", "exact"), [
    ("sigmoid", lambda x: 1 / (1 + np.exp(-x))),
    ("tanh", np.tanh),
])  # fmt: skip
def test_within_units_in_the_last_place(name, exact, dtype, wide, run):
    x = _points(dtype)
    bound = 3 if _C.instruction_set() == "generic" else 2.5  # without multiply-adds every product is rounded too
    if _C.instruction_set().startswith("avx512") and (name, dtype) == ("tanh", np.float32):
        bound = 1.25  # by tables: csrc/cpu/activations_by_table.h
    assert _ulps(run(name, x), exact(x.astype(wide))).max() <= bound


@pytest.mark.parametrize("run", [_C.activation_float, _C.activation_double])
def test_ends_and_nan(run):
    dtype = np.float32 if run is _C.activation_float else np.float64
    x = np.array([np.nan, np.inf, -np.inf, 0.0, 1e4, -1e4], dtype)
    np.testing.assert_array_equal(run("tanh", x), np.array([np.nan, 1, -1, 0, 1, -1], dtype))
    np.testing.assert_array_equal(run("sigmoid", x), np.array([np.nan, 1, 0, 0.5, 1, 0], dtype))
    np.testing.assert_array_equal(run("relu", x), torch.relu(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize(("run", "ends"), [(_C.activation_float, (-90, -85)), (_C.activation_double, (-750, -700))])
def test_sigmoid_underflows_as_torch(run, ends):
    x = torch.linspace(*ends, 1000, dtype=torch.float32 if run is _C.activation_float else torch.float64)
    found = torch.from_numpy(run("sigmoid", x.numpy()))
    torch.testing.assert_close(found, torch.sigmoid(x), rtol=1e-5, atol=torch.finfo(x.dtype).tiny)


def test_unknown_name():
    with pytest.raises(ValueError, match="must be 'sigmoid', 'tanh' or 'relu', got 'gelu'"):
        _C.activation_float("gelu", np.zeros(1, np.float32))
