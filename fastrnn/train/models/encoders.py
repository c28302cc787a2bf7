"""Small encoders for a captioner, from a picture or vector to one vector."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor


class ConvolutionalEncoder(torch.nn.Module):
    """Pictures (B, C, H, W) to vectors (B, ``output_size``).

    For each entry of ``channels`` a 3 × 3 convolution, batch normalisation, ReLU and 2 × 2 max pooling; then a linear
    layer and ReLU. The linear layer depends on positions, so all pictures must have one size.

    Args:
        size: (C, H, W) of a picture.
        channels: of each convolution's output.
        output: the size of the vector.

    Raises:
        ValueError: the picture is too small to be halved for each of the channels.
    """

    def __init__(self, size: Sequence[int], channels: Sequence[int] = (16, 32), output: int = 128) -> None:
        super().__init__()
        depth, height, width = self.size = tuple(size)
        self.channels, self.output_size = tuple(channels), output
        layers: list[torch.nn.Module] = []
        for before, after in zip((depth, *self.channels), self.channels, strict=False):
            convolution = torch.nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, torch.nn.BatchNorm2d(after), torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
        height, width = height >> len(self.channels), width >> len(self.channels)
        if not height * width:
            raise ValueError(f"Pictures {self.size} are too small to be halved {len(self.channels)} times")
        self.layers = torch.nn.Sequential(*layers, torch.nn.Flatten())
        self.output = torch.nn.Linear((depth, *self.channels)[-1] * height * width, output)

    def forward(self, pictures: Tensor) -> Tensor:
        if pictures.shape[1:] != self.size:
            raise ValueError(f"Expected pictures (B, {', '.join(map(str, self.size))}), got {tuple(pictures.shape)}")
        return self.output(self.layers(pictures)).relu()

    def config(self) -> dict[str, Any]:
        return {"size": list(self.size), "channels": list(self.channels), "output": self.output_size}


class DenseEncoder(torch.nn.Module):
    """Vectors (B, ``size``) to vectors (B, ``output_size``): linear layers, each with ReLU.

    Args:
        size: of the input.
        hidden: output sizes of all layers but the last.
        output: output size of the last layer.
    """

    def __init__(self, size: int, hidden: Sequence[int] = (), output: int = 128) -> None:
        super().__init__()
        self.size, self.hidden, self.output_size = size, tuple(hidden), output
        sizes = (size, *self.hidden, output)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(before, after) for before, after in pairwise(sizes))

    def forward(self, vectors: Tensor) -> Tensor:
        if vectors.shape[1:] != (self.size,):
            raise ValueError(f"Expected vectors (B, {self.size}), got {tuple(vectors.shape)}")
        for layer in self.layers:
            vectors = layer(vectors).relu()
        return vectors

    def config(self) -> dict[str, Any]:
        return {"size": self.size, "hidden": list(self.hidden), "output": self.output_size}


# The encoders that a saved captioner may name.
ENCODERS = {each.__name__: each for each in (ConvolutionalEncoder, DenseEncoder)}
