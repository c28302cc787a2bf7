"""`fastrnn word2vec …`: reads options, calls what does the work, prints tables."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table

from fastrnn.word2vec.vectors import WordVectors

app = typer.Typer(help="Word vectors: evaluate them, look at them.", no_args_is_help=True)
console = Console()
Vectors = Annotated[Path, typer.Argument(help="A file of word2vec's (text, or binary as .bin), GloVe's or fastrnn's.")]


def fail(error: BaseException) -> NoReturn:
    """Ends the command with a line that says what is wrong."""
    message = error.args[0] if isinstance(error, KeyError) else error
    Console(stderr=True).print(f"fastrnn: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(2)


def read(file: Path, limit: int | None) -> WordVectors:
    try:
        return WordVectors.read(file, limit)
    except (ValueError, OSError) as error:
        fail(error)


@app.command("eval")
def evaluate(
    vectors: Vectors,
    analogies: Annotated[list[Path] | None, typer.Option(help="Questions, as in questions-words.txt.")] = None,
    pairs: Annotated[list[Path] | None, typer.Option(help="Lines of two words and a number, between tabs.")] = None,
    restrict: Annotated[int, typer.Option(min=1, help="Only so many first words take part.")] = 300000,
) -> None:
    """Answer analogies, and compare similarities with people's judgements."""
    if not (analogies or pairs):
        fail(ValueError("eval needs --analogies FILE or --pairs FILE; got neither"))
    loaded = read(vectors, None)
    try:
        for file in analogies or []:
            table = Table("section", "right", "of", "%", title=file.name)
            for section in loaded.evaluate_word_analogies(file, restrict)[1]:
                right, of = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
                table.add_row(section["section"], str(right), str(of), f"{100 * right / of:.1f}" if of else "–")
            console.print(table)
        for file in pairs or []:
            pearson, spearman, unknown = loaded.evaluate_word_pairs(file, restrict_vocab=restrict)
            table = Table("correlation", "value", "p", title=file.name, caption=f"{unknown:.1f} % of the pairs unknown")
            table.add_row("Pearson", f"{pearson.statistic:.4f}", f"{pearson.pvalue:.1e}")
            table.add_row("Spearman", f"{spearman.statistic:.4f}", f"{spearman.pvalue:.1e}")
            console.print(table)
    except (ValueError, OSError) as error:
        fail(error)


@app.command()
def neighbours(
    vectors: Vectors,
    words: Annotated[list[str], typer.Argument(help="Words; each gets a table.")],
    topn: Annotated[int, typer.Option(min=1, help="How many neighbours.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only so many first words.")] = None,
) -> None:
    """Show the words nearest to each of some words."""
    loaded = read(vectors, limit)
    try:
        answers = loaded.similar_by_word(words, topn=topn)
    except KeyError as error:
        fail(error)
    for word, answer in zip(words, answers, strict=True):
        table = Table("neighbour", "cosine", title=word)
        for key, value in answer:
            table.add_row(key, f"{value:.4f}")
        console.print(table)
