"""What `fastrnn verify` allows: all that right computations may differ by, whatever the order in which they add and on
whichever side of zero a ReLU's sum comes out; and not what is wrong.

A plain-torch layer, rounded and spoilt as a test asks, stands in fastrnn's place.
"""

import math
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fastrnn._verify import Case, errors, verify
from fastrnn._verify.cases import SHAPES, Shape
from fastrnn._verify.errors import draw, over_draws
from fastrnn._verify.kinks import Kink, PreActivations, Sides, kinks_of
from fastrnn._verify.monte_carlo import Precision, RandomRounding, WholeGradients, beside_right_ones
from fastrnn._verify.problem import Problem, distances, fastrnn_layer, random_problem
from fastrnn._verify.rounding import TF32_EPS, to_tf32

CPU = torch.device("cpu")
F64, F32, BF16, F16 = torch.float64, torch.float32, torch.bfloat16, torch.float16
KINKED = SHAPES[2]  # two layers of 17 units, 33 rows: in float16 some sum of a ReLU is within rounding of zero
MANY_ROWS = Shape(20, 33, 9, 16)  # a weight's gradient adds up 660 products
PLAIN = Shape(4, 3, 5, 7)
PRECISIONS = {"tf32": TF32_EPS, "bfloat16": 2.0**-7, "float16": 2.0**-10}
Made = Callable[[], Any]  # a context


class StandIn(torch.nn.Module):
    """The parameters of a layer; `stand_in` has it solved by the reference."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        for name, weight in fastrnn_layer(case).named_parameters():
            self.register_parameter(name, torch.nn.Parameter(weight.detach()))


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has layers computed as CUDA kernels round, within contexts that change what they compute."""
    by_module = Problem.by_module
    monkeypatch.setattr(errors, "precision", lambda case, device: precision(case))

    def within(*contexts: Made) -> None:
        def solved(self: Problem, module: torch.nn.Module, device: torch.device) -> dict[str, torch.Tensor]:
            if not isinstance(module, StandIn):
                return by_module(self, module, device)
            with ExitStack() as entered:
                for context in contexts:
                    entered.enter_context(context())
                wide = F64 if self.case.dtype == F64 else F32
                found = self.by_reference(wide, rounding(self.case))
            return {name: value.to(self.case.dtype) for name, value in found.items()}

        monkeypatch.setattr(Problem, "by_module", solved)

    return within


def precision(case: Case) -> Precision:
    """As `errors.precision` on a GPU."""
    return Precision(torch.finfo(F64 if case.dtype == F64 else F32).eps, PRECISIONS.get(case.precision, 0.0))


def rounding(case: Case) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """Of the operands of products."""
    if case.tf32:
        return to_tf32
    return None if case.dtype in (F64, F32) else lambda operand: operand.to(case.dtype).to(operand.dtype)


class OneChain(TorchDispatchMode):
    """Within it every product adds one term after the other, in random order."""

    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func not in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default):
            return func(*args, **(kwargs or {}))
        *start, left, right = args
        total = left.new_zeros(left.size(0), right.size(1))
        for k in torch.randperm(left.size(1), generator=self.generator).tolist():
            total.addr_(left[:, k], right[k])
        return total + start[0] if start else total


@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
@pytest.mark.parametrize("cell", ["gru_reset_before", "coupled_lstm"])
def test_any_order_of_adding_is_right(stand_in: Callable[..., None], cell: str, dtype: torch.dtype) -> None:
    """Twice the error of the reference, which adds up a product of every step, was not enough for one long chain."""
    case = Case(cell, dtype, MANY_ROWS)
    stand_in(OneChain, WholeGradients)
    (result,) = verify([case], layer=StandIn)
    assert result.passed, result.worst
    by_the_reference = over_draws(case, [draw(case, seed, CPU, StandIn) for seed in range(case.draws)])
    assert not by_the_reference.passed
    assert by_the_reference.worst.tensor in ("grad weight_ih_l0", "grad weight_hh_l0")


def test_a_sum_within_rounding_of_zero_may_be_on_either_side(stand_in: Callable[..., None]) -> None:
    case = Case("rnn_relu", F16, KINKED)
    stand_in()
    (result,) = verify([case], layer=StandIn)
    assert result.passed, result.worst
    by_torch = over_draws(case, [draw(case, seed, CPU, StandIn) for seed in range(case.draws)])
    assert by_torch.worst.share > 5


