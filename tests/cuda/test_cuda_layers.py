"""The CUDA layers, csrc/torch/cuda.cpp and the loops and kernels of csrc/cuda, against the reference.

On the CPU by emulation, see emulation/library.cpp; on a GPU with `--device cuda`. Other tests of GPUs: test_cuda.py.
"""

import pytest
import torch

from fastrnn._core import gpu
from tests.cuda.operands import expected, operands, run
from tests.support.twins import PLAIN_CELLS, random

pytestmark = pytest.mark.usefixtures("one_thread")


def _assert_close(found, wanted):
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


OPTIONS = [
    {},
    {"state": False},
    {"bias": False},
    {"bidirectional": True, "batch_first": True},
    {"batch_first": True, "batch": 1},
    {"packed": [3, 3, 2, 2, 1]},
    {"packed": [3, 3, 2, 2, 1], "bidirectional": True},
    {"packed": [3, 3, 2, 2, 1], "bidirectional": True, "state": False},
    {"times": 1, "batch": 1},
    {"hidden": 150, "batch": 7, "times": 20, "bidirectional": True},
]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_as_the_reference(kernels, cell, options, recompute):
    given = operands(cell, **options)
    _assert_close(run(kernels, given, recompute), expected(given))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("packed", [None, [3, 3, 2, 2, 1]], ids=["padded", "packed"])
@pytest.mark.parametrize("cell", ["peephole_lstm", "coupled_lstm"])
def test_projections_of_other_cells_that_carry_c(kernels, cell, packed, recompute):
    given = operands(cell, projection=4, packed=packed, bidirectional=True)
    _assert_close(run(kernels, given, recompute), expected(given))


# Rounding of weights, inputs and states to the dtype: a few units in its last place.
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "options",
    [{}, {"batch_first": True}, {"packed": [3, 3, 2, 2, 1]}, {"hidden": 24, "batch": 9, "times": 4}],
    ids=str,
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_narrower_numbers(kernels, cell, dtype, tolerance, options, recompute):
    given = operands(cell, bidirectional=True, **options).to(dtype)
    with gpu.tf32(False):
        found = run(kernels, given, recompute)
    for got, want in zip(found, expected(given.to(torch.float64)), strict=True):
        assert got.dtype == dtype
        assert (got.double() - want).abs().max() <= tolerance * max(1.0, float(want.abs().max()))


def _expanded(x):
    """The same input for every row of the batch: rows that lie on one another."""
    return x[:, :1].expand_as(x)


def _unfolded(x):
    """A window that moves by one number a step: rows that overlap."""
    numbers = torch.randn(x.numel(), dtype=x.dtype, device=x.device)
    return numbers.as_strided(x.shape, (x.size(1), 1, 1) if x.dim() == 3 else (1, 1))


def _columns(x):
    """Of a wider matrix: rows that lie further apart than they are wide."""
    wide = torch.randn(*x.shape[:-1], 2 * x.size(-1) + 1, dtype=x.dtype, device=x.device)
    return wide[..., 1 : 1 + x.size(-1)]


def _transposed(x):
    return torch.randn(*x.shape[::-1], dtype=x.dtype, device=x.device).permute(*range(x.dim())[::-1])


def _every_other_step(x):
    """Steps that lie further apart than a batch."""
    return torch.randn(2 * len(x), *x.shape[1:], dtype=x.dtype, device=x.device)[::2]


LAYOUTS = [_expanded, _unfolded, _columns, _transposed, _every_other_step]


@pytest.mark.parametrize("packed", [None, [3, 3, 2, 2, 1]], ids=["padded", "packed"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_the_input(kernels, layout, batch_first, packed):
    """cuBLAS is told how far apart rows lie. It must not be told wrong, nor read what is not the tensor's."""
    given = operands("lstm", packed=packed, bidirectional=True, batch_first=batch_first and not packed)
    x = given.input
    x = x[:1].expand_as(x) if packed and layout is _expanded else layout(x)
    assert not x.is_contiguous()
    of_a_sum = given.d_output.flatten()[0].expand_as(given.d_output)
    wanted = expected(given._replace(input=x.contiguous(), d_output=of_a_sum.contiguous()))
    for recompute in (False, True):
        _assert_close(run(kernels, given._replace(input=x, d_output=of_a_sum), recompute), wanted)


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_tf32_for_matmul_is_not_for_layers(kernels, cell):
    """Each has a switch of its own. torch's handle of cuBLAS comes with that of its own products."""
    given = operands(cell, bidirectional=True).to(torch.float32)
    found = []
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        for matmul.fp32_precision in ("ieee", "tf32"):
            with gpu.tf32(False):
                found.append(run(kernels, given))
    finally:
        matmul.fp32_precision = before
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    with gpu.tf32(True):
        rounded = run(kernels, given)
    assert not torch.equal(rounded[0], found[0][0])


@pytest.mark.parametrize("packed", [None, list(range(600, 0, -20))], ids=["padded", "packed"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_recompute_over_several_checkpoints(kernels, cell, packed):
    """A checkpoint stands for 8 steps at least."""
    given = operands(cell, times=20, batch=300, bidirectional=True, packed=packed)
    _assert_close(run(kernels, given, recompute=True), run(kernels, given))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"times": 9, "bidirectional": True},
        {"times": 9, "bidirectional": True, "batch_first": True},
        {"packed": [3, 3, 2, 2, 1, 1, 1], "bidirectional": True},
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.usefixtures("small_chunks")
def test_over_several_chunks(emulated, cell, options, recompute):
    given = operands(cell, **options)
    _assert_close(run(emulated, given, recompute), expected(given))


class TestSums:
    """Of the gates' gradients over all rows: the gradients of biases."""

    def test_they_do_not_lose_more_with_more_rows(self, emulated):
        rows = random(20_003, 5).float() + 0.1
        exact = rows.double().sum(0)
        allowed = 4 * 2**-24 * exact.abs().max()
        one_after_the_other = torch.from_numpy(rows.numpy().cumsum(0, dtype="float32")[-1])
        assert (emulated.sum_rows(rows) - exact).abs().max() <= allowed
        assert (one_after_the_other - exact).abs().max() > allowed

    def test_one_row_and_one_column(self, emulated):
        assert emulated.sum_rows(torch.tensor([[3.0]])).tolist() == [3]
        assert emulated.sum_rows(torch.arange(70.0)[None]).tolist() == list(range(70))

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
    def test_of_other_numbers(self, emulated, dtype):
        rows = torch.randn(300, 40).to(dtype)
        found = emulated.sum_rows(rows)
        assert found.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
        torch.testing.assert_close(found.double(), rows.double().sum(0), rtol=1e-6, atol=1e-5)

    def test_what_is_not_finite_stays_so(self, emulated):
        rows = torch.ones(100, 3)
        rows[20, 0], rows[30, 1] = torch.inf, torch.nan
        found = emulated.sum_rows(rows)
        assert found[0] == torch.inf
        assert found[1].isnan()
        assert found[2] == 100
