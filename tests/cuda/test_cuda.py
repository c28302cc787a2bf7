"""What is special to CUDA: who computes, streams, graphs, no waiting, the same bits, TF32, tensors beyond 2^31.

Run with `pytest --device cuda`, as the other tests that are of any device. All of them ask for fastrnn's own kernels
(the fixture `device`); who runs without that is tested at the end, and without a GPU in test_cuda_default.py.
"""

import warnings

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn.nn
from fastrnn._core import backend, gpu
from fastrnn._verify import Case, all_cases, verify
from fastrnn._verify.cases import Shape
from tests.support import twins
from tests.support.twins import PLAIN_CELLS, TORCH_CELLS, initial, make, random, results

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
F32 = torch.float32


pytestmark = pytest.mark.usefixtures("on_cuda")


def fail(*arguments, **options):
    raise AssertionError("not fastrnn's kernels")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_the_kernels_serve_every_cell_and_dtype(cell, dtype, monkeypatch):
    layer = make(fastrnn.nn, cell, 5, 6, num_layers=2, bidirectional=True, dtype=dtype)
    monkeypatch.setattr(backend, "_torch_operator", fail)
    monkeypatch.setattr(backend.operators, "run_reference", fail)
    found = results(layer, random(4, 3, 5, dtype=dtype), initial(layer, 3, dtype))
    assert {t.dtype for t in found.values()} == {dtype}
    assert {t.device.type for t in found.values()} == {"cuda"}
    assert all(t.isfinite().all() for t in found.values())


QUICK = [case for case in all_cases(quick=True, tf32=True) if not case.proj_size]
LARGE = [  # more than a block of rows, units and inputs, and sizes that tensor cores are made for
    Case(cell, dtype, shape, tf32=tf32)
    for cell in ("rnn_tanh", "gru", "gru_reset_before", "lstm")
    for dtype, tf32 in [*((dtype, False) for dtype in DTYPES), (F32, True)]
    for shape in (Shape(4, 96, 128, 512), Shape(40, 16, 128, 256, bidirectional=True))
]


@pytest.mark.parametrize("case", [*QUICK, *LARGE], ids=lambda case: f"{case.cell}-{case.precision}-{case.shape.H}")
def test_errors_are_as_verify_allows(case):
    (result,) = verify([case], "cuda")
    assert result.passed, result.worst


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_the_same_bits_twice(cell, dtype, every):
    layer = make(fastrnn.nn, cell, 129, 130, bidirectional=True, learn_initial_state=every, dtype=dtype)
    x, hx = random(20, 33, 129, dtype=dtype), None if every else initial(layer, 33, dtype)
    options = {"resets": torch.rand(20, 33, device="cuda") < 0.1, "return_states": True} if every else {}
    first, second = (results(layer, x, hx, **options) for _ in range(2))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_another_stream_is_waited_for_and_used(cell):
    layer = make(fastrnn.nn, cell, 17, 32, num_layers=2)
    x = random(9, 5, 17, dtype=F32)
    expected, late = results(layer, x, None), torch.zeros_like(x)
    torch.cuda.synchronize()
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)  # some 50 ms, in which kernels on any other stream read zeros
        late.copy_(x)
        found = results(layer, late, None)
    stream.synchronize()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []


