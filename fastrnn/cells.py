"""Cells that were published, each in a few lines, as :class:`fastrnn.Cell`. ``fastrnn.layer(SLSTM)(128, 256)``.

To take as they are, or to copy and change. What is built in (RNN, GRU, LSTM and their options) is faster.
"""

from __future__ import annotations

from math import inf

from torch import exp, maximum, relu, sigmoid, tanh
from torch.nn.functional import logsigmoid

from fastrnn._cell.declaration import Cell

__all__ = ["CIFG", "LTC", "MGU", "SLSTM", "CfC", "IndRNN", "LiGRU", "Peephole"]


class Peephole(Cell):
    """The LSTM whose gates see its state: F. A. Gers and J. Schmidhuber, 2000, Recurrent nets that time and count.

    ``fastrnn.LSTM(..., peephole=True)`` computes the same, faster.
    """

    gates = "i f g o"
    state = "h c"
    vectors = "p_i p_f p_o"

    def step(i, f, g, o, c, p_i, p_f, p_o):
        c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
        return sigmoid(o + p_o * c) * tanh(c), c


class CIFG(Cell):
    """The LSTM with one gate for input and forgetting, f = 1 - i: K. Greff et al., 2017, arXiv:1503.04069.

    ``fastrnn.LSTM(..., coupled=True)`` computes the same, faster.
    """

    gates = "i g o"
    state = "h c"

    def step(i, g, o, c):
        i = sigmoid(i)
        c = (1 - i) * c + i * tanh(g)
        return sigmoid(o) * tanh(c), c


class MGU(Cell):
    """The minimal gated unit: G.-B. Zhou et al., 2016, arXiv:1603.09420.

    f acts after the recurrent product, as in torch's GRU, and not before it, as in the paper: n is of the input, q of
    the state.
    """

    input_gates = "f n"
    recurrent_gates = "f q"

    def step(f, n, q, h):
        f = sigmoid(f)
        return (1 - f) * h + f * tanh(n + f * q)


class LiGRU(Cell):
    """The light GRU: M. Ravanelli et al., 2018, arXiv:1803.10225. Without the paper's batch normalization."""

    gates = "z n"

    def step(z, n, h):
        z = sigmoid(z)
        return z * h + (1 - z) * relu(n)


class IndRNN(Cell):
    """The independently recurrent network, whose units see themselves alone: S. Li et al., 2018, arXiv:1803.04831."""

    input_gates = "a"
    recurrent_gates = ""
    vectors = dict(u=(0, 1))

    def step(a, h, u):
        return relu(a + u * h)


class SLSTM(Cell):
    """The LSTM with exponential gates and a stabiliser: M. Beck et al., 2024, xLSTM, arXiv:2405.04517, section 2.2.

    The forget gate is the sigmoid, one of the paper's two. One head: W_hh is a full matrix.
    """

    gates = "i f z o"
    state = dict(h=0, c=0, n=0, m=-inf)

    def step(i, f, z, o, c, n, m):
        log_f = logsigmoid(f) + m
        m = maximum(log_f, i)
        i, f = exp(i - m), exp(log_f - m)
        c = f * c + i * tanh(z)
        n = f * n + i
        return sigmoid(o) * c / n, c, n, m


class LTC(Cell):
    """The liquid time-constant network: R. Hasani et al., 2021, arXiv:2006.04439, one fused step of its solver.

    dt, a number per step, is the time that the step takes.
    """

    gates = "a"
    vectors = dict(log_tau=0, target=(-1, 1))
    per_step = "dt"

    def step(a, h, dt, log_tau, target):
        f = sigmoid(a)
        return (h + dt * f * target) / (1 + dt * (exp(-log_tau) + f))


class CfC(Cell):
    """The closed-form continuous-time network: R. Hasani et al., 2022, arXiv:2106.13898.

    Each of f, g and k is one layer, where the paper has heads on a common backbone.

    dt, a number per step, is the time that the step takes.
    """

    gates = "f g k"
    per_step = "dt"

    def step(f, g, k, dt):
        near = sigmoid(-f * dt)
        return near * tanh(g) + (1 - near) * tanh(k)
