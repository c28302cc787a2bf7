"""Recurrent dropout and zoneout: against equations, the reference with the same masks, and all that goes on around."""

import copy

import pytest
import torch
import torch._dynamo.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn._core import operators, regularized
from fastrnn._core.call import call_of
from fastrnn._core.operators import run_reference
from tests.support.twins import CELLS, PLAIN_CELLS, assert_same, by_reference, initial, make, random, results

# Of torch's forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F32, F64 = torch.float32, torch.float64


def carries_c(cell):
    return "lstm" in cell


def layer_of(cell, hidden, rates, inputs=3, **options):
    """A layer with these rates of recurrent dropout and of zoneout of h and, where there is one, of c."""
    names = ("recurrent_dropout", "zoneout_h", "zoneout_c")[: 2 + carries_c(cell)]
    return make(fastrnn, cell, inputs, hidden, **dict(zip(names, rates, strict=False)), **options)


def computed(layer, *given, seed=3, **options):
    """:func:`results` of the masks of a seed."""
    torch.manual_seed(seed)
    return results(layer, *given, **options)


def flat(found):
    return [t for t in torch.utils._pytree.tree_leaves(found) if t is not None]


RATES = st.sampled_from([0.0, 0.25, 1.0])


@settings(max_examples=100)
@given(
    data=st.data(),
    cell=st.sampled_from(list(CELLS)),
    times=st.integers(1, 14),
    batch=st.integers(1, 9),
    hidden=st.integers(2, 20),
    rates=st.tuples(RATES, RATES, RATES),
    layers=st.integers(1, 2),
    flags=st.tuples(*[st.booleans()] * 9),
)
def test_any_combination(data, cell, times, batch, hidden, rates, layers, flags):
    training, bidirectional, batch_first, recompute, learned, lengths, resets, states, hx = flags
    layer = layer_of(
        *(cell, hidden, rates),
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
    cell=st.sampled_from(list(PLAIN_CELLS)),
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


@pytest.fixture
def drawn(monkeypatch):
    """The calls of layers with the masks that were drawn for them."""
    seen, draw = [], regularized.with_masks

    def watched(layer, stack):
        seen.append(draw(layer, stack))
        return seen[-1]

    monkeypatch.setattr("fastrnn._core.stack.with_masks", watched)
    return seen


class TestMasks:
    def test_of_recurrent_dropout(self, drawn):
        """One for each row, direction and layer, and for all steps."""
        layer = layer_of("gru", 500, (0.2,), num_layers=2, bidirectional=True)
        layer(random(3, 20, 3, dtype=F32))
        masks = torch.stack([call.recurrent_mask for call in drawn])
        assert masks.shape == (2, 2, 20, 500)
        assert masks.unique().tolist() == [0.0, pytest.approx(1.25, rel=1e-4)]
        assert abs((masks == 0).double().mean() - 0.2) < 5 * (0.16 / masks.numel()) ** 0.5 + 2.0**-17
        rows = masks.flatten(0, 2) == 0
        assert len({tuple(row.tolist()) for row in rows}) == len(rows)
        assert all(call.zoneout_h is None and call.zoneout_c is None for call in drawn)

    @pytest.mark.parametrize("batch_first", [False, True])
    def test_of_zoneout(self, drawn, batch_first):
        """A number for each unit at each step, of h and of c."""
        layer = layer_of("lstm_projected", 100, (0, 0.1, 0.3), bidirectional=True, batch_first=batch_first)
        layer(random(20, 30, 3, dtype=F32))
        (call,) = drawn
        assert call.recurrent_mask is None
        assert call.zoneout_h.shape == (20, 30, 100)
        assert call.zoneout_c.shape == (20, 30, 200)
        for mask, p in ((call.zoneout_h, 0.1), (call.zoneout_c, 0.3)):
            assert set(mask.unique().tolist()) == {0.0, 1.0}
            assert abs(mask.double().mean() - p) < 5 * (p * (1 - p) / mask.numel()) ** 0.5 + 2.0**-17
            for axis in range(3):
                first, second = mask.narrow(axis, 0, 10).flatten(), mask.narrow(axis, 10, 10).flatten()
                assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 5 / first.numel() ** 0.5

    def test_at_inference(self, drawn):
        """Nothing is dropped out, and zoneout keeps the probability itself of every unit."""
        layer = layer_of("lstm", 8, (0.5, 0.1, 0.3)).eval()
        layer(random(5, 2, 3, dtype=F32))
        assert drawn[0].recurrent_mask is None
        assert drawn[0].zoneout_h.unique().tolist() == [pytest.approx(0.1)]
        assert drawn[0].zoneout_c.unique().tolist() == [pytest.approx(0.3)]
        assert drawn[0].zoneout_c.untyped_storage().nbytes() == 8 * 4  # of one row

    def test_the_seed_decides(self):
        layer, x = layer_of("lstm", 8, (0.5, 0.1, 0.3), num_layers=2, dtype=F64), random(5, 4, 3)
        first, same, other = computed(layer, x, None), computed(layer, x, None), computed(layer, x, None, seed=4)
        assert all(torch.equal(value, same[name]) for name, value in first.items())
        assert not torch.equal(first["output"], other["output"])

    def test_they_are_drawn_in_training_without_gradients_too(self):
        """Monte Carlo dropout."""
        layer, x = layer_of("gru", 8, (0.5,)), random(5, 4, 3, dtype=F32)
        with torch.no_grad():
            assert not torch.equal(layer(x)[0], layer(x)[0])


@pytest.mark.parametrize("cell", CELLS)
def test_recurrent_dropout_in_eval_mode_is_the_plain_layer(cell, drawn):
    layer, x = layer_of(cell, 8, (0.5,), num_layers=2, bidirectional=True).eval(), random(5, 4, 3, dtype=F32)
    plain = make(fastrnn, cell, 3, 8, num_layers=2, bidirectional=True)
    found, expected = results(layer, x, None), results(plain, x, None)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())
    with torch.no_grad():
        assert all(map(torch.equal, flat(layer(x)), flat(plain(x))))
    assert not drawn or all(call.recurrent_mask is None for call in drawn)


