"""Who runs a call on CUDA, without a GPU: torch's fake tensors are on "cuda" and have shapes and dtypes alone."""

from unittest import mock

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad

import fastrnn
from fastrnn import _environment, functional
from fastrnn._core import backend, cuda_default, gpu, operators, transforms
from fastrnn._core.backend import sequence, step
from fastrnn._core.call import call_of
from fastrnn._verify import Case
from fastrnn._verify.cases import Shape
from fastrnn._verify.problem import random_problem
from tests.cli.test_cli import call

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "rnn_sigmoid": 1, "gru": 3, "gru_reset_before": 3, "lstm": 4}
TORCH_HAS = set(GATES) - {"rnn_sigmoid", "gru_reset_before"}
KERNELS = ("fastest", "step", "block", "cluster", "grid")
PLAIN = (True, 1, 0.0, False, False, False)  # what torch's operator is told: biases, layers, dropout, training, …


@pytest.fixture(autouse=True)
def _nothing_asked_for(monkeypatch):
    monkeypatch.delenv(gpu.KERNEL, raising=False)


@pytest.fixture
def built(monkeypatch):
    """A build that has CUDA kernels, on a GPU that has no place for a team."""
    monkeypatch.setattr(gpu, "BUILT", True)
    monkeypatch.setattr(cuda_default, "team", lambda *layer: [])
    monkeypatch.setattr(backend, "OWN_KERNELS", ("cpu", "cuda"))
    monkeypatch.setattr(backend, "_KERNEL_DEVICES", ("cpu", "cuda", "meta"))


@pytest.fixture
def ran(monkeypatch):
    """Who ran, and the dtype of the weights that it was given. torch's operators here know nothing but sizes."""
    found = []

    def reported(who, function):
        def run(*arguments):
            weights = arguments[0].weights if len(arguments) == 1 else arguments[2]
            found.append((who, weights[0].dtype))
            return function(*arguments)

        return run

    for cell in backend._TORCH_OPERATORS:
        monkeypatch.setitem(backend._TORCH_OPERATORS, cell, reported("torch", operator_of_sizes))
    monkeypatch.setattr(backend.autograd, "layer", reported("kernels", backend.autograd.layer))
    monkeypatch.setattr(operators, "run_reference", reported("reference", layer_of_sizes))
    return found


def operator_of_sizes(input, hx, weights, *options):
    h, *c = hx if isinstance(hx, tuple) else (hx,)
    assert all(state.is_contiguous() for state in (h, *c)), "cuDNN refuses states that are not"
    output = weights[0].new_empty(*input.shape[:-1], h.size(-1))
    return output, h, *c


def layer_of_sizes(call):
    input = call.input
    return input.new_empty(3, 2, 5), input.new_empty(1, 2, 5), input.new_empty(0)


def operands(cell, dtype=torch.float32, device="cuda"):
    """Input (3, 2, 4) and the weights of 5 hidden units."""
    rows = GATES[cell.removeprefix("layer_norm_")] * 5
    sizes = ((3, 2, 4), (rows, 4), (rows, 5), (rows,), (rows,))
    x, *weights = (torch.empty(size, dtype=dtype, device=device) for size in sizes)
    return x, weights


def run(cell, dtype=torch.float32, device="cuda", **options):
    with FakeTensorMode():
        x, weights = operands(cell, dtype, device)
        output, _ = sequence(call_of(cell, x, None, weights, **options))
    assert output.shape == (3, 2, 5)
    return output


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cell", GATES)
def test_what_was_not_measured_is_not_the_default(cell, dtype, ran):
    run(cell, dtype)
    assert ran == [("torch" if cell in TORCH_HAS else "kernels", dtype)]


