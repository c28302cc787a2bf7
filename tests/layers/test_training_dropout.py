"""Weight dropout, dropout of the input and locked dropout. The masks are read off the gradients: where a weight or an
input is dropped its gradient is 0. The rest is then an equation about the plain layer."""

import copy
import itertools

import pytest
import torch
import torch._dynamo.testing
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn._core import backend, masks
from tests.support.twins import CELLS, by_reference, make, random

F64 = torch.float64
SMOOTH = [cell for cell in CELLS if cell != "rnn_relu"]  # a unit that is off would have a gradient of 0 as well
LENGTHS = [6, 2, 4]


def dropped_layer(cell, **options):
    return make(fastrnn, cell, 3, 8, num_layers=2, bidirectional=True, dtype=F64, **options)


def numbers(x):
    return x.data if isinstance(x, PackedSequence) else x


def run(layer, x, seed=3):
    """Output, final states and gradients of x and of the weights, at a seed."""
    torch.manual_seed(seed)
    x = x.detach().requires_grad_()
    output, final = layer(x)
    final = final if isinstance(final, tuple) else (final,)
    names = [name for name, _ in layer.named_parameters()]
    loss = sum((t * random(*t.shape, seed=i)).sum() for i, t in enumerate((output, *final)))
    gradients = torch.autograd.grad(loss, [x, *layer.parameters()])
    return (output.detach(), *(t.detach() for t in final)), dict(zip(["input", *names], gradients, strict=True))


@pytest.mark.parametrize("cell", SMOOTH)
class TestWeightDropout:
    def test_is_the_plain_layer_with_weights_dropped(self, cell):
        """p = 1/4: what is kept is multiplied by 4/3."""
        layer, x = dropped_layer(cell, weight_dropout=0.25), random(6, 3, 3)
        results, gradients = run(layer, x)
        found_masks = {n: (d != 0).double() / 0.75 for n, d in gradients.items() if n.startswith("weight_hh")}
        assert len(found_masks) == 4
        assert all(0.1 < (mask == 0).double().mean() < 0.45 for mask in found_masks.values())
        plain = copy.deepcopy(layer).eval()
        with torch.no_grad():
            for name, mask in found_masks.items():
                getattr(plain, name).mul_(mask)
            expected, final = by_reference(plain, x, None)
        torch.testing.assert_close(results, (expected, *(final if isinstance(final, tuple) else (final,))))
        _, of_plain = run(plain, x)
        for name, d in gradients.items():
            torch.testing.assert_close(d, of_plain[name] * found_masks.get(name, 1), rtol=1e-9, atol=1e-12)

    def test_masks_are_of_a_call_and_of_a_matrix(self, cell):
        layer, x = dropped_layer(cell, weight_dropout=0.5), random(6, 3, 3)
        (first, same), other = (run(layer, x) for _ in range(2)), run(layer, x, seed=4)
        torch.testing.assert_close(first, same, rtol=0, atol=0)
        drawn = [g[n] == 0 for _, g in (first, other) for n in g if n.startswith("weight_hh")]
        assert not any(torch.equal(a, b) for a, b in itertools.combinations(drawn, 2) if a.shape == b.shape)

    def test_none_in_eval_mode(self, cell):
        layer = dropped_layer(cell, weight_dropout=0.5, input_dropout=0.5, locked_dropout=True).eval()
        x = random(6, 3, 3)
        torch.testing.assert_close(layer(x), by_reference(layer, x, None))


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru_reset_before", "lstm_projected"])
def test_second_derivatives(cell):
    layer = make(fastrnn, cell, 2, 4, dtype=F64, weight_dropout=0.5, input_dropout=0.25, locked_dropout=True)
    names = [name for name, _ in layer.named_parameters()]

    def computed(x, *weights):
        torch.manual_seed(3)
        return functional_call(layer, dict(zip(names, weights, strict=True)), (x,))[0]

    operands = (random(2, 2, 2).requires_grad_(), *layer.parameters())
    assert gradcheck(computed, operands)
    assert gradgradcheck(computed, operands)


def shares_of_steps(mask):
    """How many steps of (T, B, F) drop a feature of a row."""
    return set(mask.sum(0).flatten().tolist())


