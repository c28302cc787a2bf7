"""RNNCell, GRUCell and LSTMCell: one step of a layer, with the parameters, calls and errors of torch.nn's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.compiler import is_compiling
from torch.fx import Proxy

from fastrnn._core.backend import step
from fastrnn._core.tracing import NotScriptable, recorded_call
from fastrnn.nn.calls import CellCall
from fastrnn.nn.face import Faced
from fastrnn.nn.inputs import each

_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Cell(Faced, NotScriptable, torch.nn.RNNCellBase):
    """The forward pass that the three share."""

    _beyond_torch: tuple[str, ...] = ()  # attributes that torch.nn's cell has not

    @property
    def _cell(self) -> str:
        raise NotImplementedError

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if isinstance(input, Proxy):
            return recorded_call(self, input, hx)
        rank = input.dim()
        if rank not in (1, 2):
            raise ValueError(f"{type(self).__name__}: Expected input to be 1D or 2D, got {rank}D instead")
        for state in () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,):
            if state.dim() not in (1, 2):
                raise ValueError(f"{type(self).__name__}: Expected hx to be 1D or 2D, got {state.dim()}D instead")
        if rank == 2:
            return step(self._cell, input, hx, *self._weights())
        hx = each(lambda state: state.unsqueeze(0), hx)
        return each(lambda state: state.squeeze(0), step(self._cell, input.unsqueeze(0), hx, *self._weights()))

    def _weights(self) -> tuple[list[Tensor], bool]:
        """The weights, and whether there are biases. Reading attributes of a module takes ten times as long."""
        if is_compiling():
            weights = [getattr(self, name) for name in _WEIGHTS]
        else:
            own, parameters = self.__dict__, self._parameters
            try:
                weights = [own[name] if name in own else parameters[name] for name in _WEIGHTS]
            except KeyError:
                weights = [getattr(self, name) for name in _WEIGHTS]
        return [w for w in weights if w is not None], weights[2] is not None


class RNNCell(_Cell):
    """One step of :class:`fastrnn.RNN`: h' = f(W_ih x + b_ih + W_hh h + b_hh).

    Args:
        input_size: I, features of the input.
        hidden_size: H, features of the state.
        bias: whether there are b_ih and b_hh.
        nonlinearity: f: "tanh", "relu" or, beyond torch, "sigmoid".
        device, dtype: of the parameters.

    Call:
        ``h = cell(input, hx=None)``: input (B, I) or (I), hx (B, H) or (H), None for zeros; returns the shape of hx.

    Parameters are those of ``torch.nn.RNNCell``: ``weight_ih`` (H, I), ``weight_hh`` (H, H), ``bias_ih``, ``bias_hh``
    (H). Another nonlinearity raises RuntimeError at the call, as torch does; sizes, dtypes or devices that do not fit
    raise RuntimeError, another rank ValueError.
    """

    if TYPE_CHECKING:
        __call__: CellCall[Tensor]
        forward: CellCall[Tensor]

    _twin = torch.nn.RNNCell
    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    @property
    def _cell(self) -> str:
        if self.nonlinearity not in ("tanh", "relu", "sigmoid"):
            raise RuntimeError(f"Expected nonlinearity to be tanh, relu or sigmoid, got {self.nonlinearity!r}")
        return "rnn_" + self.nonlinearity


class GRUCell(_Cell):
    """One step of :class:`fastrnn.GRU`, with 3 H rows in every weight and bias. Else as :class:`RNNCell`.

    Args:
        reset_after: which of the two forms of the GRU, see :class:`fastrnn.GRU`.
    """

    if TYPE_CHECKING:
        __call__: CellCall[Tensor]
        forward: CellCall[Tensor]

    _twin = torch.nn.GRUCell
    _beyond_torch = ("reset_after",)
    reset_after: bool = True

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        reset_after: bool = True,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)
        self.reset_after = reset_after

    @property
    def _cell(self) -> str:
        return "gru" if self.reset_after else "gru_reset_before"

    def extra_repr(self) -> str:
        return super().extra_repr() + ("" if self.reset_after else ", reset_after=False")


class LSTMCell(_Cell):
    """One step of :class:`fastrnn.LSTM`, with 4 H rows in every weight and bias. Else as :class:`RNNCell`.

    Call:
        ``h, c = cell(input, (h, c))``, or without the pair, for zeros.
    """

    if TYPE_CHECKING:
        __call__: CellCall[tuple[Tensor, Tensor]]
        forward: CellCall[tuple[Tensor, Tensor]]

    _twin = torch.nn.LSTMCell

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    @property
    def _cell(self) -> str:
        return "lstm"
