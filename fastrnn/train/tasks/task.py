"""The interface of a task, and the table of tasks by name.

A task is one file, ``fastrnn/train/tasks/NAME.py``, that defines

    Settings              a frozen dataclass derived from FitSettings (or TaskSettings, for a model that only counts)
    with
                          flat fields; each has a default that works without data, and a line of help
    prepare(settings)     -> Prepared: reads or generates the data, builds vocabulary, model and batches. torch's
                          generators were seeded with settings.seed
    samples(model, prepared) -> str
                          samples of the trained model for the report, as Markdown: solved sums, a completed sentence

and optionally

    count(prepared, settings) -> None
                          replaces fastrnn.train.fit for a model without gradients: trains prepared.model
    evaluate(model, prepared) -> dict of metrics on prepared.test
                          replaces fastrnn.train.evaluate(model, prepared.test)
    batches(settings, model) -> data
                          what `fastrnn evaluate RUN --data settings.data` measures: a whole file, or the test part of a
                          folder, in the vocabulary of the trained model
    generate(model, prompt, options: Generation) -> str
                          the answer of `fastrnn generate RUN --prompt …`: a sum's result, a translation, the tags of a
                          sentence, the class, the forecast; the prompt None asks for an example. Other output, such as
                          music or a picture, is written to options.out, and the answer says so. Language models do not
                          need it: their prompts are completed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from fastrnn.train._names import unknown
from fastrnn.train.tasks.settings import TaskSettings

SETTINGS, MODEL, REPORT = "settings.toml", "model.safetensors", "report.md"  # files of a run's folder
TASKS = {
    "lm": "Language model of words.",
    "chars": "Language model of characters.",
    "ngram": "Language model by counting n-grams: the baseline.",
    "addition": "Add numbers such as 123+34, digit by digit.",
    "translate": "Translate sentences.",
    "classify": "Classify texts or pictures.",
    "tag": "Tag each word of a sentence.",
    "forecast": "Forecast a series.",
    "caption": "Describe pictures in words.",
    "music": "Compose polyphonic music, as MIDI.",
}


@dataclass(frozen=True)
class Prepared:
    """A model and its data for training, validation and test; the latter two may be None.

    ``fit`` has arguments of :func:`fastrnn.train.fit` that are not settings, such as ``{"monitor": "f1"}``; ``about``
    describes the data for the report, such as ``{"words to train on": "929,589"}``.
    """

    model: Any
    train: Any
    valid: Any = None
    test: Any = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """Options of generation; see :meth:`fastrnn.train.models.Predictor.complete`. ``out`` is for other output."""

    length: int | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    beam: int | None = None
    seed: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Task:
    """The definitions of a task's file; see the docstring of this module."""

    name: str
    Settings: type[TaskSettings]
    prepare: Callable[[Any], Prepared]
    samples: Callable[[Any, Prepared], str]
    count: Callable[[Prepared, Any], None] | None = None
    evaluate: Callable[[Any, Prepared], dict[str, float]] | None = None
    batches: Callable[[Any, Any], Any] | None = None
    generate: Callable[[Any, str | None, Generation], str] | None = None

    @classmethod
    def find(cls, name: str) -> Task:
        """The task with a name; raises ValueError with the known names."""
        if name not in TASKS:
            raise unknown("task", name, TASKS)
        return cls.of(name, vars(import_module(f"fastrnn.train.tasks.{name}")))

    @classmethod
    def of(cls, name: str, defined: Mapping[str, Any]) -> Task:
        """The task defined by the names of a module or of any mapping."""
        optional = ("count", "evaluate", "batches", "generate")
        found = {each: defined[each] for each in optional if each in defined}
        return cls(name, defined["Settings"], defined["prepare"], defined["samples"], **found)