class TestMeasured:
    """The kernels run by default where they were measured to be faster than torch's operator."""

    @pytest.fixture(autouse=True)
    def _teams(self, built, monkeypatch):
        """On this GPU a team of 8 blocks has room for everything that the kernels serve, a larger one for H 1024."""

        def team(cell, dtype, hidden_size, batch, backward):
            served = dtype in (torch.bfloat16, torch.float16, torch.float32)
            return [64 if hidden_size == 1024 else 8, 8, 100_000] if served else []

        monkeypatch.setattr(cuda_default, "team", team)

    @staticmethod
    def faster(cell="lstm", dtype=torch.bfloat16, hidden=256, batch=32, **options):
        call = call_of(cell, *sized(cell, dtype, hidden, batch), **options)
        return cuda_default.kernels_are_faster(call)

    @pytest.mark.parametrize("cell", sorted(TORCH_HAS))
    def test_in_bfloat16_of_any_size(self, cell):
        assert all(self.faster(cell, hidden=hidden) for hidden in (5, 256, 1024))

    @pytest.mark.parametrize("dtype", [torch.float16, torch.float32], ids=str)
    def test_not_where_cudnn_keeps_small_layers_on_the_chip(self, dtype):
        for cell, most in (("lstm", 128), ("gru", 128), ("rnn_tanh", 384)):
            assert [self.faster(cell, dtype, hidden=hidden) for hidden in (most, most + 16)] == [False, True]

    def test_not_where_cudnn_keeps_large_lstms_in_float16_on_the_chip(self):
        assert not self.faster(dtype=torch.float16, hidden=1024)
        assert self.faster(dtype=torch.float16, hidden=1024, batch=1)
        assert self.faster("gru", torch.float16, hidden=1024)
        assert self.faster(dtype=torch.float16, hidden=512)

    def test_not_what_goes_step_by_step(self):
        assert not self.faster(dtype=torch.float64)
        assert not self.faster(recompute=True)
        assert not self.faster(batch_sizes=torch.tensor([32, 32, 32]))

    def test_they_run_it(self, ran):
        run("lstm", torch.bfloat16)
        assert ran == [("kernels", torch.bfloat16)]

    def test_not_in_a_build_without_them(self, monkeypatch):
        monkeypatch.setattr(gpu, "BUILT", False)
        assert not self.faster()


def sized(cell, dtype, hidden, batch):
    rows = GATES[cell] * hidden
    sizes = ((3, batch, 4), (rows, 4), (rows, hidden), (rows,), (rows,))
    x, *weights = (torch.empty(size, dtype=dtype, device="meta") for size in sizes)
    return x, None, weights


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("cell", GATES)
def test_who_asks_for_the_kernels_has_them(cell, kernel, ran, monkeypatch):
    monkeypatch.setenv(gpu.KERNEL, kernel)
    run(cell)
    assert ran == [("kernels", torch.float32)]


def run_with_options(cell, **options):
    """Without the loop over layers: fake tensors on "cuda" cannot be sliced where there is no CUDA."""

    def one_layer(layer, call):
        output, h_n, c_n = layer(call)
        assert output.shape == (3, 2, 10 if call.every_state and cell == "lstm" else 5)
        return output, h_n, c_n, None

    with FakeTensorMode(), mock.patch.object(backend, "stack", one_layer):
        x, weights = operands(cell)
        if "resets" in options:
            options["resets"] = torch.empty(3, 2, dtype=torch.bool, device="cuda")
        if cell == "layer_norm_gru":
            weights += [torch.empty(15, device="cuda")] * 2
        if options.get("learned_state"):
            weights += [torch.empty(5, device="cuda")] * (2 if cell == "lstm" else 1)
        if "heads" in options:
            weights[1] = torch.empty(len(weights[1]), 5 // options["heads"], device="cuda")
        sequence(call_of(cell, x, None, weights, **options))


OPTIONS = [
    {"resets": True},
    {"every_state": True},
    {"resets": True, "learned_state": True},
    {"resets": True, "every_state": True, "learned_state": True, "recompute": True},
]
MASKS_AND_HEADS = [
    {"recurrent_dropout": 0.5, "training": True},
    {"zoneout_rates": (0.1, 0.0)},
    {"heads": 5},
    {"resets": True, "every_state": True, "learned_state": True, "recompute": True, "zoneout_rates": (0.1, 0.0)},
]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("kernel", ["", *KERNELS])
@pytest.mark.parametrize("options", OPTIONS + MASKS_AND_HEADS, ids=str)
@pytest.mark.parametrize("cell", GATES)
def test_what_torch_lacks_runs_in_the_kernels(cell, options, kernel, ran, monkeypatch):
    """Not in the reference's loop, one by one."""
    monkeypatch.setenv(gpu.KERNEL, kernel)
    run_with_options(cell, **options)
    assert ran == [("kernels", torch.float32)]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("options", [{}, *OPTIONS, *MASKS_AND_HEADS], ids=str)
def test_layer_normalization_runs_in_the_kernels(options, ran):
    run_with_options("layer_norm_gru", **options)
    assert ran == [("kernels", torch.float32)]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("cell", sorted(TORCH_HAS))
def test_a_learned_state_is_given_to_torchs_operator(cell, ran):
    run_with_options(cell, learned_state=True)
    assert ran == [("torch", torch.float32)]


def test_what_torch_lacks_without_kernels(monkeypatch):
    found = []
    monkeypatch.setattr(operators, "run_reference", lambda call: found.append(call) or layer_of_sizes(call))
    run_with_options("gru", resets=True)
    assert len(found) == 1


@pytest.mark.usefixtures("built")
def test_an_empty_variable_asks_for_nothing(ran, monkeypatch):
    monkeypatch.setenv(gpu.KERNEL, "")
    run("lstm")
    assert ran == [("torch", torch.float32)]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_elsewhere_the_kernels_are_the_default(device, ran):
    run("lstm", device=device)
    assert ran == [("kernels", torch.float32)]


def test_a_build_without_kernels(ran):
    run("lstm")
    run("rnn_sigmoid")
    assert ran == [("torch", torch.float32), ("reference", torch.float32)]


@pytest.mark.parametrize("cell", ["lstm", "rnn_sigmoid"])
def test_kernels_that_are_asked_for_and_not_built_are_an_error(cell, monkeypatch):
    monkeypatch.setenv(gpu.KERNEL, "cluster")
    with pytest.raises(RuntimeError, match=r"FASTRNN_CUDA_KERNEL=cluster asks for .*this build lacks.*FASTRNN_CUDA=1"):
        run(cell)
    run(cell, device="cpu")


@pytest.mark.usefixtures("built")
def test_recompute_checkpoints_torchs_operator(ran):
    run("gru", recompute=True, num_layers=1)
    assert ran == [("torch", torch.float32)]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("cell", "again"), [("layer_norm_gru", True), ("gru", False)])
