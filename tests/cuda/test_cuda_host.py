"""What the CUDA layers cost the host, how they fail, and the wall between them and torch. On the CPU, by emulation."""

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch._subclasses import FakeTensorMode

from tests.cuda.operands import backward, forward, operands, run
from tests.support.twins import CELLS

ROOT = Path(__file__).parents[2]
CUDA = ROOT / "csrc" / "cuda"

pytestmark = pytest.mark.usefixtures("one_thread")


def _calls(emulated, given):
    """Of one forward and one backward pass, each: how often it calls what."""
    counts = [emulated.calls()]
    output, _, _, saved = forward(emulated, given)
    counts.append(emulated.calls())
    backward(emulated, given, output, saved)
    counts.append(emulated.calls())
    return [{name: after[name] - before[name] for name in after} for before, after in pairwise(counts)]


def _calls_of_a_step(emulated, cell, **options):
    run(emulated, operands(cell, **options))  # what is asked of a device once
    few, many = (_calls(emulated, operands(cell, times=times, **options)) for times in (3, 13))
    more = [{name: (many[name] - few[name]) / 10 for name in few} for few, many in zip(few, many, strict=True)]
    return [{name: count for name, count in each.items() if count} for each in more]


# Of a step: what W_hh's second product and the projection add to the one kernel and the one product of all others.
TWO_OF_EACH = ("gru_reset_before", "lstm_projected")


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in TWO_OF_EACH])
def test_a_step_is_one_product_and_one_kernel(emulated, cell, batch_first):
    """No view, copy, clearing, handle, stream or attribute: the host must not be what a step waits for. With layer
    normalization neither: one kernel has it all."""
    for step in _calls_of_a_step(emulated, cell, batch_first=batch_first):
        assert step == {"launches": 1, "products": 1}


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in TWO_OF_EACH])
def test_options_cost_no_step_another_kernel(emulated, cell, packed):
    """Rows that begin anew with the next step find in h and c what they begin with: the step before writes it there, as
    it writes h with a mask. Heads are one product."""
    every = {"resets": 0.3, "every_state": True, "learned_state": True, "masks": "rhc", "heads": 3}
    few, many = (
        _calls(emulated, operands(cell, packed=[3] + [2] * (n - 1) if packed else None, times=n, **every))
        for n in (3, 13)
    )
    for before, after in zip(few, many, strict=True):
        more = {name: after[name] - before[name] for name in before}
        assert {name: count for name, count in more.items() if count} == {"launches": 10, "products": 10}


@pytest.mark.parametrize("cell", TWO_OF_EACH)
def test_a_second_product_is_two_of_each(emulated, cell):
    for step in _calls_of_a_step(emulated, cell):
        assert step == {"launches": 2, "products": 2}


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_layer_normalization_is_two_kernels_a_pass(emulated, cell):
    """Beside those of the steps: W_ih x of all times is normalized at once, and gradients of gains and biases are one
    sum, where those of plain biases are two."""
    plain, normalized = (_calls(emulated, operands(name)) for name in (cell, f"layer_norm_{cell}"))
    for before, after, more in zip(plain, normalized, (1, -1), strict=True):
        assert after == before | {"launches": before["launches"] + more}


@pytest.mark.parametrize("kernel", ["block", "cluster", "grid"])
def test_a_persistent_kernel_has_no_steps(emulated, monkeypatch, kernel):
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
    run(emulated, operands("lstm").to(torch.float16))
    few, many = (_calls(emulated, operands("lstm", times=times).to(torch.float16)) for times in (3, 13))
    assert few == many


def test_a_kernels_attributes_are_set_once(emulated, monkeypatch):
    """Not at every launch, where it takes as long as a step."""
    given = operands("gru").to(torch.float16)
    monkeypatch.setenv("FASTRNN_CUDA_KERNEL", "cluster:2")
    run(emulated, given)
    before = emulated.calls()["attributes set"]
    assert before > 0
    for times in (5, 7):
        run(emulated, operands("gru", times=times).to(torch.float16))
    assert emulated.calls()["attributes set"] == before


