"""Layer normalization inside RNN, GRU and LSTM in the step kernels of the CUDA layers: by emulation, or on a GPU."""

from functools import partial

import pytest
import torch

from fastrnn._core import gpu
from tests.cuda.operands import expected, forward, operands, run
from tests.cuda.test_cuda_options import ALL, EVERY, RAGGED
from tests.support.twins import CELLS, random

pytestmark = pytest.mark.usefixtures("one_thread")

NORMALIZED = [cell for cell in CELLS if cell.startswith("layer_norm")]
OPTIONS = [
    {},
    {"state": False},
    {"bias": False},
    {"bidirectional": True, "batch_first": True},
    {"times": 1, "batch": 1},
    {"packed": [3, 3, 2, 2, 1], "bidirectional": True, "state": False},
    {"times": 7, "batch": 4, "bidirectional": True, "resets": 0.3},
    {"times": 7, "batch": 4, "bidirectional": True, **EVERY},
    {"bidirectional": True, **EVERY, "state": False, "bias": False},
    {"bidirectional": True, **EVERY, "batch_first": True},
    {"bidirectional": True, **EVERY, "packed": RAGGED},
    {"bidirectional": True, **EVERY, "packed": RAGGED, "state": False},
    {"bidirectional": True, "masks": "r"},
    {"bidirectional": True, "masks": "h"},
    {"bidirectional": True, "masks": "c", "packed": RAGGED},
    {"bidirectional": True, "heads": 2},
    {"bidirectional": True, "heads": 6, "state": False, "bias": False},
    {"times": 7, "batch": 4, "bidirectional": True, **ALL},
    {"bidirectional": True, **ALL, "state": False, "bias": False},
    {"bidirectional": True, **ALL, "batch_first": True, "times": 1},
    {"bidirectional": True, **ALL, "packed": RAGGED},
    {"bidirectional": True, **ALL, "packed": RAGGED, "state": False},
]


def _assert_close(found, wanted, tolerance=1e-11):
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=tolerance, atol=tolerance)


def made_of(cell, **options):
    """The operands of a cell of which no gain is 1 and no bias 0."""
    made = operands(cell if cell in CELLS else "layer_norm_rnn_tanh", **options)  # whose weights have those sizes
    weights = [w + 0.3 * random(*w.shape, seed=30 + i) if w.dim() == 1 else w for i, w in enumerate(made.weights)]
    return made._replace(cell=cell, weights=weights)


@pytest.fixture(params=[*NORMALIZED, "layer_norm_rnn_relu", "layer_norm_rnn_sigmoid"])
def given(request):
    return partial(made_of, request.param)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_as_the_reference(kernels, given, options):
    """Outputs, c after every step, final states and all gradients."""
    made = given(**options)
    _assert_close(run(kernels, made), expected(made))


@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"packed": [4, 4, 3, 3, 1, 1, 1]}], ids=str)
@pytest.mark.usefixtures("small_chunks")
def test_over_several_chunks(emulated, given, options):
    made = given(**ALL | {"times": 7, "batch": 4, "bidirectional": True} | options)
    _assert_close(run(emulated, made), expected(made))


# A warp, several, and more units than a block has threads. Heads of a warp's units and of others.
@pytest.mark.parametrize("options", [EVERY, ALL], ids=["one head", "masks and heads"])
@pytest.mark.parametrize("hidden", [3, 32, 33, 150, 530])
def test_rows_of_any_width(kernels, given, hidden, options):
    heads = {3: 3, 32: 2, 33: 3, 150: 3, 530: 5}[hidden] if "heads" in options else 1
    made = given(times=3, batch=2, hidden=hidden, **options | {"heads": heads})
    _assert_close(run(kernels, made), expected(made), 1e-9 if hidden == 3 else 1e-10)


@pytest.mark.parametrize("hidden", [1, 2])
def test_rows_of_one_or_two_units(kernels, given, hidden):
    """1/σ needs a place of its own. Of one number it is 316, so errors grow with every step."""
    made = given(times=2, hidden=hidden)
    _assert_close(run(kernels, made), expected(made), 1e-7)


