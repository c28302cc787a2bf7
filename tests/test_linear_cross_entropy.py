"""linear_cross_entropy: torch's values, gradients, dtypes and errors; the same bits for any number of threads."""

import copy
import itertools
import json
import math
import os
import pickle
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy, linear
from torch.utils.flop_counter import FlopCounterMode

import fastrnn
from fastrnn import _C, losses, ops
from fastrnn._verify.errors import unit_in_last_place
from fastrnn.functional import linear_cross_entropy

F32, F64, BF16, F16 = torch.float32, torch.float64, torch.bfloat16, torch.float16
REDUCTIONS = ("mean", "sum", "none")
torchs = getattr(torch.nn.functional, "linear_cross_entropy", None)
needs_torchs = pytest.mark.skipif(torchs is None, reason="this torch has no linear_cross_entropy")


@pytest.fixture(autouse=True)
def _one_thread():
    """Small work. More threads find the same bits, see below."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def problem(rows, features, classes, dtype=F32, *, bias=True, weighted=False, ignored=True, seed=0):
    """The differentiable operands (input, linear_weight, linear_bias or None), the target and the class weights."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=F64)

    operands = [normal(rows, features), normal(classes, features) * 3 / features**0.5, normal(classes)]
    target = torch.randint(classes, (rows,), generator=generator)
    if ignored:
        target[1::4] = -100
    weight = torch.rand(classes, generator=generator, dtype=F64).to(dtype) if weighted else None
    operands = [t.to(dtype).requires_grad_() for t in operands]
    return (*operands[:2], operands[2] if bias else None), target, weight


def with_gradients(function, operands, target, d_loss=None, **options):
    """The loss and the gradients of the operands, for an incoming gradient that is not all ones."""
    input, linear_weight, linear_bias = operands
    loss = function(input, linear_weight, target, linear_bias=linear_bias, **options)
    d_loss = torch.linspace(0.5, 1.5, loss.numel(), dtype=F64).reshape(loss.shape) if d_loss is None else d_loss
    given = [t for t in operands if t is not None and t.requires_grad]
    return loss.detach(), *torch.autograd.grad(loss, given, d_loss.to(loss.dtype))


def in_plain_torch(input, linear_weight, target, *, linear_bias=None, ignore_index=None, **options):
    """What torch's function is said to be equivalent to; every torch has its two halves."""
    index = -100 if ignore_index is None else ignore_index
    return cross_entropy(linear(input, linear_weight, linear_bias), target, ignore_index=index, **options)


def exact(operands, target, weight=None, **options):
    """The same in float64."""
    operands = [t if t is None else t.detach().double().requires_grad_() for t in operands]
    return with_gradients(
        in_plain_torch, operands, target, weight=None if weight is None else weight.double(), **options
    )


def error(found, true):
    difference = (found.double() - true).abs()
    return 0.0 if not difference.numel() else float(difference.nan_to_num(math.inf).max())


