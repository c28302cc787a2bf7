"""Recurrent layers and models one step at a time, each call with the next step of every row: :func:`stream`.

A stream packs the weights once, keeps the states, and owns all memory that a step needs (docs/adr/0037).
"""

from __future__ import annotations

import copy
import itertools
from typing import Any, NamedTuple

import torch
from torch import Tensor

from fastrnn._core.call import State
from fastrnn._core.extension import _C
from fastrnn.quantization import layout
from fastrnn.quantization.layers import PackedLayer
from fastrnn.quantization.models import numbers_of, why_not

_DROPOUT = (torch.nn.Dropout, torch.nn.AlphaDropout, torch.nn.FeatureAlphaDropout)
_KERNELS = {torch.nn.ReLU: "relu", torch.nn.Tanh: "tanh", torch.nn.Sigmoid: "sigmoid"}  # what C++ names them
_ELEMENTWISE = tuple(
    getattr(torch.nn, name)
    for name in (
        *("ReLU6", "LeakyReLU", "RReLU", "ELU", "SELU", "CELU", "GELU", "SiLU", "Mish", "Hardtanh", "Hardsigmoid"),
        *("Hardswish", "Hardshrink", "Softplus", "Softsign", "Softshrink", "Tanhshrink", "LogSigmoid", "Threshold"),
    )
)
_ALLOWED = (
    "fastrnn's RNN, GRU and LSTM, plain, frozen or quantized, torch.nn.Sequential, Linear, LayerNorm, RMSNorm, "
    "BatchNorm1d, Dropout, Softmax(dim=-1) and the elementwise activations of torch.nn"
)


class Stage(NamedTuple):
    """What C++ runs of a module (csrc/torch/stages.h), and the tensors whose change makes it wrong."""

    described: tuple[Any, ...]
    watched: list[Tensor]
    recurrent: bool


class Stream(_C.Stream):
    """Layers that are run one step at a time. Made by ``layer.stream(batch_size)`` and :func:`fastrnn.stream`.

    ``y = stream(x)``: x (B, I), the next step of every row; y (B, O), the output of the last layer. Both may be
    float32, bfloat16 or float16; y has the dtype of x. y is a new tensor, or ``out``: ``stream(x, out=y)`` writes into
    y and returns it, which may be x itself.

    The numbers of recurrent layers are those of the frozen or quantized layer over the whole sequence, to the last bit.
    A step runs outside autograd, torch.compile and other tracers, and allocates nothing but y.

    ``stream.reset()`` sets all rows to their initial state, zero or what the layer has learned; ``stream.reset(mask)``
    those where ``mask``, bool (B,), is true.

    Attributes:
        state: h (L, B, P), of an LSTM (h, c), c (L, B, H), in float32; of a model a tuple of these, one for each of its
            recurrent modules. Reading copies it out and setting copies it in: later steps do not change what was read.
        batch_size: B.

    Raises:
        TypeError: an argument that is not a tensor.
        ValueError: a size, dtype or device that does not fit.
        RuntimeError: the input requires gradients, or the call is being traced; the weights that the stream was made of
            have been changed in place since; another thread is in a call of the same stream.
    """

    def __init__(self, stages: list[Stage], batch_size: int, single: bool) -> None:
        """``single``: of one recurrent layer, whose state is not one of a tuple."""
        watched = [tensor for stage in stages for tensor in stage.watched]
        super().__init__([stage.described for stage in stages], batch_size, single, watched)
        self._made_of = stages, batch_size, single

    def __reduce__(self) -> Any:
        stages, batch_size, single = self._made_of
        return _restored, ([stage.described for stage in stages], batch_size, single, self.state)

    def __repr__(self) -> str:
        kinds = ", ".join(stage.described[0] for stage in self._made_of[0])
        return f"Stream({kinds}; batch_size={self.batch_size})"


def _restored(stages: list[tuple[Any, ...]], batch_size: int, single: bool, state: Any) -> Stream:
    """A copy, whose packed weights are its own."""
    stream = Stream([Stage(described, [], False) for described in stages], batch_size, single)
    stream.state = state
    return stream


