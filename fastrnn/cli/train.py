"""`fastrnn train`, `generate`, `complete` and `evaluate`.

torch and the tasks are imported when a command runs, so that these commands' help does not wait for them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markdown import Markdown
from rich.table import Table
from typer.core import TyperCommand

from fastrnn.cli.console import Commands, check_outputs, fail
from fastrnn.cli.console import console as new_console
from fastrnn.train.tasks.config import parse_assignment, show
from fastrnn.train.tasks.settings import help_of
from fastrnn.train.tasks.task import REPORT, TASKS, Task

if TYPE_CHECKING:
    from fastrnn.train.tasks import Run

console = new_console()
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run: the --out of fastrnn train.")]
Length = Annotated[int | None, typer.Option(min=1, help="Number of tokens to generate.")]
Temperature = Annotated[
    float, typer.Option(min=0, help="Sampling temperature: below 1 favours likely tokens, above 1 rare ones.")
]
TopK = Annotated[int | None, typer.Option(min=1, help="Sample only from the k most likely tokens.")]
TopP = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Sample only from the most likely tokens that together have this probability."),
]
Beam = Annotated[int | None, typer.Option(min=1, help="Beam search of this width instead of sampling.")]
Seed = Annotated[int | None, typer.Option(help="Random seed for sampling.")]


class TrainCommand(TyperCommand):
    """The command of a task. Its help lists the task's settings."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        super().format_help(ctx, formatter)
        table = Table("setting", "default", "", title=f"Settings of {self.name} (--set NAME=VALUE)", box=None)
        for each in dataclasses.fields(Task.find(str(self.name)).Settings):
            table.add_row(each.name, show(each.default), help_of(each))
        console.print(table)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Turns errors in files, settings or installed packages into one line."""
    try:
        yield
    except (ValueError, OSError, EOFError, ImportError) as error:
        fail(error)


def train_command(task: str) -> Callable[..., None]:
    """The function behind `fastrnn train TASK`."""

    def train(
        data: Annotated[
            str | None, typer.Option(help="File or folder to train on; by default the task makes its own data.")
        ] = None,
        config: Annotated[Path | None, typer.Option(help="TOML file with settings.")] = None,
        assignments: Annotated[
            list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one setting; can be repeated.")
        ] = None,
        out: Annotated[Path | None, typer.Option(help="Folder for the run; default out/TASK.")] = None,
        device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
        seed: Annotated[
            int | None, typer.Option(min=0, help="Random seed for weights, data order and dropout.")
        ] = None,
        resume: Annotated[bool, typer.Option("--resume", help="Resume the run in --out.")] = False,
        overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run in --out.")] = False,
    ) -> None:
        folder = out or Path("out") / task
        if resume and overwrite:
            fail("--resume continues a run and --overwrite replaces it; give only one of them")
        with reported():
            from fastrnn._core.gpu import torch_device
            from fastrnn.train import tasks

            given = {name: value for name, value in (("data", data), ("seed", seed)) if value is not None}
            run = tasks.train(
                task,
                out=folder,
                config=config,
                device=torch_device(device),
                resume=resume,
                overwrite=overwrite,
                progress=True,
                **given | dict(map(parse_assignment, assignments or [])),
            )
        if tasks.is_first():
            show_run(run, folder)
        if run.result is not None and run.result.stopped == "nan":
            raise typer.Exit(1)

    return train


def show_run(run: Run, folder: Path) -> None:
    """Prints how the training ended, the test metrics, a sample, and the next command."""
    if run.result is not None and run.result.stopped != "epochs":
        console.print(f"Training stopped early: {run.result.reason}.", style="yellow", highlight=False)
    if run.test:
        console.print(figures(run.test, "On the test data"))
    if run.sample:
        console.print(Markdown(run.sample))
        console.print()
    where = shlex.quote(str(folder))
    console.print(
        f"The model and {REPORT} are in {where}. Try it: fastrnn generate {where}", highlight=False, soft_wrap=True
    )


def generate(
    folder: RunFolder,
    prompt: Annotated[str | None, typer.Option(help="Text to continue or answer; by default an example.")] = None,
    out: Annotated[Path | None, typer.Option(help="File for output that is not text, such as music.mid.")] = None,
    length: Length = None,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    beam: Beam = None,
    seed: Seed = None,
) -> None:
    """Generate from a trained model: continue a text, or answer a prompt with a sum, a translation, tags or a class."""
    check_outputs({"--out": out})
    with reported():
        from fastrnn.train.tasks import open_run

        run = open_run(folder)
        answer = run.generate(
            prompt, out=out, length=length, temperature=temperature, top_k=top_k, top_p=top_p, beam=beam, seed=seed
        )
    console.print(answer, highlight=False, soft_wrap=True)


def complete(
    folder: RunFolder,
    text: Annotated[str, typer.Argument(help="Beginning of a sentence.")],
    top: Annotated[int, typer.Option(min=1, help="Number of next words to show.")] = 10,
    sentences: Annotated[int, typer.Option(min=0, help="Number of complete sentences to show.")] = 3,
    length: Length = None,
    temperature: Temperature = 1.0,
    top_k: TopK = None,
    top_p: TopP = None,
    beam: Beam = None,
    seed: Seed = None,
) -> None:
    """Show the most likely next words with their probabilities, and complete sentences."""
    with reported():
        from fastrnn.train.tasks import open_run

        run = open_run(folder)
        if not hasattr(run.model, "next"):
            raise ValueError(
                f"{folder} is a run of the task {run.task.name}, not a language model. Type: fastrnn generate {folder}"
            )
        table = Table("next", "probability", title=text)
        for token, probability in run.model.next(text, top=top):
            table.add_row(token if token.isprintable() and token.strip() else repr(token), f"{probability:.4f}")
        console.print(table)
        options = {"length": length, "temperature": temperature, "top_k": top_k, "top_p": top_p, "beam": beam}
        number = min(sentences, beam or sentences)  # a beam search returns at most as many as it is wide
        for sentence in run.complete(text, n=number, seed=seed, **options) if number else []:
            console.print(sentence, highlight=False, soft_wrap=True)


def evaluate(
    folder: RunFolder,
    data: Annotated[
        str | None, typer.Option(help="Data to evaluate on; by default the test part of the run's data.")
    ] = None,
) -> None:
    """Evaluate a trained model on test data."""
    with reported():
        from fastrnn.train.tasks import open_run

        console.print(figures(open_run(folder).evaluate(data), str(data or folder)))


def figures(values: Mapping[str, float], title: str) -> Table:
    table = Table("figure", "value", title=title)
    for name, value in values.items():
        table.add_row(name.replace("_", " "), f"{value:.5g}")
    return table


def add_to(app: typer.Typer) -> None:
    """Adds the commands of the training layer."""
    trainer = typer.Typer(cls=Commands, help="Train a model. fastrnn train TASK --help lists the settings of a task.")
    for name, help in TASKS.items():
        trainer.command(name, cls=TrainCommand, help=help)(train_command(name))
    app.add_typer(trainer, name="train", no_args_is_help=True)
    for command in (generate, complete, evaluate):
        app.command()(command)
