"""Encoding a corpus: each word becomes its index in a vocabulary.

A corpus is an iterable of lists of words, or a text file of any size. A file is split at white space, as by
``bytes.split()``. Each line is a sentence; a line of more than 10,000 words makes several. Bytes that are not UTF-8
become U+FFFD, as with ``bytes.decode(errors="replace")``. A word of more than 16 MiB is an error: such a file is not
text. Files are read in blocks, which C++ threads share. Files named .gz, .xz or .bz2 are decompressed, and refused if
they unpack to more than 1 GiB and 100 times their size.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from fastrnn.word2vec import _C
from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers
from fastrnn.word2vec.corpus.text_blocks import blocks, map_array

# Words that are encoded in one call where the corpus is an iterable.
BATCH_WORDS = 1 << 18


class Encoded(NamedTuple):
    """A corpus as numbers: sentence i is ``ids[offsets[i]:offsets[i + 1]]``. ids (N,) int32, offsets (S + 1,) int64."""

    ids: np.ndarray
    offsets: np.ndarray


def encode(
    keys: list[str],
    sentences: Sentences | None = None,
    corpus_file: str | os.PathLike[str] | None = None,
    directory: str | os.PathLike[str] | None = None,
    workers: int | None = None,
) -> Encoded:
    """Read a corpus as indices into ``keys``. Other words are dropped; a sentence of such words alone becomes empty.

    Args:
        directory: a folder for two files, ids.int32 and offsets.int64, which are then mapped into memory; the caller
            deletes them. By default the arrays are in memory.
        workers: number of threads; the result is the same for any number.

    Raises:
        TypeError, ValueError, OSError: as :func:`check_corpus` and :func:`blocks`, and whatever ``sentences`` raises.
            The files in ``directory`` are removed first.
    """
    check_corpus(sentences, corpus_file)
    encoder = _C.WordEncoder(keys)
    if corpus_file is not None:
        parts = _encode_file(encoder, corpus_file, checked_workers(workers))
    else:
        parts = _encode_sentences(encoder, iter(sentences if sentences is not None else ()))
    if directory is None:
        ids, offsets = io.BytesIO(), io.BytesIO()
        _write(parts, ids, offsets)
        return Encoded(np.frombuffer(ids.getbuffer(), np.int32), np.frombuffer(offsets.getbuffer(), np.int64))
    paths = Path(directory, "ids.int32"), Path(directory, "offsets.int64")
    try:
        with paths[0].open("wb") as ids_file, paths[1].open("wb") as offsets_file:
            _write(parts, ids_file, offsets_file)
    except BaseException:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
        raise
    return Encoded(map_array(paths[0], np.int32), map_array(paths[1], np.int64))


def _encode_file(
    encoder: _C.WordEncoder, path: str | os.PathLike[str], workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for text, cuts in blocks(path):
        yield from encoder.encode(text, cuts, workers)


def _encode_sentences(
    encoder: _C.WordEncoder, sentences: Iterator[Sequence[str]]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    while (part := encoder.encode_sentences(sentences, BATCH_WORDS)) is not None:
        yield part


def _write(parts: Iterator[tuple[np.ndarray, np.ndarray]], ids_file: BinaryIO, offsets_file: BinaryIO) -> None:
    before = 0
    offsets_file.write(np.zeros(1, np.int64).tobytes())
    for ids, lengths in parts:
        ids_file.write(ids.data)
        offsets_file.write((before + np.cumsum(lengths)).data)
        before += len(ids)
