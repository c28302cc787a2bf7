"""A convolution over time before recurrent layers: detects short patterns; a stride shortens the series."""

from __future__ import annotations

from torch import Tensor, nn

from fastrnn.train.models.pooling import beyond


class Convolution(nn.Module):
    """Convolution over time with ReLU, (T, B, F) to (ceil(T / stride), B, channels).

    Args:
        features: F.
        channels: filters.
        kernel: the width of a filter in steps, odd; zeros pad both ends.
        stride: steps from one output to the next.
    """

    def __init__(self, features: int, channels: int, kernel: int = 5, stride: int = 1):
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"Expected kernel to be odd, so that it has a centre, got {kernel}")
        self.channels, self.stride = channels, stride
        self.filters = nn.Conv1d(features, channels, kernel, stride, padding=kernel // 2)

    def forward(self, input: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The output and its lengths; values beyond a sequence's length are read as zeros."""
        if lengths is not None:
            input = input.masked_fill(beyond(len(input), lengths, input.device).unsqueeze(2), 0)
            lengths = (lengths + self.stride - 1) // self.stride
        return self.filters(input.permute(1, 2, 0)).relu().permute(2, 0, 1), lengths
