"""What every command shares: text printed as it is, files checked before the work, errors that are one line."""

import contextlib
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, TypeVar

import typer
from rich.console import Console
from typer.core import TyperGroup

P = ParamSpec("P")
Parsed = TypeVar("Parsed")


def console(stderr: bool = False) -> Console:
    """A console that prints text as it is: no markup in brackets, no emoji for `:tea:`."""
    return Console(stderr=stderr, markup=False, emoji=False)


def explain(error: object) -> str:
    """The message of an error, or a message itself, as one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'cannot read or write'}: {error.strerror}"
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0])  # str() of a KeyError puts its message in quotes
    return str(error)


def fail(message: object) -> NoReturn:
    """Ends the command with exit status 2 and one line: a message, or an error's."""
    report(message)
    raise typer.Exit(2)


def report(message: object) -> None:
    with contextlib.suppress(OSError):  # if standard error fails too, the exit status remains
        console(stderr=True).print(f"fastrnn: {explain(message)}", style="red", highlight=False, soft_wrap=True)


def parsed(parse: Callable[P, Parsed], *arguments: P.args, **options: P.kwargs) -> Parsed:
    """What ``parse`` makes of an option; its ValueError ends the command."""
    try:
        return parse(*arguments, **options)
    except ValueError as error:
        fail(error)


class Commands(TyperGroup):
    """Commands that end as `fail` does when a file or the output cannot be read or written.

    Characters that the output's encoding lacks, as in an ASCII locale, are printed as escapes such as \\xd7.
    """

    def main(self, *args: Any, **options: Any) -> Any:
        for stream in (sys.stdout, sys.stderr):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
        try:
            try:
                return super().main(*args, **options)
            finally:
                sys.stdout.flush()  # now: at exit Python would report a failure as a traceback
        except OSError as error:
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            report(error)
            sys.exit(2)


def check_outputs(outputs: Mapping[str, Path | None], inputs: Mapping[str, Path] | None = None) -> None:
    """Ends the command before its work if an output cannot be written, or is also an input or another output.

    Creates the folders of the outputs. Both arguments map the name that errors use, such as "--json", to a path.
    """
    taken = dict(inputs or {})
    for name, file in outputs.items():
        if file is None:
            continue
        for other, path in taken.items():
            if same_file(file, path):
                fail(f"{name} {file} is the same file as {other}, which it would overwrite. Choose another file")
        try:
            check_writable(file)
        except OSError as error:
            fail(f"{name} {explain(error)}")
        taken[name] = file


def same_file(one: Path, other: Path) -> bool:
    """Whether two paths are one regular file on the disk; /dev/null may be given twice."""
    if one.exists() and other.exists():
        return one.is_file() and one.samefile(other)
    return one.resolve() == other.resolve()


def check_writable(file: Path) -> None:
    """Raises OSError if a file cannot be written or replaced; does not change the file."""
    if file.exists() and not file.is_file():  # opening a pipe could wait for a reader
        if file.is_dir() or not os.access(file, os.W_OK):
            raise OSError(errno.EISDIR if file.is_dir() else errno.EACCES, "not a file that can be written", str(file))
        return
    if file.exists():
        with open(file, "ab"):
            pass
    folder = file.resolve().parent
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from None
