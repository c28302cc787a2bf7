"""Layers and cells whose weight matrices are packed once and for all, for inference on the CPU.

A packed layer computes what its plain layer computes in eval mode, from weights in float32, bfloat16 or int8; gates,
states and sums are float32 (of int8 products exact integers). It keeps nothing but the packed bytes: the plain rows are
made for ``state_dict`` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor
from torch.compiler import is_compiling

from fastrnn._core import cells, operators
from fastrnn._core.call import Call, Results, cell_and_states, state_of, with_initial_states
from fastrnn._core.extension import _C
from fastrnn._core.operators import Packed as Sizes
from fastrnn._core.options import checked
from fastrnn._core.regularized import blended
from fastrnn._core.stack import stack
from fastrnn._core.tracing import NotScriptable
from fastrnn.nn.inputs import AnyInput, CallOptions, each
from fastrnn.quantization import layout

if TYPE_CHECKING:
    from fastrnn.streaming import Stream

_BYTES = "packed_"  # the buffer of a matrix is named after the parameter


class Matrix(NamedTuple):
    """A weight matrix: its name in the plain layer, and its size."""

    name: str
    parts: tuple[int, ...]  # gates; of a gated cell's weight_hh the last is a matrix of its own
    outputs: int
    depth: int  # columns, of weight_hh those of one head
    heads: int = 1

    def rows(self) -> int:
        return sum(self.parts) * self.outputs

    def pack(self, rows: Tensor, scale: Tensor | None) -> Tensor:
        sizes = [gates * self.outputs for gates in self.parts]
        scales = [None] * len(sizes) if scale is None else scale.split(sizes)
        parts = zip(rows.split(sizes), scales, self.parts, strict=True)
        return torch.cat([layout.packed(*part, self.heads) for part in parts])

    def unpack(self, data: Tensor, numbers: str) -> tuple[Tensor, Tensor | None]:
        of = self.outputs, self.depth, self.heads
        sizes = [layout.packed_bytes(numbers, gates, *of) for gates in self.parts]
        found = [
            layout.rows_of(part, numbers, gates, *of) for part, gates in zip(data.split(sizes), self.parts, strict=True)
        ]
        rows = torch.cat([rows for rows, _ in found])
        return rows, torch.cat([s for _, s in found if s is not None]) if numbers == "int8" else None


class PackedModule(NotScriptable, torch.nn.Module):
    """What packed layers and cells share: weights, state dict, and what is refused.

    Args:
        plain: the fastrnn layer or cell whose weights are packed. It is not changed.
        numbers: "float32", "bfloat16" or "int8".
        name: of the layer, for errors.

    Raises:
        ValueError: a weight is NaN or infinite (not with "float32", which keeps it), or a layer is too deep for int8.
    """

    def __init__(self, plain: Any, numbers: str, name: str = "") -> None:
        if not isinstance(plain.hidden_size, int):
            raise ValueError(
                f"Expected one hidden size for all layers to be packed, got {list(plain.hidden_size)}"
                f"{f' in {name}' if name else ''}; name that layer in skip, or use a module for each size"
            )
        super().__init__()
        self.training = False
        for attribute in ("input_size", "hidden_size", "bias"):
            setattr(self, attribute, getattr(plain, attribute))
        for attribute in self._attributes:
            setattr(self, attribute, getattr(plain, attribute))
        self.numbers = numbers
        options = (*plain._beyond_torch, *(("nonlinearity",) if hasattr(plain, "nonlinearity") else ()))
        self._plain = type(plain)
        self._options = {option: getattr(plain, option) for option in options}
        self._described = plain.extra_repr()
        self._cell = plain._cell
        self._matrices = {matrix.name: matrix for matrix in self._list_matrices(cells.named(plain._cell))}
        self._weight_names = self._list_weights(plain)
        self._names = tuple(_BYTES + n if n in self._matrices else n for n in self._weight_names)
        for weight in self._weight_names:
            value = getattr(plain, weight).detach()
            self.register_buffer(self._buffer(weight), self._packed_weight(weight, value, name), persistent=False)
        self._call = self._describe_call()

    _attributes: tuple[str, ...]  # of the plain module, beside sizes and bias

    def _list_weights(self, plain: Any) -> tuple[str, ...]:
        """The plain module's parameters, in the order of the kernels."""
        raise NotImplementedError

    def _list_matrices(self, cell: cells.Cell) -> list[Matrix]:
        raise NotImplementedError

    def _describe_call(self) -> tuple:
        """The arguments of the operator that are no tensors, as csrc/torch/fast_path.cpp reads them."""
        raise NotImplementedError

    def plain(self) -> Any:
        """A trainable layer or cell in float32 with the weights that this one computes with; in eval mode."""
        raise NotImplementedError

    def _filled(self, plain: Any) -> Any:
        with torch.no_grad():
            for weight in self._weight_names:
                rows, scale = self._rows(weight)
                getattr(plain, weight).copy_(rows.float() if scale is None else rows * scale.unsqueeze(1))
        return plain.eval()

    # Weights

    def _buffer(self, weight: str) -> str:
        return _BYTES + weight if weight in self._matrices else weight

    def _weights(self) -> list[Tensor]:
        return [getattr(self, name) for name in self._names]

    def _packed_weight(self, weight: str, value: Tensor, name: str) -> Tensor:
        full = f"{name}.{weight}" if name else weight
        matrix = self._matrices.get(weight)
        narrow = matrix is not None and self.numbers == "bfloat16"
        stored = value.to(torch.bfloat16 if narrow else torch.float32)
        if self.numbers != "float32" and not stored.isfinite().all():
            raise ValueError(
                f"Expected finite weights to pack as {self.numbers}, got NaN or infinity in {full}; load or train the "
                "model again, or clamp that weight"
            )
        if matrix is None:
            return value.to(torch.float32, copy=True)
        if self.numbers != "int8":
            return matrix.pack(stored, None)
        if matrix.depth > layout.DEEPEST_INT8:
            raise ValueError(
                f"Expected at most {layout.DEEPEST_INT8} columns for int8, got {matrix.depth} in {full}; skip this "
                'layer or use dtype="bfloat16"'
            )
        return matrix.pack(*layout.quantized(value))

    def _rows(self, weight: str) -> tuple[Tensor, Tensor | None]:
        """A weight as the state dict has it, and its scale if there is one."""
        matrix, data = self._matrices.get(weight), getattr(self, self._buffer(weight))
        return (data, None) if matrix is None else matrix.unpack(data, self.numbers)

    # State dict

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        for weight in self._weight_names:
            rows, scale = self._rows(weight)
            destination[prefix + weight] = rows
            if scale is not None:
                destination[f"{prefix}{weight}_scale"] = scale

    def _load_from_state_dict(
        self,
        state_dict: dict[str, Any],
        prefix: str,
        local_metadata: dict[str, Any],
        strict: bool,
        missing_keys: list[str],
        unexpected_keys: list[str],
        error_msgs: list[str],
    ) -> None:
        known = set()
        for weight in self._weight_names:
            key, matrix = prefix + weight, self._matrices.get(weight)
            keys = [key, f"{key}_scale"] if matrix and self.numbers == "int8" else [key]
            known.update(keys)
            missing = [k for k in keys if k not in state_dict]
            if missing:
                missing_keys.extend(missing)
                continue
            try:
                self._load_weight(weight, *[state_dict[k] for k in keys])
            except ValueError as error:
                error_msgs.append(f"{key}: {error}")
        here = [key for key in state_dict if key.startswith(prefix) and "." not in key[len(prefix) :]]
        unexpected_keys.extend(key for key in here if strict and key not in known)

    def _load_weight(self, weight: str, value: Tensor, scale: Tensor | None = None) -> None:
        matrix = self._matrices.get(weight)
        buffer = getattr(self, self._buffer(weight))
        dtype = layout.DTYPES[self.numbers] if matrix else torch.float32
        shape = (matrix.rows(), matrix.depth) if matrix else tuple(buffer.shape)
        if value.dtype != dtype:
            raise ValueError(
                f"Expected {dtype}, got {value.dtype}; load this state dict into a model that is packed as it was, or "
                "plain, and then call fastrnn.quantize or fastrnn.freeze"
            )
        if tuple(value.shape) != shape:
            raise ValueError(f"Expected size {list(shape)}, got {list(value.shape)}")
        if scale is not None and (scale.dtype != torch.float32 or tuple(scale.shape) != shape[:1]):
            raise ValueError(
                f"Expected a scale of torch.float32 and size {list(shape[:1])}, got {scale.dtype}, {list(scale.shape)}"
            )
        with torch.no_grad():
            buffer.copy_(value if matrix is None else matrix.pack(value, scale))

    # What is refused

    def train(self, mode: bool = True) -> Any:
        if mode:
            raise RuntimeError(
                f"{self._get_name()} is packed for inference and cannot train. Call fastrnn.dequantize(model) for "
                "trainable layers"
            )
        return super().train(False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """``to``, ``share_memory`` and the like. Packed weights keep their dtype, and are on the CPU."""
        for name, buffer in self._buffers.items():
            moved = fn(buffer)  # type: ignore[arg-type]
            if not moved.is_cpu:
                raise RuntimeError(
                    f"{self._get_name()} computes on the CPU, and cannot move to {moved.device}. Call "
                    "fastrnn.dequantize(model) first, or pack the model after its weights are back on the CPU"
                )
            if moved.dtype == buffer.dtype:  # type: ignore[union-attr]
                self._buffers[name] = moved
        return self

    def _check_inference(self, input: Tensor, hx: Any) -> None:
        if not torch.is_grad_enabled():
            return
        states = () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,)
        if any(t.requires_grad for t in (input, *states)):
            raise RuntimeError(
                f"{self._get_name()} computes no gradients, but its input or state requires them. Call the model "
                "within torch.inference_mode() or torch.no_grad(), or call fastrnn.dequantize(model) to train it"
            )

    def _get_name(self) -> str:
        return "Packed" + self._plain.__name__

    def extra_repr(self) -> str:
        return f"{self._described}, numbers={self.numbers}"


