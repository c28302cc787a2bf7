"""The operator of linear_cross_entropy called by hand, with whatever: a result or an error, as in test_raw_calls.py."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrnn import ops
from tests.support.cross_entropy import F32, F64, exact, problem

RIGHT = {
    "input": torch.linspace(-1, 1, 12).reshape(4, 3),
    "linear_weight": torch.linspace(1, -2, 15).reshape(5, 3),
    "target": torch.tensor([0, 1, 2, 4]),
    "linear_bias": torch.linspace(0, 1, 5),
    "weight": torch.linspace(1, 2, 5),
    "reduction": "mean",
    "ignore_index": -100,
    "label_smoothing": 0.1,
    "needs": [True] * 3,
}
FREED = torch.ones(4, 3)
FREED.untyped_storage().resize_(0)
WRONG = {
    "input of 1 dimension": ({"input": torch.ones(3)}, "2 dimensions"),
    "input that was freed": ({"input": FREED}, "in memory"),
    "input in int64": ({"input": torch.ones(4, 3, dtype=torch.int64)}, "input of dtype"),
    "more features": ({"linear_weight": torch.ones(5, 4)}, "linear_weight size"),
    "no features": ({"input": torch.ones(4, 0), "linear_weight": torch.ones(5, 0)}, "greater than zero"),
    "no classes": ({"linear_weight": torch.ones(0, 3)}, "greater than zero"),
    "weight in float64": ({"linear_weight": torch.ones(5, 3).double()}, "linear_weight of dtype"),
    "fewer targets": ({"target": torch.tensor([1])}, "target size"),
    "target in int32": ({"target": torch.ones(4, dtype=torch.int32)}, "target of dtype"),
    "target too large": ({"target": torch.tensor([0, 1, 2, 5])}, "Target 5 is out of bounds"),
    "target huge": ({"target": torch.tensor([0, 1, 2, 2**62])}, "out of bounds"),
    "target negative": ({"target": torch.tensor([0, 1, 2, -(2**63)])}, "out of bounds"),
    "bias too short": ({"linear_bias": torch.ones(4)}, "linear_bias size"),
    "class weights too short": ({"weight": torch.ones(1)}, "Expected weight size"),
    "reduction": ({"reduction": "max"}, "none, mean or sum"),
    "smoothing": ({"label_smoothing": math.nan}, "label_smoothing"),
    "too few needs": ({"needs": [True]}, "Expected needs"),
    "no bias to derive": ({"linear_bias": None}, "Expected a linear_bias"),
    "gradients of no sum": ({"reduction": "none"}, "Expected a reduction"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_hostile_calls_of_the_operator(change, message):
    with pytest.raises((RuntimeError, ValueError, IndexError), match=message):
        ops.linear_cross_entropy(*(RIGHT | change).values())


def test_hostile_layouts():
    expected = ops.linear_cross_entropy(*RIGHT.values())
    wide = torch.zeros(4, 3, 4099)
    wide[..., 0] = RIGHT["input"]
    shifted = torch.frombuffer(bytearray(b"x" + RIGHT["input"].numpy().tobytes()), dtype=F32, count=12, offset=1)
    changes = [
        {"input": wide[..., 0]},
        {"input": shifted.reshape(4, 3)},  # not aligned
        {"input": RIGHT["input"].t().contiguous().t()},
        {"linear_weight": RIGHT["linear_weight"].t().contiguous().t()},
        {"target": torch.stack([RIGHT["target"]] * 3, 1)[:, 1]},
        {"linear_bias": torch.stack([RIGHT["linear_bias"]] * 2, 1)[:, 0]},
    ]
    for change in changes:
        found = ops.linear_cross_entropy(*(RIGHT | change).values())
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    same = RIGHT | {"input": torch.ones(1, 3).expand(4, 3), "linear_weight": torch.ones(1, 3).expand(5, 3)}
    assert ops.linear_cross_entropy(*same.values())[1].shape == (4, 3)
    empty = RIGHT | {"input": torch.ones(0, 3), "target": torch.zeros(0, dtype=torch.int64), "needs": [True] * 3}
    loss, d_input, d_weight, d_bias = ops.linear_cross_entropy(*empty.values())
    assert loss.isnan()
    assert d_input.shape == (0, 3)
    assert not d_weight.any()
    assert not d_bias.any()


@given(
    rows=st.integers(0, 120),
    features=st.integers(1, 70),
    classes=st.integers(1, 500),
    dtypes=st.sampled_from(
        [(F32, F32), (F64, F64), (torch.bfloat16,) * 2, (F32, torch.bfloat16), (F32, torch.float16)]
    ),
    needs=st.lists(st.booleans(), min_size=3, max_size=3),
)
def test_any_call_that_is_right(rows, features, classes, dtypes, needs):
    operands, target, weight = problem(rows, features, classes, dtypes[0], weighted=True)
    operands = [t.detach() for t in operands]
    operands[1] = operands[1].to(dtypes[1])
    loss, *found = ops.linear_cross_entropy(*operands[:2], target, operands[2], weight, "sum", -100, 0.1, needs)
    true = exact(operands, target, weight, reduction="sum", label_smoothing=0.1, d_loss=torch.ones(()))
    torch.testing.assert_close(loss.double(), true[0], rtol=1e-2 if dtypes[0] == torch.bfloat16 else 1e-4, atol=1e-4)
    for a, b, need in zip(found, true[1:], needs, strict=True):
        torch.testing.assert_close(a.double(), b if need else torch.zeros(0, dtype=F64), rtol=1e-4, atol=1e-4)
