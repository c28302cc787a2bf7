"""The functions that a step may use, by torch's own: which nodes each makes.

A function of torch that is not here has no meaning in a step, or none yet. What it does is checked against torch in
tests/cells/test_functions.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from fastrnn._cell.errors import at_this_line
from fastrnn._cell.graph import Graph, Node

MOST_POWER = 8  # a step is no place for polynomials of high degree: x**8 overflows float32 from x = 65536 on
_SQRT_2_OVER_PI = math.sqrt(2 / math.pi)


def power(g: Graph, x: Node, n: Any) -> Node:
    if n == 0.5:
        raise at_this_line(f"a step cannot raise to the power {n}; write torch.sqrt(x)")
    if isinstance(n, bool) or not isinstance(n, (int, float)) or n != int(n) or abs(n) > MOST_POWER:
        got = "a number of the cell" if isinstance(n, Node) else repr(n)
        raise at_this_line(
            f"a step can raise to whole powers from -{MOST_POWER} to {MOST_POWER}, got {got}; write "
            "torch.exp(n * torch.log(x)) for others"
        )
    return g.power(x, int(n))


def clamp(g: Graph, x: Node, min: Any = None, max: Any = None) -> Node:
    for bound in (min, max):
        if isinstance(bound, Node):
            raise at_this_line("the bounds of clamp must be Python numbers; write torch.minimum and torch.maximum")
    if min is None and max is None:
        raise at_this_line("clamp needs min, max or both; got neither")
    bounds = (-math.inf if min is None else float(min), math.inf if max is None else float(max))
    if any(math.isnan(bound) for bound in bounds):
        raise at_this_line("the bounds of clamp must be numbers, got nan")
    return g.node("clamp", x, value=bounds)


def softplus(g: Graph, x: Node, beta: float = 1, threshold: float = 20) -> Node:
    if (beta, threshold) != (1, 20):
        raise at_this_line(
            f"a step has softplus with beta=1 and threshold=20, got {beta} and {threshold}; write "
            "softplus(beta * x) / beta"
        )
    return g.node("softplus", x)


def gelu(g: Graph, x: Node, approximate: str = "none") -> Node:
    if approximate == "none":
        return g.mul(x, g.node("normal_cdf", x))
    # 1/2 (1 + tanh u) is sigmoid(2 u), which keeps its relative accuracy where tanh is near -1.
    inner = g.add(x, g.mul(g.constant(0.044715), g.power(x, 3)))
    return g.mul(x, g.node("sigmoid", g.mul(g.constant(2 * _SQRT_2_OVER_PI), inner)))


def activation(op: str) -> Callable[..., Node]:
    """relu and silu of torch.nn.functional, which have an argument more."""

    def made(g: Graph, x: Node, inplace: bool = False) -> Node:
        if inplace:
            raise at_this_line("a step cannot write in place; leave inplace=True out")
        return g.node("relu", x) if op == "relu" else g.mul(x, g.node("sigmoid", x))

    return made


def mean(g: Graph, x: Node, dim: Any = None, keepdim: bool = False) -> Node:
    if dim not in (-1, (-1,), [-1]) or keepdim is not True:
        raise at_this_line("a step has means over the units of a row alone; write x.mean(-1, keepdim=True)")
    return g.mean(x)


def where(g: Graph, condition: Node, a: Node, b: Node) -> Node:
    if not condition.boolean:
        raise at_this_line("where chooses by a comparison, got a number; write torch.where(x > 0, a, b)")
    if a.boolean or b.boolean:
        raise at_this_line("where chooses one of two numbers, got a comparison; use & | ~ between comparisons")
    return g.where(condition, a, b)


def _unary(op: str) -> Callable[..., Node]:
    return lambda g, x: g.node(op, x)


def _binary(op: str) -> Callable[..., Node]:
    return lambda g, a, b: g.node(op, a, b)


def _greater(op: str) -> Callable[..., Node]:
    return lambda g, a, b: g.node(op, b, a)


def _not(g: Graph, a: Node) -> Node:
    return a.args[0] if a.op == "not" else g.node("not", a)


# What each name makes of numbers, then of truth values. The names are those of torch.* and of methods of tensors.
OF_NUMBERS: dict[str, Callable[..., Node]] = {
    "add": lambda g, a, b: g.add(a, b),
    "sub": lambda g, a, b: g.sub(a, b),
    "mul": lambda g, a, b: g.mul(a, b),
    "div": lambda g, a, b: g.div(a, b),
    "neg": lambda g, a: g.neg(a),
    "pow": power,
    "square": lambda g, x: g.power(x, 2),
    "reciprocal": lambda g, x: g.div(g.constant(1), x),
    **{name: _unary(name) for name in ("exp", "log", "log1p", "sqrt", "abs", "sigmoid", "tanh", "sin", "cos")},
    "relu": activation("relu"),
    "clamp": clamp,
    "mean": mean,
    **{name: _binary(name) for name in ("maximum", "minimum", "lt", "le", "eq")},
    "gt": _greater("lt"),
    "ge": _greater("le"),
    "ne": lambda g, a, b: g.node("not", g.node("eq", a, b)),
}
OF_TRUTH: dict[str, Callable[..., Node]] = {
    "logical_and": _binary("and"),
    "logical_or": _binary("or"),
    "logical_not": _not,
}
# What are not methods of tensors.
FUNCTIONS: dict[str, Callable[..., Node]] = {
    "where": where,
    "ones_like": lambda g, x: g.constant(1),
    "zeros_like": lambda g, x: g.constant(0),
    "full_like": lambda g, x, fill_value: g.constant(fill_value),
}
METHODS = OF_NUMBERS | OF_TRUTH
# Second names of the same functions.
ALIASES = {
    **{"subtract": "sub", "multiply": "mul", "divide": "div", "true_divide": "div", "negative": "neg"},
    **{"absolute": "abs", "clip": "clamp", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge"},
    **{"not_equal": "ne"},
}


def _by_function() -> dict[Any, tuple[str, Callable[..., Node]]]:
    """torch's function, or method of tensors, to its name here and what it makes."""
    found: dict[Any, tuple[str, Callable[..., Node]]] = {}
    for name, make in (METHODS | FUNCTIONS).items():
        for known in (name, *(alias for alias, of in ALIASES.items() if of == name)):
            for place in (torch, torch.Tensor):
                if hasattr(place, known):
                    found[getattr(place, known)] = name, make
    silu = activation("silu")
    found |= {
        torch.special.expit: ("sigmoid", METHODS["sigmoid"]),
        F.relu: ("relu", METHODS["relu"]),
        F.silu: ("silu", silu),
        F.softplus: ("softplus", softplus),
        F.logsigmoid: ("logsigmoid", _unary("logsigmoid")),
        F.gelu: ("gelu", gelu),
    }
    return found


BY_FUNCTION = _by_function()
ALLOWED = (
    "+ - * / ** comparisons & | ~, and torch's exp, log, log1p, sqrt, square, abs, sigmoid, tanh, relu, softplus, "
    "logsigmoid, silu, gelu, sin, cos, reciprocal, minimum, maximum, clamp, where, and x.mean(-1, keepdim=True)"
)
