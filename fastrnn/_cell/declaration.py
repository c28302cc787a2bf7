"""The class statement of a user's cell: what it declares, checked, and its step, traced once.

    class Peephole(fastrnn.Cell):
        gates = "i f g o"
        state = "h c"
        vectors = "p_i p_f p_o"

        def step(i, f, g, o, h, c, p_i, p_f, p_o):
            c = sigmoid(f + p_f * c) * c + sigmoid(i + p_i * c) * tanh(g)
            return sigmoid(o + p_o * c) * tanh(c), c

Why it is spelled so: docs/adr/0042.
"""

from __future__ import annotations

import inspect
import keyword
import math
import sys
import traceback
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple

from fastrnn._cell.errors import CellError, at_line, at_this_line
from fastrnn._cell.graph import Graph, Node, reach
from fastrnn._cell.symbol import Matrix, Symbol

Names = str | tuple[str, ...] | list[str]
Initial = float | tuple[float, float]  # a number, or between which two numbers random ones are

_CALL = ("input", "hx", "lengths", "resets", "return_states")  # other arguments of a layer's call
_PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Declaration(NamedTuple):
    """What a cell declares. Names are those of the step's arguments."""

    input_gates: tuple[str, ...]  # blocks of H rows of weight_ih, in their order
    recurrent_gates: tuple[str, ...]  # of weight_hh; a name in both is the sum of two products
    states: dict[str, float]  # h first; what each begins with
    vectors: dict[str, Initial | None]  # None: as torch's parameters
    per_step: tuple[str, ...]
    matrices: tuple[str, ...]
    step: Callable[..., Any]
    taken: tuple[str, ...]  # of the names above those that the step has as arguments
    graph: Graph
    outputs: tuple[Node, ...]  # one of each state

    @property
    def gates(self) -> tuple[str, ...]:
        """Those of W_hh first, so that its product is one matrix in a row of all gates."""
        return tuple(dict.fromkeys((*self.recurrent_gates, *self.input_gates)))

    def inputs(self) -> dict[str, Node]:
        """The node of each of the step's arguments that are numbers."""
        kinds = {"gate": self.gates, "state": self.states, "vector": self.vectors, "per_step": self.per_step}
        return {name: self.graph.input(kind, name) for kind, names in kinds.items() for name in names}


class Cell:
    """A recurrent cell of your own: the base of classes that declare one. ``fastrnn.layer(YourCell)`` is its layer.

    A class names what a step is made of, and defines it in torch's functions, for one unit:

    Attributes:
        gates: names of the numbers that matrices make of the input and the state, gate by gate
            W_ih x_t + b_ih + W_hh h_{t-1} + b_hh. In the order of the rows of ``weight_ih`` and ``weight_hh``.
        input_gates, recurrent_gates: instead of ``gates``, those of W_ih x + b_ih and those of W_hh h + b_hh. A name in
            both is their sum. ``recurrent_gates = ""``: there is no W_hh.
        state: names of the states, "h" by default. The first is the output, and what W_hh multiplies. A dictionary
            says what each is at the beginning of a sequence, zero by default: ``dict(h=0, m=-math.inf)``.
        vectors: names of parameters with a number for each unit, (H). A dictionary says what they are at first: a
            number, or a pair (low, high) for random ones; None, and by default, as all other parameters.
        per_step: names of numbers that a call gets with each step of the input, as keyword arguments (T, B, 1).
        matrices: names of parameters (H, H) that multiply what the step computes: of one, u, ``u(r * h)`` is U (r ∘ h).

    ``step`` takes these by name, in any order, and returns the new states, a tuple in the order of ``state``, or h
    where it is alone. It has no ``self``; ``@staticmethod`` above it, which type checkers like to see, may be left out.
    It may use + - * / **, comparisons with & | ~, Python numbers, and torch's exp, log, log1p, sqrt, square, abs,
    sigmoid, tanh, relu, softplus, logsigmoid, silu, gelu, sin, cos, reciprocal, minimum, maximum, clamp and where.
    Powers are whole numbers from -8 to 8. Variables outside the step are read once, at the class statement.

    The class statement traces the step once. It raises ValueError, with the line and what to write instead, where a
    step looks at a value (``if``), changes a shape, writes in place, uses another function, returns too few or too many
    states, or does not use a gate, a vector, a matrix or a number per step.
    """

    gates: ClassVar[Names]
    input_gates: ClassVar[Names]
    recurrent_gates: ClassVar[Names]
    state: ClassVar[Names | Mapping[str, float]] = "h"
    vectors: ClassVar[Names | Mapping[str, Initial | None]] = ""
    per_step: ClassVar[Names] = ""
    matrices: ClassVar[Names] = ""
    step: ClassVar[Callable[..., Any]]
    declaration: ClassVar[Declaration]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls.declaration = _declared(cls)

    def __new__(cls, *args: Any, **options: Any) -> Any:
        raise TypeError(
            f"{cls.__name__} says what a step is and has no instances; fastrnn.layer({cls.__name__}) is the class of "
            "its layers"
        )


