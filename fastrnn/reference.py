"""Every cell and layer in plain torch, a line per equation.

This file documents the mathematics and is the oracle of the tests. It is written to be read, not to be fast. It runs in
any dtype and on any device, and can be differentiated any number of times.

Notation: ``x`` the input of a step, ``h`` and ``c`` the state before it, ``w_ih`` and ``w_hh`` the stacked weights of
all gates, ``b_ih`` and ``b_hh`` their biases (None without). Rows are batch entries, so ``linear(x, w, b)`` is
x w^T + b.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, relu, sigmoid, tanh
from torch.nn.functional import layer_norm, linear

Bias = Tensor | None


def rnn(activation: Callable, x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Bias, b_hh: Bias) -> Tensor:
    """Elman's simple recurrent network: J. L. Elman, Finding structure in time, 1990.

    Elman's own activation is the logistic sigmoid; tanh and relu came later.
    """
    return activation(linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh))


def gru(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Bias, b_hh: Bias, dropped: Tensor | None = None
) -> Tensor:
    """The GRU as torch and cuDNN compute it: the reset gate ``r`` acts after the recurrent product.

    Gates in the order r, z, n. Textbooks write h' = (1 - z) h + z n: the same family of functions with z and 1 - z
    exchanged, that is with the weights and bias of z negated. ``dropped`` is h as w_hh reads it, with recurrent
    dropout; what z keeps is h itself.
    """
    x_r, x_z, x_n = linear(x, w_ih, b_ih).chunk(3, dim=1)
    h_r, h_z, h_n = linear(h if dropped is None else dropped, w_hh, b_hh).chunk(3, dim=1)
    r = sigmoid(x_r + h_r)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    return (1 - z) * n + z * h


def gru_reset_before(
    x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Bias, b_hh: Bias, dropped: Tensor | None = None
) -> Tensor:
    """The GRU of K. Cho et al., 2014, arXiv:1406.1078: the reset gate acts on the state, before the product.

    The paper has no biases; its gate z keeps the old state, as here. The weights have the shapes and the order of
    :func:`gru`, yet the two cells are different functions of them. ``dropped`` as there.
    """
    read = h if dropped is None else dropped
    w_hr, w_hz, w_hn = w_hh.chunk(3)
    b_hr, b_hz, b_hn = (None, None, None) if b_hh is None else b_hh.chunk(3)
    x_r, x_z, x_n = linear(x, w_ih, b_ih).chunk(3, dim=1)
    r = sigmoid(x_r + linear(read, w_hr, b_hr))
    z = sigmoid(x_z + linear(read, w_hz, b_hz))
    n = tanh(x_n + linear(r * read, w_hn, b_hn))
    return (1 - z) * n + z * h


def lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Bias, b_hh: Bias, w_hr: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """S. Hochreiter and J. Schmidhuber, Long short-term memory, 1997, with the forget gate of Gers et al., 2000.

    Gates in the order i, f, g, o. With ``w_hr`` the new state is projected to fewer features: H. Sak et al., 2014,
    arXiv:1402.1128.
    """
    i, f, g, o = (linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)).chunk(4, dim=1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if w_hr is None else linear(h, w_hr)), c


def peephole_lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Bias,
    b_hh: Bias,
    w_ci: Tensor,
    w_cf: Tensor,
    w_co: Tensor,
    w_hr: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The LSTM whose gates see its state: F. A. Gers and J. Schmidhuber, Recurrent nets that time and count, 2000.

    i and f see the old c, o the new one, each unit its own, through the vectors ``w_ci``, ``w_cf``, ``w_co``.
    """
    i, f, g, o = (linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)).chunk(4, dim=1)
    i, f = sigmoid(i + w_ci * c), sigmoid(f + w_cf * c)
    c = f * c + i * tanh(g)
    h = sigmoid(o + w_co * c) * tanh(c)
    return (h if w_hr is None else linear(h, w_hr)), c


