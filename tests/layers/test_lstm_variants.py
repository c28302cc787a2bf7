"""The peephole and the coupled LSTM: their equations and parameters, and that they are layers like the others.

Tests over all cells (tests/support/twins.py) cover accuracy, threads, recompute, gradcheck and opcheck too.
"""

import copy
import io
import itertools
import math
import pickle

import pytest
import torch
from torch.autograd import gradgradcheck
from torch.nn.utils import parametrize
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import fastrnn
from fastrnn._core.cells import CELLS
from tests.support.twins import assert_same, initial, random, results

F32, F64 = torch.float32, torch.float64
OPTIONS = [{"peephole": True}, {"coupled": True}]

either = pytest.mark.parametrize("option", OPTIONS, ids=["peephole", "coupled"])


def lstm(*sizes, seed=3, **options):
    torch.manual_seed(seed)
    return fastrnn.LSTM(*sizes, **options)


def by_hand(layer, x, h, c):
    """One unit and one row, with Python's numbers: h_t and c_t of every step."""
    w = {name.removesuffix("_l0"): p.flatten().tolist() for name, p in layer.named_parameters()}
    steps = []
    for x_t in x:
        gates = zip(w["weight_ih"], w["weight_hh"], w["bias_ih"], w["bias_hh"], strict=True)
        a = [w_x * x_t + w_h * h + b + b_h for w_x, w_h, b, b_h in gates]
        if layer.peephole:
            i = sigmoid(a[0] + w["weight_ci"][0] * c)
            f = sigmoid(a[1] + w["weight_cf"][0] * c)
            c = f * c + i * math.tanh(a[2])
            o = sigmoid(a[3] + w["weight_co"][0] * c)
        else:
            i, o = sigmoid(a[0]), sigmoid(a[2])
            c = (1 - i) * c + i * math.tanh(a[1])
        h = o * math.tanh(c)
        steps.append((h, c))
    return steps


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


class TestEquations:
    @either
    def test_a_unit_by_hand(self, option):
        layer, x = lstm(1, 1, dtype=F64, **option), [0.3, -1.2, 2.0, 0.7]
        for p in layer.parameters():
            p.data.mul_(2.5)
        expected = by_hand(layer, x, 0.4, -0.9)
        given = torch.tensor([[0.4]], dtype=F64), torch.tensor([[-0.9]], dtype=F64)
        output, (h, c) = layer(torch.tensor(x, dtype=F64).unsqueeze(1), given)
        assert output.flatten().tolist() == pytest.approx([h_t for h_t, _ in expected], abs=1e-14)
        assert (h.item(), c.item()) == pytest.approx(expected[-1], abs=1e-14)

    @pytest.mark.parametrize("dtype", [F32, F64], ids=str)
    @pytest.mark.parametrize("size", [(5, 3, 4), (9, 33, 40)], ids=str)
    def test_a_peephole_lstm_whose_vectors_are_zero_is_the_lstm_to_the_bit(self, size, dtype):
        T, B, H = size
        plain, ours = lstm(7, H, 2, bidirectional=True, dtype=dtype), lstm(7, H, 2, bidirectional=True, peephole=True)
        ours.to(dtype).load_state_dict(plain.state_dict(), strict=False)
        vectors = [name for name, _ in ours.named_parameters() if name.startswith("weight_c")]
        for name in vectors:
            ours.get_parameter(name).data.zero_()
        x, hx = random(T, B, 7, dtype=dtype), initial(plain, B, dtype)
        found, expected = results(ours, x, hx), results(plain, x, hx)
        assert found.keys() - expected.keys() == {f"d_{name}" for name in vectors}
        assert all(found[f"d_{name}"].abs().sum() > 0 for name in vectors)
        assert [name for name in expected if not torch.equal(found[name], expected[name])] == []

    def test_the_coupled_lstm_is_an_lstm_that_forgets_as_much_as_it_takes_in(self):
        """1 - sigmoid(a) = sigmoid(-a): an LSTM whose rows of f are those of i, negated."""
        ours, plain = lstm(5, 6, coupled=True, dtype=F64), lstm(5, 6, dtype=F64)
        for name, p in ours.named_parameters():
            i, g, o = p.data.chunk(3)
            plain.get_parameter(name).data.copy_(torch.cat([i, -i, g, o]))
        x, hx = random(9, 4, 5), initial(plain, 4, F64)
        found, expected = results(ours, x, hx), results(plain, x, hx)
        for name, _ in ours.named_parameters():
            d_i, d_f, d_g, d_o = expected[f"d_{name}"].chunk(4)
            expected[f"d_{name}"] = torch.cat([d_i - d_f, d_g, d_o])
        assert_same(found, expected, 1e-12)

    @either
    def test_second_derivatives(self, option):
        layer = lstm(2, 3, dtype=F64, **option)
        operands = [random(2, 2, 2), *initial(layer, 2, F64), *layer._flat_weights]

        def run(x, h, c, *weights):
            named = dict(zip(layer._flat_weights_names, weights, strict=True))
            output, (h_n, c_n) = torch.func.functional_call(layer, named, (x, (h, c)))
            return output, h_n, c_n

        operands = [t.detach().clone().requires_grad_() for t in operands]
        assert gradgradcheck(run, operands, atol=1e-6, fast_mode=True)