@pytest.mark.parametrize("shape", [(5, 3, 2), (33, 17, 241), (30, 65, 500), (130, 128, 65)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_as_accurate_as_torch(shape, reduction):
    """Every tensor within 1.5 times torch's error and one ulp: root mean squares over draws."""
    for weighted, label_smoothing, bias in itertools.product((False, True), (0.0, 0.1), (False, True)):
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        squares = {}
        for seed in range(8 if shape[0] < 10 else 3):
            operands, target, weight = problem(*shape, bias=bias, weighted=weighted, seed=seed)
            true = exact(operands, target, weight, **options)
            theirs = with_gradients(in_plain_torch, operands, target, weight=weight, **options)
            ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
            for i, (a, b, t) in enumerate(zip(ours, theirs, true, strict=True)):
                assert (a.shape, a.dtype) == (t.shape, F32)
                row = squares.setdefault(i, [0.0, 0.0])
                row[0] += error(a, t) ** 2
                row[1] += (1.5 * error(b, t) + unit_in_last_place(float(t.abs().max()), F32)) ** 2
        for i, (found, allowed) in squares.items():
            assert found <= allowed, (i, weighted, label_smoothing, bias, found**0.5, allowed**0.5)


@pytest.mark.parametrize("shape", [(33, 17, 241), (30, 65, 500), (130, 128, 65)], ids=str)
def test_float64(shape):
    """Within 64 units: there is nothing more accurate to compare with, so this is for what is wrong in earnest."""
    for weighted, label_smoothing, reduction in itertools.product((False, True), (0.0, 0.1), REDUCTIONS):
        options = {"reduction": reduction, "label_smoothing": label_smoothing}
        operands, target, weight = problem(*shape, F64, weighted=weighted)
        true = exact(operands, target, weight, **options)
        ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
        for a, t in zip(ours, true, strict=True):
            assert a.dtype == F64
            assert error(a, t) <= 64 * torch.finfo(F64).eps * float(t.abs().max())


@settings(max_examples=40)
@given(
    rows=st.integers(1, 200),
    features=st.integers(1, 40),
    classes=st.integers(1, 600),
    reduction=st.sampled_from(REDUCTIONS),
    label_smoothing=st.sampled_from([0.0, 0.2, 1.0]),
    weighted=st.booleans(),
    bias=st.booleans(),
    ignored=st.booleans(),
)
def test_any_shape(rows, features, classes, reduction, label_smoothing, weighted, bias, ignored):
    operands, target, weight = problem(rows, features, classes, F64, bias=bias, weighted=weighted, ignored=ignored)
    options = {"reduction": reduction, "label_smoothing": label_smoothing}
    ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, **options)
    for a, b in zip(ours, exact(operands, target, weight, **options), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12, equal_nan=True)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own jvp
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_gradcheck(reduction):
    operands, target, weight = problem(4, 3, 5, F64, weighted=True)

    def loss(input, linear_weight, linear_bias):
        return linear_cross_entropy(
            input, linear_weight, target, linear_bias=linear_bias, weight=weight, reduction=reduction,
            label_smoothing=0.1,
        )  # fmt: skip

    assert torch.autograd.gradcheck(loss, operands, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(loss, operands, check_batched_grad=True)


@pytest.mark.parametrize("wanted", [w for w in itertools.product((False, True), repeat=3) if any(w)], ids=str)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_only_the_gradients_that_are_wanted(reduction, wanted):
    operands, target, _ = problem(40, 9, 300)
    everything = with_gradients(linear_cross_entropy, operands, target, reduction=reduction)
    some = [t.detach().requires_grad_(want) for t, want in zip(operands, wanted, strict=True)]
    found = with_gradients(linear_cross_entropy, some, target, reduction=reduction)
    expected = [everything[0], *(g for g, want in zip(everything[1:], wanted, strict=True) if want)]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    with torch.no_grad():
        assert torch.equal(linear_cross_entropy(operands[0], operands[1], target, linear_bias=operands[2],
                                                reduction=reduction), everything[0])  # fmt: skip


@pytest.mark.parametrize("shape", [(150, 40, 1000), (700, 20, 50), (30, 64, 3000)], ids=str)
def test_same_bits_for_any_number_of_threads(shape):
    operands, target, weight = problem(*shape, weighted=True)
    results = {}
    try:
        _C.assume_cores(8)
        for threads, dissolved in ((1, None), (2, None), (3, None), (4, None), (8, None), (2, 1), (3, 2)):
            torch.set_num_threads(threads)
            _C.dissolve_teams(dissolved)
            results[threads, dissolved] = with_gradients(
                linear_cross_entropy, operands, target, weight=weight, label_smoothing=0.1
            )
    finally:
        _C.assume_cores(0)
        _C.dissolve_teams(None)
    for found in results.values():
        assert all(torch.equal(a, b) for a, b in zip(found, results[1, None], strict=True))


def test_backward_twice_gives_the_same_gradients():
    operands, target, _ = problem(20, 8, 50)
    loss = linear_cross_entropy(*operands[:2], target, linear_bias=operands[2])
    first = torch.autograd.grad(loss, operands, retain_graph=True)
    kept = [g.clone() for g in first]
    for g in first:
        g.zero_()  # what the caller does with gradients does not reach those that are saved
    second = torch.autograd.grad(loss, operands, torch.tensor(2.0), retain_graph=True)
    assert all(torch.equal(2 * a, b) for a, b in zip(kept, second, strict=True))
    loss.backward(retain_graph=True)
    loss.backward()
    assert all(torch.equal(2 * a, t.grad) for a, t in zip(kept, operands, strict=True))
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()


def test_gradients_are_handed_over_without_a_copy():
    operands, target, _ = problem(20, 8, 50)
    loss, d_input, d_weight, _ = ops.linear_cross_entropy(
        *operands[:2], target, operands[2], None, "mean", -100, 0.0, [False] * 3
    )
    places = [torch._C._data_address(t) for t in (d_input, d_weight)]
    del d_input, d_weight
    loss.backward()
    assert [torch._C._data_address(t.grad) for t in operands[:2]] == places


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("dtype", [BF16, F16], ids=str)
def test_narrow_dtypes_round_once(dtype, reduction):
    """Sums are float32, so the only error is the rounding of the results: at most half an ulp, and a little."""
    operands, target, weight = problem(60, 33, 500, dtype, weighted=True)
    options = {"reduction": reduction, "label_smoothing": 0.1}
    ours = with_gradients(linear_cross_entropy, operands, target, weight=weight, d_loss=torch.ones(()).expand(
        (60,) if reduction == "none" else ()), **options)  # fmt: skip
    true = exact(operands, target, weight, d_loss=torch.ones((60,) if reduction == "none" else ()), **options)
    for a, b in zip(ours, true, strict=True):
        assert a.dtype == dtype
        torch.testing.assert_close(a.double(), b, rtol=0.51 * torch.finfo(dtype).eps, atol=1e-6)


def test_small_gradients_in_float16_survive_until_they_are_scaled():
    """float16 cannot hold 1e-9. A gradient scaler multiplies the loss so that nothing gets lost; here nothing did."""
    operands, target, _ = problem(64, 8, 4000, F16, bias=False, ignored=False)
    scale = torch.tensor(2.0**15)
    found = with_gradients(linear_cross_entropy, operands, target, d_loss=scale)
    true = exact(operands, target, d_loss=scale.double())
    for a, b in zip(found[1:], true[1:], strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-3, atol=1e-6 * float(b.abs().max()))


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


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, 1e30, -1e30])
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_logits_that_are_not_finite(reduction, value):
    for place in (0, 7, 299):
        operands, target, _ = problem(5, 3, 300, ignored=False)
        with torch.no_grad():
            operands[2][place] = value  # the logit of one class in every row
        target[0] = place
        theirs = with_gradients(in_plain_torch, operands, target, reduction=reduction)
        ours = with_gradients(linear_cross_entropy, operands, target, reduction=reduction)
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b, equal_nan=True, rtol=2e-5, atol=1e-6)
    operands, target, _ = problem(3, 2, 4)
    with torch.no_grad():
        operands[2].fill_(value)
    pair = [with_gradients(f, operands, target, reduction=reduction) for f in (linear_cross_entropy, in_plain_torch)]
    for a, b in zip(*pair, strict=True):
        torch.testing.assert_close(a, b, equal_nan=True, rtol=2e-5, atol=1e-6)


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
    torch._dynamo.reset()
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


