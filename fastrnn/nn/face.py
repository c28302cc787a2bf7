"""isinstance(layer, torch.nn.LSTM) is true of layers that do not derive from torch.nn.LSTM.

They cannot derive: torch.compile refuses to trace any instance of torch.nn.RNN, GRU or LSTM. But ``isinstance`` asks
twice, for the type of an object and for its ``__class__``, and the two may differ. The ``__class__`` of a layer is the
*face* of its type: a class that stands for the type in everything, and has torch.nn's class among its ancestors. Only
the code of torch.compile that refuses is given the type itself (docs/adr/0012).
"""

from __future__ import annotations

import copyreg
import inspect
import sys
from typing import Any

_REFUSES = "torch._dynamo.variables.builder"
_TYPE = object.__dict__["__class__"]  # the descriptor that reads and changes the type of an object


class _Unannounced:
    """The first ancestor of a face. It keeps the ``__init_subclass__`` of users' classes from being called for it."""

    def __init_subclass__(cls, **options: Any) -> None:
        pass


class Face(type):
    """The class of faces. What is done with a face is done with the type behind it; only its ancestors are its own."""

    def __new__(meta, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any) -> Any:
        """Derive from the type: ``type(name, (layer.__class__,), {})`` is how parametrizations are made."""
        bases = tuple(map(behind, bases))
        return type(bases[0])(name, bases, namespace, **options)

    def mro(cls) -> list[type]:
        real = behind(cls)
        order = list(real.__mro__[1:])
        order.insert(order.index(real._twin.__base__), real._twin)
        order.insert(-1, real)  # not first: super(self.__class__, self) is the type's parent, as without faces
        return [cls, _Unannounced, *order]

    def __call__(cls, *args: Any, **options: Any) -> Any:
        return behind(cls)(*args, **options)

    def __getattribute__(cls, name: str) -> Any:
        if name == "__mro__":
            return type.__getattribute__(cls, name)
        if name == "__signature__":  # asked for first by inspect, which else goes by __call__ above
            return inspect.signature(behind(cls))
        found = getattr(behind(cls), name)
        return (*found, behind(cls)._twin) if name == "__bases__" else found

    def __setattr__(cls, name: str, value: Any) -> None:
        setattr(behind(cls), name, value)

    def __delattr__(cls, name: str) -> None:
        delattr(behind(cls), name)

    def __eq__(cls, other: object) -> bool:
        return behind(cls) is behind(other)

    def __hash__(cls) -> int:
        return hash(behind(cls))

    def __repr__(cls) -> str:
        return repr(behind(cls))


def behind(cls: Any) -> Any:
    """The type behind a face. Anything else is returned as it is."""
    return type.__getattribute__(cls, "__dict__")["real"] if type(cls) is Face else cls


copyreg.pickle(Face, lambda face: (behind, (behind(face),)))


class Faced:
    """A base of the layers and cells. Each names ``_twin``, the class of torch.nn that it stands in for."""

    _twin: type
    _face: type

    def __new__(cls, *args: Any, **options: Any) -> Any:
        return super().__new__(behind(cls))  # copies are made by cls.__new__(self.__class__)

    @property
    def __class__(self) -> Any:
        real = type(self)
        if issubclass(real, real._twin) or sys._getframe(1).f_globals.get("__name__") == _REFUSES:
            return real
        if "_face" not in vars(real) or behind(real._face) is not real:
            real._face = type.__new__(Face, real.__name__, (), {"real": real})
        return real._face

    @__class__.setter
    def __class__(self, cls: type) -> None:
        _TYPE.__set__(self, behind(cls))

    def __reduce_ex__(self, protocol: Any) -> Any:
        """As by default, in a form that pickle accepts although ``__class__`` is not the type."""
        words: Any = super().__reduce_ex__(max(protocol, 2))
        if words[0] is copyreg.__newobj__ and len(words[1]) == 1:  # type: ignore[attr-defined]
            words = (copyreg._reconstructor, (*words[1], object, None), *words[2:])  # type: ignore[attr-defined]
        return words