class PackedLayer(AnyInput, PackedModule):
    """An RNN, GRU or LSTM with packed weights. It is called as the plain layer is.

    Input and states may be float32, bfloat16 or float16; the results have the input's dtype.
    """

    _attributes = ("num_layers", "batch_first", "dropout", "bidirectional", "proj_size", "heads")
    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    proj_size: int
    _learned = 0  # how many of the weights are learned initial states
    heads: int = 1  # also of layers that were pickled before there were any
    _zoneout = (0.0, 0.0)  # how much of h and of c a step keeps

    def __init__(self, plain: Any, numbers: str, name: str = "") -> None:
        super().__init__(plain, numbers, name)
        self._learned = len(plain._initial_states())
        self._zoneout = plain.zoneout_h, plain.zoneout_c

    def forward(self, input: Any, hx: Any = None, **options: Any) -> Any:
        if not (self._learned or any(self._zoneout) or is_compiling()):
            result = _C.infer_packed(input, hx, self.__dict__, options)
            if result is not None:
                return result
        return self._run(input, hx, options)

    def stream(self, batch_size: int, *, dtype: str | None = None) -> Stream:
        """This layer one step at a time, with the same weights: see :class:`fastrnn.streaming.Stream`.

        ``dtype`` can only be None or that of the weights.
        """
        from fastrnn.streaming import layer_stream

        return layer_stream(self, batch_size, dtype)

    def _sequence(
        self, input: Tensor, hx: Any, batch_sizes: Tensor | None, batch_first: bool, options: CallOptions
    ) -> tuple[Any, ...]:
        self._check_inference(input, hx)
        cell, h0, c0 = cell_and_states(self._cell, hx)
        weights, learned = self._weights(), hx is None or options.resets is not None
        if self._learned:
            weights, initial = weights[: -self._learned], weights[-self._learned :]
            weights = with_initial_states(weights, initial) if learned else weights
        call = Call(
            cell,
            input,
            h0,
            c0,
            weights,
            batch_sizes=batch_sizes,
            lengths=options.lengths,
            resets=options.resets,
            every_state=options.return_states,
            projected=self.proj_size > 0,
            learned_state=bool(self._learned) and learned,
            heads=self.heads,
            num_layers=self.num_layers,
            biases=self.bias,
            bidirectional=self.bidirectional,
            batch_first=batch_first,
        )
        if call.lengths is not None or call.resets is not None:
            call = checked(call)
        sizes = Sizes(self.numbers, self.input_size, self.hidden_size, self.proj_size)

        def run(of: Call, sizes: Sizes) -> Results:
            if any(self._zoneout):
                of = blended(of, self._zoneout, self.proj_size or self.hidden_size, self.hidden_size)
            return operators.run_infer_packed(of, sizes)

        if not call.every_state:
            output, h_n, c_n = run(call, sizes)
            return output, state_of(call, h_n, c_n)

        def one_layer(of: Call) -> Results:
            return run(of, sizes._replace(input_size=of.input.size(-1)))

        output, h_n, c_n, states = stack(one_layer, call)
        return output, state_of(call, h_n, c_n), states

    def _list_weights(self, plain: Any) -> tuple[str, ...]:
        return (*plain._flat_weights_names, *plain._initial_states())

    def _list_matrices(self, cell: cells.Cell) -> list[Matrix]:
        found, outputs = [], self.proj_size or self.hidden_size
        for layer in range(self.num_layers):
            inputs = outputs * (2 if self.bidirectional else 1) if layer else self.input_size
            for suffix in ("", "_reverse") if self.bidirectional else ("",):
                found += _matrices(cell, f"_l{layer}{suffix}", inputs, self.hidden_size, outputs, self.heads)
                if self.proj_size:
                    found.append(Matrix(f"weight_hr_l{layer}{suffix}", (1,), outputs, self.hidden_size))
        return found

    def _describe_call(self) -> tuple:
        sizes = self.input_size, self.hidden_size, self.proj_size, self.num_layers
        return (self._cell, self.numbers, *sizes, self.bias, self.bidirectional, self.batch_first, self.heads)

    def plain(self) -> Any:
        options = self._options | ({"proj_size": self.proj_size} if self.proj_size else {})
        layer = self._plain(
            self.input_size,
            self.hidden_size,
            self.num_layers,
            bias=self.bias,
            batch_first=self.batch_first,
            dropout=self.dropout,
            bidirectional=self.bidirectional,
            **options,
        )
        return self._filled(layer)


