"""Layers of users' cells: the step as it is written, row by row and step by step, in whatever way they are called."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import sigmoid, tanh
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn import cells
from fastrnn._cell import kernels

F64 = torch.float64
CELLS = [getattr(cells, name) for name in cells.__all__]


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


@pytest.fixture(params=["kernels", "eager"])
def path(request, monkeypatch):
    """What runs the layers of a test; that it did is checked at the end."""
    runs, ran, serve, run = request.param == "kernels", [], kernels.serve, kernels.layer
    monkeypatch.setattr(kernels, "serve", lambda *given: runs and serve(*given))
    monkeypatch.setattr(kernels, "layer", lambda *given: ran.append(1) or run(*given))
    yield
    assert bool(ran) == runs


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


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_as_by_hand(cell, path):
    for hidden, biases in ((1, True), (7, False), (40, True)):
        layer = of(cell, 3, hidden, num_layers=2, bidirectional=True, bias=biases)
        x = random(6, 3, 3)
        assert_by_hand(layer, x, **numbers(cell, 6, 3))
        assert_by_hand(layer, x, states_of(layer, 3), **numbers(cell, 6, 3))


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_ragged_rows_and_resets(cell, path):
    layer = of(cell, 3, 5, num_layers=2, bidirectional=True)
    x, lengths = random(7, 5, 3), torch.tensor([3, 7, 0, 1, 7])
    resets = torch.rand(7, 5, generator=torch.Generator().manual_seed(0)) < 0.3
    x[3:, 0] = torch.nan  # beyond the end of a row
    given = numbers(cell, 7, 5)
    for states in (None, states_of(layer, 5)):
        assert_by_hand(layer, x, states, lengths=lengths, **given)
        assert_by_hand(layer, x, states, lengths=lengths, resets=resets, **given)
    assert_by_hand(layer, random(7, 5, 3), resets=resets, **given)


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_packed_as_lengths(cell, path):
    layer = of(cell, 3, 5, num_layers=2, bidirectional=True)
    x, lengths, given = random(7, 4, 3), torch.tensor([3, 7, 1, 7]), numbers(cell, 7, 4)
    expected, final, states = layer(x, as_given(states_of(layer, 4)), lengths=lengths, return_states=True, **given)
    packed = {name: pack_padded_sequence(each, lengths, enforce_sorted=False) for name, each in given.items()}
    rows = pack_padded_sequence(x, lengths, enforce_sorted=False)
    output, packed_final, every = layer(rows, as_given(states_of(layer, 4)), return_states=True, **packed)
    torch.testing.assert_close(pad_packed_sequence(output)[0], expected)
    torch.testing.assert_close(packed_final, final)
    assert every._fields == states._fields == tuple(cell.declaration.states)
    for name in every._fields:
        of_top = output._replace(data=getattr(every, name)[-1])
        torch.testing.assert_close(pad_packed_sequence(of_top)[0], getattr(states, name)[-1])


@pytest.mark.parametrize(("cell", "options"), [
    (cells.Peephole, {"peephole": True}), (cells.CIFG, {"coupled": True}), (LSTM, {}),
], ids=str)  # fmt: skip
def test_as_the_built_in_lstm(cell, options):
    layer = of(cell, 3, 6, num_layers=2, bidirectional=True)
    built_in = fastrnn.LSTM(3, 6, num_layers=2, bidirectional=True, dtype=F64, **options)
    own = {"p_i": "weight_ci", "p_f": "weight_cf", "p_o": "weight_co"}
    for name, parameter in layer.named_parameters():
        kind, _, place = name.rpartition("_l")
        getattr(built_in, f"{own.get(kind, kind)}_l{place}").data = parameter.data
    x, hx = random(5, 4, 3), as_given(states_of(layer, 4))
    torch.testing.assert_close(layer(x, hx), built_in(x, hx))


def test_as_the_built_in_gru_of_the_paper():
    """Values, states and all gradients."""
    layer = of(cells.TextbookGRU, 3, 6, num_layers=2, bidirectional=True)
    built_in = fastrnn.GRU(3, 6, num_layers=2, bidirectional=True, reset_after=False, dtype=F64)
    for place in ("l0", "l0_reverse", "l1", "l1_reverse"):
        mine = {kind: getattr(layer, f"{kind}_{place}").data for kind in ("weight_ih", "bias_ih", "weight_hh", "u")}
        bias = torch.cat([getattr(layer, f"bias_hh_{place}").data, torch.zeros(6, dtype=F64)])
        theirs = {"weight_hh": torch.cat([mine["weight_hh"], mine.pop("u")]), "bias_hh": bias}
        for kind, value in (mine | theirs).items():
            getattr(built_in, f"{kind}_{place}").data.copy_(value)
    x, hx = random(5, 4, 3).requires_grad_(), states_of(layer, 4)[0].requires_grad_()
    found, expected = layer(x, hx), built_in(x, hx)
    torch.testing.assert_close(found, expected)
    results = []
    for output, module in ((found, layer), (expected, built_in)):
        loss = sum((part * random(*part.shape, seed=k)).sum() for k, part in enumerate(output))
        names = [name for name, _ in module.named_parameters()]
        d_x, d_hx, *d_weights = torch.autograd.grad(loss, [x, hx, *module.parameters()])
        results.append({"x": d_x, "hx": d_hx} | dict(zip(names, d_weights, strict=True)))
    mine, theirs = results
    for name, value in mine.items():
        kind, _, place = name.rpartition("_l")
        whole = theirs[f"weight_hh_l{place}" if kind == "u" else name]
        part = whole[12:] if kind == "u" else whole[:12] if "hh" in kind else whole
        torch.testing.assert_close(value, part, msg=lambda m, n=name: f"{n}: {m}")


def test_as_the_built_in_layer_norm_lstm():
    """Whose biases are all after the norms: those of the user's cell are its vectors."""
    layer = of(cells.LayerNormLSTM, 3, 6, num_layers=2, bidirectional=True, bias=False)
    built_in = fastrnn.LSTM(3, 6, num_layers=2, bidirectional=True, layer_norm=True, dtype=F64)
    generator = torch.Generator().manual_seed(5)
    for name, parameter in built_in.named_parameters():
        parameter.data = torch.randn(parameter.shape, dtype=F64, generator=generator)
        kind, _, place = name.rpartition("_l")
        own = {f"{kind}_l{place}": parameter.data}
        if kind.startswith("bias_norm") or kind == "weight_norm_c":
            own = {f"{kind[0].replace('w', 'u')}_c_l{place}": parameter.data}
        elif kind.startswith("weight_norm"):
            gain = "u" if kind == "weight_norm_ih" else "w"
            own = {f"{gain}_{gate}_l{place}": part for gate, part in zip("ifgo", parameter.data.chunk(4), strict=True)}
        elif kind == "bias_ih":
            both = parameter.data
            continue
        elif kind == "bias_hh":
            both = both + parameter.data
            own = {f"b_{gate}_l{place}": part for gate, part in zip("ifgo", both.chunk(4), strict=True)}
        for mine, value in own.items():
            getattr(layer, mine).data.copy_(value)
    x, hx = random(5, 4, 3).requires_grad_(), as_given(states_of(layer, 4))
    found, expected = layer(x, hx), built_in(x, hx)
    torch.testing.assert_close(found, expected)
    weights = random(*expected[0].shape, seed=1)
    pairs = [
        (x, x),
        (layer.weight_hh_l1_reverse, built_in.weight_hh_l1_reverse),
        (layer.u_c_l0, built_in.weight_norm_c_l0),
    ]
    mine = torch.autograd.grad((found[0] * weights).sum(), [of_layer for of_layer, _ in pairs])
    theirs = torch.autograd.grad((expected[0] * weights).sum(), [of_built_in for _, of_built_in in pairs])
    torch.testing.assert_close(mine, theirs)


