"""`python -m fastrnn.word2vec …` is `fastrnn word2vec …`, and what torchrun starts."""

import sys


def main() -> None:
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ImportError as error:
        sys.exit(f"fastrnn: the command line needs {error.name}: pip install 'fastrnn[cli]'")
    from fastrnn.word2vec.cli import app

    app()


if __name__ == "__main__":
    main()
