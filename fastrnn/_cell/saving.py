"""What a step saves for its gradient and what the gradient computes again: the cheapest choice, found exactly.

Prices are in numbers written and read (what one costs a unit is the unit of the rest, measured on AMD EPYC, Zen 5). A
node that the gradient needs is either stored or computed again from nodes that are available in their turn, so the
choice is a closure of least weight, which a minimum cut finds (Picard, 1976). The output h_t and what is before the
step, h_{t-1}, lie in memory anyway and cost only their reading, as do states that the gradient reads in any case.

What is one number for a row is always computed again: kept beside the numbers of units it would take as many as they.
What a matrix multiplied is never: that would be a product of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fastrnn._cell.graph import PRODUCTS, Node, reach

SAVED, READ, CHEAP = 100, 35, 4
_NEVER = 10**9
PRICES = {
    **{"sigmoid": 60, "tanh": 60, "exp": 50, "log": 60, "log1p": 70, "softplus": 120, "logsigmoid": 120},
    **{"div": 25, "sqrt": 25, "normal_cdf": 200, "normal_density": 80, "sin": 120, "cos": 120, "power": 8},
    **dict.fromkeys(PRODUCTS, _NEVER),
}


class Saving(NamedTuple):
    saved: list[Node]  # numbers of each unit and step, beside the states in `states`
    states: list[str]  # those whose values after every step the gradient reads
    reads_h: bool  # whether it reads h before the step, from the output
    reads_y: bool  # whether it reads h after the step, from the output
    price: int


def choose(outputs: Sequence[Node], names: Sequence[str], wanted: Sequence[Node], seeds: Collection[Node]) -> Saving:
    """Choose for a step with these outputs, the states of these names (h first), whose gradient computes ``wanted``.

    Args:
        seeds: the inputs that are gradients, which the gradient has and the step does not.
    """
    forward = set(reach(outputs))
    backward = reach(wanted)
    of_gradient: set[Node] = set(seeds)
    for node in backward:
        if any(a in of_gradient for a in node.args):
            of_gradient.add(node)
    demanded = {a for n in backward if n in of_gradient for a in n.args if a not in of_gradient}
    demanded |= {n for n in wanted if n not in of_gradient}
    needed = [n for n in reach(demanded) if n.op != "constant"]
    before = {n.value[1]: n for n in needed if n.op == "input" and n.value[0] == "state"}
    # Written anyway: the step before has left them.
    states = [name for name in names[1:] if before.get(name) in demanded]
    stored: dict[Node, int] = {}
    for name, output in zip(names, outputs, strict=True):
        if name == names[0] or name in states:
            stored[output] = min(stored.get(output, SAVED), READ if name == names[0] else 0)
    for node in needed:
        if node.op == "input" and node not in stored:
            kind, name = node.value
            stored[node] = READ if name == names[0] and kind == "state" else 0 if kind != "gate" else SAVED
            if kind == "state" and name != names[0] and name not in states:
                stored[node] = SAVED
    price_of = {n: stored.get(n, SAVED if n in forward and not n.of_row else _NEVER) for n in needed}
    again = _computed_again(needed, demanded, price_of)
    kept = [n for n in needed if n in again.available and n not in again.computed]
    return Saving(
        [n for n in kept if price_of[n] == SAVED],
        states,
        any(n.op == "input" and n.value == ("state", names[0]) for n in kept),
        outputs[0] in kept and price_of[outputs[0]] == READ,
        sum(price_of[n] for n in kept) + sum(_price(n) for n in again.computed) + SAVED * len(states),
    )


def _price(node: Node) -> int:
    """Of computing a node again."""
    return 0 if node.of_row and node.op != "mean" else PRICES.get(node.op, CHEAP)


class _Choice(NamedTuple):
    available: set[Node]
    computed: set[Node]


def _computed_again(needed: Sequence[Node], demanded: Collection[Node], stored: dict[Node, int]) -> _Choice:
    """Which of the needed nodes are available, and which of those are computed and not stored.

    Node n is two items: "available" at the price of storing it, and "computed", which takes that price back and asks
    its own. Computed implies available, and that the operands are. Of all sets that keep this and have what is
    demanded, the cheapest is the source's side of a minimum cut: from the source to items that gain, from items that
    cost to the sink, and no way round an implication.
    """
    network = _Network()
    for node in needed:
        available, computed = ("available", node), ("computed", node)
        network.weigh(available, stored[node])
        if node in demanded:
            network.imply("source", available)
        if node.op != "input":
            network.weigh(computed, _price(node) - stored[node])
            network.imply(computed, available)
            for operand in node.args:
                if operand.op != "constant":
                    network.imply(computed, ("available", operand))
    chosen = network.cut()
    return _Choice({n for n in needed if ("available", n) in chosen}, {n for n in needed if ("computed", n) in chosen})


class _Network:
    """Items with weights and implications, and the closed set of the least weight that has the source's."""

    def __init__(self) -> None:
        self._room: dict[object, dict[object, int]] = {}

    def _edge(self, a: object, b: object, capacity: int) -> None:
        self._room.setdefault(a, {})[b] = self._room.get(a, {}).get(b, 0) + capacity
        self._room.setdefault(b, {}).setdefault(a, 0)

    def weigh(self, item: object, weight: int) -> None:
        if weight > 0:
            self._edge(item, "sink", weight)
        elif weight < 0:
            self._edge("source", item, -weight)

    def imply(self, a: object, b: object) -> None:
        self._edge(a, b, 1 << 60)

    def cut(self) -> set[object]:
        """Augment along shortest paths (Edmonds and Karp, 1972); what the source still reaches is the set."""
        while True:
            came: dict[object, object] = {"source": None}
            queue = deque(["source"])
            while queue and "sink" not in came:
                at = queue.popleft()
                for to, room in self._room.get(at, {}).items():
                    if room > 0 and to not in came:
                        came[to] = at
                        queue.append(to)  # type: ignore[arg-type]
            if "sink" not in came:
                return set(came)
            path, at = [], "sink"
            while at != "source":
                path.append((came[at], at))
                at = came[at]  # type: ignore[assignment]
            flow = min(self._room[a][b] for a, b in path)
            for a, b in path:
                self._room[a][b] -= flow
                self._room[b][a] += flow
