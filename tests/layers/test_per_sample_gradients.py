"""Gradients of the weights for each sample: one call of the backward operator, whatever vmap is nested in, and the
values of a loop over the samples. Forward mode against finite differences."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
from fastrnn import ops
from fastrnn._core import operators
from tests.support.twins import CELLS, make, random

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F64 = torch.float64
LENGTHS = [5, 3, 2]


def weights_of(model):
    return {name: p.detach() for name, p in model.named_parameters()}


def loss(layer, weights, x, hx=None):
    """Of padded or unbatched input, or of the data of a packed sequence."""
    given = PackedSequence(x, pack_padded_sequence(torch.ones(5, 3, 1), LENGTHS).batch_sizes) if len(x) == 10 else x
    output, final = functional_call(layer, weights, (given, hx))
    results = (output.data if isinstance(output, PackedSequence) else output, *torch.utils._pytree.tree_leaves(final))
    return sum((t * (i + 1)).sin().sum() for i, t in enumerate(results))


def looped(function, xs):
    found = [function(x) for x in xs]
    return {name: torch.stack([of[name] for of in found]) for name in found[0]}


@pytest.fixture
def calls(monkeypatch):
    """The groups of every call of the backward operator."""
    seen, run = [], operators.run_backward
    monkeypatch.setattr(operators, "run_backward", lambda call, given: seen.append(call.groups) or run(call, given))
    return seen


@pytest.mark.parametrize(
    ("samples", "options"),
    [
        ((6, 4, 1, 3), {}),
        ((6, 4, 3), {}),  # unbatched
        ((3, 4, 2, 3), {"bidirectional": True, "num_layers": 2}),  # samples of several rows
        ((3, 2, 90, 3), {"batch_first": True}),  # more steps than a chunk has
        ((3, 10, 3), {"bidirectional": True}),  # packed
        ((2, 4, 1, 3), {"bias": False}),
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", CELLS)
def test_are_those_of_a_loop(cell, samples, options, calls):
    layer, xs = make(fastrnn, cell, 3, 5, dtype=F64, **options), random(*samples)
    found = vmap(grad(lambda w, x: loss(layer, w, x)), (None, 0))(weights_of(layer), xs)
    assert calls == [samples[0]] * layer.num_layers
    expected = looped(lambda x: grad(lambda w: loss(layer, w, x))(weights_of(layer)), xs)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("threads", [1, 3])
def test_of_wide_layers_on_several_threads(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    layer, xs = make(fastrnn, "gru", 40, 70, dtype=torch.float32), random(9, 70, 1, 40, dtype=torch.float32)
    try:
        found = vmap(grad(lambda w, x: loss(layer, w, x)), (None, 0))(weights_of(layer), xs)
        expected = looped(lambda x: grad(lambda w: loss(layer, w, x))(weights_of(layer)), xs)
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("cell", ["rnn_relu", "gru_reset_before", "lstm_projected", "peephole_lstm"])
class TestNested:
    def test_vmap_of_vmap(self, cell, calls):
        layer, xs = make(fastrnn, cell, 3, 4, dtype=F64), random(3, 2, 5, 1, 3)
        one = grad(lambda w, x: loss(layer, w, x))
        found = vmap(vmap(one, (None, 0)), (None, 0))(weights_of(layer), xs)
        assert calls == [6]
        expected = looped(lambda part: looped(lambda x: one(weights_of(layer), x), part), xs)
        torch.testing.assert_close(found, expected)
        single = vmap(vmap(one, (None, 0)), (None, 0))(weights_of(layer), xs[:, :1])
        torch.testing.assert_close(single, {name: value[:, :1] for name, value in expected.items()})

    def test_second_derivatives(self, cell):
        """Of the squared norm of each sample's gradient, as in gradient penalties."""
        layer, xs = make(fastrnn, cell, 2, 4, dtype=F64), random(3, 3, 1, 2)
        one = grad(lambda w, x: loss(layer, w, x))

        def penalty(w, xs, each):
            return sum(value.square().sum() for value in each(w, xs).values())

        def at_once(w, xs):
            return vmap(one, (None, 0))(w, xs)

        def by_loop(w, xs):
            return looped(lambda x: one(w, x), xs)

        found, expected = (grad(penalty, (0, 1))(weights_of(layer), xs, each) for each in (at_once, by_loop))
        torch.testing.assert_close(found, expected)

    def test_of_a_backward_pass_recorded_outside(self, cell, calls):
        layer, x = make(fastrnn, cell, 3, 4, dtype=F64), random(4, 2, 3)
        y, leaves = layer(x)[0], list(layer.parameters())
        v = torch.stack([torch.ones_like(y), y.detach().cos(), y.detach().sin()])
        found = torch.autograd.grad(y, leaves, v, retain_graph=True, is_grads_batched=True)
        again = vmap(lambda v: torch.autograd.grad(y, leaves, v, retain_graph=True))(v)
        assert calls == [3, 3]
        for i in range(3):
            expected = torch.autograd.grad(y, leaves, v[i], retain_graph=True)
            for many in (found, again):
                torch.testing.assert_close([g[i] for g in many], list(expected))