def test_as_the_built_in_gru():
    layer, built_in = of(GRU, 3, 6, num_layers=2), fastrnn.GRU(3, 6, num_layers=2, dtype=F64)
    built_in.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(random(5, 4, 3)), built_in(random(5, 4, 3)))


def test_slstm_as_published():
    """Without the stabiliser: c' = σ(f) c + e^i tanh z, n' = σ(f) n + e^i, h' = σ(o) c'/n'."""
    layer, x = of(cells.SLSTM, 3, 6), random(9, 2, 3)
    h = c = n = torch.zeros(2, 6, dtype=F64)
    for t in range(9):
        a = x[t] @ layer.weight_ih_l0.T + layer.bias_ih_l0 + h @ layer.weight_hh_l0.T + layer.bias_hh_l0
        i, f, z, o = a.chunk(4, 1)
        c, n = sigmoid(f) * c + i.exp() * tanh(z), sigmoid(f) * n + i.exp()
        h = sigmoid(o) * c / n
    output, (h_n, c_n, n_n, m_n) = layer(x)
    torch.testing.assert_close(output[-1], h)
    torch.testing.assert_close([h_n[0], c_n[0] * m_n[0].exp(), n_n[0] * m_n[0].exp()], [h, c, n])


def test_layouts_and_every_state(path):
    layer = of(LSTM, 3, 5, num_layers=2, bidirectional=True)
    x, hx, resets = random(6, 4, 3), states_of(layer, 4), random(6, 4) > 1
    output, final, states = layer(x, tuple(hx), resets=resets, return_states=True)
    assert states.h.shape == states.c.shape == (2, 6, 4, 10)
    torch.testing.assert_close(states.h[-1], output)
    torch.testing.assert_close([states.c[0, -1, :, :5], states.c[1, 0, :, 5:]], [final[1][0], final[1][3]])
    layer.batch_first = True
    first = layer(x.transpose(0, 1), tuple(hx), resets=resets.t(), return_states=True)
    torch.testing.assert_close(first[0].transpose(0, 1), output)
    torch.testing.assert_close(first[2].c.transpose(1, 2), states.c)
    torch.testing.assert_close(first[1], final)
    one = layer(x[:, 1], (hx[0][:, 1], hx[1][:, 1]), resets=resets[:, 1], return_states=True)
    torch.testing.assert_close(one[0], output[:, 1])
    torch.testing.assert_close(one[1][1], final[1][:, 1])
    torch.testing.assert_close(one[2].c, states.c[:, :, 1])


