"""Puts the committed results into README.md, docs/benchmarks.md and docs/cuda.md, and draws README's picture.

    python -m bench.pages

To commit new results, name their file here and run this; tests/package/test_pages.py compares pages and files.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.clients import tables
from bench.gpu import beside_torch
from bench.pages import front_page, word2vec_table
from bench.suites import busy_neighbour, features, linear_cross_entropy, training, user_cells_table
from fastrnn._bench.table import markdown as bench_markdown
from fastrnn._markdown import insert
from fastrnn._verify.table import markdown as verify_markdown

ROOT = Path(__file__).parents[2]
README, PICTURE = ROOT / "README.md", ROOT / "docs" / "speed.png"
BENCHMARKS, CUDA = ROOT / "docs" / "benchmarks.md", ROOT / "docs" / "cuda.md"
RESULTS = {
    "verify": "2026-11-26-amd-epyc-zen5-verify.json",
    "bench": "2026-11-26-amd-epyc-zen5-cpu.json",
    "bench-ice-lake": "2026-11-23-xeon-2.8ghz-cpu-ruler.json",
    "bench-stacked": "2026-11-23-xeon-2.8ghz-stacked.json",
    "bench-bidirectional": "2026-11-23-xeon-2.8ghz-bidirectional.json",
    "few": "2026-11-26-amd-epyc-zen5-few.json",
    "low-precision": "2026-11-26-amd-epyc-zen5-low-precision.json",
    "busy": "2026-11-26-amd-epyc-zen5-busy.json",
    "loss": "2026-11-26-amd-epyc-zen5-linear-cross-entropy.json",
    "features": "2026-11-27-amd-epyc-zen5-features.json",
    "features-avx2": "2026-11-27-amd-epyc-zen3-features.json",
    "user-cells": "2026-11-27-amd-epyc-zen5-user-cells.json",
    "recurrent-ppo": "2026-11-26-amd-epyc-zen5-recurrent-ppo.json",
    "awd-lstm": "2026-11-26-amd-epyc-zen5-awd-lstm.json",
    "tirex2": "2026-11-27-amd-epyc-zen5-tirex2.json",
    "training": "2026-11-26-amd-epyc-zen5-training.json",
    "word2vec": "2026-11-23-amd-epyc-word2vec.json",
}
ON_CUDA = "2026-11-27-h100-kernels.json"
FEATURES_ON_CUDA = {
    "features-on-cuda": "2026-11-27-nvidia-h200-features.json",
    "features-step": "2026-11-27-nvidia-h200-features-step.json",
}


def load(topic: str) -> dict[str, Any]:
    return read(RESULTS[topic])


def read(file: str) -> dict[str, Any]:
    return json.loads((ROOT / "bench" / "results" / file).read_text(encoding="utf-8"))


def blocks() -> dict[tuple[Path, str], str]:
    """The Markdown between the marks of each topic on each page."""
    markdown: dict[str, Callable[[Any], str]] = {
        "verify": verify_markdown,
        "busy": busy_neighbour.markdown,
        "loss": linear_cross_entropy.markdown,
        "features": features.markdown,
        "features-avx2": features.markdown,
        "user-cells": user_cells_table.markdown,
        "recurrent-ppo": tables.recurrent_ppo,
        "awd-lstm": tables.awd_lstm,
        "tirex2": tables.tirex2,
        "training": training.markdown,
        "word2vec": word2vec_table.markdown,
    }
    found = {(BENCHMARKS, topic): markdown.get(topic, bench_markdown)(load(topic)) for topic in RESULTS}
    found[CUDA, "beside-torch"] = beside_torch.markdown(read(ON_CUDA)["beside_torch"])
    for topic, file in FEATURES_ON_CUDA.items():
        found[CUDA, topic] = features.markdown(read(file))
    found[README, "numbers"] = front_page.numbers(load("bench"), load("word2vec"), load("verify"))
    return found


def main() -> None:
    for (page, topic), text in blocks().items():
        insert(text, topic, page)
    front_page.draw(load("bench"), PICTURE)


if __name__ == "__main__":
    main()
