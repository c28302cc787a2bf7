"""What linear_cross_entropy keeps: never the logits, gradients until the backward pass, and no copies of them."""

import subprocess
import sys

import pytest
import torch

from fastrnn import ops
from fastrnn.functional import linear_cross_entropy
from tests.support.cross_entropy import problem

pytestmark = pytest.mark.usefixtures("one_thread")  # small work


MEMORY = """
import sys, torch
from fastrnn._bench.memory import give_back_at_once, highest, resident
from fastrnn.functional import linear_cross_entropy

give_back_at_once()
torch.set_num_threads(2)
rows, features, classes = map(int, sys.argv[1:])

def step(input, weight, target):
    linear_cross_entropy(input, weight, target).backward()

make = lambda n, h, v: (torch.randn(n, h, requires_grad=True), torch.randn(v, h).requires_grad_(), torch.arange(n) % v)
step(*make(2, 3, 4))
operands = make(rows, features, classes)
before = resident()
for _ in range(3):
    for t in operands[:2]:
        t.grad = None
    step(*operands)
gradients = sum(t.grad.nbytes for t in operands[:2])
print(highest() - before - gradients)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_a_sixth_of_the_logits():
    rows, features, classes = 700, 64, 10000
    command = [sys.executable, "-c", MEMORY, str(rows), str(features), str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= rows * classes * 4 / 6


def test_gradients_are_handed_over_without_a_copy():
    operands, target, _ = problem(20, 8, 50)
    loss, d_input, d_weight, _ = ops.linear_cross_entropy(
        *operands[:2], target, operands[2], None, "mean", -100, 0.0, [False] * 3
    )
    places = [torch._C._data_address(t) for t in (d_input, d_weight)]
    del d_input, d_weight
    loss.backward()
    assert [torch._C._data_address(t.grad) for t in operands[:2]] == places


def test_backward_twice_gives_the_same_gradients():
    operands, target, _ = problem(20, 8, 50)
    loss = linear_cross_entropy(*operands[:2], target, linear_bias=operands[2])
    first = torch.autograd.grad(loss, operands, retain_graph=True)
    kept = [g.clone() for g in first]
    for g in first:
        g.zero_()  # what the caller does with gradients does not reach those that are saved
    second = torch.autograd.grad(loss, operands, torch.tensor(2.0), retain_graph=True)
    assert all(torch.equal(2 * a, b) for a, b in zip(kept, second, strict=True))
    loss.backward(retain_graph=True)
    loss.backward()
    assert all(torch.equal(2 * a, t.grad) for a, t in zip(kept, operands, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
