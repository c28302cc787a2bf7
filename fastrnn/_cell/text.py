"""A cell as a text: what the operators of users' cells are given (csrc/torch/user_cell_text.cpp reads it).

So a program that torch exported needs nothing but the operators: neither the class of the cell nor its module.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastrnn._cell.bytecode import OPERATIONS, Code
from fastrnn._cell.declaration import Declaration
from fastrnn._cell.programs import Programs
from fastrnn._core.extension import _C


def beyond(cell: Declaration, made: Programs) -> str | None:
    """What of a cell there is more of than the kernels have room for, in words. None: nothing."""
    codes = (made.inference, made.forward, made.backward)
    counts = {
        "gates": len(cell.gates),
        "states": len(cell.states),
        "vectors": len(cell.vectors),
        "numbers per step": len(cell.per_step),
        "matrices": len(cell.matrices),
        "products with matrices": len(made.products),
        "places": max(code.inputs + code.outputs + code.temporaries + code.rows + code.numbers for code in codes),
    }
    for name, most in _C.user_cell_limits().items():
        if counts[name] > most:
            what = "numbers at a time in its step or the gradient of it" if name == "places" else name
            return f"{counts[name]} {what}, and there is room for {most}"
    return None


def text(cell: Declaration, made: Programs) -> str:
    """The text of a cell that is not :func:`beyond` the kernels."""
    states = list(cell.states)
    lines = [
        ("gates", len(cell.gates)),
        ("recurrent_gates", len(cell.recurrent_gates)),
        ("vectors", len(cell.vectors)),
        ("per_step", len(cell.per_step)),
        ("matrices", len(cell.matrices)),
        ("products", *_list([f"{of.matrix} {of.left} {of.right}" for of in made.products])),
        ("input_slots", *_list([cell.gates.index(name) for name in cell.input_gates])),
        ("begin", *_list([_number(value) for value in cell.states.values()])),
        ("saves", len(made.saving.saved)),
        ("reads_h", int(made.saving.reads_h)),
        ("reads_y", int(made.saving.reads_y)),
        ("stored", *_list([states.index(name) for name in made.saving.states])),
        ("inference", *_program(made.inference)),
        ("forward", *_program(made.forward)),
        ("backward", *_program(made.backward)),
    ]
    return "\n".join(" ".join(map(str, line)) for line in lines)


def _list(values: Sequence[object]) -> list[object]:
    return [len(values), *values]


def _program(code: Code) -> list[object]:
    instructions, *sizes, cuts = code
    lines = [
        f"\n{OPERATIONS[operation]} {to} {a} {b} {c} {_number(k)} {_number(l)}"
        for operation, to, a, b, c, k, l in instructions
    ]
    return [*sizes, *_list([f"{units} {numbers}" for units, numbers in cuts]), *_list(lines)]


def _number(value: float) -> str:
    """The shortest text that is read as this number."""
    return repr(float(value)).removesuffix(".0")
