"""The operands of one layer, and all that it computes of them: by the CUDA layers' operators, and by the reference."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

import fastrnn.nn
from fastrnn import reference
from fastrnn._core.call import with_initial_states
from tests.support import twins
from tests.support.twins import initial, make, random


class Operands(NamedTuple):
    """What the operators take, in their order, and the gradients of what they return."""

    cell: str
    input: Tensor
    batch_sizes: Tensor | None
    h0: Tensor | None
    c0: Tensor | None
    weights: list[Tensor]
    biases: bool
    bidirectional: bool
    batch_first: bool
    projected: bool
    d_output: Tensor
    d_hn: Tensor
    d_cn: Tensor | None
    resets: Tensor | None
    every_state: bool
    learned_state: bool
    recurrent_mask: Tensor | None
    zoneout_h: Tensor | None
    zoneout_c: Tensor | None
    heads: int

    def to(self, dtype: torch.dtype) -> "Operands":
        def convert(t: Any) -> Any:
            return t.to(dtype) if isinstance(t, Tensor) and t.is_floating_point() else t

        return Operands(*[[convert(w) for w in t] if isinstance(t, list) else convert(t) for t in self])


def operands(
    cell: str,
    *,
    times: int = 5,
    batch: int = 3,
    hidden: int = 6,
    packed: list[int] | None = None,
    bidirectional: bool = False,
    batch_first: bool = False,
    state: bool = True,
    bias: bool = True,
    projection: int | None = None,
    resets: float | None = None,
    every_state: bool = False,
    learned_state: bool = False,
    masks: str = "",
    heads: int = 1,
) -> Operands:
    """Makes a layer's in float64; ``cell`` is a name of tests.support.twins, ``resets`` how many of the rows begin anew
    at a step; ``masks`` has an "r" for recurrent dropout, "h" and "c" for zoneout of them."""
    options = {"heads": heads} if projection is None else {"proj_size": projection, "heads": heads}
    layer = make(fastrnn.nn, cell, 4, hidden, bidirectional=bidirectional, bias=bias, dtype=torch.float64, **options)
    if packed:
        shape, batch = (sum(packed), 4), packed[0]
    else:
        shape = (batch, times, 4) if batch_first else (times, batch, 4)
    hx = initial(layer, batch, torch.float64)
    h, c = hx if isinstance(hx, tuple) else (hx, None)
    h0, c0 = (h, c) if state else (None, None)
    directions = 2 if bidirectional else 1
    weights = [w.detach() for w in layer._flat_weights]
    if learned_state:
        weights = with_initial_states(
            weights, [random(*s[:, 0].shape, seed=6 + i) for i, s in enumerate((h,) if c is None else (h, c))]
        )
    in_rows = [None if state is None else (*shape[:-1], directions * state.size(-1)) for state in (h, c)]
    features = h.size(-1) + (c.size(-1) if every_state and c is not None else 0)
    return Operands(
        layer._cell,
        random(*shape, dtype=torch.float64),
        torch.tensor(packed) if packed else None,
        h0,
        c0,
        weights,
        bias,
        bidirectional,
        batch_first,
        bool(layer.proj_size),
        random(*shape[:-1], directions * features, seed=3),
        random(*h.shape, seed=4),
        None if c is None else random(*c.shape, seed=5),
        None if resets is None else _chosen(shape[:-1], resets),
        every_state,
        learned_state,
        random(*h.shape, seed=11).abs() if "r" in masks else None,
        random(*in_rows[0], seed=12).sigmoid() if "h" in masks else None,
        random(*in_rows[1], seed=13).sigmoid() if "c" in masks and in_rows[1] else None,
        heads,
    )


def _chosen(shape: Sequence[int], share: float) -> Tensor:
    """True for this share of the places."""
    return (torch.rand(shape, generator=torch.Generator().manual_seed(8)) < share).to(twins.DEVICE)


def forward(operators: Any, given: Operands, recompute: bool = False) -> tuple[Tensor, ...]:
    cell, input, sizes, h0, c0, weights, *options, projected = given[:10]
    last = (None, *given[given._fields.index("resets") :])
    return operators.forward(cell, input, sizes, h0, c0, weights, *options, True, recompute, projected, *last)


def backward(operators: Any, given: Operands, output: Tensor, saved: Tensor, recompute: bool = False) -> list[Tensor]:
    """All gradients."""
    cell, input, sizes, h0, c0, weights, *options, projected = given[:10]
    incoming = (given.d_output, given.d_hn, given.d_cn)
    needs = [True, h0 is not None, c0 is not None, *([True] * len(weights))]
    of_forward = (input, sizes, h0, c0, weights, output, saved)
    last = (0, None, *given[given._fields.index("resets") :])
    return operators.backward(cell, *incoming, *of_forward, *options, needs, recompute, projected, *last)


def run(operators: Any, given: Operands, recompute: bool = False) -> list[Tensor]:
    """Outputs and all gradients of the operators."""
    output, h_n, c_n, saved = forward(operators, given, recompute)
    grads = backward(operators, given, output, saved, recompute)
    return [t for t in (output, h_n, c_n, *grads) if t.numel()]


def expected(given: Operands) -> list[Tensor]:
    """The same of the reference."""
    leaves = [t.detach().requires_grad_() for t in (given.input, given.h0, given.c0, *given.weights) if t is not None]
    rest = iter(leaves)
    input, h0, c0 = (None if t is None else next(rest) for t in (given.input, given.h0, given.c0))
    options = (given.biases, given.bidirectional, given.batch_first)
    output, h_n, c_n = reference.layer(
        given.cell,
        input,
        given.batch_sizes,
        h0,
        c0,
        list(rest),
        *options,
        projected=given.projected,
        resets=given.resets,
        every_state=given.every_state,
        learned_state=given.learned_state,
        recurrent_mask=given.recurrent_mask,
        zoneout_h=given.zoneout_h,
        zoneout_c=given.zoneout_c,
        heads=given.heads,
    )
    results = [(output, given.d_output), (h_n, given.d_hn)]
    if given.d_cn is not None:
        results.append((c_n, given.d_cn))
    returned, incoming = zip(*results, strict=True)
    grads = torch.autograd.grad(returned, leaves, incoming, allow_unused=True)  # a learned state may not be used
    return [t.detach() for t in returned] + [
        torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, grads, strict=True)
    ]
