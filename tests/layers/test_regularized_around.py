"""Recurrent dropout and zoneout in transforms, graphs, frozen layers and streams, and where the reference runs."""

import copy

import pytest
import torch
import torch._dynamo.testing
from torch.autograd import gradcheck
from torch.func import functional_call, grad, jvp, vmap
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
from fastrnn._core import backend, operators
from fastrnn._core.call import call_of
from fastrnn._core.operators import run_reference
from tests.support.regularized import computed, flat, layer_of
from tests.support.twins import CELLS, PLAIN_CELLS, assert_same, by_reference, random

# Of torch's forward mode.
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")

F32, F64 = torch.float32, torch.float64


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
    """On CUDA layers with lengths, and those with layer normalization."""
    layer, x = layer_of("lstm", 8, (0.5, 0.25, 0.25), dtype=F64), random(6, 2, 3)
    expected, calls = computed(layer, x, None), []
    monkeypatch.setattr(backend, "_kernels_know_options", lambda call: False)
    monkeypatch.setattr(operators, "run_reference", lambda call: calls.append(call) or run_reference(call))
    assert_same(computed(layer, x, None), expected)
    assert_same(computed(layer, x, None, lengths=torch.tensor([6, 6])), expected)
    assert len(calls) == 2


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("dtype", [F32, torch.bfloat16])
def test_every_cell_runs_in_the_kernels(cell, dtype, monkeypatch):
    monkeypatch.setattr(operators, "run_reference", None)
    layer = layer_of(cell, 8, (0.5, 0.25, 0.25), dtype=dtype)
    for rows in ({}, {"lengths": torch.tensor([6, 4]), "resets": random(6, 2) < -1, "return_states": True}):
        layer(random(6, 2, 3, dtype=dtype), **rows)[0].sum().backward()
    layer.eval()(random(6, 2, 3, dtype=dtype))


class TestPacked:
    """Zoneout at inference, with weights that are packed once and for all."""

    @pytest.mark.parametrize(("numbers", "dtype"), [
        ("float32", F32), ("float32", torch.bfloat16), ("bfloat16", F32), ("bfloat16", torch.float16), ("int8", F32),
        ("int8", torch.bfloat16),
    ])  # fmt: skip
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

    @pytest.mark.parametrize(("numbers", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-5), ("int8", 0.03)])
    @pytest.mark.parametrize("cell", sorted(CELLS.keys() - PLAIN_CELLS.keys()))
    def test_with_layer_normalization(self, cell, numbers, tolerance):
        """Beside the reference with the weights as they are packed: normalization magnifies what rounds them."""
        layer = layer_of(cell, 24, (0.5, 0.1, 0.3), num_layers=2, bidirectional=True).eval()
        packed = fastrnn.freeze(layer) if numbers == "float32" else fastrnn.quantize(layer, dtype=numbers)
        x, exact = random(9, 8, 3, dtype=F32), fastrnn.dequantize(packed).double()
        with torch.no_grad():
            for options in ({}, {"lengths": torch.arange(8) + 2, "return_states": True}):
                found, expected = flat(packed(x, **options)), flat(by_reference(exact, x.double(), None, **options))
                for a, b in zip(found, expected, strict=True):
                    assert (a - b).norm() <= tolerance * b.norm()

    @pytest.mark.parametrize("numbers", ["float32", "bfloat16", "int8"])
    @pytest.mark.parametrize("cell", CELLS)
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
