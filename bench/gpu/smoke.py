"""Does each kernel compute the right numbers? Without pytest, in seconds, and whatever crashes or hangs is named.

    python -m bench.gpu.smoke [--out out/smoke.jsonl] [--kernels step,block,cluster,grid] [--device cuda]

Every kernel with teams of forced sizes, by cell, dtype and odd shape: outputs, final states and all gradients against
torch.nn in float64 on the CPU; the step kernels also with what torch.nn lacks (resets, every state, a learned initial
state; beside them recurrent dropout and zoneout; and heads; each with layer normalization too), against the plain-torch
reference there. An error may be twice that of torch.nn, or of the reference, in the same dtype on the same device, and
what rounding explains in any case. A kernel's rows run in a process of its own; a row that fails runs once more by
itself with CUDA_LAUNCH_BLOCKING=1. A line of JSON after every row.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from itertools import product
from pathlib import Path
from threading import Lock
from typing import Any
from unittest import mock

import torch

from bench.gpu import processes
from bench.gpu.layers import CELLS, Layer, masks_from_the_cpu
from fastrnn._bench.contenders import TOLERANCES, relative_errors
from fastrnn._bench.work import described
from fastrnn._core import backend

KERNELS = {
    "step": ("step",),
    "block": ("block:1",),
    "cluster": ("cluster:2", "cluster:4", "cluster:16"),
    "grid": ("grid:1", "grid:2", "grid:4", "grid:16"),
}
DTYPES = ("bfloat16", "float16", "tf32")
STEP_DTYPES = (*DTYPES, "float32", "float64")  # those of the steps alone
# T, B, I, H. No size is a multiple of a tile's; the last two have several rows of the batch and blocks with work left
# over, and T odd and even: h and the sums are in the other of two buffers at the end.
SHAPES = ((1, 1, 7, 9), (6, 5, 7, 40), (17, 35, 33, 90))
LIMIT, AGAIN_LIMIT, MOST_AGAIN = 10, 15, 3  # seconds a row, and of a row that runs again; how many of a kernel's do


def rows(kernel: str) -> Iterator[Layer]:
    """Yields what to run of a kernel, the quickest first."""
    dtypes, options = (STEP_DTYPES, ("", "resets", "masks", "heads")) if kernel == "step" else (DTYPES, ("",))
    for shape, forced, dtype, cell, with_them in product(SHAPES, KERNELS[kernel], dtypes, CELLS, options):
        yield Layer(forced, cell, dtype, *shape, with_them)
    if kernel == "step":  # not over 9 numbers: two right computations differ too much there (docs/adr/0038)
        for shape, dtype, cell, with_them in product(SHAPES[1:], STEP_DTYPES, CELLS, options[1:]):
            yield Layer("step", cell, dtype, *shape, with_them, True)


def check(layer: Layer, device: str) -> processes.Found:
    """Runs a layer; its "status" is passed, failed or, where no such team fits, fell back. With the worst error."""
    teams = [layer.team(device, backward) for backward in (False, True)]
    asked_for_team = layer.kernel not in ("torch", "step")
    if device == "cuda" and asked_for_team and not all(teams):
        return {"status": "fell back", "teams": teams}
    exact, peer = by_torch(layer._replace(kernel="torch"), device)
    own = computed(layer, device, round_to=layer)
    theirs, ours = ({n: relative_errors([t[n]], [exact[n]])[0] for n in exact} for t in (peer, own))
    allowed = {name: max(2 * theirs[name], TOLERANCES[layer.dtype]) for name in exact}
    worst = max(exact, key=lambda name: ours[name] / allowed[name] if ours[name] == ours[name] else float("inf"))
    passed = all(ours[name] <= allowed[name] for name in exact)  # a NaN fails, too
    found = {"tensor": worst, "error": ours[worst], "torch": theirs[worst], "allowed": allowed[worst]}
    return {"status": "passed" if passed else "failed", "teams": teams} | found


@cache
def by_torch(layer: Layer, device: str) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Returns what torch computes in float64 on the CPU, and in the layer's dtype on the device: the same for all teams
    of a kernel."""
    exact = computed(layer._replace(dtype="float64"), "cpu", round_to=layer)
    return exact, computed(layer, device, round_to=layer)


