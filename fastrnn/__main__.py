"""The console command `fastrnn`, also as `python -m fastrnn`."""

import sys


def main() -> None:
    """Runs the command line, or says in one line what to install for it."""
    try:
        import matplotlib  # noqa: F401
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(f"fastrnn: the command line needs {error.name}: pip install 'fastrnn[cli]'")
    from fastrnn.cli import app

    app()


if __name__ == "__main__":
    main()
