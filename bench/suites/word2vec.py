"""fastrnn.word2vec beside gensim and word2vec.c: the same file and parameters, in turns, each task in its own process.

    python -m bench.suites.word2vec CORPUS [--tasks TASKS] [--analogies questions-words.txt] [--json FILE]

CORPUS is a text file with words between blanks. gensim reads it in both of its ways; the faster one counts. Words per
second are those of the corpus, before subsampling, over the time of training without the vocabulary. Accuracy takes
`--epochs` epochs for every seed, which is most of the time. Results are written to the file after every task. Needs
fastrnn[bench]; its package word2vec is word2vec.c, which only runs on Linux.
"""

import argparse
import json
import multiprocessing
import resource
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from bench.peers import word2vec_c

PARAMETERS: dict[str, Any] = {
    "vector_size": 100,
    "window": 5,
    "negative": 5,
    "sample": 1e-4,
    "min_count": 5,
}
ALPHA, MIN_ALPHA = 0.025, 0.0001  # the first and last learning rate, the default of all three
MOST_FREQUENT = 30_000  # words among which an analogy is looked for
WAYS = ("gensim file", "gensim sentences", "fastrnn", "fastrnn deterministic")
TASKS = ("vocabulary", "skip-gram", "CBOW", "phrases", "phrases of a file", "analogies")
TASKS += ("skip-gram accuracy", "CBOW accuracy")
SAME_RATE = "fastrnn, the rate of gensim file"


def model(way: str, corpus: str, epochs: int, workers: int, **options: Any) -> tuple[Any, dict[str, Any]]:
    """A model without a vocabulary, and how it is given the corpus."""
    options = PARAMETERS | {"epochs": epochs, "workers": workers} | options
    if way.startswith("gensim"):
        from gensim.models.word2vec import LineSentence, Word2Vec

        return Word2Vec(**options), (
            {"corpus_file": corpus} if way == "gensim file" else {"corpus_iterable": LineSentence(corpus)}
        )
    from fastrnn.word2vec import Word2Vec

    if way == "fastrnn deterministic":
        options["deterministic"] = True
    if way == SAME_RATE:  # see accuracy()
        share = (epochs - 1 + 1 / workers) / epochs
        options["min_alpha"] = ALPHA - (ALPHA - MIN_ALPHA) * share
    return Word2Vec(**options), {"corpus_file": corpus}


def vocabulary(way: str, corpus: str, workers: int) -> dict[str, float]:
    new, given = model(way, corpus, 1, workers)
    start = time.perf_counter()
    new.build_vocab(**given)
    return {"seconds": time.perf_counter() - start}


def training(way: str, corpus: str, workers: int, sg: int, epochs: int = 1, seed: int = 1) -> dict[str, float]:
    if way == "word2vec.c":
        return word2vec_c.training(corpus, workers, sg, PARAMETERS)
    new, given = model(way, corpus, epochs, workers, sg=sg, seed=seed)
    new.build_vocab(**given)
    start = time.perf_counter()
    new.train(**given, total_examples=new.corpus_count, total_words=new.corpus_total_words, epochs=epochs)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "words_per_second": new.corpus_total_words * epochs / seconds}


def accuracy(way: str, corpus: str, workers: int, sg: int, epochs: int, seed: int, analogies: str) -> dict[str, float]:
    """Per cent of analogies that are right, and Spearman's correlation with what people said, times 100.

    From a file, gensim's learning rate does not fall to min_alpha: each of its workers goes through its share of the
    corpus, but measures its progress against the whole. With 2 workers and 5 epochs it falls by nine tenths of what it
    should. SAME_RATE is fastrnn with a min_alpha to which the rate falls as far as that.
    """
    new, given = model(way, corpus, epochs, workers, sg=sg, seed=seed)
    new.build_vocab(**given)
    new.train(**given, total_examples=new.corpus_count, total_words=new.corpus_total_words, epochs=epochs)
    vectors = new.wv
    tests = files("gensim").joinpath("test/test_data")
    found = {"analogies": 100 * vectors.evaluate_word_analogies(analogies, restrict_vocab=MOST_FREQUENT)[0]}
    for name, file in (("WordSim-353", "wordsim353.tsv"), ("SimLex-999", "simlex999.txt")):
        found[name] = 100 * float(vectors.evaluate_word_pairs(str(tests / file))[1][0])
    return found


def analogy_time(way: str, corpus: str, workers: int, analogies: str) -> dict[str, float]:
    """Seconds to answer all analogies, with arbitrary vectors. Imports, torch's included, do not count."""
    import torch  # noqa: F401

    new, given = model(way, corpus, 1, workers)
    new.build_vocab(**given)
    start = time.perf_counter()
    new.wv.evaluate_word_analogies(analogies, restrict_vocab=MOST_FREQUENT)
    return {"seconds": time.perf_counter() - start}


