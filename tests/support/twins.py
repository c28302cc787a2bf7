"""What the tests share: twin layers of torch.nn and fastrnn, all that a layer computes, and when two of those agree."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

import fastrnn.nn
from fastrnn._core.call import call_of, state_of, with_initial_states
from fastrnn._core.operators import run_reference
from fastrnn._core.stack import stack

DEVICE = "cpu"  # where all of it is; the fixture `device` of conftest.py changes it for a test

# Every cell that torch has too, and those it lacks. A projected LSTM gets half its hidden size as projection.
TORCH_CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_tanh": ("RNN", {"nonlinearity": "tanh"}),
    "rnn_relu": ("RNN", {"nonlinearity": "relu"}),
    "gru": ("GRU", {}),
    "lstm": ("LSTM", {}),
    "lstm_projected": ("LSTM", {"proj_size": -1}),
}
OWN_CELLS: dict[str, tuple[str, dict[str, Any]]] = {
    "rnn_sigmoid": ("RNN", {"nonlinearity": "sigmoid"}),
    "gru_reset_before": ("GRU", {"reset_after": False}),
    "peephole_lstm": ("LSTM", {"peephole": True}),
    "coupled_lstm": ("LSTM", {"coupled": True}),
    "layer_norm_rnn_tanh": ("RNN", {"layer_norm": True}),
    "layer_norm_gru": ("GRU", {"layer_norm": True}),
    "layer_norm_lstm": ("LSTM", {"layer_norm": True}),
}
CELLS = TORCH_CELLS | OWN_CELLS
# Without layer normalization, which has loops of its own on the CPU and kernels of its own on CUDA.
PLAIN_CELLS = {cell: made for cell, made in CELLS.items() if not cell.startswith("layer_norm")}


def make(package: Any, cell: str, input_size: int, hidden_size: int, **options: Any) -> Any:
    """A layer with weights that depend on its sizes and device alone."""
    name, fixed = CELLS[cell]
    if "proj_size" in fixed:
        fixed = {"proj_size": hidden_size // 2}
    torch.manual_seed(7)
    return getattr(package, name)(input_size, hidden_size, device=DEVICE, **fixed, **options)


def twins(cell: str, input_size: int, hidden_size: int, **options: Any) -> tuple[Any, Any]:
    """torch.nn's layer and fastrnn's, with the same weights."""
    return tuple(make(package, cell, input_size, hidden_size, **options) for package in (torch.nn, fastrnn.nn))  # type: ignore[return-value]


def initial(layer: Any, batch: int | None, dtype: torch.dtype, seed: int = 1) -> Any:
    """Random initial states of a layer, unbatched if ``batch`` is None."""
    generator = torch.Generator().manual_seed(seed)
    rows = layer.num_layers * (2 if layer.bidirectional else 1)

    def state(features: int) -> Tensor:
        shape = (rows, features) if batch is None else (rows, batch, features)
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(DEVICE, dtype)

    h = state(layer.proj_size or layer.hidden_size)
    return (h, state(layer.hidden_size)) if layer.mode == "LSTM" else h


def random(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 2) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(DEVICE, dtype)


def by_reference(
    layer: Any,
    input: Tensor,
    hx: Any,
    *,
    lengths: Tensor | None = None,
    resets: Tensor | None = None,
    return_states: bool = False,
) -> Any:
    """What a fastrnn layer would return, from the plain-torch reference; without dropout around its steps, for batched
    tensors."""
    initial = [getattr(layer, name) for name in layer._initial_states()]
    call = call_of(
        layer._cell,
        input,
        hx,
        with_initial_states(layer._weights(), initial) if initial else layer._weights(),
        lengths=lengths,
        resets=resets,
        every_state=return_states,
        learned_state=bool(initial),
        heads=layer.heads,
        num_layers=layer.num_layers,
        biases=layer.bias,
        projected=layer.proj_size > 0,
        bidirectional=layer.bidirectional,
        batch_first=layer.batch_first,
        training=layer.training,
        recurrent_dropout=layer.recurrent_dropout,
        zoneout_rates=(layer.zoneout_h, layer.zoneout_c),
    )
    output, h, c, states = stack(run_reference, call)
    return (output, state_of(call, h, c)) if states is None else (output, state_of(call, h, c), states)


def results(
    layer: Any,
    x: Tensor,
    hx: Any,
    arrange: Callable[[Tensor], Any] = lambda x: x,
    call: Callable | None = None,
    **options: Any,
) -> dict[str, Tensor]:
    """Output, final states, all states if asked for, and the gradients of input, initial states and every weight, by
    name.

    ``arrange`` makes the layer's input of the leaf ``x``; ``call`` computes instead of the layer itself.
    """
    x = x.detach().requires_grad_()
    states = () if hx is None else tuple(s.detach().requires_grad_() for s in (hx if isinstance(hx, tuple) else (hx,)))
    layer.zero_grad()
    given = None if hx is None else states if isinstance(hx, tuple) else states[0]
    run = functools.partial(call, layer) if call else layer
    output, final, *states_after = run(arrange(x), given, **options)
    if isinstance(output, PackedSequence):
        output = output.data
    found = {"output": output}
    found |= dict(zip(("h_n", "c_n"), final if isinstance(final, tuple) else (final,), strict=False))
    for every in states_after:
        found |= {f"every_{name}": t for name, t in every._asdict().items() if t is not None}
    sum((t * random(*t.shape, dtype=t.dtype, seed=i)).sum() for i, t in enumerate(found.values())).backward()
    found = {name: t.detach() for name, t in found.items()}
    found |= {f"d_{name}": s.grad for name, s in zip(("h_0", "c_0"), states, strict=False)}
    learned = {"h_0": "learned_h_0", "c_0": "learned_c_0"}
    for name, p in layer.named_parameters():
        found[f"d_{learned.get(name, name)}"] = torch.zeros_like(p) if p.grad is None else p.grad.clone()
    return found | {"d_input": x.grad}


def assert_same(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float = 1e-10) -> None:
    """Equal to the tolerance, relative to the largest value of each tensor and absolute below 1. For float64."""
    assert found.keys() == expected.keys()
    for name, value in found.items():
        assert value.dtype == expected[name].dtype, name
        assert value.shape == expected[name].shape, name
        if value.numel():
            error = (value - expected[name]).abs().max().item()
            assert error <= tolerance * max(1.0, expected[name].abs().max().item()), f"{name}: error {error}"


def assert_as_accurate(cell: str, dtype: torch.dtype, draws: list[tuple[Tensor, Any]], ours: Any, peer: Any) -> None:
    """The error against the float64 reference is at most 1.5 times the peer's plus one unit in the last place.

    A tensor's error is that of its worst number, as a root mean square over all draws (input, initial state): in a
    small layer the worst of all draws is one number's luck, ours or the peer's (docs/adr/0003). Normalizing c magnifies
    the error of sigmoid, which is 2.5 units in the last place beside torch's 1: there it is twice (docs/adr/0038).
    """
    exact_layer = copy.deepcopy(ours).double()
    factor = 2.0 if cell == "layer_norm_lstm" else 1.5
    # On CUDA cuBLAS adds up a weight's gradient over all rows of all steps in one chain, torch step by step. On an H200
    # the sum of 390 rows has 3.3 times torch's error.
    in_one_chain = 4.0 if DEVICE == "cuda" else factor
    squares: dict[str, Tensor] = {}  # of our error, the peer's and the unit, added up
    for x, hx in draws:
        hx64 = tuple(s.double() for s in hx) if isinstance(hx, tuple) else hx.double()
        exact = results(exact_layer, x.double(), hx64, call=by_reference)
        found = results(ours, x, hx)
        theirs = results(peer, x, hx, call=by_reference if cell in OWN_CELLS else None)
        assert found.keys() == exact.keys() == theirs.keys()
        for name, value in exact.items():
            assert found[name].dtype == dtype
            if not value.numel():
                continue
            largest = value.abs().max().item()
            ulp = torch.finfo(dtype).eps * 2.0 ** math.floor(math.log2(largest)) if largest else 0.0
            worst = [(t[name] - value).abs().max().item() for t in (found, theirs)]
            squares[name] = squares.get(name, 0) + torch.tensor([*worst, ulp], dtype=torch.float64) ** 2
    errors = {name: (sums / len(draws)).sqrt().tolist() for name, sums in squares.items()}
    worse = {
        name: f"error {error:.2e}, the peer's {theirs_error:.2e}, ulp {ulp:.2e}"
        for name, (error, theirs_error, ulp) in errors.items()
        if not error <= (in_one_chain if name.startswith("d_weight") else factor) * theirs_error + ulp
    }
    assert not worse, worse
