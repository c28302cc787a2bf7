"""Who takes part in a row of bench/suites/features.py about derivatives: see feature_contenders.py."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call, grad, jvp, vmap

from bench.suites.feature_contenders import Contenders, Run, generator, input_of, ours, theirs
from bench.suites.without_fastrnn import hidden, loop
from fastrnn._bench.work import Shape


def per_sample_gradients(cell: str, shape: Shape) -> Contenders:
    """The gradient of the weights for every sample, beside that of the whole batch."""
    layer, other, x = ours(cell, shape), theirs(cell, shape), input_of(shape)
    weights = {name: weight.detach() for name, weight in layer.named_parameters()}

    def loss(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(layer, weights, (x,))[0].square().mean()

    def samples() -> list[Tensor]:
        each = vmap(grad(lambda weights, x: loss(weights, x.unsqueeze(1))), in_dims=(None, 1))(weights, x)
        return list(each.values())

    def one_by_one() -> list[Tensor]:
        each = []
        for sample in x.split(1, dim=1):
            each.append(torch.autograd.grad(other(sample)[0].square().mean(), list(other.parameters())))
        return [torch.stack(of_weight) for of_weight in zip(*each, strict=True)]

    return Contenders(samples, lambda: list(grad(loss)(weights, x).values()), one_by_one)


def forward_mode(cell: str, shape: Shape) -> Contenders:
    """The output's derivative in one direction of the input. torch.nn's layer has none: the other is a loop over its
    cell. Plain is the layer without it."""
    layer, x = ours(cell, shape).requires_grad_(False), input_of(shape)
    steps = Loop(theirs(cell, shape, "Cell")).requires_grad_(False)
    direction = torch.randn(x.shape, generator=generator(2))

    def along(output: Callable[[Tensor], Tensor]) -> Run:
        return lambda: list(jvp(output, (x,), (direction,)))

    return Contenders(along(lambda x: layer(x)[0]), lambda: [layer(x)[0]], along(steps))


def second_derivatives(cell: str, shape: Shape) -> Contenders:
    """The gradient of the squared norm of the input's gradient, as a gradient penalty takes it. Plain is the first."""
    layer, x, steps = ours(cell, shape), input_of(shape).requires_grad_(), Loop(theirs(cell, shape, "Cell"))

    def penalty(output: Callable[[Tensor], Tensor], weights: list[Tensor]) -> Run:
        def run() -> list[Tensor]:
            (d_x,) = torch.autograd.grad(output(x).square().mean(), x, create_graph=True)
            return list(torch.autograd.grad(d_x.square().sum(), [x, *weights]))

        return run

    def first() -> list[Tensor]:
        return list(torch.autograd.grad(layer(x)[0].square().mean(), [x, *layer.parameters()]))

    option = penalty(lambda x: layer(x)[0], list(layer.parameters()))
    return Contenders(option, first, penalty(steps, list(steps.parameters())))


class Loop(torch.nn.Module):
    """torch.nn's cell over all steps."""

    def __init__(self, cell: torch.nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([hidden(state) for state in loop(self.cell, x)])
