"""linear_cross_entropy in place of torch's: errors, autocast, compile, export, torch.func, FLOPs and the module."""

import copy
import itertools
import pickle

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

import fastrnn
from fastrnn import ops
from fastrnn.functional import linear_cross_entropy
from tests.support.cross_entropy import (
    BF16,
    F16,
    F32,
    F64,
    REDUCTIONS,
    in_plain_torch,
    needs_torchs,
    problem,
    torchs,
    with_gradients,
)

pytestmark = pytest.mark.usefixtures("one_thread")  # small work


X, W, T = torch.linspace(-1, 1, 12).reshape(4, 3), torch.linspace(1, -2, 15).reshape(5, 3), torch.tensor([0, 1, 2, 4])
CALLS = {
    "reduction": lambda f: f(X, W, T, reduction="max"),
    "smoothing above 1": lambda f: f(X, W, T, label_smoothing=1.5),
    "negative smoothing": lambda f: f(X, W, T, label_smoothing=-0.5),
    "fewer targets": lambda f: f(X, W, T[:3]),
    "target too large": lambda f: f(X, W, T + 1),
    "target negative": lambda f: f(X, W, T - 1),
    "fewer class weights": lambda f: f(X, W, T, weight=torch.ones(4)),
    "class weights in float64": lambda f: f(X, W, T, weight=torch.ones(5, dtype=F64)),
    "class weights with a gradient": lambda f: f(X, W, T, weight=torch.ones(5, requires_grad=True)),
    "int32 target": lambda f: f(X, W, T.int()),
    "uint8 target": lambda f: f(X, W, T.byte()),
    "float ignore_index": lambda f: f(X, W, T, ignore_index=1.5),
    "bool ignore_index": lambda f: f(X, W, T, ignore_index=True),
    "one row": lambda f: f(X[0], W, T[0]),
    "one row, not reduced": lambda f: f(X[0], W, T[0], reduction="none"),
    "one row and its target in a row": lambda f: f(X[0], W, T[:1], reduction="none"),
    "weight in float64": lambda f: f(X, W.double(), T),
    "bias in float64": lambda f: f(X, W, T, linear_bias=torch.ones(5, dtype=F64)),
    "integers": lambda f: f(X.long(), W.long(), T),
    "complex": lambda f: f(X.to(torch.complex64), W.to(torch.complex64), T),
    "no rows": lambda f: f(X[:0], W, T[:0]),
    "no rows, summed": lambda f: f(X[:0], W, T[:0], reduction="sum"),
    "no features": lambda f: f(X[:, :0], W[:, :0], T),
    "no classes": lambda f: f(X, W[:0], T),
    "no classes, all ignored": lambda f: f(X, W[:0], torch.full_like(T, -100), reduction="sum"),
    "3-dimensional input": lambda f: f(X[None], W, T),
    "1-dimensional weight": lambda f: f(X, W[0], T),
    "features differ": lambda f: f(X, W[:, :2], T),
    "bias shape": lambda f: f(X, W, T, linear_bias=torch.ones(4)),
    "probabilities": lambda f: f(X, W, torch.full((4, 5), 0.2)),
    "probabilities and ignore_index": lambda f: f(X, W, torch.full((4, 5), 0.2), ignore_index=2),
    "K dimensions": lambda f: f(X, W.reshape(5, 1, 3).expand(5, 2, 3), T[:, None].expand(4, 2), reduction="none"),
    "K dimensions, one row": lambda f: f(X[0], W.reshape(5, 1, 3), T[:1]),
    "all ignored": lambda f: f(X, W, torch.full_like(T, -100)),
    "all ignored, summed": lambda f: f(X, W, torch.full_like(T, 3), ignore_index=3, reduction="sum"),
    "all weights zero": lambda f: f(X, W, T, weight=torch.zeros(5)),
    "one class": lambda f: f(X, W[:1], torch.zeros(4, dtype=torch.int64), reduction="none"),
    "meta": lambda f: f(X.to("meta"), W.to("meta"), T.to("meta")).to("cpu").zero_(),
}


