"""The folder of a training: its checkpoint, its best model, its log and its report."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from time import monotonic
from typing import Any

from fastrnn.train.loop.result import Result
from fastrnn.train.loop.training import Training
from fastrnn.train.saving import checkpoint, logs, model_file, report

CHECKPOINT = "checkpoint.safetensors"


class Folder:
    """Writes the files of a training; without a folder it does nothing. Of several processes only the first writes."""

    def __init__(
        self,
        folder: str | PathLike[str] | None,
        training: Training,
        settings: dict[str, Any],
        *,
        resume: bool,
        every: float,
        tensorboard: bool,
    ) -> None:
        self.path = None if folder is None else Path(folder)
        self.training = training
        self.settings = settings
        self.every = every
        self.writes = self.path is not None and training.world.rank == 0
        self.data = checkpoint.fingerprint(training.data) if self.path is not None else {}
        if self.path is not None:
            model_file.safetensors()  # so that it fails before the training, not after
            self._begin(self.path, resume)
        self.board: logs.TensorBoard | None = None
        if tensorboard and self.path is None:
            raise ValueError("tensorboard=True needs folder=")
        if tensorboard and self.writes and self.path is not None:
            self.board = logs.TensorBoard(self.path / "tensorboard", training.step)
        self._last = monotonic()

    def _begin(self, folder: Path, resume: bool) -> None:
        there = [name for name in (CHECKPOINT, model_file.MODEL) if (folder / name).exists()]
        if there and not resume:
            raise FileExistsError(
                f"{folder} already contains a training ({', '.join(there)}); "
                "pass resume=True to continue it, or another folder"
            )
        if CHECKPOINT in there:
            self._resume(folder / CHECKPOINT)
        elif there:
            raise FileNotFoundError(
                f"{folder} has a {model_file.MODEL} but no {CHECKPOINT} to resume from; use another folder"
            )
        folder.mkdir(parents=True, exist_ok=True)

    def _resume(self, file: Path) -> None:
        state = checkpoint.load(file)
        checkpoint.check(file, state, self.training.model, self.settings, self.data)
        self.training.restore(state["run"])
        if state["best_weights"]:
            self.training.best_weights = state["best_weights"]
            self.best()  # an interrupted epoch may have replaced it
        elif self.training.best:
            self.training.best_weights = model_file.contents(file.with_name(model_file.MODEL), model_file.KIND)[0]

    def due(self) -> bool:
        """Whether it is time for a checkpoint within the epoch."""
        return self.path is not None and monotonic() - self._last >= self.every

    def checkpoint(self, *, with_best: bool = False) -> None:
        """Save the current state; ``with_best`` also the best weights so far."""
        if self.path is None:
            return
        state = {
            "run": self.training.saved(),
            "settings": self.settings,
            "data": self.data,
            "best_weights": self.training.best_weights if with_best else {},
        }
        if self.writes:
            checkpoint.save(self.path / CHECKPOINT, state)
        self._last = monotonic()

    def best(self) -> None:
        """Save the best weights as the model of the run."""
        if self.writes and self.path is not None:
            model_file.write(self.path / model_file.MODEL, self.training.best_weights, self.training.model)

    def log(self, history: list[dict[str, Any]]) -> None:
        """Write the epochs so far."""
        if self.writes and self.path is not None:
            logs.write_csv(self.path / "log.csv", history)
        if self.board is not None:
            self.board.epoch(history[-1])

    def report(self, result: Result) -> None:
        """Write report.md and its curves."""
        if self.writes and self.path is not None:
            report.write(self.path, result, settings=self.settings)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *error: object) -> None:
        if self.board is not None:
            self.board.close()
