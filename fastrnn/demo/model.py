"""A character language model: embedding, LSTM, and a guess at the next character."""

import torch
from torch import Tensor, nn

import fastrnn

State = tuple[Tensor, Tensor]


class CharacterModel(nn.Module):
    """Predicts each next character of a text from all the characters before it."""

    def __init__(self, alphabet_size: int, embedding_size: int = 64, hidden_size: int = 256) -> None:
        super().__init__()
        self.embedding = nn.Embedding(alphabet_size, embedding_size)
        self.lstm: nn.Module = fastrnn.LSTM(embedding_size, hidden_size)
        self.output = nn.Linear(hidden_size, alphabet_size)

    def forward(self, characters: Tensor, state: State | None = None) -> tuple[Tensor, State]:
        """Reads characters (T, B) on from a state; returns logits (T, B, alphabet) and the new state."""
        hidden, state = self.lstm(self.embedding(characters), state)
        return self.output(hidden), state

    @torch.inference_mode()
    def generate(self, prompt: Tensor, length: int, temperature: float, generator: torch.Generator) -> Tensor:
        """Continues a prompt (T,) by sampling `length` characters, one at a time, from the softened guesses."""
        logits, state = self(prompt[:, None])
        found = []
        for _ in range(length):
            probabilities = (logits[-1, 0] / temperature).softmax(0)
            character = torch.multinomial(probabilities, 1, generator=generator)
            found.append(character)
            logits, state = self(character[None], state)
        return torch.cat(found)