@pytest.mark.parametrize("cell", SMOOTH)
@pytest.mark.parametrize("locked", [False, True])
class TestInputDropout:
    def test_of_padded_input(self, cell, locked):
        for batch_first in (False, True):
            options = {"input_dropout": 0.25, "locked_dropout": locked, "batch_first": batch_first}
            layer, x = dropped_layer(cell, **options), random(6, 20, 3)
            given = x.transpose(0, 1) if batch_first else x
            (output, *_), gradients = run(layer, given)
            mask = gradients["input"] == 0
            assert 0.1 < mask.double().mean() < 0.4
            torch.testing.assert_close(output, by_reference(layer, given * ~mask / 0.75, None)[0])
            mask = mask.transpose(0, 1) if batch_first else mask
            assert (shares_of_steps(mask) == {0, 6}) == locked
            assert len({tuple(row.tolist()) for row in mask[0]}) > 2  # rows have masks of their own

    def test_of_packed_input(self, cell, locked):
        layer = dropped_layer(cell, input_dropout=0.5, locked_dropout=locked)
        x = random(6, 3, 3)
        packed = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        data = packed.data.requires_grad_()
        output, _ = layer(packed._replace(data=data))
        output.data.sum().backward()
        mask = pad_packed_sequence(packed._replace(data=(data.grad == 0).double()))[0]
        for row, length in enumerate(LENGTHS):
            of_row = mask[:length, row]
            assert (of_row == of_row[0]).all() or not locked
        if locked:
            assert not torch.equal(mask[0, 0], mask[0, 1]) or not torch.equal(mask[0, 0], mask[0, 2])
        expected = pack_padded_sequence(x, LENGTHS, enforce_sorted=False)
        expected = expected._replace(data=expected.data * (data.grad != 0) * 2)
        torch.testing.assert_close(output.data, layer.eval()(expected)[0].data)

    def test_of_one_sequence(self, cell, locked):
        layer, x = dropped_layer(cell, input_dropout=0.5, locked_dropout=locked), random(40, 3)
        (output, *_), gradients = run(layer, x)
        mask = gradients["input"] != 0
        torch.testing.assert_close(output, layer.eval()(x * mask * 2)[0])
        assert (mask == mask[0]).all() == locked


@pytest.mark.parametrize("arrange", ["time first", "batch first", "packed"])
def test_locked_dropout_between_layers(arrange):
    """With the identity above it, the dropped layer's output can be read off."""
    options = {"dropout": 0.25, "locked_dropout": True, "batch_first": arrange == "batch first"}
    layer = make(fastrnn, "rnn_relu", 3, 40, num_layers=2, dtype=F64, **options)
    with torch.no_grad():
        layer.weight_ih_l1.copy_(torch.eye(40))
        for name in ("weight_hh_l0", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"):
            getattr(layer, name).zero_()
        layer.bias_ih_l0.fill_(9.0)  # so that relu never gives a zero of its own
    x = random(6, 3, 3) * 0.1

    def computed():
        if arrange == "packed":
            return pad_packed_sequence(layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False))[0])[0]
        return layer(x.transpose(0, 1))[0].transpose(0, 1) if arrange == "batch first" else layer(x)[0]

    kept, dropped = layer.eval() and computed(), layer.train() and computed()
    lengths = LENGTHS if arrange == "packed" else [6, 6, 6]
    patterns = []
    for row, length in enumerate(lengths):
        zero = dropped[:length, row] == 0
        assert (zero == zero[0]).all()
        patterns.append(tuple(zero[0].tolist()))
        torch.testing.assert_close(dropped[:length, row], kept[:length, row] * ~zero / 0.75)
    assert len(set(patterns)) == 3
    assert 0.1 < sum(map(sum, patterns)) / 120 < 0.4


@pytest.mark.parametrize("locked", [False, True])
@pytest.mark.parametrize("cell", ["rnn_relu", "gru", "lstm"])
def test_torchs_operator_gives_the_same(cell, locked, monkeypatch):
    """What runs on CUDA by default."""
    options = {"dropout": 0.4, "input_dropout": 0.3, "weight_dropout": 0.5, "locked_dropout": locked}
    layer, x = dropped_layer(cell, **options), random(6, 3, 3)
    expected = run(layer, x)
    monkeypatch.setattr(backend, "_left_to_torch", lambda call: True)
    torch.testing.assert_close(run(layer, x), expected)


