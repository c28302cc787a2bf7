"""Reads files of any compression as text; errors name the file, the line, and where to get a missing file."""

from __future__ import annotations

import codecs
import errno
import lzma
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from fastrnn.word2vec.files.compression import OPENERS, UNPACKED_BYTES, UNPACKED_TIMES, opened

File = str | os.PathLike[str]


def read_bytes(file: File, where: str = "") -> bytes:
    """The contents of a file; .gz, .bz2, .xz, and .zip with a single file, are decompressed.

    Args:
        where: what the file is and where to get it, for the error if it is missing.

    Raises:
        FileNotFoundError: there is no such file; the error includes ``where``.
        ValueError: it is empty, damaged, or unpacks to more than 1 GiB and 100 times its size.
    """
    path = Path(file)
    if path.is_dir():
        raise ValueError(f"{path} is a folder, expected a file")
    if not path.is_file():
        raise missing(path, where)
    if path.suffix == ".zip":
        content = _only_member(path)
    else:
        with opened(path) as stream:
            content = stream.read()
    if not content or content.isspace():
        raise ValueError(f"{path} is empty")
    return content


def read_text(file: File, where: str = "", encoding: str = "utf-8") -> str:
    """:func:`read_bytes` and :func:`decoded`; their errors."""
    return decoded(read_bytes(file, where), os.fspath(file), encoding)


def read_member(source: File, names: Sequence[str], where: str = "") -> tuple[str, bytes]:
    """One file of a folder or a .zip, by its name without folders: the first of ``names`` that exists.

    In a folder it may be compressed, with .gz, .bz2, .xz or .zip after its name.

    Returns:
        its name for errors, and its contents.

    Raises:
        FileNotFoundError, ValueError: as in :func:`read_bytes`.
    """
    path = Path(source)
    if path.is_dir():
        for name in names:
            for ending in ("", *OPENERS, ".zip"):
                if (path / f"{name}{ending}").is_file():
                    return f"{path / name}{ending}", read_bytes(path / f"{name}{ending}")
        raise missing(path / names[0], where)
    if not path.exists():
        raise missing(path, where)
    if path.suffix != ".zip":
        raise ValueError(f"{path} is neither a folder nor a .zip; expected one that contains {' or '.join(names)}")
    with _zip(path) as archive:
        for name in names:
            found = [info for info in archive.infolist() if Path(info.filename).name == name]
            if len(found) > 1:
                raise ValueError(f"{path} has {len(found)} files {name}: {', '.join(info.filename for info in found)}")
            if found:
                place, content = f"{path}, {found[0].filename}", _unpacked(archive, found[0], path)
                if not content or content.isspace():
                    raise ValueError(f"{place} is empty")
                return place, content
        there = ", ".join(archive.namelist()[:5]) or "nothing"
        raise FileNotFoundError(f"{path} does not contain {' or '.join(names)}; it contains {there}. {where}".strip())


def missing(path: Path, where: str) -> FileNotFoundError:
    return FileNotFoundError(f"there is no file {path}. {where}".strip())


def decoded(content: bytes, place: str, encoding: str = "utf-8") -> str:
    """Bytes as text without a byte-order mark; CR LF becomes a newline.

    Raises:
        ValueError: they are not in this encoding; the error names the line.
    """
    try:
        text = incremental_decoder(encoding).decode(content, final=True)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise not_encoded(error, f"{place}, line {line}", encoding) from None
    return text.replace("\r\n", "\n")


def incremental_decoder(encoding: str) -> codecs.IncrementalDecoder:
    """A decoder for a text in parts, which drops a byte-order mark."""
    try:
        return codecs.getincrementaldecoder("utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding)()
    except LookupError:
        raise ValueError(
            f'encoding must be one that Python knows, such as "utf-8" or "latin-1", got {encoding!r}'
        ) from None


def not_encoded(error: UnicodeDecodeError, place: str, encoding: str) -> ValueError:
    """The error for a byte that is not in an encoding."""
    content = error.object
    kind = next((kind for start, kind in _STARTS.items() if content.startswith(start)), None)
    hint = f"the file is {kind}" if kind else 'expected text in this encoding; encoding="latin-1" takes any byte'
    return ValueError(f"{place}: the byte {content[error.start]:#04x} is not {encoding}; {hint}")


def numbered_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a text and their numbers, from 1. Only newlines end lines, unlike in ``str.splitlines``."""
    return enumerate(text.removesuffix("\n").split("\n"), 1)


# First bytes of files that are not text.
_STARTS = {
    b"\x1f\x8b": "compressed with gzip, so its name should end in .gz",
    b"PK\x03\x04": "a zip archive, so its name should end in .zip",
    b"BZh": "compressed with bzip2, so its name should end in .bz2",
    b"\xfd7zXZ": "compressed with xz, so its name should end in .xz",
    b"\xff\xfe": 'UTF-16; give encoding="utf-16"',
    b"\xfe\xff": 'UTF-16; give encoding="utf-16"',
}


# What zipfile raises for a damaged archive. EINVAL comes from a position before the file; other system errors
# propagate.
_DAMAGED = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError, ValueError)


def _zip(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(f"{path} is not a zip archive, or it is truncated or damaged: {error}") from error


def _only_member(path: Path) -> bytes:
    with _zip(path) as archive:
        files = [info for info in archive.infolist() if not info.is_dir()]
        if len(files) != 1:
            names = ", ".join(info.filename for info in files[:5]) or "nothing"
            raise ValueError(f"{path} must contain exactly one file, but contains {names}; unpack it and give one file")
        return _unpacked(archive, files[0], path)


def _unpacked(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    most = max(UNPACKED_BYTES, UNPACKED_TIMES * path.stat().st_size)
    if info.file_size > most:  # zipfile reads no more than this size
        raise ValueError(
            f"{path}, {info.filename}: unpacks to {info.file_size} bytes, more than {most}. Unpack it first"
        )
    try:
        return archive.read(info)
    except _DAMAGED as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise
        raise ValueError(f"{path}, {info.filename}: cannot be unpacked: {error}") from error
