"""Who takes part in a row of bench/suites/features.py: the layer with an option, without it, and others.

Every maker takes the name of a cell and a shape and returns the three as functions without arguments. A training step
returns outputs and the gradient of the input, so that the first and the third can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence, unpack_sequence

import fastrnn
from bench.suites.without_fastrnn import hidden, layer_norm_gru, layer_norm_lstm, loop, parts_of, times
from fastrnn._bench.work import Shape

Run = Callable[[], list[Tensor]]


class Contenders(NamedTuple):
    option: Run
    plain: Run
    other: Run


def ours(cell: str, shape: Shape, **options: Any) -> Any:
    """A layer of fastrnn with the same weights at every call."""
    torch.manual_seed(0)
    return getattr(fastrnn, cell)(shape.I, shape.H, **options)


def theirs(cell: str, shape: Shape, suffix: str = "") -> Any:
    """torch.nn's layer, or its cell with the suffix "Cell", with the weights of ours."""
    made = getattr(nn, cell + suffix)(shape.I, shape.H)
    weights = ours(cell, shape).state_dict()
    made.load_state_dict({name.removesuffix("_l0") if suffix else name: value for name, value in weights.items()})
    return made


def generator(seed: int) -> torch.Generator:
    """Of the default device, on which the makers are called."""
    return torch.Generator(torch.get_default_device()).manual_seed(seed)


def input_of(shape: Shape) -> Tensor:
    return torch.randn(shape.T, shape.B, shape.I, generator=generator(1))


def training(forward: Callable[[Tensor], Iterable[Tensor]], x: Tensor, *modules: nn.Module) -> Run:
    """Forward and backward, from random gradients of all outputs to those of input and weights."""
    leaf = x.clone().requires_grad_()
    weights = [weight for module in modules for weight in module.parameters()]
    gradients: list[Tensor] = []

    def run() -> list[Tensor]:
        for tensor in (leaf, *weights):
            tensor.grad = None
        outputs = list(forward(leaf))
        if not gradients:
            drawn = torch.Generator(leaf.device).manual_seed(2)
            gradients.extend(torch.randn(t.shape, generator=drawn, device=leaf.device) for t in outputs)
        torch.autograd.backward(outputs, gradients)
        assert leaf.grad is not None
        return [*(output.detach() for output in outputs), leaf.grad]

    return run


def plain(cell: str, shape: Shape, **options: Any) -> Run:
    layer = ours(cell, shape, **options)
    return training(lambda x: layer(x)[:1], input_of(shape), layer)


def lengths(cell: str, shape: Shape) -> Contenders:
    """Lengths from 1 to T at random. torch.nn packs, computes and pads."""
    layer, other, x = ours(cell, shape), theirs(cell, shape), input_of(shape)
    ends = torch.randint(1, shape.T + 1, (shape.B,), generator=generator(3))
    ends[0] = shape.T
    on_cpu = ends.cpu()  # where torch wants them

    def packed(x: Tensor) -> tuple[Tensor]:
        output, _ = other(pack_padded_sequence(x, on_cpu, enforce_sorted=False))
        return (pad_packed_sequence(output)[0],)

    option = training(lambda x: layer(x, lengths=ends)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(packed, x, other))


def nested(cell: str, shape: Shape) -> Contenders:
    """Nested tensors in and out, of lengths from 1 to T. torch.nn takes none: it packs, and unpacks what it returns."""
    layer, other = ours(cell, shape, batch_first=True), theirs(cell, shape)
    ends = torch.randint(1, shape.T + 1, (shape.B,), generator=generator(3))
    steps = torch.randn(int(ends.sum()), shape.I, generator=generator(1))
    offsets = torch.cat([ends.new_zeros(1), ends.cumsum(0)])

    def jagged(x: Tensor) -> tuple[Tensor]:
        return (layer(torch.nested.nested_tensor_from_jagged(x, offsets))[0].values(),)

    def packed(x: Tensor) -> tuple[Tensor]:
        output, _ = other(pack_sequence(x.split(ends.tolist()), enforce_sorted=False))
        return (torch.cat(unpack_sequence(output)),)

    return Contenders(training(jagged, steps, layer), plain(cell, shape), training(packed, steps, other))


def resets(cell: str, shape: Shape, suffix: str = "") -> Contenders:
    """A twentieth of the steps begins anew. A loop over steps multiplies the state by a mask before each."""
    layer, other, x = ours(cell, shape), theirs(cell, shape, suffix), input_of(shape)
    begins = torch.rand(shape.T, shape.B, generator=generator(3)) < 0.05
    keep = (~begins).float().unsqueeze(-1)

    def steps(x: Tensor) -> tuple[Tensor]:
        call = other if suffix else lambda step, state: other(step.unsqueeze(0), state)[1]
        states = loop(call, x, lambda t, state: times(keep[t], state))
        return (torch.stack([hidden(state) for state in states]).view(shape.T, shape.B, -1),)

    option = training(lambda x: layer(x, resets=begins)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(steps, x, other))


