"""Results as tables: with rich on the terminal, in Markdown on a page."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from fastrnn import _markdown
from fastrnn._bench.results import OWN, Row, bands, summarise, work_of
from fastrnn._bench.work import Work

LABELS = {
    "fastrnn": "fastrnn",
    "frozen": "fastrnn, frozen",
    "torch": "torch.nn",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
}
AGAINST = {"ratio_torch": "× torch.nn", "ratio": "× best peer", "ratio_frozen": "frozen × best peer"}
MODES = {"infer": "Inference", "train": "Training", "memory": "Memory of a training step"}


def tables(results: dict[str, Any]) -> Iterator[Table]:
    """Yields a table for each mode, thread count and kind of work, then one of the geometric means."""
    for section in [*sections(results), summary(results)]:
        table = Table(title=section.title, title_justify="left", box=SIMPLE_HEAD)
        for index, column in enumerate(section.columns):
            table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
        for line in section.lines:
            table.add_row(*(Text(cell[2:-2], style="red") if is_loss(cell) else cell for cell in line))
        if section.lines:
            yield table


def markdown(results: dict[str, Any]) -> str:
    """Returns the summary, then the other tables folded."""
    whole = summary(results)
    parts = [_markdown.about(results["machine"]), _markdown.table(whole.columns, whole.lines)]
    for title, columns, lines in sections(results):
        parts.append(f"<details><summary>{title}</summary>\n\n{_markdown.table(columns, lines)}\n\n</details>")
    return "\n\n".join(parts)


class Section(NamedTuple):
    """A table before it is drawn; a cell where fastrnn is behind stands between double asterisks."""

    title: str
    columns: list[str]
    lines: list[list[str]]


def is_loss(cell: str) -> bool:
    return cell.startswith("**")


def sections(results: dict[str, Any]) -> Iterator[Section]:
    """Yields the table of each mode, thread count and kind of work."""
    in_float32 = {work_of(row): measured(row).get("fastrnn") for row in results["rows"]}
    for band, rows in bands(results["rows"]).items():
        names = [name for name in LABELS if any(name in measured(row) for row in rows)]
        unit = "MiB" if band[0] == "memory" else "ms"
        columns = ["cell", "T", "B", "I", "H", *(f"{LABELS[name]}, {unit}" for name in names)]
        columns += ["× torch.nn", "× best peer", "frozen × best peer", "best peer", "GFLOP/s", "of peak"]
        columns += ["× own float32", "weights, MiB"]
        yield Section(heading(*band), *without_empty(columns, [line(row, names, in_float32) for row in rows]))


def line(row: Row, names: Sequence[str], in_float32: Mapping[Work, float | None]) -> list[str]:
    own = in_float32.get(work_of(row)._replace(dtype="float32")) if "weight_bytes" in row else None
    several = len(set(names) - set(OWN)) > 1  # of one peer alone, the best adds nothing
    return [
        row["cell"],
        *map(str, row["shape"]),
        *(shown(row, name) if name in measured(row) else "" for name in names),
        times(row["ratio_torch"]) if "ratio_torch" in row else "",
        times(row["ratio"]) if "ratio" in row and several else "",
        times(row["ratio_frozen"]) if "ratio_frozen" in row else "",
        LABELS[row["best_peer"]] if "best_peer" in row and several else "",
        three_digits(row["gflops"]) if "gflops" in row else "",
        f"{row['peak_share']:.0%}" if "peak_share" in row else "",
        times(own / measured(row)["fastrnn"]) if own and "fastrnn" in measured(row) else "",
        mebibytes(row["weight_bytes"]) if "weight_bytes" in row else "",
    ]


def measured(row: Row) -> dict[str, float]:
    """Returns each contender's seconds or bytes."""
    return row["bytes"] if row["mode"] == "memory" else row["seconds"]


def shown(row: Row, name: str) -> str:
    value = measured(row)[name]
    return mebibytes(value) if row["mode"] == "memory" else milliseconds(value)


def without_empty(columns: list[str], lines: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Drops the columns that are empty in all lines."""
    keep = [i for i in range(len(columns)) if any(line[i] for line in lines)]
    return [columns[i] for i in keep], [[line[i] for i in keep] for line in lines]


def milliseconds(seconds: float) -> str:
    return three_digits(seconds * 1e3)


def mebibytes(size: float) -> str:
    return three_digits(size / 2**20)


def three_digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def heading(mode: str, threads: int, kind: str) -> str:
    where = f"{threads} thread{'s' * (threads > 1)}" if threads else ""
    return ", ".join(part for part in (MODES[mode], where, kind) if part)


def times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio >= 1 else f"**{ratio:.2f}**"


def summary(results: dict[str, Any]) -> Section:
    """Summarises the ratios of each cell and of all cells, for each mode, thread count and kind of work."""
    memory = any(row["mode"] == "memory" for row in results["rows"])
    columns = ["mode", "threads", "kind", "cells"]
    for against in AGAINST.values():
        columns += [against, "worst", "behind in"]
    lines = []
    for (mode, threads, kind), rows in bands(results["rows"]).items():
        cells = dict.fromkeys(row["cell"] for row in rows)
        several = any(row.get("best_peer", "torch") != "torch" for row in rows)
        for cell in (*cells, "all"):
            chosen = [row for row in rows if cell in (row["cell"], "all")]
            line = [MODES[mode].lower(), str(threads or ""), kind, cell]
            for key in AGAINST:
                ratios = [row[key] for row in chosen if key in row and (several or key != "ratio")]
                line += ratios_line(ratios) if ratios else ["", "", ""]
            lines.append(line)
    compared = [line for line in lines if any(line[4:])]
    what = "How many times less memory fastrnn takes" if memory else "How many times as fast fastrnn is"
    return Section(f"{what}, geometric means", *without_empty(columns, compared))


def ratios_line(ratios: Sequence[float]) -> list[str]:
    found = summarise(ratios)
    return [times(found.mean), times(found.worst), f"{found.behind} of {found.total}"]
