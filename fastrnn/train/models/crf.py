"""A linear-chain conditional random field over tags (Lafferty, McCallum and Pereira, 2001).

A path of tags y_0 … y_{n-1} scores

    s(y) = start[y_0] + sum_t emission[t, y_t] + sum_t transition[y_{t-1}, y_t] + end[y_{n-1}]

and has the probability exp(s(y)) / Z. Z sums over all K^n paths; the forward algorithm computes it in n K^2 steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

# The score of a forbidden transition. Its probability is zero in every dtype for training except float16, and unlike
# -inf it causes no NaN in the gradient where all transitions into a tag are forbidden.
FORBIDDEN = -1e4


class LinearChainCRF(nn.Module):
    """Scores of paths of K tags, given emissions (T, B, K) of a network.

    Args:
        tags: the number of tags, K.
        allowed: the allowed transitions from one tag to the next, bool (K, K); by default all.
        allowed_first: the tags that may begin a path, bool (K,); by default all.
    """

    allowed: Tensor
    allowed_first: Tensor

    def __init__(self, tags: int, allowed: Tensor | None = None, allowed_first: Tensor | None = None):
        super().__init__()
        self.transition = nn.Parameter(
            torch.empty(tags, tags).uniform_(-0.1, 0.1)
        )  # from the row's tag to the column's
        self.start = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        self.end = nn.Parameter(torch.empty(tags).uniform_(-0.1, 0.1))
        every = torch.ones(tags, tags, dtype=torch.bool)
        self.register_buffer("allowed", every if allowed is None else allowed, persistent=False)
        self.register_buffer("allowed_first", every[0] if allowed_first is None else allowed_first, persistent=False)

    def forward(self, emissions: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The log-probability (B,) of the tags (T, B) of each sequence; tags beyond a length are not read."""
        return self.score(emissions, tags, lengths) - self.log_partition(emissions, lengths)

    def score(self, emissions: Tensor, tags: Tensor, lengths: Tensor | None = None) -> Tensor:
        """s(y), (B,), of the paths ``tags`` (T, B).

        Raises:
            ValueError: a path has a forbidden transition, so its probability would be zero.
        """
        lengths, real = _steps(emissions, lengths)
        tags = tags.masked_fill(~real, 0)
        self._check(tags, real)
        start, transition = self._scores()
        emissions = emissions.to(transition.dtype)  # under autocast they have 16 bits, too few for long sums
        score = emissions.gather(2, tags.unsqueeze(2)).squeeze(2).masked_fill(~real, 0).sum(0)
        score = score + transition[tags[:-1], tags[1:]].masked_fill(~real[1:], 0).sum(0)
        last = tags.gather(0, (lengths - 1).unsqueeze(0)).squeeze(0)
        return score + start[tags[0]] + self.end[last]

    def log_partition(self, emissions: Tensor, lengths: Tensor | None = None) -> Tensor:
        """log Z, (B,): the forward algorithm in log space, for all sequences in parallel."""
        _, real = _steps(emissions, lengths)
        start, transition = self._scores()
        forward = start + emissions[0]  # (B, K): log-sum of the scores of all paths so far that end with each tag
        for emission, here in zip(emissions[1:].unbind(), real[1:].unbind(), strict=True):
            step = torch.logsumexp(forward.unsqueeze(2) + transition, dim=1) + emission
            forward = torch.where(here.unsqueeze(1), step, forward)
        return torch.logsumexp(forward + self.end, dim=1)

    @torch.no_grad()
    def best(self, emissions: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The path with the highest score, int64 (T, B) with -100 beyond a length, and its score (B,): Viterbi."""
        _, real = _steps(emissions, lengths)
        start, transition = self._scores()
        score, back = start + emissions[0], []
        stay = torch.arange(score.shape[1], device=score.device).expand_as(score)
        for emission, here in zip(emissions[1:].unbind(), real[1:].unbind(), strict=True):
            step, source = (score.unsqueeze(2) + transition).max(dim=1)
            score = torch.where(here.unsqueeze(1), step + emission, score)
            back.append(torch.where(here.unsqueeze(1), source, stay))  # beyond the end a tag points to itself
        highest, tag = (score + self.end).max(dim=1)
        path = [tag]
        for source in reversed(back):
            tag = source.gather(1, tag.unsqueeze(1)).squeeze(1)
            path.append(tag)
        return torch.stack(path[::-1]).masked_fill(~real, -100), highest

    def _scores(self) -> tuple[Tensor, Tensor]:
        """Start and transition scores, with forbidden ones far below all others."""
        return (
            self.start.masked_fill(~self.allowed_first, FORBIDDEN),
            self.transition.masked_fill(~self.allowed, FORBIDDEN),
        )

    def _check(self, tags: Tensor, real: Tensor) -> None:
        wrong = (tags < 0) | (tags >= len(self.start))
        if wrong.any():
            t, b = (int(i) for i in wrong.nonzero()[0])
            raise ValueError(
                f"sequence {b} has the tag {int(tags[t, b])} at step {t}; "
                f"every step within its length needs a tag from 0 to {len(self.start) - 1}"
            )
        bad = ~self.allowed[tags[:-1], tags[1:]] & real[1:]
        if bad.any():
            t, b = (int(i) for i in bad.nonzero()[0])
            raise ValueError(
                f"sequence {b} goes from tag {int(tags[t, b])} to tag {int(tags[t + 1, b])} at step {t + 1}, "
                "which the rules of the CRF forbid; correct the data or change the rules"
            )
        if not self.allowed_first[tags[0]].all():
            b = int((~self.allowed_first[tags[0]]).nonzero()[0])
            raise ValueError(
                f"sequence {b} begins with tag {int(tags[0, b])}, which the rules of the CRF forbid; correct the data "
                "or change the rules"
            )


def bio_rules(tags: Sequence[str]) -> tuple[Tensor, Tensor]:
    """The transitions (K, K) and first tags (K,) that BIO allows: I-X only after B-X or I-X."""
    inside = [tag[2:] if tag.startswith("I-") else None for tag in tags]
    of = [tag[2:] if tag[:2] in ("B-", "I-") else None for tag in tags]
    allowed = [[to is None or to == before for to in inside] for before in of]
    return torch.tensor(allowed), torch.tensor([to is None for to in inside])


def _steps(emissions: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """The lengths (B,), and the steps (T, B) within them, on the device of the emissions."""
    steps, batch = emissions.shape[:2]
    if lengths is None:
        lengths = torch.full((batch,), steps)
    if len(lengths) != batch or int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(f"expected {batch} lengths from 1 to {steps}, got {lengths.tolist()}")
    lengths = lengths.to(emissions.device)
    return lengths, torch.arange(steps, device=emissions.device).unsqueeze(1) < lengths
