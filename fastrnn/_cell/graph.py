"""The graph of a step: numbers computed from numbers, each operation once.

A node is an operation on nodes. Two nodes of the same operation on the same nodes are one node (hash-consing), so what
a step and its gradient have in common is computed once. Nothing is simplified that would change a value, also one
that is infinite or not a number: x · 0 stays.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

# Operations whose result is a truth value: it may only choose, in `where`.
BOOLEAN = frozenset({"lt", "le", "eq", "and", "or", "not"})
_COMMUTES = frozenset({"add", "mul", "eq", "and", "or"})
# A row of all units times a matrix of the cell, or times the same transposed. Its value is the matrix's number.
PRODUCTS = frozenset({"matrix_product", "transposed_product"})


class Node:
    """One operation.

    Attributes:
        value: what it has beside its operands: a constant's number, an input's kind and name, a matrix's number.
        of_row: whether it is one number for all units of a row: a mean, and what is computed of means alone.
        of_units: whether it is one for each: on tensors (..., H), where a number of a row or of a step is (..., 1).
    """

    __slots__ = ("args", "id", "of_row", "of_units", "op", "value")

    def __init__(self, op: str, args: tuple[Node, ...], value: Any, id: int) -> None:
        self.op, self.args, self.value, self.id = op, args, value, id
        self.of_row: bool = computed_once(op, args, {a for a in args if a.of_row})
        self.of_units: bool = op in PRODUCTS or (op != "mean" and any(a.of_units for a in args))
        if op == "input":
            self.of_units = value[0] != "per_step"

    @property
    def boolean(self) -> bool:
        return self.op in BOOLEAN

    def __repr__(self) -> str:
        inside = [f"%{a.id}" for a in self.args] + ([] if self.value is None else [repr(self.value)])
        return f"%{self.id} = {self.op}({', '.join(inside)})"


class Graph:
    """All nodes of a step and of its gradient."""

    def __init__(self) -> None:
        self._table: dict[Any, Node] = {}

    def node(self, op: str, *args: Node, value: Any = None) -> Node:
        """The node of this operation, as it is written."""
        if op in _COMMUTES:
            args = tuple(sorted(args, key=lambda n: n.id))
        # repr: 0.0 and -0.0 are equal and not the same, as 1 and True; NaN is not equal to itself.
        key = (op, args, repr(value))
        if key not in self._table:
            self._table[key] = Node(op, args, value, len(self._table))
        return self._table[key]

    def input(self, kind: str, name: str) -> Node:
        return self.node("input", value=(kind, name))

    def constant(self, value: float) -> Node:
        return self.node("constant", value=float(value))

    # The operations that have a simpler form of the same value.

    def add(self, a: Node, b: Node) -> Node:
        if b.op == "neg":
            return self.sub(a, b.args[0])
        if a.op == "neg":
            return self.sub(b, a.args[0])
        return self.node("add", a, b)

    def sub(self, a: Node, b: Node) -> Node:
        return self.add(a, b.args[0]) if b.op == "neg" else self.node("sub", a, b)

    def neg(self, a: Node) -> Node:
        if a.op == "constant":
            return self.constant(-a.value)
        return a.args[0] if a.op == "neg" else self.node("neg", a)

    def mul(self, a: Node, b: Node) -> Node:
        for x, y in ((a, b), (b, a)):
            if x.op == "constant":
                if y.op == "constant":
                    return self.constant(x.value * y.value)
                if x.value == 1:
                    return y
                if x.value == -1:
                    return self.neg(y)
            if x.op == "neg":
                return self.neg(self.mul(x.args[0], y))
        return self.node("mul", a, b)

    def div(self, a: Node, b: Node) -> Node:
        return a if b.op == "constant" and b.value == 1 else self.node("div", a, b)

    def where(self, condition: Node, a: Node, b: Node) -> Node:
        return a if a is b else self.node("where", condition, a, b)

    def power(self, a: Node, n: int) -> Node:
        return self.constant(1) if n == 0 else a if n == 1 else self.node("power", a, value=n)

    def mean(self, a: Node) -> Node:
        """Over the units of a row."""
        if a.op == "neg":
            return self.neg(self.mean(a.args[0]))
        return a if a.of_row or a.op == "constant" else self.node("mean", a)


def computed_once(op: str, operands: Sequence[Node], shared: Collection[Node]) -> bool:
    """Whether the result of an operation is the same for all units of a row, where nodes in ``shared`` are."""
    if op == "mean" or op in PRODUCTS:
        return op == "mean"
    return any(a in shared for a in operands) and all(a in shared or a.op == "constant" for a in operands)


def reach(outputs: Iterable[Node], stop: Collection[Node] = ()) -> list[Node]:
    """The nodes that these outputs are computed from, each after its operands. Not what nodes in ``stop`` are made of.

    In the order of ids, which is the order in which they were made.
    """
    seen: set[Node] = set()
    waiting = list(outputs)
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            if node not in stop:
                waiting.extend(node.args)
    return sorted(seen, key=lambda n: n.id)
