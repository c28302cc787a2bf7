"""`fastrnn word2vec …`: reads options, calls the package and prints tables."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastrnn.cli.console import Commands, check_outputs, fail
from fastrnn.cli.console import console as new_console
from fastrnn.word2vec.model import Word2Vec
from fastrnn.word2vec.phrases import Phrases
from fastrnn.word2vec.settings import SYNC_WORDS, Settings
from fastrnn.word2vec.vectors import WordVectors

app = typer.Typer(
    cls=Commands,
    help="Train, evaluate and query word vectors.",
    no_args_is_help=True,
    add_completion=False,
)
console = new_console()
Vectors = Annotated[Path, typer.Argument(help="Vectors in word2vec's, GloVe's or fastrnn's format.")]
Corpus = Annotated[Path, typer.Argument(help="Text file, one sentence per line; may be .gz, .xz or .bz2.")]
DEFAULTS = Settings()


def read(file: Path, limit: int | None) -> WordVectors:
    try:
        return WordVectors.read(file, limit)
    except (ValueError, OSError) as error:
        fail(error)


@app.command()
def train(
    corpus: Corpus,
    out: Annotated[Path, typer.Option(help="Output file: word2vec binary if it ends in .bin, else text.")],
    skip_gram: Annotated[bool, typer.Option("--sg", help="Use skip-gram instead of CBOW.")] = bool(DEFAULTS.sg),
    vector_size: Annotated[int, typer.Option(help="Dimension of the vectors.")] = DEFAULTS.vector_size,
    window: Annotated[int, typer.Option(help="Context words on either side.")] = DEFAULTS.window,
    min_count: Annotated[int, typer.Option(help="Ignore words rarer than this.")] = DEFAULTS.min_count,
    sample: Annotated[float, typer.Option(help="Randomly skip words more frequent than this.")] = DEFAULTS.sample,
    negative: Annotated[int, typer.Option(help="Negative samples per pair; 0 for none.")] = DEFAULTS.negative,
    hierarchical: Annotated[bool, typer.Option("--hs", help="Use hierarchical softmax.")] = bool(DEFAULTS.hs),
    alpha: Annotated[float, typer.Option(help="Initial learning rate.")] = DEFAULTS.alpha,
    epochs: Annotated[int, typer.Option(help="Passes over the corpus.")] = DEFAULTS.epochs,
    seed: Annotated[int, typer.Option(help="Random seed.")] = DEFAULTS.seed,
    workers: Annotated[int | None, typer.Option(help="Number of threads; by default one per core.")] = None,
    deterministic: Annotated[bool, typer.Option("--deterministic", help="Same bits for any --workers.")] = False,
    sync_words: Annotated[int, typer.Option(help="With torchrun: words between two merges.")] = SYNC_WORDS,
) -> None:
    """Train word vectors on a text file.

    With several processes or machines: torchrun --nproc-per-node N -m fastrnn.word2vec train …
    """
    distributed = "TORCHELASTIC_RUN_ID" in os.environ  # torch itself detects torchrun by it
    is_first = True
    if distributed:
        import torch.distributed as dist

        from fastrnn.word2vec.distributed import DistributedWord2Vec

        dist.init_process_group("gloo")
        is_first = dist.get_rank() == 0
    if is_first:
        check_outputs({"--out": out}, {"the corpus": corpus})
    settings: dict[str, Any] = {
        "sg": int(skip_gram),
        "vector_size": vector_size,
        "window": window,
        "min_count": min_count,
        "sample": sample,
        "negative": negative,
        "hs": int(hierarchical),
        "alpha": alpha,
        "epochs": epochs,
        "seed": seed,
    }
    columns = ("{task.description}", "{task.fields[speed]}", "{task.fields[loss]}")
    bar = Progress(
        TextColumn(columns[0], markup=False),
        BarColumn(),
        *(TextColumn(column, markup=False) for column in columns[1:]),
        TimeElapsedColumn(),
        console=console,
        disable=not is_first,
    )
    try:
        with bar:
            task = bar.add_task("vocabulary", total=None, speed="", loss="")

            def show(epoch: int, done: int, words: int, loss: float) -> None:
                passed = bar.tasks[0].elapsed or 0
                speed = f"{(epoch * words + done) / max(passed, 1e-9) / 1e6:.2f} M words/s"
                bar.update(
                    task,
                    description=f"epoch {epoch + 1} of {epochs}",
                    total=epochs * words,
                    completed=epoch * words + done,
                    speed=speed,
                    loss=f"loss {loss:.4f}",
                )

            options = settings | {"workers": workers, "deterministic": deterministic, "progress": show}
            model = DistributedWord2Vec(sync_words=sync_words, **options) if distributed else Word2Vec(**options)
            model.build_vocab(corpus_file=corpus)
            bar.reset(task)
            model.train(corpus_file=corpus)
        if is_first:
            model.wv.save_word2vec_format(out, binary=out.suffix == ".bin")
    except (ValueError, TypeError, OSError, EOFError, RuntimeError) as error:
        fail(error)
    finally:
        if distributed:
            dist.destroy_process_group()
    if is_first:
        console.print(f"Wrote {len(model.wv)} vectors of size {vector_size} to {out}.", highlight=False)


@app.command()
def phrases(
    corpus: Corpus,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the corpus with joined phrases here, instead of showing them."),
    ] = None,
    min_count: Annotated[float, typer.Option(help="Ignore words and pairs rarer than this.")] = 5,
    threshold: Annotated[float, typer.Option(help="A pair scoring above this is a phrase.")] = 10.0,
    scoring: Annotated[str, typer.Option(help='"default" or "npmi".')] = "default",
    delimiter: Annotated[str, typer.Option(help="Text between the words of a phrase.")] = "_",
    topn: Annotated[int, typer.Option(min=1, help="Number of phrases to show.")] = 20,
) -> None:
    """Find phrases, such as new york, in a text file."""
    check_outputs({"--out": out}, {"the corpus": corpus})
    try:
        found = Phrases(
            corpus_file=corpus, min_count=min_count, threshold=threshold, scoring=scoring, delimiter=delimiter
        )
        if out:
            found.apply_file(corpus, out)
            return
        best = sorted(found.export_phrases().items(), key=lambda item: -item[1])
    except (ValueError, OSError, EOFError) as error:
        fail(error)
    table = Table("phrase", "score", caption=f"{len(best)} phrases")
    for phrase, score in best[:topn]:
        table.add_row(phrase, f"{score:.4g}")
    console.print(table)


@app.command("eval")
def evaluate(
    vectors: Vectors,
    analogies: Annotated[list[Path] | None, typer.Option(help="Analogies, as in questions-words.txt.")] = None,
    pairs: Annotated[
        list[Path] | None, typer.Option(help="Word pairs: lines of two words and a number, separated by tabs.")
    ] = None,
    restrict: Annotated[int, typer.Option(min=1, help="Use only this many most frequent words.")] = 300000,
) -> None:
    """Evaluate vectors by analogies or by human similarity judgements."""
    if not (analogies or pairs):
        fail(ValueError("give --analogies FILE or --pairs FILE, got neither"))
    loaded = read(vectors, None)
    try:
        for file in analogies or []:
            table = Table("section", "correct", "of", "%", title=file.name)
            for section in loaded.evaluate_word_analogies(file, restrict)[1]:
                right, of = len(section["correct"]), len(section["correct"]) + len(section["incorrect"])
                table.add_row(section["section"], str(right), str(of), f"{100 * right / of:.1f}" if of else "–")
            console.print(table)
        for file in pairs or []:
            pearson, spearman, unknown = loaded.evaluate_word_pairs(file, restrict_vocab=restrict)
            table = Table("correlation", "value", "p", title=file.name, caption=f"{unknown:.1f} % of pairs unknown")
            table.add_row("Pearson", f"{pearson.statistic:.4f}", f"{pearson.pvalue:.1e}")
            table.add_row("Spearman", f"{spearman.statistic:.4f}", f"{spearman.pvalue:.1e}")
            console.print(table)
    except (ValueError, OSError) as error:
        fail(error)


@app.command()
def neighbours(
    vectors: Vectors,
    words: Annotated[list[str], typer.Argument(help="Words to look up.")],
    topn: Annotated[int, typer.Option(min=1, help="Number of neighbours per word.")] = 10,
    limit: Annotated[int | None, typer.Option(min=1, help="Read only this many first words.")] = None,
) -> None:
    """Show the nearest neighbours of words."""
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
