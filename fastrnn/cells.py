"""Cells that were published, each in a few lines, as :class:`fastrnn.Cell`. ``fastrnn.layer(SLSTM)(128, 256)``.

To take as they are, or to copy and change. What is built in (RNN, GRU, LSTM and their options) is faster.
:func:`layer_norm` is for steps that normalize.
"""

from __future__ import annotations

from math import inf

from torch import exp, maximum, relu, sigmoid, tanh
from torch.nn.functional import logsigmoid

from fastrnn._cell.declaration import Cell
from fastrnn._cell.norms import layer_norm as layer_norm

__all__ = [
    "CIFG",
    "LTC",
    "MGU",
    "SLSTM",
    "CfC",
    "IndRNN",
    "LayerNormLSTM",
    "LiGRU",
    "Peephole",
    "TextbookGRU",
]  # the cells


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


class LayerNormLSTM(Cell):
    """The LSTM with layer normalization: J. L. Ba et al., 2016, arXiv:1607.06450, equations 20 to 22.

    The products of the input and of the state (r) are normalized each over all gates, and c by itself; u and w are
    gains. The paper has no biases before the norms: pass ``bias=False`` to the layer.
    ``fastrnn.LSTM(..., layer_norm=True)`` computes the same, faster.
    """

    input_gates = "i f g o"
    recurrent_gates = "r_i r_f r_g r_o"
    state = "h c"
    vectors = dict(u_i=1, u_f=1, u_g=1, u_o=1, w_i=1, w_f=1, w_g=1, w_o=1, b_i=0, b_f=0, b_g=0, b_o=0, u_c=1, b_c=0)

    def step(
        i, f, g, o, r_i, r_f, r_g, r_o, c,
        u_i, u_f, u_g, u_o, w_i, w_f, w_g, w_o, b_i, b_f, b_g, b_o, u_c, b_c,
    ):  # fmt: skip
        i, f, g, o = layer_norm(i, f, g, o)
        r_i, r_f, r_g, r_o = layer_norm(r_i, r_f, r_g, r_o)
        i = sigmoid(u_i * i + w_i * r_i + b_i)
        f = sigmoid(u_f * f + w_f * r_f + b_f)
        g = tanh(u_g * g + w_g * r_g + b_g)
        o = sigmoid(u_o * o + w_o * r_o + b_o)
        c = f * c + i * g
        return o * tanh(u_c * layer_norm(c) + b_c), c


class TextbookGRU(Cell):
    """The GRU whose reset gate acts before the recurrent product: K. Cho et al., 2014, arXiv:1406.1078, section 2.3.

    z keeps h, as in the paper and in torch. ``fastrnn.GRU(..., reset_after=False)`` computes the same, and is built in.
    """

    input_gates = "r z n"
    recurrent_gates = "r z"
    matrices = "u"

    def step(r, z, n, h, u):
        r, z = sigmoid(r), sigmoid(z)
        n = tanh(n + u(r * h))
        return (1 - z) * n + z * h


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

    The forget gate is the sigmoid, one of the paper's two. The paper's heads are the layer's: ``heads=n``.
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