class Kinked(TorchDispatchMode):
    """Within it a ReLU has the derivative of the other side where what it reads is within ``reach`` of ``at``."""

    def __init__(self, at: float, reach: float) -> None:
        super().__init__()
        self.at, self.reach = at, reach
        self.wrong: dict[int, torch.Tensor] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.relu.default:
            result = func(*args)
            self.wrong[result.data_ptr()] = (args[0] - self.at).abs() < self.reach
            return result
        if func is torch.ops.aten.threshold_backward.default:
            gradient, result, _ = args
            return gradient * ((result > 0) ^ self.wrong[result.data_ptr()])
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("dtype", "tf32"), [(F64, False), (F32, False), (F32, True), (BF16, False), (F16, False)])
def test_a_derivative_of_relu_that_is_wrong_away_from_zero_is_refused(
    stand_in: Callable[..., None], dtype: torch.dtype, tf32: bool
) -> None:
    stand_in(lambda: Kinked(0.5, 0.2))
    (result,) = verify([Case("rnn_relu", dtype, PLAIN, tf32=tf32)], layer=StandIn)
    assert not result.passed


def test_a_single_wrong_derivative_of_relu_is_refused(stand_in: Callable[..., None]) -> None:
    """In float32 hardly a sum is within rounding of zero: one unit in 1,122 of a layer that turns is found."""
    case = Case("rnn_relu", F32, Shape(1, 33, 16, 17))
    kinks = []
    for seed in range(case.draws):
        with PreActivations() as found:
            random_problem(case, seed).by_reference(F64)
        kinks.append(found.found[0])
    nearest = float(min(a.abs().min() for a in kinks))
    assert nearest > 1e-5
    stand_in(lambda: Kinked(0.0, nearest * 1.001))
    (result,) = verify([case], layer=StandIn)
    assert not result.passed


class TermDropped(TorchFunctionMode):
    """Within it the gradient of the first weight lacks the term of one step."""

    def __init__(self) -> None:
        super().__init__()
        self.dropped = False

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is torch.nn.functional.linear and not self.dropped:
            self.dropped = True
            args = (args[0], args[1].detach(), *args[2:])
        return func(*args, **(kwargs or {}))


class Changed(TorchDispatchMode):
    """Within it the arguments or the result of an operation are changed."""

    def __init__(self, name: str, arguments: Callable | None = None, result: Callable | None = None) -> None:
        super().__init__()
        self.operation, self.arguments, self.result = getattr(torch.ops.aten, name), arguments, result

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        chosen = func.overloadpacket is self.operation
        found = func(*(self.arguments(*args) if chosen and self.arguments else args), **(kwargs or {}))
        return self.result(found) if chosen and self.result else found


FAULTS = {
    "a term of a weight's gradient missing": TermDropped,
    "biases missing": lambda: Changed("addmm", arguments=lambda bias, *factors: (torch.zeros_like(bias), *factors)),
    "gates exchanged": lambda: Changed("split", result=lambda parts: [parts[1], parts[0], *parts[2:]]),
    "derivative of sigmoid": lambda: Changed("sigmoid_backward", result=lambda gradient: gradient * 1.05),
}


@pytest.mark.parametrize(("dtype", "tf32"), [(F64, False), (F32, False), (F32, True), (BF16, False), (F16, False)])
@pytest.mark.parametrize("cell", ["gru_reset_before", "lstm"])
def test_faults_are_refused_in_every_precision(
    stand_in: Callable[..., None], cell: str, dtype: torch.dtype, tf32: bool
) -> None:
    case = Case(cell, dtype, PLAIN, tf32=tf32)
    stand_in()
    (result,) = verify([case], layer=StandIn)
    assert result.passed, result.worst
    for name, fault in FAULTS.items():
        stand_in(fault)
        (result,) = verify([case], layer=StandIn)
        assert not result.passed, name


@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_of_half_precision_and_relu_a_tenth_is_refused(stand_in: Callable[..., None], dtype: torch.dtype) -> None:
    """Though a unit that turns may change more than that: the reference turns with it."""
    case = Case("rnn_relu", dtype, SHAPES[4])
    stand_in()
    (result,) = verify([case], layer=StandIn)
    assert result.passed, result.worst
    stand_in(lambda: Changed("threshold_backward", result=lambda gradient: gradient * 1.1))
    (result,) = verify([case], layer=StandIn)
    assert not result.passed