class MixedStream:
    """A model with modules that only torch computes, one step at a time. Made by :func:`fastrnn.stream`.

    It is used as :class:`Stream` is, without ``out``: streams take turns with torch's modules, in eval mode and without
    autograd.
    """

    def __init__(self, parts: list[Any], batch_size: int) -> None:
        self.batch_size = batch_size
        self._parts = parts
        self._streams = [part for part in parts if isinstance(part, Stream)]
        self._calls = [part if isinstance(part, Stream) else part.forward for part in parts]

    def __call__(self, input: Tensor) -> Tensor:
        if torch.is_grad_enabled() and input.requires_grad:
            raise RuntimeError(
                "A stream computes no gradients, but its input requires them; call it within torch.inference_mode() or "
                "torch.no_grad(), or pass input.detach()"
            )
        with torch.no_grad():
            for call in self._calls:
                input = call(input)
        return input

    @property
    def state(self) -> tuple[State, ...]:
        return tuple(itertools.chain.from_iterable(stream.state for stream in self._streams))

    @state.setter
    def state(self, states: tuple[State, ...]) -> None:
        before = [stream.state for stream in self._streams]
        count = sum(map(len, before))
        if not isinstance(states, (tuple, list)) or len(states) != count:
            got = f"{len(states)}" if isinstance(states, (tuple, list)) else f"a {type(states).__name__}"
            raise ValueError(f"Expected a tuple of {count} states, one for each recurrent layer, got {got}")
        rest = iter(states)
        try:
            for stream, old in zip(self._streams, before, strict=True):
                stream.state = tuple(itertools.islice(rest, len(old)))
        except Exception:
            for stream, old in zip(self._streams, before, strict=True):
                stream.state = old
            raise

    def reset(self, mask: Tensor | None = None) -> None:
        """Set rows to their initial state: all, or those where ``mask``, bool (B,), is true."""
        for stream in self._streams:
            stream.reset(mask)

    def __repr__(self) -> str:
        return f"MixedStream({', '.join(map(repr, self._parts))})"


def stream(model: torch.nn.Module, batch_size: int, *, dtype: str | None = None) -> Stream | MixedStream:
    """Run a model one step at a time: control, audio, trading, reinforcement learning.

    ``stream = fastrnn.stream(model, batch_size)`` packs the weights once, and ``y = stream(x)`` runs the next step of
    ``batch_size`` independent rows. The stream keeps the states.

    Args:
        model: a recurrent layer, or a ``torch.nn.Sequential``, also nested, of fastrnn's RNN, GRU and LSTM (plain,
            frozen or quantized), and of torch.nn's Linear, LayerNorm, RMSNorm, BatchNorm1d, Dropout, Softmax(dim=-1)
            and elementwise activations. The output of a recurrent layer is what the next module gets. In eval mode, on
            the CPU.
        batch_size: B.
        dtype: what plain recurrent layers are packed as: "float32", "bfloat16" or "int8". None: as
            :func:`fastrnn.freeze` does.

    Returns:
        a :class:`Stream` that runs all of it in one call of C++, in float32 between modules; or a :class:`MixedStream`
        where the model has other modules than recurrent ones, Linear, LayerNorm, ReLU, Tanh, Sigmoid and Dropout.

    Raises:
        TypeError: ``model`` is not a module, or ``batch_size`` not a whole number.
        ValueError: a bidirectional layer, which needs the whole sequence; a module that cannot be streamed, which the
            message names; another dtype, or a layer in float64; modules whose sizes do not fit.
        RuntimeError: a module in training mode, or not on the CPU.
    """
    if not isinstance(model, torch.nn.Module):
        raise TypeError(f"Expected a torch.nn.Module, got {type(model).__name__}")
    if type(model) is not torch.nn.Sequential:
        return layer_stream(model, batch_size, dtype)
    _check_batch_size(batch_size)
    parts: list[Stage | torch.nn.Module] = []
    features: int | None = None  # that come out of what there is, where it is known
    for name, module in _in_order("", model):
        part, features = _part(name, module, dtype, features)
        parts += [] if part is None else [part]
    if not any(isinstance(part, Stage) and part.recurrent for part in parts):
        raise ValueError("Expected a model with RNN, GRU or LSTM layers to stream, got a Sequential without any")
    if all(isinstance(part, Stage) for part in parts):
        return Stream(parts, batch_size, single=False)  # type: ignore[arg-type]
    return MixedStream(_joined(parts, batch_size), batch_size)


def layer_stream(layer: Any, batch_size: int, dtype: str | None = None) -> Stream:
    """The stream of a recurrent layer. The errors are those of :func:`stream`."""
    _check_batch_size(batch_size)
    return Stream([_recurrent("the layer", layer, dtype)], batch_size, single=True)


def _part(name: str, module: Any, dtype: str | None, features: int | None) -> tuple[Any, int | None]:
    """What runs a step of a module, None for the identity, and the features that come out of it."""
    kind = type(module)
    if kind is PackedLayer or isinstance(module, torch.nn.RNNBase):
        return _recurrent(name, module, dtype), module.proj_size or module.hidden_size
    if reason := _not_by_steps(module):
        raise ValueError(f"Expected {_ALLOWED} to stream, got {name}, a {kind.__name__}: {reason}")
    _check_call(name, module)
    if kind in _DROPOUT or kind is torch.nn.Identity:
        return None, features
    if kind is torch.nn.Linear:
        weight, bias = module.weight.detach(), module.bias
        packed = layout.packed(weight.float(), None, 1)
        sizes = module.in_features, module.out_features
        return Stage(("linear", packed, _copied(bias), *sizes), list(module.parameters()), False), sizes[1]
    if kind is torch.nn.LayerNorm:
        norm = ("layer_norm", _copied(module.weight), _copied(module.bias), module.eps, *module.normalized_shape)
        return Stage(norm, list(module.parameters()), False), module.normalized_shape[0]
    if kind in _KERNELS and features is not None:
        return Stage((_KERNELS[kind], features), [], False), features
    return copy.copy(module), features  # which shares the weights, and stays in eval mode


