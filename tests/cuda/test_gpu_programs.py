"""The programs of bench/gpu, as far as a machine without a GPU allows: rows, processes, verdicts, times, files."""

import json
import os
import shutil
import subprocess
import sys
from importlib import metadata
from itertools import product
from pathlib import Path

import pytest
import torch

from bench.gpu import layers, one, pages, processes, run, small_shapes, smoke, sweep
from bench.gpu.layers import Layer
from fastrnn._core import gpu
from fastrnn._verify import Case
from fastrnn._verify.cases import Shape

ROOT = Path(__file__).parents[2]
TINY = Layer("step", "LSTM", "bfloat16", 4, 3, 2, 5)
# A worker without torch: it answers with the row and a variable, dies at "crash" and is silent at "hang".
WORKER = """
import json, os, sys, time
for line in sys.stdin:
    row = json.loads(line)
    if row[0] == "crash": sys.exit("illegal memory access")
    if row[0] == "hang": time.sleep(60)
    status = "passed" if row[0] != "wrong" or os.environ.get("CUDA_LAUNCH_BLOCKING") else "failed"
    print(json.dumps({"status": status, "row": row}), flush=True)
"""
COMMAND = [sys.executable, "-S", "-c", WORKER]


def results(*rows, limit=30.0, start=60.0):
    return list(processes.results(COMMAND, rows, limit, start=start))


class TestProcesses:
    def test_every_row_is_answered_in_order(self):
        assert [found["row"] for found in results(["a", 1], ["b", 2])] == [["a", 1], ["b", 2]]

    def test_a_row_that_crashes_is_lost_and_no_other(self):
        first, lost, last = results(["a"], ["crash"], ["b"])
        assert (first["row"], last["row"]) == (["a"], ["b"])
        assert lost == {"status": "lost", "error": "exit status 1: illegal memory access"}

    def test_a_row_that_hangs_is_killed(self):
        lost, last = results(["hang"], ["b"], limit=0.1, start=1.5)
        assert lost == {"status": "lost", "error": "no answer in time, killed"}
        assert last["row"] == ["b"]

    def test_what_always_crashes_is_given_up(self):
        found = results(*[["crash"]] * 6)
        assert [each["status"] for each in found] == ["lost"] * 3 + ["not run"] * 3

    def test_the_worker_ends_with_who_asked(self):
        answers = processes.results(COMMAND, [["a"], ["hang"]], 60)
        next(answers)
        answers.close()  # returns, though the worker would sleep for a minute

    def test_lines_of_a_file(self, tmp_path):
        file = tmp_path / "new" / "rows.jsonl"
        for i in range(2):
            processes.append(file, {"i": i})
        assert processes.read(file) == [{"i": 0}, {"i": 1}]