@needs_torchs
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_results_and_errors_of_odd_calls_are_torchs(call):
    results = []
    for function in (torchs, linear_cross_entropy):
        try:
            results.append(call(function))
        except Exception as error:  # whatever torch raises
            results.append((type(error), str(error)))
    theirs, ours = results
    if isinstance(theirs, tuple):
        assert ours == theirs
    else:
        torch.testing.assert_close(ours, theirs, equal_nan=True)


def test_the_same_without_torchs_function(monkeypatch):
    """torch 2.10 to 2.12 have none."""
    if torchs is not None:
        expected = {name: CALLS[name](torchs) for name in ("K dimensions", "probabilities", "no rows")}
        monkeypatch.delattr(torch.nn.functional, "linear_cross_entropy")
        for name, loss in expected.items():
            torch.testing.assert_close(CALLS[name](linear_cross_entropy), loss, equal_nan=True)
    with pytest.raises(RuntimeError, match="expected input with dimensionality 1 or 2, got 3"):
        CALLS["3-dimensional input"](linear_cross_entropy)
    with pytest.raises(IndexError, match="Target 5 is out of bounds"):
        CALLS["target too large"](linear_cross_entropy)


@needs_torchs
@pytest.mark.parametrize("low", [BF16, F16], ids=str)
def test_autocast_returns_torchs_dtypes(low):
    compared = 0
    for dtypes in itertools.product((F32, BF16, F16, F64), repeat=3):
        operands, target, _ = problem(6, 4, 5)
        operands = [t.detach().to(d).requires_grad_() for t, d in zip(operands, dtypes, strict=True)]
        for reduction in REDUCTIONS:
            found = []
            for function in (torchs, linear_cross_entropy):
                try:
                    with torch.autocast("cpu", low):
                        loss = function(*operands[:2], target, linear_bias=operands[2], reduction=reduction)
                    grads = torch.autograd.grad(loss.sum(), operands)
                    found.append([t.dtype for t in (loss, *grads)])
                except RuntimeError:
                    found.append(None)
            assert found[0] == found[1], (dtypes, reduction)
            compared += found[0] is not None
    assert compared >= 3 * 28


def test_autocast_does_not_round_on_the_way():
    operands, target, _ = problem(6, 4, 5)
    expected = with_gradients(linear_cross_entropy, operands, target)
    with torch.autocast("cpu", BF16):
        loss = linear_cross_entropy(*operands[:2], target, linear_bias=operands[2])
    assert torch.equal(loss, expected[0])


def test_opcheck():
    operands, target, weight = problem(6, 5, 7, weighted=True, ignored=False)
    for reduction, grad in itertools.product(REDUCTIONS, (False, True)):
        input, linear_weight, linear_bias = (t.detach().requires_grad_(grad) for t in operands)
        fixed = (reduction, -100, 0.1)
        given = (input, linear_weight, target, linear_bias, weight)
        torch.library.opcheck(ops.linear_cross_entropy, (*given, *fixed, [not grad and reduction != "none"] * 3))
        d_loss = torch.ones((6,) if reduction == "none" else ())
        torch.library.opcheck(ops.linear_cross_entropy_backward, (d_loss, *given, *fixed, [True, False, True]))
    given = (*(t.detach().bfloat16() for t in operands[:2]), target, None, None)
    torch.library.opcheck(ops.linear_cross_entropy, (*given, "sum", 3, 0.0, [False] * 3))


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_compile_in_one_graph(reduction):
    operands, target, weight = problem(12, 5, 30, weighted=True)

    def loss(*arguments, **options):
        return linear_cross_entropy(*arguments, reduction=reduction, weight=weight, **options)

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    pair = [with_gradients(f, operands, target) for f in (loss, compiled)]
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))
    operands, target, weight = problem(13, 5, 30, weighted=True)  # another number of rows
    pair = [with_gradients(f, operands, target) for f in (loss, compiled)]
    assert all(torch.equal(a, b) for a, b in zip(*pair, strict=True))


