"""What recurrent dropout and zoneout compute: against equations, and against the reference with the same masks."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn._core import operators
from fastrnn._core.call import call_of
from fastrnn._core.operators import run_reference
from tests.support.regularized import carries_c, computed, layer_of
from tests.support.twins import CELLS, assert_same, by_reference, initial, make, random

F32, F64 = torch.float32, torch.float64

# No dropout, some, and all.
RATES = st.sampled_from([0.0, 0.25, 1.0])


@settings(max_examples=120)
@given(
    cell=st.sampled_from(list(CELLS)),
    times=st.integers(1, 14),
    batch=st.integers(1, 9),
    heads=st.sampled_from([1, 1, 2, 3]),
    units=st.integers(2, 20),
    rates=st.tuples(RATES, RATES, RATES),
    layers=st.integers(1, 2),
    flags=st.tuples(*[st.booleans()] * 9),
)
def test_any_combination(cell, times, batch, heads, units, rates, layers, flags):
    training, bidirectional, batch_first, recompute, learned, lengths, resets, states, hx = flags
    units += cell == "lstm_projected" and units % 2  # the projection has half of a head
    layer = layer_of(
        *(cell, heads * units, rates),
        heads=heads,
        num_layers=layers,
        bidirectional=bidirectional,
        batch_first=batch_first,
        recompute=recompute,
        learn_initial_state=learned,
        dtype=F64,
    ).train(training)
    for i, name in enumerate(layer._initial_states()):
        getattr(layer, name).data = random(*getattr(layer, name).shape, seed=20 + i)
    sizes, generator = (batch, times) if batch_first else (times, batch), torch.Generator().manual_seed(times * batch)
    options = {"return_states": True} if states else {}
    if lengths:
        options["lengths"] = torch.randint(0, times + 1, (batch,), generator=generator)
    if resets:
        options["resets"] = torch.rand(sizes, generator=generator) < 0.3
    operands = random(*sizes, 3), initial(layer, batch, F64) if hx else None
    expected = computed(layer, *operands, call=by_reference, **options)
    assert_same(computed(layer, *operands, **options), expected)


@settings(max_examples=60)
@given(
    cell=st.sampled_from(list(CELLS)),
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=8),
    hidden=st.integers(2, 40),
    given_masks=st.tuples(*[st.booleans()] * 3),
    bidirectional=st.booleans(),
    recompute=st.booleans(),
)
def test_packed_rows_and_any_masks(cell, lengths, hidden, given_masks, bidirectional, recompute):
    """Masks of any numbers, in memory as it comes."""
    layer = make(fastrnn, cell, 3, hidden, bidirectional=bidirectional, dtype=F64)
    sizes = pack_padded_sequence(torch.ones(max(lengths), len(lengths), 1), lengths, enforce_sorted=False).batch_sizes
    rows, directions = sum(lengths), 1 + bidirectional
    output = layer.proj_size or hidden
    masks = {
        "recurrent_mask": random(directions, len(lengths) + 2, output, seed=8),
        "zoneout_h": random(directions * output, rows, seed=9).sigmoid().t(),
        "zoneout_c": random(rows, 1, seed=10).sigmoid().expand(rows, directions * hidden) if carries_c(cell) else None,
    }
    masks = {name: mask for (name, mask), is_given in zip(masks.items(), given_masks, strict=True) if is_given}

    def found(run):
        leaves = [t.requires_grad_() for t in (random(rows, 3), *[w.detach().clone() for w in layer._weights()])]
        call = call_of(
            *(layer._cell, leaves[0], None, leaves[1:]),
            batch_sizes=sizes,
            bidirectional=bidirectional,
            projected=layer.proj_size > 0,
            recompute=recompute,
            **masks,
        )
        outputs = [t for t in run(call)[:3] if t.numel()]
        incoming = [random(*t.shape, seed=i) for i, t in enumerate(outputs)]
        gradients = torch.autograd.grad(outputs, leaves, incoming)
        return dict(enumerate([*[t.detach() for t in outputs], *gradients]))

    assert_same(found(lambda call: operators.run_forward(call, False)), found(run_reference))


def masked_lstm(x, weights, mask, zone_h, zone_c):
    """h and c after every step, by torch's own cell."""
    batch, hidden = x.size(1), weights[1].size(1)
    h = c = x.new_zeros(batch, hidden)
    hs = []
    for t, step in enumerate(x):
        of_cell, c_of_cell = torch._VF.lstm_cell(step, (h * mask, c), *weights)
        h = zone_h[t] * h + (1 - zone_h[t]) * of_cell
        c = zone_c[t] * c + (1 - zone_c[t]) * c_of_cell
        hs.append(h)
    return torch.stack(hs), h, c


def masked_gru(x, weights, mask, zone_h, reset_after):
    h = x.new_zeros(x.size(1), weights[1].size(1))
    w_ih, w_hh, b_ih, b_hh = weights
    w_n, b_n = w_hh.chunk(3)[2], b_hh.chunk(3)[2]
    hs = []
    for t, step in enumerate(x):
        read = h * mask
        of_x, of_h = (step @ w_ih.t() + b_ih).chunk(3, 1), (read @ w_hh.t() + b_hh).chunk(3, 1)
        r, z = (of_x[0] + of_h[0]).sigmoid(), (of_x[1] + of_h[1]).sigmoid()
        n = (of_x[2] + (r * of_h[2] if reset_after else (r * read) @ w_n.t() + b_n)).tanh()
        h = zone_h[t] * h + (1 - zone_h[t]) * ((1 - z) * n + z * h)
        hs.append(h)
    return torch.stack(hs), h


