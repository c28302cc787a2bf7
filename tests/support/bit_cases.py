"""The cases of bits.py: layers, single cells and the softmax loss, and the hashes of what each computes."""

from __future__ import annotations

import hashlib
import inspect
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn import functional

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}

Hashes = dict[str, str]  # of a case: "output", "states", "gradients" and "inference", without autograd

LAYERS: dict[str, Callable] = {
    "rnn_tanh": lambda *sizes, **options: fastrnn.RNN(*sizes, **options),
    "rnn_relu": lambda *sizes, **options: fastrnn.RNN(*sizes, nonlinearity="relu", **options),
    "rnn_sigmoid": lambda *sizes, **options: fastrnn.RNN(*sizes, nonlinearity="sigmoid", **options),
    "gru": lambda *sizes, **options: fastrnn.GRU(*sizes, **options),
    "gru_reset_before": lambda *sizes, **options: fastrnn.GRU(*sizes, reset_after=False, **options),
    "lstm": lambda *sizes, **options: fastrnn.LSTM(*sizes, **options),
    "lstm_projected": lambda *sizes, **options: fastrnn.LSTM(*sizes, proj_size=(sizes[1] + 1) // 2, **options),
}
if "peephole" in inspect.signature(fastrnn.LSTM).parameters:  # an older build may lack what came later
    LAYERS |= {
        "lstm_peephole": lambda *sizes, **options: fastrnn.LSTM(*sizes, peephole=True, **options),
        "lstm_coupled": lambda *sizes, **options: fastrnn.LSTM(*sizes, coupled=True, **options),
    }
if hasattr(fastrnn.LSTM, "layer_norm"):
    LAYERS |= {
        "rnn_normalized": lambda *sizes, **options: fastrnn.RNN(*sizes, layer_norm=True, **options),
        "gru_normalized": lambda *sizes, **options: fastrnn.GRU(*sizes, layer_norm=True, **options),
        "lstm_normalized": lambda *sizes, **options: fastrnn.LSTM(*sizes, layer_norm=True, **options),
    }
MASKS = {"recurrent_dropout": 0.25, "zoneout_h": 0.2} if hasattr(fastrnn.LSTM, "zoneout_h") else {}
CELLS: dict[str, Callable] = {
    "RNNCell": fastrnn.RNNCell,
    "RNNCell_relu": lambda *sizes, **options: fastrnn.RNNCell(*sizes, nonlinearity="relu", **options),
    "RNNCell_sigmoid": lambda *sizes, **options: fastrnn.RNNCell(*sizes, nonlinearity="sigmoid", **options),
    "GRUCell": fastrnn.GRUCell,
    "GRUCell_reset_before": lambda *sizes, **options: fastrnn.GRUCell(*sizes, reset_after=False, **options),
    "LSTMCell": fastrnn.LSTMCell,
}

# T, B, I, H. The first meets every combination of the options in float32, the others a share of them each. One step
# takes the short way; 32 rows are shared out by rows, few rows or weights beyond a megabyte (H 272) by units; T40 and
# T100 are several chunks of the backward pass and several checkpoints.
SHAPES = [
    (7, 3, 6, 5),
    (1, 1, 7, 5),
    (1, 1, 64, 64),
    (1, 3, 3, 24),
    (1, 32, 20, 130),
    (2, 1, 1, 1),
    (9, 3, 5, 1),
    (20, 1, 9, 24),
    (30, 1, 64, 64),
    (11, 3, 33, 130),
    (100, 3, 24, 24),
    (40, 32, 24, 24),
    (12, 32, 64, 64),
    (6, 32, 40, 272),
]

LARGE = [(30, 1, 64, 64), (11, 3, 33, 130), (40, 32, 24, 24), (12, 32, 64, 64), (6, 32, 40, 272)]

OPTIONS = {
    "directions": (1, 2),
    "layers": (1, 3),
    "bias": (True, False),
    "layout": ("time first", "batch first", "packed"),
    "recompute": (False, True),
    "state": ("none", "given"),
}
# The backward pass is told which gradients come in and which are wanted. These go round with the cases.
INCOMING = ("output and states", "output", "states")
WANTED = ("all", "weights", "input and states")

_size = 1 << 20
with numpy.errstate(over="ignore"):  # splitmix64 of 0, 1, 2 …, as numbers from -1 to 1
    _z = (numpy.arange(_size, dtype=numpy.uint64) + numpy.uint64(1)) * numpy.uint64(0x9E3779B97F4A7C15)
    _z = (_z ^ (_z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
    _z = (_z ^ (_z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
    _z = _z ^ (_z >> numpy.uint64(31))
NUMBERS = torch.from_numpy((_z >> numpy.uint64(11)).astype(numpy.float64) / 2**52 - 1)


class Source:
    """Numbers from -1 to 1, always the same ones in the same order."""

    def __init__(self) -> None:
        self.place = 0

    def __call__(self, *shape: int, dtype: torch.dtype, scale: float = 1.0) -> Tensor:
        count = int(numpy.prod(shape))
        if self.place + count > _size:
            self.place = self.place % 1009
        found = NUMBERS[self.place : self.place + count].reshape(shape) * scale
        self.place += count
        return found.to(dtype)

    def fill(self, module: torch.nn.Module, hidden_size: int) -> None:
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(self(*parameter.shape, dtype=parameter.dtype, scale=hidden_size**-0.5))


def digest(tensors: Any) -> str:
    sha = hashlib.sha256()
    for t in tensors:
        if t is None:
            sha.update(b"none")
            continue
        sha.update(f"{t.dtype} {tuple(t.shape)}".encode())
        sha.update(t.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()[:16]


def as_tuple(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def judged(
    call: Callable, arrange: Callable, x: Tensor, states: tuple, weights: list, source: Source, n: int
) -> Hashes:
    """``call(arrange(x), states)`` with gradients, and without: what comes in and what is wanted goes round with n."""
    incoming, wanted = INCOMING[n % 3], WANTED[n // 3 % 3]
    outer = [x, *states]
    for t in outer:
        t.requires_grad_(wanted != "weights")
    for w in weights:
        w.requires_grad_(wanted != "input and states")
    output, final = call(arrange(x), states)
    found = {"output": digest([output]), "states": digest(final)}
    ends = {"output and states": [output, *final], "output": [output], "states": [*final]}[incoming]
    ends = [t for i, t in enumerate(ends) if all(t is not u for u in ends[:i])]  # a cell's output is its state
    torch.autograd.backward(ends, [source(*t.shape, dtype=t.dtype) for t in ends])
    found["gradients"] = digest(t.grad for t in (*outer, *weights))
    with torch.no_grad():
        output, final = call(arrange(x), states)
    found["inference"] = digest([output, *final])
    return found


def layer_case(cell: str, shape: tuple, dtype: torch.dtype, options: dict, n: int, **more: Any) -> Hashes:
    times, batch, inputs, hidden = shape
    layout, directions, layers = options["layout"], options["directions"], options["layers"]
    source = Source()
    layer = LAYERS[cell](
        inputs,
        hidden,
        num_layers=layers,
        bias=options["bias"],
        batch_first=layout == "batch first",
        bidirectional=directions == 2,
        recompute=options["recompute"],
        dtype=dtype,
        **more,
    )
    source.fill(layer, hidden)
    x = source(times, batch, inputs, dtype=dtype)
    if layout == "batch first":
        x = x.transpose(0, 1).contiguous()
    lengths = torch.tensor([1 + (times - 1) * ((7 * b + 3) % batch + 1) // batch for b in range(batch)])
    output_size = layer.proj_size or hidden
    states: tuple[Tensor, ...] = ()
    if options["state"] == "given":
        widths = [output_size, hidden] if cell.startswith("lstm") else [hidden]
        states = tuple(source(layers * directions, batch, width, dtype=dtype) for width in widths)

    def arrange(x: Tensor) -> Any:
        return pack_padded_sequence(x, lengths, enforce_sorted=False) if layout == "packed" else x

    def call(x: Any, states: tuple) -> tuple[Tensor, tuple]:
        torch.manual_seed(1)  # of dropout
        output, final = layer(x, (states if len(states) == 2 else states[0]) if states else None)
        return (output.data if layout == "packed" else output), as_tuple(final)

    return judged(call, arrange, x, states, list(layer.parameters()), source, n)


def cell_case(name: str, batch: int, inputs: int, hidden: int, dtype: torch.dtype, bias: bool, n: int) -> Hashes:
    source = Source()
    cell = CELLS[name](inputs, hidden, bias=bias, dtype=dtype)
    source.fill(cell, hidden)
    x = source(batch, inputs, dtype=dtype)
    count = 0 if n % 4 == 3 else 2 if name == "LSTMCell" else 1
    states = tuple(source(batch, hidden, dtype=dtype) for _ in range(count))

    def call(x: Tensor, states: tuple) -> tuple[Tensor, tuple]:
        final = as_tuple(cell(x, (states if len(states) == 2 else states[0]) if states else None))
        return final[0], final

    return judged(call, lambda x: x, x, states, list(cell.parameters()), source, n)


def loss_case(rows: int, features: int, classes: int, dtype: torch.dtype, reduction: str, n: int) -> Hashes:
    source = Source()
    x = source(rows, features, dtype=dtype)
    weight = source(classes, features, dtype=dtype)
    bias = source(classes, dtype=dtype) if n % 2 else None
    class_weight = source(classes, dtype=dtype).abs() if n % 3 == 1 else None
    target = ((source(rows, dtype=torch.float64) + 1) / 2 * (classes - 1)).long()
    leaves = [t.requires_grad_() for t in (x, weight, bias) if t is not None]
    options: dict[str, Any] = {"reduction": reduction, "label_smoothing": 0.1 if n % 5 == 2 else 0.0}
    if n % 4 == 1:
        options["ignore_index"] = int(target[0])

    def call() -> Tensor:
        return functional.linear_cross_entropy(x, weight, target, linear_bias=bias, weight=class_weight, **options)

    loss = call()
    loss.backward(source(*loss.shape, dtype=loss.dtype))
    found = {"output": digest([loss]), "gradients": digest(t.grad for t in leaves)}
    with torch.no_grad():
        found["inference"] = digest([call()])
    return found


def share(shape: tuple, dtype: str) -> int:
    """A shape meets one in so many combinations of the options."""
    if shape == SHAPES[0]:
        return 1 if dtype == "float32" else 8
    return 24 if shape[3] < 200 else 48


def cases(threads: int) -> Iterator[tuple[str, Callable[[], Hashes]]]:
    """Name and computation of every case; at more threads than one, of those that are large enough to use them."""
    combinations = [dict(zip(OPTIONS, values, strict=True)) for values in itertools.product(*OPTIONS.values())]
    for i, (cell, dtype, shape) in enumerate(itertools.product(LAYERS, DTYPES, SHAPES)):
        if cell == "lstm_projected" and shape[3] == 1:
            continue
        if threads > 1 and shape not in LARGE:
            continue
        sizes = "T{} B{} I{} H{}".format(*shape)
        for j, options in enumerate(combinations):
            if (j + i) % share(shape, dtype):
                continue
            n = i * len(combinations) + j
            listed = ", ".join(f"{k} {v}" for k, v in options.items())
            name = f"{cell} {dtype} {sizes}, {listed}, from {INCOMING[n % 3]} to {WANTED[n // 3 % 3]}"
            yield name, lambda a=(cell, shape, DTYPES[dtype], options, n): layer_case(*a)
    if threads > 1:
        for dtype, reduction in itertools.product(DTYPES, ("mean", "none")):
            yield (
                f"linear_cross_entropy {dtype} large, {reduction}",
                lambda a=(DTYPES[dtype], reduction): loss_case(70, 64, 500, *a, 1),
            )
        return
    plain = {"directions": 2, "layers": 3, "bias": True, "layout": "time first", "recompute": False, "state": "none"}
    for cell in LAYERS:
        yield f"{cell} with dropout", lambda c=cell: layer_case(c, SHAPES[0], torch.float32, plain, 0, dropout=0.4)
        masks = MASKS | ({"zoneout_c": 0.1} if MASKS and cell.startswith("lstm") else {})
        yield f"{cell} with masks", lambda c=cell, m=masks: layer_case(c, SHAPES[0], torch.float32, plain, 0, **m)
        yield f"{cell} with autocast", lambda c=cell: autocast_case(c, plain)
    serial = itertools.count()
    for name, dtype, bias in itertools.product(CELLS, DTYPES, (True, False)):
        for batch, inputs, hidden in ((1, 7, 5), (1, 64, 64), (3, 9, 24), (3, 1, 1), (32, 20, 130), (32, 5, 24)):
            n = next(serial)
            label = f"{name} {dtype} B{batch} I{inputs} H{hidden}, bias {bias}, number {n}"
            yield label, lambda a=(name, batch, inputs, hidden, DTYPES[dtype], bias, n): cell_case(*a)
    for dtype, reduction in itertools.product(DTYPES, ("mean", "sum", "none")):
        for rows, features, classes in ((1, 1, 2), (1, 64, 300), (3, 5, 7), (40, 24, 101), (33, 130, 1030)):
            n = next(serial)
            label = f"linear_cross_entropy {dtype} N{rows} H{features} C{classes}, {reduction}, number {n}"
            yield label, lambda a=(rows, features, classes, DTYPES[dtype], reduction, n): loss_case(*a)


def autocast_case(cell: str, options: dict) -> Hashes:
    with torch.autocast("cpu", torch.bfloat16):
        return layer_case(cell, SHAPES[0], torch.float32, options, 0)