def operands(cell="gru", groups=2, steps=3, batch=4, **options):
    layer = make(fastrnn, cell, 2, 3, dtype=F64, **options)
    x, weights = random(steps, batch, 2), [w.detach() for w in layer.parameters()]
    output, _, _, saved = ops.forward(cell, x, None, None, None, weights, True, False, False, True)
    needs = [True, False, False, *[True] * len(weights)]
    names = ("cell", "d_output", "d_hn", "d_cn", "input", "batch_sizes", "h0", "c0", "weights", "output", "saved")
    given = (cell, output.cos(), None, None, x, None, None, None, weights, output, saved)
    return dict(zip(names, given, strict=True)) | {
        "biases": True,
        "bidirectional": False,
        "batch_first": False,
        "needs": needs,
        "groups": groups,
    }


def test_the_operators_groups_are_rows_by_their_remainder():
    found = ops.backward(**operands(groups=2))
    whole = ops.backward(**operands(groups=0))
    each = ops.backward(**operands(groups=4))
    torch.testing.assert_close(found[0], whole[0])
    for of_two, of_all, of_four in zip(found[3:], whole[3:], each[3:], strict=True):
        torch.testing.assert_close(of_two.sum(0), of_all)
        torch.testing.assert_close(of_two[0], of_four[0] + of_four[2])
        torch.testing.assert_close(of_two[1], of_four[1] + of_four[3])


def test_the_operators_groups_are_differentiable_and_have_shapes():
    arguments = operands("lstm", groups=2, steps=2, batch=2)
    torch.library.opcheck(ops.backward, (), arguments, test_utils=("test_schema", "test_faketensor"))
    weights = [w.requires_grad_() for w in arguments["weights"]]

    def computed(d_output, x, *weights):
        output, _, _, saved = ops.forward("lstm", x, None, None, None, weights, True, False, False, True)
        given = arguments | {"input": x, "weights": list(weights), "d_output": d_output, "output": output.detach()}
        found = ops.backward(**given | {"saved": saved.detach()})
        return tuple(t for t in found if t.numel())

    d_output, x = arguments["d_output"].requires_grad_(), arguments["input"].requires_grad_()
    assert gradcheck(computed, (d_output, x, *weights))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": 3}, "Expected groups that divide the 4 rows of a step, or 0, got 3"),
        ({"groups": -1}, "Expected groups that divide the 4 rows of a step, or 0, got -1"),
        ({"groups": 1 << 62}, "Expected groups that divide the 4 rows of a step"),
        ({"recompute": True, "saved": torch.zeros(1, 0, dtype=F64)}, "Expected groups=0 with recompute"),
    ],
)
def test_groups_that_cannot_be(changes, message):
    with pytest.raises(RuntimeError, match=message):
        ops.backward(**operands() | changes)


def test_recompute_and_weights_of_ones_own_are_a_call_each(calls):
    layer, xs = make(fastrnn, "lstm", 3, 4, dtype=F64), random(3, 5, 1, 3)
    ensemble = {name: torch.stack([w * (1 + i) for i in range(3)]) for name, w in weights_of(layer).items()}
    found = vmap(grad(lambda w, x: loss(layer, w, x)))(ensemble, xs)
    assert calls == [0, 0, 0]
    for i in range(3):
        expected = grad(lambda w, i=i: loss(layer, w, xs[i]))({name: w[i] for name, w in ensemble.items()})
        torch.testing.assert_close({name: value[i] for name, value in found.items()}, expected)