def coupled_lstm(
    x: Tensor, h: Tensor, c: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Bias, b_hh: Bias, w_hr: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The LSTM with one gate for input and forgetting, f = 1 - i: K. Greff et al., 2017, arXiv:1503.04069, CIFG.

    Gates in the order i, g, o: three quarters of the weights of :func:`lstm`.
    """
    i, g, o = (linear(x, w_ih, b_ih) + linear(h, w_hh, b_hh)).chunk(3, dim=1)
    i = sigmoid(i)
    c = (1 - i) * c + i * tanh(g)
    h = sigmoid(o) * tanh(c)
    return (h if w_hr is None else linear(h, w_hr)), c


def _normalized(x: Tensor, gain: Tensor, bias: Bias) -> Tensor:
    return layer_norm(x, x.shape[-1:], gain, bias)


def layer_norm_rnn(
    activation: Callable,
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Bias,
    b_hh: Bias,
    w_norm_ih: Tensor,
    w_norm_hh: Tensor,
) -> Tensor:
    """:func:`rnn` with both products normalized: J. L. Ba, J. R. Kiros and G. E. Hinton, 2016, arXiv:1607.06450.

    A product is normalized over all its outputs, with an epsilon of 1e-5 beside the variance, then scaled by its gain,
    w_norm_ih or w_norm_hh; the biases of the cell are those of the normalization.
    """
    return activation(_normalized(linear(x, w_ih), w_norm_ih, b_ih) + _normalized(linear(h, w_hh), w_norm_hh, b_hh))


def layer_norm_gru(
    x: Tensor,
    h: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Bias,
    b_hh: Bias,
    w_norm_ih: Tensor,
    w_norm_hh: Tensor,
    dropped: Tensor | None = None,
) -> Tensor:
    """:func:`gru` with both products normalized, each over its three gates, as in :func:`layer_norm_rnn`."""
    x_r, x_z, x_n = _normalized(linear(x, w_ih), w_norm_ih, b_ih).chunk(3, dim=1)
    read = h if dropped is None else dropped
    h_r, h_z, h_n = _normalized(linear(read, w_hh), w_norm_hh, b_hh).chunk(3, dim=1)
    r = sigmoid(x_r + h_r)
    z = sigmoid(x_z + h_z)
    n = tanh(x_n + r * h_n)
    return (1 - z) * n + z * h


def layer_norm_lstm(
    x: Tensor,
    h: Tensor,
    c: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Bias,
    b_hh: Bias,
    w_norm_ih: Tensor,
    w_norm_hh: Tensor,
    w_norm_c: Tensor,
    b_norm_c: Tensor,
) -> tuple[Tensor, Tensor]:
    """:func:`lstm` with layer normalization, as Ba et al., 2016, equations 20 to 22.

    Both products are normalized, each over its four gates, as in :func:`layer_norm_rnn`; the output reads c normalized.
    """
    a = _normalized(linear(x, w_ih), w_norm_ih, b_ih) + _normalized(linear(h, w_hh), w_norm_hh, b_hh)
    i, f, g, o = a.chunk(4, dim=1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(_normalized(c, w_norm_c, b_norm_c)), c


class Cell(NamedTuple):
    """A cell of the table: ``step(x, h, w_ih, w_hh, b_ih, b_hh)`` returns h; ``step(x, h, c, ...)`` returns h and c."""

    step: Callable
    gates: int  # blocks of H rows in w_ih
    carries_c: bool = False
    vectors: tuple[str, ...] = ()  # further arguments of the step, numbers per unit
    # The gate that keeps the old state, by its place in w_ih; -1 where 1 - it does. The one that takes in, if another.
    keeps: tuple[int, int] | None = None
    takes_in: int | None = None


_GAINS = ("w_norm_ih", "w_norm_hh")
CELLS = {
    "rnn_tanh": Cell(partial(rnn, tanh), 1),
    "rnn_relu": Cell(partial(rnn, relu), 1),
    "rnn_sigmoid": Cell(partial(rnn, sigmoid), 1),
    "gru": Cell(gru, 3, keeps=(1, 1)),
    "gru_reset_before": Cell(gru_reset_before, 3, keeps=(1, 1)),
    "lstm": Cell(lstm, 4, carries_c=True, keeps=(1, 1), takes_in=0),
    "peephole_lstm": Cell(peephole_lstm, 4, True, ("w_ci", "w_cf", "w_co"), keeps=(1, 1), takes_in=0),
    "coupled_lstm": Cell(coupled_lstm, 3, carries_c=True, keeps=(0, -1)),
    "layer_norm_rnn_tanh": Cell(partial(layer_norm_rnn, tanh), 1, vectors=_GAINS),
    "layer_norm_rnn_relu": Cell(partial(layer_norm_rnn, relu), 1, vectors=_GAINS),
    "layer_norm_rnn_sigmoid": Cell(partial(layer_norm_rnn, sigmoid), 1, vectors=_GAINS),
    "layer_norm_gru": Cell(layer_norm_gru, 3, vectors=_GAINS, keeps=(1, 1)),
    "layer_norm_lstm": Cell(layer_norm_lstm, 4, True, (*_GAINS, "w_norm_c", "b_norm_c"), keeps=(1, 1), takes_in=0),
}


def block_diagonal(w_hh: Tensor, heads: int, gates: int = 1) -> Tensor:
    """The recurrent weights of several heads as those of one: M. Beck et al., 2024, arXiv:2405.04517, section 2.2.

    Units and state are cut into n heads, and a head's units read the state of that head alone.

    Args:
        w_hh: (G H, P / n), gate by gate, and in each the rows of one head after the other.
        heads: n, which divides H and P.

    Returns:
        (G H, P): every gate's matrix (H, P) has n blocks (H / n, P / n) on its diagonal, and zeros elsewhere.

    Raises:
        ValueError: n is less than 1 or does not divide H.
    """
    if heads == 1:
        return w_hh
    if heads < 1 or w_hh.size(0) % (gates * heads):
        raise ValueError(f"Expected heads that divide the hidden size {w_hh.size(0) // gates}, got {heads}")
    blocks = w_hh.unflatten(0, (gates, heads, -1)).movedim(1, -1)  # (G, H / n, P / n, n)
    return torch.diag_embed(blocks).permute(0, 3, 1, 4, 2).flatten(0, 2).flatten(1)


def step(
    cell: str, x: Tensor, h: Tensor, c: Tensor | None, w: Sequence, dropped: Tensor | None = None
) -> tuple[Tensor, Tensor | None]:
    """One step of any cell: ``w`` is w_ih, w_hh, b_ih, b_hh, of a projected LSTM w_hr, and the cell's own vectors.

    ``dropped``: h as w_hh reads it, with recurrent dropout.
    """
    kind = _named(cell)
    projection = ("w_hr",) if len(w) > 4 + len(kind.vectors) else ()
    weights = dict(zip(("w_ih", "w_hh", "b_ih", "b_hh", *projection, *kind.vectors), w, strict=True))
    if dropped is not None and kind.keeps and not kind.carries_c:
        weights["dropped"] = dropped
    elif dropped is not None:
        h = dropped  # which nothing but w_hh reads
    return kind.step(x, h, c, **weights) if kind.carries_c else (kind.step(x, h, **weights), None)


def layer(
    cell: str,
    input: Tensor,
    batch_sizes: Tensor | None,
    h0: Tensor | None,
    c0: Tensor | None,
    weights: Sequence[Tensor],
    biases: bool,
    bidirectional: bool,
    batch_first: bool,
    *,
    projected: bool | None = None,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    every_state: bool = False,
    learned_state: bool = False,
    recurrent_mask: Tensor | None = None,
    zoneout_h: Tensor | None = None,
    zoneout_c: Tensor | None = None,
    heads: int = 1,
) -> tuple[Tensor, Tensor, Tensor]:
    """One layer, all its directions, over a whole sequence.

    T steps, B batch entries, I input features, H hidden features, G gates (1, 3 or 4), D directions,
    P = H, or the size of the projection.

    Args:
        cell: a name in :data:`CELLS`.
        input: (T, B, I), or (B, T, I) if ``batch_first``, or packed (sum of ``batch_sizes``, I).
        batch_sizes: None, or how many sequences are still running at each step: int64 (T,), never rising.
        h0: (D, B, P), or None for zeros.
        c0: (D, B, H) or None for zeros; LSTM only.
        weights: of each direction w_ih (G H, I), w_hh (G H, P), then with ``biases`` b_ih and b_hh (G H), then of a
            projected LSTM w_hr (P, H), then the cell's own vectors (H), then with ``learned_state`` h_0 (P) and, where
            the cell carries c, c_0 (H). In the dtype of the input or a narrower one.
        projected: whether there are w_hr. None: if there is one weight more in each direction.
        lengths: None, or the steps of each row of padded input: integers (B,) from 0 to T. What is beyond the end of
            a row is ignored and the output there is zero; the reverse direction begins at the end.
        resets: None, or bool, shaped as the input without its features. Where it is true at t, the sequence of that row
            is split between t - 1 and t: the step after the split begins with the learned initial state, or zeros.
        every_state: follow the features of the output by c after every step, D H more, where the cell carries c.
        learned_state: h_0 and c_0 are weights, and take the place of zeros.
        recurrent_mask: None, or (D, B, P): what h_(t-1) is multiplied by before w_hh, and nowhere else: Y. Gal and
            Z. Ghahramani, 2016, arXiv:1512.05287. Of packed input there may be more rows than B.
        zoneout_h: None, or m of h_t = m h_(t-1) + (1 - m) (h of the cell), from 0 to 1, shaped as the output with D P
            features: D. Krueger et al., 2017, arXiv:1606.01305.
        zoneout_c: likewise of c, with D H features. h of the cell is a function of c of the cell.
        heads: n; with more than one, w_hh is (G H, P / n): :func:`block_diagonal` has its blocks on the diagonal.

    Returns:
        output of the shape of the input, with D P features; h_n (D, B, P); c_n (D, B, H), of shape (0,) unless LSTM.

    Raises:
        ValueError: no cell has this name, there are too few or too many weights, or w_hh does not divide into heads.
    """
    kind = _named(cell)
    directions = 2 if bidirectional else 1
    if batch_sizes is None:
        steps = (input.transpose(0, 1) if batch_first else input).unbind()
        alive = None if lengths is None else [lengths.to(input.device) > t for t in range(len(steps))]
        splits = None if resets is None else (resets.t() if batch_first else resets).unbind()
        zones = [
            None if z is None else (z.transpose(0, 1) if batch_first else z).unbind() for z in (zoneout_h, zoneout_c)
        ]
    else:
        sizes = batch_sizes.tolist()
        steps, alive = input.split(sizes), None
        splits = None if resets is None else resets.split(sizes)
        zones = [None if z is None else z.split(sizes) for z in (zoneout_h, zoneout_c)]
    batch = steps[0].size(0)
    outputs, cs, h_n, c_n = [], [], [], []
    weights = [w.to(input.dtype) for w in weights]
    learned = (1 + kind.carries_c) * learned_state
    for d, given in enumerate(_of_each_direction(kind, weights, directions, biases, projected, learned)):
        (w_ih, w_hh, *others), start = given[: len(given) - learned], given[len(given) - learned :]
        w_hh = block_diagonal(w_hh, heads, kind.gates)
        w = [w_ih, w_hh, *(others if biases else [None, None, *others])]
        start_h = start[0] if learned else input.new_zeros(w_hh.size(1))
        h = start_h.expand(batch, -1) if h0 is None else h0[d]
        c = start_c = None
        if kind.carries_c:
            start_c = start[1] if learned else input.new_zeros(w_ih.size(0) // kind.gates)
            c = start_c.expand(batch, -1) if c0 is None else c0[d]
        masks = _Masks(
            None if recurrent_mask is None else recurrent_mask[d],
            *[zone and [m.chunk(directions, 1)[d] for m in zone] for zone in zones],
        )
        h_t, c_t, h, c = _direction(cell, steps, h, c, w, d == 1, _Edges(alive, splits, start_h, start_c), masks)
        outputs.append(h_t)
        cs.append(c_t)
        h_n.append(h)
        c_n.append(c)
    if every_state and kind.carries_c:
        outputs += cs
    joined = [torch.cat(directions_at_t, 1) for directions_at_t in zip(*outputs, strict=True)]
    output = torch.cat(joined) if batch_sizes is not None else torch.stack(joined, 1 if batch_first else 0)
    return output, torch.stack(h_n), torch.stack(c_n) if kind.carries_c else input.new_empty(0)  # type: ignore[arg-type]


def _named(cell: str) -> Cell:
    if cell not in CELLS:
        raise ValueError(f"Expected cell to be one of {', '.join(CELLS)}, got {cell!r}")
    return CELLS[cell]


def _of_each_direction(
    kind: Cell, weights: Sequence[Tensor], directions: int, biases: bool, projected: bool | None, learned: int
) -> list[Sequence[Tensor]]:
    """The weights of one direction after the other."""
    count = (4 if biases else 2) + bool(projected) + len(kind.vectors) + learned
    if projected is None and len(weights) == directions * (count + 1):
        count += 1
    if len(weights) != directions * count:
        raise ValueError(f"Expected {directions * count} weights in {directions} direction(s), got {len(weights)}")
    return [weights[d * count : (d + 1) * count] for d in range(directions)]


class _Edges(NamedTuple):
    """Where the rows begin and end."""

    alive: Sequence[Tensor] | None  # of each time, whether a row has not ended: (B,); None where all end together
    splits: Sequence[Tensor] | None  # of each time, whether a row is split between the time before and this one
    start_h: Tensor
    start_c: Tensor | None

    def begins_anew(self, t: int, reverse: bool, rows: int) -> Tensor | None:
        """Which rows are split between time t and the one that the loop comes from: not where they begin or end."""
        if self.splits is None or (reverse and t + 1 == len(self.splits)):
            return None
        if not reverse:
            return self.splits[t]
        split = self.splits[t + 1] if self.alive is None else self.splits[t + 1] & self.alive[t + 1]
        return torch.cat([split, split.new_zeros(rows - len(split))])


class _Masks(NamedTuple):
    """Recurrent dropout and zoneout of one direction."""

    recurrent: Tensor | None  # (B, P)
    zone_h: Sequence[Tensor] | None  # of each time
    zone_c: Sequence[Tensor] | None


def _zoneout(zone: Sequence[Tensor] | None, t: int, before: Any, now: Any) -> Any:
    """The state after step t, of that before and of the cell's."""
    return now if zone is None else zone[t] * before + (1 - zone[t]) * now


def _direction(
    cell: str,
    steps: Sequence[Tensor],
    h: Tensor,
    c: Tensor | None,
    w: Sequence,
    reverse: bool,
    edges: _Edges,
    masks: _Masks,
) -> tuple[list[Tensor], list[Tensor], Tensor, Tensor | None]:
    """The loop over time: h and c after every step, and the last of every row.

    A step shorter than the batch moves the first rows on and leaves the others' state alone: forwards the rows drop out
    as their sequences end and keep their last state; backwards they come in, with their initial state, as their
    sequences begin. Both are the same line. In padded input the rows that have ended are computed, and not used.
    """
    output, cs = [h] * len(steps), [h] * len(steps)
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        x, n = steps[t], len(steps[t])
        before, c_before = h[:n], None if c is None else c[:n]
        anew = edges.begins_anew(t, reverse, n)
        if anew is not None:
            before, c_before = _where(anew, edges.start_h, before), _where(anew, edges.start_c, c_before)
        alive = None if edges.alive is None else edges.alive[t]
        if alive is not None:
            x = _where(alive, x, 0)  # whatever is there, infinity too
        dropped = None if masks.recurrent is None else before * masks.recurrent[:n]
        output[t], c_t = step(cell, x, before, c_before, w, dropped)
        output[t] = _zoneout(masks.zone_h, t, before, output[t])
        c_t = _zoneout(masks.zone_c, t, c_before, c_t)
        if alive is None:
            h = torch.cat([output[t], h[n:]])
            c = None if c is None or c_t is None else torch.cat([c_t, c[n:]])
        else:
            h, c = _where(alive, output[t], h), _where(alive, c_t, c)
            output[t], c_t = _where(alive, output[t], 0), _where(alive, c_t, 0)
        cs[t] = output[t] if c_t is None else c_t
    return output, cs, h, c


def _where(rows: Tensor, yes: Tensor | None, no: Tensor | float | None) -> Any:
    """Row by row ``yes`` or ``no``; None for a state that there is not."""
    return None if yes is None or no is None else torch.where(rows.unsqueeze(1), yes, no)
