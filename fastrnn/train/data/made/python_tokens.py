"""Tokens of Python's own sources, each tagged with what it is in its line: a task that needs context on both sides.

``get`` is called in ``cache.get(key)``, a parameter in ``def find(get)``, an attribute in ``use(cache.get)`` and a
variable in ``get = 3``; ``type`` or ``match`` may be a keyword. The sentences are logical lines, from the first token
to the end of the statement; what a name is comes from the syntax tree, which the model does not see.
"""

from __future__ import annotations

import ast
import io
import keyword
import random
import sys
import sysconfig
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TAGS = (
    "argument",  # the name of a keyword argument in a call
    "attribute",  # after a dot, and not called
    "call",  # a function, method or class that is called
    "class",  # that is defined
    "function",  # that is defined
    "keyword",
    "module",  # or a name imported from one
    "number",
    "operator",
    "parameter",
    "string",
    "variable",  # any other name
)
_SKIPPED = {tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING}


class Line(NamedTuple):
    """The tokens of a logical line, and a tag for each."""

    words: list[str]
    tags: list[str]


class Lines(NamedTuple):
    train: list[Line]
    valid: list[Line]
    test: list[Line]


def python_tokens(count: int = 6000, *, longest: int = 60, seed: int = 0) -> Lines:
    """Lines of the standard library of the running Python; validation and test lines come from other modules.

    Args:
        count: lines to train on; a tenth of that number to validate and a fifth to test.
        longest: maximum number of tokens of a line.
        seed: of the order of the modules.
    """
    if count < 10:
        raise ValueError(f"count must be at least 10, got {count}")
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    random.Random(seed).shuffle(files)
    parts = []
    for wanted in (count, count // 10, count // 5):
        lines: list[Line] = []
        while len(lines) < wanted and files:
            lines += [line for line in tagged(files.pop().read_text("utf-8")) if 3 <= len(line.words) <= longest]
        parts.append(lines[:wanted])
    return Lines(*parts)


def tagged(source: str) -> list[Line]:
    """The logical lines of a program.

    Raises:
        SyntaxError: it is not a program.
    """
    roles = _roles(source)
    lines: list[Line] = []
    words: list[str] = []
    tags: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NEWLINE:
            lines.append(Line(words, tags))
            words, tags = [], []
        elif token.type not in _SKIPPED:
            previous = words[-1] if words else ""
            words.append(_word(token))
            tags.append(_tag(token, roles, previous, first=len(words) == 1))
    return [line for line in lines if line.words]


def _tag(token: tokenize.TokenInfo, roles: dict[tuple[int, int], str], previous: str, first: bool) -> str:
    if token.type == tokenize.NUMBER:
        return "number"
    if token.type == tokenize.OP:
        return "operator"
    if token.type != tokenize.NAME:
        return "string"  # or part of a formatted one
    if keyword.iskeyword(token.string):
        return "keyword"
    if previous in ("def", "class"):
        return "function" if previous == "def" else "class"
    role = roles.get(token.start)
    if role is None and first and keyword.issoftkeyword(token.string):
        return "keyword"
    return role or "variable"


def _roles(source: str) -> dict[tuple[int, int], str]:
    """The roles of the names of a program, by line and column of their first character."""
    lines = source.split("\n")

    def place(line: int, column: int) -> tuple[int, int]:
        """The tree counts bytes, tokens characters."""
        return line, len(lines[line - 1].encode()[:column].decode())

    roles: dict[tuple[int, int], str] = {}
    called = set()
    for node in _walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            called.add(node.func)
            for argument in node.keywords:
                if argument.arg is not None:
                    roles[place(argument.lineno, argument.col_offset)] = "argument"
        elif isinstance(node, ast.Name):
            roles.setdefault(place(node.lineno, node.col_offset), "call" if node in called else "variable")
        elif isinstance(node, ast.Attribute):
            assert node.end_lineno is not None
            assert node.end_col_offset is not None
            begin = node.end_col_offset - len(node.attr.encode())
            roles[place(node.end_lineno, begin)] = "call" if node in called else "attribute"
        elif isinstance(node, ast.arg):
            roles[place(node.lineno, node.col_offset)] = "parameter"
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for line in range(node.lineno, (node.end_lineno or node.lineno) + 1):
                for column in range(len(lines[line - 1])):
                    roles.setdefault((line, column), "module")
    return roles


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes. Before Python 3.12 a formatted string is one token, and positions inside it are wrong."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, ast.JoinedStr) or sys.version_info >= (3, 12):
            waiting.extend(ast.iter_child_nodes(node))


def _word(token: tokenize.TokenInfo) -> str:
    """The token; a string becomes its quotes with an ellipsis, since its content is not informative."""
    if token.type == tokenize.STRING:
        quote = token.string[-1]
        return f"{quote}…{quote}"
    return "…" if tokenize.tok_name[token.type].endswith("STRING_MIDDLE") else token.string
