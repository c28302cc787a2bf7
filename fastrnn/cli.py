"""The command line: reads options, calls what does the work, writes what it returns."""

import json
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, ParamSpec, TypeVar

import typer
from rich.table import Table

from fastrnn import terminal
from fastrnn import verify as verification
from fastrnn._saving import write_text
from fastrnn.bench import roofline as rooflines
from fastrnn.bench.choose import choose
from fastrnn.bench.contenders import parse_contenders
from fastrnn.bench.measure import ContenderError
from fastrnn.bench.table import markdown as bench_markdown
from fastrnn.bench.work import DTYPES, GATES, Work, parse_cells
from fastrnn.console import Commands, check_outputs, explain, fail
from fastrnn.console import console as new_console
from fastrnn.facts import info as facts
from fastrnn.facts import machine
from fastrnn.gpu import describe, parse_device
from fastrnn.page import insert
from fastrnn.train.cli import add_to
from fastrnn.verify.table import markdown as verification_markdown
from fastrnn.word2vec.cli import app as word2vec_app

app = typer.Typer(
    cls=Commands,
    help="RNN, GRU and LSTM layers for PyTorch: the same numbers, faster. Models to train with them, and word vectors.",
    no_args_is_help=True,
    add_completion=False,
)
add_to(app)
app.add_typer(word2vec_app, name="word2vec")
console = new_console()
P = ParamSpec("P")
Parsed = TypeVar("Parsed")
NOT_RESULTS = (KeyError, TypeError, AttributeError, IndexError, ValueError, ZeroDivisionError)
DTYPES_HELP = f"Of {', '.join(DTYPES['cpu'])}; on CUDA, by default all, of {', '.join(DTYPES['cuda'])}."


def parsed(parse: Callable[P, Parsed], *arguments: P.args, **options: P.kwargs) -> Parsed:
    try:
        return parse(*arguments, **options)
    except ValueError as error:
        fail(error)


