"""Reverse mode on the graph of a step: the gradients of its outputs, as nodes of the same graph.

Each derivative is torch's, also at ties, at zero, and where a number is infinite or NaN (torch/csrc's derivatives.yaml
is their list). That a number has no gradient is None, not a node: a zero that is added up would cost an operation.

A number of a row, as a mean, is read by all units, and its gradient is their sum. What stands for it here is that sum
divided by the number of units, which the graph does not know: the mean of what the units say. So the gradient of x
through a mean of x is what stands for the mean's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from fastrnn._cell.graph import Graph, Node, reach

Gradients = tuple[Node | None, ...]


def gradients(g: Graph, outputs: Sequence[Node], seeds: Sequence[Node], wrt: Sequence[Node]) -> list[Node | None]:
    """dL/d(each of ``wrt``), where ``seeds`` are dL/d(each of ``outputs``); None where there is no dependence."""
    total: dict[Node, Node] = {}

    def add(node: Node, d: Node | None) -> None:
        if d is not None and node.op != "constant":
            d = g.mean(d) if node.of_row else d
            total[node] = g.add(total[node], d) if node in total else d

    for output, seed in zip(outputs, seeds, strict=True):
        add(output, seed)
    for node in reversed(reach(outputs)):
        if node in total and node.args:
            for operand, d in zip(node.args, DERIVATIVES[node.op](g, node, total[node]), strict=True):
                add(operand, d)
    return [total.get(node) for node in wrt]


def _mul(g: Graph, n: Node, d: Node) -> Gradients:
    if n.args[0] is n.args[1]:
        return g.mul(g.mul(d, g.constant(2)), n.args[0]), None
    return g.mul(d, n.args[1]), g.mul(d, n.args[0])


def _div(g: Graph, n: Node, d: Node) -> Gradients:
    return g.div(d, n.args[1]), g.neg(g.mul(d, g.div(n, n.args[1])))


def _sigmoid(g: Graph, n: Node, d: Node) -> Gradients:
    return (g.mul(d, g.mul(g.sub(g.constant(1), n), n)),)


def _tanh(g: Graph, n: Node, d: Node) -> Gradients:
    return (g.mul(d, g.sub(g.constant(1), g.mul(n, n))),)


def _relu(g: Graph, n: Node, d: Node) -> Gradients:
    return (g.where(g.node("le", n, g.constant(0)), g.constant(0), d),)


def _softplus(g: Graph, n: Node, d: Node) -> Gradients:
    (x,) = n.args
    return (g.where(g.node("lt", g.constant(20), x), d, g.mul(d, g.node("sigmoid", x))),)


def _logsigmoid(g: Graph, n: Node, d: Node) -> Gradients:
    return (g.mul(d, g.node("sigmoid", g.neg(n.args[0]))),)


def _maximum(g: Graph, n: Node, d: Node) -> Gradients:
    """At a tie each operand has half of it, and both have all of it where one is NaN."""
    a, b = n.args
    shared = g.where(g.node("eq", a, b), g.mul(d, g.constant(0.5)), d)
    a_less, b_less = g.node("lt", a, b), g.node("lt", b, a)
    if n.op == "minimum":
        a_less, b_less = b_less, a_less
    return g.where(a_less, g.constant(0), shared), g.where(b_less, g.constant(0), shared)


def _clamp(g: Graph, n: Node, d: Node) -> Gradients:
    (x,), (low, high) = n.args, n.value
    inside = [g.node("le", g.constant(low), x)] if low > -math.inf else []
    inside += [g.node("le", x, g.constant(high))] if high < math.inf else []
    for condition in inside:
        d = g.where(condition, d, g.constant(0))
    return (d,)


def _where(g: Graph, n: Node, d: Node) -> Gradients:
    condition = n.args[0]
    return None, g.where(condition, d, g.constant(0)), g.where(condition, g.constant(0), d)


def _power(g: Graph, n: Node, d: Node) -> Gradients:
    return (g.mul(d, g.mul(g.constant(n.value), g.power(n.args[0], n.value - 1))),)


def _none(g: Graph, n: Node, d: Node) -> Gradients:
    return (None,) * len(n.args)


DERIVATIVES: dict[str, Callable[[Graph, Node, Node], Gradients]] = {
    "add": lambda g, n, d: (d, d),
    "sub": lambda g, n, d: (d, g.neg(d)),
    "neg": lambda g, n, d: (g.neg(d),),
    "mul": _mul,
    "div": _div,
    "exp": lambda g, n, d: (g.mul(d, n),),
    "log": lambda g, n, d: (g.div(d, n.args[0]),),
    "log1p": lambda g, n, d: (g.div(d, g.add(n.args[0], g.constant(1))),),
    "sqrt": lambda g, n, d: (g.div(d, g.mul(g.constant(2), n)),),
    "abs": lambda g, n, d: (g.mul(d, g.node("sign", n.args[0])),),
    "sigmoid": _sigmoid,
    "tanh": _tanh,
    "relu": _relu,
    "softplus": _softplus,
    "logsigmoid": _logsigmoid,
    "normal_cdf": lambda g, n, d: (g.mul(d, g.node("normal_density", n.args[0])),),
    "sin": lambda g, n, d: (g.mul(d, g.node("cos", n.args[0])),),
    "cos": lambda g, n, d: (g.mul(d, g.neg(g.node("sin", n.args[0]))),),
    "maximum": _maximum,
    "minimum": _maximum,
    "clamp": _clamp,
    "where": _where,
    "power": _power,
    "mean": lambda g, n, d: (d,),
    "matrix_product": lambda g, n, d: (g.node("transposed_product", d, value=n.value),),
    **dict.fromkeys(("lt", "le", "eq", "and", "or", "not"), _none),
}
