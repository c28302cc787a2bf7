"""Calls by hand of the operators of users' cells."""

import torch

from tests.support.user_cells import numbers, of, random, states_of

F32 = torch.float32
T, B = 5, 3
LENGTHS = torch.tensor([2, 5, 0])
RESETS = torch.rand(T, B, generator=torch.Generator().manual_seed(0)) < 0.3


def arguments(cell, *, packed=False, dtype=F32, **given):
    """Of cell_forward, by name."""
    layer = of(cell, 3, 4, bidirectional=True, dtype=dtype)
    shape = (7,) if packed else (T, B)
    return {
        "program": layer._kernel.program,
        "input": random(*shape, 3, dtype=dtype),
        "batch_sizes": torch.tensor([3, 3, 1]) if packed else None,
        "lengths": None,
        "resets": None,
        "per_step": [n.to(dtype) for n in numbers(cell, *shape).values()] or None,
        "states": [state.to(dtype) for state in states_of(layer, B)],
        "weights": [w.detach() for of in layer._weights()[0] for w in of.tensors() if w is not None],
        "biases": True,
        "every_state": True,
    } | given


def backward_arguments(given, every, last, saved):
    """Of cell_backward, after cell_forward of these arguments."""
    given = dict(given)
    given.pop("every_state")
    needed = 1 + sum(len(given[name] or ()) for name in ("per_step", "states", "weights"))
    incoming = {"d_every": [torch.ones_like(every[0]), *[torch.empty(0)] * (len(every) - 1)]}
    incoming["d_last"] = [torch.ones_like(t) for t in last]
    return {"program": given.pop("program"), **incoming, **given, "every": every, "saved": saved,
            "needs": [True] * needed}  # fmt: skip