def write_json(value: Any, file: Path) -> None:
    """Writes a file that is whole whenever the command ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(value, indent=1) + "\n")


@app.command()
def verify(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every tensor's errors to this file.")] = None,
    device: Annotated[str, typer.Option(help="Where fastrnn and torch compute: cpu or cuda.")] = "cpu",
    cells: Annotated[str, typer.Option(help="Cells, comma separated.")] = ",".join(verification.CELLS),
    quick: Annotated[bool, typer.Option("--quick", help="Three shapes only.")] = False,
    render: Annotated[Path | None, typer.Option(help="Run nothing; print this JSON file as Markdown.")] = None,
    into: Annotated[Path | None, typer.Option(help="With --render: write it between the page's marks.")] = None,
) -> None:
    """Compare fastrnn's numbers and torch's with the float64 reference.

    Exits with 0 only if no tensor's error is more than twice torch's plus one unit in the last place of the tensor's
    largest value.
    """
    if rendered("verify", verification_markdown, render, into):
        return
    check_outputs({"--json": json_file})
    on_cuda = parsed(parse_device, device) == "cuda"
    cases = verification.all_cases(parsed(verification.parse_cells, cells), quick=quick, tf32=on_cuda)
    results = terminal.run_verify(console, cases, device)
    failed = sum(not result.passed for result in results)
    if json_file:
        found = [result.as_json() for result in results]
        about = machine() | ({"gpu": describe()} if on_cuda else {})
        write_json({"machine": about, "device": device, "passed": not failed, "results": found}, json_file)
    if failed:
        console.print(f"{failed} of {len(results)} layers are less accurate than allowed.", style="bold red")
        raise typer.Exit(1)
    console.print(f"All {len(results)} layers are as accurate as torch's.", style="bold green")


@app.command()
def bench(
    mode: Annotated[str, typer.Option(help="infer, train or both.")] = "both",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the results to this file, such as a PNG.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[str | None, typer.Option(help="Thread counts, comma separated; by default 1,2.")] = None,
    cells: Annotated[str, typer.Option(help="Cells, comma separated.")] = ",".join(GATES),
    shapes: Annotated[
        str | None, typer.Option(help="TxBxIxH, comma separated; by default 13 from small to large.")
    ] = None,
    full_grid: Annotated[bool, typer.Option("--full-grid", help="On CUDA: 126 shapes instead of 13.")] = False,
    layers: Annotated[int, typer.Option(min=1, help="Stacked layers.")] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Both directions.")] = False,
    packed: Annotated[bool, typer.Option("--packed", help="A PackedSequence of random lengths from 1 to T.")] = False,
    dtype: Annotated[str | None, typer.Option(help=DTYPES_HELP)] = None,
    memory: Annotated[bool, typer.Option("--memory", help="Memory of a training step, not time. Linux only.")] = False,
    recompute: Annotated[bool, typer.Option("--recompute", help="fastrnn's layers with recompute=True.")] = False,
    without: Annotated[str, typer.Option(help="Contenders to leave out, comma separated.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per contender; on CUDA at most.")] = 18,
    block: Annotated[float, typer.Option(min=0, help="Seconds per round.")] = 0.02,
    budget: Annotated[float | None, typer.Option(min=0, help="Start no further case after so many seconds.")] = None,
    render: Annotated[Path | None, typer.Option(help="Run nothing; print this JSON file as Markdown.")] = None,
    into: Annotated[Path | None, typer.Option(help="With --render: write it between the page's marks.")] = None,
) -> None:
    """Measure fastrnn against torch.nn and, if installed, ONNX Runtime and OpenVINO, in alternating rounds.

    ONNX Runtime and OpenVINO run CPU inference only, padded and in float32.
    """
    if rendered("bench", bench_markdown, render, into):
        return
    if memory and plot:
        fail("--plot draws times; got --memory")
    check_outputs({"--json": json_file, "--plot": checked_plot(plot)})
    parsed(parse_device, device)
    left_out = parsed(parse_contenders, without)
    if plot and "torch" in left_out:
        fail(f"--plot draws speed as a multiple of torch.nn's; got --without {without}")
    kind = {"num_layers": layers, "bidirectional": bidirectional, "packed": packed, "recompute": recompute}
    works = parsed(choose, device, mode, threads, cells, shapes, full_grid, dtype, memory, **kind)
    results = measured(
        terminal.run_bench,
        works,
        without=left_out,
        rounds=rounds,
        block=block,
        budget=math.inf if budget is None else budget,
        save=lambda found: write_json(found, json_file) if json_file else None,
    )
    if json_file:
        write_json(results, json_file)
    if plot:
        from fastrnn.bench.plot import plot as draw

        draw(results, plot)
    if results["failed"]:
        raise typer.Exit(1)


@app.command()
def roofline(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the results to this file, such as a PNG.")] = None,
    cell: Annotated[str, typer.Option(help="RNN, GRU or LSTM.")] = "LSTM",
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    without: Annotated[str, typer.Option(help="Contenders to leave out, comma separated.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per contender.")] = 12,
    block: Annotated[float, typer.Option(min=0, help="Seconds per round.")] = 0.02,
    source: Annotated[Path | None, typer.Option("--from", help="Run nothing; draw this JSON file.")] = None,
) -> None:
    """Measure inference over hidden sizes and batches against the machine's limits.

    The limits are multiply-adds on registers alone, and reading the recurrent weights once per step.
    """
    if source and plot is None:
        fail("--from draws into the file given by --plot; got none")
    check_outputs({"--json": json_file, "--plot": checked_plot(plot)}, {"--from": source} if source else None)
    if source:
        results = read_json(source)
    else:
        cells = parsed(parse_cells, cell)
        if len(cells) > 1:
            fail(f"--cell is one of {', '.join(GATES)}; got {cell!r}")
        left_out = parsed(parse_contenders, without)
        works = rooflines.works(cells[0], threads)
        results = measured(terminal.run_roofline, works, without=left_out, rounds=rounds, block=block)
    if json_file:
        write_json(results, json_file)
    if plot:
        from fastrnn.bench.roofline_plot import plot as draw

        try:
            draw(results, plot)
        except NOT_RESULTS as error:
            fail(f"{source or plot}: {explain(error)}")


def measured(run: Callable[..., dict[str, Any]], works: Sequence[Work], **options: Any) -> dict[str, Any]:
    """Runs a benchmark that records this command, and ends the command where a contender fails."""
    try:
        return run(console, works, command=shlex.join(["fastrnn", *sys.argv[1:]]), **options)
    except ContenderError as error:
        fail(error)


def checked_plot(file: Path | None) -> Path | None:
    """Ends the command now if matplotlib cannot write a picture of that name."""
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if file and file.suffix[1:].lower() not in kinds and file.suffix:
        fail(f"--plot {file}: a picture's name ends with one of {', '.join(f'.{kind}' for kind in kinds)}")
    return file


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        fail(f"{file} is not JSON: {error}")


def rendered(topic: str, markdown: Callable[[Any], str], file: Path | None, page: Path | None) -> bool:
    """Prints a file of results as Markdown, or puts it into a page, where results of a GPU have marks of their own.

    Returns whether there was a file.
    """
    if file is None:
        if page:
            fail(f"--into goes with --render, the file of results to put there; got --into {page} alone")
        return False
    results = read_json(file)
    try:
        text = markdown(results)
        topic += "-cuda" if "gpu" in results["machine"] else ""
    except NOT_RESULTS as error:
        fail(f"{file} does not hold results of fastrnn {topic}: {type(error).__name__}: {explain(error)}")
    if page:
        parsed(insert, text, topic, page)
    else:
        print_exactly(text)
    return True


def print_exactly(text: str) -> None:
    """Prints what is to be read by programs: no character may be replaced."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        missing = text[error.start]
        fail(f"the output's encoding, {encoding}, lacks {missing!r}. Set PYTHONIOENCODING=utf-8, or give --into a page")
    print(text)


@app.command()
def info() -> None:
    """Show which kernels serve which device, the instruction set, threads, build and versions."""
    table = Table(show_header=False, box=None)
    table.add_column(style="bold")
    for key, value in facts().items():
        lines = [f"{name}: {each}" for name, each in value.items()] if isinstance(value, dict) else [str(value)]
        table.add_row(key.replace("_", " "), "\n".join(lines))
    console.print(table)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.md, speed.png and the models.")] = Path("out/demo"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 10,
) -> None:
    """Verify, measure, and train two models: one writes as the documentation of Python does, one adds numbers."""
    from fastrnn.demo import run

    check_outputs({"--out": out / "report.md"})
    if not run(out, epochs, console):
        raise typer.Exit(1)