def resets_by_cell(cell: str, shape: Shape) -> Contenders:
    """The loop is one of torch.nn's cell, not of its layer."""
    return resets(cell, shape, "Cell")


def every_state(cell: str, shape: Shape) -> Contenders:
    """c after every step beside h, where the cell has a c."""
    layer, other, x = ours(cell, shape), theirs(cell, shape, "Cell"), input_of(shape)

    def states(x: Tensor) -> tuple[Tensor, ...]:
        found = layer(x, return_states=True)[2]
        return tuple(every[0] for every in found if every is not None)

    def steps(x: Tensor) -> list[Tensor]:
        return [torch.stack(each) for each in zip(*map(parts_of, loop(other, x)), strict=True)]

    return Contenders(training(states, x, layer), plain(cell, shape), training(steps, x, other))


def learned_state(cell: str, shape: Shape) -> Contenders:
    layer, other, x = ours(cell, shape, learn_initial_state=True), theirs(cell, shape), input_of(shape)
    start = nn.ParameterList(torch.zeros(1, 1, shape.H) for _ in range(2 if cell == "LSTM" else 1))

    def expanded(x: Tensor) -> tuple[Tensor]:
        hx = tuple(state.expand(1, shape.B, -1).contiguous() for state in start)
        return other(x, hx if cell == "LSTM" else hx[0])[:1]

    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(expanded, x, other, start))


def hidden_sizes(cell: str, shape: Shape) -> Contenders:
    """Two layers, the second half as wide; in torch.nn two modules. Plain is two layers of the first's width."""
    narrow, x = shape.H // 2, input_of(shape)
    torch.manual_seed(0)
    layer = getattr(fastrnn, cell)(shape.I, [shape.H, narrow], num_layers=2)
    others = nn.ModuleList([getattr(nn, cell)(shape.I, shape.H), getattr(nn, cell)(shape.H, narrow)])
    for number, other in enumerate(others):
        other.load_state_dict({f"{name[:-1]}0": w for name, w in layer.state_dict().items() if name[-1] == str(number)})

    def modules(x: Tensor) -> tuple[Tensor]:
        for other in others:
            x = other(x)[0]
        return (x,)

    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape, num_layers=2), training(modules, x, others))


def layer_norms(cell: str, shape: Shape) -> Contenders:
    """The loop multiplies and normalizes the inputs of all steps at once."""
    layer, other, x = (*(ours(cell, shape, layer_norm=True) for _ in range(2)), input_of(shape))
    weights = {name.removesuffix("_l0"): weight for name, weight in other.named_parameters()}
    loops = {"LSTM": layer_norm_lstm, "GRU": layer_norm_gru}
    option = training(lambda x: layer(x)[:1], x, layer)
    return Contenders(option, plain(cell, shape), training(partial(loops[cell], weights), x, other))


def heads(cell: str, shape: Shape) -> Contenders:
    """Heads of 64 units. torch.nn's layer is called with block-diagonal matrices, made of the blocks at each call."""
    layer, other, x = ours(cell, shape, heads=max(2, shape.H // 64)), theirs(cell, shape), input_of(shape)
    gates = layer.weight_ih_l0.size(0) // shape.H

    def whole(x: Tensor) -> tuple[Tensor]:
        blocks = [torch.block_diag(*gate.chunk(layer.heads)) for gate in layer.weight_hh_l0.chunk(gates)]
        weights = {**dict(layer.named_parameters()), "weight_hh_l0": torch.cat(blocks)}
        return functional_call(other, weights, x)[:1]

    return Contenders(training(lambda x: layer(x)[:1], x, layer), plain(cell, shape), training(whole, x, layer))


def stream(cell: str, shape: Shape) -> Contenders:
    """A step that keeps the state, beside a layer that is called with a sequence of one step."""
    layer, other, x = ours(cell, shape).eval(), theirs(cell, shape).eval(), input_of(shape)
    steps, first = layer.stream(shape.B), x[0]
    return Contenders(lambda: [steps(first)], one_step(layer, x), one_step(other, x))


def one_step(layer: Any, x: Tensor) -> Run:
    state = None

    def run() -> list[Tensor]:
        nonlocal state
        y, state = layer(x, state)
        return [y[0]]

    return run
