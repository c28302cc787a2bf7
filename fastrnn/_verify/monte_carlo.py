"""How far right computations of a layer may differ: Monte Carlo arithmetic (Parker 1997) on the float64 reference.

Every operation's result is moved at random by up to one unit in its last place, and what the reference then returns is
compared with what it returned. The errors found so are those of no particular implementation: not of one order of
adding, not of one library's functions. Besides, three things decide them.

*Sums.* A sum of K numbers in one chain, in whatever order, is rounded K times, each time by up to half a unit in the
last place of the sum so far. Products are such sums, and a weight's gradient is one product over all steps and rows,
as fused layers compute it; :class:`WholeGradients` makes the reference's so. Who adds in shorter chains, as a
loop over the steps does, or adds up blocks, is rounded less: this is the most that ordinary orders lose.

*Operands.* Where products read bfloat16, float16 or TF32, their operands are rounded to it, by up to half a unit.

*Kinks.* A ReLU's derivative jumps at zero. A sum within rounding of zero may come out on either side, and both are
right: see kinks.py.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from fastrnn._verify.kinks import Sides, kinks_of
from fastrnn._verify.problem import Problem, Tensors, distances

RUNS = 4  # for each draw: pairs, in which units of a ReLU turn one way and the other
_PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
_SUMS = (torch.ops.aten.sum.dim_IntList,)
_ARITHMETIC = {
    getattr(torch.ops.aten, name)
    for name in (
        *("add", "sub", "rsub", "mul", "div", "sum", "mean", "rsqrt", "sigmoid", "tanh", "relu"),
        *("sigmoid_backward", "tanh_backward", "native_layer_norm", "native_layer_norm_backward"),
    )
}


@dataclass(frozen=True)
class Precision:
    """The distance from 1 to the next number: of results, and of operands of products; 0 where nothing is rounded."""

    results: float
    operands: float = 0.0


def beside_right_ones(
    problem: Problem, found: Tensors, precision: Precision, seed: int
) -> tuple[dict[str, float], dict[str, float]]:
    """The error of each tensor found, and of right computations: a root mean square over runs rounded at random.

    Both against the float64 reference on the sides of its kinks that the layer took, where both sides are right.
    """
    kinks = kinks_of(problem, found["output"], lambda: RandomRounding(precision, seed))
    with WholeGradients(), Sides(kinks):
        exact = problem.by_reference(torch.float64)
    squares = dict.fromkeys(exact, 0.0)
    for run in range(RUNS * seed, RUNS * (seed + 1)):
        with WholeGradients(), RandomRounding(precision, run), Sides(kinks, run):
            moved = distances(problem.by_reference(torch.float64), exact)
        squares = {name: square + moved[name] ** 2 / RUNS for name, square in squares.items()}
    return distances(found, exact), {name: math.sqrt(square) for name, square in squares.items()}


class RandomRounding(TorchDispatchMode):
    """Within it every result of arithmetic is moved at random, as rounding at a precision may move it."""

    def __init__(self, precision: Precision, seed: int) -> None:
        super().__init__()
        self.precision = precision
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func in _PRODUCTS:
            return self.product(*args)
        results = func(*args, **(kwargs or {}))
        if func in _SUMS:
            squares = func(args[0].square(), *args[1:], **(kwargs or {}))
            results = self.summed(results, squares, args[0].numel() // results.numel())
        if func.overloadpacket not in _ARITHMETIC:
            return results
        if isinstance(results, Tensor):
            return self.moved(results, self.precision.results)
        return tuple(self.moved(r, self.precision.results) if isinstance(r, Tensor) else r for r in results)

    def product(self, *operands: Tensor) -> Tensor:
        *start, left, right = operands
        if self.precision.operands:
            left, right = (self.moved(factor, self.precision.operands / 2) for factor in (left, right))
        product = self.summed(left @ right, left.square() @ right.square(), left.size(1))
        return self.moved(start[0] + product if start else product, self.precision.results)

    def summed(self, sums: Tensor, squares: Tensor, count: int) -> Tensor:
        """What the sums may come to in one chain of ``count`` additions; ``squares`` are the sums of squares.

        In random order the sum of the first k of n numbers is k/n of the whole on average, and varies as a sample
        without replacement does; the squares of all of them, added up, are n/3 of the whole's and n/6 of the numbers'.
        """
        partial = count * (sums.square() / 3 + (squares - sums.square() / count).clamp(min=0) / 6)
        unit = self.precision.results / math.sqrt(12)  # of what is anywhere within half a unit
        normal = torch.randn(sums.shape, generator=self.generator, dtype=sums.dtype)
        return sums + unit * partial.sqrt() * normal

    def moved(self, result: Tensor, eps: float) -> Tensor:
        part = torch.rand(result.shape, generator=self.generator, dtype=result.dtype)
        return result * (1 + eps * (2 * part - 1))


@dataclass
class _Uses:
    """The steps that multiply by one weight, and what they leave behind in the backward pass."""

    left: int = 0
    inputs: list[Tensor] = field(default_factory=list)
    gradients: list[Tensor] = field(default_factory=list)


class WholeGradients(TorchFunctionMode):
    """Within it the gradient of each weight is one product over all steps, where autograd adds up one of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.uses: dict[tuple[int, torch.Size], _Uses] = {}

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: Any = None) -> Any:
        if func is not linear:
            return func(*args, **(kwargs or {}))
        x, weight, *bias = args
        uses = self.uses.setdefault((weight.data_ptr(), weight.shape), _Uses())
        return _Linear.apply(x, weight, bias[0] if bias else None, uses)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, uses: _Uses) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.uses, ctx.biased = uses, bias is not None
        uses.left += 1
        return x @ weight.t() if bias is None else torch.addmm(bias, x, weight.t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        (x, weight), uses = ctx.saved_tensors, ctx.uses
        uses.left -= 1
        uses.inputs.append(x)
        uses.gradients.append(gradient)
        to_input = gradient @ weight
        if uses.left:
            return to_input, None, None, None
        rows = torch.cat(uses.gradients)
        return to_input, rows.t() @ torch.cat(uses.inputs), rows.sum(0) if ctx.biased else None, None
