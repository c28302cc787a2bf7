"""Google's word2vec.c, as the package `word2vec` compiles and installs it."""

import re
import resource
import subprocess
import sysconfig
import time
from pathlib import Path
from typing import Any

PROGRAM = Path(sysconfig.get_path("scripts"), "word2vec")
PROGRESS = re.compile(rb"Progress: ([\d.]+)%")


def training(corpus: str, workers: int, sg: int, parameters: dict[str, Any]) -> dict[str, float]:
    """Seconds of an epoch, from the progress that it prints, since it reads the vocabulary in the same run."""
    options = {
        "train": corpus,
        "output": "/dev/null",
        "cbow": int(not sg),
        "size": parameters["vector_size"],
        "window": parameters["window"],
        "negative": parameters["negative"],
        "hs": 0,
        "sample": parameters["sample"],
        "min-count": parameters["min_count"],
        "threads": workers,
        "iter": 1,
        "binary": 1,
    }
    command = [str(PROGRAM), *(part for name, value in options.items() for part in (f"-{name}", str(value)))]
    times, shares = [], []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout
        while text := process.stdout.read1():
            if found := PROGRESS.findall(text):
                times.append(time.perf_counter())
                shares.append(float(found[-1]) / 100)
    if process.returncode:
        raise SystemExit(f"{command} failed with {process.returncode}")
    seconds = (times[-1] - times[0]) / (shares[-1] - shares[0])
    return {"seconds": seconds, "peak_kib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss}
