"""The work of `fastrnn bench` for pytest-benchmark, to compare one commit with another: `make bench`, then
`.venv/bin/pytest-benchmark compare`. Use `fastrnn bench` for peers and published figures.
"""

from typing import Any

import pytest

from fastrnn._bench.contenders import prepare
from fastrnn._bench.work import GRID, LAYERS, MODES, Shape, Work


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", GRID, ids=str)
@pytest.mark.parametrize("cell", LAYERS)
@pytest.mark.parametrize("mode", MODES)
def test_layer(benchmark: Any, mode: str, cell: str, shape: Shape, threads: int) -> None:
    work = Work(mode, cell, threads, shape)
    benchmark.extra_info["flops"] = work.flops
    benchmark(prepare("fastrnn", work))
