"""Values that are computed on first use and kept until the object they are computed from changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NoReturn, TypeVar

Value = TypeVar("Value")


class cached(Generic[Value]):
    """A property that is computed once and kept in the object's dict ``_cached``.

    Whenever the object changes, it replaces that dict by an empty one. So if one thread computes a value while another
    changes the object, the value ends up in the old dict and is not used again.
    """

    def __init__(self, compute: Callable[[Any], Value]) -> None:
        self.compute, self.name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, owner: Any, owner_class: type) -> Value:
        if owner is None:
            return self  # type: ignore[return-value]
        values = owner._cached  # before the computation, which reads the object
        if self.name not in values:
            values[self.name] = self.compute(owner)
        return values[self.name]

    def __set__(self, owner: Any, value: Any) -> NoReturn:
        raise AttributeError(f"{type(owner).__name__}.{self.name} is computed and cannot be set")