def test_nested():
    layer = of(GRU, 3, 5, bidirectional=True)
    rows = [random(n, 3, seed=n) for n in (4, 1, 6)]
    output, h_n = layer(torch.nested.nested_tensor(rows, layout=torch.jagged))
    for b, row in enumerate(rows):
        expected, last = layer(row)
        torch.testing.assert_close(output.unbind()[b], expected)
        torch.testing.assert_close(h_n[:, b], last)


def test_dropout_between_layers():
    with pytest.warns(UserWarning, match="no effect with num_layers=1"):
        of(GRU, 3, 5, dropout=0.5)
    layer, x = of(GRU, 3, 5, num_layers=2, dropout=0.5), random(6, 4, 3)
    torch.manual_seed(0)
    output, _, states = layer(x, return_states=True)
    torch.manual_seed(0)
    dropped = torch.nn.functional.dropout(states.h[0], 0.5)
    top = of(GRU, 5, 5)
    top.load_state_dict({name.replace("l1", "l0"): p for name, p in layer.state_dict().items() if "l1" in name})
    torch.testing.assert_close(top(dropped)[0], output)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_in_and_out(dtype, path):
    layer = of(cells.SLSTM, 3, 6, num_layers=2, dtype=torch.float32).to(dtype)
    wide = copy.deepcopy(layer).float()
    x = random(20, 4, 3, dtype=torch.float32).to(dtype)
    output, state = layer(x)
    expected, wide_state = wide(x.float())
    assert {output.dtype, *(s.dtype for s in state)} == {dtype}
    assert torch.equal(output, expected.to(dtype))
    assert torch.equal(state[1], wide_state[1].to(dtype))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(wide(x.float())[0], expected)
        assert wide(x)[0].dtype == dtype


def test_parameters_and_first_values():
    layer = of(cells.Peephole, 3, 5, num_layers=2, bidirectional=True)
    assert [(name, tuple(p.shape)) for name, p in layer.named_parameters()][-7:] == [
        ("weight_ih_l1_reverse", (20, 10)), ("weight_hh_l1_reverse", (20, 5)), ("bias_ih_l1_reverse", (20,)),
        ("bias_hh_l1_reverse", (20,)), ("p_i_l1_reverse", (5,)), ("p_f_l1_reverse", (5,)), ("p_o_l1_reverse", (5,)),
    ]  # fmt: skip
    assert all(p.abs().max() <= 5**-0.5 and p.std() > 0.05 for p in layer.parameters())
    assert set(of(cells.IndRNN, 3, 5).state_dict()) == {"weight_ih_l0", "bias_ih_l0", "u_l0"}
    assert of(cells.IndRNN, 3, 100).u_l0.min() >= 0
    ltc = of(cells.LTC, 3, 100)
    assert not ltc.log_tau_l0.any()
    assert -1 <= ltc.target_l0.min() < -0.5 < 0.5 < ltc.target_l0.max() <= 1
    assert repr(of(cells.MGU, 3, 5, num_layers=2, bias=False)) == "MGU(3, 5, num_layers=2, bias=False)"


