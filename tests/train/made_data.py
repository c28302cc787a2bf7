"""Small data sets in the formats and under the names of the published ones, for the recipes' smoke versions.

What they say is made up; the files are as their publishers' are, so that the readers read the same.
"""

from __future__ import annotations

import gzip
import random
import zipfile
from pathlib import Path

import numpy as np

NOUNS = ("market", "bank", "trade", "film", "story", "company", "house", "year")
VERBS = ("rose", "fell", "said", "made", "lost", "was")
OTHERS = ("the", "a", "of", "in", "its", "new", "old", "N", "<unk>")


def make(root: Path) -> Path:
    """Makes all of them in a folder, each in a folder of its own; returns the folder."""
    chance = random.Random(0)
    makers = (ptb, wikitext_2, tinyshakespeare, eng_fra, tagging, sentiment, polymusic, timeseries, mnist)
    for maker in makers:
        folder = root / maker.__name__.replace("_", "-")
        folder.mkdir(parents=True)
        maker(folder, chance)
    return root


def sentence(chance: random.Random) -> list[str]:
    return [chance.choice(words) for words in (OTHERS, NOUNS, VERBS, OTHERS, NOUNS)[: chance.randint(3, 5)]]


def ptb(folder: Path, chance: random.Random) -> None:
    for part, lines in (("train", 200), ("valid", 60), ("test", 60)):
        text = "".join(f" {' '.join(sentence(chance))} \n" for _ in range(lines))
        (folder / f"ptb.{part}.txt").write_text(text)


def wikitext_2(folder: Path, chance: random.Random) -> None:
    for part, articles in (("train", 20), ("valid", 6), ("test", 6)):
        lines = []
        for number in range(articles):
            lines += [" ", f" = {NOUNS[number % len(NOUNS)].title()} = ", " "]
            lines += [f" {' '.join(sentence(chance))} . " for _ in range(10)]
        (folder / f"wiki.{part}.tokens").write_text("\n".join(lines) + "\n")


def tinyshakespeare(folder: Path, chance: random.Random) -> None:
    speeches = (f"{chance.choice(NOUNS).upper()}:\n{' '.join(sentence(chance)).capitalize()}!\n\n" for _ in range(150))
    (folder / "input.txt").write_text("".join(speeches))


def eng_fra(folder: Path, chance: random.Random) -> None:
    english, french = ("Go", "Stop", "Run", "Look", "Wait"), ("Va", "Arrête", "Cours", "Regarde", "Attends")
    lines = []
    for _ in range(80):
        which, times = chance.randrange(len(english)), chance.randint(1, 3)
        lines.append(f"{' '.join([english[which]] * times)}.\t{' '.join([french[which]] * times)} !\n")
    (folder / "fra_18k.txt").write_text("".join(lines), encoding="utf-8")


def tagging(folder: Path, chance: random.Random) -> None:
    with zipfile.ZipFile(folder / "conll2000.zip", "w") as archive:
        for part, sentences in (("train", 60), ("test", 20)):
            rows = []
            for _ in range(sentences):
                noun, verb = chance.choice(NOUNS), chance.choice(VERBS)
                rows.append(f"the DT B-NP\n{noun} NN I-NP\n{verb} VBD B-VP\n. . O\n")
            archive.writestr(f"conll2000/{part}.txt", "\n".join(rows) + "\n")


def sentiment(folder: Path, chance: random.Random) -> None:
    with zipfile.ZipFile(folder / "sentence_polarity.zip", "w") as archive:
        for part, word in (("neg", "dull"), ("pos", "moving")):
            lines = [f"a {word} {' '.join(sentence(chance))} . \n" for _ in range(60)]
            lines[0] = f"a {word} cliché . \n"  # the published files are Latin-1
            archive.writestr(f"sentence_polarity/rt-polarity.{part}", "".join(lines).encode("latin-1"))


def polymusic(folder: Path, chance: random.Random) -> None:
    from scipy.io import savemat

    parts = {}
    for part, songs in (("traindata", 6), ("validdata", 2), ("testdata", 2)):
        rolls = np.empty((1, songs), dtype=object)
        for number in range(songs):
            roll = np.zeros((chance.randint(12, 24), 88), dtype=np.uint8)
            for step in range(len(roll)):
                roll[step, [39 + step % 5, 43 + step % 5]] = 1
            rolls[0, number] = roll
        parts[part] = rolls
    for name in ("Nottingham.mat", "JSB_Chorales.mat"):
        savemat(folder / name, parts)


def timeseries(folder: Path, chance: random.Random) -> None:
    names = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
    rows = [f"date,{','.join(names)}"]
    for hour in range(24 * 40):
        values = [np.sin(hour / 24 * 2 * np.pi + each) * 5 + 10 + chance.random() for each in range(len(names))]
        date = np.datetime64("2016-07-01T00") + hour
        rows.append(f"{str(date).replace('T', ' ')}:00:00,{','.join(f'{value:.6f}' for value in values)}")
    (folder / "ETTh1.csv").write_text("\n".join(rows) + "\n")
    rows = ['"Month","Passengers"']
    for month in range(144):
        rows.append(f'"{1949 + month // 12}-{1 + month % 12:02}",{112 + 2 * month + 20 * (month % 12)}')
    (folder / "airline-passengers.csv").write_text("\n".join(rows) + "\n")


def mnist(folder: Path, chance: random.Random) -> None:
    for part, count in (("train", 80), ("t10k", 40)):
        labels = np.array([chance.randrange(10) for _ in range(count)], dtype=np.uint8)
        images = np.zeros((count, 28, 28), dtype=np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[4 + label : 8 + label, 4:24] = 255  # a bar that is the lower, the larger the digit
        for name, kind, values in (("images-idx3", 3, images), ("labels-idx1", 1, labels)):
            head = bytes([0, 0, 8, kind]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
            with gzip.open(folder / f"{part}-{name}-ubyte.gz", "wb") as out:
                out.write(head + values.tobytes())
