"""Class statements that are no cell: each is an error that names the line and says what to write."""

import linecache
import re

import pytest
import torch

import fastrnn
from fastrnn import cells

HEAD = """
import math, numpy as np, torch, fastrnn.cells
from torch import sigmoid, tanh
from torch.nn import functional as F
"""


def failure(text, line=None):
    """The message of a class statement, which must name this line of the text."""
    source = HEAD + text
    file = f"<cell {hash(text)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    with pytest.raises(ValueError, match=r"line \d+") as caught:
        exec(compile(source, file, "exec"), {"__name__": "made"})
    message = str(caught.value)
    if line is not None:
        number = next(i for i, each in enumerate(source.splitlines(), 1) if line in each)
        assert f"line {number}, {line.strip()!r}" in message
    return message


def of_step(*lines, gates="a b", rest=""):
    body = "\n".join(f"        {line}" for line in lines)
    return f"class Made(fastrnn.Cell):\n    gates = '{gates}'\n    {rest}\n    def step(a, b, h):\n{body}\n"


@pytest.mark.parametrize(("line", "says"), [
    ("if a > 0: a = b", r"cannot look at one; write torch\.where\(condition, a, b\)"),
    ("a = a if a > 0 else b", r"write torch\.where"),
    ("a = a and b", r"write torch\.where"),
    ("a = torch.where(0 < a < 1, a, b)", r"chained comparisons"),
    ("a = max(a, b)", r"write torch\.where"),
    ("a = float(a) * b", r"cannot take float\(x\); use torch's functions"),
    ("a = math.exp(a)", r"use torch's functions"),
    ("a = a.sum() + b", r"cannot use sum: .* each unit does by itself"),
    ("a = torch.cat([a, b])", r"cannot use cat"),
    ("a = a.view(-1)", r"cannot use view"),
    ("a = a[0]", r"cannot be indexed"),
    ("a = a @ b", r"gates are what weights make"),
    ("a, b = a", r"cannot be iterated"),
    ("a = torch.softmax(a, -1)", r"cannot use softmax"),
    ("a = F.layer_norm(a, (3,))", r"cannot use layer_norm: .*fastrnn\.cells\.layer_norm\(x\)"),
    ("a = F.rms_norm(a, (3,))", r"cannot use rms_norm: .*the mean over the units, x\.mean\(-1, keepdim=True\)"),
    ("a = a / a.std(-1, keepdim=True)", r"cannot use std: .*the mean over the units"),
    ("a = a.mean() * b", r"means over the units of a row alone; write x\.mean\(-1, keepdim=True\)"),
    ("a = a.mean(-1) * b", r"write x\.mean\(-1, keepdim=True\)"),
    ("a = torch.mean(a, 0, keepdim=True)", r"write x\.mean\(-1, keepdim=True\)"),
    ("a = torch.mean(a, -1, True, dtype=torch.float64)", r"cannot call torch's mean with these arguments"),
    ("a = (a > 0).mean(-1, keepdim=True)", r"mean takes numbers, got a comparison; write torch\.where"),
    ("a = fastrnn.cells.layer_norm(a > 0)", r"mean takes numbers, got a comparison"),
    ("a = fastrnn.cells.layer_norm()", r"got none; write layer_norm\(x\)"),
    ("a = a.shape[0] * b", r"cannot ask for shape: it is traced once and for all sizes"),
    ("a = torch.max(a, b)", r"write torch\.maximum\(a, b\)"),
    ("a = torch.erfinv(a)", r"cannot use torch's erfinv; it may use .*sigmoid"),
    ("a = torch.rand_like(a)", r"cannot use torch's rand_like"),
    ("a = F.dropout(a, 0.5)", r"cannot use torch's dropout"),
    ("a += b", r"cannot write in place.*write x = x \+ y"),
    ("a.add_(b)", r"cannot write in place; write x = torch\.add\(x, \.\.\.\), not x\.add_"),
    ("a = F.relu(a, inplace=True)", r"leave inplace=True out"),
    ("a = a ** 0.5", r"write torch\.sqrt\(x\)"),
    ("a = a ** 9", r"whole powers from -8 to 8, got 9"),
    ("a = a ** b", r"whole powers from -8 to 8, got a number of the cell"),
    ("a = 2 ** a", r"write torch\.exp\(x \* math\.log\(base\)\)"),
    ("a = a // 2", r"cannot use Python's floordiv"),
    ("a = (a > 0) * b", r"mul takes numbers, got a comparison; write torch\.where"),
    ("a = torch.where(a, a, b)", r"got a number; write torch\.where\(x > 0, a, b\)"),
    ("a = torch.where(a > 0, 1.0, 0.0)", r"write torch\.full_like"),
    ("a = a * torch.ones(3)", r"cannot use a tensor that is not one of its arguments \(of shape \(3,\)\)"),
    ("a = torch.ones(3) * a", r"cannot use a tensor"),
    ("a = F.softplus(a, beta=2)", r"write softplus\(beta \* x\) / beta"),
    ("a = torch.clamp(a, b, 1)", r"write torch\.minimum and torch\.maximum"),
    ("a = torch.add(a, b, alpha=2)", r"cannot call torch's add with these arguments"),
    ("a = torch.div(a, b, rounding_mode='floor')", r"cannot call torch's div with these arguments"),
    ("a = a * True", r"mul takes numbers, got True"),
    ("a = np.tanh(a)", r"the step raised TypeError when it was traced"),
    ("a = undefined * a", r"the step raised NameError when it was traced: name 'undefined'"),
    ("a = a.nonsense()", r"the step raised AttributeError"),
])  # fmt: skip
def test_steps(line, says):
    assert re.search(says, failure(of_step(line, "return a * b"), line), re.DOTALL)


