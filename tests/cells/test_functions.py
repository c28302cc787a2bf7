"""Every function of a step: the same value as torch's, and the same gradient, at ties, zero, infinity and NaN too."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

import fastrnn
from fastrnn._cell.gradients import gradients
from fastrnn.cells import layer_norm
from tests.support.graphs import computed

INF, NAN = math.inf, math.nan
SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, -8.0, 19.0, 21.0, 30.0, -30.0, INF, -INF, NAN]

UNARY = {
    "neg": lambda x: -x,
    "plus": lambda x: +x + 0,
    "exp": torch.exp,
    "log": torch.log,
    "log1p": torch.log1p,
    "sqrt": torch.sqrt,
    "abs": abs,
    "absolute": torch.absolute,
    "sigmoid": F.sigmoid,
    "expit": torch.special.expit,
    "tanh": F.tanh,
    "relu": F.relu,
    "relu method": lambda x: x.relu(),
    "softplus": F.softplus,
    "logsigmoid": F.logsigmoid,
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "sin": torch.sin,
    "cos": lambda x: x.cos(),
    "square": torch.square,
    "cube": lambda x: x**3,
    "eighth": lambda x: torch.pow(x, 8),
    "inverse square": lambda x: x**-2,
    "no power": lambda x: x + x**0,
    "one power": lambda x: x**1.0,
    "reciprocal": torch.reciprocal,
    "from one": lambda x: 1 - x,
    "inverse": lambda x: 2 / x,
    "half": lambda x: x / 2,
    "nothing": lambda x: x * 0,
    "clamp": lambda x: torch.clamp(x, -1, 1),
    "clamp below": lambda x: x.clamp(min=0.5),
    "clip above": lambda x: torch.clip(x, max=0.5),
    "clamp crossed": lambda x: torch.clamp(x, 1, -1),
    "where": lambda x: torch.where(x > 0, x, 0.5),
    "where log": lambda x: torch.where(x > 0, torch.log(x), torch.zeros_like(x)),
    "where full": lambda x: torch.where((x > -1) & ~(x >= 2) | (x == -8), torch.full_like(x, 0.1), 1.0) * x,
    "where not": lambda x: torch.where(x != 0, 1 / x, x),
    "same twice": lambda x: torch.maximum(x, x),
}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: torch.sub(x, y),
    "mul": torch.mul,
    "div": lambda x, y: x / y,
    "maximum": torch.maximum,
    "minimum": lambda x, y: x.minimum(y),
    "less": lambda x, y: torch.where(x < y, x, y),
    "less or equal": lambda x, y: torch.where(x <= y, x * y, y),
    "greater": lambda x, y: torch.where(torch.gt(x, y), x, y),
    "equal": lambda x, y: torch.where(torch.logical_or(x == y, x.ge(1)), 2 * x, y),
    "minus a product": lambda x, y: -x * y + x * -y - (-y),
    "nested": lambda x, y: torch.tanh(x * torch.sigmoid(y)) / (1 + torch.exp(-x)),
}


def cell_of(function, names):
    """A cell whose state is this function of its gates."""
    namespace = {}
    exec(f"def step({', '.join(names)}): return function({', '.join(names)})", {"function": function}, namespace)
    return type("Made", (fastrnn.Cell,), {"gates": names, "step": namespace["step"]})


def assert_as_torch(function, inputs):
    names = ["x", "y"][: len(inputs)]
    declared = cell_of(function, names).declaration
    d = torch.linspace(0.5, 1.5, len(inputs[0]), dtype=torch.float64)
    leaves = [x.clone().requires_grad_() for x in inputs]
    expected = function(*leaves)
    expected = expected.expand_as(d)
    wanted = torch.autograd.grad(expected, leaves, d, allow_unused=True, materialize_grads=True)
    nodes = declared.inputs()
    seed = declared.graph.input("gradient", "h")
    derived = gradients(declared.graph, declared.outputs, [seed], [nodes[name] for name in names])
    values = {nodes[name]: x for name, x in zip(names, inputs, strict=True)} | {seed: d}
    close = {"rtol": 1e-12, "atol": 2e-15, "equal_nan": True}  # 1 - y² and 1 + erf cancel in torch
    torch.testing.assert_close(computed(declared.outputs, values)[0].expand_as(d), expected.detach(), **close)
    for node, gradient in zip(derived, wanted, strict=True):
        found = torch.zeros_like(gradient) if node is None else computed([node], values)[0].expand_as(d)
        torch.testing.assert_close(found, gradient, **close)


@pytest.mark.parametrize("name", UNARY)
def test_of_one_number(name):
    assert_as_torch(UNARY[name], [torch.tensor(SPECIAL, dtype=torch.float64)])


@pytest.mark.parametrize("name", BINARY)
def test_of_two_numbers(name):
    pairs = torch.tensor(list(itertools.product(SPECIAL, SPECIAL)), dtype=torch.float64)
    assert_as_torch(BINARY[name], [pairs[:, 0].clone(), pairs[:, 1].clone()])


def normalized(x, y):
    x, y = layer_norm(x, y)
    return x * y


MEANS = {
    "mean": lambda x, y: x.mean(-1, keepdim=True) * y,
    "function": lambda x, y: torch.mean(x * y, dim=-1, keepdim=True) - y,
    "of a list": lambda x, y: y + torch.mean(-x, [-1], True),
    "alone": lambda x, y: torch.tanh(x + y).mean(-1, keepdim=True),
    "of a mean": lambda x, y: (x + (y * y).mean(-1, keepdim=True)).mean((-1,), keepdim=True) * x,
    "of means": lambda x, y: torch.exp(x.mean(-1, keepdim=True) * y.mean(-1, keepdim=True)) + x,
    "chosen by one": lambda x, y: torch.where(y.mean(-1, keepdim=True) > 0, x, y) + y,
    "chosen": lambda x, y: torch.where(x > 0, y.mean(-1, keepdim=True), x.mean(-1, keepdim=True)),
    "greater": lambda x, y: torch.maximum(x, y.mean(-1, keepdim=True)),
    "of a constant": lambda x, y: torch.full_like(x, 0.1).mean(-1, keepdim=True) * y + x,
    "norm": lambda x, y: layer_norm(x) * y,
    "norm of both": normalized,
    "norm without eps": lambda x, y: layer_norm(torch.square(x) + y, eps=0),
}


@pytest.mark.parametrize("name", MEANS)
def test_over_units(name):
    """What one number of a row is, and its gradient, which all units have a part in."""
    generator = torch.Generator().manual_seed(0)
    assert_as_torch(MEANS[name], [torch.randn(9, generator=generator, dtype=torch.float64) for _ in range(2)])


def test_layer_norm_is_torchs():
    x, y = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer_norm(x), F.layer_norm(x, (7,)))
    both = F.layer_norm(torch.cat([x, y], -1), (14,), eps=0.1)
    torch.testing.assert_close(torch.cat(layer_norm(x, y, eps=0.1), -1), both)
    with pytest.raises(TypeError, match=r"got none; write layer_norm\(x\)"):
        layer_norm()


def test_each_operation_once():
    """x + 0.1 and its tanh are nodes of one kind each, however often they are written; and -0.0 is not 0.0."""
    declared = cell_of(lambda x: torch.tanh(x + 0.1) * torch.tanh(0.1 + x), ["x"]).declaration
    from fastrnn._cell.graph import reach

    assert [n.op for n in reach(declared.outputs)] == ["input", "constant", "add", "tanh", "mul"]
    assert declared.graph.constant(0.0) is not declared.graph.constant(-0.0)
