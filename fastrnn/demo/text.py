"""The text: the documentation that ships inside CPython, as one long row of characters."""

from typing import NamedTuple

import torch
from torch import Tensor


class Text(NamedTuple):
    """Characters as numbers; `alphabet[number]` is the character."""

    alphabet: str
    train: Tensor
    validation: Tensor

    def encode(self, characters: str) -> Tensor:
        """Returns the numbers of the characters: int64 (length,)."""
        return torch.tensor([self.alphabet.index(character) for character in characters])

    def decode(self, numbers: Tensor) -> str:
        return "".join(self.alphabet[number] for number in numbers.tolist())


def load_text(validation_share: float = 0.1) -> Text:
    """Reads Python's own documentation, as `help("topics")` shows it; its last part is kept for validation."""
    from pydoc_data.topics import topics

    characters = "\n".join(topics[name] for name in sorted(topics))
    alphabet = "".join(sorted(set(characters)))
    number_of = {character: number for number, character in enumerate(alphabet)}
    numbers = torch.tensor([number_of[character] for character in characters])
    split = round(len(numbers) * (1 - validation_share))
    return Text(alphabet, numbers[:split], numbers[split:])


def streams(numbers: Tensor, batch: int) -> Tensor:
    """Cuts a text of N characters into rows that are read side by side: (N // batch, batch), time first."""
    length = len(numbers) // batch
    return numbers[: length * batch].view(batch, length).t().contiguous()


def bigram_loss(text: Text) -> float:
    """The baseline: validation loss, in nats a character, of guessing each character from the one before it.

    Probabilities are the counts in the training text plus one (Laplace's rule of succession).
    """
    size = len(text.alphabet)
    pairs = text.train[:-1] * size + text.train[1:]
    counts = torch.bincount(pairs, minlength=size * size).view(size, size) + 1.0
    log_probability = (counts / counts.sum(1, keepdim=True)).log()
    return -float(log_probability[text.validation[:-1], text.validation[1:]].mean())


def unigram_loss(text: Text) -> float:
    """The baseline below that: how often each character occurs is all that is known."""
    counts = torch.bincount(text.train, minlength=len(text.alphabet)) + 1.0
    return -float((counts / counts.sum()).log()[text.validation].mean())
