"""How a command ends that cannot do what it is asked to."""

from typing import NoReturn

import typer
from rich.console import Console


def fail(message: object) -> NoReturn:
    """Ends the command with a line that says what is wrong: a text, or an error's."""
    if isinstance(message, KeyError) and message.args:
        message = message.args[0]  # str() of a KeyError puts its message in quotes
    Console(stderr=True).print(f"fastrnn: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2)
