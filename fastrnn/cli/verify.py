"""`fastrnn verify`. It imports torch when it runs, so that `fastrnn --help` does not wait for it."""

from pathlib import Path
from typing import Annotated

import typer

from fastrnn.cli.console import check_outputs, console, parsed
from fastrnn.cli.results import rendered, write_json


def verify(
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the errors of every tensor to this file.")
    ] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    cells: Annotated[str | None, typer.Option(help="Cells to verify, comma-separated; by default all.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Use only three shapes.")] = False,
    render: Annotated[Path | None, typer.Option(help="Only print this JSON file as Markdown.")] = None,
    into: Annotated[Path | None, typer.Option(help="With --render: insert the Markdown into this page.")] = None,
) -> None:
    """Compare fastrnn and torch with a float64 reference.

    Exits with 0 only if every tensor's error is at most twice torch's, or twice that of a float64 reference rounded at
    random as the layer's dtype rounds, plus one unit in the last place of the tensor's largest value.
    """
    from fastrnn import _verify
    from fastrnn._core.gpu import describe, parse_device
    from fastrnn._environment import machine
    from fastrnn._verify.table import markdown
    from fastrnn.cli import terminal

    shown = console()
    if rendered("verify", markdown, render, into):
        return
    check_outputs({"--json": json_file})
    on_cuda = parsed(parse_device, device) == "cuda"
    chosen = list(_verify.CELLS) if cells is None else parsed(_verify.parse_cells, cells)
    cases = _verify.all_cases(chosen, quick=quick, tf32=on_cuda)
    results = terminal.run_verify(shown, cases, device)
    failed = sum(not result.passed for result in results)
    if json_file:
        found = [result.as_json() for result in results]
        about = machine() | ({"gpu": describe()} if on_cuda else {})
        write_json({"machine": about, "device": device, "passed": not failed, "results": found}, json_file)
    if failed:
        shown.print(f"{failed} of {len(results)} layers exceed the allowed error.", style="bold red")
        raise typer.Exit(1)
    shown.print(f"All {len(results)} layers are as accurate as torch's.", style="bold green")