@pytest.mark.parametrize("arrange", ["padded", "packed"])
def test_compiled_as_one_graph(arrange):
    options = {"dropout": 0.4, "input_dropout": 0.3, "weight_dropout": 0.5, "locked_dropout": True, "num_layers": 2}
    layer, counter = (
        make(fastrnn, "lstm", 3, 8, **options),
        torch._dynamo.testing.CompileCounterWithBackend("aot_eager"),
    )
    compiled, graphs = torch.compile(layer, fullgraph=True, backend=counter, dynamic=True), []
    for steps, batch in ((6, 4), (7, 5), (9, 2)):
        x, lengths = random(steps, batch, 3, dtype=torch.float32), list(range(steps, steps - batch, -1))
        given = pack_padded_sequence(x, lengths) if arrange == "packed" else x
        data = numbers(given).requires_grad_()
        output = compiled(given)[0]
        gradients = torch.autograd.grad(numbers(output).sum(), [data, *layer.parameters()])
        mask = (gradients[0] == 0).double()
        mask = pad_packed_sequence(given._replace(data=mask))[0] if arrange == "packed" else mask
        assert (mask[: min(lengths)] == mask[0]).all()
        hidden = dict(zip([n for n, _ in layer.named_parameters()], gradients[1:], strict=True))
        assert 0.3 < (hidden["weight_hh_l0"] == 0).double().mean() < 0.7
        graphs.append(counter.frame_count)
    assert graphs[0] == graphs[2]


def test_exported_in_eval_mode():
    layer = dropped_layer("gru", weight_dropout=0.5, input_dropout=0.3, locked_dropout=True).eval()
    x = random(6, 3, 3)
    torch.testing.assert_close(torch.export.export(layer, (x,)).module()(x), layer(x))


def test_per_sample_gradients_with_one_mask_or_one_each():
    layer, x = make(fastrnn, "gru", 3, 8, dtype=F64, weight_dropout=0.5), random(4, 5, 3)
    weights = dict(layer.named_parameters())

    def loss(weights, x):
        return functional_call(layer, weights, (x,))[0].square().sum()

    for randomness, alike in (("same", True), ("different", False)):
        found = vmap(grad(loss), (None, 0), randomness=randomness)(weights, x)["weight_hh_l0"] == 0
        assert (found == found[0]).all() == alike
    with pytest.raises(RuntimeError, match="randomness"):
        vmap(grad(loss), (None, 0))(weights, x)


def test_masks():
    """Each of the 16 bits that decide counts, wherever it lies."""
    for p in (0.0, 0.1, 0.5, 0.999, 1.0):
        mask = masks.kept((401, 500), p, torch.device("cpu"))
        sigma = (p * (1 - p) / mask.numel()) ** 0.5
        assert abs((~mask).double().mean().item() - p) <= 5 * sigma + 2.0**-17
        by_place = (~mask).flatten()[:200_000].view(-1, 4).double().mean(0)
        assert (by_place - p).abs().max() <= 10 * sigma + 2.0**-17
        dropped = masks.drop(torch.ones(401, 500), p)
        assert abs(dropped.mean().item() - (p < 1)) < 5 * sigma / max(1 - p, 0.001) + 1e-6
        assert set(dropped.unique().tolist()) <= {0.0, torch.tensor(masks.scale(p)).item()}
    pairs = masks.kept((100_000, 2), 0.5, torch.device("cpu")).double()
    assert abs(torch.corrcoef(pairs.T)[0, 1]) < 0.02
    with pytest.raises(ValueError, match=r"in \[0, 1\], got 1.5"):
        masks.kept((3,), 1.5, torch.device("cpu"))


def test_bfloat16_weights_are_rounded_once():
    weight = torch.linspace(-1, 1, 1001, dtype=torch.bfloat16)
    dropped = masks.drop(weight, 0.3)
    expected = (weight.float() * masks.scale(0.3)).bfloat16()
    assert torch.equal(dropped[dropped != 0], expected[dropped != 0])


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weight_dropout": 1.5}, ValueError, r"weight_dropout to be a probability in \[0, 1\], got 1.5"),
        ({"weight_dropout": float("nan")}, ValueError, r"weight_dropout to be a probability in \[0, 1\], got nan"),
        ({"input_dropout": -0.1}, ValueError, r"input_dropout to be a probability in \[0, 1\], got -0.1"),
        ({"input_dropout": "0.5"}, TypeError, "input_dropout to be a probability, got str"),
        ({"weight_dropout": True}, TypeError, "weight_dropout to be a probability, got bool"),
        ({"locked_dropout": 0.3}, TypeError, "locked_dropout to be a bool, got float; the rates are dropout"),
        ({"weight_drop": 0.5}, TypeError, "unexpected keyword argument 'weight_drop'"),
    ],
)
def test_options_that_cannot_be(options, error, message):
    for name in ("RNN", "GRU", "LSTM"):
        with pytest.raises(error, match=message):
            getattr(fastrnn, name)(3, 4, **options)


def test_in_text_and_copies():
    layer = fastrnn.LSTM(3, 4, 2, dropout=0.1, input_dropout=0.2, locked_dropout=True, weight_dropout=0.5)
    assert repr(layer) == (
        "LSTM(3, 4, num_layers=2, dropout=0.1, input_dropout=0.2, locked_dropout=True, weight_dropout=0.5)"
    )
    assert repr(copy.deepcopy(layer)) == repr(layer)