@pytest.mark.parametrize("cell", PLAIN_CELLS)
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
@pytest.mark.parametrize("cell", ["rnn_sigmoid", "gru", "gru_reset_before", "lstm_projected", "peephole_lstm"])
def test_derivatives(cell, training):
    layer = layer_of(cell, 2, (0.5, 0.3, 0.2), 2, learn_initial_state=True, dtype=F64).train(training)
    names = [name for name, _ in layer.named_parameters()]
    resets = torch.tensor([[False, False], [True, False], [False, True]])

    def output(x, *weights):
        torch.manual_seed(3)
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,), {"resets": resets})[0]

    operands = (random(3, 2, 2).requires_grad_(), *layer.parameters())
    assert gradcheck(output, operands)
    assert gradgradcheck(output, operands)


# T, B, H: threads share out rows, and units; and chunks and segments of several kinds.
SHAPES = [(30, 70, 24), (12, 3, 200), (60, 5, 40), (1, 8, 160)]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_the_same_bits_with_any_number_of_threads(cell, shape, recompute):
    times, batch, hidden = shape
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
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_narrow_weights(cell, dtype):
    narrow, x = layer_of(cell, 17, (0.25, 0.2, 0.1), dtype=dtype), random(9, 8, 3, dtype=dtype)
    wide = layer_of(cell, 17, (0.25, 0.2, 0.1))
    wide.load_state_dict(narrow.state_dict())
    found, expected = computed(narrow, x, None), computed(wide, x.float(), None)
    for name, value in found.items():
        assert value.dtype == dtype
        difference = value.float() - expected[name]
        assert difference.norm() <= 0.03 * expected[name].norm(), name


def test_packed_sequences_draw_the_masks_of_their_rows():
    lengths, x = torch.tensor([6, 4, 2]), random(6, 3, 3)
    layer = layer_of("lstm", 8, (0.5,), bidirectional=True, num_layers=2, dtype=F64)
    torch.manual_seed(3)
    padded, state = layer(x, lengths=lengths)
    torch.manual_seed(3)
    packed, same = layer(pack_padded_sequence(x, lengths))
    torch.testing.assert_close(pad_packed_sequence(packed)[0], padded)
    torch.testing.assert_close(same, state)
    layer.zoneout_h = 0.25
    (padded, _), (packed, _) = layer.eval()(x, lengths=lengths), layer(pack_padded_sequence(x, lengths))
    torch.testing.assert_close(pad_packed_sequence(packed)[0], padded)


def test_with_dropout_around_the_steps():
    """AWD-LSTM's, and a hidden size for each layer: everything at once trains, and the seed decides."""
    options = {"dropout": 0.25, "input_dropout": 0.4, "locked_dropout": True, "weight_dropout": 0.5}
    layer = fastrnn.LSTM(3, [8, 12], 2, recurrent_dropout=0.25, zoneout_h=0.1, zoneout_c=0.1, **options)
    x, found = random(6, 4, 3, dtype=F32), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found.append(layer(x)[0])
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


