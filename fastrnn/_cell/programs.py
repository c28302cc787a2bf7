"""A cell as programs for the interpreter: its step, the step that saves, and the gradient of one step."""

from __future__ import annotations

from typing import NamedTuple

from fastrnn._cell.bytecode import Code, emit
from fastrnn._cell.declaration import Declaration
from fastrnn._cell.gradients import gradients
from fastrnn._cell.graph import Node, reach
from fastrnn._cell.saving import Saving, choose


class Product(NamedTuple):
    """One of a step's products with a matrix, for the matrix's gradient: the sum of outer products over all rows.

    Places are among the gradients of gates and vectors, and what the backward program returns last.
    """

    matrix: int
    left: int  # of the gradient of the result
    right: int  # of what the matrix multiplied


class Programs(NamedTuple):
    """Rows in and out, in this order. A state that is `stored` lies in memory after every step.

    inference: gates, states, vectors, numbers per step -> new states.
    forward: the same -> new states, saved.
    backward: saved, h before and h after the step if they are read, stored states before and after the step, vectors,
        numbers per step, gradients of the new states -> gradients of the states, gates, vectors, numbers per step; what
        else the gradients of matrices need.
    """

    inference: Code
    forward: Code
    backward: Code
    saving: Saving
    products: list[Product]


def programs(cell: Declaration) -> Programs:
    """The programs of a cell. New states but h may lie where the old ones were, and likewise gradients of states."""
    g, inputs, names = cell.graph, cell.inputs(), list(cell.states)
    states = [inputs[name] for name in names]
    gates = [inputs[name] for name in cell.gates]
    others = [inputs[name] for name in (*cell.vectors, *cell.per_step)]
    seeds = [g.input("gradient", name) for name in names]
    multiplied = [node for node in reach(cell.outputs) if node.op == "matrix_product"]
    found = gradients(g, cell.outputs, seeds, [*states, *gates, *others, *multiplied])
    all_wanted = [g.constant(0) if n is None else n for n in found]
    count = len(all_wanted) - len(multiplied)
    wanted, of_products = all_wanted[:count], all_wanted[count:]
    of_slots = wanted[len(names) : len(names) + len(gates) + len(cell.vectors)]
    products = []
    for node, left in zip(multiplied, of_products, strict=True):
        places = []
        for row in (left, node.args[0]):
            if row not in of_slots:
                of_slots.append(row)
                wanted.append(row)
            places.append(of_slots.index(row))
        products.append(Product(node.value, *places))
    saving = choose(cell.outputs, names, [n for n in wanted if n.op != "constant"], seeds)
    all_inputs = [*gates, *states, *others]
    old = range(len(names))
    h_before = [states[0]] if saving.reads_h else []
    h_after = [cell.outputs[0]] if saving.reads_y else []
    stored = [names.index(name) for name in saving.states]
    backward_inputs: list[Node] = [
        *saving.saved,
        *h_before,
        *h_after,
        *(states[k] for k in stored),
        *(cell.outputs[k] for k in stored),
        *others,
        *seeds,
    ]
    return Programs(
        emit(all_inputs, cell.outputs, shared=old[1:]),
        emit(all_inputs, [*cell.outputs, *saving.saved], shared=old[1:]),
        emit(backward_inputs, wanted, shared=old),
        saving,
        products,
    )
