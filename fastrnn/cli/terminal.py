"""What verify, bench and roofline print: a progress bar while they run, then tables of results."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from fastrnn import _verify
from fastrnn._bench import results as benchmark
from fastrnn._bench.roofline import with_bandwidth
from fastrnn._bench.table import tables
from fastrnn._bench.work import Work
from fastrnn._verify.table import table


def run_verify(console: Console, cases: Sequence[_verify.Case], device: str = "cpu") -> list[_verify.Result]:
    """Runs the cases and prints a table for each cell as soon as it is complete."""
    results: list[_verify.Result] = []
    with progress(console) as bar:
        task = bar.add_task("", total=len(cases))
        for name, group in groupby(cases, key=lambda case: case.name):
            bar.update(task, description=name)
            found = []
            for result in _verify.verify(list(group), device):
                found.append(result)
                bar.advance(task)
            show(console, table(found))
            results += found
    console.print(
        "Errors are the largest absolute differences from the float64 reference. The torch column is torch.nn or, for "
        "cells that torch lacks, the reference in the layer's dtype. For float64 layers the reference is no more exact "
        "than torch, so the allowed error is derived from torch's float32 errors.",
        style="dim",
    )
    return results


def run_bench(console: Console, works: Sequence[Work], **options: Any) -> dict[str, Any]:
    """Runs the benchmark and prints its tables. The options are those of `fastrnn._bench.results.run`."""
    with progress(console) as bar:
        task = bar.add_task("", total=len(works))

        def track(works: Sequence[Work]) -> Iterator[Work]:
            for work in works:
                bar.update(task, description=str(work))
                yield work
                bar.advance(task)

        results = benchmark.run(works, track=track, **options)
    for name, reason in results["left_out"].items():
        console.print(f"skipped {name}: {reason}", style="yellow")
    for each in tables(results):
        show(console, each)
    for work, reason in results["failed"].items():
        console.print(f"failed: {work}: {reason}", style="bold red")
    if results["missing"]:
        console.print(f"time budget exhausted; {results['missing']} of {len(works)} cases not measured", style="yellow")
    return results


def run_roofline(console: Console, works: Sequence[Work], **options: Any) -> dict[str, Any]:
    """Runs the benchmark, adds the memory bandwidths to its results, and prints both ceilings."""
    results = with_bandwidth(run_bench(console, works, **options))
    for threads, peak in results["machine"]["fma_peak"].items():
        console.print(f"multiply-adds on {threads} thread{'s' * (threads != '1')}: {peak:.0f} GFLOP/s")
    for size, rate in results["bandwidth"].items():
        console.print(f"{int(size) / 1024:g} KiB: read at {rate / 1e9:.0f} GB/s")
    return results


def progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console, transient=True)


def show(console: Console, table: Table) -> None:
    """Prints a table at full width: a narrow terminal wraps lines instead of losing columns."""
    before = console.width
    console.width = max(before, console.measure(table, options=console.options.update(width=1000)).maximum)
    console.print(table)
    console.print()
    console.width = before
