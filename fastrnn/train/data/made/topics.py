"""Sentences of the docstrings of Python's own library, to be told apart by what their module is for."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Modules and packages of the standard library by subject. One that a Python lacks is passed over.
SUBJECTS: dict[str, str] = {
    "concurrency": "asyncio concurrent multiprocessing threading queue sched subprocess selectors",
    "files": "os pathlib shutil tempfile glob fnmatch zipfile tarfile gzip bz2 lzma fileinput filecmp posixpath ntpath "
    "genericpath _pyio configparser csv dbm shelve plistlib mailbox",
    "internet": "http urllib email socket socketserver ssl smtplib ftplib imaplib poplib xmlrpc wsgiref html "
    "ipaddress webbrowser xml",
    "language": "ast inspect dis tokenize importlib pkgutil typing types dataclasses enum abc functools contextlib "
    "pickle pickletools copy symtable code codeop collections weakref",
    "numbers": "_pydecimal fractions statistics random numbers colorsys calendar datetime _pydatetime _strptime bisect "
    "heapq",
    "testing": "unittest doctest pdb bdb trace traceback timeit cProfile profile pstats tracemalloc logging warnings",
}


class Sentence(NamedTuple):
    text: str
    label: int  # the place of its subject among the classes


class Topics(NamedTuple):
    """Training and held-out sentences, as many of each class in either part, and the names of the classes."""

    train: list[Sentence]
    held_out: list[Sentence]
    classes: list[str]


def topics(*, held_out: float = 0.2, least_words: int = 5, seed: int = 0) -> Topics:
    """Sentences of ``least_words`` words or more, in small letters, punctuation apart.

    All sentences of a class or function at the top of a module, with those of its methods, are in one part, and a
    sentence that occurs twice is there once; one of two subjects is not there. So what is held out is new. The
    sentences are those of the Python that runs: their number differs a little from version to version.

    Raises:
        ValueError: held_out is not a share between 0 and 1.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is the share that is not for training, between 0 and 1, got {held_out}")
    subjects = [_units(modules, least_words) for modules in SUBJECTS.values()]
    among = Counter(text for units in subjects for text in {text for unit in units for text in unit})
    seen = {text for text, count in among.items() if count > 1}
    parts: list[tuple[list[str], list[str]]] = []
    for units in subjects:
        random.Random(seed).shuffle(units)
        fresh: list[list[str]] = []
        for unit in units:
            fresh.append([text for text in dict.fromkeys(unit) if text not in seen])
            seen.update(unit)
        whole, held = sum(map(len, fresh)), list[str]()
        while len(held) < held_out * whole:
            held += fresh.pop()
        parts.append(([text for unit in fresh for text in unit], held))
    sizes = [min(len(part[i]) for part in parts) for i in (0, 1)]
    train, test = (
        [Sentence(text, label) for label, part in enumerate(parts) for text in part[i][: sizes[i]]] for i in (0, 1)
    )
    for part in (train, test):
        random.Random(seed).shuffle(part)
    return Topics(train, test, list(SUBJECTS))


def _units(modules: str, least_words: int) -> list[list[str]]:
    """The sentences of each definition at the top of each module, and of the module itself."""
    return [
        [text for docstring in unit for text in sentences(docstring, least_words)]
        for name in modules.split()
        for file in _files(name)
        for unit in _docstrings(file)
    ]


def _files(name: str) -> list[Path]:
    library = Path(sysconfig.get_path("stdlib"))
    if (library / name).is_dir():
        return sorted(file for file in (library / name).rglob("*.py") if "test" not in file.parts)
    return [file for file in (library / f"{name}.py",) if file.is_file()]


def _docstrings(file: Path) -> Iterator[list[str]]:
    tree = ast.parse(file.read_bytes())
    kinds = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    yield [ast.get_docstring(tree) or ""]
    for node in tree.body:
        if isinstance(node, kinds):
            yield [ast.get_docstring(each) or "" for each in ast.walk(node) if isinstance(each, kinds)]


def sentences(docstring: str, least_words: int = 1) -> list[str]:
    """The sentences of a text's paragraphs of prose: those that are neither indented nor have a prompt."""
    found = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        if paragraph.startswith(" ") or ">>>" in paragraph or "::" in paragraph:
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
            tokens = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+|[^\w\s]", sentence.lower())
            if sum(token[0].isalpha() for token in tokens) >= least_words:
                found.append(" ".join(tokens))
    return found