class TestTransforms:
    def setup_method(self):
        self.layer = layer_of("lstm", 8, (0.5, 0.25, 0.25), dtype=F64)
        self.weights = {name: p.detach() for name, p in self.layer.named_parameters()}

    def loss(self, weights, x):
        return functional_call(self.layer, weights, (x,))[0].square().sum()

    @pytest.mark.parametrize("randomness", ["same", "different"])
    def test_per_sample_gradients_take_one_call(self, randomness, monkeypatch):
        calls, run = [], operators.run_backward
        monkeypatch.setattr(operators, "run_backward", lambda call, given: calls.append(call) or run(call, given))
        x = random(5, 6, 2, 3)
        found = vmap(grad(self.loss), (None, 0), randomness=randomness)(self.weights, x)
        (call,) = calls
        assert call.groups == 5

        def of_sample(i):
            """With the masks that its rows had: row b of sample i is row 5 b + i."""

            def masked(call):
                mine = {name: getattr(call, name)[:, i::5] for name in ("recurrent_mask", "zoneout_h", "zoneout_c")}
                return mine

            weights = {name: w.clone().requires_grad_() for name, w in self.weights.items()}
            one = call_of("lstm", x[i], None, list(weights.values()), **masked(call))
            operators.run_forward(one, False)[0].square().sum().backward()
            return {name: w.grad for name, w in weights.items()}

        for i in range(5):
            torch.testing.assert_close({name: g[i] for name, g in found.items()}, of_sample(i))
        masks = call.recurrent_mask.unflatten(1, (2, 5))
        assert (masks == masks[:, :, :1]).all() == (randomness == "same")

    def test_their_derivatives(self):
        """A penalty on the norms of per-sample gradients: group by group through the reference."""

        def penalty(weights, x):
            torch.manual_seed(3)
            found = vmap(grad(self.loss), (None, 0), randomness="different")(weights, x)
            return sum(g.square().sum() for g in found.values())

        layer = self.layer = layer_of("lstm", 2, (0.5, 0.25, 0.25), 2, dtype=F64)
        names = [name for name, _ in layer.named_parameters()]
        operands = [p.detach().clone().requires_grad_() for p in layer.parameters()]
        x = random(2, 2, 1, 2)
        assert gradcheck(lambda *w: penalty(dict(zip(names, w, strict=True)), x), operands)

    def test_vmap_needs_to_be_told(self):
        with pytest.raises(RuntimeError, match="randomness"):
            vmap(grad(self.loss), (None, 0))(self.weights, random(5, 6, 2, 3))

    def test_forward_mode(self):
        x, direction, step = random(6, 2, 3), random(6, 2, 3, seed=4), 1e-6

        def output(x):
            torch.manual_seed(3)
            return self.layer(x)[0]

        _, found = jvp(output, (x,), (direction,))
        difference = (output(x + step * direction) - output(x - step * direction)) / (2 * step)
        torch.testing.assert_close(found, difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("arrange", ["padded", "packed"])
@pytest.mark.parametrize("training", [False, True])
def test_compiled_as_one_graph(arrange, training):
    layer = layer_of("lstm", 8, (0.5, 0.25, 0.25), num_layers=2).train(training)
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    compiled, graphs = torch.compile(layer, fullgraph=True, backend=counter, dynamic=True), []
    for steps, batch in ((6, 4), (7, 5), (9, 2)):
        x = random(steps, batch, 3, dtype=F32)
        given = pack_padded_sequence(x, list(range(steps, steps - batch, -1))) if arrange == "packed" else x
        torch.manual_seed(3)
        found, _ = compiled(given)
        found = found.data if arrange == "packed" else found
        gradients = torch.autograd.grad(found.sum(), list(layer.parameters()))
        assert all(g.isfinite().all() and g.any() for g in gradients)
        if not training:
            expected, _ = layer(given)
            torch.testing.assert_close(found, expected.data if arrange == "packed" else expected)
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[2]


@pytest.mark.parametrize("training", [False, True])
def test_exported(training):
    layer = layer_of("gru", 8, (0.5, 0.25)).train(training)
    x = random(6, 2, 3, dtype=F32)
    program = torch.export.export(layer, (x,)).module()
    if training:
        assert not torch.equal(program(x)[0], program(x)[0])
    else:
        torch.testing.assert_close(program(x), layer(x))


def test_what_has_no_masks_runs_the_reference(monkeypatch):
    """On CUDA, and layers with layer normalization."""
    from fastrnn._core import backend

    layer, x = layer_of("lstm", 8, (0.5, 0.25, 0.25), dtype=F64), random(6, 2, 3)
    expected, calls = computed(layer, x, None), []
    monkeypatch.setattr(backend, "_kernels_know_options", lambda call: False)
    monkeypatch.setattr(operators, "run_reference", lambda call: calls.append(call) or run_reference(call))
    assert_same(computed(layer, x, None), expected)
    assert_same(computed(layer, x, None, lengths=torch.tensor([6, 6])), expected)
    assert len(calls) == 2
    monkeypatch.undo()
    monkeypatch.setattr(operators, "run_reference", lambda call: calls.append(call) or run_reference(call))
    layer_of("layer_norm_gru", 8, (0.5,))(random(6, 2, 3, dtype=F32))
    layer_of("layer_norm_gru", 8, (0.5,)).eval()(random(6, 2, 3, dtype=F32))
    assert len(calls) == 3


OPERANDS = {"recurrent_mask": (1, 2, 6), "zoneout_h": (3, 2, 6), "zoneout_c": (3, 2, 6)}


@pytest.mark.parametrize("name", OPERANDS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.double(), "of dtype torch.float32, got torch.float64"),
        (lambda t: t.bool(), "of dtype torch.float32, got torch.bool"),
        (lambda t: t[..., :-1], r"size \[\d, 2, 6\], got \[\d, 2, 5\]"),
        (lambda t: t[:, :1], r"size \[\d, 2, 6\], got \[\d, 1, 6\]"),
        (lambda t: torch.cat([t, t]), r"size \[\d, 2, 6\], got \[\d, 2, 6\]"),
        (lambda t: t[0], r"size \[\d, 2, 6\], got \[2, 6\]"),
        (lambda t: t[..., None], r"size \[\d, 2, 6\], got \[\d, 2, 6, 1\]"),
        (lambda t: t.new_zeros(()), r"size \[\d, 2, 6\], got \[\]"),
        (lambda t: t.to("meta"), "on the input's device cpu, got meta"),
    ],
)
def test_masks_that_do_not_fit(name, change, message):
    lstm = make(fastrnn, "lstm", 5, 6)
    call = call_of("lstm", torch.zeros(3, 2, 5), None, lstm._weights(), **{name: change(torch.zeros(OPERANDS[name]))})
    with pytest.raises((RuntimeError, ValueError), match=f"Expected {name} {message}"):
        operators.run_forward(call, True)
    right = call._replace(**{name: torch.zeros(OPERANDS[name])})
    output, h_n, c_n, saved = operators.run_forward(right, True)
    given = operators.Backward((output, h_n, c_n), output, saved, [True, False, False, *[True] * 4])
    operators.run_backward(right, given)
    with pytest.raises((RuntimeError, ValueError), match=f"Expected {name} {message}"):
        operators.run_backward(call, given)


