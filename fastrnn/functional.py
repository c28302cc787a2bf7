"""RNN, GRU and LSTM, and their cells, as functions of input, state and weights. The modules of fastrnn.nn do the same.

Which code runs them is decided in :mod:`fastrnn._core.backend`; the equations are in :mod:`fastrnn.reference`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict, overload

from torch import Tensor

from fastrnn._core.backend import sequence, step
from fastrnn._core.call import States, call_of
from fastrnn._core.cells import CELLS
from fastrnn.losses import linear_cross_entropy

if TYPE_CHECKING:
    from typing_extensions import Unpack

__all__ = ["gru", "gru_cell", "linear_cross_entropy", "lstm", "lstm_cell", "rnn", "rnn_cell"]


class _Options(TypedDict, total=False):
    """The options of all three functions, for type checkers."""

    batch_sizes: Tensor | None
    num_layers: int
    biases: bool
    dropout: float
    training: bool
    bidirectional: bool
    batch_first: bool
    recompute: bool
    lengths: Tensor | None
    resets: Tensor | None
    learned_state: bool
    heads: int


class _OfRNN(_Options, total=False):
    nonlinearity: str


class _OfGRU(_Options, total=False):
    reset_after: bool


class _OfLSTM(_Options, total=False):
    peephole: bool
    coupled: bool


_RNN_CELLS = {"tanh": "rnn_tanh", "relu": "rnn_relu", "sigmoid": "rnn_sigmoid"}


@overload
def rnn(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[True],
    **options: Unpack[_OfRNN],
) -> tuple[Tensor, Tensor, States]: ...
@overload
def rnn(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[False] = False,
    **options: Unpack[_OfRNN],
) -> tuple[Tensor, Tensor]: ...
def rnn(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    nonlinearity: str = "tanh",
    layer_norm: bool = False,
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
    biases: bool = True,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    recompute: bool = False,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    return_states: bool = False,
    learned_state: bool = False,
    heads: int = 1,
) -> Any:
    """Elman RNN over a sequence: h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh).

    T steps, B batch entries, I input features, H hidden features, L layers, D directions.

    Args:
        input: (T, B, I), or (B, T, I) with ``batch_first``, or packed (sum of ``batch_sizes``, I).
        hx: h_0 (L D, B, H), or None for zeros.
        weights: of each layer, and in it of each direction: W_ih (H, I; D H above the first layer), W_hh (H, H),
            with ``biases`` b_ih and b_hh (H). The order of ``torch.nn.RNN``'s parameters.
        nonlinearity: f: "tanh", "relu" or "sigmoid".
        layer_norm: layer normalization inside, with the gains w_norm_ih and w_norm_hh (H) last in each direction's
            weights: the equation is then that of :func:`fastrnn.reference.layer_norm_rnn`.
        batch_sizes: for packed input, the int64 CPU tensor that a PackedSequence holds.
        dropout: probability of zeroing an element between layers, if ``training``.
        recompute: save almost nothing for the backward pass, which computes it again. The same numbers, less memory,
            more time. The masks of zoneout are kept. No effect inside torch.func.
        lengths, resets, return_states: as a call of :class:`fastrnn.RNN` takes them. return_states adds a third result.
        learned_state: each direction's weights end with h_0 (H), and an LSTM's with h_0 (P) and c_0 (H): the state to
            begin with where hx is None, and after resets.
        heads: n: h is cut into n heads, and every W_hh, of H / n columns, multiplies each head by the rows of its units
            alone (:func:`fastrnn.reference.block_diagonal`).

    Returns:
        output, of the shape of input with D H features; h_n (L D, B, H). Both in the dtype of the input: float32,
        float64, bfloat16 or float16 (the last two accumulate in float32).

    Raises:
        ValueError: unknown nonlinearity, input and weights of different dtypes, heads that do not divide H, lengths or
            resets of a wrong type, dtype, size or range.
        RuntimeError: sizes, devices or states that do not fit, or an empty sequence.

    The equation is that of :func:`fastrnn.reference.rnn`.
    """
    call = call_of(
        _rnn_name(nonlinearity, layer_norm),
        input,
        hx,
        weights,
        batch_sizes=batch_sizes,
        num_layers=num_layers,
        biases=biases,
        dropout=dropout,
        training=training,
        bidirectional=bidirectional,
        batch_first=batch_first,
        recompute=recompute,
        lengths=lengths,
        resets=resets,
        every_state=return_states,
        learned_state=learned_state,
        heads=heads,
    )
    return sequence(call)


@overload
def gru(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[True],
    **options: Unpack[_OfGRU],
) -> tuple[Tensor, Tensor, States]: ...
@overload
def gru(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[False] = False,
    **options: Unpack[_OfGRU],
) -> tuple[Tensor, Tensor]: ...
def gru(
    input: Tensor,
    hx: Tensor | None,
    weights: Sequence[Tensor],
    *,
    reset_after: bool = True,
    layer_norm: bool = False,
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
    biases: bool = True,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    recompute: bool = False,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    return_states: bool = False,
    learned_state: bool = False,
    heads: int = 1,
) -> Any:
    """GRU over a sequence. Arguments, results and errors as :func:`rnn`, with 3 H rows in every weight and bias.

    ``reset_after`` is torch's form (:func:`fastrnn.reference.gru`); False that of Cho et al., 2014
    (:func:`fastrnn.reference.gru_reset_before`). With ``layer_norm``, :func:`fastrnn.reference.layer_norm_gru`; both
    raise ValueError.
    """
    call = call_of(
        gru_name(reset_after, layer_norm),
        input,
        hx,
        weights,
        batch_sizes=batch_sizes,
        num_layers=num_layers,
        biases=biases,
        dropout=dropout,
        training=training,
        bidirectional=bidirectional,
        batch_first=batch_first,
        recompute=recompute,
        lengths=lengths,
        resets=resets,
        every_state=return_states,
        learned_state=learned_state,
        heads=heads,
    )
    return sequence(call)


@overload
def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[True],
    **options: Unpack[_OfLSTM],
) -> tuple[Tensor, tuple[Tensor, Tensor], States]: ...
@overload
def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None,
    weights: Sequence[Tensor],
    *,
    return_states: Literal[False] = False,
    **options: Unpack[_OfLSTM],
) -> tuple[Tensor, tuple[Tensor, Tensor]]: ...
def lstm(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None,
    weights: Sequence[Tensor],
    *,
    peephole: bool = False,
    coupled: bool = False,
    layer_norm: bool = False,
    batch_sizes: Tensor | None = None,
    num_layers: int = 1,
    biases: bool = True,
    dropout: float = 0.0,
    training: bool = False,
    bidirectional: bool = False,
    batch_first: bool = False,
    recompute: bool = False,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    return_states: bool = False,
    learned_state: bool = False,
    heads: int = 1,
) -> Any:
    """LSTM over a sequence. Arguments, results and errors as :func:`rnn`, with 4 H rows in every weight and bias.

    ``hx`` is (h_0, c_0) and the second result (h_n, c_n). A further weight W_hr (P, H) at the end of each direction's
    makes it a projected LSTM: outputs and h then have P features, c still H. The equations are those of
    :func:`fastrnn.reference.lstm`.

    With ``peephole`` the vectors w_ci, w_cf and w_co (H) come last in each direction's weights
    (:func:`fastrnn.reference.peephole_lstm`); with ``coupled`` there are 3 H rows
    (:func:`fastrnn.reference.coupled_lstm`); with ``layer_norm`` w_norm_ih and w_norm_hh (4 H), w_norm_c and b_norm_c
    (H) come last (:func:`fastrnn.reference.layer_norm_lstm`). More than one of them raises ValueError.
    """
    cell = lstm_name(peephole, coupled, layer_norm)
    plain = (4 if biases else 2) + len(CELLS[cell].vectors) + (2 if learned_state else 0)
    call = call_of(
        cell,
        input,
        hx,
        weights,
        batch_sizes=batch_sizes,
        num_layers=num_layers,
        biases=biases,
        projected=len(weights) == num_layers * (2 if bidirectional else 1) * (plain + 1),
        dropout=dropout,
        training=training,
        bidirectional=bidirectional,
        batch_first=batch_first,
        recompute=recompute,
        lengths=lengths,
        resets=resets,
        every_state=return_states,
        learned_state=learned_state,
        heads=heads,
    )
    return sequence(call)


def rnn_cell(
    input: Tensor,
    hx: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    nonlinearity: str = "tanh",
) -> Tensor:
    """One step of :func:`rnn`: input (B, I), hx (B, H) or None for zeros; returns h' (B, H).

    Raises:
        ValueError: unknown nonlinearity, or one bias without the other.
        RuntimeError: sizes, dtypes or devices that do not fit.
    """
    return step(_rnn_name(nonlinearity), input, hx, *_weights(w_ih, w_hh, b_ih, b_hh))


def gru_cell(
    input: Tensor,
    hx: Tensor | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
    *,
    reset_after: bool = True,
) -> Tensor:
    """One step of :func:`gru`: input (B, I), hx (B, H) or None for zeros; returns h' (B, H). Errors as rnn_cell."""
    cell = "gru" if reset_after else "gru_reset_before"
    return step(cell, input, hx, *_weights(w_ih, w_hh, b_ih, b_hh))


