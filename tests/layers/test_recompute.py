"""recompute=True: the same bits of everything, for far less that is kept between the forward and the backward pass."""

import copy
import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from fastrnn import ops
from fastrnn._core import backend
from tests.operators.test_operators import _arguments
from tests.support import twins
from tests.support.twins import CELLS, PLAIN_CELLS, TORCH_CELLS, initial, make, random, results

pytestmark = pytest.mark.usefixtures("device")

F32, F64 = torch.float32, torch.float64

# T, B, I, H. The backward pass goes in chunks of 256 rows, what is recomputed in whole chunks of 8 steps or more.
SHAPES = [
    (1, 1, 3, 2),  # weights read where they lie
    (9, 5, 17, 33),
    (300, 3, 8, 20),  # chunks of 85 steps, each a segment
    (37, 40, 9, 16),  # of 6 steps, two to a segment
    (19, 300, 5, 24),  # of one step, eight to a segment; threads share out rows
    (12, 12, 40, 300),  # threads share out hidden units
]


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def _assert_same_bits(cell, x, batch, arrange=lambda x: x, state=True, **options):
    """Outputs, states and all gradients, with and without. On CUDA gradients come of products of other pieces."""
    plain = make(fastrnn.nn, cell, x.size(-1), **options)
    again = make(fastrnn.nn, cell, x.size(-1), **options, recompute=True)
    hx = initial(plain, batch, x.dtype) if state else None
    expected, found = (results(layer, x, hx, arrange) for layer in (plain, again))
    if twins.DEVICE == "cuda":
        for name in [name for name in found if name.startswith("d_")]:
            torch.testing.assert_close(found.pop(name), expected.pop(name), rtol=1e-4, atol=1e-4)
    different = [name for name, value in expected.items() if not torch.equal(found[name], value)]
    assert not different


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_same_bits(cell, shape, threads):
    times, batch, inputs, hidden = shape
    torch.set_num_threads(threads)
    options = {"hidden_size": hidden, "bidirectional": True}
    for dtype in (F32, F64):
        _assert_same_bits(cell, random(times, batch, inputs, dtype=dtype), batch, dtype=dtype, **options)


@pytest.mark.parametrize("options", [
    {"bias": False}, {"batch_first": True}, {"num_layers": 2, "bidirectional": True},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_with_options(cell, options):
    shape = (40, 19) if options.get("batch_first") else (19, 40)
    for state in (True, False):
        _assert_same_bits(cell, random(*shape, 5, dtype=F32), 40, hidden_size=18, state=state, **options)


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=60),
    cell=st.sampled_from(list(CELLS)),
    bidirectional=st.booleans(),
    state=st.booleans(),
)
def test_same_bits_for_any_lengths(lengths, cell, bidirectional, state):
    """Rows that end, or in the other direction begin, inside and at the edge of what is recomputed at a time."""

    def arrange(x):
        return pack_padded_sequence(x, lengths, enforce_sorted=False)

    x = random(max(lengths), len(lengths), 3, dtype=F32)
    _assert_same_bits(cell, x, len(lengths), arrange, state, hidden_size=9, bidirectional=bidirectional)


def test_same_bits_for_rows_that_lie_apart():
    """A transposed input, and an incoming gradient that is a view of something wider."""
    grads = []
    for recompute in (False, True):
        layer = make(fastrnn.nn, "lstm", 6, 20, recompute=recompute)
        x = random(33, 50, 6, dtype=F32).transpose(0, 1).requires_grad_()
        output, _ = layer(x)
        wide = random(50, 33, 64, dtype=F32)
        grads.append(torch.autograd.grad(output, [x, *layer.parameters()], wide[:, :, 11:31]))
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_gradcheck(cell):
    """Nine steps: two segments."""
    layer = make(fastrnn.nn, cell, 2, 4, bidirectional=True, dtype=F64, recompute=True)
    names = list(layer._flat_weights_names)

    def run(input, *weights):
        return torch.func.functional_call(layer, dict(zip(names, weights, strict=True)), (input,))[0]

    operands = [random(9, 33, 2), *layer._flat_weights]
    assert gradcheck(run, [t.detach().clone().requires_grad_() for t in operands], atol=1e-7, fast_mode=True)