def warmed_up(run):
    """Runs it as CUDA graphs want: a few times on a stream of its own before the capture."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream().wait_stream(stream)


@pytest.mark.parametrize("dtype", [F32, torch.float16], ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_graph_of_inference(cell, dtype):
    layer = make(fastrnn.nn, cell, 17, 32, num_layers=2, bidirectional=True, dtype=dtype)
    x, other = (random(9, 5, 17, dtype=dtype, seed=seed) for seed in (1, 2))
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        expected = layer(other)[0]
        warmed_up(lambda: layer(x))
        with torch.cuda.graph(graph):
            output, _ = layer(x)
        x.copy_(other)
        graph.replay()
    torch.testing.assert_close(output, expected)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_graph_of_a_training_step(cell, recompute):
    layer = make(fastrnn.nn, cell, 17, 32, recompute=recompute)
    x, other = (random(9, 5, 17, dtype=F32, seed=seed).requires_grad_() for seed in (1, 2))
    leaves = [x, *layer.parameters()]

    def step(input):
        return torch.autograd.grad(layer(input)[0].square().sum(), [input, *layer.parameters()])

    expected = step(other)
    warmed_up(lambda: step(x))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(x)
    with torch.no_grad():
        x.copy_(other)
    graph.replay()
    assert len(found) == len(leaves)
    torch.testing.assert_close(found, expected)


def flat(found):
    """The tensors of what a layer returns."""
    return [t for each in found for t in (each if isinstance(each, tuple) else (each,)) if t is not None]


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_graph_reads_the_resets_of_its_replay(cell, recompute):
    layer = make(fastrnn.nn, cell, 17, 32, num_layers=2, learn_initial_state=True, recompute=recompute)
    x = random(9, 5, 17, dtype=F32).requires_grad_()
    resets, other = (torch.rand(9, 5, device="cuda") < 0.3 for _ in range(2))
    leaves = [x, *layer.parameters()]

    def step(resets):
        found = flat(layer(x, resets=resets, return_states=True))
        gradients = torch.autograd.grad(sum(t.square().sum() for t in found), leaves)
        return [t.detach() for t in found] + list(gradients)  # what kept the graph would tie it to this stream

    expected = step(other)
    warmed_up(lambda: step(resets))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(resets)
    resets.copy_(other)
    graph.replay()
    torch.testing.assert_close(found, expected)


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")  # torch says so once
@pytest.mark.parametrize("given", ["padded", "packed", "resets"])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_the_host_never_waits(cell, dtype, given):
    packed, every = given == "packed", given == "resets"
    layer = make(fastrnn.nn, cell, 5, 16, num_layers=2, bidirectional=True, learn_initial_state=every, dtype=dtype)
    x = random(7, 4, 5, dtype=dtype).requires_grad_()
    input = pack_padded_sequence(x, [7, 5, 5, 1]) if packed else x
    options = {"resets": torch.rand(7, 4, device="cuda") < 0.3, "return_states": True} if every else {}
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = layer(input, **options)[0]
        torch.autograd.grad((output.data if packed else output).sum(), [x, *layer.parameters()])
        with torch.no_grad():
            layer(input, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_device_that_is_not_the_current_one(cell, monkeypatch):
    expected = results(make(fastrnn.nn, cell, 5, 16), random(7, 4, 5, dtype=F32), None)
    monkeypatch.setattr(twins, "DEVICE", "cuda:1")
    assert torch.cuda.current_device() == 0
    found = results(make(fastrnn.nn, cell, 5, 16), random(7, 4, 5, dtype=F32), None)
    assert {t.device.index for t in found.values()} == {1}
    torch.testing.assert_close({name: t.to("cuda:0") for name, t in found.items()}, expected)


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_a_tensor_on_the_cpu_is_refused(cell):
    layer = make(fastrnn.nn, cell, 5, 16)
    x, hx = random(7, 4, 5, dtype=F32), initial(layer, 4, F32)
    for input, state in ((x.cpu(), None), (x, tuple(t.cpu() for t in hx) if isinstance(hx, tuple) else hx.cpu())):
        with pytest.raises(RuntimeError, match="on the input's device") as caught:
            layer(input, state)
        assert "cpu" in str(caught.value)
        assert "cuda:0" in str(caught.value)


@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_the_tf32_switch_is_obeyed(cell):
    layer = make(fastrnn.nn, cell, 256, 256, dtype=torch.float64)
    x = random(20, 64, 256)
    with torch.no_grad():
        exact = layer(x)[0]
        layer.float()
        errors = {}
        for allowed in (False, True):
            with gpu.tf32(allowed):
                errors[allowed] = (layer(x.float())[0] - exact).abs().max().item()
    assert errors[False] < 2e-5
    assert 10 * errors[False] < errors[True] < 2e-2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_autocast(cell, dtype):
    layer = make(fastrnn.nn, cell, 5, 16, num_layers=2)
    x, hx = random(6, 3, 5, dtype=F32), initial(layer, 3, F32)
    with torch.autocast("cuda", dtype):
        output, final = layer(x, hx)
    assert {t.dtype for t in (output, *(final if isinstance(final, tuple) else (final,)))} == {dtype}
    torch.testing.assert_close(output.float(), layer(x, hx)[0], rtol=0.05, atol=0.05)
    output.float().sum().backward()
    assert all(p.grad.dtype == F32 and p.grad.isfinite().all() for p in layer.parameters())


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_recompute_takes_less_memory(cell):
    x = random(256, 64, 64, dtype=F32)
    grown = []
    for recompute in (False, True):
        layer = make(fastrnn.nn, cell, 64, 256, recompute=recompute)
        before = torch.cuda.memory_allocated()
        output = layer(x)[0]
        grown.append(torch.cuda.memory_allocated() - before - output.nbytes)
    assert grown[1] < grown[0] / 4


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_by_default_torchs_operator_runs_as_in_torch_nn(cell, training, monkeypatch):
    """The very numbers, gradients in eval mode too, and weights in one piece: cuDNN warns if it must copy them."""
    theirs, ours = twins.twins(cell, 5, 16, num_layers=2, bidirectional=True)
    x, hx = random(6, 3, 5, dtype=F32), initial(theirs, 3, F32)
    expected = results(theirs, x, hx)
    with monkeypatch.context() as default, warnings.catch_warnings():
        default.delenv(gpu.KERNEL)
        default.setattr(backend.autograd, "layer", fail)
        warnings.simplefilter("error")
        found = results(ours.train(training), x, hx)
        with torch.no_grad(), torch.autocast("cuda", torch.float16):
            ours(x, hx)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("name", ["RNNCell", "GRUCell", "LSTMCell"])
def test_by_default_torchs_cells_run(name, monkeypatch):
    theirs, ours = (getattr(package, name)(5, 16, device="cuda") for package in (torch.nn, fastrnn.nn))
    ours.load_state_dict(theirs.state_dict())
    x = random(3, 5, dtype=F32).requires_grad_()
    with monkeypatch.context() as default:
        default.delenv(gpu.KERNEL)
        default.setattr(backend.autograd, "layer", fail)
        found, expected = ours(x), theirs(x)
    torch.testing.assert_close(found, expected)
    first = found[0] if isinstance(found, tuple) else found
    first.sum().backward()
    assert x.grad.isfinite().all()


class TestBeyond31Bits:
    """The last rows of a large batch, whose offsets do not fit 32 bits, come out as they do by themselves."""

    LAST = slice(-4, None)

    @pytest.fixture(autouse=True)
    def _room(self, on_cuda):
        free, _ = torch.cuda.mem_get_info()
        if free < 40 << 30:
            pytest.skip(f"needs 40 GiB of GPU memory, {free >> 30} are free")
        yield
        torch.cuda.empty_cache()

    def test_of_outputs(self):
        layer = make(fastrnn.nn, "rnn_tanh", 8, 1024, dtype=torch.float16)
        x = torch.randn(1030, 2048, 8, dtype=torch.float16, device="cuda")
        with torch.no_grad():
            output, _ = layer(x)
            alone, _ = layer(x[:, self.LAST])
        assert output.numel() > 2**31
        torch.testing.assert_close(output[:, self.LAST], alone, rtol=0, atol=0.01)

    def test_of_what_is_saved_for_the_backward_pass(self):
        layer = make(fastrnn.nn, "lstm", 8, 1024, dtype=torch.float16)
        x = torch.randn(260, 2048, 8, dtype=torch.float16, device="cuda").requires_grad_()
        assert 4 * 1024 * x.size(0) * x.size(1) > 2**31
        (found,) = torch.autograd.grad(layer(x)[0].float().sum(), x)
        last = x.detach()[:, self.LAST].requires_grad_()
        (alone,) = torch.autograd.grad(layer(last)[0].float().sum(), last)
        assert alone.abs().max() > 0.1
        torch.testing.assert_close(found[:, self.LAST], alone, rtol=0, atol=0.02 * alone.abs().max().item())