@pytest.mark.parametrize("which", ["grad weight_hh_l0", "grad input"])
@pytest.mark.parametrize("cell", ["rnn_relu", "coupled_lstm"])
@pytest.mark.parametrize("dtype", [F64, F32], ids=str)
def test_a_gradient_that_is_off_by_little_is_refused(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, cell: str, which: str
) -> None:
    """By 40 units in the last place, of sums of 660 numbers."""
    right = Problem.by_module

    def off(self: Problem, module: torch.nn.Module, device: torch.device) -> dict[str, torch.Tensor]:
        found = right(self, module, device)
        if not type(module).__module__.startswith("torch."):
            found[which] = found[which] * (1 + 40 * torch.finfo(dtype).eps)
        return found

    monkeypatch.setattr(Problem, "by_module", off)
    (result,) = verify([Case(cell, dtype, MANY_ROWS)])
    assert not result.passed
    assert result.worst.tensor == which


def test_random_rounding_is_as_large_as_a_chain_s() -> None:
    """Over 200 sums of 600 numbers, the root mean square of the error of float32 and of what is drawn."""
    torch.manual_seed(0)
    for mean in (0.0, 0.5):
        left, right = torch.randn(10, 600) + mean, torch.randn(600, 20)
        exact = left.double() @ right.double()
        with OneChain():
            rounded = left @ right
        with RandomRounding(Precision(torch.finfo(F32).eps), 0):
            drawn = left.double() @ right.double()
        actual, predicted = (math.sqrt((found.double() - exact).square().mean()) for found in (rounded, drawn))
        assert 1 < predicted / actual < 2


@pytest.mark.parametrize("shape", [PLAIN, Shape(4, 3, 5, 7, bidirectional=True, ragged=True), KINKED], ids=str)
def test_kinks_are_where_rounding_reaches_and_on_the_layer_s_side(shape: Shape) -> None:
    """Found in the reference itself: where rounding reaches every sum, the sides are those that it took."""
    problem = random_problem(Case("rnn_relu", F64, shape), seed=0)
    exact = problem.by_reference(F64)
    with PreActivations() as read:
        problem.by_reference(F64)
    far, near = (
        kinks_of(problem, exact["output"], lambda eps=eps: RandomRounding(Precision(eps), 0)) for eps in (10, 1e-15)
    )
    last = far[-len(far) // shape.num_layers :]
    assert [kink.on is None for kink in far] == [True] * (len(far) - len(last)) + [False] * len(last)
    assert all(torch.equal(kink.on, sums > 0) for kink, sums in zip(last, read.found[-len(last) :], strict=True))
    assert sum(int(kink.doubtful.sum()) for kink in near) == 0 < sum(int(kink.doubtful.sum()) for kink in far)


def test_doubtful_units_take_the_layer_s_side_or_turn_in_one_of_two_runs() -> None:
    sums, doubtful = torch.tensor([3e-8, -3e-8, 1.0, -1.0]), torch.tensor([True, True, False, False])
    on = torch.tensor([False, True, False, True])
    found = Sides([], 6).turned(sums, Kink(doubtful, on))
    assert found.tolist() == [-sums[0].item(), -sums[1].item(), 1, -1]
    first, second = (Sides([], run).turned(sums, Kink(doubtful, None)) for run in (6, 7))
    assert torch.equal(first.abs(), sums.abs())
    assert torch.equal((first > 0) ^ (second > 0), doubtful)
    assert torch.equal(Sides([]).turned(sums, Kink(doubtful, None)), sums)


@pytest.mark.parametrize("cell", ["rnn_relu", "gru_reset_before", "lstm", "layer_norm_gru"])
def test_one_product_over_all_steps_is_the_sum_of_their_products(cell: str) -> None:
    problem = random_problem(Case(cell, F64, PLAIN), seed=0)
    exact = problem.by_reference(F64)
    with WholeGradients():
        whole = problem.by_reference(F64)
    assert max(distances(whole, exact).values()) < 1e-13


def test_what_is_allowed_grows_with_the_unit_of_the_precision() -> None:
    problem = random_problem(Case("layer_norm_lstm", F32, PLAIN), seed=0)
    exact = problem.by_reference(F64)

    def spread(precision: Precision, seed: int = 0) -> dict[str, float]:
        own, right = beside_right_ones(problem, exact, precision, seed)
        assert max(own.values()) < 1e-12
        return right

    small, large = spread(Precision(1e-10)), spread(Precision(1e-8))
    for name in exact:
        assert small[name] > 0
        assert large[name] == pytest.approx(100 * small[name], rel=1e-2)
    assert spread(Precision(1e-8), 1) != large == spread(Precision(1e-8))
    of_operands = spread(Precision(1e-10, 1e-6))
    assert all(of_operands[name] > 100 * small[name] for name in exact)
