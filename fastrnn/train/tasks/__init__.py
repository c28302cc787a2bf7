"""The tasks of `fastrnn train`: each combines data, a model and good settings.

run = fastrnn.train.tasks.train("addition", digits=3, out="sums")
run.generate("123+34")
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastrnn.train.tasks.fit_settings import FitSettings
    from fastrnn.train.tasks.run import Run, is_first, open_run, train
    from fastrnn.train.tasks.settings import TaskSettings, setting
    from fastrnn.train.tasks.task import TASKS, Generation, Prepared, Task

__all__ = [
    "TASKS",
    "FitSettings",
    "Generation",
    "Prepared",
    "Run",
    "Task",
    "TaskSettings",
    "is_first",
    "open_run",
    "setting",
    "train",
]

_HOMES = {
    **dict.fromkeys(("TASKS", "Generation", "Prepared", "Task"), "task"),
    **dict.fromkeys(("TaskSettings", "setting"), "settings"),
    "FitSettings": "fit_settings",
    **dict.fromkeys(("Run", "is_first", "open_run", "train"), "run"),
}

if not TYPE_CHECKING:  # else a type checker would accept any name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'fastrnn.train.tasks' has no attribute {name!r}")
        globals()[name] = getattr(import_module(f"fastrnn.train.tasks.{_HOMES[name]}"), name)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
