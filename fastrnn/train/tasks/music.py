"""Composes polyphonic music: from generated chords, piano rolls of the usual data sets, or MIDI files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fastrnn._saving import write_figure
from fastrnn.train.data.batch import Tagged
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.made.chords import chords
from fastrnn.train.data.readers import read_piano_rolls
from fastrnn.train.data.splitting import split
from fastrnn.train.models.frames import FrameModel
from fastrnn.train.music import draw_roll, read_midi, write_midi
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared


@dataclass(frozen=True, kw_only=True)
class Settings(FitSettings):
    """Predicts which of 88 keys sound next; see :class:`fastrnn.train.models.FrameModel`."""

    data: str | None = setting(
        None,
        "A .mat file of piano rolls such as Nottingham.mat, or a folder of MIDI files. By default generated chords.",
    )
    hidden: int = setting(128, "Hidden units of each layer.", least=1)
    dropout: float = setting(0.2, "Dropout between layers and after them.", least=0)
    input_dropout: float = setting(0.0, "Probability of silencing an input key in training.", least=0)
    batch: int = setting(8, "Pieces or parts of pieces in a batch.", least=1)
    epochs: int = setting(20, "Number of passes over the data.", least=1)
    lr: float = setting(1e-2, "Initial learning rate.", least=0)
    schedule: Mapping[str, Any] | str | None = setting(
        "cosine", 'Learning rate schedule: a name, or a table such as {name = "decay", factor = 0.5, after = 4}.'
    )
    clip: float | None = setting(5.0, "Maximum norm of the gradient.", least=0)
    steps: int = setting(100, "Frames that gradients go back; longer pieces are cut in training.", least=1)
    step: float = setting(0.5, "Quarter notes that a frame lasts, for MIDI.", least=0)


def prepare(settings: Settings) -> Prepared:
    parts = _parts(settings)
    model = FrameModel(**settings.arguments_of(FrameModel))
    about = {"pieces to train, validate and test": ", ".join(f"{len(part):,}" for part in parts)}
    if settings.data is None:
        about["lowest possible loss on the test pieces"] = f"{_limit(settings):.3f} nats per frame"
    train, valid, test = parts
    return Prepared(
        model,
        _bucketed(settings, train, settings.steps, shuffle=True),
        _bucketed(settings, valid, None, shuffle=False),
        _bucketed(settings, test, None, shuffle=False),
        about=about,
    )


def samples(model: FrameModel, prepared: Prepared) -> str:
    """The first bars of a composition: time goes to the right, and the highest key is on top."""
    return f"```\n{_score(model.compose(64, seed=0))}\n```"


def batches(settings: Settings, model: FrameModel) -> Bucketed:
    """What `fastrnn evaluate` measures: the test part of a .mat file, or all MIDI files of a folder."""
    path = Path(settings.given_data())
    pieces = _midi_files(path, settings.step) if path.is_dir() else read_piano_rolls(path).test
    return _bucketed(settings, pieces, None, shuffle=False)


def generate(model: FrameModel, prompt: str | None, options: Generation) -> str:
    """Writes music into options.out: MIDI, or a picture (.png, .pdf, .svg). A prompt is a MIDI file to continue."""
    start = None if prompt is None else read_midi(prompt)
    roll = model.compose(options.length or 128, seed=options.seed, prompt=start, temperature=options.temperature)
    if options.out is None:
        return _score(roll)
    if options.out.suffix in (".mid", ".midi"):
        write_midi(roll, options.out)
    else:
        write_figure(options.out, draw_roll(roll).figure)
    return f"{len(roll)} steps written to {options.out}"


def _parts(settings: Settings) -> list[list[Any]]:
    if settings.data is None:
        return split([piece.roll for piece in _made(settings)], (0.8, 0.1, 0.1), None)
    path = Path(settings.data)
    if path.is_dir():
        return split(_midi_files(path, settings.step), (0.8, 0.1, 0.1), settings.seed)
    return [list(part) for part in read_piano_rolls(path)]


def _made(settings: Settings) -> list[Any]:
    return chords(400, seed=settings.seed)


def _limit(settings: Settings) -> float:
    *_, test = split(_made(settings), (0.8, 0.1, 0.1), None)
    return sum(piece.nats for piece in test) / sum(len(piece.roll) for piece in test)


def _midi_files(folder: Path, step: float) -> list[Any]:
    files = sorted(file for file in folder.rglob("*") if file.suffix.lower() in (".mid", ".midi"))
    if len(files) < 3:
        raise ValueError(
            f"{folder} has {len(files)} MIDI files (.mid, .midi); at least three are needed, better hundreds"
        )
    return [read_midi(file, step=step).numpy() for file in files]


def _bucketed(settings: Settings, pieces: Sequence[Any], steps: int | None, *, shuffle: bool) -> Bucketed:
    """Pairs each frame with the previous one, silence before the first; cuts pieces into parts of ``steps`` frames."""
    items = []
    for piece in pieces:
        before = np.concatenate([np.zeros_like(piece[:1]), piece[:-1]])
        cut = steps or len(piece)
        items += [(before[at : at + cut], piece[at : at + cut]) for at in range(0, len(piece), cut)]
    return Bucketed(items, settings.batch, into=Tagged, seed=settings.seed, shuffle=shuffle)


def _score(roll: torch.Tensor) -> str:
    """A line for each key, from the highest that sounds to the lowest."""
    sounding = roll.any(0).nonzero().flatten().tolist()
    if not sounding:
        return "silence"
    rows = range(sounding[-1], sounding[0] - 1, -1)
    return "\n".join("".join("█" if on else "·" for on in roll[:96, key].tolist()) for key in rows)
