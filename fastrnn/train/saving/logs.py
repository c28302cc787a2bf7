"""The metrics of every epoch as CSV and for TensorBoard."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from fastrnn._saving import write_text


def write_csv(file: Path, history: list[dict[str, Any]]) -> None:
    """Write all epochs so far, one row each. The whole file is rewritten, so a resumed training repeats no epoch."""
    columns = list(dict.fromkeys(name for row in history for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(history)
    write_text(file, text.getvalue())


class TensorBoard:
    """Metrics in TensorBoard's format; entries after ``step`` replace earlier ones.

    Raises:
        ImportError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(f"tensorboard=True needs tensorboard. Type: pip install tensorboard ({error})") from error
        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def epoch(self, row: dict[str, Any]) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step", "partial"):
                self.writer.add_scalar(name, value, row["step"])
        self.writer.flush()

    def close(self) -> None:
        self.writer.close()