def _declared(cls: type[Cell]) -> Declaration:
    """The declaration of a class, which is complete. Makes its step a static method."""
    step = _step_of(cls)
    input_gates, recurrent_gates = _gates_of(cls)
    states = {name: 0.0 if first is None else first for name, first in _with_values(cls, "state", _number).items()}
    vectors = _with_values(cls, "vectors", _initial)
    per_step, matrices = _names(cls, "per_step"), _names(cls, "matrices")
    if not states:
        raise at_this_line(f"{cls.__name__}.state names no state; leave it out for one, h")
    kinds = {
        "gates": tuple(dict.fromkeys((*input_gates, *recurrent_gates))),
        "state": tuple(states),
        "vectors": tuple(vectors),
        "per_step": per_step,
        "matrices": matrices,
    }
    _check_names(cls, kinds)
    graph = Graph()
    declared = Declaration(input_gates, recurrent_gates, states, vectors, per_step, matrices, step, (), graph, ())
    inputs = declared.inputs()
    _check_arguments(cls, step, kinds)
    arguments: dict[str, Any] = {name: Symbol(graph, node) for name, node in inputs.items()}
    arguments |= {name: Matrix(graph, name, k) for k, name in enumerate(matrices)}
    declared = declared._replace(taken=tuple(n for n in inspect.signature(step).parameters if n in arguments))
    outputs = _traced(cls, declared, arguments)
    reached = reach(outputs)
    used = {name for name, node in inputs.items() if node in reached}
    used |= {matrices[node.value] for node in reached if node.op == "matrix_product"}
    for kind in ("gates", "vectors", "per_step", "matrices"):
        for name in kinds[kind]:
            if name not in used:
                raise _at_step(
                    step, f"{name}, one of {kind}, is never used for what the step returns; use it, or leave it out"
                )
    return declared._replace(outputs=outputs)


def _step_of(cls: type[Cell]) -> Callable[..., Any]:
    step = inspect.getattr_static(cls, "step", None)
    if isinstance(step, staticmethod):
        step = step.__func__
    if not inspect.isfunction(step):
        raise at_this_line(f"{cls.__name__} has no step; define one, as in: def step(a, h): return torch.tanh(a)")
    if "step" in vars(cls):
        cls.step = staticmethod(step)
    return step


