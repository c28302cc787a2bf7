"""Layers of users' cells for tests: two cells, their input and states, and what they compute by hand."""

import torch
from torch import sigmoid, tanh

import fastrnn

F64 = torch.float64


class LSTM(fastrnn.Cell):
    gates = "i f g o"
    state = "h c"

    def step(i, f, g, o, h, c):
        c = sigmoid(f) * c + sigmoid(i) * tanh(g)
        return sigmoid(o) * tanh(c), c


class GRU(fastrnn.Cell):
    input_gates = "r z n"
    recurrent_gates = "r z q"

    def step(r, z, n, q, h):
        z = sigmoid(z)
        return (1 - z) * tanh(n + sigmoid(r) * q) + z * h


def random(*shape, seed=0, dtype=F64):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def of(cell, *sizes, seed=3, **options):
    torch.manual_seed(seed)
    return fastrnn.layer(cell)(*sizes, **{"dtype": F64} | options)


def numbers(cell, *shape, seed=9):
    """The numbers per step of a cell."""
    return {name: random(*shape, 1, seed=seed).abs() + 0.1 for name in cell.declaration.per_step}


def states_of(layer, batch):
    made = [
        random(layer.num_layers * layer._directions, batch, layer.hidden_size, seed=20 + k)
        for k, _ in enumerate(layer.cell.declaration.states)
    ]
    if len(made) > 2:
        made[2] = made[2].abs() + 0.5  # n, by which a SLSTM divides
    return made


def as_given(states):
    return states[0] if len(states) == 1 else tuple(states)


def by_hand(layer, x, states=None, lengths=None, resets=None, **per_step):
    """Output (T, B, D H) and final states by single rows of one number of steps: nothing of the layer's own loop."""
    declared, (steps, batch) = layer.cell.declaration, x.shape[:2]
    lengths = [steps] * batch if lengths is None else lengths.tolist()
    finals = [[] for _ in declared.states]
    for number, suffixes in enumerate(layer._suffixes(k) for k in range(layer.num_layers)):
        outputs = []
        for d, suffix in enumerate(suffixes):
            w = {name: getattr(layer, name + suffix, None) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
            vectors = {name: getattr(layer, name + suffix) for name in declared.vectors}
            for name in declared.matrices:
                vectors[name] = getattr(layer, name + suffix).mv
            rows, last = [], []
            for b in range(batch):
                begin = {name: torch.full((layer.hidden_size,), value, dtype=x.dtype) for name, value in
                         declared.states.items()}  # fmt: skip
                now = dict(begin)
                if states is not None:
                    now = {name: s[number * len(suffixes) + d, b] for name, s in zip(now, states, strict=True)}
                row = [torch.zeros(layer.hidden_size, dtype=x.dtype)] * steps
                times = list(range(lengths[b]))
                for i, t in enumerate(times[::-1] if d else times):
                    split = resets is not None and bool(resets[t + 1 if d else t, b] if not d or i else False)
                    now = dict(begin) if split else now
                    a = {}
                    for name, kind in (("input_gates", "ih"), ("recurrent_gates", "hh")):
                        source = x[t, b] if kind == "ih" else now[next(iter(now))]
                        for g, gate in enumerate(getattr(declared, name)):
                            block = slice(g * layer.hidden_size, (g + 1) * layer.hidden_size)
                            part = w[f"weight_{kind}"][block] @ source
                            part = part if w[f"bias_{kind}"] is None else part + w[f"bias_{kind}"][block]
                            a[gate] = a[gate] + part if gate in a else part
                    given = a | now | vectors | {name: each[t, b] for name, each in per_step.items()}
                    new = declared.step(**{name: given[name] for name in declared.taken})
                    now = dict(zip(now, new if isinstance(new, tuple) else (new,), strict=True))
                    row[t] = next(iter(now.values()))
                rows.append(torch.stack(row))
                last.append(now)
            outputs.append(torch.stack(rows, 1))
            for k, name in enumerate(declared.states):
                finals[k].append(torch.stack([now[name] for now in last]))
        x = torch.cat(outputs, -1)
    return x, [torch.stack(of) for of in finals]


def assert_by_hand(layer, x, states=None, **options):
    """Values, final states and all gradients."""
    results = []
    for hand in (False, True):
        leaves = [x.clone().requires_grad_(), *(s.clone().requires_grad_() for s in states or ())]
        wanted = [*leaves, *layer.parameters()]
        given = leaves[1:] or None
        if hand:
            output, finals = by_hand(layer, leaves[0], given, **options)
        else:
            output, finals = layer(leaves[0], given and as_given(given), **options)
            finals = list(finals) if isinstance(finals, tuple) else [finals]
        loss = sum(
            (r * random(*r.shape, seed=k)).sum() for k, r in enumerate([output, *finals]) if torch.isfinite(r).all()
        )
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)
        results.append([output, *finals, *gradients])
    for found, expected in zip(*results, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12, equal_nan=False)
