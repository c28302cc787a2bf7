"""Writes the programs of a cell as a C++ header in the style of csrc/cells, for a compiler.

The text is the same for every device: a step is a template over V, "a vector of numbers" (csrc/cells/step.h). It is
made from the instructions that the interpreter runs, one line for each, so whatever compiles it computes the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from fastrnn._cell.bytecode import OPERATIONS, Code
from fastrnn._cell.declaration import Declaration
from fastrnn._cell.programs import Programs

_CONSTANT = -1  # the place of an operand that is a number (csrc/cells/program.h)

# Operations that are not written as a function of their own name with one operand.
_FORMS = {
    "copy": "{0}",
    "not": "1 - {0}",
    "power": "power({0}, {k})",
    "clamp": "clamped({0}, {k}, {l})",
    "add": "{0} + {1}",
    "sub": "{0} - {1}",
    "mul": "{0} * {1}",
    "div": "{0} / {1}",
    "maximum": "maximum({0}, {1})",
    "minimum": "minimum({0}, {1})",
    "lt": "less({0}, {1})",
    "le": "less_or_equal({0}, {1})",
    "eq": "equal({0}, {1})",
    "and": "{0} * {1}",
    "or": "maximum({0}, {1})",
    "where": "where({0}, {1}, {2})",
    "multiply_add": "multiply_add({0}, {1}, {2})",
    "multiply_sub": "multiply_sub({0}, {1}, {2})",
    "sub_multiplied": "sub_multiplied({0}, {1}, {2})",
}
_HEADER = """\
// A cell that a user wrote, by fastrnn/_cell/emit.py. in, out: a V for each name; csrc/cells/step.h says what V is.
#pragma once

namespace fastrnn {{

struct {name} {{
{steps}
}};

}}  // namespace fastrnn
"""
_STEP = """\
  // in: {inputs}
  // out: {outputs}
  struct {name} {{
    static constexpr int inputs = {code.inputs}, outputs = {code.outputs};
    template <class V>
    FASTRNN_CELL void step(const V* in, V* out) {{
{lines}
    }}
  }};"""


class Step(NamedTuple):
    name: str  # an identifier of C++, as all names here
    code: Code
    inputs: Sequence[str]
    outputs: Sequence[str]


def possible(made: Programs) -> bool:
    """Whether these can be written as steps of single units. Those with a mean over the units are left to the
    interpreter: a step would be several functions, with the numbers of whole rows between them.
    """
    return not any(code.cuts for code in made[:3])


def header(name: str, cell: Declaration, made: Programs) -> str:
    """The header of a struct of this name, which has an Inference, a Forward and a Backward, each with its step.

    Args:
        made: the programs of the cell, which are :func:`possible`.
    """
    states, others = list(cell.states), [*cell.vectors, *cell.per_step]
    saving = made.saving
    saved = [f"saved_{k}" for k in range(len(saving.saved))]
    given = [*cell.gates, *states, *others]
    read = [f"{states[0]}_before"] * saving.reads_h + [f"{states[0]}_after"] * saving.reads_y
    read += [f"{state}_{when}" for when in ("before", "after") for state in saving.states]
    seeds = [f"d_{state}" for state in states]
    gradients = [*seeds, *(f"d_{of}" for of in (*cell.gates, *others))]
    return of_steps(
        name,
        Step("Inference", made.inference, given, states),
        Step("Forward", made.forward, given, [*states, *saved]),
        Step("Backward", made.backward, [*saved, *read, *others, *seeds], gradients),
    )


def of_steps(name: str, *steps: Step) -> str:
    """The header of a struct with these steps."""
    return _HEADER.format(name=name, steps="\n\n".join(map(_step, steps)))


def _step(step: Step) -> str:
    lines = "\n".join(f"      {line}" for line in _lines(step.code))
    # Comments: a name may be whatever is one in Python.
    inputs, outputs = (", ".join(names).encode("ascii", "replace").decode() for names in step[2:])
    return _STEP.format(name=step.name, code=step.code, lines=lines, inputs=inputs, outputs=outputs)


def _lines(code: Code) -> list[str]:
    """The statements of a program. Each result has a name of its own, so places that are written again do no harm."""
    values = {place: f"in[{place}]" for place in range(code.inputs)}
    lines: list[str] = []
    for number, to, *places, k, l in code.instructions:
        operation = OPERATIONS[number]
        operands = [
            f"constant_of<V>({_number(constant)})" if place == _CONSTANT else values.get(place, "")
            for place, constant in zip(places, (k, k, l), strict=True)  # l is of `where` alone
        ]
        form = _FORMS.get(operation, operation + "({0})")
        text = form.format(*operands, k=int(k) if operation == "power" else _number(k), l=_number(l))
        if operation == "copy" and places[0] != _CONSTANT:
            values[to] = text
        else:
            values[to] = f"v{len(lines)}"
            lines.append(f"const V {values[to]} = {text};")
    return lines + [f"out[{k}] = {values[code.inputs + k]};" for k in range(code.outputs)]


def _number(x: float) -> str:
    """A double of C++, exactly: Python writes as many digits as that takes."""
    if math.isnan(x):
        return '__builtin_nan("")'
    if math.isinf(x):
        return "__builtin_inf()" if x > 0 else "-__builtin_inf()"
    return repr(x)