def _recurrent(name: str, layer: Any, dtype: str | None) -> Stage:
    if dtype not in (None, *layout.DTYPES):
        raise ValueError(f'Expected dtype to be "float32", "bfloat16", "int8" or None, got {dtype!r}')
    if type(layer) is not PackedLayer:
        if not isinstance(layer, torch.nn.RNNBase):
            raise ValueError(f"Expected {_ALLOWED} to stream, got {name}, a {type(layer).__name__}")
        if reason := why_not(layer):
            raise ValueError(f"Expected a layer to stream, got {name}, a {type(layer).__name__}: {reason}")
    _check_call(name, layer)
    if layer.bidirectional:
        raise ValueError(
            f"Expected layers of one direction to stream, got {name}, which is bidirectional: its second direction "
            "begins at the end of the sequence. Call it with whole sequences"
        )
    packed = layer
    if type(layer) is not PackedLayer:
        packed = PackedLayer(layer, dtype or numbers_of(name, layer, "stream"), name)
    elif dtype not in (None, layer.numbers):
        raise ValueError(
            f"Expected dtype to be None for {name}, which is packed as {layer.numbers}, got {dtype!r}; call "
            "fastrnn.dequantize(model) first"
        )
    weights, learned = packed._weights(), packed._learned
    h_0, c_0 = (*weights[len(weights) - learned :], None, None)[:2]
    described = ("recurrent", packed._call, weights[: len(weights) - learned], h_0, c_0, *packed._zoneout)
    return Stage(described, [*layer.parameters(), *layer.buffers()], True)


def _joined(parts: list[Stage | torch.nn.Module], batch_size: int) -> list[Stream | torch.nn.Module]:
    """Stages that follow each other as one stream."""
    found: list[Stream | torch.nn.Module] = []
    stages: list[Stage] = []
    for part in [*parts, None]:
        if isinstance(part, Stage):
            stages.append(part)
            continue
        if stages:
            found.append(Stream(stages, batch_size, single=False))
        found += [] if part is None else [part]
        stages = []
    return found


def _copied(parameter: Tensor | None) -> Tensor | None:
    return None if parameter is None else parameter.detach().to(torch.float32, copy=True).contiguous()


def _check_batch_size(batch_size: Any) -> None:
    if not isinstance(batch_size, int) or isinstance(batch_size, bool):
        raise TypeError(f"Expected batch_size to be an int, got {type(batch_size).__name__}")
    if batch_size < 1:
        raise ValueError(f"Expected batch_size to be at least 1, got {batch_size}")


def _check_call(name: str, module: torch.nn.Module) -> None:
    """Refuse modules whose call is another outside a stream, and those that are not on the CPU."""
    if module.training:
        raise RuntimeError(
            f"Expected a model in eval mode to stream, got {name} in training mode; call model.eval() first"
        )
    if module._forward_hooks or module._forward_pre_hooks:
        raise ValueError(f"Expected modules without forward hooks to stream, got {name} with some; remove them first")
    if elsewhere := next((p.device for p in module.parameters() if not p.is_cpu), None):
        raise RuntimeError(f"Expected layers on the CPU to stream, got {name} on {elsewhere}; call model.cpu() first")


def _in_order(name: str, module: torch.nn.Module) -> list[tuple[str, torch.nn.Module]]:
    """The modules of a Sequential and of those in it, with their names."""
    if type(module) is not torch.nn.Sequential:
        return [(name, module)]
    _check_call(name or "the model", module)
    children = module._modules.items()
    return [found for key, child in children for found in _in_order(f"{name}.{key}" if name else key, child)]


def _not_by_steps(module: Any) -> str | None:
    """Why a module without a state computes something else for one step than for sequences, or None."""
    kind = type(module)
    if kind in (torch.nn.Linear, torch.nn.Identity, *_DROPOUT, *_KERNELS, *_ELEMENTWISE):
        return None
    if kind in (torch.nn.LayerNorm, torch.nn.RMSNorm):
        one = len(module.normalized_shape) == 1
        return None if one else f"it normalizes over {len(module.normalized_shape)} dimensions, and a row has one"
    if kind is torch.nn.BatchNorm1d:
        return None if module.track_running_stats else "without running statistics rows depend on each other"
    if kind in (torch.nn.Softmax, torch.nn.LogSoftmax):
        return None if module.dim == -1 else f"expected dim=-1, the features, got dim={module.dim}"
    return "it is none of these"