class TestConvert:
    def model(self):
        return torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 4), "b": torch.nn.GRU(4, 4), "c": torch.nn.Linear(4, 4)})

    def test_passes_options_on(self):
        model = fastrnn.convert(self.model(), recompute=True, weight_dropout=0.5)
        assert all(model[name].recompute and model[name].weight_dropout == 0.5 for name in "ab")
        fastrnn.convert(model, weight_dropout=0)  # also to layers that are fastrnn's already
        assert [model[name].weight_dropout for name in "ab"] == [0.0, 0.0]
        assert repr(fastrnn.convert(self.model())["a"]) == "LSTM(3, 4)"

    def test_names_those_that_lack_an_option(self):
        model = torch.nn.ModuleDict({"a": torch.nn.LSTM(3, 4), "b": torch.nn.LSTMCell(3, 4), "c": torch.nn.GRU(3, 4)})
        with pytest.warns(UserWarning, match=r"b \(LSTMCell has no recompute\)") as caught:
            fastrnn.convert(model, recompute=True)
        assert caught[0].filename == __file__
        with pytest.warns(UserWarning, match=r"a \(LSTM has no reset_after\)"):
            fastrnn.convert(model, reset_after=False)
        assert model["c"]._cell == "gru_reset_before"

    @pytest.mark.parametrize(
        ("options", "error", "message"),
        [
            ({"peephole": True}, ValueError, "peephole changes parameters, .* construct the layer with peephole=True"),
            ({"coupled": True}, ValueError, "coupled changes parameters"),
            ({"weight_dropout": 2}, ValueError, "weight_dropout to be a probability"),
            ({"recompute": 1}, TypeError, "recompute to be a bool, got int"),
            ({"dropuot": 0.5}, TypeError, "unexpected keyword argument 'dropuot'; options are recompute, "),
        ],
    )
    def test_refuses(self, options, error, message):
        model = self.model()
        with pytest.raises(error, match=message):
            fastrnn.convert(model, **options)
        assert type(model["a"]) is torch.nn.LSTM

    def test_refuses_an_option_that_no_layer_has(self):
        with pytest.raises(ValueError, match="Expected a layer that has the option reset_after; the model has none"):
            fastrnn.convert(torch.nn.Sequential(torch.nn.LSTM(3, 4)), reset_after=False)

    def test_the_way_back_is_for_inference(self):
        layer = fastrnn.LSTM(3, 4, weight_dropout=0.5, recompute=True)
        with pytest.raises(ValueError, match=r"LSTM\(3, 4, recompute=True, weight_dropout=0.5\); nothing was changed"):
            fastrnn.to_torch(layer)
        layer.weight_dropout = 0.0
        assert type(fastrnn.to_torch(layer)) is torch.nn.LSTM
        assert "weight_dropout" not in vars(layer)

    def test_a_subclass_with_an_attribute_of_the_name_is_skipped(self):
        mine = type("Mine", (torch.nn.LSTM,), {})(3, 4)
        mine.weight_dropout = 0.5  # which it applies by itself
        with pytest.warns(UserWarning, match="it defines weight_dropout, which fastrnn would ignore or replace"):
            fastrnn.convert(mine, derived=True)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(
    ("option", "value", "error", "message"),
    [
        ("zoneout_h", 1.5, ValueError, r"Expected zoneout_h to be a probability in \[0, 1\], got 1.5"),
        ("zoneout_c", float("nan"), ValueError, r"Expected zoneout_c to be a probability in \[0, 1\], got nan"),
        (
            "recurrent_dropout",
            -0.5,
            ValueError,
            r"Expected recurrent_dropout to be a probability in \[0, 1\], got -0.5",
        ),
        ("weight_dropout", "0.5", TypeError, "Expected weight_dropout to be a probability, got str"),
        ("locked_dropout", 0.5, TypeError, "Expected locked_dropout to be a bool, got float; the rates are"),
        ("recompute", 1, TypeError, "Expected recompute to be a bool, got int"),
        ("heads", 2.0, TypeError, "Expected heads to be an int, got float"),
    ],
)
def test_an_option_that_is_changed_is_checked(option, value, error, message, training):
    layer = fastrnn.LSTM(3, 4).train(training)
    before = getattr(layer, option)
    with pytest.raises(error, match=message):
        setattr(layer, option, value)
    assert getattr(layer, option) == before
    layer.zoneout_h = 1
    assert isinstance(layer.zoneout_h, float)