def test_export():
    module = fastrnn.LinearCrossEntropyLoss(5, 30, bias=True)
    (input, *_), target, _ = problem(12, 5, 30)
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(module, (input.detach(), target), dynamic_shapes=({0: rows}, {0: rows}), strict=True)
    assert ops.linear_cross_entropy in {node.target for node in program.graph.nodes}
    for rows in (12, 7):
        expected = module(input[:rows], target[:rows])
        assert torch.equal(program.module()(input[:rows].detach(), target[:rows]), expected)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own jvp
def test_transforms():
    operands, target, _ = problem(4, 3, 5, F64)
    x, w = (t.detach() for t in operands[:2])
    expected = with_gradients(linear_cross_entropy, (operands[0], operands[1].detach(), None), target,
                              d_loss=torch.ones(()))[1]  # fmt: skip
    torch.testing.assert_close(torch.func.grad(linear_cross_entropy)(x, w, target), expected)
    batch = torch.stack([x, 2 * x])
    several = torch.vmap(lambda x: linear_cross_entropy(x, w, target))(batch)
    torch.testing.assert_close(several, torch.stack([linear_cross_entropy(b, w, target) for b in batch]))
    _, tangent = torch.func.jvp(lambda x: linear_cross_entropy(x, w, target), (x,), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, expected.sum())


def test_subclasses_and_traces_run_torchs_function():
    class Mine(torch.Tensor):
        pass

    operands, target, _ = problem(4, 3, 5)
    x, w = (t.detach() for t in operands[:2])
    expected = linear_cross_entropy(x, w, target)
    if torchs is not None:
        assert type(linear_cross_entropy(x.as_subclass(Mine), w, target)) is Mine
        graph = torch.fx.symbolic_trace(lambda x, w, t: linear_cross_entropy(x, w, t))
        assert torchs in {node.target for node in graph.graph.nodes}
        torch.testing.assert_close(graph(x, w, target), expected)


@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_flops(reduction):
    operands, target, _ = problem(10, 6, 40)
    product = 2 * 10 * 6 * 40
    with FlopCounterMode(display=False) as counter:
        linear_cross_entropy(*operands[:2], target, reduction=reduction).sum().backward()
    assert counter.get_total_flops() == (3 if reduction == "mean" else 4) * product
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        linear_cross_entropy(*operands[:2], target)
    assert counter.get_total_flops() == product


def test_module():
    ours = fastrnn.LinearCrossEntropyLoss(6, 40, bias=True, weight=torch.rand(40), label_smoothing=0.1, ignore_index=3)
    (input, *_), target, _ = problem(10, 6, 40, ignored=False)
    expected = in_plain_torch(input, ours.linear.weight, target, linear_bias=ours.linear.bias, weight=ours.weight,
                              label_smoothing=0.1, ignore_index=3)  # fmt: skip
    torch.testing.assert_close(ours(input, target), expected)
    for twin in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        assert torch.equal(twin(input, target), ours(input, target))
    assert "num_classes=40" in repr(ours)
    if torchs is not None:
        theirs = torch.nn.LinearCrossEntropyLoss(6, 40, bias=True, weight=torch.rand(40), label_smoothing=0.1)
        assert isinstance(ours, torch.nn.LinearCrossEntropyLoss)
        assert ours.state_dict().keys() == theirs.state_dict().keys()
        theirs.load_state_dict(ours.state_dict())
        ours.ignore_index = None
        torch.testing.assert_close(theirs(input, target), ours(input, target))
        ours.load_state_dict(theirs.state_dict())
    several = fastrnn.LinearCrossEntropyLoss(6, 5, out_features=(2, 3), bias=True)
    assert several(input, torch.zeros(10, 2, 3, dtype=torch.int64)).shape == ()
    with pytest.raises(RuntimeError, match="expected weight shape"):
        fastrnn.LinearCrossEntropyLoss(6, 5, weight=torch.ones(4))
    with pytest.raises(RuntimeError, match="label_smoothing to be in range"):
        fastrnn.LinearCrossEntropyLoss(6, 5, label_smoothing=2.0)
