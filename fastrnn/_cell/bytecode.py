"""Turns a graph of operations into instructions for the interpreter (csrc/cpu/interpreter.h)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from typing import NamedTuple

from fastrnn._cell.graph import PRODUCTS, Node, reach
from fastrnn._cell.stages import Step, schedule, steps_of

# In the order of Operation in csrc/cells/program.h.
OPERATIONS = (
    *("copy", "neg", "exp", "log", "log1p", "sqrt", "abs", "sign", "sigmoid", "tanh", "relu", "softplus", "logsigmoid"),
    *("normal_cdf", "normal_density", "sin", "cos", "not", "power", "clamp"),
    *("add", "sub", "mul", "div", "maximum", "minimum", "lt", "le", "eq", "and", "or"),
    *("where", "multiply_add", "multiply_sub", "sub_multiplied"),
    *("mean", "mean_of_product"),
    "matrix_product",
)
_NUMBER = {name: number for number, name in enumerate(OPERATIONS)}
_CONSTANT = -1
_UNUSED = 0

Instruction = tuple[int, int, int, int, int, float, float]  # operation, to, a, b, c, k, l


class Code(NamedTuple):
    """Places are the inputs, the outputs, the temporaries, the rows, then the numbers (csrc/cells/program.h)."""

    instructions: list[Instruction]
    inputs: int
    outputs: int
    temporaries: int
    rows: int = 0
    numbers: int = 0
    cuts: tuple[tuple[int, int], ...] = ()  # where the instructions of units, and of numbers and products, end


def emit(inputs: Sequence[Node], outputs: Sequence[Node], shared: Collection[int] = ()) -> Code:
    """The instructions that compute these outputs from these inputs.

    Args:
        shared: the outputs, by their number, whose memory may be that of an input. They are written at the end.
    """
    return _Emitter(inputs, outputs, shared).code


class _Place(NamedTuple):
    kind: str
    number: int


_KINDS = ("input", "output", "temporary", "row", "number")  # in the order of places
_CONSTANT_PLACE = _Place("constant", 0)


class _Emitter:
    def __init__(self, inputs: Sequence[Node], outputs: Sequence[Node], shared: Collection[int]) -> None:
        self.instructions: list[tuple[str, _Place, tuple[_Place, ...], float, float]] = []
        self.place: dict[Node, _Place] = {}
        for i, node in enumerate(inputs):
            self.place.setdefault(node, _Place("input", i))
        self.count = {**dict.fromkeys(_KINDS, 0), "input": len(inputs), "output": len(outputs)}
        self.free: dict[str, list[_Place]] = {kind: [] for kind in _KINDS[2:]}
        self.row_of: dict[Node, _Place] = {}  # what matrices multiply
        given = set(self.place)
        order = [n for n in reach(outputs, given) if n not in given and n.op != "constant"]
        stages, self.numbers = schedule(order, outputs)
        self.uses = Counter(a for stage in stages for step in steps_of(stage) for a in step.operands)
        self.uses.update(outputs)
        self.last_stage = {a: s for s, stage in enumerate(stages) for step in stage.units for a in step.operands}
        self.last_stage |= dict.fromkeys(outputs, len(stages) - 1)
        # What a matrix multiplies has a row of its own for as long as the program runs: where threads share the units
        # of a row, one may go on while others still read it.
        products = [step for stage in stages for step in stage.products]
        self.multiplied = {step.operands[0] for step in products}
        # An output is computed where it goes, unless an input is still read there.
        self.direct: dict[Node, _Place] = {}
        for k, output in enumerate(outputs):
            elsewhere = output in self.numbers or output in self.multiplied or output.op in PRODUCTS
            if k not in shared and not elsewhere:
                self.direct.setdefault(output, _Place("output", k))
        cuts = []
        for s, stage in enumerate(stages):
            self.read: list[_Place] = []  # numbers that other blocks of the row read too
            for step in stage.units:
                self._step(step, s)
            for step in stage.products:
                self._lay_out(step.operands[0])
            if s == len(stages) - 1:
                self._write(outputs, shared)
                break
            units_end = len(self.instructions)
            self.free["number"] += self.read
            for step in stage.numbers:
                self._step(step, s)
            for step in stage.products:
                self._product(step)
            cuts.append((units_end, len(self.instructions)))
        counts = (self.count[kind] for kind in _KINDS)
        self.code = Code._make([[self._settled(*i) for i in self.instructions], *counts, tuple(cuts)])

    def _step(self, step: Step, stage: int) -> None:
        node, op, operands = step
        once = node in self.numbers and op not in ("mean", "mean_of_product")
        k, l = 0.0, 0.0
        if op == "power":
            k = float(node.value)
        elif op == "clamp":
            k, l = node.value
        # A constant can be an operand beside another one: one of two, and what `where` chooses.
        constants: dict[int, float] = {}
        if op == "where":
            constants = {i: operands[i].value for i in (1, 2) if operands[i].op == "constant"}
            k, l = constants.get(1, 0.0), constants.get(2, 0.0)
        elif len(operands) == 2:
            constants = {i: operands[i].value for i in (0, 1) if operands[i].op == "constant"}
            constants = constants if len(constants) == 1 else {}
            k = sum(constants.values())
        held = []  # what needs a row for this instruction
        places = []
        for i, operand in enumerate(operands):
            if i in constants:
                places.append(_CONSTANT_PLACE)
            elif operand.op == "constant" or (op == "where" and i == 0 and operand in self.numbers and not once):
                held.append(self._new("temporary"))
                self._copy(operand, held[-1])
                places.append(held[-1])
            else:
                places.append(self.place[operand])
        if node in self.numbers:
            to = self._new("number")
        elif node in self.multiplied:
            to = self.row_of[node] = self._own_row()
        elif node in self.direct:
            to = self.direct[node]
        else:
            to = self._new("row" if self.last_stage[node] > stage else "temporary")
        self._add(op, to, *places, k=k, l=l)
        self.place[node] = to
        self.free["temporary"] += held
        self._used(operands, once)

    def _used(self, operands: Sequence[Node], once: bool) -> None:
        """Free the places of what is not used again. ``once``: by an instruction of numbers."""
        for operand in dict.fromkeys(operands):  # in their order, so that a cell's text is always the same
            self.uses[operand] -= operands.count(operand)
            place = self.place.get(operand)
            if self.uses[operand] or place is None or place.kind not in self.free or operand in self.row_of:
                continue
            (self.read if place.kind == "number" and not once else self.free[place.kind]).append(place)

    def _lay_out(self, operand: Node) -> None:
        """See to it that an operand of a product is a row of all units."""
        if operand not in self.row_of:
            self.row_of[operand] = self._own_row()
            self._copy(operand, self.row_of[operand])

    def _product(self, step: Step) -> None:
        to = self._new("row")
        self._add("matrix_product", to, self.row_of[step.operands[0]], k=float(step.node.value))
        self.place[step.node] = to
        self._used(step.operands, False)

    def _own_row(self) -> _Place:
        self.count["row"] += 1
        return _Place("row", self.count["row"] - 1)

    def _write(self, outputs: Sequence[Node], shared: Collection[int]) -> None:
        """What is not yet where it goes."""
        for k in shared:  # an input that is returned as another state: its place may be written before it is read
            if outputs[k] in self.place and self.place[outputs[k]].kind == "input":
                aside = self._new("temporary")
                self._copy(outputs[k], aside)
                self.place[outputs[k]] = aside
        # Those whose memory may be an input's come last: another may be a copy of that input.
        for k in sorted(range(len(outputs)), key=lambda k: k in shared):
            to = _Place("output", k)
            if self.place.get(outputs[k]) != to:
                self._copy(outputs[k], to)

    def _new(self, kind: str) -> _Place:
        if self.free[kind]:
            return self.free[kind].pop()
        self.count[kind] += 1
        return _Place(kind, self.count[kind] - 1)

    def _copy(self, node: Node, to: _Place) -> None:
        if node in self.place:
            self._add("copy", to, self.place[node])
        else:
            self._add("copy", to, _CONSTANT_PLACE, k=node.value)

    def _add(self, op: str, to: _Place, *operands: _Place, k: float = 0.0, l: float = 0.0) -> None:
        self.instructions.append((op, to, operands, k, l))

    def _settled(self, op: str, to: _Place, operands: Sequence[_Place], k: float, l: float) -> Instruction:
        """With places as numbers, when it is known how many there are of each kind."""
        first, at = {"constant": _CONSTANT}, 0
        for kind in _KINDS:
            first[kind], at = at, at + self.count[kind]
        a, b, c = (*(first[p.kind] + p.number for p in operands), _UNUSED, _UNUSED, _UNUSED)[:3]
        return _NUMBER[op], first[to.kind] + to.number, a, b, c, k, l
