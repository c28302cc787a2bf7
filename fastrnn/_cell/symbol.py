"""A number of a step while it is traced: torch's functions take it where a tensor would be, and make nodes.

So one text is both the trace and, run on tensors, the reference. A step says what every unit does by itself, and has
means over all units, and products with the cell's matrices: whatever else would look at a value, change a shape or mix
units is an error that names the line.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from functools import partial
from typing import Any, NoReturn

import torch

from fastrnn._cell.errors import at_this_line
from fastrnn._cell.functions import ALIASES, ALLOWED, BY_FUNCTION, METHODS, OF_TRUTH, power
from fastrnn._cell.graph import Graph, Node

_MIXES = {
    *("view", "reshape", "flatten", "unflatten", "squeeze", "unsqueeze", "transpose", "permute", "t", "T", "expand"),
    *("repeat", "cat", "concat", "stack", "chunk", "split", "narrow", "gather", "index_select", "select", "roll"),
    *("flip", "sum", "prod", "amax", "amin", "norm", "var", "std", "cumsum", "softmax", "unbind"),
    *("log_softmax", "logsumexp", "var_mean", "std_mean", "layer_norm", "rms_norm", "group_norm", "batch_norm"),
    *("normalize", "matmul", "mm", "bmm", "linear", "einsum", "dot", "outer"),
    *("__getitem__", "__matmul__", "__rmatmul__"),
}
_BY_A_MATRIX = "multiplied by a matrix with @; gates are what weights make of x and h, and u(x) is a product with a "
_BY_A_MATRIX += "matrix of the cell, matrices = 'u'"
_LOOKS = {"shape", "size", "dim", "numel", "dtype", "device", "item", "tolist", "requires_grad", "ndim", "data", "grad"}


class Symbol:
    """A node that Python's operators and torch's functions accept."""

    __array_ufunc__ = None  # numpy's functions do not accept it
    __slots__ = ("_graph", "_node")

    def __init__(self, graph: Graph, node: Node) -> None:
        self._graph, self._node = graph, node

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        known = BY_FUNCTION.get(function)
        if known is None:
            raise unknown(getattr(function, "__name__", str(function)))
        return apply(known[0], known[1], args, kwargs or {})

    def __getattr__(self, name: str) -> Any:
        method = ALIASES.get(name, name)
        if method in METHODS:
            return partial(_method, method, self)
        if name.startswith("__") or not hasattr(torch.Tensor, name):
            raise AttributeError(f"a number of a step has no attribute {name!r}")
        raise unknown(name)

    def __repr__(self) -> str:
        return f"Symbol({self._node})"

    __hash__ = object.__hash__


def apply(name: str, make: Callable[..., Node], args: Any, kwargs: dict[str, Any]) -> Symbol:
    """The symbol that a function makes of symbols, numbers and its other arguments."""
    graph = next(a._graph for a in (*args, *kwargs.values()) if isinstance(a, Symbol))
    if name == "where" and not any(isinstance(a, Symbol) for a in (*args[1:], *kwargs.values())):
        raise at_this_line(
            "torch.where of two Python numbers does not know the dtype; write torch.full_like(x, number) for one"
        )
    numeric = name not in ("pow", "clamp", "softplus", "full_like", "mean")  # whose numbers are not operands
    operands = [_operand(name, graph, a, numeric) for a in args]
    try:
        return Symbol(graph, make(graph, *operands, **{k: _operand(name, graph, a, False) for k, a in kwargs.items()}))
    except TypeError as error:
        if error.__traceback__ is not None and error.__traceback__.tb_next is not None:
            raise
        given = ", ".join([*("_" for _ in args), *(f"{k}={v!r}" for k, v in kwargs.items())])
        raise at_this_line(f"a step cannot call torch's {name} with these arguments: {name}({given})") from None


def unknown(name: str) -> ValueError:
    """What to say of a function of torch that a step cannot use."""
    if name.endswith("_") and not name.endswith("__"):
        return at_this_line(f"a step cannot write in place; write x = torch.{name[:-1]}(x, ...), not x.{name}(...)")
    if name in _LOOKS:
        return at_this_line(
            f"a step cannot ask for {name}: it is traced once and for all sizes, with numbers that are not known yet"
        )
    if name in ("max", "min"):
        return at_this_line(f"a step cannot use {name}; write torch.{name}imum(a, b)")
    if name in _MIXES:
        return at_this_line(
            f"a step cannot use {name}: it says what each unit does by itself, so no function that changes a shape "
            "or mixes units has a meaning; a mixture of units is a gate's, through the weights, u(x) with a matrix "
            "that the cell declares (matrices = 'u'), or the mean over the units, x.mean(-1, keepdim=True), of which "
            "fastrnn.cells.layer_norm(x) is made"
        )
    return at_this_line(f"a step cannot use torch's {name}; it may use {ALLOWED}")


def _method(name: str, self: Symbol, *args: Any, **kwargs: Any) -> Symbol:
    return apply(name, METHODS[name], (self, *args), kwargs)


def _operand(name: str, graph: Graph, x: Any, numeric: bool) -> Any:
    if isinstance(x, Symbol):
        if x._graph is not graph:
            raise at_this_line("a number of another trace, kept from an earlier call of a step, cannot be used")
        truth = name in OF_TRUTH
        if x._node.boolean != truth and name != "where":
            raise at_this_line(
                f"{name} takes truth values, got a number; compare it first, as in x > 0"
                if truth
                else f"{name} takes numbers, got a comparison; write torch.where(condition, a, b)"
            )
        return x._node
    if isinstance(x, Matrix):
        raise x.refused()
    if isinstance(x, torch.Tensor):
        raise at_this_line(
            f"a step cannot use a tensor that is not one of its arguments (of shape {tuple(x.shape)}); write a Python "
            "number, float(t), or declare a number for each unit as one of vectors"
        )
    if not numeric:
        return x
    if isinstance(x, bool) or not isinstance(x, numbers.Real):
        raise at_this_line(f"{name} takes numbers, got {x!r}")
    return graph.constant(float(x))


def _operator(name: str, reverse: bool) -> Callable[..., Any]:
    def of(self: Symbol, *other: Any) -> Any:
        if not all(isinstance(x, (Symbol, numbers.Real, torch.Tensor)) for x in other):
            return NotImplemented
        return apply(name, METHODS[name], (*other, self) if reverse else (self, *other), {})

    return of


def _refused(message: str) -> Callable[..., NoReturn]:
    def refuse(self: Symbol, *others: Any) -> NoReturn:
        raise at_this_line(message)

    return refuse


def _rpow(self: Symbol, base: Any) -> NoReturn:
    raise at_this_line("a step cannot raise a number to a power that it computes; write torch.exp(x * math.log(base))")


def _pow(self: Symbol, n: Any) -> Symbol:
    return apply("pow", power, (self, n), {})


class Matrix:
    """A matrix of a cell, (H, H), while its step is traced: it can be called with one number of each unit."""

    __array_ufunc__ = None
    __slots__ = ("_graph", "_name", "_number")

    def __init__(self, graph: Graph, name: str, number: int) -> None:
        self._graph, self._name, self._number = graph, name, number

    def __call__(self, *args: Any, **kwargs: Any) -> Symbol:
        if len(args) != 1 or kwargs:
            raise at_this_line(f"the matrix {self._name} multiplies one number; write {self._name}(x)")
        (x,) = args
        if isinstance(x, Symbol) and x._graph is not self._graph:
            raise at_this_line("a number of another trace, kept from an earlier call of a step, cannot be used")
        if not isinstance(x, Symbol) or x._node.boolean or not x._node.of_units:
            what = "a Python number, a tensor or another matrix"
            if isinstance(x, Symbol):
                what = "a comparison" if x._node.boolean else "one number for all units of a row, as a mean is"
            raise at_this_line(
                f"the matrix {self._name} multiplies a number that each unit has, got {what}; write {self._name}(x) of "
                "what is computed of gates, states or vectors, and multiply others by themselves"
            )
        return Symbol(self._graph, self._graph.node("matrix_product", x._node, value=self._number))

    def refused(self) -> ValueError:
        """What to say of a matrix in the place of a number."""
        return at_this_line(
            f"{self._name} is one of matrices, and no number: it can only multiply; write {self._name}(x) for its "
            f"product with x, or declare {self._name} as one of vectors"
        )

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise next(a for a in (*args, *(kwargs or {}).values()) if isinstance(a, Matrix)).refused()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name) if name.startswith("__") else self.refused()

    def __repr__(self) -> str:
        return f"Matrix({self._name})"

    __hash__ = object.__hash__


def _not_a_number(self: Matrix, *others: Any) -> NoReturn:
    raise self.refused()


def _install() -> None:
    """Python's operators."""
    for name in ("add", "sub", "mul"):
        setattr(Symbol, f"__{name}__", _operator(name, False))
        setattr(Symbol, f"__r{name}__", _operator(name, True))
    for special, name in (("and", "logical_and"), ("or", "logical_or")):
        setattr(Symbol, f"__{special}__", _operator(name, False))
    for name in ("lt", "le", "gt", "ge", "eq", "ne", "neg", "abs"):
        setattr(Symbol, f"__{name}__", _operator(name, False))
    operators = {
        "__truediv__": _operator("div", False),
        "__rtruediv__": _operator("div", True),
        "__invert__": _operator("logical_not", False),
        "__pos__": lambda self: self,
        "__pow__": _pow,
        "__rpow__": _rpow,
        "__bool__": _refused(
            "a step is traced with numbers that are not known yet, so `if`, `while`, `and`, `or`, `not` and chained "
            "comparisons cannot look at one; write torch.where(condition, a, b), with & | ~ between conditions"
        ),
    }
    looks = "a step is traced with numbers that are not known yet: {}; use torch's functions"
    for name, what in (("float", "float(x)"), ("int", "int(x)"), ("index", "x as an index"), ("complex", "complex(x)")):
        operators[f"__{name}__"] = _refused(looks.format(f"it cannot take {what}"))
    operators["__array__"] = _refused(looks.format("numpy cannot read one"))
    one = "an argument of a step is one number of one unit: it cannot be {}"
    for name, what in (
        *(("getitem", "indexed"), ("setitem", "written to"), ("len", "asked for its length"), ("iter", "iterated")),
        *(("contains", "searched"), ("matmul", _BY_A_MATRIX), ("rmatmul", _BY_A_MATRIX)),
        ("call", "called; what a step calls with a number is a matrix, which the cell declares: matrices = 'u'"),
    ):
        operators[f"__{name}__"] = _refused(one.format(what))
    for name in ("floordiv", "rfloordiv", "mod", "rmod", "divmod", "xor", "round", "floor", "ceil", "trunc"):
        operators[f"__{name}__"] = _refused(f"a step cannot use Python's {name} on its numbers; it may use {ALLOWED}")
    for name in ("iadd", "isub", "imul", "itruediv", "ipow"):
        operators[f"__{name}__"] = _refused(
            "a step cannot write in place, which would change the state that it was given; write x = x + y for x += y"
        )
    for name, operator in operators.items():
        setattr(Symbol, name, operator)
    for name in [name for name in vars(Symbol) if name not in vars(object)]:
        if name.startswith("__") and name not in vars(Matrix) and callable(getattr(Symbol, name)):
            setattr(Matrix, name, _not_a_number)
    Matrix.__eq__ = _not_a_number  # type: ignore[method-assign, assignment]


_install()