def phrases(way: str, corpus: str) -> dict[str, float]:
    """Seconds to find the phrases of lists of words and to join them in all of these."""
    if way.startswith("gensim"):
        from gensim.models.phrases import Phrases
    else:
        from fastrnn.word2vec import Phrases
    with open(corpus, encoding="utf-8") as lines:
        sentences = [line.split() for line in lines]
    start = time.perf_counter()
    found = Phrases(sentences).freeze()  # frozen, gensim's joins faster
    joined = sum(len(sentence) for sentence in found[sentences])
    return {"seconds": time.perf_counter() - start, "words": joined}


def phrases_file(way: str, corpus: str) -> dict[str, float]:
    """The same from a file to a file."""
    if way.startswith("gensim"):
        from gensim.models.phrases import Phrases
        from gensim.models.word2vec import LineSentence
    else:
        from fastrnn.word2vec import Phrases
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory, "joined.txt")
        start = time.perf_counter()
        if way.startswith("gensim"):
            found = Phrases(LineSentence(corpus)).freeze()
            with out.open("w", encoding="utf-8") as file:
                file.writelines(" ".join(sentence) + "\n" for sentence in found[LineSentence(corpus)])
        else:
            Phrases(corpus_file=corpus).apply_file(corpus, out)
        return {"seconds": time.perf_counter() - start, "bytes": out.stat().st_size}


def machine() -> dict[str, Any]:
    from fastrnn._environment import machine

    return machine()


def _child(pipe: Any, task: Callable[..., dict[str, Any]], arguments: dict[str, Any]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = task(**arguments)
    pipe.send({"peak_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, "idle_kib": before} | found)


def measured(task: Callable[..., dict[str, Any]], **arguments: Any) -> dict[str, Any]:
    """What a task returns in a process of its own, and the process's peak of memory."""
    context = multiprocessing.get_context("spawn")
    pipe, theirs = context.Pipe()
    process = context.Process(target=_child, args=(theirs, task, arguments))
    process.start()
    theirs.close()
    try:
        return pipe.recv()
    except EOFError:
        raise SystemExit(f"{task.__name__} failed with {arguments}") from None
    finally:
        process.join()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--epochs", type=int, default=5, help="of the trainings whose accuracy is compared")
    parser.add_argument("--seeds", default="1,2,3", help="of these trainings")
    parser.add_argument("--analogies", default=str(files("gensim").joinpath("test/test_data/questions-words.txt")))
    parser.add_argument("--tasks", default=",".join(TASKS), help="comma separated; by default all")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if not Path(options.corpus).is_file():
        parser.error(f"{options.corpus} is no file")
    tasks = options.tasks.split(",")
    if unknown := {*tasks} - {*TASKS}:
        parser.error(f"--tasks are of {', '.join(TASKS)}; got {', '.join(sorted(unknown))}")
    shared = {"corpus": options.corpus, "workers": options.workers}
    rows: list[dict[str, Any]] = []
    found = {
        # Asked for in another process: torch, loaded in this one, would count as the others' memory.
        "machine": {key: value for key, value in measured(machine).items() if not key.endswith("_kib")},
        "gensim": version("gensim"),
        "command": shlex.join(["python", "-m", "bench.suites.word2vec", *sys.argv[1:]]),
        "rows": rows,
    }

    def keep(row: dict[str, Any]) -> dict[str, Any]:
        rows.append(row)
        if options.json:
            from fastrnn._saving import write_text

            write_text(options.json, json.dumps(found, indent=1) + "\n")
        return row

    def in_turns(name: str, task: Callable[..., dict[str, float]], ways: tuple[str, ...], **arguments: Any) -> None:
        if name not in tasks:
            return
        for turn in range(options.rounds):
            for way in ways:
                keep({"task": name, "way": way, "turn": turn} | measured(task, way=way, **arguments))
        for way in ways:
            times = [row["seconds"] for row in rows if row["task"] == name and row["way"] == way]
            print(f"{name:22} {way:22} best {min(times):8.2f} s, median {statistics.median(times):8.2f}", flush=True)

    in_turns("vocabulary", vocabulary, WAYS[:3], **shared)
    trained = (*WAYS, "word2vec.c") if word2vec_c.PROGRAM.exists() else WAYS
    in_turns("skip-gram", training, trained, **shared, sg=1)
    in_turns("CBOW", training, trained, **shared, sg=0)
    in_turns("phrases", phrases, WAYS[1:3], corpus=options.corpus)
    in_turns("phrases of a file", phrases_file, WAYS[1:3], corpus=options.corpus)
    in_turns("analogies", analogy_time, WAYS[2:3], **shared, analogies=options.analogies)
    for sg, name in ((1, "skip-gram"), (0, "CBOW")):
        if f"{name} accuracy" not in tasks:
            continue
        for seed in map(int, options.seeds.split(",")):
            for way in (*WAYS[:3], SAME_RATE):
                arguments = {"sg": sg, "epochs": options.epochs, "seed": seed, "analogies": options.analogies}
                row = {"task": f"{name} accuracy", "way": way, "seed": seed}
                scores = keep(row | measured(accuracy, way=way, **shared, **arguments))
                print(row, {key: round(value, 2) for key, value in scores.items() if key not in row}, flush=True)


if __name__ == "__main__":
    main()
