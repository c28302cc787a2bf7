"""From settings to a trained model in a folder, and back: prepare, fit, test, save, report."""

from __future__ import annotations

import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import fastrnn
from fastrnn._saving import ENDING, write_text
from fastrnn.train import evaluate, fit, load, save
from fastrnn.train.loop.distributed import device_of_process, world
from fastrnn.train.saving import report
from fastrnn.train.saving.folder import CHECKPOINT
from fastrnn.train.saving.report import CURVES
from fastrnn.train.tasks.config import assign, document, make_settings, read_config, read_toml
from fastrnn.train.tasks.settings import TaskSettings
from fastrnn.train.tasks.task import MODEL, REPORT, SETTINGS, Generation, Prepared, Task

LEFT_BY_A_RUN = (CHECKPOINT, MODEL, "log.csv", CURVES, REPORT)


@dataclass
class Run:
    """A trained model with its task, settings and results.

    Attributes:
        task: the task.
        settings: its settings.
        model: the trained model.
        folder: the folder of the run, or None.
        result: what :func:`fastrnn.train.fit` returned; None for a model that was counted or opened.
        test: metrics on the test data, or None.
        sample: the report's sample of the model, as Markdown.
        seconds: the duration of the training.
    """

    task: Task
    settings: Any
    model: Any
    folder: Path | None = None
    result: Any = None
    test: dict[str, float] | None = None
    sample: str = ""
    seconds: float = 0.0

    def generate(self, prompt: str | None = None, **options: Any) -> str:
        """The model's answer to a prompt, or to an example; options as in :class:`Generation`."""
        chosen = Generation(**options)
        if self.task.generate:
            return self.task.generate(self.model, prompt, chosen)
        if chosen.out:
            raise ValueError(f"a model of the task {self.task.name} writes text, not a file; got {chosen.out}")
        (found,) = self.complete(prompt or "", **options)
        return found

    def complete(self, text: str, n: int = 1, **options: Any) -> list[str]:
        """Continuations of a text by a language model; options as in :class:`Generation`."""
        if not hasattr(self.model, "complete"):
            raise ValueError(f"a model of the task {self.task.name} does not complete text; use generate")
        given = {name: value for name, value in options.items() if value is not None}
        found = self.model.complete(text, n=n, **given)
        return [found] if isinstance(found, str) else found

    def evaluate(self, data: str | None = None) -> dict[str, float]:
        """Metrics on the run's test data, or on other data."""
        if data is None:
            return measure(self.task, self.model, prepare(self.task, self.settings))
        settings = located(dataclasses.replace(self.settings, data=data))
        if self.task.batches:
            prepared = Prepared(self.model, None, test=self.task.batches(settings, self.model))
        else:
            prepared = prepare(self.task, settings)
            if prepared.model.config() != self.model.config():
                raise ValueError(
                    f"{data} leads to another vocabulary or other sizes than the training data of this run"
                )
        return measure(self.task, self.model, prepared)


def train(
    task: str | Task,
    *,
    out: str | Path | None = None,
    config: str | Path | None = None,
    device: str | None = None,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool = False,
    **settings: Any,
) -> Run:
    """Train a task's model.

    Args:
        task: a name from ``TASKS``, or your own task.
        out: folder for settings, model, checkpoint, log and report. By default nothing is written.
        config: a TOML file of settings; settings given by name override it.
        device: such as "cuda"; by default the CPU.
        resume: continue the run in ``out``, with its settings and the given ones.
        overwrite: replace the run in ``out``.
        progress: show a progress bar.
        settings: the task's settings, as ``digits=3``; one entry of a table as ``**{"schedule.factor": 0.5}``.

    Raises:
        ValueError: a setting is unknown or not allowed; the data cannot be read.
        FileExistsError: ``out`` contains a run, and neither ``resume`` nor ``overwrite`` is given.
        FileNotFoundError: the data does not exist, or ``resume`` finds no run.
    """
    chosen = Task.find(task) if isinstance(task, str) else task
    folder = Path(out) if out is not None else None
    values: dict[str, Any] = {}
    if resume:
        values |= read_config(run_file(folder), chosen.name)
    elif folder is not None and is_first():
        check_free(folder, overwrite)
    if config is not None:
        read = read_config(config, chosen.name)
        make_settings(chosen.Settings, read, f"{config}: ")  # so that errors name the file
        values |= read
    made = make_settings(chosen.Settings, assign(chosen.Settings, values, settings.items()))
    return run(chosen, made, folder, device=device, resume=resume, progress=progress)


