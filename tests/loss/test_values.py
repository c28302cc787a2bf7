"""linear_cross_entropy: values and gradients of torch's, for any number of threads and on every instruction set."""

import itertools
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn import _C, losses
from fastrnn._verify.errors import unit_in_last_place
from fastrnn.functional import linear_cross_entropy
from tests.support.cross_entropy import (
    BF16,
    F16,
    F32,
    F64,
    REDUCTIONS,
    error,
    exact,
    in_plain_torch,
    problem,
    with_gradients,
)
from tests.support.instruction_sets import SETS, sets_here

pytestmark = pytest.mark.usefixtures("one_thread")  # small work


@pytest.mark.parametrize("shape", [(5, 3, 2), (33, 17, 241), (30, 65, 500), (130, 128, 65)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_as_accurate_as_torch(shape, reduction):
    """Every tensor within 1.5 times torch's error and one ulp: root mean squares over draws."""
    for weighted, label_smoothing, bias in itertools.product((False, True), (0.0, 0.1), (False, True)):
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        squares = {}
        for seed in range(8 if shape[0] < 10 else 3):
            operands, target, weight = problem(*shape, bias=bias, weighted=weighted, seed=seed)
            true = exact(operands, target, weight, **options)
            theirs = with_gradients(in_plain_torch, operands, target, weight=weight, **options)
            ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
            for i, (a, b, t) in enumerate(zip(ours, theirs, true, strict=True)):
                assert (a.shape, a.dtype) == (t.shape, F32)
                row = squares.setdefault(i, [0.0, 0.0])
                row[0] += error(a, t) ** 2
                row[1] += (1.5 * error(b, t) + unit_in_last_place(float(t.abs().max()), F32)) ** 2
        for i, (found, allowed) in squares.items():
            assert found <= allowed, (i, weighted, label_smoothing, bias, found**0.5, allowed**0.5)


@pytest.mark.parametrize("shape", [(33, 17, 241), (30, 65, 500), (130, 128, 65)], ids=str)
def test_float64(shape):
    """Within 64 units: there is nothing more accurate to compare with, so this is for what is wrong in earnest."""
    for weighted, label_smoothing, reduction in itertools.product((False, True), (0.0, 0.1), REDUCTIONS):
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        operands, target, weight = problem(*shape, F64, weighted=weighted)
        true = exact(operands, target, weight, **options)
        ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
        for a, t in zip(ours, true, strict=True):
            assert a.dtype == F64
            assert error(a, t) <= 64 * torch.finfo(F64).eps * float(t.abs().max())


@settings(max_examples=40)
@given(
    rows=st.integers(1, 200),
    features=st.integers(1, 40),
    classes=st.integers(1, 600),
    reduction=st.sampled_from(REDUCTIONS),
    label_smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    weighted=st.booleans(),
    bias=st.booleans(),
    ignored=st.booleans(),
)
def test_any_shape(rows, features, classes, reduction, label_smoothing, weighted, bias, ignored):
    operands, target, weight = problem(rows, features, classes, F64, bias=bias, weighted=weighted, ignored=ignored)
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
    for a, b in zip(ours, exact(operands, target, weight, **options), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own jvp
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction):
    operands, target, weight = problem(4, 3, 5, F64, weighted=True)

    def loss(input, linear_weight, linear_bias):
        return linear_cross_entropy(
            input, linear_weight, target, linear_bias=linear_bias, weight=weight, reduction=reduction,
            label_smoothing=0.1,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, operands, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(loss, operands, check_batched_grad=True)


def test_reference_differentiates_like_the_kernels():
    operands, target, weight = problem(5, 4, 9, F64, weighted=True)

    def by_reference(input, linear_weight, target, *, linear_bias, weight):
        return losses.reference(input, linear_weight, target, linear_bias, weight, "mean", -100, 0.0)

    pair = [with_gradients(f, operands, target, weight=weight) for f in (by_reference, linear_cross_entropy)]
    for a, b in zip(*pair, strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("wanted", [w for w in itertools.product((False, True), repeat=3) if any(w)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_only_the_gradients_that_are_wanted(reduction, wanted):
    operands, target, _ = problem(40, 9, 300)
    everything = with_gradients(linear_cross_entropy, operands, target, reduction=reduction)
    some = [t.detach().requires_grad_(want) for t, want in zip(operands, wanted, strict=True)]
    found = with_gradients(linear_cross_entropy, some, target, reduction=reduction)
    expected = [everything[0], *(g for g, want in zip(everything[1:], wanted, strict=True) if want)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(operands[0], operands[1], target, linear_bias=operands[2],
                                                reduction=reduction), everything[0])  # fmt: skip


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_narrow_dtypes_round_once(dtype, reduction):
    """Sums are float32, so the only error is the rounding of the results: at most half an ulp, and a little."""
    operands, target, weight = problem(60, 33, 500, dtype, weighted=True)
    options = {"reduction": reduction, "label_smoothing": 0.1}
    ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, d_loss=torch.ones(()).expand(
        (60,) if reduction == "none" else ()), **options)  # fmt: skip
    true = exact(operands, target, weight, d_loss=torch.ones((60,) if reduction == "none" else ()), **options)
    for a, b in zip(ours, true, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-6)


def test_small_gradients_in_float16_survive_until_they_are_scaled():
    """float16 cannot hold 1e-9. A gradient scaler multiplies the loss so that nothing gets lost; here nothing did."""
    operands, target, _ = problem(64, 8, 4000, F16, bias=False, ignored=False)
    scale = torch.tensor(2.0**15)
    found = with_gradients(linear_cross_entropy, operands, target, d_loss=scale)
    true = exact(operands, target, d_loss=scale.double())
    for a, b in zip(found[1:], true[1:], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-6 * float(b.abs().max()))


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e30, -1e30])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logits_that_are_not_finite(reduction, value):
    for place in (0, 7, 299):
        operands, target, _ = problem(5, 3, 300, ignored=False)
        with torch.no_grad():
            operands[2][place] = value  # the logit of one class in every row
        target[0] = place
        theirs = with_gradients(in_plain_torch, operands, target, reduction=reduction)
        ours = with_gradients(linear_cross_entropy, operands, target, reduction=reduction)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True, rtol=2e-5, atol=1e-6)
    operands, target, _ = problem(3, 2, 4)
    with torch.no_grad():
        operands[2].fill_(value)
    pair = [with_gradients(f, operands, target, reduction=reduction) for f in (linear_cross_entropy, in_plain_torch)]
    for a, b in zip(*pair, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(150, 40, 1000), (700, 20, 50), (30, 64, 3000)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    operands, target, weight = problem(*shape, weighted=True)
    results = {}
    try:
        _C.assume_cores(8)
        for threads, dissolved in ((1, None), (2, None), (3, None), (4, None), (8, None), (2, 1), (3, 2)):
            torch.set_num_threads(threads)
            _C.dissolve_teams(dissolved)
            results[threads, dissolved] = with_gradients(
                linear_cross_entropy, operands, target, weight=weight, label_smoothing=0.1
            )
    finally:
        _C.assume_cores(0)
        _C.dissolve_teams(None)
    for found in results.values():
        assert all(torch.equal(a, b) for a, b in zip(found, results[1, None], strict=True))


PROGRAM = """
import json, torch
from fastrnn import _C
from tests.support.cross_entropy import error, exact, problem, with_gradients
from fastrnn.functional import linear_cross_entropy

errors = {}
for dtype, units in ((torch.float32, 40), (torch.float64, 40), (torch.bfloat16, 1), (torch.float16, 1)):
    for shape in [(1, 1, 1), (5, 3, 2), (33, 17, 241), (70, 65, 1000), (130, 128, 65)]:
        for reduction in ("mean", "none"):
            operands, target, weight = problem(*shape, dtype, weighted=True)
            found = with_gradients(linear_cross_entropy, operands, target, weight=weight, reduction=reduction)
            true = exact(operands, target, weight, reduction=reduction)
            for a, b in zip(found, true):
                scale = float(b.abs().max().clamp(min=0.01)) * torch.finfo(dtype).eps * units
                errors[f"{dtype} {shape} {reduction}"] = error(a, b) / scale
print(json.dumps({"set": _C.instruction_set(), "errors": errors}))
"""


@pytest.mark.parametrize("isa", SETS)
def test_every_instruction_set(isa):
    if isa not in sets_here():
        pytest.skip(f"this processor has no {isa}")
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | {"FASTRNN_ISA": isa}, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["set"] == isa
    worst = max(result["errors"], key=result["errors"].get)
    assert result["errors"][worst] < 1, (worst, result["errors"][worst])
