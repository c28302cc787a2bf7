"""Turns a graph of operations into instructions for the interpreter (csrc/cpu/interpreter.h)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fastrnn._cell.graph import Node, reach

# In the order of Operation in csrc/cells/program.h.
OPERATIONS = (
    *("copy", "neg", "exp", "log", "log1p", "sqrt", "abs", "sign", "sigmoid", "tanh", "relu", "softplus", "logsigmoid"),
    *("normal_cdf", "normal_density", "sin", "cos", "not", "power", "clamp"),
    *("add", "sub", "mul", "div", "maximum", "minimum", "lt", "le", "eq", "and", "or"),
    *("where", "multiply_add", "multiply_sub", "sub_multiplied"),
)
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
_CONSTANT = -1
_UNUSED = 0

Instruction = tuple[int, int, int, int, int, float, float]  # operation, to, a, b, c, k, l


class Code(NamedTuple):
    """Places are the inputs, then the outputs, then the temporaries."""

    instructions: list[Instruction]
    inputs: int
    outputs: int
    temporaries: int


def emit(inputs: Sequence[Node], outputs: Sequence[Node], shared: Collection[int] = ()) -> Code:
    """The instructions that compute these outputs from these inputs.

    Args:
        shared: the outputs, by their number, whose memory may be that of an input. They are written at the end.
    """
    return _Emitter(inputs, outputs, shared).code


class _Emitter:
    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node], shared: Collection[int]) -> None:
        self.instructions: list[Instruction] = []
        self.first_output, self.first_temporary = len(inputs), len(inputs) + len(outputs)
        self.place: dict[Node, int] = {}
        for i, node in enumerate(inputs):
            self.place.setdefault(node, i)
        self.temporaries = 0
        self.free: list[int] = []
        given = set(self.place)
        order = [n for n in reach(outputs, given) if n not in given and n.op != "constant"]
        operands = {n: list(n.args) for n in order}
        operation = {n: n.op for n in order}
        inside = _multiplied_and_added(order, operands, operation, outputs)
        order = [n for n in order if n not in inside]
        self.uses = Counter(a for n in order for a in operands[n])
        self.uses.update(outputs)
        # An output is computed where it goes, unless an input is still read there.
        direct: dict[Node, int] = {}
        for k, output in enumerate(outputs):
            if k not in shared and output in operation:
                direct.setdefault(output, self.first_output + k)
        for node in order:
            self._instruction(node, operation[node], operands[node], direct.get(node))
        for k in shared:  # an input that is returned as another state: its place may be written before it is read
            if self.place.get(outputs[k], self.first_output) < self.first_output:
                aside = self._temporary()
                self._add("copy", aside, self.place[outputs[k]])
                self.place[outputs[k]] = aside
        for k, output in enumerate(outputs):
            to = self.first_output + k
            if output.op == "constant" and output not in self.place:
                self._add("copy", to, _CONSTANT, k=output.value)
            elif self.place[output] != to:
                self._add("copy", to, self.place[output])
        self.code = Code(self.instructions, len(inputs), len(outputs), self.temporaries)

    def _instruction(self, node: Node, op: str, operands: list[Node], to: int | None) -> None:
        k, l = 0.0, 0.0
        if op == "power":
            k = float(node.value)
        elif op == "clamp":
            k, l = node.value
        # A constant can be an operand beside another one: one of two, and what `where` chooses.
        numbers: dict[int, float] = {}
        if op == "where":
            numbers = {i: operands[i].value for i in (1, 2) if operands[i].op == "constant"}
            k, l = numbers.get(1, 0.0), numbers.get(2, 0.0)
        elif len(operands) == 2:
            constants = [i for i in (0, 1) if operands[i].op == "constant"]
            if len(constants) == 1:
                numbers = {constants[0]: operands[constants[0]].value}
                k = numbers[constants[0]]
        held: list[int] = []  # constants that need a place for this instruction
        places = []
        for i, operand in enumerate(operands):
            if i in numbers:
                places.append(_CONSTANT)
            elif operand.op == "constant":
                held.append(self._temporary())
                self._add("copy", held[-1], _CONSTANT, k=operand.value)
                places.append(held[-1])
            else:
                places.append(self.place[operand])
        if to is None:
            to = self._temporary()
        self._add(op, to, *places, k=k, l=l)
        self.place[node] = to
        self.free += held
        for operand in set(operands):
            self.uses[operand] -= operands.count(operand)
            if not self.uses[operand] and self.place.get(operand, 0) >= self.first_temporary:
                self.free.append(self.place[operand])

    def _temporary(self) -> int:
        if self.free:
            return self.free.pop()
        self.temporaries += 1
        return self.first_temporary + self.temporaries - 1

    def _add(self, op: str, to: int, *operands: int, k: float = 0.0, l: float = 0.0) -> None:
        a, b, c = (*operands, _UNUSED, _UNUSED, _UNUSED)[:3]
        self.instructions.append((_NUMBER[op], to, a, b, c, k, l))


def _multiplied_and_added(
    order: Sequence[Node],
    operands: dict[Node, list[Node]],
    operation: dict[Node, str],
    outputs: Sequence[Node],
) -> set[Node]:
    """Join products with the sum or difference that alone uses them. Returns these products."""
    uses = Counter(a for n in order for a in n.args)
    inside: set[Node] = set()

    def product(node: Node) -> bool:
        return (
            node.op == "mul"
            and node in operation
            and uses[node] == 1
            and node not in outputs
            and all(a.op != "constant" for a in node.args)
        )

    for node in order:
        if node.op not in ("add", "sub") or any(a.op == "constant" for a in node.args):
            continue
        a, b = node.args
        if product(a):
            inside.add(a)
            operands[node] = [*a.args, b]
            operation[node] = "multiply_add" if node.op == "add" else "multiply_sub"
        elif product(b):
            inside.add(b)
            operands[node] = [*b.args, a]
            operation[node] = "multiply_add" if node.op == "add" else "sub_multiplied"
    return inside