def lstm_cell(
    input: Tensor,
    hx: tuple[Tensor, Tensor] | None,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Tensor | None = None,
    b_hh: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """One step of :func:`lstm`: input (B, I), hx (h, c) of (B, H) or None for zeros; returns (h', c').

    Errors as :func:`rnn_cell`.
    """
    return step("lstm", input, hx, *_weights(w_ih, w_hh, b_ih, b_hh))


def _rnn_name(nonlinearity: str, layer_norm: bool = False) -> str:
    if nonlinearity not in _RNN_CELLS:
        raise ValueError(f"Expected nonlinearity to be one of {', '.join(_RNN_CELLS)}, got {nonlinearity!r}")
    return ("layer_norm_" if layer_norm else "") + _RNN_CELLS[nonlinearity]


def gru_name(reset_after: bool, layer_norm: bool) -> str:
    """The name of the GRU that these options choose.

    Raises:
        ValueError: layer normalization of the form that resets before the product.
    """
    if layer_norm and not reset_after:
        raise ValueError("Expected layer_norm with reset_after=True, got both layer_norm=True and reset_after=False")
    return "layer_norm_gru" if layer_norm else "gru" if reset_after else "gru_reset_before"


def lstm_name(peephole: bool, coupled: bool, layer_norm: bool) -> str:
    """The name of the LSTM that these options choose.

    Raises:
        ValueError: more than one of them.
    """
    if not (peephole or coupled or layer_norm):
        return "lstm"  # without the dictionary, a third of a microsecond: layers ask at every call
    given = {"peephole": peephole, "coupled": coupled, "layer_norm": layer_norm}
    chosen = [option for option, value in given.items() if value]
    if len(chosen) > 1:
        raise ValueError(f"Expected {', '.join(given)} or none of them, got {' and '.join(chosen)}")
    return f"{chosen[0]}_lstm"


def _weights(w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None, b_hh: Tensor | None) -> tuple[list[Tensor], bool]:
    """The weights of a cell, and whether there are biases among them."""
    if b_ih is not None and b_hh is not None:
        return [w_ih, w_hh, b_ih, b_hh], True
    if b_ih is not None or b_hh is not None:
        raise ValueError("Expected b_ih and b_hh or neither, got one of them")
    return [w_ih, w_hh], False
