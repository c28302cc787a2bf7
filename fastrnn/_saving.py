"""Atomic writes: a new file replaces the old one once it is complete (docs/adr/0014-saving.md)."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows: leftovers of killed programs are not removed
    fcntl = None  # type: ignore[assignment]

ENDING = ".fastrnn-part"
_PART = re.compile(r"\..*\.[0-9a-f]{16}" + re.escape(ENDING))
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/(\d+)")
_STREAMS = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file open for writing bytes, which becomes ``file`` when the block ends.

    Until then, and after a full disk, an exception or a kill, ``file`` is unchanged. It keeps its mode, and its owner
    where the system allows that; a new file gets its mode from the umask. A symbolic link stays a link: its target is
    replaced. Devices, pipes and open files such as /dev/stdout are written to directly. If two programs write at once,
    the one that finishes last wins.

    Raises:
        OSError: the file cannot be written. PermissionError: it is read-only, even if its folder is writable.
    """
    named = os.path.abspath(os.fspath(file))
    descriptor = _STREAMS.get(named)
    if match := _DESCRIPTOR.fullmatch(named):
        descriptor = int(match[1])
    if descriptor is not None:
        with os.fdopen(os.dup(descriptor), "wb") as stream:
            yield stream
        return
    target = Path(os.path.realpath(named))
    try:
        before: os.stat_result | None = os.stat(target)
    except FileNotFoundError:
        before = None
    if before is not None and not stat.S_ISREG(before.st_mode):
        with open(target, "wb") as device:  # a folder is an error here
            yield device
        return
    if before is not None and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "the file is read-only, so it is not replaced", str(target))
    _clear(target.parent)
    part, out = _open_part(target, 0o666 if before is None else 0o600)
    try:
        with out:
            if before is not None:
                _resemble(out.fileno(), before)
            yield out
            out.flush()
            os.fsync(out.fileno())
            os.replace(part, target)  # while it is locked, so that no other writer takes it for a leftover
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(part)
        raise
    _sync_folder(target.parent)


def write_text(file: str | os.PathLike[str], text: str) -> None:
    """Write a text as UTF-8; see :func:`replacing`."""
    with replacing(file) as out:
        out.write(text.encode())


def write_figure(file: str | os.PathLike[str], figure: Any, dpi: int = 110) -> None:
    """Draw matplotlib's figure in the format of the file's ending, by default PNG; see :func:`replacing`."""
    picture = BytesIO()
    figure.savefig(picture, format=Path(file).suffix[1:].lower() or "png", dpi=dpi)
    with replacing(file) as out:
        out.write(picture.getvalue())


def _open_part(target: Path, mode: int) -> tuple[Path, BinaryIO]:
    """A new file beside ``target``, locked while it is open: that tells it from a leftover."""
    while True:
        part = target.with_name(f".{target.name[:50]}.{os.urandom(8).hex()}{ENDING}")
        out = os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb")
        if _lock(out.fileno()) is not False and os.fstat(out.fileno()).st_nlink > 0:
            return part, out
        out.close()  # another program removed it as a leftover before it was locked


def _clear(folder: Path) -> None:
    """Remove leftovers of killed programs from a folder: parts that are not locked."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (_PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)):
                continue
            with contextlib.suppress(OSError):  # another writer has it, or we may not remove it
                descriptor = os.open(entry.path, os.O_RDONLY | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0))
                try:
                    if _lock(descriptor) is True:
                        os.unlink(entry.path)
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """Whether an open file could be locked; False if another program has the lock, None without lock support."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except (OSError, AttributeError):
        return None
    return True


def _resemble(descriptor: int, before: os.stat_result) -> None:
    """Give a file the owner and the mode of the file that it replaces."""
    with contextlib.suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, before.st_uid, before.st_gid)
    os.fchmod(descriptor, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Flush a new name to the disk, if the file system supports that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
