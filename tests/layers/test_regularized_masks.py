"""The masks of recurrent dropout and zoneout: what is drawn for which rows, what may be given, and the options."""

import copy

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn._core import masks, operators, regularized
from fastrnn._core.call import call_of
from tests.support.regularized import carries_c, computed, flat, layer_of
from tests.support.twins import CELLS, make, random, results

F32, F64 = torch.float32, torch.float64


@pytest.fixture
def drawn(monkeypatch):
    """The calls of layers with the masks that were drawn for them."""
    seen, draw = [], regularized.with_masks

    def watched(layer, stack):
        seen.append(draw(layer, stack))
        return seen[-1]

    monkeypatch.setattr("fastrnn._core.stack.with_masks", watched)
    return seen


@pytest.mark.parametrize("p", [2.0**-16, 0.3, 0.5, 1 - 2.0**-16])
@pytest.mark.parametrize("sizes", [(1,), (7, 3), (20, 32, 50)], ids=str)
def test_vmap_draws_the_same_masks(sizes, p):
    """Inside of a transform they are drawn another way: no other bits for the same state of the generator."""

    def draw(_):
        return masks.kept(sizes, p, torch.device("cpu"))

    torch.manual_seed(3)
    expected = draw(None)
    torch.manual_seed(3)
    found = torch.vmap(draw, randomness="same")(torch.zeros(2))
    assert torch.equal(found, expected.expand(2, *sizes))


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


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm", "layer_norm_rnn_tanh", "layer_norm_lstm"])
def test_masks_that_forward_did_not_have(cell):
    """Where they change what is saved: with zoneout of c, and of the h of a cell that goes backward from it."""
    layer, name = make(fastrnn, cell, 5, 6), "zoneout_c" if carries_c(cell) else "zoneout_h"
    call = call_of(layer._cell, torch.zeros(3, 2, 5), None, layer._weights(), **{name: torch.zeros(3, 2, 6)})
    output, h_n, c_n, saved = operators.run_forward(call, True)
    incoming = output, h_n, c_n if carries_c(cell) else None
    given = operators.Backward(incoming, output, saved, [True, False, False, *[True] * len(call.weights)])
    operators.run_backward(call, given)
    with pytest.raises(RuntimeError, match="Expected saved size"):
        operators.run_backward(call._replace(**{name: None}), given)


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
