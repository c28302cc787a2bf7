"""The loops and pointwise kernels of the CUDA layers, run on the CPU against the CPU's own kernels.

See cuda_on_cpu.cpp. What runs on a GPU is tested in test_cuda.py and by every test with `--device cuda`.
"""

from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import CUDA_HOME, load

import fastrnn.nn
from fastrnn import gpu, ops
from tests.twins import CELLS, initial, make, random

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    include = Path(CUDA_HOME or "/usr/local/cuda") / "include"
    if not (include / "cuda_fp16.h").exists():
        pytest.skip(f"the headers of CUDA's numbers are not in {include}")
    sources = ["tests/cuda_on_cpu.cpp", "csrc/layer.cpp", "csrc/operators.cpp"]
    sources += [f"csrc/cuda/{name}.cpp" for name in ("direction", "forward", "backward", "passes")]
    load(
        "fastrnn_cuda_on_cpu",
        [str(ROOT / source) for source in sources],
        extra_cflags=["-O1", "-w"],
        extra_include_paths=[str(include)],
        build_directory=str(tmp_path_factory.mktemp("cuda_on_cpu")),
        is_python_module=False,
    )
    return torch.ops.fastrnn_cuda_on_cpu


def _run(operators, arguments, incoming, dtype, recompute=False):
    """Outputs and all gradients of one layer."""

    def to(t):
        return t.to(dtype) if isinstance(t, torch.Tensor) and t.is_floating_point() else t

    cell, input, sizes, h0, c0, weights, *options = [to(a) for a in arguments]
    weights = [to(w) for w in weights]
    operands = (input, sizes, h0, c0, weights)
    output, h_n, c_n, saved = operators.forward(cell, *operands, *options, True, recompute)
    needs = [True, h0 is not None, c0 is not None, *([True] * len(weights))]
    grads = operators.backward(cell, *[to(d) for d in incoming], *operands, output, saved, *options, needs)
    return [t for t in (output, h_n, c_n, *grads) if t.numel()]


def _arguments(cell, *, times=5, batch=3, hidden=6, packed=None, bidirectional=False, batch_first=False, state=True):
    layer = make(fastrnn.nn, cell, 4, hidden, bidirectional=bidirectional, dtype=torch.float64)
    sizes = None if packed is None else torch.tensor(packed)
    if packed:
        shape, batch = (sum(packed), 4), packed[0]
    else:
        shape = (batch, times, 4) if batch_first else (times, batch, 4)
    hx = initial(layer, batch, torch.float64) if state else None
    h0, c0 = hx if isinstance(hx, tuple) else (hx, None)
    weights = [w.detach() for w in layer._flat_weights]
    name = cell.removesuffix("_projected")
    arguments = (name, random(*shape, dtype=torch.float64), sizes, h0, c0, weights, True, bidirectional, batch_first)
    output, h_n, c_n, _ = ops.forward(*arguments, False)
    incoming = [torch.randn_like(output), torch.randn_like(h_n), torch.randn_like(c_n) if c_n.numel() else None]
    return arguments, incoming


