"""The verdict: the error of each tensor, and the error that is allowed."""

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import torch

from fastrnn._core.extension import _C
from fastrnn._verify.cases import Case
from fastrnn._verify.monte_carlo import Precision, beside_right_ones
from fastrnn._verify.problem import Problem, Tensors, distances, fastrnn_layer, random_problem, torch_layer
from fastrnn._verify.rounding import TF32_EPS, to_tf32

EPS_RATIO = torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps
LayerOf = Callable[[Case], torch.nn.Module]
KINDS = {"output": "output", "h_n": "state", "c_n": "state"}  # the others are gradients


@dataclass(frozen=True)
class TensorError:
    """The largest errors in one tensor, and the largest allowed for fastrnn; of several draws the root mean squares."""

    tensor: str
    fastrnn: float
    torch: float
    allowed: float

    @property
    def kind(self) -> str:
        return KINDS.get(self.tensor, "gradient")

    @property
    def share(self) -> float:
        """fastrnn's error as a share of what is allowed."""
        return self.fastrnn / self.allowed


Errors = dict[str, TensorError]


@dataclass(frozen=True)
class Result:
    """The errors of one case."""

    case: Case
    errors: tuple[TensorError, ...]

    @property
    def worst(self) -> TensorError:
        return max(self.errors, key=lambda error: error.share)

    @property
    def passed(self) -> bool:
        return self.worst.share <= 1

    def largest(self, who: str, kind: str) -> float:
        """Returns the largest error of "fastrnn" or "torch" over the tensors of a kind: output, state or gradient."""
        return max(getattr(error, who) for error in self.errors if error.kind == kind)

    def as_json(self) -> dict[str, Any]:
        errors = list(map(asdict, self.errors))
        return asdict(self.case) | {"dtype": self.case.precision, "passed": self.passed, "errors": errors}


def verify(cases: Sequence[Case], device: str = "cpu", layer: LayerOf = fastrnn_layer) -> Iterator[Result]:
    """Runs the cases on a device and yields the result of each. ``layer`` makes what stands in fastrnn's place."""
    for case in cases:
        drawn = [draw(case, seed, torch.device(device), layer) for seed in range(case.draws)]
        result = over_draws(case, drawn)
        if not result.passed:  # torch's luck, or its order of adding, may be to blame
            drawn = [beside_right(case, seed, torch.device(device), layer, each) for seed, each in enumerate(drawn)]
            result = over_draws(case, drawn)
        yield result


def draw(case: Case, seed: int, device: torch.device, layer: LayerOf) -> Errors:
    """Runs the layer, torch and the reference on one problem and compares every tensor with the float64 reference."""
    problem, oracle, theirs = torch_errors(case, seed, device)
    own = distances(problem.by_module(layer(case), device), oracle)
    allowed = {name: 2 * error for name, error in theirs.items()}
    if case.dtype == torch.float64:
        # Twice the estimate of torch's error, and once the reference's own.
        single = torch_errors(replace(case, dtype=torch.float32), seed, device)[2]
        allowed = {name: max(allowed[name], 3 * EPS_RATIO * single[name]) for name in single}
    units = units_in_last_place(oracle, case.dtype)
    return {name: TensorError(name, own[name], theirs[name], allowed[name] + units[name]) for name in oracle}


def beside_right(case: Case, seed: int, device: torch.device, layer: LayerOf, errors: Errors) -> Errors:
    """Allows each error to be twice what right computations may be off by on this problem, where that is more."""
    problem, oracle, _ = torch_errors(case, seed, device)
    found = problem.by_module(layer(case), device)
    own, right = beside_right_ones(problem, found, precision(case, device), seed)
    units = units_in_last_place(oracle, case.dtype)
    return {
        name: replace(error, fastrnn=own[name], allowed=max(error.allowed, 2 * right[name] + units[name]))
        for name, error in errors.items()
    }


def precision(case: Case, device: torch.device) -> Precision:
    """How the kernels of a device round: half precision is widened on the CPU, but where it multiplies bfloat16."""
    eps = torch.finfo(torch.float64 if case.dtype == torch.float64 else torch.float32).eps
    half = case.dtype in (torch.bfloat16, torch.float16)
    if case.tf32 or (half and device.type == "cuda") or multiplies_bfloat16(case, device):
        return Precision(eps, TF32_EPS if case.tf32 else torch.finfo(case.dtype).eps)
    return Precision(eps)


@lru_cache(maxsize=256)  # float64 cases ask for the float32 errors again
def torch_errors(case: Case, seed: int, device: torch.device) -> tuple[Problem, Tensors, dict[str, float]]:
    """Draws a problem and solves it in float64; returns both, and the errors of torch.nn's layer.

    For a cell that torch lacks, the reference in the layer's dtype takes torch's place.
    """
    problem, oracle = solved(replace(case, tf32=False), seed)
    problem = replace(problem, case=case)
    layer = torch_layer(case)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LSTM with projections is not supported with oneDNN")
        rounded = to_tf32 if case.tf32 else None
        found = problem.by_reference(case.dtype, rounded) if layer is None else problem.by_module(layer, device)
    return problem, oracle, distances(found, oracle)


@lru_cache(maxsize=256)  # with TF32 allowed the problem is the same
def solved(case: Case, seed: int) -> tuple[Problem, Tensors]:
    """Draws a problem and solves it in float64."""
    problem = random_problem(case, seed)
    return problem, problem.by_reference(torch.float64)


def multiplies_bfloat16(case: Case, device: torch.device) -> bool:
    """Whether the kernels round the operands of this case's products to bfloat16."""
    return case.dtype == torch.bfloat16 and device.type == "cpu" and _C.instruction_set() == "avx512_bf16"


def over_draws(case: Case, drawn: Sequence[Errors]) -> Result:
    """The errors of a case: of every tensor the root mean squares over the draws."""
    return Result(case, tuple(root_mean_squares([errors[name] for errors in drawn]) for name in drawn[0]))


def root_mean_squares(errors: Sequence[TensorError]) -> TensorError:
    """The errors of one tensor, and the allowed error, as root mean squares over several draws.

    Not the largest: of a layer with one hidden unit that is one number's luck, ours or torch's (docs/adr/0003).
    """

    def mean(values: Iterable[float]) -> float:
        return math.sqrt(sum(value * value for value in values) / len(errors))

    found = (mean(getattr(error, field) for error in errors) for field in ("fastrnn", "torch", "allowed"))
    return TensorError(errors[0].tensor, *found)


def units_in_last_place(true: Tensors, dtype: torch.dtype) -> dict[str, float]:
    """Of each tensor that of its largest value."""
    return {name: unit_in_last_place(float(values.abs().max()), dtype) for name, values in true.items()}


def unit_in_last_place(value: float, dtype: torch.dtype) -> float:
    """Returns the distance from a positive value to the next larger value of this dtype."""
    info = torch.finfo(dtype)
    return info.eps * 2.0 ** math.floor(math.log2(max(value, info.tiny)))
