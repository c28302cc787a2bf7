"""Results in Markdown: a line about the machine, tables, and the marks on a page between which they are inserted."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fastrnn._saving import write_text


def about(machine: dict[str, Any]) -> str:
    """Describes in a line what :func:`fastrnn._environment.machine` returned."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    if gpu := machine.get("gpu"):
        head = [gpu["name"], f"driver {gpu['driver']}", f"CUDA {gpu['cuda']}", f"cuDNN {gpu['cudnn']}"]
        head += [f"kernel {gpu.get('kernel', 'step')}", machine["date"]]
    else:
        head = [machine["processor"], f"{machine['cores']} cores", machine["instruction_set"], machine["date"]]
    return f"{', '.join(head)}; {versions}."


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], align: str = "") -> str:
    """Returns a table. `align` has an l or r for each column; by default the first is left, the others right."""
    align = align or "l".ljust(len(columns), "r")
    rule = [{"l": ":--", "r": "--:"}[side] for side in align]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows))


def cell(text: str) -> str:
    """Returns a text that fits one cell of a table: a bar would end the cell, a line break the row."""
    return text.replace("|", "\\|").replace("\n", " ")


def marks(topic: str) -> tuple[str, str]:
    """Returns the marks that begin and end a topic's place on a page."""
    return f"<!-- {topic}:begin -->", f"<!-- {topic}:end -->"


def insert(text: str, topic: str, page: Path) -> None:
    """Replaces the text between a topic's marks; raises ValueError if the page lacks them."""
    begin, end = marks(topic)
    content = page.read_text(encoding="utf-8")
    found, count = re.subn(f"{begin}.*?{end}", lambda _: f"{begin}\n{text}\n{end}", content, count=1, flags=re.DOTALL)
    if not count:
        raise ValueError(f"{page} lacks the marks {begin} … {end}")
    write_text(page, found)