OPTIONS = [
    {},
    {"state": False},
    {"bidirectional": True, "batch_first": True},
    {"packed": [3, 3, 2, 2, 1]},
    {"packed": [3, 3, 2, 2, 1], "bidirectional": True},
    {"packed": [3, 3, 2, 2, 1], "bidirectional": True, "state": False},
    {"times": 1, "batch": 1},
    {"hidden": 150, "batch": 7, "times": 20, "bidirectional": True},
]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_as_the_cpu_kernels(emulated, cell, options, recompute):
    arguments, incoming = _arguments(cell, **options)
    expected = _run(ops, arguments, incoming, torch.float64)
    computed = _run(emulated, arguments, incoming, torch.float64, recompute)
    for want, got in zip(expected, computed, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


# Rounding of weights, inputs and states to the dtype: a few units in its last place.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("cell", CELLS)
def test_narrower_numbers(emulated, cell, dtype, tolerance):
    arguments, incoming = _arguments(cell, bidirectional=True)
    rounded = [a.to(dtype).double() if isinstance(a, torch.Tensor) and a.is_floating_point() else a for a in arguments]
    rounded[5] = [w.to(dtype).double() for w in arguments[5]]
    incoming = [None if d is None else d.to(dtype).double() for d in incoming]
    expected = _run(ops, rounded, incoming, torch.float64)
    with gpu.tf32(False):
        computed = _run(emulated, rounded, incoming, dtype)
    for want, got in zip(expected, computed, strict=True):
        assert got.dtype == dtype
        assert (got.double() - want).abs().max() <= tolerance * max(1.0, float(want.abs().max()))


@pytest.mark.parametrize("packed", [None, list(range(600, 0, -20))], ids=["padded", "packed"])
@pytest.mark.parametrize("cell", CELLS)
def test_recompute_over_several_checkpoints(emulated, cell, packed):
    """A checkpoint stands for 8 steps at least."""
    arguments, incoming = _arguments(cell, times=20, batch=300, bidirectional=True, packed=packed)
    saved = _run(emulated, arguments, incoming, torch.float64)
    recomputed = _run(emulated, arguments, incoming, torch.float64, recompute=True)
    for want, got in zip(saved, recomputed, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


# A unit in the last place, TF32's for float32.
UNIT = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-10}


def _check_persistent(emulated, monkeypatch, kernel, arguments, incoming, dtype):
    """As step by step but for the order in which float32 sums are added."""
    with gpu.tf32(True):
        expected = _run(emulated, arguments, incoming, dtype)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    before = emulated.sequences_run()
    for recompute in (False, True):
        with gpu.tf32(True):
            computed = _run(emulated, arguments, incoming, dtype, recompute)
        assert emulated.sequences_run() > before, "the layer fits no team, so these were steps"
        for want, got in zip(expected, computed, strict=True):
            error = (got.double() - want.double()).abs().max()
            assert error <= 4 * UNIT[dtype] * max(1.0, float(want.double().abs().max()))


@pytest.mark.parametrize("dtype", UNIT, ids=str)
@pytest.mark.parametrize("kernel", ["block", "cluster", "grid"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"state": False, "batch": 1},
        {"hidden": 40, "batch": 20, "bidirectional": True, "batch_first": True},
        {"hidden": 90, "batch": 35, "times": 3},
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in ("gru_reset_before", "lstm_projected")])
def test_persistent_kernels(emulated, monkeypatch, cell, options, kernel, dtype):
    """Weights on the chip for a whole sequence."""
    _check_persistent(emulated, monkeypatch, kernel, *_arguments(cell, **options), dtype)


@pytest.mark.parametrize(
    ("kernel", "cell", "hidden"),
    [("cluster", "lstm", 300), ("cluster", "lstm", 500), ("cluster", "gru", 600), ("grid", "lstm", 700)],
)
def test_larger_teams(emulated, monkeypatch, kernel, cell, hidden):
    """Of 4, 16, 16 and 22 blocks."""
    arguments = _arguments(cell, hidden=hidden, times=2)
    _check_persistent(emulated, monkeypatch, kernel, *arguments, torch.float16)


def test_float32_as_such_goes_step_by_step(emulated, monkeypatch):
    arguments, incoming = _arguments("lstm")
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "block")
    before = emulated.sequences_run()
    with gpu.tf32(False):
        _run(emulated, arguments, incoming, torch.float32)
    assert emulated.sequences_run() == before


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_persistent_kernels_over_several_checkpoints(emulated, monkeypatch, cell):
    arguments = _arguments(cell, times=20, batch=300, bidirectional=True)
    _check_persistent(emulated, monkeypatch, "block", *arguments, torch.float16)


def test_unknown_kernel(emulated, monkeypatch):
    arguments, incoming = _arguments("lstm")
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "warp")
    with pytest.raises(ValueError, match="must be step, block, cluster or grid, got warp"):
        _run(emulated, arguments, incoming, torch.float16)
