"""Work in processes of their own: a kernel that crashes, or never ends, costs one row and not the others.

A worker is a module that reads rows from its standard input and prints a line of JSON for each as soon as it is done.
"""

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

START = 60  # seconds more for the first row: Python, torch, CUDA
MOST_LOST = 3  # rows; a kernel that loses more is given up

Row = Sequence[Any]
Found = dict[str, Any]


def worker(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, "--worker", *arguments]


def serve(run: Callable[[Row], Found]) -> None:
    """What a worker does."""
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


def results(
    command: Sequence[str],
    rows: Sequence[Row],
    limit: float,
    environment: Mapping[str, str] | None = None,
    start: float = START,
) -> Iterator[Found]:
    """Yields each row's result in order, one with "status": "lost" where the process died or was silent for `limit` s.

    The rows after a lost one go on in a new process.
    """
    done = lost = 0
    while done < len(rows):
        if lost == MOST_LOST:
            yield from ({"status": "not run", "error": f"{lost} rows before it were lost"} for _ in rows[done:])
            return
        with Process(command, rows[done:], limit, environment, start) as process:
            for found in process:
                done += 1
                yield found
        if done < len(rows):
            done, lost = done + 1, lost + 1
            yield {"status": "lost", "error": process.end()}


class Process:
    """A worker that runs; it is killed when it has been silent for too long."""

    def __init__(
        self, command: Sequence[str], rows: Sequence[Row], limit: float, environment: Any, start: float
    ) -> None:
        self.limit, self.late = limit, False
        self.errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  closed by __exit__
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment
        )
        self.watch(limit + start)
        lines = "".join(json.dumps(list(row)) + "\n" for row in rows)
        self.feeder = threading.Thread(target=self.feed, args=(lines,))
        self.feeder.start()

    def feed(self, lines: str) -> None:
        try:
            with self.process.stdin as rows:  # type: ignore[union-attr]
                rows.write(lines)
        except OSError:  # the worker ended early; its exit status tells
            pass

    def watch(self, seconds: float) -> None:
        self.timer = threading.Timer(seconds, self.kill)
        self.timer.start()

    def kill(self) -> None:
        self.late = True
        self.process.kill()

    def __iter__(self) -> Iterator[Found]:
        for line in self.process.stdout:  # type: ignore[union-attr]
            self.timer.cancel()
            yield json.loads(line)
            self.watch(self.limit)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *exception: object) -> None:
        self.timer.cancel()
        if exception[0] is not None:
            self.process.kill()
        self.process.wait()
        self.timer.cancel()
        self.feeder.join()
        self.process.stdout.close()  # type: ignore[union-attr]
        self.errors.seek(0)
        self.said = self.errors.read()[-1500:].strip()
        self.errors.close()

    def end(self) -> str:
        """Says how it ended."""
        how = "no answer in time, killed" if self.late else f"exit status {self.process.returncode}"
        return f"{how}: {self.said}" if self.said else how


def append(file: Path, found: Found) -> None:
    """Adds a line to a file of JSON lines, which is whole after every line."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(found) + "\n")


def read(file: Path) -> list[Found]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