PROGRAM = """
import json, torch
from fastrnn import _C
from tests.test_linear_cross_entropy import error, exact, problem, with_gradients
from fastrnn.functional import linear_cross_entropy

errors = {}
for dtype, units in ((torch.float32, 40), (torch.float64, 40), (torch.bfloat16, 1), (torch.float16, 1)):
    for shape in [(1, 1, 1), (5, 3, 2), (33, 17, 241), (70, 65, 1000), (130, 128, 65)]:
        for reduction in ("mean", "none"):
            operands, target, weight = problem(*shape, dtype, weighted=True)
            found = with_gradients(linear_cross_entropy, operands, target, weight=weight, reduction=reduction)
            true = exact(operands, target, weight, reduction=reduction)
            for a, b in zip(found, true):
                scale = float(b.abs().max().clamp(min=0.01)) * torch.finfo(dtype).eps * units
                errors[f"{dtype} {shape} {reduction}"] = error(a, b) / scale
print(json.dumps({"set": _C.instruction_set(), "errors": errors}))
"""


@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_every_instruction_set(isa):
    sets = ["generic", "avx2", "avx512"]
    if sets.index(isa) > sets.index(fastrnn.info()["instruction_set"]):
        pytest.skip(f"this processor has no {isa}")
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=os.environ | {"FASTRNN_ISA": isa}, capture_output=True,
                          text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["set"] == isa
    worst = max(result["errors"], key=result["errors"].get)
    assert result["errors"][worst] < 1, (worst, result["errors"][worst])


MEMORY = """
import sys, torch
from fastrnn._bench.memory import give_back_at_once, highest, resident
from fastrnn.functional import linear_cross_entropy

give_back_at_once()
torch.set_num_threads(2)
rows, features, classes = map(int, sys.argv[1:])

def step(input, weight, target):
    linear_cross_entropy(input, weight, target).backward()

make = lambda n, h, v: (torch.randn(n, h, requires_grad=True), torch.randn(v, h).requires_grad_(), torch.arange(n) % v)
step(*make(2, 3, 4))
operands = make(rows, features, classes)
before = resident()
for _ in range(3):
    for t in operands[:2]:
        t.grad = None
    step(*operands)
gradients = sum(t.grad.nbytes for t in operands[:2])
print(highest() - before - gradients)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_peak_memory_is_a_sixth_of_the_logits():
    rows, features, classes = 700, 64, 10000
    command = [sys.executable, "-c", MEMORY, str(rows), str(features), str(classes)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) <= rows * classes * 4 / 6


def test_reference_differentiates_like_the_kernels():
    operands, target, weight = problem(5, 4, 9, F64, weighted=True)

    def by_reference(input, linear_weight, target, *, linear_bias, weight):
        return losses.reference(input, linear_weight, target, linear_bias, weight, "mean", -100, 0.0)

    pair = [with_gradients(f, operands, target, weight=weight) for f in (by_reference, linear_cross_entropy)]
    for a, b in zip(*pair, strict=True):
        torch.testing.assert_close(a, b)
