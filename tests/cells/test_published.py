"""Users' cells that fastrnn has built in, or that are published otherwise: the same numbers."""

import pytest
import torch
from torch import sigmoid, tanh

import fastrnn
from fastrnn import cells
from tests.support.user_cells import F64, GRU, LSTM, as_given, of, random, states_of


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
