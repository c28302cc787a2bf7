"""Compiles the step of a cell with the machine's C++ compiler, and keeps what it makes on disk: docs/adr/0043.

A file of the cache has the key of all that it was made of in its name, and ends with the SHA-256 of its other bytes.
So it is never out of date, and one that is damaged is made again. Two processes that make one at once both write a
whole file, of the same content.
"""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch

from fastrnn._cell import headers
from fastrnn._core.extension import _C
from fastrnn._saving import replacing

# Those of setup.py that decide about numbers, so that they are the interpreter's by the bit.
FLAGS = ("-std=c++20", "-O3", "-ffp-contract=fast", "-fPIC", "-shared", "-fvisibility=hidden", "-g0", "-w")
COMPILERS = ("g++", "c++", "clang++")
PATIENCE = 120  # seconds for a compiler that takes a quarter of one on a machine with nothing else to do
NAME = "Cell"  # of the struct in a header that is to be compiled
_CTYPE = {torch.float32: "float", torch.float64: "double"}
_said: set[str] = set()
_UNIT = """\
#include "cpu/for_{isa}.h"
//
#include "cpu/compiled_cell.h"

{header}
extern "C" __attribute__((visibility("default"))) const fastrnn::CompiledCell* fastrnn_compiled_cell() {{
  static constexpr fastrnn::CompiledCell cell = fastrnn::FASTRNN_TARGET::compiled_cell<{ctype}, fastrnn::{name}>();
  return &cell;
}}
"""


class NotCompiled(Exception):
    """Why a cell could not be compiled, and what to do about it."""


def library(header: str, dtype: torch.dtype) -> Any | None:
    """The compiled programs of a cell (``_C.CellLibrary``), or None after a RuntimeWarning that says why not.

    Args:
        header: of :func:`fastrnn._cell.emit.header`, with the name :data:`NAME`.
        dtype: float32 or float64.
    """
    try:
        return loaded(unit(header, dtype))
    except (NotCompiled, OSError) as error:  # a full disk, among others
        _warn_once(f"compile=True has no effect, the cell's step is interpreted: {error}")
        return None


def _warn_once(message: str) -> None:
    if message not in _said:
        _said.add(message)
        warnings.warn(message, RuntimeWarning, stacklevel=3)


def unit(header: str, dtype: torch.dtype) -> str:
    """What is compiled, for the instruction set that runs."""
    isa = _C.instruction_set().removesuffix("_bf16")
    return _UNIT.format(isa=isa, header=header, ctype=_CTYPE[dtype], name=NAME)


def loaded(source: str) -> Any:
    """The library of a source, from the cache or compiled into it.

    Raises:
        NotCompiled: there is no compiler or it fails, or the cache cannot be written.
    """
    compiler = find_compiler()
    file = folder() / f"{key(source, compiler)}.so"
    if not whole(file):
        _write(file, compiled(source, compiler))
    try:
        return _C.CellLibrary(os.fsencode(file))
    except (RuntimeError, UnicodeError) as error:  # of a name that is no text
        raise NotCompiled(f"{error}; remove the file, or set FASTRNN_CACHE to another folder") from error


def find_compiler() -> list[str]:
    """The compiler and the words that come before its options: $CXX, or the first of :data:`COMPILERS` on PATH."""
    given = os.environ.get("CXX", "")
    try:
        asked = shlex.split(given)
    except ValueError as error:
        raise NotCompiled(f"CXX is {given!r}: {error}; set CXX to a C++ compiler") from error
    for name in asked[:1] or COMPILERS:
        if found := shutil.which(name):
            return [found, *asked[1:]]
    if asked:
        raise NotCompiled(f"CXX is {given!r}, and there is no such program; set CXX to a C++ compiler")
    raise NotCompiled(f"there is no C++ compiler ({', '.join(COMPILERS)}) on PATH; install g++, or set CXX to one")


def folder() -> Path:
    """Where compiled cells are kept: $FASTRNN_CACHE, else fastrnn in $XDG_CACHE_HOME or in ~/.cache."""
    if chosen := os.environ.get("FASTRNN_CACHE"):
        return Path(chosen).absolute()  # a file without a folder would be looked for among the system's libraries
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "fastrnn"
    except RuntimeError as error:
        raise NotCompiled("there is no home folder; set FASTRNN_CACHE to a folder that can be written") from error


def key(source: str, compiler: list[str]) -> str:
    """Of all that a library is made of: source (which names the instruction set), headers, flags and compiler."""
    program = os.stat(compiler[0])
    made_of = [source, headers_digest(), *FLAGS, *compiler, str(program.st_size), str(program.st_mtime_ns)]
    return hashlib.sha256("\0".join(made_of).encode()).hexdigest()[:32]


@cache
def headers_digest() -> str:
    digest = hashlib.sha256()
    for name in headers.HEADERS:
        try:
            digest.update((headers.folder() / name).read_bytes())
        except OSError as error:
            raise NotCompiled(f"a header of fastrnn is missing: {error}; install fastrnn again") from error
    return digest.hexdigest()


def whole(file: Path) -> bool:
    """Whether a file of the cache is there and undamaged. The loader would end the process at one that is cut short."""
    try:
        content = file.read_bytes()
    except OSError:
        return False
    return len(content) > 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


def compiled(source: str, compiler: list[str]) -> bytes:
    """The shared library that the compiler makes of a source."""
    with _temporary() as place:
        unit, result = Path(place) / "cell.cpp", Path(place) / "cell.so"
        unit.write_text(source, encoding="utf-8")
        command = [*compiler, *FLAGS, f"-I{headers.folder()}", str(unit), "-o", str(result)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, errors="replace", timeout=PATIENCE, stdin=subprocess.DEVNULL
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotCompiled(f"{compiler[0]} cannot be run: {error}; set CXX to another compiler") from error
        if done.returncode:
            raise NotCompiled(
                f"{compiler[0]} failed: {_reason(done.stderr.replace(f'{place}/', ''))}; set CXX to another compiler"
            )
        if not result.exists():
            raise NotCompiled(f"{compiler[0]} made no library; set CXX to another compiler")
        return result.read_bytes()


def _temporary() -> Any:
    try:
        return tempfile.TemporaryDirectory(prefix="fastrnn-", ignore_cleanup_errors=True)
    except OSError as error:
        raise NotCompiled(f"there is no folder for temporary files: {error}; set TMPDIR to one") from error


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), lines[0] if lines else "it said nothing")


def _write(file: Path, content: bytes) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with replacing(file) as out:
            out.write(content + hashlib.sha256(content).digest())
    except OSError as error:
        raise NotCompiled(f"the cache cannot be written: {error}; set FASTRNN_CACHE to a folder that can be") from error
