"""The results of bench/suites/word2vec.py as Markdown.

    python -m bench.pages.word2vec_table FILE.json [--into docs/benchmarks.md]

Times are medians of the turns; the faster of gensim's two modes counts. `--into` inserts the tables between the page's
marks `word2vec`.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from fastrnn._markdown import insert

Rows = list[dict[str, Any]]
TIMED = ("vocabulary", "skip-gram", "CBOW", "phrases", "phrases of a file", "analogies")
PEAK = "peak_kib"
SCORES = ("analogies", "WordSim-353", "SimLex-999")


def median(rows: Rows, task: str, way: str, what: str = "seconds") -> float | None:
    found = [row[what] for row in rows if row["task"] == task and row["way"] == way]
    return statistics.median(found) if found else None


def peer(rows: Rows, task: str, what: str = "seconds") -> float | None:
    """The better of gensim's modes."""
    found = [median(rows, task, way, what) for way in ("gensim file", "gensim sentences")]
    return min((each for each in found if each is not None), default=None)


def speed(rows: Rows) -> str:
    """A line for each task: seconds, ratios to fastrnn, and MiB."""
    lines = [
        "| | fastrnn | gensim | ratio | word2vec.c | ratio | MiB: fastrnn | gensim | word2vec.c |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for task in TIMED:
        for way, name in (("fastrnn", task), ("fastrnn deterministic", f"{task}, deterministic")):
            ours = median(rows, task, way)
            if ours is None:
                continue
            cells = [f"{ours:.2f}"]
            for theirs in (peer(rows, task), median(rows, task, "word2vec.c")):
                cells += [f"{theirs:.2f}", f"{theirs / ours:.1f}"] if theirs else ["", ""]
            peaks = (median(rows, task, way, PEAK), peer(rows, task, PEAK), median(rows, task, "word2vec.c", PEAK))
            cells += [f"{kib / 1024:.0f}" if kib else "" for kib in peaks]
            lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def accuracy(rows: Rows) -> str:
    lines = [f"| | {' | '.join(SCORES)} |", "|---|---|---|---|"]
    for task, way in dict.fromkeys((row["task"], row["way"]) for row in rows if SCORES[1] in row):
        mine = [row for row in rows if (row["task"], row["way"]) == (task, way)]
        cells = []
        for score in SCORES:
            values = [row[score] for row in mine]
            cells.append(f"{statistics.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        lines.append(f"| {task.removesuffix(' accuracy')}, {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def markdown(found: dict[str, Any]) -> str:
    machine = found["machine"]
    return "\n\n".join(
        [
            f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, gensim {found['gensim']}; "
            f"`{found['command']}`. {found.get('note', '')}",
            "Seconds, and the peak of the process's memory:",
            speed(found["rows"]),
            "Scores in per cent, the mean of the seeds and, in brackets, the lowest and the highest:",
            accuracy(found["rows"]),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    text = markdown(json.loads(options.file.read_text(encoding="utf-8")))
    if options.into:
        insert(text, "word2vec", options.into)
    else:
        print(text)


if __name__ == "__main__":
    main()