def test_the_equations():
    x, hidden = random(6, 4, 3), 8
    mask, zone_h, zone_c = random(1, 4, hidden, seed=5), *(random(6, 4, hidden, seed=s).sigmoid() for s in (6, 7))

    def by_operator(layer, **masks):
        found = operators.run_forward(call_of(layer._cell, x, None, layer._weights(), **masks), False)
        return [t for t in found[:3] if t.numel()]

    lstm = make(fastrnn, "lstm", 3, hidden, dtype=F64)
    expected = masked_lstm(x, lstm._weights(), mask[0], zone_h, zone_c)
    found = by_operator(lstm, recurrent_mask=mask, zoneout_h=zone_h, zoneout_c=zone_c)
    torch.testing.assert_close(found, [expected[0], expected[1][None], expected[2][None]])
    for cell in ("gru", "gru_reset_before"):
        gru = make(fastrnn, cell, 3, hidden, dtype=F64)
        expected = masked_gru(x, gru._weights(), mask[0], zone_h, cell == "gru")
        found = by_operator(gru, recurrent_mask=mask, zoneout_h=zone_h)
        torch.testing.assert_close(found, [expected[0], expected[1][None]])


@pytest.mark.parametrize("cell", CELLS)
def test_masks_that_change_nothing(cell):
    """Ones before W_hh, and nothing kept: the bits of the plain layer. (Gradients are added up in another order.)"""
    layer, x = make(fastrnn, cell, 3, 24), random(9, 5, 3, dtype=F32)
    output = layer.proj_size or 24
    masks = {"recurrent_mask": torch.ones(1, 5, output), "zoneout_h": torch.zeros(9, 5, output)}
    if carries_c(cell):
        masks["zoneout_c"] = torch.zeros(9, 5, 24)

    def found(**masks):
        leaves = [w.detach().clone().requires_grad_() for w in layer._weights()]
        call = call_of(layer._cell, x, None, leaves, projected=layer.proj_size > 0, **masks)
        outputs = operators.run_forward(call, False)[:3]
        return outputs, torch.autograd.grad(outputs[0].sum(), leaves)

    (outputs, gradients), (expected, same_gradients) = found(**masks), found()
    assert all(map(torch.equal, outputs, expected))
    torch.testing.assert_close(gradients, same_gradients)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", ["rnn_sigmoid", "gru", "gru_reset_before", "lstm_projected", "peephole_lstm",
                                  "layer_norm_rnn_tanh", "layer_norm_gru", "layer_norm_lstm"])  # fmt: skip
def test_derivatives(cell, training):
    normalized = cell.startswith("layer_norm")
    units = 4 if normalized else 2  # two that are normalized are 1 and -1
    layer = layer_of(cell, units, (0.5, 0.3, 0.2), 2, learn_initial_state=True, dtype=F64).train(training)
    for i, name in enumerate(layer._initial_states()):
        getattr(layer, name).data = random(*getattr(layer, name).shape, seed=20 + i)
    names = [name for name, _ in layer.named_parameters()]
    resets = torch.tensor([[False, False], [True, False], [False, True]])

    def output(x, *weights):
        torch.manual_seed(3)
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,), {"resets": resets})[0]

    operands = (random(3, 2, 2).requires_grad_(), *layer.parameters())
    assert gradcheck(output, operands, fast_mode=normalized)
    assert gradgradcheck(output, operands, fast_mode=normalized)


# T, B, H, recompute: threads share out rows, and units; and chunks and segments of several kinds.
SHAPES = [(30, 70, 24, False), (30, 70, 24, True), (12, 3, 200, True), (60, 5, 40, True), (1, 8, 160, False)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_bits_with_any_number_of_threads(cell, shape):
    times, batch, hidden, recompute = shape
    layer = layer_of(cell, hidden, (0.25, 0.2, 0.1), bidirectional=True, recompute=recompute)
    x, lengths, before = random(times, batch, 3, dtype=F32), torch.arange(batch) % (times + 1), torch.get_num_threads()
    found = []
    try:
        for count in (1, 2, 8):
            torch.set_num_threads(count)
            found.append(computed(layer, x, None, lengths=lengths))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(value, other[name]) for name, value in found[0].items())
    expected = computed(layer.double(), x.double(), None, lengths=lengths, call=by_reference)
    assert_same({name: value.double() for name, value in found[0].items()}, expected, 2e-4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("cell", CELLS)
def test_narrow_weights(cell, dtype):
    narrow, x = layer_of(cell, 17, (0.25, 0.2, 0.1), dtype=dtype), random(9, 8, 3, dtype=dtype)
    wide = layer_of(cell, 17, (0.25, 0.2, 0.1))
    wide.load_state_dict(narrow.state_dict())
    found, expected = computed(narrow, x, None), computed(wide, x.float(), None)
    for name, value in found.items():
        assert value.dtype == dtype
        difference = value.float() - expected[name]
        assert difference.norm() <= 0.03 * expected[name].norm(), name
