"""What RNN, GRU and LSTM share: the fast path, and the weights that torch.nn would use."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor
from torch.compiler import is_compiling, is_exporting
from torch.nn import Parameter

from fastrnn._core import cells
from fastrnn._core.backend import sequence
from fastrnn._core.call import Call, cell_and_states, with_initial_states
from fastrnn._core.extension import _C
from fastrnn._core.tracing import NotScriptable
from fastrnn._core.unequal import unequal
from fastrnn.nn.face import Faced
from fastrnn.nn.inputs import AnyInput, CallOptions
from fastrnn.nn.options import Options, checked
from fastrnn.nn.sizes import checked_sizes, reset, resize

if TYPE_CHECKING:
    from typing_extensions import Unpack

if TYPE_CHECKING:
    from fastrnn.streaming import Stream

# Methods that the forward of torch.nn's layers calls, and that of fastrnn's does not.
CALLED_BY_TORCH = {
    *("check_input", "check_hidden_size", "check_forward_args", "get_expected_hidden_size", "get_expected_cell_size"),
    *("permute_hidden", "_update_flat_weights"),
}


class Layer(AnyInput, Faced, NotScriptable, torch.nn.RNNBase):
    """The forward pass that the three share.

    It derives from ``torch.nn.RNNBase``, which makes the parameters, and not from ``torch.nn.LSTM`` and its siblings.
    ``isinstance(layer, torch.nn.LSTM)`` is true nevertheless: see :mod:`fastrnn.nn.face`.
    """

    _beyond_torch: tuple[str, ...] = tuple(Options.__annotations__)  # attributes that torch.nn's layer has not
    _cells: ClassVar[dict[str, dict[str, Any]]]  # its cells by name, and the options that choose each
    # Defaults, also of modules that convert() made, or that were pickled before there was the option.
    recompute: bool = False
    learn_initial_state: bool = False
    input_dropout: float = 0.0
    locked_dropout: bool = False
    weight_dropout: float = 0.0
    recurrent_dropout: float = 0.0
    zoneout_h: float = 0.0
    zoneout_c: float = 0.0
    layer_norm: bool = False
    heads: int = 1

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if ignored := sorted(CALLED_BY_TORCH & vars(cls).keys()):
            warnings.warn(
                f"{cls.__name__} overrides {', '.join(ignored)}, which torch.nn's forward calls and "
                "fastrnn's does not; override forward instead",
                stacklevel=2,
            )

    def __init__(
        self, mode: str, input_size: int, hidden_size: int | Sequence[int], num_layers: int, *rest: Any
    ) -> None:
        sizes = checked_sizes(hidden_size, num_layers)
        super().__init__(mode, input_size, sizes[0] if sizes else hidden_size, num_layers, *rest)  # type: ignore[arg-type]
        if sizes:
            resize(self, sizes)

    @property
    def _cell(self) -> str:
        raise NotImplementedError

    def _set_options(self, **options: Unpack[Options]) -> None:
        """Set the options that the constructor was given.

        Raises:
            TypeError, ValueError: there is no such option, or not of this value.
        """
        for name, value in options.items():
            if name == "zoneout_c":
                raise ValueError(
                    f"Expected zoneout_c with LSTM only, got zoneout_c={value!r}; the state of {type(self).__name__} "
                    "is h alone: use zoneout_h"
                )
            if name not in Options.__annotations__:
                raise TypeError(f"{type(self).__name__}.__init__() got an unexpected keyword argument {name!r}")
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        """Options may be changed, and have to be what the constructor takes."""
        super().__setattr__(name, checked(name, value) if name in type(self)._beyond_torch else value)

    def forward(self, input: Any, hx: Any = None, **options: Any) -> Any:
        # Try the fast path first. It returns None for calls that it does not handle.
        if not is_compiling():
            result = _C.run_layer(self._cell, input, hx, self.__dict__, type(self), options)
            if result is not None:
                return result
        return self._run(input, hx, options)

    def _sequence(
        self, input: Tensor, hx: Any, batch_sizes: Tensor | None, batch_first: bool, options: CallOptions
    ) -> tuple[Any, ...]:
        differ = self._sizes_differ()
        cell, h0, c0 = cell_and_states(self._cell, None if differ else hx)
        # Not read, it has no gradient either.
        learned = self._initial_states() if hx is None or options.resets is not None else ()
        weights = self._weights()
        call = Call(
            cell,
            input,
            h0,
            c0,
            with_initial_states(weights, [getattr(self, name) for name in learned]) if learned else weights,
            batch_sizes=batch_sizes,
            lengths=options.lengths,
            resets=options.resets,
            every_state=options.return_states,
            learned_state=bool(learned),
            heads=self.heads,
            num_layers=self.num_layers,
            biases=self.bias,
            projected=self.proj_size > 0,
            dropout=self.dropout,
            input_dropout=self.input_dropout,
            locked_dropout=self.locked_dropout,
            weight_dropout=self.weight_dropout,
            recurrent_dropout=self.recurrent_dropout,
            zoneout_rates=(self.zoneout_h, self.zoneout_c),
            training=self.training,
            bidirectional=self.bidirectional,
            batch_first=batch_first,
            recompute=self.recompute,
        )
        return unequal(sequence, call, hx) if differ else sequence(call)

    def _sizes_differ(self) -> bool:
        """Whether each layer has a hidden size of its own. (A list of equal ones counts, so that states are tuples.)"""
        return type(self.hidden_size) is tuple

    def stream(self, batch_size: int, *, dtype: str | None = None) -> Stream:
        """This layer one step at a time, for inference: ``y = stream(x)``, x (B, I), y (B, P).

        The weights are packed once, in float32 or as ``dtype``, "bfloat16" or "int8", says; the stream keeps the state.
        See :class:`fastrnn.streaming.Stream`, and :func:`fastrnn.stream` for what it raises.
        """
        from fastrnn.streaming import layer_stream

        return layer_stream(self, batch_size, dtype)

    def _add_initial_states(self) -> None:
        """Make h_0 and c_0 if they are learned, zero: at first the layer computes what one without them does."""
        if self.learn_initial_state and self._sizes_differ():
            raise ValueError(
                "Expected learn_initial_state=False with a hidden size for each layer, got True; make each layer a "
                "module of its own"
            )
        like: Any = self._flat_weights[0]
        rows = self.num_layers * (2 if self.bidirectional else 1)
        for name, size in zip(
            self._initial_states(), (self.proj_size or self.hidden_size, self.hidden_size), strict=False
        ):
            self.register_parameter(name, Parameter(like.new_zeros(rows, size)))

    def _initial_states(self) -> tuple[str, ...]:
        """The names of the learned initial states."""
        if not self.learn_initial_state:
            return ()
        return ("h_0", "c_0") if cells.named(self._cell).carries_c else ("h_0",)

    def _cut_into_heads(self) -> None:
        """Leave every W_hh the columns of one head.

        Raises:
            ValueError: the heads do not divide the features of the state.
        """
        if self.heads == 1:
            return
        sizes = (
            self.hidden_size if self._sizes_differ() else (self.hidden_size, *[self.proj_size] * bool(self.proj_size))
        )
        for size in sizes:  # type: ignore[union-attr]
            if size % self.heads:
                name = "proj_size" if size == self.proj_size else "hidden_size"
                raise ValueError(f"Expected heads that divide {name}={size}, got heads={self.heads}")
        for name in self._flat_weights_names:
            if name.startswith("weight_hh"):
                whole = getattr(self, name)
                setattr(self, name, Parameter(whole.new_empty(whole.size(0), whole.size(1) // self.heads)))
        self._init_flat_weights()
        self.reset_parameters()

    def _add_vectors(self) -> None:
        """Make the cell's own parameters, beside torch's in name, order and initialisation."""
        vectors = cells.named(self._cell).vectors
        if not vectors:
            return
        for names in self._all_weights:  # of a layer and direction
            for vector, size in vectors.items():
                name = names[0].replace("weight_ih", vector)
                like: Any = self._flat_weights[0]
                units = getattr(self, names[0]).size(0) // cells.named(self._cell).gates
                self.register_parameter(name, Parameter(like.new_empty(size * units)))
                names.append(name)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        for name in self._flat_weights_names:  # parameters() lists them in the order of the kernels, as for other cells
            self._parameters[name] = self._parameters.pop(name)
        self._init_flat_weights()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As torch.nn's. Initial states begin as zeros, and a layer normalization with gain 1 and bias 0."""
        if self._sizes_differ():
            reset(self)
        else:
            super().reset_parameters()
        for name in self._initial_states():
            if name in self._parameters:
                torch.nn.init.zeros_(getattr(self, name))
        for name, parameter in self.named_parameters():
            if "_norm_" in name:
                torch.nn.init.constant_(parameter, name.startswith("weight"))

    def flatten_parameters(self) -> None:
        """Lay the weights out as cuDNN has them, where torch has the cell.

        Not the tensors that functional_call puts in their place: they are not the layer's to move, and inside of vmap
        have no memory.
        """
        torch_has_it = self._cell == self.mode.lower() and not self._sizes_differ() and self.heads == 1
        if torch_has_it and all(isinstance(weight, Parameter) for weight in self._flat_weights):
            super().flatten_parameters()

    def extra_repr(self) -> str:
        options = {name: getattr(self, name) for name in self._beyond_torch}
        chosen = (f", {name}={value}" for name, value in options.items() if value != getattr(type(self), name))
        return super().extra_repr() + "".join(chosen)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *rest: Any) -> None:
        """Refuse the state dict of a quantized layer: its integers would be taken for weights."""
        for name in self._parameters:
            given = state_dict.get(prefix + name)
            if isinstance(given, Tensor) and not given.is_floating_point():
                rest[-1].append(
                    f"{prefix}{name}: Expected a floating-point weight, got {given.dtype}; load this state dict into "
                    "fastrnn.quantize(model), and call fastrnn.dequantize on that"
                )
                return
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _weights(self) -> list[Tensor]:
        """What torch.nn would use: ``_flat_weights``, built again if a name refers to another tensor than before.

        So weights can be replaced by name, as parametrizations and functional_call do, or in ``_flat_weights``, as a
        subclass that drops weights does. The latter holds until a name refers to another tensor.
        """
        weights: Any = self._traced_weights() if is_compiling() else _C.flat_weights(self.__dict__)
        if weights is not None:
            return weights
        names, parameters, own = self._flat_weights_names, self._parameters, self.__dict__
        if not all(name in parameters or name in own for name in names):
            return [getattr(self, name) for name in names]  # a parametrization computes them for every call
        if self._weights_have_changed():
            self._init_flat_weights()
        for name, weight in zip(names, self._flat_weights, strict=False):
            if weight is None:
                raise RuntimeError(f"{type(self).__name__}: Expected a tensor as {name}, got None")
        return self._flat_weights  # type: ignore[return-value]

    def _traced_weights(self) -> list[Tensor] | None:
        """While a graph is traced: the weights, or None where they have to be found as in eager mode.

        A graph that reads ``_flat_weights`` is guarded on it, so it is read only if it may differ from the names.
        """
        named = [getattr(self, name) for name in self._flat_weights_names]
        if not all(isinstance(self._parameters.get(name), Parameter) for name in self._flat_weights_names):
            return named  # computed for every call
        if all(own is weight for own, weight in zip(named, self._flat_weights, strict=True)):
            return named
        if is_exporting() and self._weights_have_changed():
            # Without strict=True, export replaces the named weights by its own tensors, and must not change the module.
            kept = [ref and ref() for ref in self._flat_weight_refs]
            if any(own is not weight for own, weight in zip(kept, self._flat_weights, strict=True)):
                raise RuntimeError(
                    f"{type(self).__name__}: this export replaces the named weights, but _flat_weights holds other "
                    "tensors, which would be left out; use torch.export.export(model, args, strict=True)"
                )
            return named
        return None
