"""A mistake is checked in Python before a layer runs, and in C++ by the operators: in the same words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastrnn import functional, ops

WEIGHTS = [torch.zeros(12, 3), torch.zeros(12, 4), torch.zeros(12), torch.zeros(12)]
RIGHT: dict[str, Any] = {
    "input": torch.zeros(5, 2, 3),
    "hx": torch.zeros(1, 2, 4),
    "weights": WEIGHTS,
    "batch_sizes": None,
}
PACKED = {"input": torch.zeros(3, 3)}
MISTAKES: dict[str, dict[str, Any]] = {
    "rank of the input": {"input": torch.zeros(5, 3)},
    "rank of a packed input": {"input": torch.zeros(5, 2, 3), "batch_sizes": torch.tensor([2, 1])},
    "features": {"input": torch.zeros(5, 2, 4)},
    "dtype of the input": {"input": torch.zeros(5, 2, 3, dtype=torch.float64)},
    "integers as input": {"input": torch.zeros(5, 2, 3, dtype=torch.int32)},
    "no steps": {"input": torch.zeros(0, 2, 3)},
    "rank of the state": {"hx": torch.zeros(2, 4)},
    "size of the state": {"hx": torch.zeros(1, 3, 4)},
    "features of the state": {"hx": torch.zeros(1, 2, 5)},
    "dtype of the state": {"hx": torch.zeros(1, 2, 4, dtype=torch.float64)},
    "number of weights": {"weights": WEIGHTS[:3]},
    "no weights": {"weights": []},
    "rank of a weight": {"weights": [torch.zeros(12), *WEIGHTS[1:]]},
    "rank of a recurrent weight": {"weights": [WEIGHTS[0], torch.zeros(12), *WEIGHTS[2:]]},
    "dtype of a recurrent weight": {"weights": [WEIGHTS[0], WEIGHTS[1].bfloat16(), *WEIGHTS[2:]]},
    "dtype of a bias": {"weights": [*WEIGHTS[:3], WEIGHTS[3].double()]},
    "no packed steps": {"input": torch.zeros(0, 3), "batch_sizes": torch.zeros(0, dtype=torch.int64), "hx": None},
    "batch_sizes of another dtype": PACKED | {"batch_sizes": torch.tensor([2, 1], dtype=torch.int32)},
    "batch_sizes of another rank": PACKED | {"batch_sizes": torch.tensor([[2, 1]])},
    "batch_sizes that increase": PACKED | {"batch_sizes": torch.tensor([1, 2]), "hx": None},
    "batch_sizes of another sum": PACKED | {"batch_sizes": torch.tensor([2, 2])},
}


def by_function(operands: dict[str, Any], device: str | None) -> None:
    input, hx, weights = (moved(operands[name], device) for name in ("input", "hx", "weights"))
    functional.gru(input, hx, weights, batch_sizes=operands["batch_sizes"])


def by_operator(operands: dict[str, Any]) -> None:
    input, batch_sizes, h0, weights = (operands[name] for name in ("input", "batch_sizes", "hx", "weights"))
    ops.forward("gru", input, batch_sizes, h0, None, weights, True, False, False, False)


def moved(value: Any, device: str | None) -> Any:
    """``value`` on ``device``, or where it is without one."""
    if isinstance(value, list):
        return [moved(each, device) for each in value]
    return value if value is None or device is None else value.to(device)


def error(call: Callable[[], None]) -> tuple[type, str]:
    """The error's type and its first line."""
    with pytest.raises((RuntimeError, ValueError, IndexError)) as raised:
        call()
    return type(raised.value), str(raised.value).splitlines()[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_layers_and_operators_say_the_same(mistake: str) -> None:
    operands = RIGHT | MISTAKES[mistake]
    expected = error(lambda: by_operator(operands))
    assert error(lambda: by_function(operands, "cpu")) == expected
    assert error(lambda: by_function(operands, "meta")) == expected


@pytest.mark.parametrize("name", ["h0", "weight_ih", "weight_hh", "bias_hh"])
def test_an_operand_on_another_device_is_named_in_the_same_words(name: str) -> None:
    if name == "h0":
        operands = RIGHT | {"hx": RIGHT["hx"].to("meta")}
    else:
        place = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"].index(name)
        operands = RIGHT | {"weights": [w.to("meta") if i == place else w for i, w in enumerate(WEIGHTS)]}
    expected = RuntimeError, f'Expected {name} on the input\'s device cpu, got meta; move it there with .to("cpu")'
    assert error(lambda: by_operator(operands)) == expected
    assert error(lambda: by_function(operands, None)) == expected


def test_the_operands_are_right_otherwise() -> None:
    by_function(RIGHT, "cpu")
    by_operator(RIGHT)
