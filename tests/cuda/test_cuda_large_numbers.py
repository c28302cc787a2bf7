"""Layer normalization of numbers whose squares are infinite, in the step kernels of the CUDA layers, as
test_cuda_layer_norm.py runs them."""

from functools import partial
from itertools import product, zip_longest

import pytest
import torch

from fastrnn._core import gpu
from tests.cuda.operands import expected, forward, run
from tests.cuda.test_cuda_layer_norm import NORMALIZED, made_of

pytestmark = pytest.mark.usefixtures("one_thread")


def _with_larger(given, which, factor):
    """The operands, one of them `factor` times as large. c then gets a gradient as much smaller as the norm's."""
    if which == "input":
        return given._replace(input=given.input * factor)
    if which == "c":
        return given._replace(c0=given.c0 * factor, d_cn=given.d_cn / factor)
    return given._replace(weights=[w * factor if i == 1 else w for i, w in enumerate(given.weights)])


def _results(compute, given, which, factor):
    """All results; those that grow or shrink with the factor, divided by it or multiplied."""
    changed = {f"d_{'c0' if which == 'c' else which}": factor} | ({"c_n": 1 / factor} if which == "c" else {})
    names = ["output", "h_n", "c_n", "d_input", "d_h0", "d_c0", "d_w_ih", "d_w_hh"]
    names = [name for name in names if given.c0 is not None or name not in ("c_n", "d_c0")]
    found = compute(_with_larger(given, which, factor))
    return [t.double() * changed.get(name, 1) for name, t in zip_longest(names, found)]


def _assert_close(found, wanted, tolerance):
    for got, want in zip(found, wanted, strict=True):
        assert (got - want).abs().max() <= tolerance * max(1.0, float(want.abs().max()))


@pytest.mark.parametrize(
    ("dtype", "shift", "tolerance"),
    [(torch.float32, 90, 1e-5), (torch.float32, 122, 1e-5), (torch.bfloat16, 90, 1e-1), (torch.float64, 700, 1e-10)],
)
@pytest.mark.parametrize(("cell", "which"), [*product(NORMALIZED, ["input", "w_hh"]), ("layer_norm_lstm", "c")])
def test_where_squares_are_infinite(kernels, cell, which, dtype, shift, tolerance):
    """What is larger by a power of two has the same norm, though neither squares nor variance are of the dtype."""
    given = made_of(cell, hidden=40, times=3).to(dtype)
    with gpu.tf32(False):
        found, smaller = (_results(partial(run, kernels), given, which, 2.0**k) for k in (shift, 40))
    if which == "input":
        assert torch.equal(found[0], smaller[0])
    _assert_close(found, _results(expected, given.to(torch.float64), which, 2.0**40), tolerance)


@pytest.mark.parametrize(("dtype", "shift", "tolerance"), [(torch.float32, 124, 1e-5), (torch.float64, 1020, 1e-10)])
@pytest.mark.parametrize("cell", NORMALIZED)
def test_where_a_sum_is_infinite(kernels, cell, dtype, shift, tolerance):
    """All products of a row are near the largest number of the dtype, which the sum for their mean is beyond."""
    given = made_of(cell, hidden=40, times=3)
    weights = [3 * given.weights[0].abs(), *given.weights[1:]]
    given = given._replace(input=given.input.abs() + 0.5, weights=weights).to(dtype)
    products = given.input * 2.0**shift @ weights[0].to(dtype).T
    assert products.isfinite().all()
    assert products.sum(-1).isinf().any()
    with gpu.tf32(False):
        found = _results(partial(run, kernels), given, "input", 2.0**shift)
    _assert_close(found, _results(expected, given.to(torch.float64), "input", 2.0**40), tolerance)


@pytest.mark.parametrize("cell", NORMALIZED)
def test_equal_numbers_whose_sum_is_infinite(kernels, cell):
    """Their variance is 0, and so is their norm, as that of smaller ones."""
    given = made_of(cell, hidden=32, times=3)
    given = given._replace(input=torch.ones_like(given.input))
    given.weights[0].fill_(1)
    smaller, larger = (forward(kernels, _with_larger(given, "input", 2.0**k))[0] for k in (0, 1021))
    assert torch.equal(smaller, larger)


@pytest.mark.parametrize("number", [torch.inf, torch.nan])
@pytest.mark.parametrize("cell", NORMALIZED)
def test_what_is_not_finite_makes_nan_of_its_row(kernels, cell, number):
    given = made_of(cell, hidden=40, times=3)
    clean = forward(kernels, given)[0]
    given.input[1, 2, 0] = number
    found = forward(kernels, given)[0]
    assert found[1:, 2].isnan().all()
    assert torch.equal(found[:, :2], clean[:, :2])
