"""Three cells on one task, one of them your own: which learns to add soonest?

    python examples/own_cell.py                 # some seconds; prints the losses and writes own_cell.png

The adding problem (Hochreiter and Schmidhuber, 1997): of a sequence of random numbers two are marked, and the sum of
these two is asked for at the end. Who answers 1 each time has a loss of 1/6.
"""

import torch
from torch import sigmoid, tanh
from torch.nn.functional import mse_loss

import fastrnn
from fastrnn.cells import LiGRU


class Candidate(fastrnn.Cell):
    """A GRU without a reset gate: h' = z h + (1 - z) tanh(n)."""

    gates = "z n"

    def step(z, n, h):
        z = sigmoid(z + 1)  # at first it rather keeps
        return z * h + (1 - z) * tanh(n)


class Elman(fastrnn.Cell):
    """The plain recurrent network."""

    gates = "a"

    def step(a):
        return tanh(a)


CELLS = {"candidate": Candidate, "LiGRU": LiGRU, "Elman": Elman}


def adding(rows: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Numbers and marks (T, B, 2), one mark in each half; the sums (B, 1)."""
    x = torch.zeros(steps, rows, 2)
    x[..., 0] = torch.rand(steps, rows)
    half = steps // 2
    for first, length in ((0, half), (half, steps - half)):
        x[first + torch.randint(length, (rows,)), torch.arange(rows), 1] = 1
    return x, (x[..., 0] * x[..., 1]).sum(0).unsqueeze(1)


def losses(cell: type[fastrnn.Cell], updates: int = 400, steps: int = 20, hidden: int = 64) -> list[float]:
    """The loss of every update."""
    torch.manual_seed(0)
    layer, head = fastrnn.layer(cell)(2, hidden), torch.nn.Linear(hidden, 1)
    parameters = [*layer.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.005)
    found = []
    for _ in range(updates):
        x, sums = adding(64, steps)
        _, h_n = layer(x)
        loss = mse_loss(head(h_n[0]), sums)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        found.append(loss.item())
    return found


def plot(curves: dict[str, list[float]], path: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    axes = figure.add_subplot(xlabel="update", ylabel="loss", yscale="log", title="The adding problem, 20 steps")
    for name, curve in curves.items():
        axes.plot(torch.tensor(curve).unfold(0, 10, 1).mean(1), label=name)  # of ten updates
    axes.axhline(1 / 6, color="gray", linestyle=":", label="always 1")
    axes.legend()
    figure.savefig(path, dpi=120)


def main() -> None:
    curves = {name: losses(cell) for name, cell in CELLS.items()}
    for name, curve in curves.items():
        print(f"{name:10} loss of the last 50 updates {sum(curve[-50:]) / 50:.4f}")
    plot(curves, "own_cell.png")


if __name__ == "__main__":
    main()