def run(
    task: Task,
    settings: Any,
    folder: Path | None = None,
    *,
    device: str | None = None,
    resume: bool = False,
    progress: bool = False,
) -> Run:
    """Prepare, fit, test, save, report; see :func:`train`. An earlier run in the folder is resumed or replaced."""
    settings = located(settings)
    prepared = prepare(task, settings)
    before = begin(folder, task, settings, resume) if folder is not None and is_first() else None
    wait_for_first(device)
    made = Run(task, settings, prepared.model, folder)
    start = time.perf_counter()
    if task.count:
        task.count(prepared, settings)
        if folder is not None and is_first():
            save(made.model, folder / MODEL)
    else:
        options = settings.arguments_of(fit) | dict(prepared.fit)
        where: dict[str, Any] = {"folder": folder, "resume": resume, "device": device, "progress": progress}
        try:
            made.result = fit(prepared.model, prepared.train, prepared.valid, **where, **options)
        except ValueError:  # for instance, the checkpoint is of another model
            if folder is not None and before is not None:
                write_text(folder / SETTINGS, before)
            raise
    made.seconds = time.perf_counter() - start
    if isinstance(made.model, torch.nn.Module):
        made.model.eval()  # as after open_run: no dropout in samples and later calls
    if is_first():
        learned = made.result is None or made.result.best  # else it diverged in the first epoch
        if learned and prepared.test is not None:
            made.test = measure(task, made.model, prepared)
        if learned:
            made.sample = task.samples(made.model, prepared)
        if folder is not None:
            write_report(folder, made, prepared)
    return made


def is_first() -> bool:
    """Whether this process writes, tests and prints: the first that torchrun started, or the only one."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_first(device: str | None) -> None:
    """Of several processes, all wait until the first one arrives here."""
    world(device_of_process(torch.device(device or "cpu")), None, False).agree(None)


def located(settings: Any) -> Any:
    """The settings with the absolute path of the data, so that the run finds it from any folder."""
    if settings.data is None or not Path(settings.data).exists():
        return settings
    return dataclasses.replace(settings, data=str(Path(settings.data).resolve()))


def prepare(task: Task, settings: Any) -> Prepared:
    torch.manual_seed(settings.seed)
    return task.prepare(settings)


def measure(task: Task, model: Any, prepared: Prepared) -> dict[str, float]:
    """Metrics on the test data."""
    if task.evaluate:
        return task.evaluate(model, prepared)
    if prepared.test is None:
        raise ValueError(f"the data of the task {task.name} has no test part")
    return evaluate(model, prepared.test, stateful=bool(prepared.fit.get("stateful", False)))


def check_free(folder: Path, overwrite: bool = False) -> None:
    """Raises FileExistsError if a run in this folder would overwrite files."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise FileExistsError(f"{folder} is a file, but a run needs a folder; choose another --out")
    if (folder / SETTINGS).exists():
        if not overwrite:
            raise FileExistsError(
                f"{folder} already contains a run; continue it with --resume, replace it with --overwrite, "
                "or choose another --out"
            )
    elif any(not each.name.endswith(ENDING) for each in folder.iterdir()):
        raise FileExistsError(f"{folder} contains files that do not belong to a run; choose another --out")


def begin(folder: Path, task: Task, settings: TaskSettings, resume: bool) -> str | None:
    """Creates the folder of a run with its settings, and removes an earlier run that is not resumed.

    Returns the previous settings file of a resumed run.
    """
    before = (folder / SETTINGS).read_text(encoding="utf-8") if resume else None
    folder.mkdir(parents=True, exist_ok=True)
    if not resume:
        for name in LEFT_BY_A_RUN:  # the settings are replaced last: until then the folder belongs to the earlier run
            (folder / name).unlink(missing_ok=True)
    write_text(folder / SETTINGS, document(settings, task=task.name, version=fastrnn.__version__))
    return before


def write_report(folder: Path, run: Run, prepared: Prepared) -> None:
    """Writes the report with what fit does not know: the task, its data, test metrics and samples."""
    title, settings = f"fastrnn train {run.task.name}", vars(run.settings)
    if run.result is not None:
        report.write(folder, run.result, title=title, settings=settings, test=run.test)
        text = (folder / REPORT).read_text(encoding="utf-8")
    else:
        figures = ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in (run.test or {}).items())
        text = f"# {title}\n\nCounted in {run.seconds:.1f} s. Test: {figures}.\n"
    about = "\n".join(f"- {name}: {value}" for name, value in prepared.about.items())
    text += f"\n## Data\n\n{about}\n" if about else ""
    text += f"\n## Samples\n\n{run.sample.strip()}\n" if run.sample else ""
    write_text(folder / REPORT, text)


def run_file(folder: Path | None) -> Path:
    """The settings file of a run; raises FileNotFoundError if there is no run."""
    if folder is None or not (folder / SETTINGS).exists():
        raise FileNotFoundError(f"there is no run in {folder}: it has no {SETTINGS}")
    return folder / SETTINGS


def open_run(folder: str | Path) -> Run:
    """Open the run in a folder, to generate or evaluate."""
    file = run_file(Path(folder))
    task = Task.find(str(read_toml(file).get("task")))
    settings = make_settings(task.Settings, read_config(file, task.name), f"{file}: ")
    return Run(task, settings, load(folder), Path(folder))
