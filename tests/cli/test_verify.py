"""`fastrnn verify` finds what is wrong: it covers what it should, and an error planted anywhere makes it fail."""

from typing import Any

import pytest
import torch

from fastrnn._core import autograd
from fastrnn._core.extension import _C
from fastrnn._verify import CELLS, Case, all_cases, parse_cells, verify
from fastrnn._verify.cases import DTYPES, SHAPES, Shape
from fastrnn._verify.errors import TensorError, root_mean_squares, unit_in_last_place
from fastrnn._verify.problem import distances, random_problem
from fastrnn._verify.rounding import to_tf32

PLAIN = Shape(4, 3, 5, 7, num_layers=2, bidirectional=True)
RAGGED = Shape(4, 3, 5, 7, ragged=True)


def test_the_cases_cover_every_cell_dtype_and_awkward_size() -> None:
    found = all_cases()
    assert {(case.cell, case.dtype) for case in found} == {(cell, dtype) for cell in CELLS for dtype in DTYPES}
    assert {case.shape for case in found} == set(SHAPES)
    assert any(case.proj_size for case in found)
    for name, sizes in {"T": {1, 2, 151}, "B": {1, 33}, "H": {1, 3, 17, 129}}.items():
        assert sizes <= {getattr(shape, name) for shape in SHAPES}
    assert {(shape.bidirectional, shape.ragged) for shape in SHAPES} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {case.shape for case in all_cases(quick=True)} < set(SHAPES)


def test_with_tf32_float32_comes_twice() -> None:
    usual, found = all_cases(["gru"]), all_cases(["gru"], tf32=True)
    assert [case for case in found if not case.tf32] == usual
    assert {(case.dtype, case.precision) for case in found if case.tf32} == {(torch.float32, "tf32")}
    assert [case.shape for case in found if case.tf32] == list(SHAPES)


def test_cells_are_read_and_refused() -> None:
    assert parse_cells("gru, lstm") == ["gru", "lstm"]
    with pytest.raises(ValueError, match="got 'mlp'"):
        parse_cells("mlp")


@pytest.mark.parametrize("shape", [PLAIN, RAGGED])
@pytest.mark.parametrize("cell", CELLS)
def test_every_tensor_is_compared(cell: str, shape: Shape) -> None:
    (result,) = verify([Case(cell, torch.float32, shape)])
    states = {"h_n", "c_n"} if CELLS[cell].carries_c else {"h_n"}
    suffixes = [f"l{i}{way}" for i in range(shape.num_layers) for way in ("", "_reverse")[: 1 + shape.bidirectional]]
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", *CELLS[cell].vectors)
    weights = {f"grad {kind}_{suffix}" for kind in kinds for suffix in suffixes}
    expected = {"output", "grad input", *weights} | states | {f"grad {state[0]}_0" for state in states}
    assert {error.tensor for error in result.errors} == expected
    assert all(0 < error.fastrnn < 1e-4 and error.allowed < 1e-4 for error in result.errors)


def test_a_projection_is_compared_too() -> None:
    (result,) = verify([Case("lstm", torch.float32, RAGGED, proj_size=3)])
    assert "grad weight_hr_l0" in {error.tensor for error in result.errors}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("planted", [1.1, float("nan")])
@pytest.mark.parametrize("which", range(3))
def test_a_wrong_forward_pass_is_found(
    monkeypatch: pytest.MonkeyPatch, dtype: torch.dtype, planted: float, which: int
) -> None:
    right = autograd.layer

    def wrong(*arguments: Any) -> tuple[torch.Tensor, ...]:
        found = list(right(*arguments))
        factor = torch.ones_like(found[which])
        factor.view(-1)[found[which].abs().argmax()] = planted
        found[which] = found[which] * factor
        return tuple(found)

    monkeypatch.setattr(autograd, "layer", wrong)
    (result,) = verify([Case("lstm", dtype, RAGGED)])
    assert not result.passed
    assert result.worst.tensor == ("output", "h_n", "c_n")[which]