class Classifier(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.embedding, self.layer, self.out = nn.Embedding(7, 3), layer, nn.Linear(5, 2)

    def forward(self, tokens):
        return self.out(self.layer(self.embedding(tokens))[0][:, -1])


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_clipped_per_sample_gradients_as_in_differential_privacy(cell, calls):
    """Opacus' functional mode: functional_call, vmap(grad), and the norm of each sample's gradient clipped."""
    model = Classifier(make(fastrnn, cell, 3, 5, batch_first=True)).double()
    tokens, target = torch.randint(7, (6, 4)), torch.randint(2, (6,))
    weights = weights_of(model)

    def of_sample(weights, tokens, target):
        logits = functional_call(model, weights, (tokens.unsqueeze(0),))
        return nn.functional.cross_entropy(logits, target.unsqueeze(0))

    def clipped(samples):
        norms = torch.stack([value.flatten(1).norm(dim=1) for value in samples.values()], 1).norm(dim=1)
        factor = (0.5 / (norms + 1e-6)).clamp(max=1.0)
        assert (factor < 1).any()
        return {name: torch.einsum("i,i...", factor, value) for name, value in samples.items()}

    found = clipped(vmap(grad(of_sample), (None, 0, 0))(weights, tokens, target))
    assert calls == [6]
    pairs = list(zip(tokens, target, strict=True))
    expected = clipped(looped(lambda pair: grad(of_sample)(weights, *pair), pairs))
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("default")  # those of Opacus
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_a_step_of_opacus(cell):
    """Its functional mode: it clips and adds up per-sample gradients that vmap made. Against plain SGD, row by row."""
    pytest.importorskip("opacus", reason="Opacus is not installed, whose optimizer this runs")
    from opacus.grad_sample import GradSampleModuleNoOp
    from opacus.optimizers import DPOptimizer

    model = GradSampleModuleNoOp(Classifier(make(fastrnn, cell, 3, 5, num_layers=2, batch_first=True)).double())
    tokens, target = torch.randint(7, (6, 4)), torch.randint(2, (6,))
    before = {name: weight.clone() for name, weight in weights_of(model).items()}

    def of_sample(weights, tokens, target):
        logits = functional_call(model, weights, (tokens.unsqueeze(0),))
        return nn.functional.cross_entropy(logits, target.unsqueeze(0))

    sgd = torch.optim.SGD(model.parameters(), lr=1.0)
    optimizer = DPOptimizer(sgd, noise_multiplier=0.0, max_grad_norm=0.5, expected_batch_size=6)
    found = vmap(grad(of_sample), (None, 0, 0))(before, tokens, target)
    for name, weight in model.named_parameters():
        weight.grad_sample = found[name]
    optimizer.step()
    change = {name: torch.zeros_like(weight) for name, weight in before.items()}
    for row, label in zip(tokens, target, strict=True):
        of_row = grad(of_sample)(before, row, label)
        norm = torch.stack([value.norm() for value in of_row.values()]).norm()
        assert norm > 0.5  # so that each is clipped
        for name, value in of_row.items():
            change[name] -= 0.5 / (norm + 1e-6) * value / 6
    for name, weight in model.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name] + change[name])


@pytest.mark.parametrize("cell", CELLS)
def test_forward_mode_is_finite_differences(cell):
    layer, x = make(fastrnn, cell, 3, 4, num_layers=2, bidirectional=True, dtype=F64), random(4, 2, 3)
    weights, step = weights_of(layer), 1e-6
    tangents = {name: random(*w.shape, seed=5) for name, w in weights.items()}
    x_tangent = random(*x.shape, seed=6)

    def computed(weights, x):
        output, final = functional_call(layer, weights, (x,))
        return output, *(final if isinstance(final, tuple) else (final,))

    def at(distance):
        return computed({n: w + distance * tangents[n] for n, w in weights.items()}, x + distance * x_tangent)

    _, found = jvp(computed, (weights, x), (tangents, x_tangent))
    for tangent, after, before in zip(found, at(step), at(-step), strict=True):
        torch.testing.assert_close(tangent, (after - before) / (2 * step), rtol=1e-6, atol=1e-7)


def test_forward_mode_in_float64_is_exact_where_it_can_be():
    """A linear recurrence: h_t = w h_(t-1) + x, so dh_T/dw is a sum of powers."""
    layer = fastrnn.RNN(1, 1, nonlinearity="relu", bias=False, dtype=F64)
    weights = {"weight_ih_l0": torch.ones(1, 1, dtype=F64), "weight_hh_l0": torch.full((1, 1), 0.5, dtype=F64)}
    x = torch.ones(30, 1, 1, dtype=F64)
    tangent = {name: torch.ones_like(w) if "hh" in name else torch.zeros_like(w) for name, w in weights.items()}
    _, found = jvp(lambda w: functional_call(layer, w, (x,))[0][-1, 0, 0], (weights,), (tangent,))
    expected = math.fsum(k * 0.5 ** (k - 1) for k in range(1, 30))
    assert abs(found.item() - expected) < 1e-14


def test_gradgradcheck_through_per_sample_gradients():
    layer, x = make(fastrnn, "rnn_tanh", 2, 2, dtype=F64), random(2, 2, 1, 2).requires_grad_()
    weights = weights_of(layer)
    each = vmap(grad(lambda w, x: loss(layer, w, x)), (None, 0))
    assert gradgradcheck(lambda x: each(weights, x)["weight_hh_l0"], (x,))


def test_weights_that_are_given_are_not_laid_out_anew(monkeypatch):
    """As cuDNN has them: on a GPU that would move them, or fail inside of vmap, where they have no memory."""
    layer, x = fastrnn.GRU(3, 4), torch.randn(5, 2, 3)
    laid_out = []
    monkeypatch.setattr(nn.RNNBase, "flatten_parameters", lambda self: laid_out.append(self))
    layer.flatten_parameters()
    assert laid_out.pop() is layer
    weights = {name: weight.clone() for name, weight in weights_of(layer).items()}
    functional_call(layer, weights, (x,))
    vmap(grad(lambda weights, x: loss(layer, weights, x)), in_dims=(None, 1))(weights, x)
    assert laid_out == []