def computed(layer: Layer, device: str, round_to: Layer) -> dict[str, torch.Tensor]:
    """Returns output, states and gradients in float64 on the CPU; operands are rounded to the dtype of `round_to`."""
    dtype = round_to.torch_dtype
    module = layer.make(device, bidirectional=True)
    for weight in module.parameters():
        if layer.options and not weight.any():  # a learned initial state, before it has learned
            weight.data = torch.randn(weight.shape, dtype=torch.float64).to(weight.device)
        weight.data = weight.data.to(dtype).to(layer.torch_dtype)
    torch.manual_seed(9)
    sizes = [(layer.T, layer.B, layer.I), *[(2, layer.B, layer.H)] * (1 + described(layer.cell).carries_c)]
    leaves = [torch.randn(size, dtype=torch.float64).to(dtype).to(device, layer.torch_dtype) for size in sizes]
    input, *states = (leaf.requires_grad_() for leaf in leaves)
    with layer.kernel_asked_for(device):
        module.flatten_parameters()
        output, final, *every_c = called(layer, module, input, tuple(states) if len(states) == 2 else states[0])
        outputs = [output, *(final if isinstance(final, tuple) else (final,)), *every_c]
        incoming = [torch.randn(t.shape, dtype=torch.float64).to(dtype).to(t) for t in outputs]
        gradients = torch.autograd.grad(outputs, [input, *states, *module.parameters()], incoming)
    names = ["output", "h_n", "c_n", "every_c"][: len(outputs)]
    names += [f"d_{name}" for name in ["input", "h_0", "c_0"][: 1 + len(states)]]
    learned = {"h_0": "learned_h_0", "c_0": "learned_c_0"}
    names += [f"d_{learned.get(name, name)}" for name, _ in module.named_parameters()]
    return {name: t.detach().double().cpu() for name, t in zip(names, (*outputs, *gradients), strict=True)}


def called(layer: Layer, module: torch.nn.Module, input: torch.Tensor, hx: Any) -> list[Any]:
    """Runs the module: output, final state and, with options, c after every step where there is one."""
    if not layer.lacking_in_torch:
        return list(module(input, hx))
    by_reference = mock.patch.object(backend, "kernels_serve", return_value=False)
    with by_reference if layer.kernel == "torch" else nullcontext(), masks_from_the_cpu():
        output, final, states = module(input, hx, resets=layer.resets(str(input.device)), return_states=True)
    return [output, final] if states.c is None else [output, final, states.c]


def run(kernel: str, command: Sequence[str], limit: float = LIMIT, **options: Any) -> Iterator[processes.Found]:
    """Yields a result for each of a kernel's rows; those that fail have what came of the second time under "again"."""
    chosen, again = list(rows(kernel)), 0
    for layer, found in zip(chosen, processes.results(command, chosen, limit, **options), strict=True):
        if found["status"] in ("failed", "lost") and again < MOST_AGAIN:
            again += 1
            blocking = {**os.environ, "CUDA_LAUNCH_BLOCKING": "1"}
            (found["again"],) = processes.results(command, [layer], AGAIN_LIMIT, **{**options, "environment": blocking})
        yield {"layer": str(layer), **layer._asdict()} | found


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/smoke.jsonl"))
    parser.add_argument("--kernels", default=",".join(KERNELS))
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.worker:
        torch.set_num_threads(1)  # several workers run at once, on small layers
        processes.serve(lambda row: check(Layer(*row), given.device))
        return 0
    kernels = given.kernels.split(",")
    if unknown := set(kernels) - set(KERNELS):
        parser.error(f"--kernels are of {', '.join(KERNELS)}; got {', '.join(sorted(unknown))}")
    given.out.unlink(missing_ok=True)
    command, writing = processes.worker("bench.gpu.smoke", "--device", given.device), Lock()

    def smoke(kernel: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for found in run(kernel, command):
            counts[found["status"]] = counts.get(found["status"], 0) + 1
            with writing:
                processes.append(given.out, found)
                if found["status"] in ("failed", "lost"):
                    print(f"{found['layer']}: {found}", flush=True)
        return counts

    with ThreadPoolExecutor(len(kernels)) as pool:
        counted = dict(zip(kernels, pool.map(smoke, kernels), strict=True))
    for kernel, counts in counted.items():
        print(f"{kernel}: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    return int(any(not counts.get("passed") or set(counts) - {"passed", "fell back"} for counts in counted.values()))


if __name__ == "__main__":
    sys.exit(main())
