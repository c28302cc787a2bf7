"""Sentences from the docstrings of Python's own library, classified by the subject of their module."""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# Modules and packages of the standard library by subject. Those that a Python lacks are ignored.
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
    label: int  # the index of its subject in the classes


class Topics(NamedTuple):
    """Sentences in three parts, with equally many of each class in a part, and the names of the classes."""

    train: list[Sentence]
    valid: list[Sentence]
    test: list[Sentence]
    classes: list[str]


def topics(*, held_out: float = 0.1, least_words: int = 5, seed: int = 0) -> Topics:
    """Sentences of at least ``least_words`` words, in lower case, punctuation separate.

    All sentences of a top-level class or function, methods included, are in one part; repeated sentences are used once,
    and sentences of two subjects are not used. So held-out sentences are new. They come from the running Python, and
    their number differs a little between versions.

    Args:
        held_out: share of the validation part, and of the test part.

    Raises:
        ValueError: held_out is not above 0 and below 0.5.
    """
    if not 0 < held_out < 0.5:
        raise ValueError(f"held_out must be above 0 and below 0.5, got {held_out}")
    subjects = [_units(modules, least_words) for modules in SUBJECTS.values()]
    among = Counter(text for units in subjects for text in {text for unit in units for text in unit})
    seen = {text for text, count in among.items() if count > 1}
    parts: list[list[Sentence]] = [[], [], []]
    by_subject = []
    for label, units in enumerate(subjects):
        random.Random(seed).shuffle(units)
        fresh: list[list[Sentence]] = []
        for unit in units:
            fresh.append([Sentence(text, label) for text in dict.fromkeys(unit) if text not in seen])
            seen.update(unit)
        by_subject.append(_cut(fresh, held_out))
    for i, part in enumerate(parts):
        size = min(len(cut[i]) for cut in by_subject)
        for cut in by_subject:
            part += cut[i][:size]
        random.Random(seed).shuffle(part)
    train, valid, test = parts
    return Topics(train, valid, test, list(SUBJECTS))


def _cut(units: list[list[Sentence]], held_out: float) -> tuple[list[Sentence], list[Sentence], list[Sentence]]:
    """Whole units for each part; validation and test get the share ``held_out`` or slightly more."""
    wanted = held_out * sum(map(len, units))
    valid, test = list[Sentence](), list[Sentence]()
    for part in (test, valid):
        while len(part) < wanted:
            part += units.pop()
    return [sentence for unit in units for sentence in unit], valid, test


def _units(modules: str, least_words: int) -> list[list[str]]:
    """The sentences of each top-level definition of each module, and of the module itself."""
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
    """The sentences of the paragraphs of prose, which are not indented and have no prompt."""
    found = []
    for paragraph in re.split(r"\n\s*\n", docstring):
        if paragraph.startswith(" ") or ">>>" in paragraph or "::" in paragraph:
            continue
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z])", " ".join(paragraph.split())):
            tokens = re.findall(r"[a-z]+(?:'[a-z]+)?|\d+|[^\w\s]", sentence.lower())
            if sum(token[0].isalpha() for token in tokens) >= least_words:
                found.append(" ".join(tokens))
    return found
