"""A mistake is checked in Python before a layer runs, and in C++ by the operators: in the same words."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from fastrnn import functional, ops

RIGHT: dict[str, Any] = {
    "input": torch.zeros(5, 2, 3),
    "hx": torch.zeros(1, 2, 4),
    "weights": [torch.zeros(12, 3), torch.zeros(12, 4), torch.zeros(12), torch.zeros(12)],
    "batch_sizes": None,
}
PACKED = {"input": torch.zeros(3, 3)}
MISTAKES: dict[str, dict[str, Any]] = {
    "rank of the input": {"input": torch.zeros(5, 3)},
    "rank of a packed input": {"input": torch.zeros(5, 2, 3), "batch_sizes": torch.tensor([2, 1])},
    "features": {"input": torch.zeros(5, 2, 4)},
    "no steps": {"input": torch.zeros(0, 2, 3)},
    "size of the state": {"hx": torch.zeros(1, 3, 4)},
    "features of the state": {"hx": torch.zeros(1, 2, 5)},
    "batch_sizes of another dtype": PACKED | {"batch_sizes": torch.tensor([2, 1], dtype=torch.int32)},
    "batch_sizes of another rank": PACKED | {"batch_sizes": torch.tensor([[2, 1]])},
    "batch_sizes that increase": PACKED | {"batch_sizes": torch.tensor([1, 2]), "hx": None},
    "batch_sizes of another sum": PACKED | {"batch_sizes": torch.tensor([2, 2])},
}


def by_function(operands: dict[str, Any], device: str) -> None:
    input, hx, weights = (moved(operands[name], device) for name in ("input", "hx", "weights"))
    functional.gru(input, hx, weights, batch_sizes=operands["batch_sizes"])


def by_operator(operands: dict[str, Any]) -> None:
    input, batch_sizes, h0, weights = (operands[name] for name in ("input", "batch_sizes", "hx", "weights"))
    ops.forward("gru", input, batch_sizes, h0, None, weights, True, False, False, False)


def moved(value: Any, device: str) -> Any:
    if isinstance(value, list):
        return [moved(each, device) for each in value]
    return value if value is None else value.to(device)


def expectation(call: Callable[[], None]) -> str:
    """What the error's first line says was expected."""
    with pytest.raises(RuntimeError) as raised:
        call()
    return str(raised.value).splitlines()[0].partition(", got")[0]


@pytest.mark.parametrize("mistake", MISTAKES)
def test_layers_and_operators_say_the_same(mistake: str) -> None:
    operands = RIGHT | MISTAKES[mistake]
    expected = expectation(lambda: by_operator(operands))
    for device in ("cpu", "meta"):
        assert expectation(lambda device=device: by_function(operands, device)) == expected  # type: ignore[misc]


def test_the_operands_are_right_otherwise() -> None:
    by_function(RIGHT, "cpu")
    by_operator(RIGHT)
