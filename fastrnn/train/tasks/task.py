"""What a task is, and the table of tasks by name.

A task is one file, ``fastrnn/train/tasks/NAME.py``, that defines

    Settings              a frozen dataclass of FitSettings (or of TaskSettings, for a model that is only counted), with
                          flat fields; each has a default that is good on a fresh machine, and a line of help
    prepare(settings)     -> Prepared: reads or makes the data, builds vocabulary, model and batches. torch's generators
                          are seeded with settings.seed before
    samples(model, prepared) -> str
                          what the report shows of the trained model, as Markdown: sums solved, a sentence completed

and, where it has more to say,

    count(prepared, settings) -> None
                          replaces fastrnn.train.fit for a model that is not fitted by gradients: fills prepared.model
    evaluate(model, prepared) -> dict of figures on prepared.test
                          replaces fastrnn.train.evaluate(model, prepared.test)
    batches(settings, model) -> data
                          what `fastrnn evaluate RUN --data settings.data` measures: all of a file, or a folder's test
                          part, in the vocabulary of the trained model
    generate(model, prompt, options: Generation) -> str
                          what `fastrnn generate RUN --prompt …` answers: a sum's result, a translation, the tags of a
                          sentence, the class, the forecast; a prompt of None asks for an example of the task's own.
                          What is not text, such as music or a picture, is written to options.out, and the answer says
                          so. Language models do without: fastrnn.train.tasks.using completes their prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from fastrnn.train._names import unknown
from fastrnn.train.tasks.settings import TaskSettings

SETTINGS, MODEL, REPORT = "settings.toml", "model.safetensors", "report.md"  # of a run's folder
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
    """A model and the data to train, validate and test it on; the latter two may be None.

    ``fit`` has those arguments of :func:`fastrnn.train.fit` that are no settings, such as ``{"monitor": "f1"}``;
    ``about`` has what the report says of the data, such as ``{"words to train on": "929,589"}``.
    """

    model: Any
    train: Any
    valid: Any = None
    test: Any = None
    fit: Mapping[str, Any] = field(default_factory=dict)
    about: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Generation:
    """How to generate: see :meth:`fastrnn.train.models.Predictor.complete`. ``out`` is a file for what is not text."""

    length: int | None = None
    temperature: float = 1.0
    top_k: int | None = None
    top_p: float | None = None
    beam: int | None = None
    seed: int | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Task:
    """What a task's file defines; see this module's docstring."""

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
        """The task of that name; raises ValueError with the names there are."""
        if name not in TASKS:
            raise unknown("task", name, TASKS)
        return cls.of(name, vars(import_module(f"fastrnn.train.tasks.{name}")))

    @classmethod
    def of(cls, name: str, defined: Mapping[str, Any]) -> Task:
        """The task that a module's names, or any others, define."""
        optional = ("count", "evaluate", "batches", "generate")
        found = {each: defined[each] for each in optional if each in defined}
        return cls(name, defined["Settings"], defined["prepare"], defined["samples"], **found)