def test_a_thread_without_a_context_is_given_one(emulated):
    """As autograd's own may be, on which torch would warn that cuBLAS finds none."""
    with ThreadPoolExecutor(1) as thread:
        calls = thread.submit(_calls, emulated, operands("gru")).result()
    assert [each["handles without a context"] for each in calls] == [0, 0]


def test_a_stream_can_be_captured(emulated):
    """After a first call, as CUDA graphs want it."""
    given = operands("gru")
    expected = run(emulated, given)
    emulated.set_captured(True)
    try:
        found = run(emulated, given)
    finally:
        emulated.set_captured(False)
    assert all(map(torch.equal, found, expected))


def test_a_failed_launch_leaves_no_error_behind(emulated):
    """CUDA keeps it until it is asked; torch asks after its next kernel, which would seem to have failed."""
    given = operands("gru")
    expected = run(emulated, given)
    emulated.fail_next_launch()
    with pytest.raises(RuntimeError, match=r"kernel launch failed: .*to run torch's own operator instead"):
        run(emulated, given)
    assert emulated.last_error() == 0
    assert all(map(torch.equal, expected, run(emulated, given)))


def test_a_failed_product_says_which(emulated):
    given = operands("gru")
    emulated.fail_next_product()
    with pytest.raises(RuntimeError, match=r"cuBLAS failed on a product of 15 x 4 and 4 x 18: CUBLAS_STATUS_EXEC"):
        run(emulated, given)
    assert emulated.last_error() == 0
    given = operands("gru", heads=3)
    output, _, _, saved = forward(emulated, given)
    emulated.fail_next_product()
    with pytest.raises(RuntimeError, match=r"cuBLAS failed on 3 products of 3 x 6 and 6 x 2: CUBLAS_STATUS_EXEC"):
        backward(emulated, given, output, saved)


@pytest.mark.parametrize(("cell", "float64"), [("gru_reset_before", False), ("lstm", True), ("peephole_lstm", True)])
def test_a_kernel_that_is_not_compiled_is_an_error(emulated, cell, float64):
    """Not a launch that did nothing and said that all went well."""
    assert all(emulated.sequence_errors(cell, float64))


OPTIONS = [
    {},
    {"packed": [3, 3, 2, 1]},
    {"times": 30, "batch": 100},
    {"resets": 0.3, "every_state": True, "learned_state": True},
    {"masks": "r", "heads": 3},
    {"masks": "h"},
    {"masks": "rhc", "packed": [3, 3, 2, 1]},
]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_shapes_are_those_that_python_tells_the_compiler(emulated, cell, dtype, options, recompute):
    given = operands(cell, bidirectional=True, **options).to(dtype)
    with FakeTensorMode(allow_non_fake_inputs=True):  # lengths are read, on the CPU
        input, h0, c0, *weights = (
            None if t is None else torch.empty(t.shape, dtype=dtype, device="cuda")
            for t in (given.input, given.h0, given.c0, *given.weights)
        )
        names = ("resets", "recurrent_mask", "zoneout_h", "zoneout_c")
        constants = {name: getattr(given, name) for name in names}
        constants = {n: None if t is None else torch.empty_like(t, device="cuda") for n, t in constants.items()}
        on_cuda = given._replace(input=input, h0=h0, c0=c0, weights=weights, **constants)
        expected = forward(torch.ops.fastrnn, on_cuda, recompute)
    for want, got in zip(expected, forward(emulated, given, recompute), strict=True):
        assert got.shape == want.shape
        assert got.dtype == want.dtype


def test_the_kernels_see_no_tensor():
    """Neither they nor the loops include a header of torch, emulate anything or allocate: scratch memory is given."""
    for file in CUDA.iterdir():
        if file.suffix in (".h", ".cuh", ".cu", ".cpp"):
            text = file.read_text()
            assert not re.search(r"#include [<\"](ATen|c10|torch|\.\./torch)/|at::|c10::|Tensor", text), file.name
            assert not re.search(r"on_cpu|emulat", text), file.name
            assert not re.search(r"cuda(Host)?Malloc\w*\(|std::vector|\bnew \w", text), f"{file.name} allocates"
