"""From the options of `fastrnn bench` to the pieces of work."""

from itertools import product
from typing import Any

from fastrnn._bench import cuda_grid
from fastrnn._bench.work import DTYPES, GRID, MODES, Work, parse_cells, parse_dtypes, parse_shapes, parse_threads


def choose(
    device: str,
    mode: str,
    threads: str | None,
    cells: str,
    shapes: str | None,
    full_grid: bool,
    dtype: str | None,
    memory: bool,
    **kind: Any,
) -> list[Work]:
    """Returns what to measure; raises ValueError for wrong options. None is the device's default.

    Args:
        kind: the fields of Work that describe the layer, such as num_layers.
    """
    if mode not in (*MODES, "both"):
        raise ValueError(f"--mode must be infer, train or both; got {mode!r}")
    if memory and mode == "infer":
        raise ValueError("--memory measures a training step, not inference; got --mode infer")
    modes = ("memory",) if memory else MODES if mode == "both" else (mode,)
    given_cells = parse_cells(cells)
    given_shapes = None if shapes is None else parse_shapes(shapes)
    if full_grid and (shapes is not None or device != "cuda"):
        raise ValueError(
            f"--full-grid needs --device cuda and excludes --shapes; got --device {device}, --shapes {shapes}"
        )
    if device == "cuda":
        for option, given in {"--threads": threads is not None, "--memory": memory}.items():
            if given:
                raise ValueError(f"{option} works on the CPU only; got --device cuda")
        dtypes = DTYPES["cuda"] if dtype is None else parse_dtypes(dtype, "cuda")
        if given_shapes is None and not full_grid and not any_kind(kind):
            return list(cuda_grid.default_works(modes, given_cells, dtypes))
        grid = given_shapes or (cuda_grid.FULL_GRID if full_grid else cuda_grid.GRID)
        return list(cuda_grid.works(modes, given_cells, grid, dtypes, **kind))
    cpu_dtypes = parse_dtypes(dtype or DTYPES["cpu"][0], "cpu")
    if "int8" in cpu_dtypes and modes != ("infer",):
        raise ValueError(f"--dtype int8 needs --mode infer: int8 weights are not trained; got --mode {mode}")
    return [
        Work(each, cell, count, shape, dtype=one, **kind)
        for each, count, one, cell, shape in product(
            modes,
            parse_threads(threads or "1,2"),
            cpu_dtypes,
            given_cells,
            given_shapes or GRID,
        )
    ]


def any_kind(kind: dict[str, Any]) -> bool:
    """Whether any field differs from its default."""
    return any(value != Work._field_defaults[field] for field, value in kind.items())
