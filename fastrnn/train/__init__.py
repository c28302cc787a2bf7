"""From text, numbers or symbols to a trained recurrent model, in plain PyTorch; each part also works alone.

``data`` makes batches, ``models`` has the models, and ``fit`` trains any of them. ``fastrnn train`` combines the three.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.train import data as data
    from fastrnn.train import models as models
    from fastrnn.train.flow.measure import gradient_flow
    from fastrnn.train.loop.evaluation import evaluate
    from fastrnn.train.loop.fit import fit
    from fastrnn.train.loop.placement import to_device
    from fastrnn.train.loop.result import Result
    from fastrnn.train.loop.step import Step
    from fastrnn.train.saving.model_file import load, save

__all__ = [
    "Result",
    "Step",
    "data",
    "evaluate",
    "fit",
    "gradient_flow",
    "load",
    "models",
    "save",
    "to_device",
]

# The module of each name, imported when the name is first used.
_MODULES = ("data", "models", "tasks")
_HOMES = {
    "Result": "loop.result",
    "Step": "loop.step",
    "evaluate": "loop.evaluation",
    "fit": "loop.fit",
    "gradient_flow": "flow.measure",
    "load": "saving.model_file",
    "save": "saving.model_file",
    "to_device": "loop.placement",
}

if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return import_module(f"fastrnn.train.{name}")
        if name not in _HOMES:
            raise AttributeError(f"module 'fastrnn.train' has no attribute {name!r}")
        globals()[name] = getattr(import_module(f"fastrnn.train.{_HOMES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
