"""What `fastrnn demo` runs: verify, a short benchmark, and a character language model trained on Python's own text."""

from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from fastrnn import terminal, verify
from fastrnn.bench.plot import plot
from fastrnn.bench.work import GATES, MODES, Shape, Work
from fastrnn.demo.model import CharacterModel
from fastrnn.demo.report import Run, plot_loss, write_report
from fastrnn.demo.text import Text, bigram_loss, load_text, unigram_loss
from fastrnn.demo.train import BATCH, WINDOW, Step, seconds_per_step, train, validation_loss, windows

SHAPES = (Shape(1, 1, 64, 64), Shape(100, 1, 256, 256), Shape(35, 20, 200, 200))


def run(out: Path, epochs: int, console: Console) -> bool:
    """Runs it all and leaves report.md, speed.png and loss.png in a folder; returns whether verify was content."""
    out.mkdir(parents=True, exist_ok=True)
    console.rule("Numbers")
    verified = terminal.run_verify(console, verify.all_cases(quick=True))
    console.rule("Speed")
    threads = torch.get_num_threads()
    works = [Work(mode, cell, threads, shape) for mode in MODES for cell in GATES for shape in SHAPES]
    results = terminal.run_bench(console, works, rounds=6, command="fastrnn demo")
    plot(results, out / "speed.png")
    console.rule("A character language model")
    trained = language_model(console, epochs)
    plot_loss(out / "loss.png", trained)
    write_report(out, verified, results, trained)
    console.print(f"{out / 'report.md'} has all of it, with speed.png and loss.png.")
    return all(result.passed for result in verified)


def language_model(console: Console, epochs: int) -> Run:
    """Trains the model with a progress bar and prints what it writes."""
    torch.manual_seed(0)
    text = load_text()
    model = CharacterModel(len(text.alphabet))
    step_seconds = seconds_per_step(model, text)
    per_epoch = len(list(windows(text.train)))
    steps: list[Step] = []
    validation = {0: validation_loss(model, text)}
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:.0f} %", markup=False),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=epochs * per_epoch)
        for step in train(model, text, epochs):
            steps.append(step)
            speed = BATCH * WINDOW / step.seconds
            bar.update(task, advance=1, description=f"loss {step.loss:.3f}, {speed:,.0f} characters/s")
            if step.number % (per_epoch // 4) == 0:
                validation[step.number] = validation_loss(model, text)
            if step.number % per_epoch == 0:
                validation[step.number] = validation_loss(model, text)
                epoch = step.number // per_epoch
                console.print(
                    f"epoch {epoch} of {epochs}: validation loss {validation[step.number]:.3f} nats a character"
                )
    sample = write_sample(model, text)
    console.print("\nWhat it writes:\n", style="bold")
    console.print(sample, highlight=False)
    console.print()
    parameters = sum(weight.numel() for weight in model.parameters())
    return Run(text, parameters, epochs, steps, validation, unigram_loss(text), bigram_loss(text), step_seconds, sample)


def write_sample(model: CharacterModel, text: Text, prompt: str = "The ", length: int = 600) -> str:
    """Lets the model go on from a prompt."""
    generator = torch.Generator().manual_seed(0)
    return prompt + text.decode(model.generate(text.encode(prompt), length, 0.7, generator))
