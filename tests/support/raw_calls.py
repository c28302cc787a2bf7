"""Calls of the operators by hand: the arguments of right ones, by name, and ways to spoil them."""

import torch

from fastrnn import _C, ops
from tests.support.twins import random

CELLS = _C.cells()


def right_call(cell="lstm", *, lengths=None, times=3, batch=2, inputs=5, hidden=6, projection=0, biases=True,
               directions=1, heads=1, dtype=torch.float32):  # fmt: skip
    """The arguments of forward, all but ``save`` and ``recompute``."""
    described, output = CELLS[cell], projection or hidden
    input_gates, recurrent_gates = described["input_gates"] * hidden, described["recurrent_gates"] * hidden
    sizes = [(input_gates, inputs), (recurrent_gates, output // heads)]
    sizes += [(input_gates,), (recurrent_gates,)] if biases else []
    sizes += [(output, hidden)] if projection else []
    sizes += [(size * hidden,) for size in described["vectors"].values()]
    rows = (times, batch, inputs) if lengths is None else (sum(lengths), inputs)
    batch = batch if lengths is None else lengths[0]
    return {
        "cell": cell,
        "input": random(*rows, dtype=dtype),
        "batch_sizes": None if lengths is None else torch.tensor(lengths),
        "h0": random(directions, batch, output, dtype=dtype),
        "c0": random(directions, batch, hidden, dtype=dtype) if described["carries_c"] else None,
        "weights": [random(*size, dtype=dtype) / 3 for size in sizes] * directions,
        "biases": biases,
        "bidirectional": directions == 2,
        "batch_first": False,
        "projected": projection > 0,
        "heads": heads,
    }


def with_masks(call):
    """The call with recurrent dropout and with zoneout of all that the cell has."""
    directions, batch, output = call["h0"].shape

    def mask(*sizes):
        return random(*sizes, dtype=call["input"].dtype).sigmoid()

    rows = call["input"].shape[:-1]
    zoneout_c = None if call["c0"] is None else mask(*rows, directions * call["c0"].size(2))
    zoneout_h = mask(*rows, directions * output)
    return call | {"recurrent_mask": mask(directions, batch, output), "zoneout_h": zoneout_h, "zoneout_c": zoneout_c}


def forward(call, save=False, recompute=False):
    return ops.forward(**call, save=save, recompute=recompute)


def backward(call):
    return ops.backward(**call)


def infer(call, num_layers=1):
    return ops.infer(**call, num_layers=num_layers)


def backward_call(call, recompute=False):
    """The arguments of the backward call that follows a forward call."""
    output, hn, cn, saved = forward(call, True, recompute)
    incoming = {"d_output": torch.ones_like(output), "d_hn": torch.ones_like(hn)}
    incoming["d_cn"] = None if call["c0"] is None else torch.ones_like(cn)
    needs = [True, True, call["c0"] is not None, *([True] * len(call["weights"]))]
    return call | incoming | {"output": output, "saved": saved, "needs": needs, "recompute": recompute}


def replaced(call, name, change):
    """``call`` with ``change`` of one argument; "weights2" is the third weight."""
    if name.startswith("weights"):
        weights = list(call["weights"])
        weights[int(name[-1])] = change(weights[int(name[-1])])
        return call | {"weights": weights}
    return call | {name: change(call[name])}


def resized(t, bytes_left):
    """``t`` with its storage cut to so many bytes, as FSDP frees parameters."""
    t = t.clone()
    t.untyped_storage().resize_(bytes_left)
    return t


def views(t):
    """``t`` as it may lie in memory: equal numbers, other strides."""
    spread = torch.empty(*[2 * n for n in t.shape], dtype=t.dtype)[tuple([slice(None, None, 2)] * t.dim())]
    yield spread.copy_(t)
    yield t.transpose(0, -1).contiguous().transpose(0, -1)
    yield torch.complex(t, -t).conj().imag  # the negative bit
    yield t.movedim(-1, 0).contiguous().movedim(0, -1)
