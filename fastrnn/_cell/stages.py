"""The stages of a program, and the instructions of each: a program is cut wherever the units of a row come together.

A mean is known when all blocks of a row are done, and so is what a matrix multiplies. So what uses a mean, or a
product, is in a later stage than what it is made of. Numbers of a row are computed between two stages, once a row, and
products with matrices follow. Everything else is as late as it can be, so that little has to be kept from stage to
stage, unless more would have to be kept for it than itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fastrnn._cell.graph import PRODUCTS, Node, computed_once


class Step(NamedTuple):
    """An instruction to be: what computes a node."""

    node: Node
    op: str
    operands: tuple[Node, ...]


class Stage(NamedTuple):
    """Steps in the order in which they run."""

    units: list[Step]  # for each unit, and the means of units
    numbers: list[Step]  # once a row
    products: list[Step]  # with matrices


def steps_of(stage: Stage) -> list[Step]:
    return [*stage.units, *stage.numbers, *stage.products]


class Schedule(NamedTuple):
    stages: list[Stage]
    numbers: Collection[Node]  # the nodes that are one number for a row


def schedule(order: Sequence[Node], outputs: Sequence[Node]) -> Schedule:
    """The stages that compute these nodes, each of which comes after its operands.

    What ``order`` does not have is given, or a constant. What is given is given for each unit, also where it is a
    number of a row.
    """
    numbers: set[Node] = set()
    known: dict[Node, int] = {}  # the first stage whose units can use it
    for node in order:
        if computed_once(node.op, node.args, numbers):
            numbers.add(node)
        cuts = node.op == "mean" or node.op in PRODUCTS
        known[node] = max((known.get(a, 0) for a in node.args), default=0) + cuts
    stages = [Stage([], [], []) for _ in range(1 + max(known.values(), default=0))]
    late = _as_late_as_possible(order, numbers, known, outputs)
    for step in _joined(order, numbers, outputs):
        node = step.node
        if node.op in PRODUCTS:
            stages[known[node] - 1].products.append(step)
        elif node not in numbers:
            stages[late[node]].units.append(step)
        elif node.op == "mean":
            stages[known[node] - 1].units.append(step)
        else:
            stages[known[node] - 1].numbers.append(step)
    return Schedule(stages, numbers)


def _as_late_as_possible(
    order: Sequence[Node], numbers: Collection[Node], known: dict[Node, int], outputs: Sequence[Node]
) -> dict[Node, int]:
    """The stage of each node of units, from the first that it can be in, ``known``, to the first that reads it."""
    last = max(known.values(), default=0)
    at_hand: set[Node] = set()  # in every stage, or computed there of what is
    for node in order:
        beyond = node in numbers or node.op in PRODUCTS
        if beyond or all(a in at_hand or a not in known for a in node.args):
            at_hand.add(node)
    first, furthest = dict.fromkeys(outputs, last), dict.fromkeys(outputs, last)  # stages that read a node
    stage = {}
    for node in reversed(order):
        at, once = known[node], node in numbers or node.op in PRODUCTS
        until = first.get(node, at)
        if not once and until > at:
            kept = [a for a in set(node.args) if a in known and a not in at_hand and furthest.get(a, 0) < until]
            at = until if len(kept) <= 1 else at
        stage[node] = at
        reads = at - 1 if once else at
        for a in node.args:
            first[a], furthest[a] = min(first.get(a, reads), reads), max(furthest.get(a, reads), reads)
    return stage


def _joined(order: Sequence[Node], numbers: Collection[Node], outputs: Collection[Node]) -> list[Step]:
    """The nodes as steps. A product that one sum, difference or mean alone uses is part of it."""
    uses = Counter(a for n in order for a in n.args)
    made, inside = set(order), set()
    steps = []

    def product(node: Node, of: Node) -> bool:
        return (
            node.op == "mul"
            and node in made
            and uses[node] == 1
            and node not in outputs
            and all(a.op != "constant" for a in node.args)
            and (of.op == "mean" or (node in numbers) == (of in numbers))
        )

    for node in order:
        op, operands = node.op, node.args
        if node.op == "mean" and product(operands[0], node) and not any(a in numbers for a in operands[0].args):
            inside.add(operands[0])
            op, operands = "mean_of_product", operands[0].args
        elif node.op in ("add", "sub") and all(a.op != "constant" for a in operands):
            a, b = operands
            for factors, other, joined in (
                (a, b, "multiply_add" if node.op == "add" else "multiply_sub"),
                (b, a, "multiply_add" if node.op == "add" else "sub_multiplied"),
            ):
                if product(factors, node) and (other in numbers) == (node in numbers):
                    inside.add(factors)
                    # A number of a row is the second of two.
                    op, operands = joined, (*sorted(factors.args, key=lambda n: n in numbers), other)
                    break
        steps.append(Step(node, op, operands))
    return [step for step in steps if step.node not in inside]
