"""Rolls written as MIDI, read back by mido and by ourselves."""

from pathlib import Path

import mido
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.music import TICKS, draw_roll, read_midi, write_midi


def notes(file: Path) -> list[tuple[int, float, float]]:
    """(note, begin, end) in quarter notes, as mido has them."""
    song, found, struck, now = mido.MidiFile(file), [], {}, 0
    for message in song.tracks[0]:
        now += message.time
        if message.type == "note_on":
            assert message.note not in struck
            struck[message.note] = now
        elif message.type == "note_off":
            found.append((message.note, struck.pop(message.note) / song.ticks_per_beat, now / song.ticks_per_beat))
    assert not struck, "a note never ends"
    return sorted(found)


def test_what_mido_reads_is_what_sounds(tmp_path: Path) -> None:
    roll = torch.zeros(6, 88)
    roll[0:2, 39] = 1  # C4, a quarter
    roll[1:6, 43] = 1  # E4, to the end
    roll[3, 39] = 1  # C4 again
    write_midi(roll, tmp_path / "a.mid", step=0.5, tempo=90)
    assert notes(tmp_path / "a.mid") == [(60, 0, 1), (60, 1.5, 2), (64, 0.5, 3)]
    song = mido.MidiFile(tmp_path / "a.mid")
    assert song.length == pytest.approx(3 * 60 / 90, rel=1e-5)
    assert song.ticks_per_beat == TICKS


def test_silence_lasts_too(tmp_path: Path) -> None:
    write_midi(torch.zeros(8, 88), tmp_path / "a.mid", step=1, tempo=60)
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(7, abs=1.01)
    roll = torch.zeros(8, 88)
    roll[2, 0] = 1
    write_midi(roll, tmp_path / "a.mid", step=1, tempo=60)
    assert notes(tmp_path / "a.mid") == [(21, 2, 3)]
    assert mido.MidiFile(tmp_path / "a.mid").length == pytest.approx(8)


@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=12))
def test_reading_gives_the_roll_again(rows: list[list[bool]]) -> None:
    import tempfile

    roll = torch.tensor([*rows, [True] * 5]).float()  # the last step sounds, so the file knows how many there are
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.mid"
        write_midi(roll, file, step=0.25, lowest=60)
        assert torch.equal(read_midi(file, step=0.25, lowest=60, keys=5), roll)


def test_other_programs_files(tmp_path: Path) -> None:
    """A note ends by note_on of velocity 0, at the end of the track, or as it is struck again; drums are left out."""
    messages = [
        mido.Message("note_on", note=60, velocity=9, time=0),
        mido.Message("note_on", note=36, velocity=9, channel=9, time=0),
        mido.Message("note_on", note=60, velocity=0, time=96),
        mido.Message("note_on", note=62, velocity=9, time=0),
        mido.Message("note_on", note=62, velocity=9, time=96),
        mido.MetaMessage("end_of_track", time=96),
    ]
    mido.MidiFile(ticks_per_beat=96, tracks=[mido.MidiTrack(messages)]).save(tmp_path / "a.mid")
    roll = read_midi(tmp_path / "a.mid", step=1)
    assert roll.nonzero().tolist() == [[0, 39], [1, 41], [2, 41]]
    assert read_midi(tmp_path / "a.mid", step=1, drums=True)[:, 15].tolist() == [1, 1, 1]


def test_errors(tmp_path: Path) -> None:
    roll = torch.zeros(4, 88)
    for wrong, said in (
        (lambda: write_midi(roll[0], tmp_path / "a.mid"), r"Expected a roll \(T, K\), got \(88,\)"),
        (lambda: write_midi(roll, tmp_path / "a.mid", lowest=50), "got 88 keys from 50 on"),
        (lambda: write_midi(roll, tmp_path / "a.mid", step=0), "got step=0"),
        (lambda: read_midi(tmp_path / "b.mid"), "b.mid is not a MIDI file"),
        (lambda: read_midi(tmp_path / "c.mid"), "c.mid is not a MIDI file"),
        (lambda: read_midi(tmp_path / "d.mid"), "d.mid has no notes from 21 to 108"),
    ):
        (tmp_path / "b.mid").write_bytes(b"")
        (tmp_path / "c.mid").write_text("no music at all, but some text")
        write_midi(roll, tmp_path / "d.mid")
        with pytest.raises(ValueError, match=said):
            wrong()
    with pytest.raises(FileNotFoundError):
        read_midi(tmp_path / "nothing.mid")


def test_picture(tmp_path: Path) -> None:
    roll = torch.zeros(10, 88)
    roll[2:5, 39] = 1
    axes = draw_roll(roll)
    (image,) = axes.get_images()
    assert image.get_array().T.nonzero()[0].tolist() == [2, 3, 4]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["C4"]
    axes.figure.savefig(tmp_path / "roll.png")
    draw_roll(torch.zeros(0, 88))
