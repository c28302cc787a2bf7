"""Piano rolls as MIDI files and as pictures.

A roll is a tensor (T, K) of zeros and ones with a row for each step: row t has the keys that sound, and key 0 is
``lowest``. A key that sounds in consecutive steps is one long note: a roll cannot represent a repeated note.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor

from fastrnn._saving import replacing

LOWEST = 21  # MIDI's number of a piano's lowest key, A0
TICKS = 480  # of a MIDI file in a quarter note


def write_midi(
    roll: Tensor,
    file: str | os.PathLike[str],
    *,
    step: float = 0.5,
    tempo: float = 120.0,
    lowest: int = LOWEST,
    velocity: int = 80,
    program: int = 0,
) -> None:
    """Write a roll (T, K) as a MIDI file of one track.

    Args:
        step: length of a row in quarter notes: 0.5 is an eighth, as in Nottingham; JSB Chorales have 1.
        tempo: quarter notes per minute.
        lowest: MIDI's number of the roll's first key.
        velocity: how hard keys are struck, from 1 to 127.
        program: the instrument, 0 to 127 of General MIDI: 0 is a piano.

    Raises:
        ValueError: the roll is not (T, K) or has keys above MIDI's 127, or step or tempo is not above 0.
    """
    mido = _mido()
    on = _checked(roll, lowest)
    ticks = round(step * TICKS)
    if ticks < 1 or tempo <= 0:
        raise ValueError(f"Expected step and tempo above 0, got step={step}, tempo={tempo}")
    track = mido.MidiTrack()
    track.append(mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(tempo)))
    track.append(mido.Message("program_change", program=program))
    silent = on.new_zeros(1, on.shape[1])
    change = torch.cat([on, silent]).int() - torch.cat([silent, on]).int()
    passed = 0  # ticks since the last message
    for row in change:
        for value, kind in ((-1, "note_off"), (1, "note_on")):
            for key in (row == value).nonzero().flatten().tolist():
                strength = velocity if value > 0 else 0
                track.append(mido.Message(kind, note=lowest + key, velocity=strength, time=passed))
                passed = 0
        passed += ticks
    track.append(mido.MetaMessage("end_of_track", time=passed - ticks))
    with replacing(file) as out:
        mido.MidiFile(ticks_per_beat=TICKS, tracks=[track]).save(file=out)


def read_midi(
    file: str | os.PathLike[str], *, step: float = 0.5, lowest: int = LOWEST, keys: int = 88, drums: bool = False
) -> Tensor:
    """The roll (T, K), float, of a MIDI file: the keys that sound at any time within each step.

    Args:
        step: length of a row in quarter notes.
        lowest, keys: the range of the roll; notes outside are ignored.
        drums: keep channel 10, whose notes are drums.

    Raises:
        ValueError: the file is not MIDI, or has no notes.
    """
    mido = _mido()
    try:
        song = mido.MidiFile(file)
    except (EOFError, OSError, ValueError, KeyError, IndexError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise ValueError(f"{os.fspath(file)} is not a MIDI file: {error}") from error
    if not song.ticks_per_beat:
        raise ValueError(f"{os.fspath(file)} measures time without beats (SMPTE), which is not supported")
    notes: list[tuple[int, int, int]] = []  # key, first tick, end
    for track in song.tracks:
        now, struck = 0, dict[tuple[int, int], int]()
        for message in track:
            now += message.time
            if message.type not in ("note_on", "note_off") or (message.channel == 9 and not drums):
                continue
            place = message.channel, message.note
            if place in struck:  # a repeated note ends the previous one
                notes.append((message.note, struck.pop(place), now))
            if message.type == "note_on" and message.velocity > 0:
                struck[place] = now
        notes += [(note, start, now) for (_, note), start in struck.items()]
    inside = [
        (note - lowest, start, end) for note, start, end in notes if lowest <= note < lowest + keys and end > start
    ]
    if not inside:
        raise ValueError(f"{os.fspath(file)} has no notes from {lowest} to {lowest + keys - 1}")
    ticks = step * song.ticks_per_beat
    roll = torch.zeros(-int(-max(end for *_, end in inside) // ticks), keys)
    for key, start, end in inside:
        roll[int(start // ticks) : -int(-end // ticks), key] = 1
    return roll


def draw_roll(roll: Tensor, axes: Any = None, *, lowest: int = LOWEST) -> Any:
    """Draw a roll (T, K) on axes of matplotlib, by default new ones, and return them.

    Example:
        >>> draw_roll(model.compose(200, seed=1)).figure.savefig("roll.png")
    """
    on = _checked(roll, lowest)
    if axes is None:
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError("drawing needs matplotlib. Type: pip install matplotlib") from error
        axes = Figure(figsize=(10, 4), layout="constrained").subplots()
    sounding = on.any(0).nonzero().flatten().tolist() or [0, on.shape[1] - 1]
    axes.imshow(
        on.T.cpu().numpy(), origin="lower", aspect="auto", interpolation="nearest", cmap="Greys",
        extent=(0, max(len(on), 1), lowest - 0.5, lowest + on.shape[1] - 0.5),
    )  # fmt: skip
    axes.set_ylim(lowest + sounding[0] - 2.5, lowest + sounding[-1] + 2.5)
    axes.set_xlabel("step")
    octaves = [note for note in range(lowest + sounding[0], lowest + sounding[-1] + 1) if note % 12 == 0]
    axes.set_yticks(octaves, [f"C{note // 12 - 1}" for note in octaves])
    return axes


def _checked(roll: Tensor, lowest: int) -> Tensor:
    on = torch.as_tensor(roll)
    if on.dim() != 2:
        raise ValueError(f"Expected a roll (T, K), got {tuple(on.shape)}")
    if lowest < 0 or lowest + on.shape[1] > 128:
        raise ValueError(f"MIDI notes go from 0 to 127, got {on.shape[1]} keys from {lowest} on")
    return on > 0.5


def _mido() -> Any:
    try:
        import mido
    except ImportError as error:
        raise ImportError("MIDI files need mido. Type: pip install mido") from error
    return mido