@pytest.mark.parametrize("cell", ["lstm", "layer_norm_lstm"])
def test_second_derivative(cell):
    layer = make(fastrnn.nn, cell, 2, 3, dtype=F64, recompute=True).requires_grad_(False)
    assert gradgradcheck(lambda x: layer(x)[0], [random(2, 2, 2).requires_grad_()], atol=1e-6, fast_mode=True)


def _kept(layer, x):
    """Bytes that autograd keeps beside the input, the output and the weights."""
    tensors = {}
    address = torch._C._data_address  # data_ptr() would make a copy of an output that is shared until it is changed

    def pack(t):
        tensors[address(t)] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output, _ = layer(x)
    known = {address(t) for t in (x, output, *layer.parameters())}
    return sum(t.numel() * t.element_size() for p, t in tensors.items() if p not in known)


@pytest.mark.cpu
@pytest.mark.parametrize("batch", [1, 32, 300])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_what_is_kept(cell, batch):
    """Nothing; of an LSTM one c in eight steps instead of five numbers a step (four coupled, six with a projection)."""
    times, hidden = 40, 32
    x = random(times, batch, 8, dtype=F32).requires_grad_()
    plain, again = (_kept(make(fastrnn.nn, cell, 8, hidden, recompute=r), x) for r in (False, True))
    number = times * batch * hidden * x.element_size()
    saves = 6 if "projected" in cell else 4 if "coupled" in cell else 5 if "lstm" in cell else 4 if "gru" in cell else 0
    assert plain == saves * number
    assert again == (number // 8 if "lstm" in cell else 0)


# With a share of h, of c or of each that zoneout's masks keep: those are kept, whatever else is not.
OPTIONS = [
    ({}, 0),
    ({"zoneout_h": 0.1}, 1),
    ({"zoneout_c": 0.1}, 1),
    ({"zoneout_h": 0.1, "zoneout_c": 0.1}, 2),
    ({"recurrent_dropout": 0.1}, 0),
    ({"weight_dropout": 0.1}, 0),
    ({"learn_initial_state": True}, 0),
    ({"heads": 4}, 0),
    ({"bias": False, "batch_first": True}, 0),
    ({"dtype": torch.float64}, 0),
]


@pytest.mark.cpu
@pytest.mark.parametrize(("options", "masks"), OPTIONS, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_no_cell_and_no_option_keeps_what_can_be_found_again(cell, options, masks):
    if "zoneout_c" in options and "lstm" not in cell:
        pytest.skip("no c")
    times, batch, hidden = 120, 32, 64
    x = random(times, batch, 8, dtype=options.get("dtype", F32)).requires_grad_()
    plain, again = (_kept(make(fastrnn.nn, cell, 8, hidden, **options, recompute=r), x) for r in (False, True))
    number = times * batch * hidden * x.element_size()
    assert again <= (masks + 0.3) * number  # an eighth is c; masks of one step, and of weights, are the rest
    saves_nothing = cell.startswith("rnn") and "zoneout_h" not in options
    assert plain > (masks + 0.9) * number or saves_nothing


# Cells that cannot find again what they save, in kernels and in plain torch: the layer runs a second time.
SECOND_TIME = [
    ("layer_norm_rnn_tanh", {}),
    ("layer_norm_lstm", {}),
    ("layer_norm_gru", {"zoneout_h": 0.3, "recurrent_dropout": 0.3}),
    ("rnn_tanh", {"zoneout_h": 0.3}),
]


@pytest.fixture(params=SECOND_TIME, ids=str)
def with_and_without(request):
    """Two layers, and a function that runs one with the random numbers of a seed."""
    cell, options = request.param
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "dtype": F64} | options
    layers = [make(fastrnn.nn, cell, 4, 6, **options, recompute=r) for r in (False, True)]

    def run(layer, x, **given):
        torch.manual_seed(3)
        return layer(x, **given)[0]

    return layers, run


def _assert_equal(found):
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


class TestASecondTime:
    @pytest.mark.parametrize("given", [{}, {"lengths": torch.tensor([0, 9, 4])}])
    def test_same_bits(self, with_and_without, given):
        """Of masks, too, wherever the generator is when the backward pass comes."""
        layers, run = with_and_without
        given = given | {"resets": random(9, 3) < -0.5} if given else given
        found = []
        for layer in layers:
            x = random(9, 3, 4).requires_grad_()
            output = run(layer, x, **given)
            torch.manual_seed(4)
            found.append([output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])])
        _assert_equal(found)

    def test_gradients_of_gradients(self, with_and_without):
        layers, run = with_and_without
        found = []
        for layer in layers:
            x = random(5, 2, 4).requires_grad_()
            wanted = [x, *layer.parameters()]
            first = torch.autograd.grad(run(layer, x).square().sum(), wanted, create_graph=True)
            found.append(torch.autograd.grad(sum(g.square().sum() for g in first), wanted))
        _assert_equal(found)

    def test_gradients_in_a_batch(self, with_and_without):
        layers, run = with_and_without
        found = []
        for layer in layers:
            x = random(5, 2, 4).requires_grad_()
            output = run(layer, x)
            incoming = torch.stack([output, 2 * output]).detach()
            found.append(torch.autograd.grad(output, [x, *layer.parameters()], incoming, is_grads_batched=True))
        _assert_equal(found)

    def test_inside_torch_func(self, with_and_without):
        """Where torch's checkpoint does not work: there all is saved."""
        layers, run = with_and_without
        x = random(5, 2, 4)
        _assert_equal([[torch.func.grad(lambda x, of=of: run(of, x).square().sum())(x)] for of in layers])
        _assert_equal([[torch.vmap(lambda x, of=of: run(of, x), randomness="same")(x[None])] for of in layers])

    def test_exported(self, with_and_without):
        layers, run = with_and_without
        x = random(2, 2, 4)
        exported = [torch.export.export(layer.eval(), (x,), strict=False).module() for layer in layers]
        _assert_equal([[run(program, x)] for program in exported])


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "batch_first": True}, {"packed": True}], ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_opcheck(cell, options):
    arguments = _arguments(cell, **options)
    if options.get("batch_first"):  # (B, T, I) with the batch of the states
        arguments = (arguments[0], random(3, 4, 5, dtype=F32), *arguments[2:])
    name, input, sizes, h0, c0, weights, *flags = arguments
    projected = "projected" in cell
    torch.library.opcheck(ops.forward, (*arguments, True, True, projected))
    output, _, cn, saved = ops.forward(*arguments, True, True, projected)
    assert saved.dim() == (3 if name.startswith("rnn") else 2)  # rows, or checkpoints in one piece
    incoming = (torch.ones_like(output), None, torch.ones_like(cn) if c0 is not None else None)
    needs = [True, True, c0 is not None, *([True] * len(weights))]
    operands = (name, *incoming, input, sizes, h0, c0, weights, output, saved)
    torch.library.opcheck(ops.backward, (*operands, *flags, needs, True, projected))
    leaves = [w.requires_grad_() for w in weights]
    torch.library.opcheck(
        ops.forward, (name, input.requires_grad_(), sizes, h0, c0, leaves, *flags, False, True, projected)
    )


