"""Every recurrent layer of a model packed for inference, and back.

A layer changes its class and its weights and stays the same object, as with :func:`fastrnn.convert`: whatever refers to
it, and its hooks, remain right.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch

from fastrnn import _unconverted, nn
from fastrnn.nn.face import Faced
from fastrnn.quantization.layers import PackedCell, PackedLayer, PackedModule

_PACKED: dict[type, type[PackedModule]] = {
    **dict.fromkeys((nn.RNN, nn.GRU, nn.LSTM), PackedLayer),
    **dict.fromkeys((nn.RNNCell, nn.GRUCell, nn.LSTMCell), PackedCell),
}
_TORCHS = (
    *(torch.nn.RNN, torch.nn.GRU, torch.nn.LSTM),
    *(torch.nn.RNNCell, torch.nn.GRUCell, torch.nn.LSTMCell),
)


def freeze(model: torch.nn.Module, *, inplace: bool = False) -> torch.nn.Module:
    """Pack the weights of every fastrnn RNN, GRU, LSTM and cell in ``model``, once and for all, for inference.

    A plain layer packs its weights for every call, because they may have changed since the last one. A frozen layer
    keeps them packed, which makes a few rows for a few steps faster. float32 weights stay float32 (float16 is widened
    to it), bfloat16 weights stay bfloat16; sums, gates and states are float32.

    A frozen layer holds nothing but the packed weights. It refuses to train, and ``load_state_dict`` of the plain
    layer's state dict packs the new weights. It cannot notice a change of the weights it was made from: with
    ``inplace=False`` those of ``model``, whoever trains it; in both cases tensors that were taken from the model
    before, such as an optimizer's or those of an averaged model. Freeze again after such a change.

    Args:
        model: in eval mode, on the CPU.
        inplace: change ``model`` itself, and not a copy.

    Returns:
        the model with frozen layers. :func:`dequantize` makes them trainable again.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: there is nothing to freeze, or a layer is float64.
        RuntimeError: a layer is in training mode, or not on the CPU.
    """
    found, skipped = _layers(model, "freeze", ())
    plans = [(name, layer, numbers_of(name, layer)) for name, layer in found]
    _unconverted.warn("freeze", model, (*_PACKED, *_TORCHS), skipped)
    return _pack(model, plans, inplace)


def quantize(
    model: torch.nn.Module, *, dtype: str = "int8", skip: Sequence[str] = (), inplace: bool = False
) -> torch.nn.Module:
    """Store the weights of every fastrnn RNN, GRU, LSTM and cell in ``model`` in 8 or 16 bits, for inference.

    "int8": a quarter of float32's memory. Each row of a weight matrix has a scale, its largest magnitude over 127; each
    row of input and state, at each step, is rounded to 255 steps from its smallest number to its largest; the products
    of integers are summed exactly. Nothing has to be calibrated. "bfloat16": half the memory; activations are float32.
    With input of bfloat16, x and h are rounded to it for the products where the processor multiplies bfloat16, which is
    faster for many rows. In both, biases, gates and states are float32. Linear layers, embeddings and all else are left
    as they are.

    A row of a batch gets the same bits whatever rows are beside it, and so does a float32 sequence that is given in
    chunks, each with the state of the one before. (States of 16 bits are rounded between chunks.) The same holds for
    :func:`freeze`.

    NaN and infinity in the input or a state become NaN in the outputs of that row. The layers refuse to train. As with
    :func:`freeze`, they cannot notice that the weights that they were made from have changed.

    ``state_dict`` has ``weight_ih_l0`` in int8 and ``weight_ih_l0_scale`` in float32, one for each row. It is loaded
    into a model quantized likewise, whatever its weights were: ``fastrnn.quantize(Model().eval())``.

    Args:
        model: in eval mode, on the CPU.
        dtype: "int8" or "bfloat16".
        skip: names of modules, as ``model.named_modules()`` has them, that are left as they are with all they contain.
        inplace: change ``model`` itself, and not a copy.

    Returns:
        the model with quantized layers. :func:`dequantize` makes them trainable again.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: another dtype, a name in ``skip`` that the model does not have, nothing to quantize, or NaN or
            infinity in a weight, which the message names. Nothing has been changed then.
        RuntimeError: a layer is in training mode, or not on the CPU.
    """
    if dtype not in ("int8", "bfloat16"):
        raise ValueError(f'Expected dtype to be "int8" or "bfloat16", got {dtype!r}; for float32 use fastrnn.freeze')
    found, skipped = _layers(model, "quantize", skip)
    _unconverted.warn("quantize", model, (*_PACKED, *_TORCHS), skipped)
    return _pack(model, [(name, layer, dtype) for name, layer in found], inplace)


def dequantize(model: torch.nn.Module, *, inplace: bool = False) -> torch.nn.Module:
    """The way back of :func:`freeze` and :func:`quantize`: trainable layers in float32.

    Their weights are the numbers that the packed layers compute with, so what int8 rounded stays rounded. The model is
    in eval mode as before.

    Raises:
        TypeError: ``model`` is not a module.
        ValueError: there is nothing to dequantize.
    """
    if not _unconverted.recurrent(model, (PackedModule,)):
        raise ValueError(f"Expected a model with frozen or quantized layers, got {type(model).__name__} without any")
    model = model if inplace else copy.deepcopy(model)
    for _, layer in _unconverted.recurrent(model, (PackedModule,)):
        _become(layer, layer.plain())  # type: ignore[operator]
    return model


def _layers(model: torch.nn.Module, task: str, skip: Sequence[str]) -> tuple[list[tuple[str, Any]], dict[str, str]]:
    """The layers to pack, with their names, and those that cannot be packed, with reasons."""
    modules = _unconverted.recurrent(model, (Faced, PackedModule, *_TORCHS))
    if isinstance(skip, str):
        raise ValueError(f"Expected skip to be a list of names, got the string {skip!r}; write skip=[{skip!r}]")
    if unknown := sorted(set(skip) - {name for name, _ in model.named_modules()}):
        raise ValueError(f"Expected skip to name modules of the model, got {', '.join(unknown)}")
    left = tuple(skip)
    modules = [(n, m) for n, m in modules if not any(n == s or n.startswith(f"{s}.") for s in left)]
    found, skipped, training = [], {}, []
    for name, module in modules:
        if isinstance(module, PackedModule):
            raise ValueError(
                f"Expected layers that are not packed, got {name}, which is packed as {module.numbers}; call "
                "fastrnn.dequantize(model) first"
            )
        if reason := why_not(module):
            skipped[name] = f"{type(module).__name__}: {reason}"
            continue
        found.append((name, module))
        training += [name] if module.training else []
        if elsewhere := next((p.device for p in module.parameters() if not p.is_cpu), None):
            raise RuntimeError(
                f"Expected layers on the CPU to {task}, got {name} on {elsewhere}; call model.cpu() first"
            )
    if training:
        raise RuntimeError(
            f"Expected a model in eval mode to {task}, got {', '.join(training)} in training mode; call model.eval() "
            "first"
        )
    if not found and not skipped:
        raise ValueError(
            f"Expected a model with RNN, GRU or LSTM layers or cells to {task}, got {type(model).__name__} without any"
            + (" but those in skip" if skip else "")
        )
    return found, skipped


def why_not(module: Any) -> str | None:
    """Why a recurrent module cannot be packed, or None if it can."""
    cls = type(module)
    if cls in _TORCHS or not issubclass(cls, Faced):
        return "torch.nn's; call fastrnn.convert(model) first"
    if cls in _PACKED:
        if "forward" in module.__dict__:
            return "its forward was replaced; del module.forward first"
        names = getattr(module, "_flat_weights_names", ("weight_ih", "weight_hh"))
        if not all(isinstance(module._parameters.get(name), torch.nn.Parameter) for name in names):
            return "its weights are computed by a hook; remove it first, as torch.nn.utils.remove_weight_norm does"
        return None
    if torch.nn.utils.parametrize.is_parametrized(module):
        return "parametrized; call torch.nn.utils.parametrize.remove_parametrizations first"
    return "subclass, whose forward would not run"


def numbers_of(name: str, layer: Any, task: str = "freeze") -> str:
    """What a layer's weights are packed as when it is frozen."""
    dtype = next(layer.parameters()).dtype
    if dtype == torch.float64:
        raise ValueError(f"Expected layers of 32 or 16 bits to {task}, got {name} in float64; call model.float() first")
    return "bfloat16" if dtype == torch.bfloat16 else "float32"


def _pack(model: torch.nn.Module, plans: list[tuple[str, Any, str]], inplace: bool) -> torch.nn.Module:
    # Packed before anything is copied or changed: an error leaves the model as it was.
    packed = {
        name: _PACKED[type(layer)](layer, numbers, "" if layer is model else name) for name, layer, numbers in plans
    }
    copied = model if inplace else copy.deepcopy(model)
    layers = dict(_unconverted.recurrent(copied, (Faced,)))
    for name, new in packed.items():
        _become(layers[name], new)
    return copied


def _become(module: Any, new: torch.nn.Module) -> None:
    """Make a module what another is. It keeps its hooks, and attributes that its user has added."""
    own = vars(module)
    added = {name: value for name, value in own.items() if not name.startswith("_") and name not in vars(new)}
    hooks = {name: value for name, value in own.items() if name.startswith("_") and "hooks" in name}
    module.__class__ = type(new)
    own.clear()
    own.update(vars(new) | added | hooks)
