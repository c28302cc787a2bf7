"""Attention: each step of the decoder looks at all steps of the encoder.

The result is not an input of the decoder's recurrent layers, so the fused kernels run all their steps at once; this is
the order of Luong et al., 2015, "Effective approaches to attention-based neural machine translation".
"""

from __future__ import annotations

import torch
from torch import Tensor

SCORES = ("dot", "additive")


class Attention(torch.nn.Module):
    """Combines each query with the memory: tanh(W [context, query]).

    The context is the mean of the memory, weighted by a softmax over its S places of the scores of query q and memory
    m: q·m ("dot"; Luong et al., 2015), or v·tanh(W_q q + W_m m) ("additive"; Bahdanau et al., 2015).

    Args:
        size: of queries, memory and output.
        score: "dot" or "additive".

    Call:
        ``attention(query, memory, beyond)``: query (U, B, H), memory (S, B, H), and ``beyond`` (S, B), bool or None,
        the places to ignore; returns (U, B, H).
    """

    def __init__(self, size: int, score: str = "dot") -> None:
        super().__init__()
        if score not in SCORES:
            raise ValueError(f"Expected attention to be one of {', '.join(SCORES)}, or None, got {score!r}")
        self.score = score
        if score == "additive":
            self.of_query = torch.nn.Linear(size, size, bias=False)
            self.of_memory = torch.nn.Linear(size, size)
            self.weight = torch.nn.Linear(size, 1, bias=False)
        self.output = torch.nn.Linear(2 * size, size)

    def forward(self, query: Tensor, memory: Tensor, beyond: Tensor | None = None) -> Tensor:
        query, memory = query.transpose(0, 1), memory.transpose(0, 1)  # (B, U, H), (B, S, H)
        scores = self._scores(query, memory)  # (B, U, S)
        if beyond is not None:
            scores = scores.masked_fill(beyond.T.unsqueeze(1), -torch.inf)
        context = scores.softmax(-1) @ memory
        return self.output(torch.cat([context, query], -1)).tanh().transpose(0, 1)

    def _scores(self, query: Tensor, memory: Tensor) -> Tensor:
        if self.score == "dot":
            return query @ memory.mT
        every = self.of_query(query).unsqueeze(2) + self.of_memory(memory).unsqueeze(1)  # (B, U, S, H)
        return self.weight(every.tanh()).squeeze(-1)