def test_saved_of_another_size_is_refused():
    name, input, sizes, h0, c0, weights, *flags = _arguments("lstm")
    output, _, _, saved = ops.forward(name, input, sizes, h0, c0, weights, *flags, True, True)
    needs = [True] * (3 + len(weights))
    for wrong in (saved[:0], saved[:, :0], saved[:, :8].contiguous()):
        with pytest.raises(RuntimeError, match="Expected saved size"):
            ops.backward(name, output, None, None, input, sizes, h0, c0, weights, output, wrong, *flags, needs, True)


@pytest.mark.parametrize("cell", CELLS)
def test_compile_in_one_graph(cell):
    layer = make(fastrnn.nn, cell, 5, 6, num_layers=2, bidirectional=True, recompute=True)
    grads = []
    for run in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        x = random(19, 3, 5, dtype=F32).requires_grad_()
        output, _ = run(x)
        grads.append([output, *torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])])
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_and_autocast(dtype, device):
    plain, again = (make(fastrnn.nn, "lstm", 5, 16, recompute=r) for r in (False, True))
    x = random(19, 3, 5, dtype=F32)
    found = []
    for layer in (plain, again):
        layer.zero_grad()
        with torch.autocast(device, dtype):
            layer(x)[0].float().square().sum().backward()
        found.append([p.grad for p in layer.parameters()])
        found[-1] += results(copy.deepcopy(layer).to(dtype), x.to(dtype), None).values()
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.cpu
@pytest.mark.parametrize("cell", CELLS)
def test_without_kernels(cell, monkeypatch):
    """As on another device: the same numbers, and nothing kept but what goes into a layer."""
    monkeypatch.setattr(backend, "kernels_serve", lambda input: False)
    monkeypatch.setattr(backend._C, "run_layer", lambda *arguments: None)
    options = {"num_layers": 2, "bidirectional": True, "dropout": 0.5, "dtype": F64}
    plain, again = (make(fastrnn.nn, cell, 4, 6, **options, recompute=r) for r in (False, True))
    x, hx = random(19, 3, 4), initial(plain, 3, F64)
    found = []
    for layer in (plain, again):
        torch.manual_seed(3)
        found.append(results(layer, x, hx))
    assert all(torch.equal(found[0][name], found[1][name]) for name in found[0])
    assert _kept(again, x.requires_grad_()) < _kept(plain, x) / 2