def test_masks_of_other_cells():
    x, gru = torch.zeros(3, 2, 5), make(fastrnn, "gru", 5, 6)
    with pytest.raises(RuntimeError, match="Expected no zoneout_c, got one: gru has no state c"):
        operators.run_forward(call_of("gru", x, None, gru._weights(), zoneout_c=torch.zeros(3, 2, 6)), False)
    normalized = make(fastrnn, "layer_norm_gru", 5, 6)
    call = call_of(normalized._cell, x, None, normalized._weights(), recurrent_mask=torch.zeros(1, 2, 6))
    with pytest.raises(NotImplementedError, match="with a cell without layer normalization, got layer_norm_gru"):
        operators.run_forward(call, False)
    lstm = make(fastrnn, "lstm", 5, 6)
    call = call_of("lstm", x, None, lstm._weights(), zoneout_c=torch.zeros(3, 2, 6))
    output, h_n, c_n, saved = operators.run_forward(call, True)
    given = operators.Backward((output, h_n, c_n), output, saved, [True, False, False, *[True] * 4])
    with pytest.raises(RuntimeError, match="Expected saved size"):
        operators.run_backward(call._replace(zoneout_c=None), given)


class TestOptions:
    @pytest.mark.parametrize("name", ["recurrent_dropout", "zoneout_h", "zoneout_c"])
    def test_that_cannot_be(self, name):
        for value, error in ((1.5, ValueError), (-0.1, ValueError), ("0.1", TypeError), (True, TypeError)):
            with pytest.raises(error, match=f"Expected {name} to be a probability"):
                fastrnn.LSTM(3, 4, **{name: value})

    @pytest.mark.parametrize("layer", [fastrnn.RNN, fastrnn.GRU])
    def test_c_that_there_is_not(self, layer):
        with pytest.raises(
            ValueError, match=r"zoneout_c with LSTM only, got zoneout_c=0.1; the state of .*: use zoneout_h"
        ):
            layer(3, 4, zoneout_c=0.1)

    def test_in_text_and_copies(self):
        layer = fastrnn.LSTM(3, 4, recurrent_dropout=0.25, zoneout_h=0.1, zoneout_c=0.2)
        assert repr(layer) == "LSTM(3, 4, recurrent_dropout=0.25, zoneout_h=0.1, zoneout_c=0.2)"
        assert repr(copy.deepcopy(layer)) == repr(layer)

    def test_convert(self):
        model = torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 4), "b": torch.nn.GRU(4, 4)})
        with pytest.warns(UserWarning, match=r"b \(GRU has no zoneout_c\)"):
            fastrnn.convert(model, recurrent_dropout=0.25, zoneout_h=0.1, zoneout_c=0.2)
        assert repr(model["a"]) == "LSTM(3, 4, recurrent_dropout=0.25, zoneout_h=0.1, zoneout_c=0.2)"
        assert repr(model["b"]) == "GRU(4, 4, recurrent_dropout=0.25, zoneout_h=0.1)"
        for name in ("recurrent_dropout", "zoneout_h"):
            with pytest.raises(ValueError, match="has no module that computes the same as"):
                fastrnn.to_torch(copy.deepcopy(model["b"]))
            setattr(model["b"], name, 0.0)
        assert type(fastrnn.to_torch(model["b"])) is torch.nn.GRU