class TestSmoke:
    def test_rows(self):
        found = {kernel: list(smoke.rows(kernel)) for kernel in smoke.KERNELS}
        assert {kernel: len(each) for kernel, each in found.items()} == {
            "step": 3 * 5 * 3 * 4 + 2 * 5 * 3 * 3,
            "block": 3 * 3 * 3,
            "cluster": 3 * 3 * 3 * 3,
            "grid": 3 * 4 * 3 * 3,
        }
        assert len({row for each in found.values() for row in each}) == 486
        assert all(row.kernel.partition(":")[0] == kernel for kernel, each in found.items() for row in each)

    @pytest.mark.parametrize(
        "lacking",
        [
            {},
            {"options": "resets"},
            {"options": "masks"},
            {"options": "heads"},
            {"options": "resets", "layer_norm": True, "H": 40},
            {"options": "masks", "layer_norm": True, "H": 40},
            {"options": "heads", "layer_norm": True, "H": 40},
        ],
        ids=str,
    )
    @pytest.mark.parametrize("dtype", smoke.STEP_DTYPES)
    @pytest.mark.parametrize("cell", layers.CELLS)
    def test_right_numbers_pass(self, cell, dtype, lacking):
        found = smoke.check(TINY._replace(cell=cell, dtype=dtype, **lacking), "cpu")
        assert found["status"] == "passed", found
        assert 0 <= found["error"] <= found["allowed"]

    @pytest.mark.parametrize(
        ("wrong", "by"), [("output", 1.1), ("h_n", float("nan")), ("d_input", 1.1), ("d_weight_hh_l0_reverse", 1.1)]
    )
    def test_wrong_numbers_fail(self, wrong, by, monkeypatch):
        right = smoke.computed

        def planted(layer, device, round_to):
            found = right(layer, device, round_to)
            return found | ({wrong: by * found[wrong]} if layer.kernel == "step" else {})

        monkeypatch.setattr(smoke, "computed", planted)
        found = smoke.check(TINY, "cpu")
        assert (found["status"], found["tensor"]) == ("failed", wrong)

    @pytest.mark.parametrize(
        ("wrong", "options"),
        [
            *product(
                ["every_c", "d_h_0", "d_learned_h_0", "d_weight_hh_l0", "d_bias_hh_l0"], ["resets", "masks", "heads"]
            ),
            *product(["d_weight_norm_hh_l0", "d_bias_norm_c_l0"], ["resets", "masks", "heads"]),
        ],
    )
    def test_wrong_numbers_of_options_fail(self, wrong, options, monkeypatch):
        right = smoke.computed

        def planted(layer, device, round_to):
            found = right(layer, device, round_to)
            return found | ({wrong: 1.1 * found[wrong]} if layer.kernel == "step" else {})

        monkeypatch.setattr(smoke, "computed", planted)
        found = smoke.check(TINY._replace(options=options, layer_norm="norm" in wrong, H=40), "cpu")
        assert (found["status"], found["tensor"]) == ("failed", wrong)

    @pytest.mark.parametrize("lacking", [{}, {"options": "resets"}], ids=str)
    def test_all_of_a_layer_is_on_its_device(self, lacking, monkeypatch):
        """Without a GPU: "meta" is another device than the CPU, too, and holds no numbers."""
        seen = []

        def called(layer, module, input, hx):
            states = hx if isinstance(hx, tuple) else (hx,)
            seen.extend([input, *states, *module.parameters(), layer.resets("meta")])
            return [input * sum(p.sum() for p in module.parameters()), sum(states)]

        monkeypatch.setattr(smoke, "called", called)
        monkeypatch.setattr(torch.Tensor, "any", lambda weight: False)  # every weight has a value to learn
        monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: tensor)
        layer = TINY._replace(**lacking)
        smoke.computed(layer, "meta", round_to=layer)
        assert {tensor.device.type for tensor in seen} == {"meta"}

    def test_torch_computes_once_for_all_teams(self, monkeypatch):
        right, asked = smoke.computed, []
        monkeypatch.setattr(
            smoke, "computed", lambda layer, *rest, **kind: asked.append(layer) or right(layer, *rest, **kind)
        )
        smoke.by_torch.cache_clear()
        teams = [TINY._replace(kernel=kernel) for kernel in ("cluster:2", "cluster:4", "cluster:16")]
        assert {smoke.check(layer, "cpu")["status"] for layer in teams} == {"passed"}
        torchs = TINY._replace(kernel="torch")
        assert asked == [torchs._replace(dtype="float64"), torchs, *teams]

    def test_a_team_that_does_not_fit_is_said_so_and_not_run(self, monkeypatch):
        monkeypatch.setattr(Layer, "team", lambda layer, device, backward: [] if backward else [4, 8, 1000])
        found = smoke.check(TINY._replace(kernel="cluster:4"), "cuda")
        assert found == {"status": "fell back", "teams": [[4, 8, 1000], []]}

    def test_what_fails_runs_once_more_blocking(self, monkeypatch):
        chosen = [TINY._replace(kernel=name) for name in ("fine", "wrong", "crash")]
        monkeypatch.setattr(smoke, "rows", lambda kernel: iter(chosen))
        fine, wrong, crashed = smoke.run("step", COMMAND, 30)
        assert [found["status"] for found in (fine, wrong, crashed)] == ["passed", "failed", "lost"]
        assert "again" not in fine
        assert wrong["again"]["status"] == "passed"
        assert crashed["again"]["error"] == "exit status 1: illegal memory access"
        assert wrong["layer"] == "wrong LSTM bfloat16 4x3x2x5"

    def test_the_program(self, tmp_path, monkeypatch, capsys):
        """With a real worker, on the CPU's own kernels."""
        monkeypatch.setattr(smoke, "rows", lambda kernel: iter([TINY, TINY._replace(cell="GRU", dtype="float64")]))
        monkeypatch.chdir(ROOT)
        file = tmp_path / "smoke.jsonl"
        assert smoke.main(["--out", str(file), "--kernels", "step", "--device", "cpu"]) == 0
        assert [(row["cell"], row["status"]) for row in processes.read(file)] == [("LSTM", "passed"), ("GRU", "passed")]
        assert capsys.readouterr().out == "step: 2 passed\n"

    @pytest.mark.parametrize(("statuses", "code"), [(["passed", "fell back"], 0), (["fell back"], 1), (["lost"], 1)])
    def test_the_exit_code(self, statuses, code, tmp_path, monkeypatch):
        monkeypatch.setattr(smoke, "run", lambda kernel, command: ({"layer": "", "status": s} for s in statuses))
        assert smoke.main(["--out", str(tmp_path / "a"), "--kernels", "grid"]) == code

    def test_an_unknown_kernel_is_named(self, capsys):
        with pytest.raises(SystemExit):
            smoke.main(["--kernels", "step,warp"])
        assert "--kernels are of step, block, cluster, grid; got warp" in capsys.readouterr().err