@pytest.mark.parametrize(("line", "says"), [
    ("a = u * b", r"u is one of matrices, and no number: .* write u\(x\) .*, or declare u as one of vectors"),
    ("a = b - u", r"u is one of matrices, and no number"),
    ("a = -u", r"u is one of matrices, and no number"),
    ("a = u @ b", r"u is one of matrices, and no number"),
    ("a = torch.tanh(u)", r"u is one of matrices, and no number"),
    ("a = torch.add(b, u)", r"u is one of matrices, and no number"),
    ("a = u.mean(-1, keepdim=True)", r"u is one of matrices, and no number"),
    ("a = u.T", r"u is one of matrices, and no number"),
    ("a = b if u == b else a", r"u is one of matrices, and no number"),
    ("a = F.linear(b, u)", r"u is one of matrices, and no number|cannot use linear"),
    ("a = a(b)", r"cannot be called; what a step calls with a number is a matrix, .*matrices = 'u'"),
    ("a = a @ b", r"u\(x\) is a product with a matrix of the cell, matrices = 'u'"),
    ("a = torch.matmul(a, b)", r"cannot use matmul: .*u\(x\) with a matrix that the cell declares"),
    ("a = u(a, b)", r"the matrix u multiplies one number; write u\(x\)"),
    ("a = u()", r"the matrix u multiplies one number; write u\(x\)"),
    ("a = u(x=a)", r"the matrix u multiplies one number; write u\(x\)"),
    ("a = u(a.mean(-1, keepdim=True))", r"a number that each unit has, got one number for all units of a row, as a m"),
    ("a = u(2 * dt)", r"a number that each unit has, got one number for all units of a row"),
    ("a = u(torch.ones_like(a))", r"a number that each unit has, got one number for all units"),
    ("a = u(1.0)", r"a number that each unit has, got a Python number, a tensor or another matrix"),
    ("a = u(torch.ones(3))", r"a number that each unit has, got a Python number, a tensor"),
    ("a = u(u)", r"got a Python number, a tensor or another matrix"),
    ("a = u(a > 0)", r"a number that each unit has, got a comparison"),
])  # fmt: skip
def test_matrices(line, says):
    text = of_step(line, "return a * b + dt + u(h)", rest="matrices = 'u'; per_step = 'dt'").replace(
        "h)", "h, dt, u)", 1
    )
    assert re.search(says, failure(text, line), re.DOTALL)


@pytest.mark.parametrize(("returned", "rest", "says"), [
    ("a, b", "", r"returns 2 values, and there are 1 state; return h, each"),
    ("a * b", "state = 'h c'", r"returns 1 value, and there are 2 states; return h, c"),
    ("None", "", r"returns None as h"),
    ("0.0", "", r"returns 0\.0 as h"),
    ("a + b > 0", "", r"returns a comparison as h"),
    ("a", "", r"b, one of gates, is never used"),
    ("a * b", "vectors = 'u'", r"u, one of vectors, is never used"),
    ("a * b", "per_step = 'dt'", r"dt, one of per_step, is never used"),
    ("torch.zeros_like(a)", "", r"returns a constant as h"),
    ("a * b", "matrices = 'u'", r"u, one of matrices, is never used"),
])  # fmt: skip
def test_what_is_returned(returned, rest, says):
    assert re.search(says, failure(of_step(f"return {returned}", rest=rest), "def step(a, b, h):"))