class TestPacked:
    """Zoneout at inference, with weights that are packed once and for all."""

    @pytest.mark.parametrize("dtype", [F32, torch.bfloat16, torch.float16])
    @pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
    @pytest.mark.parametrize("cell", PLAIN_CELLS)
    def test_frozen_and_quantized_layers(self, cell, numbers, dtype):
        layer = layer_of(cell, 24, (0.5, 0.1, 0.3), num_layers=2, bidirectional=True).eval()
        packed = fastrnn.freeze(layer) if numbers == "float32" else fastrnn.quantize(layer, dtype=numbers)
        x, lengths = random(9, 8, 3, dtype=dtype), torch.arange(8) + 2
        tolerance = {"float32": 1e-6, "bfloat16": 0.05, "int8": 0.1}[numbers] + (0.01 if dtype != F32 else 0)
        with torch.no_grad():
            for options in ({}, {"lengths": lengths, "return_states": True}):
                found, expected = flat(packed(x, **options)), flat(layer(x.float(), **options))
                assert [t.shape for t in found] == [t.shape for t in expected]
                for a, b in zip(found, expected, strict=True):
                    torch.testing.assert_close(a.float(), b, rtol=0, atol=tolerance)
        assert fastrnn.dequantize(packed).zoneout_h == 0.1

    @pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
    @pytest.mark.parametrize("cell", PLAIN_CELLS)
    def test_streams_have_the_bits_of_the_sequence(self, cell, numbers):
        layer = layer_of(cell, 24, (0.5, 0.1, 0.3), num_layers=2).eval()
        packed = fastrnn.freeze(layer) if numbers == "float32" else fastrnn.quantize(layer, dtype=numbers)
        x = random(9, 4, 3, dtype=F32)
        with torch.no_grad():
            expected, stream = packed(x)[0], packed.stream(4)
            assert all(torch.equal(stream(step), y) for step, y in zip(x, expected, strict=True))
            again = copy.deepcopy(stream)
            assert torch.equal(again(x[0]), stream(x[0]))

    def test_compiled(self):
        packed, x = fastrnn.freeze(layer_of("gru", 8, (0, 0.1)).eval()), random(5, 2, 3, dtype=F32)
        with torch.no_grad():
            torch.testing.assert_close(torch.compile(packed, fullgraph=True, backend="aot_eager")(x), packed(x))

    def test_not_with_layer_normalization(self):
        layer = layer_of("layer_norm_gru", 4, (0, 0.1)).eval()
        for pack in (fastrnn.freeze, fastrnn.quantize, lambda layer: layer.stream(2)):
            with pytest.raises(ValueError, match=r"Expected zoneout without layer_norm .*: zoneout_h=0.1"):
                pack(layer)
