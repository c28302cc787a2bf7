"""From text, numbers or symbols to a trained recurrent model: plain PyTorch, every piece usable alone.

``data`` makes batches, ``models`` has the models, and ``fit`` trains any of them. ``fastrnn train`` does all three.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.train import data as data
    from fastrnn.train import models as models
    from fastrnn.train.evaluation import evaluate
    from fastrnn.train.flow import gradient_flow
    from fastrnn.train.loop import fit
    from fastrnn.train.result import Result
    from fastrnn.train.saving import load, save
    from fastrnn.train.step import Step

__all__ = ["Result", "Step", "data", "evaluate", "fit", "gradient_flow", "load", "models", "save"]

# Where each name is; it is imported when it is first asked for.
_MODULES = ("data", "models", "tasks")
_HOMES = {
    "Result": "result",
    "Step": "step",
    "evaluate": "evaluation",
    "fit": "loop",
    "gradient_flow": "flow",
    "load": "saving",
    "save": "saving",
}

if not TYPE_CHECKING:  # a type checker would take any name for one of the package's

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"fastrnn.train.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'fastrnn.train' has no attribute {name!r}")
        globals()[name] = getattr(import_module(f"fastrnn.train.{_HOMES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
