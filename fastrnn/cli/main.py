"""All commands together."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from fastrnn.cli.bench import bench, roofline
from fastrnn.cli.console import Commands, check_outputs
from fastrnn.cli.console import console as new_console
from fastrnn.cli.train import add_to
from fastrnn.cli.verify import verify
from fastrnn.word2vec.cli import app as word2vec_app

app = typer.Typer(
    cls=Commands,
    help="Fast RNN, GRU and LSTM layers for PyTorch, models to train with them, and word vectors.",
    no_args_is_help=True,
    add_completion=False,
)
console = new_console()


def info() -> None:
    """Show which kernels serve which device, the instruction set, threads, build and versions."""
    from fastrnn._environment import info as environment

    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    for key, value in environment().items():
        lines = [f"{name}: {each}" for name, each in value.items()] if isinstance(value, dict) else [str(value)]
        table.add_row(key.replace("_", " "), "\n".join(lines))
    console.print(table)


def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.md, speed.png and the models.")] = Path("out/demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 10,
) -> None:
    """Verify, measure, and train two models: one imitates Python's documentation, one adds numbers."""
    from fastrnn.cli.demo import run

    check_outputs({"--out": out / "report.md"})
    if not run(out, epochs, console):
        raise typer.Exit(1)


add_to(app)
for command in (verify, bench, roofline, info, demo):
    app.command()(command)
app.add_typer(word2vec_app, name="word2vec")
