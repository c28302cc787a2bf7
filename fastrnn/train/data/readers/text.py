"""Plain text: files for training, validation and test, or one file that is split."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File
from fastrnn.word2vec.files.compression import opened

WHERE = (
    "A folder of text has the files train.txt, valid.txt and test.txt; or ptb.train.txt and so on: the Penn Treebank "
    "in Mikolov's preparation, simple-examples.tgz, folder data; or wiki.train.tokens and so on: WikiText-2, word "
    "level, by Merity et al."
)
_NAMES = ("{}.txt", "ptb.{}.txt", "wiki.{}.tokens", "{}.tokens")


class Corpus(NamedTuple):
    """Three texts; the latter two may be None."""

    train: str
    valid: str | None
    test: str | None


def read_corpus(folder: File, encoding: str = "utf-8") -> Corpus:
    """A folder, or a .zip, with texts for training, validation and test, such as Penn Treebank or WikiText-2.

    Raises:
        FileNotFoundError: one of the three is missing; the error says where to get them.
        ValueError: a file is empty, damaged or not in this encoding.
    """
    names: Sequence[str] = _NAMES
    for name in _NAMES:  # all three from one data set, even if the folder has files of another
        with suppress(FileNotFoundError):
            files.read_member(folder, [name.format("train")])
            names = (name,)
            break
    return Corpus(*(_part(folder, names, part, encoding) for part in ("train", "valid", "test")))


def read_text(
    file: File, shares: Sequence[float] = (0.95, 0.05, 0.0), encoding: str = "utf-8", pieces: int = 1
) -> Corpus:
    """Split one text into parts with these shares: the beginning to train, the end to validate and test.

    Parts begin at the next line or, without further lines, at the next word; a part of share 0 is None. With ``pieces``
    the text is first cut into that many equal pieces, and each part gets its share of every piece. char-rnn does this
    with one piece for each row of a batch; the end of a text may be harder than the rest.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, damaged, not in this encoding, or so short that a part of it is empty.
    """
    if len(shares) != 3 or min(shares) < 0 or shares[0] == 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be three numbers (train, valid, test) that sum to 1, got {tuple(shares)}")
    if pieces < 1:
        raise ValueError(f"pieces must be at least 1, got {pieces}")
    where = "Any text will do; tinyshakespeare is the file input.txt of the project char-rnn."
    text = files.read_text(file, where, encoding)
    ends = [0]  # of train, valid, test of the first piece, then of the second …
    for piece, part in itertools.product(range(pieces), range(3)):
        ends.append(max(ends[-1], _cut(text, round((piece + sum(shares[: part + 1])) / pieces * len(text)))))
    cut = [text[begin:end] for begin, end in itertools.pairwise(ends)]
    parts = ["".join(cut[part::3]) if share else None for part, share in enumerate(shares)]
    if not all(part is None or part.strip() for part in parts):
        raise ValueError(f"{Path(file)} has {len(text)} characters, too few for parts of {tuple(shares)}")
    return Corpus(parts[0] or "", parts[1], parts[2])


def text_blocks(file: File, encoding: str = "utf-8", block: int = 1 << 22) -> Iterator[str]:
    """A text of any size in parts of about ``block`` bytes: for :meth:`Vocabulary.build` and texts larger than memory.

    A part ends at the end of a line; within a longer line before a space; without spaces at any character. So no word
    is cut unless it is longer than a part.

    Raises:
        FileNotFoundError, ValueError: as in :func:`read_text`.
    """
    path = Path(file)
    if not path.is_file():
        raise files.missing(path, "")
    if path.suffix == ".zip":
        raise ValueError(f"{path} is a .zip, which cannot be read in parts; unpack it first")
    decoder = files.incremental_decoder(encoding)
    text, line, empty = "", 1, True
    with opened(path) as stream:
        while content := stream.read(block):
            try:
                text += decoder.decode(content)
            except UnicodeDecodeError as error:
                number = line + text.count("\n") + error.object.count(b"\n", 0, error.start)
                raise files.not_encoded(error, f"{path}, line {number}", encoding) from None
            cut = text.rfind("\n") + 1 or (max(text.rfind(" "), 0) or len(text) - 1 if len(text) > block else 0)
            if cut > 0:
                part, text = text[:cut], text[cut:]
                empty, line = empty and part.isspace(), line + part.count("\n")
                yield part.replace("\r\n", "\n")
        try:
            text += decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            raise files.not_encoded(error, f"{path}, line {line + text.count(chr(10))}", encoding) from None
    if text:
        yield text.replace("\r\n", "\n")
    if empty and not text.strip():
        raise ValueError(f"{path} is empty")


def _part(folder: File, names: Sequence[str], part: str, encoding: str) -> str:
    place, content = files.read_member(folder, [name.format(part) for name in names], WHERE)
    return files.decoded(content, place, encoding)


def _cut(text: str, near: int) -> int:
    """The first beginning of a line, or else of a word, from ``near`` on."""
    for mark in "\n ":
        found = text.find(mark, max(near - 1, 0))
        if 0 <= found < len(text) - 1:
            return found + 1
    return near
