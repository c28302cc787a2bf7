"""Texts of any size as memory-mapped files of ids."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from fastrnn import _saving
from fastrnn.train.data.readers.text import text_blocks
from fastrnn.train.data.vocabulary import Vocabulary


def encode_file(
    file: str | os.PathLike[str],
    vocabulary: Vocabulary,
    folder: str | os.PathLike[str] | None = None,
    encoding: str = "utf-8",
) -> np.memmap:
    """The ids of a text file (N,), memory-mapped: for :class:`LanguageBatches` over texts larger than memory.

    The text is read once, in blocks: ``folder`` keeps the ids as long as the text and the vocabulary do not change. An
    id has two bytes, or four if the vocabulary has more than 65,536 tokens; the file contains nothing else.

    Args:
        file: a text; .gz, .bz2 and .xz are decompressed.
        folder: by default ``fastrnn`` in the user's cache folder.

    Raises:
        FileNotFoundError: the text does not exist.
        ValueError: it is empty, damaged or not in this encoding; or the vocabulary lacks a token and ``unknown``. Then
            nothing is kept.
        OSError: the ids cannot be written, for instance because the disk is full.
    """
    dtype = np.dtype(np.uint16 if len(vocabulary) <= 1 << 16 else np.int32)
    kept = _kept(Path(file), vocabulary, Path(folder) if folder is not None else _caches(), encoding, dtype)
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        with _saving.replacing(kept) as out:
            line = 1
            for text in text_blocks(file, encoding):
                try:
                    ids = vocabulary.encode(text)
                except ValueError:
                    raise _never_seen(vocabulary, text, f"{os.fspath(file)}", line) from None
                out.write(np.array(ids, dtype).data)
                line += text.count("\n")
    return np.memmap(kept, dtype, "r")


def _kept(file: Path, vocabulary: Vocabulary, folder: Path, encoding: str, dtype: np.dtype) -> Path:
    """The file of a text's ids, named by the text's path, size and date and the vocabulary."""
    if not file.is_file():
        raise FileNotFoundError(f"there is no file {file}")
    status = file.stat()
    of = [str(file.resolve()), status.st_size, status.st_mtime_ns, encoding, vocabulary.config()]
    digest = hashlib.blake2b(json.dumps(of).encode(), digest_size=10).hexdigest()
    return folder / f"{file.stem}-{digest}.{dtype.name}"


def _caches() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fastrnn"


def _never_seen(vocabulary: Vocabulary, text: str, file: str, line: int) -> ValueError:
    """The error of :meth:`Vocabulary.encode` for a block, with the line of the file."""
    for number, part in enumerate(text.split("\n"), line):
        for token in vocabulary.split(part + "\n"):
            if token not in vocabulary:
                return vocabulary.never_seen(token, f", {file}, line {number}")
    raise AssertionError("every token of the block is known")
