"""What a cell saves for its gradient: the cheapest choice of all, and no more than the built-in cells."""

import itertools
import math

import pytest
import torch
from torch import sigmoid, tanh

import fastrnn
from fastrnn import _C, cells
from fastrnn._cell.gradients import gradients
from fastrnn._cell.graph import reach
from fastrnn._cell.saving import CHEAP, PRICES, _computed_again, choose


class LSTM(fastrnn.Cell):
    gates = "i f g o"
    state = "h c"

    def step(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(fastrnn.Cell):
    input_gates = "r z n"
    recurrent_gates = "r z q"

    def step(r, z, n, q, h):
        z = sigmoid(z)
        return (1 - z) * tanh(n + sigmoid(r) * q) + z * h


class RNN(fastrnn.Cell):
    gates = "a"

    def step(a):
        return tanh(a)


def chosen(cell):
    declared = cell.declaration
    seeds = [declared.graph.input("gradient", name) for name in declared.states]
    inputs = list(declared.inputs().values())
    wanted = [n for n in gradients(declared.graph, declared.outputs, seeds, inputs) if n is not None]
    return choose(declared.outputs, list(declared.states), wanted, seeds)


@pytest.mark.parametrize(("cell", "built_in"), [
    (LSTM, "lstm"), (GRU, "gru"), (RNN, "rnn_tanh"), (cells.Peephole, "peephole_lstm"), (cells.CIFG, "coupled_lstm"),
    (cells.LayerNormLSTM, "layer_norm_lstm"), (cells.TextbookGRU, "gru_reset_before"),
], ids=str)  # fmt: skip
def test_no_more_than_built_in_cells(cell, built_in):
    saving = chosen(cell)
    assert len(saving.saved) + len(saving.states) <= _C.cells()[built_in]["saves"]


def test_what_lstm_saves():
    """i, f, g, o after their functions, and c, by which the next step knows c before it."""
    saving = chosen(LSTM)
    assert sorted(n.op for n in saving.saved) == ["sigmoid", "sigmoid", "sigmoid", "tanh"]
    assert saving.states == ["c"]
    assert not saving.reads_h
    assert not saving.reads_y


def test_a_rnn_reads_its_output():
    saving = chosen(RNN)
    assert saving.saved == []
    assert saving.reads_y


@pytest.mark.parametrize("seed", range(30))
def test_no_choice_is_cheaper(seed):
    """Against all sets of stored nodes of small random graphs."""
    torch.manual_seed(seed)
    pick = lambda n: int(torch.randint(n, ()))  # noqa: E731
    from fastrnn._cell.graph import Graph

    g = Graph()
    nodes = [g.input("gate", "a"), g.input("gate", "b")]
    for _ in range(7):
        op = ["mul", "add", "tanh", "exp", "softplus", "sub"][pick(6)]
        operands = [nodes[pick(len(nodes))] for _ in range(2 if op in ("mul", "add", "sub") else 1)]
        nodes.append(g.node(op, *operands))
    demanded = {nodes[-1], nodes[pick(len(nodes))], nodes[pick(len(nodes))]}
    needed = reach(demanded)
    stored = {n: [100, 35, 0][pick(3)] if n.op == "input" else 100 for n in needed}

    def price(computed):
        available = set(demanded)
        for n in reversed(needed):
            if n in available and n in computed:
                available |= set(n.args)
        return sum(PRICES.get(n.op, CHEAP) if n in computed else stored[n] for n in available)

    inner = [n for n in needed if n.op != "input"]
    least = min(price(set(subset)) for k in range(len(inner) + 1) for subset in itertools.combinations(inner, k))
    found = _computed_again(needed, demanded, stored)
    assert price(found.computed) == least < math.inf
    assert found.available >= demanded
