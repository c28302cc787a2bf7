"""One command for a machine with a GPU: measures what the design rests on, builds, checks, measures, verifies.

    python bench/gpu/run.py [--out out] [--limit 550] [--only smoke,sweep] [--dry-run]

Needs torch for CUDA, nvcc, ninja, pybind11, setuptools, pytest and hypothesis, and no network. What decides most comes
first: a stage that fails or hangs costs no other, and each has a time of its own within the limit of all. It leaves at
most nine files: summary.json (written after every stage), log.txt, preflight.jsonl, smoke.jsonl, beside_torch.jsonl,
sweep.jsonl, ncu.txt, verify.json and bench.json. Exits with 0 only if every stage passed.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PYTHON = sys.executable
BUILD = (PYTHON, "setup.py", "egg_info")  # without its metadata the package says that it is not installed
QUICK_TESTS = ("cuda",)  # of the persistent kernels, which serve less
WORKERS = 14  # of pytest, on 16 cores


@dataclass(frozen=True)
class Stage:
    """A command with its time limit in seconds; `beside` runs it together with the stages after it."""

    name: str
    seconds: float
    command: Sequence[str]
    environment: dict[str, str] | None = None
    beside: bool = False
    needs_build: bool = True


def stages(out: Path, left: float = 0) -> list[Stage]:
    """Lists all stages in order; `left` is the seconds that the last may use."""

    def module(name: str, *arguments: object) -> list[str]:
        return [PYTHON, "-m", f"bench.gpu.{name}", *map(str, arguments)]

    preflight = out / "preflight"
    binary, compiled = str(preflight), ["nvcc", "-O3", "-std=c++17", "-arch=native", "bench/gpu/preflight.cu", "-o"]
    found = [
        Stage("compile preflight", 40, [*compiled, binary], needs_build=False),
        Stage("preflight", 20, ["sh", "-c", f"{binary} >{out}/preflight.jsonl; rm {binary}"], needs_build=False),
        Stage("build", 200, [*BUILD, "build_ext", "--inplace"], {"FASTRNN_CUDA": "1"}, needs_build=False),
        Stage("smoke", 90, module("smoke", "--out", out / "smoke.jsonl")),
    ]
    for kernel in ("step", "fastest", "cluster", "grid", "block"):
        tests = device_tests(None if kernel == "step" else QUICK_TESTS)
        found.append(Stage(f"tests {kernel}", 100 if kernel == "step" else 60, [*pytest(), *tests], asked_for(kernel)))
    found.append(Stage("beside torch", 80, module("beside_torch", "--out", out / "beside_torch.jsonl", "--budget", 60)))
    found.append(Stage("sweep", 110, module("sweep", "--out", out / "sweep.jsonl", "--budget", 85)))
    if ncu := tool("ncu"):
        for kernel, sizes in (("cluster", (32, 32, 512, 512)), ("grid", (32, 32, 1024, 1024))):
            watched = module("one", kernel, "LSTM", "bfloat16", *sizes)
            options = [
                "--clock-control",
                "none",
                "--set",
                "detailed",
                "--kernel-name",
                "regex:run_",
                "--launch-skip",
                "2",
            ]
            found.append(Stage(f"ncu {kernel}", 30, [ncu, *options, *watched]))
    found.append(Stage("verify", 240, module("pages", "verify", out / "verify.json"), beside=True))
    if sanitizer := tool("compute-sanitizer"):
        # Without torch's cache of memory, or a read beyond a tensor would be one inside the cache.
        uncached = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
        for check, *options in (("memcheck", "--report-api-errors", "no"), ("racecheck",)):
            watched = [*module("small_shapes"), "cluster:4", "grid:4", "block", "step"]
            command = [sanitizer, "--error-exitcode", "9", "--tool", check, *options, *watched]
            found.append(Stage(check, 60, command, uncached))
    found.append(Stage("bench", 600, module("pages", "bench", out / "bench.json", max(15, round(left - 15)))))
    return found


def device_tests(names: Sequence[str] | None = None) -> list[str]:
    """Finds the test files that run on any device, of these names or all; not those that need the command line's
    packages."""
    files = sorted((ROOT / "tests").rglob("test_*.py"), key=lambda file: file.name)
    runs = re.compile(r'^pytestmark = .*\("(device|on_cuda)"\)|^def test_\w+\(kernels\b', re.MULTILINE)
    needs = re.compile(r"^(from|import) (typer|rich|tests\.cli|fastrnn\.cli|fastrnn import cli)", re.MULTILINE)
    texts = {file: file.read_text() for file in files if names is None or file.stem.removeprefix("test_") in names}
    return [str(file.relative_to(ROOT)) for file, text in texts.items() if runs.search(text) and not needs.search(text)]


def asked_for(kernel: str) -> dict[str, str]:
    return {"FASTRNN_CUDA_KERNEL": kernel, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "OMP_NUM_THREADS": "1"}


def pytest() -> list[str]:
    """Without other packages' plugins: under warnings as errors any of theirs would end the run (pytest-benchmark's
    beside xdist does)."""
    try:
        import xdist  # noqa: F401
    except ImportError:
        workers = []
    else:
        workers = ["-p", "xdist.plugin", "-n", str(WORKERS)]
    return [PYTHON, "-m", "pytest", "-q", "-ra", "--maxfail=30", "--device", "cuda", *workers]


def tool(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/local/cuda/bin")


class Run:
    """The stages as they go; what came of them is in summary.json after each."""

    def __init__(self, out: Path, limit: float) -> None:
        self.out, self.limit, self.start = out, limit, time.monotonic()
        self.summary: dict[str, Any] = {"machine": machine(), "stages": []}
        self.built = True
        self.running: list[tuple[Stage, subprocess.Popen, float]] = []

    def left(self) -> float:
        return self.limit - (time.monotonic() - self.start)

    def stage(self, stage: Stage) -> None:
        seconds = min(stage.seconds, self.left())
        if seconds <= 0 or (stage.needs_build and not self.built):
            self.note(stage, "no time left" if seconds <= 0 else "not built", 0)
            return
        process, start = self.begin(stage), time.monotonic()
        if stage.beside:
            self.running.append((stage, process, start))
        else:
            self.end(stage, process, start, seconds)
            if stage.name == "build":
                self.built = self.summary["stages"][-1]["verdict"] == "passed"

    def begin(self, stage: Stage) -> subprocess.Popen:
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(ROOT), **(stage.environment or {})}
        log = self.out / ("ncu.txt" if stage.name.startswith("ncu") else "log.txt")
        with log.open("a") as lines:
            lines.write(f"== {stage.name}: {' '.join(stage.command)}\n")
            lines.flush()
            try:
                return subprocess.Popen(
                    stage.command, cwd=ROOT, env=environment, stdout=lines, stderr=lines, start_new_session=True
                )
            except OSError as error:
                lines.write(f"{error}\n")
                return subprocess.Popen(["false"])

    def end(self, stage: Stage, process: subprocess.Popen, start: float, seconds: float) -> None:
        try:
            status = process.wait(max(0.1, seconds))
            verdict = "passed" if status == 0 else f"FAILED, exit {status}"
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)  # with the workers that it started
            process.wait()
            verdict = f"FAILED, after {seconds:.0f} s"
        self.note(stage, verdict, time.monotonic() - start)

    def finish_those_beside(self) -> None:
        for stage, process, start in self.running:
            self.end(stage, process, start, min(self.left(), stage.seconds - (time.monotonic() - start)))
        self.running.clear()

    def note(self, stage: Stage, verdict: str, seconds: float) -> None:
        print(f"{stage.name:20} {verdict:24} {seconds:5.0f} s", flush=True)
        self.summary["stages"].append({"name": stage.name, "verdict": verdict, "seconds": round(seconds, 1)})
        (self.out / "summary.json").write_text(json.dumps(self.summary, indent=1) + "\n")

    @property
    def passed(self) -> bool:
        return all(stage["verdict"] == "passed" for stage in self.summary["stages"])


def machine() -> dict[str, str]:
    """Asks each tool for its version; what is missing says so."""
    query = [
        "nvidia-smi",
        "--query-gpu=name,driver_version,clocks.sm,clocks.max.sm,clocks.mem",
        "--format=csv,noheader",
    ]
    asked = {
        "gpu": query,
        "nvcc": ["nvcc", "--version"],
        "torch": [
            PYTHON,
            "-c",
            "import torch; print(torch.__version__, torch.version.cuda, torch.cuda.is_available())",
        ],
        "cuda_home": [PYTHON, "-c", "from torch.utils.cpp_extension import CUDA_HOME; print(CUDA_HOME)"],
        "ninja": ["ninja", "--version"],
    }
    found = {"python": sys.version.split()[0]}
    for name, command in asked.items():
        try:
            said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
            found[name] = said.strip().splitlines()[-1]
        except (OSError, subprocess.SubprocessError, IndexError) as error:
            found[name] = f"none: {error}"
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--limit", type=float, default=550, help="seconds for all stages")
    parser.add_argument("--only", help="names of stages, comma separated; those that need a build take the one there")
    parser.add_argument("--dry-run", action="store_true", help="print the commands")
    given = parser.parse_args(arguments)
    out = given.out.resolve()
    every = [stage.name for stage in stages(out)]
    only = given.only.split(",") if given.only else every
    if unknown := set(only) - set(every):
        parser.error(f"--only names stages of {', '.join(every)}; got {', '.join(sorted(unknown))}")
    if given.dry_run:
        for stage in stages(out, given.limit):
            if stage.name in only:
                print(f"{stage.name} ({stage.seconds:.0f} s): {' '.join(stage.command)}")
        return 0
    out.mkdir(parents=True, exist_ok=True)
    for name in ("log.txt", "ncu.txt"):
        (out / name).unlink(missing_ok=True)
    run = Run(out, given.limit)
    for name in (name for name in every if name in only):
        if name == "bench":
            run.finish_those_beside()  # times are taken alone
        run.stage(next(stage for stage in stages(out, run.left()) if stage.name == name))
    run.finish_those_beside()
    return int(not run.passed)


if __name__ == "__main__":
    sys.exit(main())
