"""What was found, for the terminal: a table for each cell, a line for each case."""

from collections.abc import Sequence
from itertools import product

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastrnn.verify.errors import Result


def table(results: Sequence[Result]) -> Table:
    """Shows the largest errors of the outputs, final states and gradients, fastrnn's beside torch's."""
    shown = Table(title=results[0].case.name, title_justify="left", box=SIMPLE_HEAD)
    for column in ("dtype", "T", "B", "I", "H", "layers", "directions"):
        shown.add_column(column, justify="left" if column == "dtype" else "right")
    shown.add_column("rows")
    for kind in ("output", "state", "gradient"):
        shown.add_column(kind, justify="right")
        shown.add_column("torch", justify="right", style="dim")
    shown.add_column("of allowed", justify="right")
    shown.add_column("worst tensor")
    for result in results:
        case, shape = result.case, result.case.shape
        pairs = product(("output", "state", "gradient"), ("fastrnn", "torch"))
        shown.add_row(
            str(case.dtype).removeprefix("torch."),
            *map(str, (shape.T, shape.B, shape.I, shape.H, shape.num_layers, 2 if shape.bidirectional else 1)),
            "ragged" if shape.ragged else "equal",
            *(f"{result.largest(who, kind):.1e}" for kind, who in pairs),
            f"{result.worst.share:.0%}",
            result.worst.tensor,
            style=None if result.passed else "bold red",
        )
    return shown
