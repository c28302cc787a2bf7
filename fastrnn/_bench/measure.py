"""The measurement: contenders take turns, each in its own process, and the minimum counts.

- One process each, because thread pools of several runtimes in one process disturb each other.
- Turns, so that a change in the machine's speed affects all of them.
- The minimum over the rounds of a block's mean: other load on the machine only ever adds time.
- Three fresh setups, because the addresses that the allocator happens to choose can change the time by a factor.
- One-thread work runs on each core in turn, since a neighbour may slow down one of them for seconds.
"""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from typing import Any

from fastrnn._bench.work import Work

SETUPS = 3
WARM_UP = 3
PAUSE = 0.01  # seconds; the previous contender's threads may still spin
LIBRARIES = {"frozen": "fastrnn"}  # what a contender's process imports, where that is not its name


class ContenderError(RuntimeError):
    """An error in a contender's process."""


class Contender:
    """A process that prepares and times work for one contender."""

    def __init__(self, name: str, target: Callable[[str, Connection], None] | None = None) -> None:
        context = multiprocessing.get_context("spawn")
        self.name = name
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=target or serve, args=(name, theirs), daemon=True)
        self.process.start()
        theirs.close()
        self.missing: ImportError | None = self.pipe.recv()

    def prepare(self, work: Work) -> float:
        """Sets the work up and warms it up; returns the seconds of one call."""
        return self.ask(work)

    def growth(self, work: Work) -> float:
        """Returns the bytes of memory that a training step takes. The process should be fresh."""
        return self.ask(work)

    def block(self, repeats: int, cores: set[int] | None) -> float:
        """Returns the mean seconds per call over `repeats` calls on these cores."""
        return self.ask((repeats, cores))

    def ask(self, request: Any) -> float:
        self.pipe.send(request)
        answer = self.pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        self.pipe.close()
        self.process.terminate()
        self.process.join()


class Contest:
    """The processes of the installed contenders, during a `with` block; `missing` has the reasons for the others."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = tuple(names)

    def __enter__(self) -> "Contest":
        started = [Contender(name) for name in self.names]
        self.contenders = {c.name: c for c in started if not c.missing}
        self.missing = {c.name: str(c.missing) for c in started if c.missing}
        return self

    def __exit__(self, *exception: object) -> None:
        for contender in self.contenders.values():
            contender.close()

    def seconds(self, work: Work, names: Iterable[str], rounds: int = 18, block: float = 0.02) -> dict[str, float]:
        """Measures seconds per call of each named contender; `block` is the seconds of one turn."""
        entered = [self.contenders[name] for name in names if name in self.contenders]
        times: dict[str, list[float]] = {contender.name: [] for contender in entered}
        for _ in range(SETUPS):
            repeats = {c.name: max(1, round(block / c.prepare(work))) for c in entered}
            for _, cores in zip(range(max(1, rounds // SETUPS)), places(work.threads), strict=False):
                for contender in entered:
                    time.sleep(PAUSE)
                    times[contender.name].append(contender.block(repeats[contender.name], cores))
        return {name: min(values) for name, values in times.items()}

    def bytes(self, work: Work, names: Iterable[str]) -> dict[str, float]:
        """Measures the bytes that a training step of each named contender takes, each in a fresh process."""
        found = {}
        for name in names:
            if name in self.contenders:
                fresh = Contender(name)
                try:
                    found[name] = fresh.growth(work)
                finally:
                    fresh.close()
        return found


def places(threads: int) -> Iterator[set[int] | None]:
    """Yields the cores to run on, endlessly: each in turn for one thread, else all; None if they cannot be chosen."""
    everywhere = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    while True:
        if everywhere and threads == 1:
            yield from ({core} for core in sorted(everywhere))
        else:
            yield everywhere


def serve(name: str, pipe: Connection) -> None:
    """Runs in the contender's process: reports whether it can be imported, then answers requests.

    To a Work it sets that work up and answers with the seconds of one call, or in mode "memory" with bytes; to
    (repeats, cores) it answers with the mean seconds per call.
    """
    try:
        __import__(LIBRARIES.get(name, name))
        if name in ("onnxruntime", "openvino"):
            __import__("onnx")  # they get the layer as an ONNX model
    except ImportError as error:
        pipe.send(error)
        return
    pipe.send(None)
    from fastrnn._bench.contenders import prepare
    from fastrnn._bench.memory import growth

    run: Any = None
    while True:
        try:
            request = pipe.recv()
        except EOFError:
            return
        try:
            if isinstance(request, Work) and request.mode == "memory":
                pipe.send(growth(name, request))
                continue
            if isinstance(request, Work):
                run = None  # first frees the memory of the previous work
                run = prepare(name, request)
                for _ in range(WARM_UP):
                    run()
                repeats, cores = 1, None
            else:
                repeats, cores = request
                if cores:
                    move(cores)
                run()
            start = time.perf_counter()
            for _ in range(repeats):
                run()
            pipe.send((time.perf_counter() - start) / repeats)
        except Exception as error:  # not every exception can be pickled; the parent raises this one
            pipe.send(ContenderError(f"{type(error).__name__} in {name}: {error}"))


def move(cores: set[int]) -> None:
    """Moves every thread of this process to these cores."""
    for thread in os.listdir("/proc/self/task"):
        os.sched_setaffinity(int(thread), cores)
