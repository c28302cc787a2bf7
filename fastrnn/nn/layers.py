"""RNN, GRU and LSTM with the constructors, parameters, calls and errors of torch.nn's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from fastrnn.functional import gru_name, lstm_name
from fastrnn.init import forget_bias_
from fastrnn.nn.base import Layer
from fastrnn.nn.calls import LayerCall
from fastrnn.nn.options import Options

if TYPE_CHECKING:
    from typing_extensions import Unpack

# torch.nn.RNNBase has no mode for sigmoid. Here ``mode`` decides only the number of gates.
RNN_MODES = {"tanh": "RNN_TANH", "relu": "RNN_RELU", "sigmoid": "RNN_TANH"}


class RNN(Layer):
    """Elman RNN layers: h_t = f(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh), f = tanh, relu or sigmoid.

    T steps, B batch entries, I = ``input_size``, H = ``hidden_size``, L = ``num_layers``, D = 2 if ``bidirectional``,
    else 1.

    Args:
        input_size: features of each step of the input.
        hidden_size: features of the state. Beyond torch: a list with a size for each layer. Then every state is a tuple
            with a tensor (D, B, H of the layer) for each layer, of an LSTM h and c each.
        num_layers: layers on top of each other.
        nonlinearity: "tanh", "relu" or, beyond torch, "sigmoid", the form of Elman, 1990.
        bias: whether there are b_ih and b_hh.
        batch_first: input and output are (B, T, ...), not (T, B, ...). States keep their shape.
        dropout: in training, the probability of zeroing an element of every layer's output but the last's.
        bidirectional: a second direction reads the sequence backwards; outputs are concatenated.
        device, dtype: of the parameters: float32, float64, bfloat16 or float16.

    Options, beyond torch, by keyword:
        recompute: save almost nothing for the backward pass, which computes it again. Less memory, more time, the same
            numbers (docs/adr/0004). The masks of zoneout are kept. No effect inside torch.func.
        learn_initial_state: the state that sequences begin with, where hx is not given and after resets, is the
            parameter ``h_0`` (L D, H), zero at first; of an LSTM h_0 (L D, P) and ``c_0`` (L D, H).
        input_dropout: in training, the probability of zeroing an element of the input.
        locked_dropout: ``dropout`` and ``input_dropout`` zero the same features at all steps of a sequence: locked or
            variational dropout, Gal and Ghahramani, 2016. At the same seed, other masks than torch's.
        weight_dropout: in training, the probability of zeroing an element of every ``weight_hh``, with one mask for all
            steps of a call: DropConnect, as in AWD-LSTM, Merity et al., 2018. What is kept is divided by 1 - p.
        recurrent_dropout: in training, the probability of zeroing a feature of h_(t-1) as W_hh reads it, in each row
            the same features at all steps: Gal and Ghahramani, 2016. What is kept is divided by 1 - p. What a GRU's
            gate z keeps of h_(t-1) is not dropped.
        zoneout_h: in training, the probability that a unit keeps its h_(t-1), drawn at each step; in eval mode that
            share of h_(t-1) is blended in: h_t = m * h_(t-1) + (1 - m) * (h of the cell), Krueger et al., 2017.
        layer_norm: layer normalization inside the cell, of W_ih x and of W_hh h, each over all gates: Ba et al., 2016,
            equation :func:`fastrnn.reference.layer_norm_rnn`. Adds the gains ``weight_norm_ih_l{k}`` and
            ``weight_norm_hh_l{k}``, as long as the biases and 1 at first. With ``recompute`` the backward pass runs the
            whole layer again.
        heads: n: h is cut into n heads, and every unit reads its own head of h_(t-1) alone: ``weight_hh_l{k}`` is
            (H, H / n), and has n blocks on the diagonal of W_hh, which is zero elsewhere
            (:func:`fastrnn.reference.block_diagonal`), as in the sLSTM of Beck et al., 2024. Every head reads all of x.
            n divides H, and of an LSTM P.

    Call:
        ``output, h_n = layer(input, hx=None)``. input (T, B, I), (B, T, I) with ``batch_first``, (T, I) for one
        sequence, or a PackedSequence; hx (L D, B, H), for one sequence (L D, H), None for zeros. The output has the
        kind and shape of the input with D H features; h_n has the shape of hx.

    Beyond torch, a call takes:
        lengths: the number of steps of each row of a padded batch: integers (B) from 0 to T, in any order, of any
            integer dtype and on any device. Outputs beyond the end of a row are zero, the final state is the one at its
            end, and the reverse direction begins there: what torch computes of a PackedSequence.
        resets: bool (T, B), (B, T) with ``batch_first``: where it is true at t, row b begins anew before step t, with
            zeros or the learned initial state, and no gradient passes: the same as to split the sequence there, in both
            directions. hx is what the first step of a direction begins with, unless resets[0] is true.
        return_states: return ``output, h_n, states`` where ``states.h`` (L, T, B, D H), (L, B, T, D H) with
            ``batch_first``, is the state after every step of every layer, and ``states.c`` likewise of an LSTM, else
            None. Of a PackedSequence they have the rows of its data.

    Parameters, initialisation, state-dict keys and errors are those of ``torch.nn.RNN``: ``weight_ih_l{k}`` (H, I; D H
    above layer 0), ``weight_hh_l{k}`` (H, H), ``bias_ih_l{k}``, ``bias_hh_l{k}`` (H), with ``_reverse`` for the second
    direction, all uniform in +-1/sqrt(H).

    Raises:
        ValueError: arguments out of range; input of another rank, or another dtype than the weights'.
        TypeError: arguments of another type.
        RuntimeError: sizes, states or devices that do not fit, or an empty sequence.

    The equation, with its source, is :func:`fastrnn.reference.rnn`.
    """

    if TYPE_CHECKING:
        __call__: LayerCall[Tensor]
        forward: LayerCall[Tensor]  # type: ignore[assignment]

    _twin = torch.nn.RNN
    _cells: ClassVar[dict[str, dict[str, Any]]] = {
        prefix + name: {"nonlinearity": name} | chosen
        for prefix, chosen in (("rnn_", {}), ("layer_norm_rnn_", {"layer_norm": True}))
        for name in RNN_MODES
    }
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        proj_size: Any = None,
        **options: Unpack[Options],
    ) -> None:
        _refuse_projection(proj_size)
        _check_nonlinearity(nonlinearity)
        mode = RNN_MODES[nonlinearity]
        super().__init__(
            mode, input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.nonlinearity = nonlinearity
        self._set_options(**options)
        self._cut_into_heads()
        self._add_vectors()
        self._add_initial_states()

    def __setattr__(self, name: str, value: Any) -> None:
        """``mode``, which torch.nn reads, and ``nonlinearity`` are kept consistent: either may be set."""
        if name == "nonlinearity":
            _check_nonlinearity(value)
            super().__setattr__("mode", RNN_MODES[value])
        elif name == "mode":
            if value not in RNN_MODES.values():
                raise ValueError(f"Expected mode to be RNN_TANH or RNN_RELU, got {value!r}")
            super().__setattr__("nonlinearity", value.removeprefix("RNN_").lower())
        super().__setattr__(name, value)

    @property
    def _cell(self) -> str:
        return ("layer_norm_rnn_" if self.layer_norm else "rnn_") + self.nonlinearity

    def extra_repr(self) -> str:
        return super().extra_repr() + (", nonlinearity=sigmoid" if self.nonlinearity == "sigmoid" else "")


class GRU(Layer):
    """GRU layers. All but ``reset_after`` is as in :class:`RNN`, with 3 H rows in every weight, bias and gain.

    Args:
        reset_after: True for torch's and cuDNN's form, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)), equation
            :func:`fastrnn.reference.gru`. False, beyond torch, for that of Cho et al., 2014 and of most textbooks,
            n = tanh(W_in x + b_in + W_hn (r * h) + b_hn), equation :func:`fastrnn.reference.gru_reset_before`. The
            parameters have the same names and shapes in both. False with ``layer_norm`` raises ValueError.

    With ``layer_norm`` the equation is :func:`fastrnn.reference.layer_norm_gru`.
    """

    if TYPE_CHECKING:
        __call__: LayerCall[Tensor]
        forward: LayerCall[Tensor]  # type: ignore[assignment]

    _twin = torch.nn.GRU
    _cells: ClassVar[dict[str, dict[str, Any]]] = {
        "gru": {},
        "gru_reset_before": {"reset_after": False},
        "layer_norm_gru": {"layer_norm": True},
    }
    _beyond_torch = (*Layer._beyond_torch, "reset_after")
    reset_after: bool = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
        proj_size: Any = None,
        **options: Unpack[Options],
    ) -> None:
        _refuse_projection(proj_size)
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, 0, device, dtype
        )
        self.reset_after = reset_after
        self._set_options(**options)
        self._cut_into_heads()
        self._add_vectors()
        self._add_initial_states()

    @property
    def _cell(self) -> str:
        return gru_name(self.reset_after, self.layer_norm)


class LSTM(Layer):
    """LSTM layers. All but what is said here is as in :class:`RNN`, with 4 H rows in every weight and bias.

    Args:
        proj_size: P; if not 0, h is projected to P < H features by ``weight_hr_l{k}`` (P, H), as in Sak et al., 2014.
            Then h, the outputs and the columns of ``weight_hh_l{k}`` are P wide, c is still H.
        peephole: beyond torch: the gates see c as well, each unit its own, through the parameters ``weight_ci_l{k}``,
            ``weight_cf_l{k}`` and ``weight_co_l{k}`` (H), as in Gers and Schmidhuber, 2000. Equation
            :func:`fastrnn.reference.peephole_lstm`.
        coupled: beyond torch: one gate for input and forgetting, f = 1 - i, as in Greff et al., 2017 (CIFG). Then every
            weight and bias has 3 H rows, in the order i, g, o. Equation :func:`fastrnn.reference.coupled_lstm`.
        zoneout_c: beyond torch: as ``zoneout_h``, of c. The cell's h is computed from its own c, before it is blended.
        forget_bias: beyond torch: what the biases of the forget gate, b_ih + b_hh, are at first, as by
            :func:`fastrnn.init.forget_bias_`. None: torch's random numbers.
        layer_norm: as in :class:`RNN`, and the output reads c normalized, with ``weight_norm_c_l{k}`` and
            ``bias_norm_c_l{k}`` (H). Equation :func:`fastrnn.reference.layer_norm_lstm`.

    Call:
        ``output, (h_n, c_n) = layer(input, (h_0, c_0))``, or without the pair, for zeros. h (L D, B, P), c (L D, B, H).

    The equations, with their sources, are :func:`fastrnn.reference.lstm`. More than one of ``peephole``, ``coupled``
    and ``layer_norm``, ``layer_norm`` with ``proj_size``, ``coupled`` with ``forget_bias``, and ``forget_bias`` without
    biases raise ValueError.
    """

    if TYPE_CHECKING:
        __call__: LayerCall[tuple[Tensor, Tensor]]
        forward: LayerCall[tuple[Tensor, Tensor]]  # type: ignore[assignment]

    _twin = torch.nn.LSTM
    _cells: ClassVar[dict[str, dict[str, Any]]] = {
        "lstm": {},
        "peephole_lstm": {"peephole": True},
        "coupled_lstm": {"coupled": True},
        "layer_norm_lstm": {"layer_norm": True},
    }
    _beyond_torch = (*Layer._beyond_torch, "zoneout_c", "peephole", "coupled", "forget_bias")
    peephole: bool = False
    coupled: bool = False
    forget_bias: float | None = None

    def __init__(
        self,
        input_size: int,
        hidden_size: int | Sequence[int],
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
        *,
        peephole: bool = False,
        coupled: bool = False,
        forget_bias: float | None = None,
        zoneout_c: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        layer_norm = options.get("layer_norm", False)
        lstm_name(peephole, coupled, layer_norm)
        if layer_norm and proj_size:
            raise ValueError(f"Expected layer_norm without a projection, got proj_size={proj_size}")
        if coupled and forget_bias is not None:
            raise ValueError("Expected forget_bias or coupled, got both: f = 1 - i; see fastrnn.init.forget_bias_")
        super().__init__(
            "GRU" if coupled else "LSTM",  # by which torch chooses the number of gates: 3 or 4
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            proj_size,
            device,
            dtype,
        )
        self.mode = "LSTM"
        self.peephole = peephole
        self.coupled = coupled
        self._set_options(**options)
        self.zoneout_c = zoneout_c
        self._cut_into_heads()
        self._add_vectors()
        self.forget_bias = forget_bias
        self._set_forget_bias()
        self._add_initial_states()

    def reset_parameters(self) -> None:
        super().reset_parameters()
        self._set_forget_bias()

    def _set_forget_bias(self) -> None:
        if self.forget_bias is not None:
            forget_bias_(self, self.forget_bias)

    @property
    def _cell(self) -> str:
        return lstm_name(self.peephole, self.coupled, self.layer_norm)


def _check_nonlinearity(nonlinearity: Any) -> None:
    if nonlinearity not in RNN_MODES:
        raise ValueError(f"Expected nonlinearity to be one of {', '.join(RNN_MODES)}, got {nonlinearity!r}")


def _refuse_projection(proj_size: Any) -> None:
    """torch.nn accepts this argument only to raise this error."""
    if proj_size is not None:
        raise ValueError(f"Expected proj_size with LSTM only, got proj_size={proj_size}")