STEP = "\n    def step(a, b): return a + b\n"


@pytest.mark.parametrize(("body", "says"), [
    ("gates = 'a a'" + STEP, r"Made\.gates has 'a' twice"),
    ("gates = 'a b'; vectors = 'b'" + STEP, r"'b' in gates and in vectors"),
    ("gates = 'a b'; state = 'a'" + STEP, r"'a' in gates and in state"),
    ("gates = 'a b'; matrices = 'u u'" + STEP, r"Made\.matrices has 'u' twice"),
    ("gates = 'a b'; matrices = 'b'" + STEP, r"'b' in gates and in matrices"),
    ("gates = 'a b'; vectors = 'u'; matrices = 'u'" + STEP, r"'u' in vectors and in matrices"),
    ("gates = 'a b'; matrices = 'weight_hh'" + STEP, r"a name that every layer uses"),
    ("gates = 'a b'; state = ''" + STEP, r"names no state"),
    ("pass" + STEP, r"declares no gates"),
    ("gates = ''" + STEP, r"no gate of the input"),
    ("input_gates = 'a b'" + STEP, r"declares input_gates; declare gates, or both"),
    ("gates = 'a'; input_gates = 'a'; recurrent_gates = 'b'" + STEP, r"declare gates, or both"),
    ("gates = 'a b'; state = 3" + STEP, r"state must be names, as in 'a b'; got 3"),
    ("gates = 'a 1b'" + STEP, r"got '1b'"),
    ("gates = 'a if'" + STEP, r"got 'if'"),
    ("gates = 'a b'; state = dict(h='x')" + STEP, r"state\['h'\] must be the number"),
    ("gates = 'a b'; vectors = dict(u=(1, 0))" + STEP, r"low <= high"),
    ("gates = 'a b'; vectors = dict(u='x')" + STEP, r"a pair \(low, high\)"),
    ("gates = 'a b'; vectors = 'weight_ih'" + STEP, r"a name that every layer uses"),
    ("gates = 'a b'; per_step = 'lengths'" + STEP, r"a name that every layer uses"),
    ("gates = 'a b'", r"has no step; define one"),
    ("gates = 'a b'\n    def step(self, a, b): return a + b", r"step has no self; write def step\(a, b, h\)"),
    ("gates = 'a b'\n    def step(a, b, c): return a + b", r"argument c, which Made does not declare; its names are"),
    ("gates = 'a b'\n    def step(*a): return a", r"takes its arguments by name; give it a, b, h, no \*a"),
])  # fmt: skip
def test_declarations(body, says):
    assert re.search(says, failure(f"class Made(fastrnn.Cell):\n    {body}\n"))


def test_names_come_in_any_order_and_a_default_is_a_constant():
    class Made(fastrnn.Cell):
        gates = ["a", "b"]
        vectors = "u"

        @staticmethod
        def step(u, h, b, a, scale=0.5, clip=2):
            return torch.clamp(scale * a, -2, 2) * b + u * h * clip

    assert Made.declaration.gates == ("a", "b")
    assert Made.declaration.taken == ("u", "h", "b", "a")
    x = torch.tensor(3.0)
    assert Made.step(x, x, x, x) == 1.5 * 3 + 18


def test_a_derived_cell_declares_what_differs():
    class Decaying(cells.IndRNN):
        state = dict(h=1)

        def step(a, h, u):
            return a + torch.exp(-u) * h

    assert Decaying.declaration.recurrent_gates == ()
    assert Decaying.declaration.states == {"h": 1.0}
    assert cells.IndRNN.declaration.states == {"h": 0.0}

    class Recurrent(cells.IndRNN):
        gates = "a"

    assert Recurrent.declaration.recurrent_gates == ("a",)


def test_no_instances():
    with pytest.raises(TypeError, match=r"fastrnn\.layer\(MGU\) is the class of its layers"):
        cells.MGU()
    for wrong in (fastrnn.Cell, torch.nn.LSTM, "MGU"):
        with pytest.raises(TypeError, match=r"takes a class derived from fastrnn\.Cell"):
            fastrnn.layer(wrong)


def test_an_error_in_a_function_that_a_step_calls_names_its_line():
    message = failure(
        "def squash(x):\n    return x if x > 0 else 0 * x\n" + of_step("return squash(a) * b"),
        "    return x if x > 0 else 0 * x",
    )
    assert "torch.where" in message