@pytest.mark.parametrize("which", range(7))
def test_a_wrong_gradient_is_found(monkeypatch: pytest.MonkeyPatch, which: int) -> None:
    right = autograd.layer

    def wrong(call: Any) -> Any:
        operands = list(call.tensors())
        operands[which] = operands[which].view_as(operands[which])
        operands[which].register_hook(lambda gradient: gradient * 1.0001)
        input, h0, c0, *weights = operands
        return right(call.with_tensors(input, h0, c0, weights))

    monkeypatch.setattr(autograd, "layer", wrong)
    (result,) = verify([Case("lstm", torch.float32, RAGGED)])
    names = ["input", "h_0", "c_0", "weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    assert not result.passed
    assert result.worst.tensor == f"grad {names[which]}"


def test_the_limit_is_twice_torch_plus_a_unit_in_the_last_place() -> None:
    assert unit_in_last_place(1.0, torch.float32) == 2.0**-23
    assert unit_in_last_place(1.999, torch.float32) == 2.0**-23
    assert unit_in_last_place(4.0, torch.bfloat16) == 2.0**-5
    assert unit_in_last_place(0.0, torch.float16) > 0
    assert TensorError("output", fastrnn=3.0, torch=1.0, allowed=3.0).share == 1
    (result,) = verify([Case("gru", torch.float32, PLAIN)])
    for error in result.errors:
        unit = error.allowed - 2 * error.torch
        assert 0 < unit <= 2.0**-23 * 16


def test_one_draw_is_luck_and_all_draws_are_not() -> None:
    usual, twice = TensorError("output", 1.0, 1.0, 2.1), TensorError("output", 2.2, 1.0, 2.1)
    unlucky, broken = TensorError("output", 6.0, 1.0, 2.1), TensorError("output", float("inf"), 1.0, 2.1)
    assert root_mean_squares([usual] * 63 + [unlucky]).share < 1
    assert root_mean_squares([usual] * 3 + [unlucky]).share > 1
    assert root_mean_squares([twice] * 64).share > 1
    assert root_mean_squares([usual] * 63 + [broken]).share == float("inf")
    assert all(case.draws >= 4 for case in all_cases())


NEARLY_SINGULAR = Shape(5, 33, 17, 3)  # a deviation of three numbers may be small


@pytest.mark.parametrize(("planted", "passes"), [(1, True), (1 + 1e-3, False)])
def test_few_normalized_numbers_are_no_excuse(monkeypatch: pytest.MonkeyPatch, planted: float, passes: bool) -> None:
    right = autograd.layer

    def off(call: Any, *rest: Any) -> Any:
        input, h0, c0, *weights = call.tensors()
        weights[0] = weights[0].view_as(weights[0])
        weights[0].register_hook(lambda gradient: gradient * planted)
        return right(call.with_tensors(input, h0, c0, weights), *rest)

    monkeypatch.setattr(autograd, "layer", off)
    monkeypatch.setattr(_C, "run_layer", lambda *arguments: None)  # the short way, past autograd.layer
    (result,) = verify([Case("layer_norm_rnn_sigmoid", torch.float32, NEARLY_SINGULAR)])
    assert result.passed == passes
    assert passes or result.worst.tensor == "grad weight_ih_l0"


def test_tf32_is_the_nearest_number_of_ten_bits() -> None:
    exact = torch.randn(10_000) * 2.0 ** torch.randint(-30, 30, (10_000,))
    found = to_tf32(exact)
    assert (found.view(torch.int32) & 0x1FFF == 0).all()
    assert torch.equal(to_tf32(found), found)
    unit = 2.0 ** (exact.abs().log2().floor() - 10)
    assert ((found - exact).abs() <= unit / 2).all()
    assert torch.equal(
        to_tf32(torch.tensor([1 + 2.0**-11, -1 - 2.0**-11])), torch.tensor([1 + 2.0**-10, -1 - 2.0**-10])
    )


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "lstm"])
def test_tf32_rounds_the_products_of_both_passes(cell: str) -> None:
    problem = random_problem(Case(cell, torch.float32, PLAIN), seed=0)
    exact = problem.by_reference(torch.float64)
    plain, rounding = (distances(problem.by_reference(torch.float32, rounded), exact) for rounded in (None, to_tf32))
    assert all(20 * plain[name] < rounding[name] < 0.1 for name in exact)


@pytest.mark.parametrize("cell", ["gru", "gru_reset_before"])
@pytest.mark.parametrize(("planted", "passes"), [(1 + 1e-4, True), (1.02, False)])
def test_with_tf32_its_rounding_is_allowed_and_no_more(
    monkeypatch: pytest.MonkeyPatch, cell: str, planted: float, passes: bool
) -> None:
    right = autograd.layer

    def off(*arguments: Any) -> tuple[torch.Tensor, ...]:
        output, h_n, c_n = right(*arguments)
        return output * planted, h_n, c_n

    monkeypatch.setattr(autograd, "layer", off)
    results = list(verify([Case(cell, torch.float32, RAGGED, tf32=tf32) for tf32 in (False, True)]))
    assert [result.passed for result in results] == [False, passes]
    assert [result.as_json()["dtype"] for result in results] == ["float32", "tf32"]


def test_the_same_case_gives_the_same_errors() -> None:
    case = Case("gru_reset_before", torch.float32, RAGGED)
    first, second = verify([case, case])
    assert first == second