class TestSweep:
    def test_rows(self):
        found = list(sweep.rows())
        assert len(set(found)) == len(found) == 3 * 3 * 6 * (8 * 4 + 3)
        assert [row.kernel for row in found[:5]] == list(sweep.KERNELS)
        assert len({row[1:] for row in found[:5]}) == 1
        assert {row.H for row in found if row.kernel == "block"} == {64, 128, 192}

    def test_what_tells_most_comes_first(self):
        """Every dtype of the LSTM, then of the GRU, at few sizes from end to end."""
        first = list(sweep.rows())[: 2 * 3 * 3 * (4 * 4 + 1)]
        lstm, gru = first[: len(first) // 2], first[len(first) // 2 :]
        for rows, cell in ((lstm, "LSTM"), (gru, "GRU")):
            assert {row.cell for row in rows} == {cell}
            assert {(row.dtype, row.H, row.B) for row in rows} == {*product(sweep.DTYPES, *sweep.FIRST[2:])}
            assert {row.kernel for row in rows} == set(sweep.KERNELS)

    def test_a_step_and_a_call(self, monkeypatch):
        """A clock on which a call takes 50 µs and a step 2, of which the host is busy for 1."""

        def of_length(module, input, name, clock):
            return {"seconds": 50e-6 + len(input) * 2e-6, "host": len(input) * 1e-6}

        monkeypatch.setattr(sweep, "of_length", of_length)
        found = sweep.measure(TINY, "cpu")
        for name in sweep.PASSES:
            of = {key: found[name][key] for key in ("step", "call", "host")}
            assert of == pytest.approx({"step": 2, "call": 50, "host": 1})
        assert found["status"] == "measured"

    @pytest.mark.parametrize("kernel", ["torch", "step"])
    def test_the_gradients_alone_are_those_of_every_call(self, kernel):
        """One pass forward serves all turns."""
        layer = TINY._replace(kernel=kernel, dtype="float32")
        run = sweep.backward(layer.make("cpu"), layer.input("cpu"))
        first, second = run(), run()
        assert all(gradient.abs().sum() > 0 for gradient in first)
        assert all(map(torch.equal, first, second))

    @pytest.mark.parametrize("kernel", ["torch", "step"])
    def test_real_times(self, kernel):
        found = sweep.measure(TINY._replace(kernel=kernel), "cpu", lengths=(2, 40))
        assert all(seconds > 0 for name in sweep.PASSES for seconds in found[name]["seconds"].values())

    def test_what_falls_back_is_not_measured(self, monkeypatch):
        monkeypatch.setattr(Layer, "team", lambda layer, device, backward: [] if backward else [4, 8, 1000])
        monkeypatch.setattr(sweep, "of_length", lambda *arguments: {"seconds": 1.0, "host": 1.0})
        found = sweep.measure(TINY._replace(kernel="cluster"), "cpu")
        assert found["backward"] == "fell back"
        assert found["forward"]["seconds"] == {"128": 1.0, "512": 1.0}

    def test_what_no_team_fits_is_not_even_made(self, monkeypatch):
        monkeypatch.setattr(Layer, "team", lambda layer, device, backward: [])
        monkeypatch.delattr(Layer, "drawn")
        found = sweep.measure(TINY._replace(kernel="grid"), "cpu")
        assert (found["forward"], found["backward"], found["status"]) == ("fell back", "fell back", "measured")

    def test_a_budget_ends_it_and_every_row_is_in_the_file(self, tmp_path, capsys):
        file = tmp_path / "sweep.jsonl"
        chosen = [TINY._replace(T=T) for T in (1, 2, 3)]
        assert sweep.sweep(chosen, COMMAND, file, budget=0) == 1  # "passed" is no measurement
        assert [row["T"] for row in processes.read(file)] == [1]
        assert "1 of 3 rows" in capsys.readouterr().out

    def test_the_table(self, tmp_path, capsys):
        file = tmp_path / "sweep.jsonl"
        times = {"torch": 8.0, "step": 12.0, "cluster": 2.5}
        processes.append(file, TINY._replace(B=64, H=512)._asdict() | {"status": "lost"})
        processes.append(file, TINY._replace(cell="GRU", H=512)._asdict() | {"status": "lost"})  # which comes later
        for kernel in sweep.KERNELS:
            row = TINY._replace(kernel=kernel, B=32, H=512)._asdict() | {"forward_team": [8, 16, 1]}
            taken = {"step": times[kernel]} if kernel in times else "fell back"
            processes.append(file, row | {"status": "measured", "forward": taken, "backward": taken})
        assert sweep.main(["--render", str(file)]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "### LSTM, bfloat16: µs a step, forward / backward"
        assert lines[4] == "| 512 | 32 | 8.00 / 8.00 | 12.00 / 12.00 | 2.50 / 2.50 | – / – | – / – | 8, 8 |"
        assert "lost / lost" in lines[5]


class TestLayers:
    def test_the_kernel_is_asked_for_and_then_as_before(self, monkeypatch):
        monkeypatch.setenv(gpu.KERNEL, "grid")
        with TINY._replace(kernel="cluster:4").kernel_asked_for("cpu"):
            assert os.environ[gpu.KERNEL] == "cluster:4"
        with TINY._replace(kernel="torch").kernel_asked_for("cpu"):
            assert gpu.KERNEL not in os.environ
        assert os.environ[gpu.KERNEL] == "grid"

    @pytest.mark.parametrize(("dtype", "wanted"), [("tf32", "tf32"), ("float32", "ieee")])
    def test_tf32_is_that_of_both_sides(self, dtype, wanted):
        """Of layers and of the products that the reference is made of."""
        switches = torch.backends.cuda.matmul, torch.backends.cudnn.rnn
        before = [switch.fp32_precision for switch in switches]
        with TINY._replace(dtype=dtype).kernel_asked_for("cuda"):
            assert [switch.fp32_precision for switch in switches] == [wanted] * 2
        assert [switch.fp32_precision for switch in switches] == before

    def test_torch_and_fastrnn_have_the_same_weights(self):
        theirs, ours = (TINY._replace(kernel=kernel).make("cpu") for kernel in ("torch", "step"))
        assert type(theirs) is torch.nn.LSTM
        assert type(ours).__module__.startswith("fastrnn")
        assert all(map(torch.equal, theirs.state_dict().values(), ours.state_dict().values()))

    def test_no_team_without_a_gpu(self):
        assert TINY.team("cpu") is None
        assert TINY._replace(kernel="torch").team("cuda") is None


def test_the_sanitizers_and_the_profilers_layers_run():
    small_shapes.main(["step", "cluster:4"], device="cpu")
    one.main(["grid", "GRU", "bfloat16", "3", "2", "4", "5"], device="cpu")


def test_the_sanitizer_watches_blocks_that_tell_each_other_something(monkeypatch):
    """Several blocks with units each, and no quiet step by step."""
    seen = []
    monkeypatch.setattr(Layer, "team", lambda layer, device, backward: seen.append(layer) or [4, 8, 1])
    monkeypatch.setattr(small_shapes, "run", lambda *arguments: None)
    small_shapes.main(["cluster:4", "grid:4"], device="cpu")
    assert {layer.H for layer in seen} == {40}
    assert {layer.kernel for layer in seen} == {"cluster:4", "grid:4"}
    monkeypatch.setattr(Layer, "team", lambda layer, device, backward: [])
    with pytest.raises(SystemExit, match="no team for grid:4"):
        small_shapes.main(["grid:4"], device="cpu")


def test_the_files_of_the_pages(tmp_path, monkeypatch):
    cases = [Case("gru", torch.float32, Shape(3, 2, 4, 5))]
    monkeypatch.setattr(pages._verify, "all_cases", lambda **options: cases)
    assert pages.verified(tmp_path / "verify.json", device="cpu")
    found = json.loads((tmp_path / "verify.json").read_text())
    assert (found["passed"], len(found["results"])) == (True, 1)

    def measured(works, command, budget, save):
        assert {work.device for work in works} == {"cuda"}
        save({"failed": {}, "rows": [1]})
        return {"failed": {"a": "b"}, "rows": [1, 2], "budget": budget}

    monkeypatch.setattr(pages.results, "run", measured)
    assert not pages.measured(tmp_path / "bench.json", 7)
    assert json.loads((tmp_path / "bench.json").read_text())["rows"] == [1, 2]
    assert {file.name for file in tmp_path.iterdir()} == {"verify.json", "bench.json"}


class TestRun:
    @pytest.fixture
    def stages(self, tmp_path, monkeypatch):
        monkeypatch.setattr(run, "machine", dict)
        return run.Run(tmp_path, limit=60)

    def test_the_order(self, monkeypatch, tmp_path):
        monkeypatch.setattr(run, "tool", lambda name: f"/bin/{name}")
        found = run.stages(tmp_path, left=100)
        names = [stage.name for stage in found]
        assert names == [
            *("compile preflight", "preflight", "build", "smoke"),
            *("tests step", "tests fastest", "tests cluster", "tests grid", "tests block"),
            *("beside torch", "sweep", "ncu cluster", "ncu grid", "verify", "memcheck", "racecheck", "bench"),
        ]
        assert [stage.name for stage in found if stage.beside] == ["verify"]
        assert found[-1].command[-1] == "85"
        assert sum(stage.seconds for stage in found[:5]) < 550

    def test_a_bare_checkout_has_metadata_after_the_build(self, tmp_path):
        """Without it `import fastrnn` says that it is not installed."""
        build = next(stage for stage in run.stages(tmp_path) if stage.name == "build")
        command = [part for part in build.command if part not in ("build_ext", "--inplace")]
        for name in ("setup.py", "build_backend.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
            shutil.copy(ROOT / name, tmp_path)
        shutil.copytree(ROOT / "fastrnn" / "_cell", tmp_path / "fastrnn" / "_cell")
        subprocess.run(command, cwd=tmp_path, env={**os.environ, "FASTRNN_CUDA": "0"}, check=True, capture_output=True)
        (found,) = metadata.distributions(path=[str(tmp_path)])
        assert found.metadata["Name"] == "fastrnn"

    def test_the_tests_are_those_that_run_on_any_device(self):
        """But for those that need packages of the command line."""
        found = {Path(file).stem.removeprefix("test_") for file in run.device_tests()}
        assert found > {"bad_input", "cells", "gradients", "operators", "packed", *run.QUICK_TESTS}
        assert not found & {"cli", "cuda_default", "cuda_on_cpu", "cuda_persistent", "gpu", "gpu_programs"}
        quick = run.device_tests(run.QUICK_TESTS)
        assert [Path(file).name for file in quick] == [f"test_{name}.py" for name in run.QUICK_TESTS]
        assert all((ROOT / file).is_file() for file in quick)

    def test_pytest_takes_no_foreign_plugins(self):
        """As on that machine, where pytest-benchmark warns beside xdist, and warnings are errors."""
        command = [*run.pytest(), "--collect-only", "tests/layers/test_packed.py"]
        command[command.index("cuda")] = "cpu"
        environment = {**os.environ, **run.asked_for("step"), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def test_verdicts(self, stages, tmp_path):
        python = [sys.executable, "-S", "-c"]
        stages.stage(run.Stage("fine", 30, [*python, "print('hello')"], needs_build=False))
        stages.stage(run.Stage("wrong", 30, [*python, "raise SystemExit(3)"], needs_build=False))
        stages.stage(run.Stage("slow", 0.3, [*python, "import time; time.sleep(60)"], needs_build=False))
        stages.stage(run.Stage("missing", 30, ["/no/such/program"], needs_build=False))
        found = json.loads((tmp_path / "summary.json").read_text())["stages"]
        verdicts = {stage["name"]: stage["verdict"] for stage in found}
        expected = {
            "fine": "passed",
            "wrong": "FAILED, exit 3",
            "slow": "FAILED, after 0 s",
            "missing": "FAILED, exit 1",
        }
        assert verdicts == expected
        assert "hello" in (tmp_path / "log.txt").read_text()
        assert not stages.passed

    def test_without_a_build_only_the_rest_runs(self, stages):
        stages.stage(run.Stage("build", 30, ["false"], needs_build=False))
        stages.stage(run.Stage("smoke", 30, ["true"]))
        stages.stage(run.Stage("other", 30, ["true"], needs_build=False))
        verdicts = [stage["verdict"] for stage in stages.summary["stages"]]
        assert verdicts == ["FAILED, exit 1", "not built", "passed"]

    def test_the_limit_of_all(self, stages):
        stages.limit = 0
        stages.stage(run.Stage("late", 30, ["true"]))
        assert stages.summary["stages"][0]["verdict"] == "no time left"

    def test_one_stage_beside_others(self, stages):
        stages.stage(run.Stage("verify", 30, ["true"], beside=True))
        stages.stage(run.Stage("tests", 30, ["true"]))
        stages.finish_those_beside()
        assert [stage["name"] for stage in stages.summary["stages"]] == ["tests", "verify"]
        assert stages.passed

    def test_the_program(self, tmp_path, capsys, monkeypatch):
        assert run.main(["--out", str(tmp_path), "--dry-run", "--only", "smoke,bench"]) == 0
        assert [line.split(" (")[0] for line in capsys.readouterr().out.splitlines()] == ["smoke", "bench"]
        with pytest.raises(SystemExit):
            run.main(["--only", "nothing"])
        assert "--only names stages of compile preflight" in capsys.readouterr().err
        monkeypatch.setattr(run, "machine", dict)
        monkeypatch.setattr(run, "stages", lambda out, left=0: [run.Stage("smoke", 30, ["true"])])
        assert run.main(["--out", str(tmp_path)]) == 0
        assert capsys.readouterr().out.split()[:2] == ["smoke", "passed"]
