"""The results of bench/word2vec.py as Markdown.

    python bench/word2vec_table.py FILE.json [--into README.md]

Times are medians of the turns; of gensim's two ways the faster one counts. `--into` puts the tables between the page's
marks `word2vec`.
"""

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from fastrnn.page import insert

Rows = list[dict[str, Any]]
TIMED = ("vocabulary", "skip-gram", "CBOW", "phrases", "phrases, file", "analogies")
SCORES = ("analogies", "WordSim-353", "SimLex-999")


def median(rows: Rows, task: str, way: str, what: str = "seconds") -> float | None:
    found = [row[what] for row in rows if row["task"] == task and row["way"] == way]
    return statistics.median(found) if found else None


def peer(rows: Rows, task: str, what: str = "seconds") -> float | None:
    """Of gensim's ways the better one."""
    found = [median(rows, task, way, what) for way in ("gensim file", "gensim sentences")]
    return min((each for each in found if each is not None), default=None)


def speed(rows: Rows) -> str:
    lines = ["| | gensim | fastrnn | ratio | MiB, gensim | MiB, fastrnn |", "|---|---|---|---|---|---|"]

    def line(name: str, theirs: float | None, ours: float, memory: tuple[float | None, float]) -> None:
        ratio = f"{theirs / ours:.1f}" if theirs else ""
        cells = [name, f"{theirs:.2f}" if theirs else "", f"{ours:.2f}", ratio]
        cells += [f"{kib / 1024:.0f}" if kib else "" for kib in memory]
        lines.append("| " + " | ".join(cells) + " |")

    for task in TIMED:
        for way, name in (("fastrnn", task), ("fastrnn deterministic", f"{task}, deterministic")):
            ours, memory = median(rows, task, way), median(rows, task, way, "peak_kib")
            if ours is not None and memory is not None:
                line(name, peer(rows, task), ours, (peer(rows, task, "peak_kib"), memory))
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--into", type=Path)
    options = parser.parse_args()
    found = json.loads(options.file.read_text(encoding="utf-8"))
    machine = found["machine"]
    text = "\n\n".join(
        [
            f"{machine['processor']}, {machine['cores']} cores, {machine['date']}, gensim {found['gensim']}; "
            f"`{found['command']}`. Seconds, and the peak of the process's memory:",
            speed(found["rows"]),
            "Scores in per cent, the mean of the seeds and, in brackets, the lowest and the highest:",
            accuracy(found["rows"]),
        ]
    )
    if options.into:
        insert(text, "word2vec", options.into)
    else:
        print(text)


if __name__ == "__main__":
    main()
