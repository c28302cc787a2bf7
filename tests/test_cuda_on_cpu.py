"""The loops and pointwise kernels of the CUDA layers, run on the CPU against the CPU's own kernels.

See cuda_on_cpu.cpp. What runs on a GPU is tested in test_cuda.py and by every test with `--device cuda`.
"""

from pathlib import Path

import pytest
import torch
from torch.utils.cpp_extension import CUDA_HOME, load

import fastrnn.nn
from fastrnn import ops
from fastrnn._core import gpu
from tests.twins import CELLS, initial, make, random

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def emulated(tmp_path_factory):
    include = Path(CUDA_HOME or "/usr/local/cuda") / "include"
    if not (include / "cuda_fp16.h").exists():
        pytest.skip(f"the headers of CUDA's numbers are not in {include}")
    sources = [
        "tests/cuda_on_cpu.cpp",
        "csrc/torch/arguments.cpp",
        "csrc/torch/layer.cpp",
        "csrc/torch/operators.cpp",
        "csrc/cpu/forked.cpp",
    ]
    sources += [f"csrc/cuda/{name}.cpp" for name in ("direction", "forward", "backward", "passes", "product")]
    load(
        "fastrnn_cuda_on_cpu",
        [str(ROOT / source) for source in sources],
        extra_cflags=["-O1", "-w"],
        extra_include_paths=[str(ROOT / "tests" / "cublas_on_cpu"), str(include)],
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


def _expanded(x):
    """The same input for every row of the batch: rows that lie on one another."""
    return x[:, :1].expand_as(x)


def _unfolded(x):
    """A window that moves by one number a step: rows that overlap."""
    numbers = torch.randn(x.numel(), dtype=x.dtype)
    return numbers.as_strided(x.shape, (x.size(1), 1, 1) if x.dim() == 3 else (1, 1))


def _columns(x):
    """Of a wider matrix: rows that lie further apart than they are wide."""
    wide = torch.randn(*x.shape[:-1], 2 * x.size(-1) + 1, dtype=x.dtype)
    return wide[..., 1 : 1 + x.size(-1)]


def _transposed(x):
    return torch.randn(*x.shape[::-1], dtype=x.dtype).permute(*range(x.dim())[::-1])


LAYOUTS = [_expanded, _unfolded, _columns, _transposed]


@pytest.mark.parametrize("packed", [None, [3, 3, 2, 2, 1]], ids=["padded", "packed"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_the_input(emulated, layout, batch_first, packed):
    """cuBLAS is told how far apart rows lie. It must not be told wrong, nor read what is not the tensor's."""
    options = {"packed": packed, "bidirectional": True, "batch_first": batch_first and not packed}
    (cell, x, *others), incoming = _arguments("lstm", **options)
    x = x[:1].expand_as(x) if packed and layout is _expanded else layout(x)
    assert not x.is_contiguous()
    incoming[0] = incoming[0].flatten()[0].expand_as(incoming[0])  # the gradient of a sum
    expected = _run(ops, (cell, x.contiguous(), *others), [incoming[0].contiguous(), *incoming[1:]], torch.float64)
    for recompute in (False, True):
        computed = _run(emulated, (cell, x, *others), incoming, torch.float64, recompute)
        for want, got in zip(expected, computed, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("cell", CELLS)
def test_tf32_for_matmul_is_not_for_layers(emulated, cell):
    """Each has a switch of its own. torch's handle of cuBLAS comes with that of its own products."""
    arguments, incoming = _arguments(cell, bidirectional=True)
    found = []
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    try:
        for matmul.fp32_precision in ("ieee", "tf32"):
            with gpu.tf32(False):
                found.append(_run(emulated, arguments, incoming, torch.float32))
    finally:
        matmul.fp32_precision = before
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    with gpu.tf32(True):
        rounded = _run(emulated, arguments, incoming, torch.float32)
    assert not torch.equal(rounded[0], found[0][0])


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


UNKNOWN = ["warp", "step:2", "block:2", "cluster:1", "cluster:17", "cluster:", "cluster:4x", "grid:0", "grid:-1"]


@pytest.mark.parametrize("kernel", UNKNOWN)
def test_unknown_kernel(emulated, monkeypatch, kernel):
    arguments, incoming = _arguments("lstm")
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    with pytest.raises(ValueError, match=f"must be step, block, cluster or grid, or .*, got {kernel}$"):
        _run(emulated, arguments, incoming, torch.float16)


@pytest.mark.parametrize(
    ("kernel", "cell"),
    [
        ("block:1", "lstm"),
        ("cluster:2", "gru"),
        ("cluster:4", "lstm"),
        ("cluster:16", "rnn_tanh"),
        ("grid:1", "gru"),
        ("grid:4", "lstm"),
        ("grid:16", "rnn_tanh"),
    ],
)
def test_teams_of_a_forced_size(emulated, monkeypatch, kernel, cell):
    """Also of more blocks than there are units for."""
    arguments = _arguments(cell, hidden=40, batch=9, times=3, bidirectional=True)
    _check_persistent(emulated, monkeypatch, kernel, *arguments, torch.bfloat16)
    team = emulated.cuda_team(cell, torch.bfloat16, 40, 9, True)
    assert team[0] == int(kernel.partition(":")[2])


class TestTeams:
    """How a layer is laid out, by the blocks and clusters that the device says it can run at once."""

    @pytest.fixture(autouse=True)
    def _device(self, emulated):
        yield
        emulated.set_multiprocessors([18, 6])

    @pytest.fixture
    def team(self, emulated, monkeypatch):
        def team(kernel, hidden, batch, *, groups, cell="lstm", dtype=torch.float16, backward=False):
            monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
            emulated.set_multiprocessors(groups)
            return emulated.cuda_team(cell, dtype, hidden, batch, backward)

        return team

    def test_clusters_stay_within_a_group_of_multiprocessors(self, team):
        """24 multiprocessors are three clusters of 8, but not where they are 18 and 6."""
        assert team("cluster:8", 384, 24, groups=[24])[:2] == [8, 8]
        assert team("cluster:8", 384, 24, groups=[18, 6])[:2] == [8, 16]

    def test_there_is_no_team_of_more_blocks_than_any_group_has(self, team):
        assert team("cluster", 500, 3, groups=[18, 6])[0] == 16
        assert team("cluster", 500, 3, groups=[12, 12]) == []

    def test_where_not_all_clusters_run_at_once_they_have_as_many_rows_as_fit(self, team):
        assert team("cluster:8", 256, 1000, groups=[18, 6])[:2] == [8, 32]

    def test_a_grid_runs_at_once_or_not_at_all(self, team):
        assert team("grid:12", 128, 9, groups=[24])[:2] == [12, 8]
        assert team("grid:12", 128, 17, groups=[24])[:2] == [12, 16]
        assert team("grid:12", 128, 65, groups=[24]) == []

    def test_one_buffer_of_h_is_enough_for_a_grid(self, team):
        """With two, an H100 has no place for this layer; blocks that write into each other's need two."""
        assert team("grid", 1024, 32, groups=[132])[0] > 0
        of_a_grid, of_a_cluster = (team(kernel, 128, 8, groups=[24])[2] for kernel in ("grid:4", "cluster:4"))
        assert of_a_cluster - of_a_grid == 8 * (128 + 8) * 2

    def test_steps_have_no_team(self, team):
        assert team("step", 64, 8, groups=[24]) == []
        for layer in ({"dtype": torch.float64}, {"cell": "gru_reset_before"}, {"hidden": 5000}):
            assert team("cluster", **({"hidden": 64, "batch": 8, "groups": [24]} | layer)) == []
        with gpu.tf32(False):
            assert team("cluster", 64, 8, groups=[24], dtype=torch.float32) == []
        with gpu.tf32(True):
            assert team("cluster", 64, 8, groups=[24], dtype=torch.float32)[0] == 2


def test_what_the_driver_refuses_is_an_answer(emulated, monkeypatch):
    """No cluster of 16 fits here. The driver says so by an error, which must not be left for torch's next kernel."""
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "cluster:16")
    emulated.set_multiprocessors([12, 12])
    try:
        assert emulated.cuda_team("lstm", torch.float16, 500, 3, False) == []
        assert emulated.last_error() == 0
    finally:
        emulated.set_multiprocessors([18, 6])


def test_a_kernels_attributes_are_set_once(emulated, monkeypatch):
    """Not at every launch, where it takes as long as a step."""
    arguments, incoming = _arguments("gru")
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "cluster:2")
    _run(emulated, arguments, incoming, torch.float16)
    before = emulated.attributes_set()
    assert before > 0
    for times in (5, 7):
        _run(emulated, *_arguments("gru", times=times), torch.float16)
    assert emulated.attributes_set() == before


def test_a_failed_launch_leaves_no_error_behind(emulated):
    """CUDA keeps it until it is asked; torch asks after its next kernel, which would seem to have failed."""
    arguments, incoming = _arguments("gru")
    expected = _run(emulated, arguments, incoming, torch.float64)
    emulated.fail_next_launch()
    with pytest.raises(RuntimeError, match=r"kernel launch failed: .*torch's own operator runs instead"):
        _run(emulated, arguments, incoming, torch.float64)
    assert emulated.last_error() == 0
    assert all(map(torch.equal, expected, _run(emulated, arguments, incoming, torch.float64)))
