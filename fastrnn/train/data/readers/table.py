"""CSV: a table with column names, and columns of numbers, dates or text."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Sequence

import numpy as np

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "ETTh1.csv is of the project ETDataset (Zhou et al., 2021, Informer), folder ETT-small; airline-passengers.csv, "
    "Box and Jenkins' monthly totals, is among the data sets of many courses."
)
_DATE = re.compile(r"\d{4}-\d\d(-\d\d([ T]\d\d(:\d\d(:\d\d(\.\d{1,6})?)?)?)?)?")
_MISSING = ("", "na", "n/a", "nan", "null", "none")


class Table:
    """Columns by name: float64, datetime64 or str arrays, all of T rows.

    Attributes:
        columns: dict from name to (T,), in the order of the file.
    """

    def __init__(self, columns: dict[str, np.ndarray]) -> None:
        self.columns = columns

    @property
    def names(self) -> list[str]:
        return list(self.columns)

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.columns:
            raise ValueError(f"there is no column {name!r}, only {', '.join(map(repr, self.columns))}")
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def numbers(self, names: Sequence[str] | None = None) -> np.ndarray:
        """(T, F) float64: the columns with these names, or all columns of numbers, in the order of the file."""
        if names is None:
            names = [name for name, column in self.columns.items() if column.dtype.kind == "f"]
        other = [name for name in names if self[name].dtype.kind != "f"]
        if other or not names:
            raise ValueError(f"expected columns of numbers, got {', '.join(map(repr, other)) or 'none'}")
        return np.stack([self[name] for name in names], axis=1)


def read_table(
    file: File,
    *,
    delimiter: str = ",",
    header: bool = True,
    text: Sequence[str] = (),
    allow_missing: bool = False,
    encoding: str = "utf-8",
) -> Table:
    """Read a CSV file. A column is all numbers, all dates such as 1949-01 or 2016-07-01 00:00:00, or all text.

    Args:
        header: the first line has the column names; else they are "0", "1" and so on.
        text: names of columns that are text even if cells look like numbers or dates.
        allow_missing: an empty cell, NA, nan or null becomes NaN among numbers and NaT among dates; else it is an
        error.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a row has more or fewer columns, or a cell does not fit its column; the error names line and column.
            Or the file is empty, damaged or not in this encoding.
    """
    place = os.fspath(file)
    rows = _rows(files.read_text(file, WHERE, encoding), place, delimiter)
    names = rows[0][1] if header else [str(i) for i in range(len(rows[0][1]))]
    if header:
        rows = rows[1:]
        if all(_is_number(cell) for cell in names):
            raise ValueError(
                f"{place}, line 1: expected column names, got numbers; pass header=False if the file has no names"
            )
        twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
        if twice is not None:
            raise ValueError(f"{place}, line 1: two columns are named {twice!r}")
    if not rows:
        raise ValueError(f"{place} has column names but no rows")
    unknown = [name for name in text if name not in names]
    if unknown:
        raise ValueError(f"{place}: there is no column {unknown[0]!r}, only {', '.join(map(repr, names))}")
    for line, row in rows:
        if len(row) != len(names):
            raise ValueError(f"{place}, line {line}: expected {len(names)} columns, got {len(row)}: {row!r:.80}")
    columns = {}
    for i, name in enumerate(names):
        cells = [(line, row[i]) for line, row in rows]
        columns[name] = _column(cells, f"column {name!r}", place, name in text, allow_missing)
    return Table(columns)


def _rows(text: str, place: str, delimiter: str) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, each with the line in which it ends."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    rows = []
    try:
        for row in reader:
            if row:
                rows.append((reader.line_num, [cell.strip() for cell in row]))
    except csv.Error as error:
        raise ValueError(f"{place}, line {reader.line_num}: not CSV: {error}") from error
    return rows


def _column(cells: list[tuple[int, str]], named: str, place: str, is_text: bool, allow_missing: bool) -> np.ndarray:
    numbers = not is_text and any(_is_number(cell) for _, cell in cells)
    dates = not is_text and not numbers and any(_is_date(cell) for _, cell in cells)
    if not numbers and not dates:
        return np.array([cell for _, cell in cells], dtype=np.str_)
    fits, missing = (_is_number, "nan") if numbers else (_is_date, "NaT")
    values = []
    for line, cell in cells:
        absent = cell.lower() in _MISSING
        if not fits(cell) and not (absent and allow_missing):
            kind = "a number" if numbers else "a date, as 2016-07-01 or 2016-07-01 00:00:00"
            hint = f"allow_missing=True reads it as {missing}" if absent else "text=[...] names columns of text"
            raise ValueError(f"{place}, line {line}, {named}: expected {kind}, got {cell!r}; {hint}")
        values.append(missing if absent else cell)
    return np.array([float(value) for value in values]) if numbers else np.array(values, dtype="datetime64")


def _is_number(cell: str) -> bool:
    """Whether a cell is a finite number; 1_000, as in Python, is not one."""
    try:
        return math.isfinite(float(cell)) and "_" not in cell
    except ValueError:
        return False


def _is_date(cell: str) -> bool:
    try:
        return bool(_DATE.fullmatch(cell)) and not np.isnat(np.datetime64(cell))
    except ValueError:  # a 13th month
        return False