def test_recompute_checkpoints_kernels_that_cannot(cell, again, ran, monkeypatch):
    checkpoint, given = backend.checkpoint, []

    def watched(layer, call, **options):
        given.append(call)
        return checkpoint(layer, call, **options)

    monkeypatch.setattr(backend, "checkpoint", watched)
    run_with_options(cell, resets=True, recompute=True)
    assert ran == [("kernels", torch.float32)]
    assert [call.cell.name for call in given] == [cell] * again


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(("kernel", "dtype"), [(None, torch.float32), ("step", torch.float16)])
def test_autocast_is_torchs_where_its_operator_runs(kernel, dtype, ran, monkeypatch):
    """torch casts all weights as one piece, which cuDNN wants; the kernels' are cast one by one."""
    if kernel:
        monkeypatch.setenv(gpu.KERNEL, kernel)
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda device: device == "cuda")
    monkeypatch.setattr(torch, "get_autocast_dtype", lambda device: torch.float16)
    output = run("lstm")
    assert ran == [("kernels" if kernel else "torch", dtype)]
    assert output.dtype == dtype


@pytest.mark.usefixtures("built")
def test_the_output_of_torchs_operator_keeps_the_dtype_of_autocast(monkeypatch):
    """As torch.nn's: not cast back to that of the input."""

    def halved(input, hx, *options):
        return (input.new_empty(3, 2, 5, dtype=torch.float16), hx[0], hx[1])

    monkeypatch.setitem(backend._TORCH_OPERATORS, "lstm", halved)
    assert run("lstm").dtype == torch.float16


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize(
    ("given", "grad", "told"),
    [
        ({"training": True, "dropout": 0.5}, True, (0.5, True)),
        ({"training": False, "dropout": 0.5}, True, (0.0, True)),  # cuDNN has gradients in training alone
        ({"training": False, "dropout": 0.5}, False, (0.0, False)),
    ],
)
def test_there_are_gradients_in_eval_mode(given, grad, told, monkeypatch):
    seen = []

    def operator(input, hx, weights, biases, layers, dropout, training, *options):
        seen.append((dropout, training))
        return input.new_empty(3, 2, 5), *hx

    monkeypatch.setitem(backend._TORCH_OPERATORS, "lstm", operator)
    with FakeTensorMode(), torch.set_grad_enabled(grad):
        x, weights = operands("lstm")
        sequence(call_of("lstm", x, None, [w.requires_grad_() for w in weights], **given))
    assert seen == [told]


@pytest.mark.usefixtures("built")
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("cell", sorted(TORCH_HAS))
def test_a_step_is_that_of_torchs_cell(cell, biases, monkeypatch):
    """Not its layer's operator, which copies the weights at every call."""
    seen = []
    monkeypatch.setitem(backend._TORCH_OPERATORS, cell, None)
    monkeypatch.setitem(backend.TORCH_CELLS, cell, lambda *arguments: seen.append(arguments))
    with FakeTensorMode():
        _, weights = operands(cell)
        step(cell, torch.empty(2, 4, device="cuda"), None, weights if biases else weights[:2], biases)
    ((input, hx, *given),) = seen
    assert input.shape == (2, 4)
    assert [state.shape for state in (hx if cell == "lstm" else [hx])] == [(2, 5)] * (1 + (cell == "lstm"))
    assert len(given) == 4
    assert all(a is b for a, b in zip(given, weights if biases else [*weights[:2], None, None], strict=True))


@pytest.mark.usefixtures("built")
def test_unknown_dtypes_run_torchs_operator_even_when_kernels_are_asked_for(ran, monkeypatch):
    monkeypatch.setenv(gpu.KERNEL, "step")
    run("rnn_tanh", torch.complex64)
    assert ran == [("torch", torch.complex64)]


