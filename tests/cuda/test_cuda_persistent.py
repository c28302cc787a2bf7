"""The persistent kernels of the CUDA layers, run on the CPU: they do what the steps do, in teams of any size.

See emulation/library.cpp.
"""

import pytest
import torch

from fastrnn._core import gpu
from tests.cuda.operands import operands, run
from tests.support.twins import PLAIN_CELLS

pytestmark = pytest.mark.usefixtures("one_thread")

# A unit in the last place, TF32's for float32.
UNIT = {torch.float16: 2**-10, torch.bfloat16: 2**-7, torch.float32: 2**-10}


def _check_persistent(emulated, monkeypatch, kernel, given):
    """As step by step, except for the order in which float32 sums are added."""
    dtype = given.input.dtype
    with gpu.tf32(True):
        expected = run(emulated, given)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    before = emulated.calls()["sequences"]
    for recompute in (False, True):
        with gpu.tf32(True):
            computed = run(emulated, given, recompute)
        assert emulated.calls()["sequences"] > before, "the layer fits no team, so these were steps"
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
@pytest.mark.parametrize("cell", [cell for cell in PLAIN_CELLS if cell not in ("gru_reset_before", "lstm_projected")])
def test_persistent_kernels(emulated, monkeypatch, cell, options, kernel, dtype):
    """Weights on the chip for a whole sequence."""
    _check_persistent(emulated, monkeypatch, kernel, operands(cell, **options).to(dtype))


@pytest.mark.parametrize(
    ("kernel", "cell", "hidden"),
    [("cluster", "lstm", 300), ("cluster", "lstm", 500), ("cluster", "gru", 600), ("grid", "lstm", 700)],
)
def test_larger_teams(emulated, monkeypatch, kernel, cell, hidden):
    """Of 4, 16, 16 and 22 blocks."""
    _check_persistent(emulated, monkeypatch, kernel, operands(cell, hidden=hidden, times=2).to(torch.float16))


def test_float32_as_such_goes_step_by_step(emulated, monkeypatch):
    given = operands("lstm").to(torch.float32)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "block")
    before = emulated.calls()["sequences"]
    with gpu.tf32(False):
        run(emulated, given)
    assert emulated.calls()["sequences"] == before


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_persistent_kernels_over_several_checkpoints(emulated, monkeypatch, cell):
    given = operands(cell, times=20, batch=300, bidirectional=True)
    _check_persistent(emulated, monkeypatch, "block", given.to(torch.float16))


@pytest.mark.parametrize("kernel", ["block", "cluster", "grid"])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.usefixtures("small_chunks")
def test_persistent_kernels_over_several_chunks(emulated, monkeypatch, cell, batch_first, kernel):
    """Each begins where the one before it ended."""
    given = operands(cell, times=9, hidden=20, bidirectional=True, batch_first=batch_first)
    _check_persistent(emulated, monkeypatch, kernel, given.to(torch.bfloat16))


UNKNOWN = ["warp", "step:2", "block:2", "cluster:1", "cluster:17", "cluster:", "cluster:4x", "grid:0", "grid:-1"]


@pytest.mark.parametrize("kernel", UNKNOWN)
def test_unknown_kernel(emulated, monkeypatch, kernel):
    given = operands("lstm").to(torch.float16)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    with pytest.raises(ValueError, match=f"must be fastest, step, block, cluster or grid, or .*, got {kernel}$"):
        run(emulated, given)


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
    given = operands(cell, hidden=40, batch=9, times=3, bidirectional=True)
    _check_persistent(emulated, monkeypatch, kernel, given.to(torch.bfloat16))
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

    def test_blocks_without_units_are_not_taken(self, team):
        assert team("cluster", 40, 8, groups=[24])[:2] == [2, 8]
        assert team("cluster:16", 40, 8, groups=[24])[:2] == [16, 8]

    def test_a_cluster_has_the_most_blocks_of_which_all_teams_run_at_once(self, team):
        assert team("cluster", 256, 8, groups=[24])[:2] == [16, 8]
        assert team("cluster", 256, 24, groups=[24])[:2] == [8, 8]
        assert team("cluster", 128, 48, groups=[24])[:2] == [4, 8]

    def test_the_fastest_is_a_cluster_or_else_a_grid(self, team):
        assert team("fastest", 256, 8, groups=[24]) == team("cluster", 256, 8, groups=[24])
        assert team("fastest", 640, 8, groups=[132]) == team("grid", 640, 8, groups=[132])
        assert team("fastest", 1024, 300, groups=[132]) == []  # step by step

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
            assert team("cluster", 64, 8, groups=[24], dtype=torch.float32)[0] == 4


def test_what_the_driver_refuses_is_an_answer(emulated, monkeypatch):
    """No cluster of 16 fits here. The driver says so by an error, which must not be left for torch's next kernel."""
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "cluster:16")
    emulated.set_multiprocessors([12, 12])
    try:
        assert emulated.cuda_team("lstm", torch.float16, 500, 3, False) == []
        assert emulated.last_error() == 0
    finally:
        emulated.set_multiprocessors([18, 6])
