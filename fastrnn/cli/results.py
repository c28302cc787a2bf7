"""Files of results: written and read as JSON, rendered as Markdown to the terminal or into a page."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastrnn._markdown import insert
from fastrnn._saving import write_text
from fastrnn.cli.console import explain, fail

NOT_RESULTS = (KeyError, TypeError, AttributeError, IndexError, ValueError, ZeroDivisionError)


def write_json(value: Any, file: Path) -> None:
    """Writes a JSON file that is complete even if the command is killed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(value, indent=1) + "\n")


def read_json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        fail(f"{file} is not JSON: {error}")


def rendered(topic: str, markdown: Callable[[Any], str], file: Path | None, page: Path | None) -> bool:
    """Prints a file of results as Markdown, or inserts it into a page. Returns whether there was a file.

    Results of a GPU have their own marks on the page.
    """
    if file is None:
        if page:
            fail(f"--into needs --render, the file of results to insert; got only --into {page}")
        return False
    results = read_json(file)
    try:
        text = markdown(results)
        topic += "-cuda" if "gpu" in results["machine"] else ""
    except NOT_RESULTS as error:
        fail(f"{file} does not contain results of fastrnn {topic}: {type(error).__name__}: {explain(error)}")
    if page:
        try:
            insert(text, topic, page)
        except ValueError as error:
            fail(error)
    else:
        print_exactly(text)
    return True


def print_exactly(text: str) -> None:
    """Prints text that programs read, so no character may be replaced by an escape."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        missing = text[error.start]
        fail(f"the output's encoding, {encoding}, lacks {missing!r}. Set PYTHONIOENCODING=utf-8, or use --into PAGE")
    print(text)
