"""Methods of a model that must not run at the same time, whichever thread or callback calls them."""

from __future__ import annotations

import functools
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

P = ParamSpec("P")
Result = TypeVar("Result")


class _Call:
    """A running call. It counts as running while this object exists, so that Ctrl-C at any moment ends it, too."""

    def __init__(self, name: str) -> None:
        self.name, self.thread, self.process = name, threading.get_ident(), os.getpid()


def one_at_a_time(method: Callable[Concatenate[Any, P], Result]) -> Callable[Concatenate[Any, P], Result]:
    """A method that raises RuntimeError while it, or another such method of the same object, is running."""

    @functools.wraps(method)
    def alone(self: Any, *arguments: P.args, **options: P.kwargs) -> Result:
        under_way: dict[str, Any] = self.__dict__.setdefault("_under_way", {})
        call = _Call(method.__name__)
        mine = weakref.ref(call)
        try:
            while (found := under_way.setdefault("call", mine)) is not mine:
                other = found()
                if other is not None and other.process == os.getpid():
                    where = "this" if other.thread == call.thread else "another"
                    raise RuntimeError(
                        f"cannot call {call.name} while {other.name} of the same model is running in {where} thread; "
                        "wait until it ends, or use copy.deepcopy(model)"
                    )
                under_way.clear()  # it was interrupted, or it runs in the parent of this forked process
            return method(self, *arguments, **options)
        finally:
            if under_way.get("call") is mine:
                under_way.clear()

    return alone


def is_busy_elsewhere(model: Any) -> bool:
    """Whether another thread of this process is running such a method of the model."""
    call = model.__dict__.get("_under_way", {}).get("call", lambda: None)()
    return call is not None and call.thread != threading.get_ident() and call.process == os.getpid()


def change_together(*changes: tuple[Any, dict[str, Any]]) -> None:
    """Set attributes of several objects, all or none, even if Ctrl-C or another thread interrupts.

    Python handles signals and switches threads only between bytecode instructions, and this is a single C call.
    """
    objects = [vars(each) for each, _ in changes]
    attributes = [new for _, new in changes]
    list(map(dict.update, objects, attributes))
