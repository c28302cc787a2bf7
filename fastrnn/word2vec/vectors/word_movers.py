"""The Word Mover's Distance: an optimal transport between the words of two documents (Kusner et al., 2015)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from fastrnn.word2vec.vectors.keys import Key
from fastrnn.word2vec.vectors.lookup import Lookup
from fastrnn.word2vec.vectors.norms import unit


def word_movers_distance(vectors: Lookup, document1: Sequence[Key], document2: Sequence[Key], norm: bool) -> float:
    """See :meth:`fastrnn.word2vec.WordVectors.wmdistance`."""
    points, masses = [], []
    for document in (document1, document2):
        if isinstance(document, str):
            raise TypeError(f"Expected documents as lists of words, got {document!r}; use document.split()")
        counts = Counter(vectors.get_index(key) for key in document if key in vectors)
        if not counts:
            return math.inf
        rows = vectors.vectors[list(counts)]
        points.append((unit(rows) if norm else rows).astype(np.float64))
        masses.append(np.array(list(counts.values())) / counts.total())
    costs = np.sqrt(((points[0][:, None] - points[1]) ** 2).sum(axis=2))
    return transport_cost(costs, masses[0], masses[1])


def transport_cost(costs: np.ndarray, supply: np.ndarray, demand: np.ndarray) -> float:
    """The least cost of moving ``supply`` (n,) to ``demand`` (m,), which have the same sum, at ``costs`` (n, m).

    Minimise sum(flow * costs) over flow >= 0 whose row sums are the supply and whose column sums are the demand. This
    is a linear program, which scipy's HiGHS solves exactly.
    """
    try:
        from scipy.optimize import linprog
        from scipy.sparse import eye_array, kron, vstack
    except ImportError as error:
        raise ImportError("wmdistance needs scipy. Type: pip install scipy") from error
    n, m = costs.shape
    rows, columns = kron(eye_array(n), np.ones((1, m))), kron(np.ones((1, n)), eye_array(m))
    solved = linprog(costs.ravel(), A_eq=vstack([rows, columns]), b_eq=np.concatenate([supply, demand]), method="highs")
    if not solved.success:
        raise RuntimeError(f"the solver found no optimal transport: {solved.message}")
    return max(float(solved.fun), 0.0)
