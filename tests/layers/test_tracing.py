"""torch.fx, torch.jit and torch.onnx: a layer is a leaf, traced, refused with the way out, or exported as torch's."""

import copy
import io

import pytest
import torch
from torch.fx.proxy import TraceError
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import OWN_CELLS, TORCH_CELLS, make, random, twins

F32 = torch.float32
# What torch says by itself, and of torch.nn's layers too.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Converting a tensor to a Python boolean:torch.jit.TracerWarning"),
]


class Model(torch.nn.Module):
    """Two layers and a cell, with states handed on."""

    def __init__(self, layer, cell):
        super().__init__()
        self.below, self.above, self.cell = layer, copy.deepcopy(layer), cell

    def forward(self, x):
        y, state = self.below(x)
        z, _ = self.above(x, state)
        return y + z, self.cell(x[0], self.cell(x[-1]))


def model(name, cell, **options):
    torch.manual_seed(5)
    return Model(getattr(fastrnn, name)(3, 4, **options), getattr(fastrnn, cell)(3, 4)).eval()


@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_fx_sees_leaves(name):
    whole, x = model(name, name + "Cell", num_layers=2), random(5, 2, 3, dtype=F32)
    traced = torch.fx.symbolic_trace(whole)
    assert [n.target for n in traced.graph.nodes if n.op == "call_module"] == ["below", "above", "cell", "cell"]
    assert traced.below is whole.below
    torch.testing.assert_close(traced(x), whole(x), rtol=0, atol=0)
    again = torch.fx.Transformer(traced).transform()
    torch.testing.assert_close(again(x), whole(x), rtol=0, atol=0)
    traced(x)[0].sum().backward()
    assert whole.below.weight_hh_l0.grad.abs().max() > 0


@pytest.mark.parametrize("module", [fastrnn.GRU(3, 4), fastrnn.LSTMCell(3, 4)], ids=str)
def test_fx_of_a_layer_alone_says_what_to_write(module):
    with pytest.raises(TraceError, match=r"torch.fx.symbolic_trace\(torch.nn.Sequential\(layer\)\)"):
        torch.fx.symbolic_trace(module)
    x = random(5, 3, dtype=F32)
    torch.testing.assert_close(torch.fx.symbolic_trace(torch.nn.Sequential(module))(x), module(x), rtol=0, atol=0)


@pytest.mark.parametrize("part", [None, "above", "cell"])
def test_script_is_refused_and_the_line_to_write_works(part):
    whole, x = model("LSTM", "LSTMCell"), random(5, 2, 3, dtype=F32)
    module = getattr(whole, part) if part else whole
    with pytest.raises(RuntimeError, match=r"torch.jit.script\(fastrnn.to_torch\(copy.deepcopy\(model\)\)\)"):
        torch.jit.script(module)
    assert type(whole.below) is fastrnn.LSTM  # nothing was replaced on the way
    module = torch.nn.Sequential(copy.deepcopy(whole.above))
    scripted = torch.jit.script(fastrnn.to_torch(copy.deepcopy(module)))
    torch.testing.assert_close(scripted(x), module(x))


@pytest.mark.parametrize("cell", [*TORCH_CELLS, *OWN_CELLS])
def test_jit_trace(cell):
    layer = make(fastrnn.nn, cell, 3, 4, num_layers=2, bidirectional=True).eval()
    x = random(5, 2, 3, dtype=F32)
    with torch.no_grad():
        traced = torch.jit.trace(layer, (x,))
    buffer = io.BytesIO()
    torch.jit.save(traced, buffer)
    buffer.seek(0)
    other = random(7, 3, 3, dtype=F32, seed=8)
    torch.testing.assert_close(torch.jit.load(buffer)(other), layer(other), rtol=0, atol=0)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_an_onnx_exporter_gets_torchs_operator(cell, recompute, monkeypatch):
    layer = make(fastrnn.nn, cell, 3, 4, num_layers=2, recompute=recompute).eval()
    x = random(5, 2, 3, dtype=F32)
    monkeypatch.setattr("torch.onnx.is_in_onnx_export", lambda: True)
    traced = torch.jit.trace(layer, (x,), check_trace=False)
    kinds = {node.kind() for node in traced.inlined_graph.nodes()}
    assert "aten::" + ("lstm" if cell == "lstm_projected" else cell) in kinds
    assert "fastrnn::forward" not in kinds


class Packed(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x, lengths):
        output, final = self.layer(pack_padded_sequence(x, lengths))
        return torch.nn.utils.rnn.pad_packed_sequence(output)[0], final


class TestOnnx:
    """Exported twice, torch.nn's layer and ours: the same nodes, and onnxruntime's numbers are ours."""

    @pytest.fixture(autouse=True)
    def _needs(self):
        pytest.importorskip("onnx", reason="in the extra `bench`")
        pytest.importorskip("onnxruntime", reason="in the extra `bench`")

    def nodes_and_numbers(self, module, arguments, tmp_path, **options):
        import onnx
        import onnxruntime

        path = tmp_path / "layer.onnx"
        torch.onnx.export(module, arguments, path, verbose=False, **options)
        session = onnxruntime.InferenceSession(path)
        names = [i.name for i in session.get_inputs()]
        numbers = session.run(None, {n: a.numpy() for n, a in zip(names, arguments, strict=False)})
        return [node.op_type for node in onnx.load(path).graph.node], [torch.from_numpy(n) for n in numbers]

    def compare(self, theirs, arguments, tmp_path, expected_nodes, same=True, **options):
        ours = fastrnn.convert(copy.deepcopy(theirs))
        nodes, numbers = self.nodes_and_numbers(ours, arguments, tmp_path, **options)
        assert not same or nodes == self.nodes_and_numbers(theirs, arguments, tmp_path, **options)[0]
        assert set(expected_nodes) <= set(nodes)
        expected = torch.utils._pytree.tree_leaves(ours(*arguments))
        for found, value in zip(numbers, expected, strict=True):
            torch.testing.assert_close(found, value)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning", "ignore::torch.jit.TracerWarning")
    @pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
    def test_torchscript(self, cell, tmp_path):
        theirs, ours = twins(cell, 3, 4, num_layers=2, bidirectional=True)
        arguments, name = (random(5, 2, 3, dtype=F32),), type(ours).__name__
        with torch.no_grad():
            self.compare(theirs.eval(), arguments, tmp_path, [name], dynamo=False)
            packed = (random(5, 2, 3, dtype=F32), torch.tensor([5, 3]))
            self.compare(Packed(theirs), packed, tmp_path, [name], same=False, dynamo=False)
            step = getattr(torch.nn, name + "Cell")(3, 4)
            self.compare(step, (random(2, 3, dtype=F32),), tmp_path, [], dynamo=False)

    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
    def test_dynamo(self, tmp_path):
        pytest.importorskip("onnxscript", reason="in the extra `bench`")
        theirs, _ = twins("lstm", 3, 4, num_layers=2, bidirectional=True)
        with torch.no_grad():
            self.compare(theirs.eval(), (random(5, 2, 3, dtype=F32),), tmp_path, ["LSTM"], dynamo=True)
