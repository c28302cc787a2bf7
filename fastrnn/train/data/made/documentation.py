"""Python's own documentation as a text that needs no download.

It is what ``help("topics")`` shows, and the docstrings of the standard library, of the running Python. The last
paragraphs of each document are for validation and testing, so that the three parts have the same topics; repeated
paragraphs are used once.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from fastrnn.train.data.readers.text import Corpus

SHARES = (0.9, 0.05, 0.05)


def documentation(*, docstrings: bool = True) -> Corpus:
    """The text: the topics and, with ``docstrings`` (which takes about a second), the docstrings of the library.

    Raises:
        ModuleNotFoundError: this Python was installed without its topics.
    """
    documents = [*_topics(), *(_docstrings() if docstrings else ())]
    parts: tuple[list[str], list[str], list[str]] = ([], [], [])
    seen: set[str] = set()
    for document in documents:
        paragraphs = [p for p in re.split(r"\n\s*\n", document.strip("\n")) if p.strip() and _is_new(p.strip(), seen)]
        first, second = (round(len(paragraphs) * share) for share in (SHARES[0], SHARES[0] + SHARES[1]))
        for part, chosen in zip(
            parts, (paragraphs[:first], paragraphs[first:second], paragraphs[second:]), strict=True
        ):
            part += chosen
    return Corpus(*("\n\n".join(part) + "\n" for part in parts))


def documentation_words(*, docstrings: bool = True) -> Corpus:
    """The same text as words: one sentence per line, lower case, punctuation separate; no code, grammar or tables."""
    return Corpus(*(_sentences(part or "") for part in documentation(docstrings=docstrings)))


def _topics() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "this Python lacks its documentation (pydoc_data.topics): install all of Python, on Debian python3 instead "
            "of python3-minimal, or pass your own text as data="
        ) from error
    return (topics[name] for name in sorted(topics))


def _docstrings() -> Iterator[str]:
    """The docstrings of each module of the standard library that is one file."""
    for file in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        nodes = ast.walk(ast.parse(file.read_bytes()))
        kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
        found = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, kinds)]
        yield "\n\n".join(found)


def _is_new(paragraph: str, seen: set[str]) -> bool:
    new = paragraph not in seen
    seen.add(paragraph)
    return new


def _sentences(text: str) -> str:
    lines = []
    for paragraph in text.split("\n\n"):
        if not _is_prose(paragraph):
            continue
        joined = re.sub(r"^\* ", "", " ".join(paragraph.split())).replace("’", "'").replace("‘", "'")
        for sentence in re.split(r"(?<=[.!?:])\s+(?=[A-Z\"'(])", joined):
            tokens = re.findall(r"\w+(?:[-']\w+)*|[^\w\s\"'`*]", sentence)  # without quotes and other marks
            lines.append(" ".join(tokens).lower())
    return "\n".join(lines) + "\n"


def _is_prose(paragraph: str) -> bool:
    """Whether it is neither indented nor underlined, has no prompt, grammar or directive, and has some words."""
    marks = (">>>", "::=", "***", "===", "---", "~~~", "+--", "|")
    letters = sum(character.isalpha() or character.isspace() for character in paragraph)
    return (
        not paragraph.startswith("   ")
        and not any(mark in paragraph for mark in marks)
        and letters > 0.8 * len(paragraph)
        and len(paragraph.split()) > 3
    )