# Rounding of weights, inputs and states to the dtype: some units in its last place, which a norm magnifies. No relu:
# its derivative jumps where a pre-activation is rounded to the other side of 0.
@pytest.mark.parametrize("cell", [*NORMALIZED, "layer_norm_rnn_sigmoid"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float16, 1.5e-2), (torch.bfloat16, 1e-1)]
)
@pytest.mark.parametrize("options", [EVERY, ALL | {"heads": 5}], ids=["one head", "masks and heads"])
def test_narrower_numbers(kernels, cell, dtype, tolerance, options):
    made = made_of(cell, hidden=40, batch=4, bidirectional=True, **options).to(dtype)
    with gpu.tf32(False):
        found = run(kernels, made)
    for got, want in zip(found, expected(made.to(torch.float64)), strict=True):
        assert got.dtype == dtype
        assert (got.double() - want).abs().max() <= tolerance * max(1.0, float(want.abs().max()))


def test_the_mean_does_not_cancel(kernels):
    """The variance is that of distances from the mean, not a difference of two large numbers."""
    made = operands("layer_norm_gru", hidden=40).to(torch.float32)
    w_ih, *others = made.weights
    with gpu.tf32(False):
        found, wanted = (
            f(made._replace(input=made.input.abs() + 1, weights=[w_ih + 100, *others]))[0]
            for f in (lambda m: run(kernels, m), lambda m: expected(m.to(torch.float64)))
        )
    assert (found.double() - wanted).abs().max() <= 5e-3


@pytest.mark.parametrize("options", [{}, ALL | {"heads": 5}], ids=["plain", "with options"])
def test_a_row_has_the_same_bits_in_any_batch(emulated, given, options):
    made = given(batch=5, hidden=40, **options)
    by_row = ("input", "h0", "c0", "resets", "recurrent_mask", "zoneout_h", "zoneout_c")
    some = {name: getattr(made, name)[:, 1:3] for name in by_row if getattr(made, name) is not None}
    few = made._replace(**some)
    for whole, part in zip(forward(emulated, made)[:2], forward(emulated, few)[:2], strict=True):
        assert torch.equal(whole[:, 1:3], part)


@pytest.mark.parametrize("kernel", ["block", "cluster", "grid"])
def test_persistent_kernels_leave_it_to_the_steps(emulated, given, monkeypatch, kernel):
    made = given(hidden=40, masks="rhc", heads=5).to(torch.float16)
    wanted = run(emulated, made)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    before = emulated.calls()["sequences"]
    assert all(map(torch.equal, run(emulated, made), wanted))
    assert emulated.calls()["sequences"] == before
    assert emulated.cuda_team(made.cell, torch.float16, 40, 3, False) == []


@pytest.fixture
def memory_of_nans():
    """What is allocated holds no number, in scratch memory as well."""
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)  # torch's products on a GPU are not
    yield
    torch.use_deterministic_algorithms(before)


@pytest.mark.parametrize("options", [{}, {"packed": RAGGED}], ids=str)
@pytest.mark.usefixtures("memory_of_nans")
@pytest.mark.filterwarnings("ignore:Deterministic behavior was enabled")
def test_no_number_is_read_before_it_is_written(kernels, given, options):
    made = given(**ALL | options)
    assert torch.empty_like(made.input).isnan().all()
    assert not forward(kernels, made)[3].isnan().any()
    _assert_close(run(kernels, made), expected(made))


def test_a_step_saves_the_same_rows(kernels):
    """But with zoneout, which hides c, or of an RNN the h of the cell."""
    for cell, hidden_by in (("layer_norm_lstm", "c"), ("layer_norm_gru", ""), ("layer_norm_rnn_tanh", "h")):
        plain = forward(kernels, made_of(cell))[3].shape
        for masks in ("r", "h", "c", "rhc"):
            found = forward(kernels, made_of(cell, masks=masks, heads=3))[3].shape
            assert found[:-1] == plain[:-1]
            assert found[-1] - plain[-1] == (6 if hidden_by and hidden_by in masks else 0)
