"""`fastrnn bench` and `fastrnn roofline`. They import torch when they run, so that `fastrnn --help` does not wait."""

import math
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from fastrnn._bench.choose import choose
from fastrnn._bench.measure import ContenderError
from fastrnn._bench.work import DTYPES, LAYERS, Work, parse_cells
from fastrnn.cli.console import check_outputs, console, explain, fail, parsed
from fastrnn.cli.results import NOT_RESULTS, read_json, rendered, write_json

DTYPES_HELP = f"{', '.join(DTYPES['cpu'])}; on CUDA {', '.join(DTYPES['cuda'])}, by default all of them."


def bench(
    mode: Annotated[str, typer.Option(help="infer, train or both.")] = "both",
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the results into this file, such as speed.png.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[str | None, typer.Option(help="Thread counts, comma-separated; default 1,2.")] = None,
    cells: Annotated[str, typer.Option(help="Cells to measure, comma-separated.")] = ",".join(LAYERS),
    shapes: Annotated[
        str | None, typer.Option(help="Shapes TxBxIxH, comma-separated; default: 13 from small to large.")
    ] = None,
    full_grid: Annotated[bool, typer.Option("--full-grid", help="On CUDA: measure 126 shapes instead of 13.")] = False,
    layers: Annotated[int, typer.Option(min=1, help="Stacked layers.")] = 1,
    bidirectional: Annotated[bool, typer.Option("--bidirectional", help="Measure bidirectional layers.")] = False,
    packed: Annotated[bool, typer.Option("--packed", help="Pack sequences of random lengths from 1 to T.")] = False,
    dtype: Annotated[str | None, typer.Option(help=DTYPES_HELP)] = None,
    memory: Annotated[
        bool, typer.Option("--memory", help="Measure the memory of a training step instead of time. Linux only.")
    ] = False,
    recompute: Annotated[bool, typer.Option("--recompute", help="Use recompute=True in fastrnn's layers.")] = False,
    without: Annotated[str, typer.Option(help="Contenders to skip, comma-separated.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per contender; on CUDA the maximum.")] = 18,
    block: Annotated[float, typer.Option(min=0, help="Seconds per round.")] = 0.02,
    budget: Annotated[float | None, typer.Option(min=0, help="Seconds after which no further case starts.")] = None,
    render: Annotated[Path | None, typer.Option(help="Only print this JSON file as Markdown.")] = None,
    into: Annotated[Path | None, typer.Option(help="With --render: insert the Markdown into this page.")] = None,
) -> None:
    """Measure fastrnn against torch.nn and, where installed, ONNX Runtime and OpenVINO, in alternating rounds.

    ONNX Runtime and OpenVINO take part in inference on the CPU, with padded float32 input.
    """
    from fastrnn._bench.contenders import parse_contenders
    from fastrnn._bench.table import markdown
    from fastrnn._core import gpu
    from fastrnn.cli import terminal

    if rendered("bench", markdown, render, into):
        return
    if memory and plot:
        fail("--plot draws times, not memory; got --memory")
    check_outputs({"--json": json_file, "--plot": checked_plot(plot)})
    parsed(gpu.parse_device, device)
    left_out = parsed(parse_contenders, without)
    if plot and "torch" in left_out:
        fail(f"--plot draws speed relative to torch.nn; got --without {without}")
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
        from fastrnn._bench.plot import plot as draw

        draw(results, plot)
    if results["failed"]:
        raise typer.Exit(1)


def roofline(
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the results to this JSON file.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the results into this file, such as roofline.png.")] = None,
    cell: Annotated[str, typer.Option(help="RNN, GRU or LSTM.")] = LAYERS[-1],
    threads: Annotated[int, typer.Option(min=1, help="Threads.")] = 1,
    without: Annotated[str, typer.Option(help="Contenders to skip, comma-separated.")] = "",
    rounds: Annotated[int, typer.Option(min=1, help="Rounds per contender.")] = 12,
    block: Annotated[float, typer.Option(min=0, help="Seconds per round.")] = 0.02,
    source: Annotated[Path | None, typer.Option("--from", help="Only draw this JSON file.")] = None,
) -> None:
    """Compare inference with the machine's limits, over hidden sizes and batches.

    The limits are the peak rate of multiply-adds, and reading the recurrent weights once per step.
    """
    from fastrnn._bench import roofline as rooflines
    from fastrnn._bench.contenders import parse_contenders
    from fastrnn.cli import terminal

    if source and plot is None:
        fail("--from needs --plot, the picture to draw; got no --plot")
    check_outputs({"--json": json_file, "--plot": checked_plot(plot)}, {"--from": source} if source else None)
    if source:
        results = read_json(source)
    else:
        cells = parsed(parse_cells, cell)
        if len(cells) > 1:
            fail(f"--cell must be one of {', '.join(LAYERS)}; got {cell!r}")
        left_out = parsed(parse_contenders, without)
        works = rooflines.works(cells[0], threads)
        results = measured(terminal.run_roofline, works, without=left_out, rounds=rounds, block=block)
    if json_file:
        write_json(results, json_file)
    if plot:
        from fastrnn._bench.roofline_plot import plot as draw

        try:
            draw(results, plot)
        except NOT_RESULTS as error:
            fail(f"{source or plot}: {explain(error)}")


def measured(run: Callable[..., dict[str, Any]], works: Sequence[Work], **options: Any) -> dict[str, Any]:
    """Runs a benchmark and records this command in its results; ends the command if a contender fails."""
    try:
        return run(console(), works, command=shlex.join(["fastrnn", *sys.argv[1:]]), **options)
    except ContenderError as error:
        fail(error)


def checked_plot(file: Path | None) -> Path | None:
    """Ends the command before its work if matplotlib cannot write a picture of that name."""
    from matplotlib.backend_bases import FigureCanvasBase

    kinds = FigureCanvasBase.get_supported_filetypes()
    if file and file.suffix[1:].lower() not in kinds and file.suffix:
        fail(f"--plot {file}: the name must end with one of {', '.join(f'.{kind}' for kind in kinds)}")
    return file
