"""Results as tables: on the terminal one for each cell with a line for each case; on a page a line for each dtype."""

from collections.abc import Sequence
from itertools import groupby, product
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from fastrnn import _markdown
from fastrnn._verify.errors import KINDS, Result


def table(results: Sequence[Result]) -> Table:
    """Shows the largest errors of outputs, final states and gradients, of fastrnn and of torch."""
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
            case.precision,
            *map(str, (shape.T, shape.B, shape.I, shape.H, shape.num_layers, 2 if shape.bidirectional else 1)),
            "ragged" if shape.ragged else "equal",
            *(f"{result.largest(who, kind):.1e}" for kind, who in pairs),
            f"{result.worst.share:.0%}",
            result.worst.tensor,
            style=None if result.passed else "bold red",
        )
    return shown


def markdown(results: dict[str, Any]) -> str:
    """Summarises a file of results: the largest errors over all layers of a cell in a dtype."""
    columns = ["cell", "dtype", "layers", "output", "torch", "state", "torch", "gradient", "torch", "of allowed"]
    lines = []
    for (cell, dtype), layers in groupby(results["results"], key=lambda layer: (name(layer), layer["dtype"])):
        found = list(layers)
        errors = [error for layer in found for error in layer["errors"]]
        largest = [
            f"{max(error[who] for error in errors if KINDS.get(error['tensor'], 'gradient') == kind):.1e}"
            for kind, who in product(("output", "state", "gradient"), ("fastrnn", "torch"))
        ]
        share = max(error["fastrnn"] / error["allowed"] for error in errors)
        lines.append([cell, dtype, str(len(found)), *largest, f"{share:.0%}" if share <= 1 else f"**{share:.0%}**"])
    return f"{_markdown.about(results['machine'])}\n\n{_markdown.table(columns, lines)}"


def name(layer: dict[str, Any]) -> str:
    return f"{layer['cell']}, projected" if layer["proj_size"] else layer["cell"]
