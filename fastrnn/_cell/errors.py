"""The error of a class statement that is no cell. It names the line that is wrong."""

from __future__ import annotations

import linecache
import sys
from pathlib import Path
from types import FrameType

import torch

_NOT_THE_USERS = (str(Path(__file__).parent), str(Path(torch.__file__).parent))


class CellError(ValueError):
    """A declaration or a step that cannot be a cell."""


def at_this_line(message: str) -> CellError:
    """The error for the line of the user's that is running: the innermost that is neither torch's nor fastrnn's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_THE_USERS):
        frame = frame.f_back
    return CellError(message) if frame is None else at_line(frame.f_code.co_filename, frame.f_lineno, message)


def at_line(file: str, line: int, message: str) -> CellError:
    """The error for a line of a file, with its text where there is one."""
    text = linecache.getline(file, line).strip()
    return CellError(f"{Path(file).name}, line {line}" + (f", {text!r}" if text else "") + f": {message}")