@pytest.mark.cpu
def test_without_kernels_torchs_operator_has_no_dropout_of_its_own(monkeypatch):
    """Its mask on a GPU comes from a random state that nobody can put back for the second time."""
    monkeypatch.setattr(backend, "kernels_serve", lambda input: False)
    monkeypatch.setattr(backend._C, "run_layer", lambda *arguments: None)
    seen = []
    operator = backend._TORCH_OPERATORS["lstm"]

    def spy(input, hx, weights, biases, layers, dropout, *rest):
        seen.append((layers, dropout))
        return operator(input, hx, weights, biases, layers, dropout, *rest)

    monkeypatch.setitem(backend._TORCH_OPERATORS, "lstm", spy)
    layer = make(fastrnn.nn, "lstm", 4, 6, num_layers=2, dropout=0.5, recompute=True)
    layer(random(5, 3, 4, dtype=F32))[0].sum().backward()
    assert seen == [(1, 0.0)] * 4  # two layers, each again


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_functional(name):
    layer = make(fastrnn.nn, {"rnn": "rnn_tanh"}.get(name, name), 4, 6)
    x = random(19, 3, 4, dtype=F32).requires_grad_()
    weights = list(layer.parameters())
    run = getattr(fastrnn.functional, name)
    plain, again = (torch.autograd.grad(run(x, None, weights, recompute=r)[0].sum(), weights) for r in (False, True))
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))


@pytest.mark.parametrize("cell", CELLS)
def test_as_a_module(cell):
    plain, again = (make(fastrnn.nn, cell, 4, 6, recompute=r) for r in (False, True))
    assert "recompute" not in repr(plain)
    assert "recompute=True" in repr(again)
    assert plain.state_dict().keys() == again.state_dict().keys()
    assert pickle.loads(pickle.dumps(again)).recompute is True
    old = copy.deepcopy(plain)
    del old.__dict__["recompute"]  # as one that was pickled before there was such a thing
    assert pickle.loads(pickle.dumps(old)).recompute is False
    x = random(3, 2, 4, dtype=F32)
    torch.testing.assert_close(old(x)[0], plain(x)[0])
    with pytest.raises(TypeError, match="Expected recompute to be a bool, got int"):
        make(fastrnn.nn, cell, 4, 6, recompute=1)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_converted(cell):
    layer = fastrnn.convert(make(torch.nn, cell, 4, 6))
    assert layer.recompute is False
    layer.recompute = True
    assert "recompute" not in fastrnn.to_torch(layer).__dict__


PROGRAM = """
import json, torch
import fastrnn.nn
from fastrnn import _C
from tests.layers.test_recompute import SHAPES
from tests.support import twins
from tests.support.twins import CELLS, initial, make, random, results

different = []
for dtype in (torch.float32, torch.float64):
    for cell in CELLS:
        for times, batch, inputs, hidden in SHAPES:
            plain, again = (make(fastrnn.nn, cell, inputs, hidden, bidirectional=True, dtype=dtype, recompute=r)
                            for r in (False, True))
            x, hx = random(times, batch, inputs, dtype=dtype), initial(plain, batch, dtype)
            expected, found = results(plain, x, hx), results(again, x, hx)
            different += [f"{dtype} {cell} {name}" for name in expected if not torch.equal(found[name], expected[name])]
print(json.dumps({"set": _C.instruction_set(), "different": different}))
"""


@pytest.mark.cpu
@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_same_bits_on_other_instruction_sets(isa):
    """The compiler may fuse multiplications and additions otherwise in each, but then in both passes alike."""
    if fastrnn.info()["instruction_set"] == "generic" != isa:
        pytest.skip(f"this processor has no {isa}")
    environment = os.environ | {"FASTRNN_ISA": isa}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"set": isa, "different": []}
