"""Training steps of language models: fastrnn.train beside the same model, written with torch alone.

    python -m bench.suites.training --json training.json

Both have an embedding, two LSTM layers and a softmax, train on the same windows of a text with the word frequencies of
English (Zipf's law), carry the state over windows, clip the gradient and use SGD. One is LanguageModel with fit, the
other a loop with nn.LSTM, nn.Linear and F.cross_entropy. Each has its own process; they take turns, and a figure is the
median of the turns.
"""

import argparse
import json
import os
import statistics
import sys
import time
from multiprocessing import get_context
from typing import NamedTuple

import torch
from torch import nn

from fastrnn._environment import machine
from fastrnn._saving import write_text
from fastrnn.train.data.batch import Window

LR, CLIP = 20.0, 0.25


class Shape(NamedTuple):
    """Of a model and its windows; the losses of the two are means over steps * batch tokens."""

    name: str
    steps: int
    batch: int
    hidden: int
    words: int


SHAPES = (
    Shape("PTB small", 20, 20, 200, 10_000),
    Shape("PTB small, 35 steps", 35, 20, 200, 10_000),
    Shape("PTB medium", 35, 20, 650, 10_000),
)


def windows(shape, count):
    """Windows that continue each other, the most frequent word being word 0."""
    generator = torch.Generator().manual_seed(0)
    frequencies = 1 / torch.arange(1, shape.words + 1, dtype=torch.float64)
    drawn = torch.multinomial(frequencies, (count * shape.steps + 1) * shape.batch, True, generator=generator)
    rows = drawn.view(-1, shape.batch)
    starts = range(0, count * shape.steps, shape.steps)
    return [Window(rows[s : s + shape.steps], rows[s + 1 : s + 1 + shape.steps], s == 0) for s in starts]


class Fastrnn:
    """LanguageModel and fit."""

    def __init__(self, shape):
        from fastrnn.train.data.vocabulary import Vocabulary
        from fastrnn.train.models.language_model import LanguageModel

        vocabulary = Vocabulary([str(i) for i in range(shape.words)])
        self.model = LanguageModel(vocabulary, embedding=shape.hidden, hidden=shape.hidden, init_uniform=0.1)

    def train(self, data):
        from fastrnn.train import fit

        fit(
            self.model,
            data,
            epochs=1,
            optimizer="sgd",
            lr=LR,
            clip=CLIP,
            stateful=True,
            progress=False,
        )


class Torch:
    """The same with torch alone."""

    def __init__(self, shape):
        self.embedding = nn.Embedding(shape.words, shape.hidden)
        self.lstm = nn.LSTM(shape.hidden, shape.hidden, 2)
        self.output = nn.Linear(shape.hidden, shape.words)
        self.parameters = [p for m in (self.embedding, self.lstm, self.output) for p in m.parameters()]
        for parameter in self.parameters:
            nn.init.uniform_(parameter, -0.1, 0.1)
        self.optimizer = torch.optim.SGD(self.parameters, LR)

    def train(self, data):
        state = None
        for input, target, _ in data:
            if state is not None:
                state = tuple(part.detach() for part in state)
            self.optimizer.zero_grad()
            hidden, state = self.lstm(self.embedding(input), state)
            logits = self.output(hidden)
            loss = nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten())
            loss.backward()
            nn.utils.clip_grad_norm_(self.parameters, CLIP)
            self.optimizer.step()


CONTENDERS = {"fastrnn": Fastrnn, "torch": Torch}


def serve(name, threads, pipe):
    """Trains on as many windows as it is asked for, and answers with the seconds."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    contender = shape = None
    while (asked := pipe.recv()) is not None:
        if asked[0] != shape:
            shape = asked[0]
            contender = CONTENDERS[name](shape)
        data = windows(shape, asked[1])
        start = time.perf_counter()
        contender.train(data)
        pipe.send(time.perf_counter() - start)


def ask(pipe, shape, count):
    pipe.send((shape, count))
    return pipe.recv()


def row(pipes, shape, rounds, seconds):
    """Tokens a second of each contender, in turns of about the given seconds."""
    counts = {}
    for name, pipe in pipes.items():
        ask(pipe, shape, 2)  # makes the model, brings it into the cache
        counts[name] = max(2, round(2 * seconds / ask(pipe, shape, 2)))
    speeds = {name: [] for name in pipes}
    for _ in range(rounds):
        for name, pipe in pipes.items():
            time.sleep(0.05)  # the other process's threads may still spin
            speeds[name].append(counts[name] * shape.steps * shape.batch / ask(pipe, shape, counts[name]))
    found = {name: {"median": statistics.median(v), "all": [round(x, 1) for x in v]} for name, v in speeds.items()}
    times = found["fastrnn"]["median"] / found["torch"]["median"]
    return {"shape": shape._asdict(), "tokens per second": found, "times as fast": times}


def markdown(found):
    """A line for each shape."""
    of = found["machine"]
    versions = ", ".join(f"{name} {of['versions'][name]}" for name in ("python", "fastrnn", "torch"))
    lines = ["| model | steps × batch | hidden | vocabulary | fastrnn, tokens/s | torch, tokens/s | times as fast |",
             "| :-- | --: | --: | --: | --: | --: | --: |"]  # fmt: skip
    for r in found["rows"]:
        shape, speeds = Shape(**r["shape"]), r["tokens per second"]
        lines.append(
            f"| {shape.name} | {shape.steps} × {shape.batch} | {shape.hidden} | {shape.words:,} | "
            f"{speeds['fastrnn']['median']:,.0f} | {speeds['torch']['median']:,.0f} | {r['times as fast']:.2f} |"
        )
    about = f"{of['processor']}, {of['threads']} threads, {of['date']}; {versions}. `{found['command']}`"
    return f"{about}\n\n" + "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a turn")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--shapes", default="0,1", help=f"numbers of the shapes, of {len(SHAPES)}")
    options = parser.parse_args()
    command = " ".join(["python -m bench.suites.training", *sys.argv[1:]])
    found = {"machine": machine() | {"threads": options.threads}, "command": command, "rows": []}
    context, pipes = get_context("spawn"), {}
    for name in CONTENDERS:
        pipes[name], theirs = context.Pipe()
        context.Process(target=serve, args=(name, options.threads, theirs), daemon=True).start()
    for number in map(int, options.shapes.split(",")):
        found["rows"].append(row(pipes, SHAPES[number], options.rounds, options.seconds))
        measured = found["rows"][-1]
        speeds = ", ".join(f"{name} {v['median']:,.0f} tokens/s" for name, v in measured["tokens per second"].items())
        print(f"{SHAPES[number].name}: {speeds}; {measured['times as fast']:.2f} times as fast", flush=True)
        if options.json:
            write_text(options.json, json.dumps(found, indent=1) + "\n")
    for pipe in pipes.values():
        pipe.send(None)


if __name__ == "__main__":
    main()