def test_copies():
    layer, x = of(cells.SLSTM, 3, 5, num_layers=2), random(6, 4, 3)
    expected = layer(x)
    for copied in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert type(copied) is type(layer) is fastrnn.layer(cells.SLSTM)
        torch.testing.assert_close(copied(x), expected, rtol=0, atol=0)
    other = of(cells.SLSTM, 3, 5, num_layers=2, seed=4)
    other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(other(x), expected, rtol=0, atol=0)
    weights = {name: p.detach() for name, p in layer.named_parameters()}
    other.reset_parameters()
    torch.testing.assert_close(torch.func.functional_call(other, weights, (x,)), expected, rtol=0, atol=0)


class _Doubled(torch.nn.Module):
    def forward(self, x):
        return 2 * x


def test_parametrized():
    layer, x = of(cells.MGU, 3, 5), random(6, 4, 3)
    doubled = copy.deepcopy(layer)
    doubled.weight_hh_l0.data *= 2
    parametrize.register_parametrization(layer, "weight_hh_l0", _Doubled())
    torch.testing.assert_close(layer(x), doubled(x))


@pytest.mark.parametrize(
    "cell",
    [cells.SLSTM, cells.LTC, cells.Peephole, cells.LayerNormLSTM, cells.TextbookGRU],
    ids=lambda c: c.__name__,
)
def test_second_derivatives(cell, path):
    layer = of(cell, 2, 2, bidirectional=True)
    given = numbers(cell, 3, 2)
    inputs = [random(3, 2, 2).requires_grad_(), *(each.requires_grad_() for each in given.values())]

    def run(x, *per_step):
        return layer(x, **dict(zip(given, per_step, strict=True)))[0]

    assert torch.autograd.gradcheck(run, inputs)
    assert torch.autograd.gradgradcheck(run, inputs)


def test_compiled_and_exported():
    layer = of(LSTM, 3, 5, num_layers=2)
    model, x = torch.nn.Sequential(layer), random(3, 2, 3)
    expected = layer(x)
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(x), expected)
    exported = torch.export.export(layer, (x,)).module()
    torch.testing.assert_close(exported(x), expected)


def failure(kind, says, call):
    with pytest.raises(kind, match=says):
        call()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")
def test_wrong_calls():
    layer, ltc = of(LSTM, 3, 5), of(cells.LTC, 3, 5)
    x, dt = random(6, 4, 3), torch.ones(6, 4, 1, dtype=F64)
    one = torch.zeros(1, 4, 5, dtype=F64)
    failure(RuntimeError, "Expected hx to be a tuple of 2 tensors, h, c; got a Tensor", lambda: layer(x, one))
    failure(RuntimeError, "tuple of 2 tensors, h, c; got a tuple of 3", lambda: layer(x, (one,) * 3))
    failure(RuntimeError, r"the initial c of size \[1, 4, 5\]", lambda: layer(x, (one, one[:, :2])))
    failure(RuntimeError, "Expected 3, got 4", lambda: layer(random(6, 4, 4)))
    failure(RuntimeError, "at least one step", lambda: layer(x[:0]))
    failure(ValueError, "weights' dtype torch.float64, got torch.float32", lambda: layer(x.float()))
    failure(ValueError, "2D or 3D, got 4D", lambda: layer(x[None]))
    failure(ValueError, "lengths from 0 to 6", lambda: layer(x, lengths=torch.tensor([7, 1, 1, 1])))
    failure(ValueError, r"resets of size \[6, 4\]", lambda: layer(x, resets=torch.zeros(6, 3, dtype=torch.bool)))
    failure(TypeError, "unexpected keyword argument 'dt'", lambda: layer(x, dt=dt))
    failure(TypeError, "needs the numbers per step dt; pass dt=tensor", lambda: ltc(x))
    failure(ValueError, r"dt of size \[6, 4, 1\], .*, got \[6, 4\]", lambda: ltc(x, dt=dt[..., 0]))
    failure(ValueError, "dt of the input's dtype", lambda: ltc(x, dt=dt.float()))
    failure(RuntimeError, "Expected 3, got 4", lambda: ltc(random(6, 4, 4), dt=dt))
    for wrong, kind in itertools.product(
        ("input_size", "hidden_size", "num_layers"), ((0, ValueError), (1.5, TypeError))
    ):
        sizes = {"input_size": 3, "hidden_size": 5, "num_layers": 1} | {wrong: kind[0]}
        failure(kind[1], f"Expected {wrong}", lambda sizes=sizes: fastrnn.layer(LSTM)(**sizes))
    failure(ValueError, r"dropout to be a probability", lambda: fastrnn.layer(LSTM)(3, 5, dropout=2))
    failure(RuntimeError, "torch.jit.script cannot compile", lambda: torch.jit.script(layer))