def _gates_of(cls: type[Cell]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Of the nearest class that declares any."""
    for owner in cls.__mro__:
        given = {"gates", "input_gates", "recurrent_gates"} & vars(owner).keys()
        if not given:
            continue
        if given == {"gates"}:
            gates = _names(cls, "gates")
            found = gates, gates
        elif given == {"input_gates", "recurrent_gates"}:
            found = _names(cls, "input_gates"), _names(cls, "recurrent_gates")
        else:
            raise at_this_line(
                f"{cls.__name__} declares {' and '.join(sorted(given))}; declare gates, or both input_gates and "
                'recurrent_gates ("" for none)'
            )
        if not found[0]:
            raise at_this_line(f"{cls.__name__} has no gate of the input; name one at least, as in: gates = 'a'")
        return found
    raise at_this_line(f"{cls.__name__} declares no gates; name them, as in: gates = 'i f g o'")


def _names(cls: type[Cell], attribute: str) -> tuple[str, ...]:
    given = getattr(cls, attribute)
    names = given.replace(",", " ").split() if isinstance(given, str) else given
    if not isinstance(names, (list, tuple, Mapping)) or not all(isinstance(name, str) for name in names):
        raise at_this_line(f"{cls.__name__}.{attribute} must be names, as in 'a b'; got {given!r}")
    for name in names:
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_"):
            raise at_this_line(
                f"{cls.__name__}.{attribute} must be names that an argument of step can have; got {name!r}"
            )
        if list(names).count(name) > 1:
            raise at_this_line(f"{cls.__name__}.{attribute} has {name!r} twice; give each its own name")
    return tuple(names)


def _with_values(cls: type[Cell], attribute: str, checked: Callable[[str, Any], Any]) -> dict[str, Any]:
    given, names = getattr(cls, attribute), _names(cls, attribute)
    if not isinstance(given, Mapping):
        return dict.fromkeys(names)
    return {name: checked(f"{cls.__name__}.{attribute}[{name!r}]", given[name]) for name in names}


def _number(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or math.isnan(value):
        raise at_this_line(f"{what} must be the number that the state begins with; got {value!r}")
    return float(value)


def _initial(what: str, value: Any) -> Initial | None:
    if value is None:
        return None
    pair = value if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(
        isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x) for x in pair
    ):
        raise at_this_line(f"{what} must be a number, or a pair (low, high) of numbers, or None; got {value!r}")
    if pair[0] > pair[1]:
        raise at_this_line(f"{what} must be a pair (low, high) with low <= high; got {value!r}")
    return float(value) if not isinstance(value, (tuple, list)) else (float(pair[0]), float(pair[1]))


def _check_names(cls: type[Cell], kinds: dict[str, tuple[str, ...]]) -> None:
    owner: dict[str, str] = {}
    for kind, names in kinds.items():
        for name in names:
            if name in owner:
                raise at_this_line(
                    f"{cls.__name__} has {name!r} in {owner[name]} and in {kind}; give each its own name"
                )
            owner[name] = kind
            taken = _CALL if kind == "per_step" else _PARAMETERS if kind in ("vectors", "matrices") else ()
            if name in taken:
                raise at_this_line(f"{cls.__name__}.{kind} has {name!r}, a name that every layer uses; choose another")


def _check_arguments(cls: type[Cell], step: Callable[..., Any], kinds: dict[str, tuple[str, ...]]) -> None:
    """Every argument is declared, or has a default, which is a constant of the step."""
    declared = [name for names in kinds.values() for name in names]
    for name, parameter in inspect.signature(step).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            raise _at_step(step, f"step takes its arguments by name; give it {', '.join(declared)}, no {parameter}")
        if name == "self" and name not in declared:
            raise _at_step(step, f"step has no self; write def step({', '.join(declared)})")
        if name not in declared and parameter.default is parameter.empty:
            raise _at_step(
                step,
                f"step has an argument {name}, which {cls.__name__} does not declare; its names are "
                + "; ".join(f"{kind}: {' '.join(names)}" for kind, names in kinds.items() if names),
            )


def _traced(cls: type[Cell], declared: Declaration, arguments: dict[str, Any]) -> tuple[Node, ...]:
    step = declared.step
    graph = declared.graph
    try:
        returned = step(**{name: arguments[name] for name in declared.taken})
    except CellError:
        raise
    except Exception as error:
        place = [f for f in traceback.extract_tb(sys.exc_info()[2]) if f.filename == step.__code__.co_filename]
        line = place[-1].lineno if place and place[-1].lineno else step.__code__.co_firstlineno
        raise at_line(
            step.__code__.co_filename, line, f"the step raised {type(error).__name__} when it was traced: {error}"
        ) from error
    states = list(declared.states)
    outputs = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    if len(outputs) != len(states):
        raise _at_step(
            step,
            f"step returns {_count(len(outputs), 'value')}, and there are {_count(len(states), 'state')}; return "
            f"{', '.join(states)}, each as it is after the step",
        )
    for name, output in zip(states, outputs, strict=True):
        if not isinstance(output, Symbol):
            raise _at_step(step, f"step returns {output!r} as {name}; return a number computed from its arguments")
        if output._graph is not graph:
            raise _at_step(step, f"step returns a number of an earlier trace as {name}; compute it from the arguments")
        if output._node.boolean:
            raise _at_step(
                step, f"step returns a comparison as {name}; write torch.where(condition, torch.ones_like(x), 0.0)"
            )
        if output._node.op == "constant":
            raise _at_step(step, f"step returns a constant as {name}; return a number computed from its arguments")
    return tuple(output._node for output in outputs)


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}" + ("s" if n != 1 else "")


def _at_step(step: Callable[..., Any], message: str) -> CellError:
    """The error for the line where the step is defined."""
    return at_line(step.__code__.co_filename, step.__code__.co_firstlineno, message)