class PackedCell(PackedModule):
    """An RNNCell, GRUCell or LSTMCell with packed weights. It is called as the plain cell is."""

    _attributes = ()
    input_size: int
    hidden_size: int
    bias: bool

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        if not is_compiling():
            result = _C.infer_packed_step(input, hx, self.__dict__)
            if result is not None:
                return result
        rank = input.dim()
        if rank not in (1, 2):
            raise ValueError(f"{self._get_name()}: Expected input to be 1D or 2D, got {rank}D instead")
        for state in () if hx is None else hx if isinstance(hx, (tuple, list)) else (hx,):
            if state.dim() not in (1, 2):
                raise ValueError(f"{self._get_name()}: Expected hx to be 1D or 2D, got {state.dim()}D instead")
        if rank == 2:
            return self._step(input, hx)
        return each(lambda state: state.squeeze(0), self._step(input.unsqueeze(0), each(lambda s: s.unsqueeze(0), hx)))

    def _step(self, input: Tensor, hx: Any) -> Any:
        self._check_inference(input, hx)
        cell, h0, c0 = cell_and_states(self._cell, each(lambda state: state.unsqueeze(0), hx))
        call = Call(cell, input.unsqueeze(0), h0, c0, self._weights(), biases=self.bias)
        _, h_n, c_n = operators.run_infer_packed(call, Sizes(self.numbers, self.input_size, self.hidden_size, 0))
        return each(lambda state: state.squeeze(0), state_of(call, h_n, c_n))

    def _list_weights(self, plain: Any) -> tuple[str, ...]:
        return ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if plain.bias else ()))

    def _list_matrices(self, cell: cells.Cell) -> list[Matrix]:
        return _matrices(cell, "", self.input_size, self.hidden_size, self.hidden_size)

    def _describe_call(self) -> tuple:
        return (self._cell, self.numbers, self.input_size, self.hidden_size, 0, 1, self.bias, False, False, 1)

    def plain(self) -> Any:
        return self._filled(self._plain(self.input_size, self.hidden_size, bias=self.bias, **self._options))


def _matrices(cell: cells.Cell, suffix: str, inputs: int, hidden: int, outputs: int, heads: int = 1) -> list[Matrix]:
    recurrent = (cell.gates - 1, 1) if cell.gated else (cell.gates,)
    return [
        Matrix(f"weight_ih{suffix}", (cell.gates,), hidden, inputs),
        Matrix(f"weight_hh{suffix}", recurrent, hidden, outputs // heads, heads),
    ]