class TestParameters:
    @pytest.mark.parametrize(
        ("bias", "proj_size", "bidirectional", "layers"),
        [*itertools.product([True, False], [0, 2], [False, True], [1, 2])],
    )
    def test_names_shapes_and_order(self, bias, proj_size, bidirectional, layers):
        """torch's, with the number of gates; the vectors come last in each layer and direction."""
        options = {"bias": bias, "proj_size": proj_size, "bidirectional": bidirectional}
        torchs = {name: list(p.shape) for name, p in torch.nn.LSTM(3, 4, layers, **options).named_parameters()}
        suffixes = [f"_l{k}{end}" for k in range(layers) for end in (("", "_reverse") if bidirectional else ("",))]
        names = {s: [name for name in torchs if name.partition("_l")[2] == s[2:]] for s in suffixes}

        peephole = fastrnn.LSTM(3, 4, layers, **options, peephole=True)
        vectors = {s: [f"weight_c{gate}{s}" for gate in "ifo"] for s in suffixes}
        expected = torchs | {name: [4] for of_direction in vectors.values() for name in of_direction}
        order = [name for s in suffixes for name in names[s] + vectors[s]]
        assert {name: list(p.shape) for name, p in peephole.named_parameters()} == expected
        assert list(peephole.state_dict()) == list(dict(peephole.named_parameters())) == order
        assert peephole._flat_weights_names == order
        assert peephole.all_weights == [[peephole.get_parameter(n) for n in names[s] + vectors[s]] for s in suffixes]

        coupled = fastrnn.LSTM(3, 4, layers, **options, coupled=True)
        three_of_four = {n: [12, *size[1:]] if size[0] == 16 else size for n, size in torchs.items()}
        assert {name: list(p.shape) for name, p in coupled.named_parameters()} == three_of_four
        assert list(dict(coupled.named_parameters())) == list(torchs)

        for layer in (peephole, coupled):
            again = fastrnn.LSTM(3, 4, layers, **options, peephole=layer.peephole, coupled=layer.coupled)
            assert again.load_state_dict(layer.state_dict()).missing_keys == []
            x = random(5, 2, 3, dtype=F32)
            assert torch.equal(again(x)[0], layer(x)[0])
            assert max(p.abs().max() for p in layer.parameters()) <= 0.5  # 1 / sqrt(4), as in torch.nn
            assert all(p.abs().sum() > 0 for p in layer.parameters())

    def test_weights_of_another_cell_are_refused(self):
        state = fastrnn.LSTM(3, 4).state_dict()
        with pytest.raises(RuntimeError, match=r'Missing key.*"weight_ci_l0", "weight_cf_l0", "weight_co_l0"'):
            fastrnn.LSTM(3, 4, peephole=True).load_state_dict(state)
        with pytest.raises(RuntimeError, match="size mismatch for weight_ih_l0"):
            fastrnn.LSTM(3, 4, coupled=True).load_state_dict(state)

    @pytest.mark.parametrize("grad", [True, False])
    @either
    def test_the_option_cannot_change_later(self, option, grad):
        """The parameters would be another cell's."""
        (name,), x = option, random(5, 2, 3, dtype=F32)
        changed, back = fastrnn.LSTM(3, 4), fastrnn.LSTM(3, 4, **option)
        setattr(changed, name, True)
        setattr(back, name, False)
        for layer in (changed, back):
            with (
                torch.set_grad_enabled(grad),
                pytest.raises(RuntimeError, match=r"Expected (4|7) weights|to have . rows|weight_hh size"),
            ):
                layer(x)

    @either
    def test_not_laid_out_for_cudnn(self, option):
        layer = fastrnn.LSTM(3, 4, **option)
        places = [p.data_ptr() for p in layer.parameters()]
        layer.flatten_parameters()
        assert [p.data_ptr() for p in layer.parameters()] == places

    @either
    def test_weights_put_in_place(self, option):
        layer, x = lstm(3, 4, dtype=F64, **option), random(5, 2, 3)
        halved = {name: p.detach() / 2 for name, p in layer.named_parameters()}
        expected = lstm(3, 4, dtype=F64, **option)
        expected.load_state_dict(halved)
        assert torch.equal(torch.func.functional_call(layer, halved, (x,))[0], expected(x)[0])

        in_list = copy.deepcopy(layer)
        in_list._flat_weights = [halved[name] for name in layer._flat_weights_names]
        assert torch.equal(in_list(x)[0], expected(x)[0])

        class Half(torch.nn.Module):
            def forward(self, weight):
                return weight / 2

        parametrized = copy.deepcopy(layer)
        for name in halved:
            parametrize.register_parametrization(parametrized, name, Half())
        output = parametrized(x)[0]
        assert torch.equal(output, expected(x)[0])
        output.sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in parametrized.parameters())