def test_a_compiled_model_has_torchs_operator_between_its_graphs():
    graphs = []

    def note(graph, _):
        graphs.append([str(node.target) for node in graph.graph.nodes if node.op == "call_function"])
        return graph

    def model(x, h, weights):
        operator = backend._TORCH_OPERATORS["gru"]
        if torch.compiler.is_dynamo_compiling():
            operator = backend._outside_graphs(operator)
        return operator(x * 2, h, weights, *PLAIN)[0] + 1

    x, h = torch.randn(3, 2, 4), torch.randn(1, 2, 5)
    weights = [torch.randn(size) for size in ((15, 4), (15, 5), (15,), (15,))]
    found = torch.compile(model, backend=note)(x, h, weights)
    torch.testing.assert_close(found, model(x, h, weights))
    assert not any("gru" in target for graph in graphs for target in graph)
    torch._dynamo.reset()
    with pytest.raises(torch._dynamo.exc.Unsupported, match="set FASTRNN_CUDA_KERNEL=fastest"):
        torch.compile(model, backend=note, fullgraph=True)(x, h, weights)


def test_own_kernels_are_asked_for_and_no_longer_after(monkeypatch):
    with gpu.own_kernels() as asked:
        assert (asked, gpu.kernel()) == ("step", "step")
    assert gpu.kernel() is None
    monkeypatch.setenv(gpu.KERNEL, "grid")
    with gpu.own_kernels() as asked:
        assert (asked, gpu.kernel()) == ("grid", "grid")
    assert gpu.kernel() == "grid"


def test_own_kernels_are_given_back_whatever_happens():
    with pytest.raises(KeyError), gpu.own_kernels():  # noqa: PT012
        assert gpu.kernel() == "step"
        raise KeyError
    assert gpu.kernel() is None


def test_verify_and_bench_ask_for_fastrnns_kernels(monkeypatch):
    """Or they would compare torch with itself."""
    from fastrnn._bench import cuda
    from fastrnn._bench.work import Shape as BenchShape
    from fastrnn._bench.work import Work

    asked = []
    monkeypatch.setattr(cuda, "check", lambda work: asked.append(gpu.kernel()))
    monkeypatch.setattr(cuda, "take_turns", lambda runs, rounds, block: asked.append(gpu.kernel()) or {})
    cuda.CudaContest().seconds(Work("infer", "GRU", 1, BenchShape(3, 2, 4, 5)), ["torch", "fastrnn"])
    assert asked == ["step", "step"]

    problem = random_problem(Case("gru", torch.float32, Shape(3, 2, 4, 5)), 0)
    monkeypatch.setattr(type(problem), "_solve", lambda self, *arguments: asked.append(gpu.kernel()) or {})
    module = fastrnn.GRU(4, 5)
    monkeypatch.setattr(module, "to", lambda device: module)
    problem.by_module(module, torch.device("cuda"))
    problem.by_module(module, torch.device("cpu"))
    assert asked[2:] == ["step", None]


def test_info_says_which_runs(monkeypatch):
    assert _environment.on_cuda(None).startswith("fastrnn's kernels where they were measured to be faster")
    assert _environment.on_cuda("cluster").startswith("fastrnn's kernels (FASTRNN_CUDA_KERNEL=cluster)")
    monkeypatch.setattr(_environment, "OWN_KERNELS", ("cpu", "cuda"))
    monkeypatch.setattr(_environment, "OTHER_DEVICES", ("mps", "xpu"))
    assert _environment.kernels()["cuda"] == _environment.on_cuda(None)
    monkeypatch.setenv(gpu.KERNEL, "grid")
    assert "FASTRNN_CUDA_KERNEL=grid" in call("info").output


def test_functions_follow_too(built, ran):
    with FakeTensorMode():
        x, weights = operands("gru")
        functional.gru(x, None, weights)
        functional.gru(x, None, weights, reset_after=False)
    assert [who for who, _ in ran] == ["torch", "kernels"]


@pytest.mark.parametrize("kernels", [True, False])
@pytest.mark.parametrize("cell", sorted(TORCH_HAS))
def test_derivatives_that_cudnn_lacks_are_not_asked_of_it(cell, kernels, ran, monkeypatch, request):
    """It has no rules for torch.func, nor for forward mode."""
    if kernels:
        request.getfixturevalue("built")
    with monkeypatch.context() as inside:
        inside.setattr(torch._C, "_are_functorch_transforms_active", lambda: True)
        inside.setattr(transforms, "layer", operators.run_reference)
        run(cell)
    with forward_ad.dual_level():
        run(cell)
    assert ("torch", torch.float32) not in ran
    assert len([who for who, _ in ran if who == "kernels"]) == 2 * kernels
