"""The console command `fastrnn`, also as `python -m fastrnn`."""

import sys


def main() -> None:
    """Runs the command line, or says in one line what to install for it."""
    if sys.argv[1:2] == ["word2vec"]:  # before anything loads torch or matplotlib
        from fastrnn.word2vec.__main__ import main as word2vec

        return word2vec(sys.argv[2:], "fastrnn word2vec")
    try:
        import matplotlib  # noqa: F401
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(f"fastrnn: the command line needs {error.name}. Type: pip install typer rich matplotlib")
    from fastrnn.cli.main import app

    app()


if __name__ == "__main__":
    main()