class TestArguments:
    def test_both(self):
        with pytest.raises(
            ValueError, match="Expected peephole, coupled, layer_norm or none of them, got peephole and coupled"
        ):
            fastrnn.LSTM(3, 4, peephole=True, coupled=True)

    @pytest.mark.parametrize("value", [1, "yes", None, torch.tensor(True)], ids=repr)
    @either
    def test_not_a_bool(self, option, value):
        (name,) = option
        with pytest.raises(TypeError, match=f"Expected {name} to be a bool, got {type(value).__name__}"):
            fastrnn.LSTM(3, 4, **{name: value})

    @either
    def test_by_keyword_only(self, option):
        with pytest.raises(TypeError):
            fastrnn.LSTM(3, 4, 1, True, False, 0.0, False, 0, None, None, True)

    @either
    def test_repr(self, option):
        (name,) = option
        layer = fastrnn.LSTM(3, 4, proj_size=2, recompute=True, **option)
        assert repr(layer) == f"LSTM(3, 4, proj_size=2, recompute=True, {name}=True)"


class TestLayersLikeOthers:
    @either
    def test_an_lstm_to_isinstance_and_not_to_conversion(self, option):
        layer = lstm(3, 4, **option)
        assert isinstance(layer, torch.nn.LSTM)
        assert isinstance(layer, fastrnn.LSTM)
        model = torch.nn.Sequential(layer)
        assert fastrnn.convert(model)[0] is layer
        (name,) = option
        with pytest.raises(
            ValueError, match=rf"computes the same as 0: LSTM\(3, 4, {name}=True\); nothing was changed"
        ):
            fastrnn.to_torch(model)
        assert type(layer) is fastrnn.LSTM

    def test_what_torch_makes_is_neither(self):
        converted = fastrnn.convert(torch.nn.LSTM(3, 4))
        assert (converted.peephole, converted.coupled) == (False, False)
        with fastrnn.converted():
            assert type(fastrnn.LSTM(3, 4, peephole=True)) is fastrnn.LSTM

    @either
    def test_copies_and_pickles(self, option):
        layer, x = lstm(3, 4, 2, bidirectional=True, **option), random(5, 2, 3, dtype=F32)
        buffer = io.BytesIO()
        torch.save(layer, buffer)
        buffer.seek(0)
        for again in (
            copy.deepcopy(layer),
            pickle.loads(pickle.dumps(layer)),
            torch.load(buffer, weights_only=False),
        ):
            assert repr(again) == repr(layer)
            assert torch.equal(again(x)[0], layer(x)[0])
            with torch.no_grad():  # its own weights, not the first one's
                again.weight_hh_l1.zero_()
                assert not torch.equal(again(x)[0], layer(x)[0])

    @either
    def test_unbatched_and_packed(self, option):
        layer = lstm(3, 4, bidirectional=True, dtype=F64, **option)
        lengths, x = torch.tensor([2, 5, 3]), random(5, 3, 3)
        output, (h, c) = layer(pack_padded_sequence(x, lengths, enforce_sorted=False))
        padded, _ = pad_packed_sequence(output)
        for row, length in enumerate(lengths.tolist()):
            alone, (h_alone, c_alone) = layer(x[:length, row])
            for found, expected in (
                (padded[:length, row], alone),
                (h[:, row], h_alone),
                (c[:, row], c_alone),
            ):
                torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)

    @pytest.mark.parametrize("training", [False, True])
    @either
    def test_compiled_in_one_graph(self, option, training):
        layer, x = lstm(3, 4, 2, bidirectional=True, dtype=F64, **option), random(5, 2, 3)
        compiled = copy.deepcopy(layer)
        run = torch.compile(compiled, fullgraph=True, backend="aot_eager")
        if training:
            assert_same(results(compiled, x, None, call=lambda _, *given: run(*given)), results(layer, x, None), 1e-14)
        else:
            with torch.no_grad():
                torch.testing.assert_close(run(x), layer(x), rtol=0, atol=0)

    @pytest.mark.parametrize("strict", [False, True])
    @either
    def test_exported(self, option, strict):
        layer, x = lstm(3, 4, 2, bidirectional=True, proj_size=2, **option).eval(), random(5, 2, 3, dtype=F32)
        buffer = io.BytesIO()
        torch.export.save(torch.export.export(layer, (x,), strict=strict), buffer)
        buffer.seek(0)
        torch.testing.assert_close(torch.export.load(buffer).module()(x), layer(x), rtol=0, atol=0)

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
    @either
    def test_sixteen_bits_are_float32_rounded_once(self, option, dtype):
        narrow = lstm(3, 20, dtype=dtype, **option)
        # Six rows: of more, some processors round the operands of products too (test_bfloat16_products.py).
        wide, x, hx = copy.deepcopy(narrow).float(), random(3, 2, 3, dtype=dtype), initial(narrow, 2, dtype)
        found, expected = results(narrow, x, hx), results(wide, x.float(), tuple(s.float() for s in hx))
        assert [n for n in ("output", "h_n", "c_n") if not torch.equal(found[n], expected[n].to(dtype))] == []

    @pytest.mark.parametrize("low", [torch.bfloat16, torch.float16], ids=str)
    @either
    def test_autocast(self, option, low):
        """Computed in float32 and rounded once, to what autocast's dtype and the old c's promote to."""
        for dtype, of_input, of_h, of_c in itertools.product((F32, low), (F32, low), (None, F32, low), (F32, low)):
            layer = lstm(3, 4, 2, dtype=dtype, **option)
            x, (h, c) = random(5, 2, 3, dtype=of_input), initial(layer, 2, F32)
            hx = None if of_h is None else (h.to(of_h), c.to(of_c))
            with torch.autocast("cpu", low):
                output, state = layer(x, hx)
            promoted = torch.promote_types(low, of_input if hx is None else of_c)  # the initial zeros are as the input
            assert {t.dtype for t in (output, *state)} == {promoted}, (dtype, of_input, of_h, of_c)
            wide, hx = copy.deepcopy(layer).float(), None if hx is None else (hx[0].float(), hx[1].float())
            exact, exact_state = wide(x.float(), hx)
            assert torch.equal(output, exact.to(output.dtype))
            assert all(torch.equal(s, e.to(s.dtype)) for s, e in zip(state, exact_state, strict=True))

    @either
    def test_recompute_and_threads_change_no_bit(self, option):
        before = torch.get_num_threads()
        found = []
        for threads, recompute in itertools.product((1, 2), (False, True)):
            torch.set_num_threads(threads)
            layer = lstm(20, 150, bidirectional=True, recompute=recompute, **option)
            found.append(results(layer, random(37, 12, 20, dtype=F32), initial(layer, 12, F32)))
        torch.set_num_threads(before)
        for other in found[1:]:
            assert [name for name in found[0] if not torch.equal(found[0][name], other[name])] == []


def test_the_table_has_them():
    assert CELLS["peephole_lstm"].vectors == {"weight_ci": 1, "weight_cf": 1, "weight_co": 1}
    assert CELLS["coupled_lstm"].gates == 3
    assert all(CELLS[name].carries_c and CELLS[name].projectable for name in ("peephole_lstm", "coupled_lstm"))


def test_cudnn_lays_out_torchs_cells_alone(monkeypatch):
    """A coupled LSTM has a GRU's number of gates, and torch makes its weights as those; with a projection cuDNN would
    refuse them."""
    laid_out = []
    monkeypatch.setattr(torch.nn.RNNBase, "flatten_parameters", lambda self: laid_out.append(type(self)))
    fastrnn.LSTM(3, 4, proj_size=2, coupled=True)
    assert laid_out == []
    for layer in (fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN):
        layer(3, 4)
    assert laid_out == [fastrnn.LSTM, fastrnn.GRU, fastrnn.RNN]
