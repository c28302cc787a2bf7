"""What tests of ``heads=n`` have in common: awkward sizes, and the blocks of whole matrices."""

import torch

# T, B, I, hidden units, heads: whole vectors a head, and heads that vectors straddle; many rows, few, and one; heads so
# deep that a sum goes in several chains; as many heads as units.
SHAPES = [
    (7, 40, 5, 64, 4),
    (5, 33, 3, 60, 3),
    (6, 3, 4, 20, 20),
    (1, 1, 9, 30, 6),
    (3, 20, 4, 300, 2),
    (20, 2, 3, 12, 4),
    (12, 9, 6, 130, 26),
]


def blocks(matrix, gates, heads):
    """Those on the diagonal of every gate's part of a matrix of all heads, as weight_hh has them."""
    depth = matrix.size(1) // heads
    columns = (slice(head * depth, (head + 1) * depth) for _ in range(gates) for head in range(heads))
    return torch.cat([rows[:, of] for rows, of in zip(matrix.chunk(gates * heads), columns, strict=True)])
