"""`fastrnn word2vec …`, also as `python -m fastrnn.word2vec`, which torchrun starts."""

from __future__ import annotations

import sys


def main(arguments: list[str] | None = None, program: str | None = None) -> None:
    """Run the command line, or print what to install for it. By default the arguments are those of `sys.argv`."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(f"fastrnn: the command line needs {error.name}. Type: pip install typer rich")
    from fastrnn.word2vec.cli import app

    app(arguments, prog_name=program)


if __name__ == "__main__":
    main()
