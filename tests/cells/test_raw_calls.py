"""The operators of users' cells, and texts of cells, by hand with whatever: a result or an error that says why."""

import random as python_random
import re
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn import _C, cells, ops
from fastrnn._cell.bytecode import OPERATIONS
from tests.support.cell_calls import F32, LENGTHS, RESETS, B, T, arguments, backward_arguments
from tests.support.user_cells import of, random


def test_operations_have_the_same_names_in_python():
    assert tuple(_C.user_cell_operations()) == OPERATIONS


def program(cell=cells.SLSTM):
    return of(cell, 3, 4)._kernel.program


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], "ends too early|Expected"),
        (lambda text: "", "a state and a gate"),
        (lambda text: text + " heads_of_later 3", "got one with 'heads_of_later'"),
        (lambda text: text.replace("tanh", "tanh2"), "that this version of fastrnn has, got 'tanh2'"),
        (lambda text: text.replace("gates 4", "gates four", 1), "Expected an integer, got 'four'"),
        (lambda text: text.replace("-inf", "-information"), "Expected a number, got '-information'"),
        (lambda text: text.replace("gates 4", "gates 33", 1), "at most 32 gates"),
        (lambda text: text.replace("input_slots 4 0", "input_slots 4 9"), "a gate from 0 to 3, got 9"),
        (lambda text: text.replace("saves ", "saves 1"), "Expected a program of"),
    ],
)
def test_texts_that_are_wrong(change, says):
    with pytest.raises(ValueError, match=says):
        _C.user_cell(change(program()))
    call = arguments(cells.SLSTM, program=change(program()))
    with pytest.raises(ValueError, match=says):
        ops.cell_forward(*call.values(), False)


def test_a_cell_has_the_same_text_in_every_process():
    """By which a second derivative finds it, and compiled code its program."""
    show = "from fastrnn import cells, layer; print([layer(getattr(cells, n))._kernel.program for n in cells.__all__])"
    found = {
        subprocess.run([sys.executable, "-c", show], capture_output=True, check=True, text=True).stdout
        for _ in range(2)
    }
    assert found == {f"{[program(getattr(cells, name)) for name in cells.__all__]}\n"}


def test_texts_with_wrong_matrices():
    text = program(cells.TextbookGRU)
    for change, says in (
        (text.replace("matrices 1", "matrices 0"), "matrices 0 to -1 of rows 0 to 3, got 0"),
        (text.replace("matrices 1", "matrices 5"), "4 matrices and 8 products"),
        (text.replace("products 1 0 2 3", "products 0"), "at most two for each product"),
        (text.replace("products 1 0 2 3", "products 1 0 2 4"), "rows 0 to 3, got 0 of 2 and 4"),
        (text.replace("products 1 0 2 3", "products 1 0 -1 3"), "rows 0 to 3, got 0 of -1 and 3"),
        (text.replace("products 1 0 2 3", "products 9" + 9 * " 0 2 3"), "4 matrices and 8 products"),
        (re.sub(r"(matrix_product \d+ \d+ 0 0) 0", r"\1 1", text, count=1), "with 1 matrices, got 2"),
    ):
        assert change != text
        with pytest.raises(ValueError, match=says):
            _C.user_cell(change)


WORDS = [
    "-1",
    "0",
    "1",
    "2",
    "255",
    "256",
    "2147483647",
    "99999999999",
    "nan",
    "inf",
    "x",
    "copy",
    "where",
    "gates",
    "matrix_product",
    "\0",
]


@settings(max_examples=200)
@given(st.randoms(use_true_random=False))
def test_any_text_is_read_or_refused(draw):
    """And what is read runs within its places."""
    cell = draw.choice([cells.SLSTM, cells.TextbookGRU])
    words = program(cell).split()
    for _ in range(draw.choice([1, 1, 2, 5])):
        words[draw.randrange(len(words))] = draw.choice(WORDS)
    call = arguments(cell, program=" ".join(words))
    try:
        found = ops.cell_forward(*call.values(), True)
        ops.cell_backward(*backward_arguments(call, *found).values())
    except (RuntimeError, ValueError):
        return


WRONG = {
    "input": [random(T, B, 4, dtype=F32), random(T, B, 3), random(B, 3, dtype=F32), random(0, B, 3, dtype=F32)],
    "batch_sizes": [torch.tensor([3, 3])],
    "lengths": [LENGTHS[:2], LENGTHS.int(), LENGTHS + 1, LENGTHS - 1, LENGTHS.float()],
    "resets": [RESETS.int(), RESETS[:, :2], RESETS.t(), RESETS.to("meta")],
    "per_step": [[], None, [random(T, B, dtype=F32)], [random(T, B, 1)], [random(T, B, 2, dtype=F32)]],
    "states": [[random(2, B, 5, dtype=F32)], [random(2, B, 4)], [random(1, B, 4, dtype=F32)], [random(2, B, 4)] * 2],
    "weights": [[], [random(4, 3, dtype=F32)] * 3],
    "biases": [False],
}


@pytest.mark.parametrize("name", WRONG)
def test_operands_are_checked(name):
    call = arguments(cells.LTC)
    for wrong in WRONG[name]:
        with pytest.raises((RuntimeError, ValueError), match="Expected"):
            ops.cell_forward(*(call | {name: wrong}).values(), False)
    for i, w in enumerate(call["weights"]):
        for wrong in (w.double(), w[:1], w.to("meta"), w.unsqueeze(0)):
            weights = [*call["weights"][:i], wrong, *call["weights"][i + 1 :]]
            with pytest.raises((RuntimeError, ValueError), match="Expected"):
                ops.cell_forward(*(call | {"weights": weights}).values(), False)


def test_operands_of_the_gradient_are_checked():
    call = arguments(cells.SLSTM)
    right = backward_arguments(call, *ops.cell_forward(*call.values(), True))
    for name, wrong in (
        ("d_every", right["d_every"][:2]),
        ("d_every", [right["every"][0][:2], *right["d_every"][1:]]),
        ("d_last", [torch.empty(0)] * 5),
        ("d_last", [right["every"][0], *right["d_last"][1:]]),
        ("every", [t.double() for t in right["every"]]),
        ("every", [right["saved"]] * 4),
        ("every", []),
        ("saved", right["saved"][:, 1:]),
        ("needs", right["needs"][1:]),
    ):
        with pytest.raises(RuntimeError, match="Expected"):
            ops.cell_backward(*(right | {name: wrong}).values())


def test_shuffled_operands_never_read_out_of_bounds():
    draw = python_random.Random(0)
    for cell in (cells.SLSTM, cells.LTC, cells.MGU, cells.IndRNN, cells.TextbookGRU):
        call = arguments(cell)
        tensors = [*call["weights"], *call["states"], *(call["per_step"] or ()), call["input"], RESETS, LENGTHS]
        for _ in range(100):
            name = draw.choice(["input", "batch_sizes", "lengths", "resets", "per_step", "states", "weights"])
            wrong = draw.choice(tensors)
            if isinstance(call[name], list):
                wrong = draw.choices(tensors, k=draw.randrange(10))
            try:
                ops.cell_forward(*(call | {name: wrong}).values(), True)
            except (RuntimeError, ValueError, IndexError):
                continue
