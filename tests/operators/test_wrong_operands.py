"""The operators called by hand with an operand that is wrong: an error that says which and what was expected."""

import re

import pytest
import torch

import fastrnn
from fastrnn import _C
from fastrnn._core import operators
from fastrnn._core.call import call_of
from tests.support.raw_calls import CELLS, backward, backward_call, forward, infer, replaced, resized, right_call, views
from tests.support.twins import random

RUNS = {
    "forward": (forward, lambda call: call),
    "saving": (lambda call: forward(call, save=True), lambda call: call),
    "recompute": (lambda call: forward(call, save=True, recompute=True), lambda call: call),
    "backward": (backward, backward_call),
    "backward of recompute": (backward, lambda call: backward_call(call, recompute=True)),
    "infer": (infer, lambda call: call),
}


@pytest.fixture(params=RUNS)
def run(request):
    """An operator, and what makes its right call of forward's."""
    return RUNS[request.param]


def _refused(run, call, change, match, error=(RuntimeError, IndexError)):
    operator, prepared = run
    right = prepared(call)
    operator(right)  # without the change it runs
    with pytest.raises(error, match=match):
        operator(change(right))


def _error(operator, call):
    try:
        operator(call)
    except (RuntimeError, ValueError) as error:
        return str(error)
    return "no error"


@pytest.mark.parametrize("name", ["", "LSTM", "lstm ", "lstm\0", "é", "rnn", "lstm_projected"])
def test_unknown_cell(run, name):
    known = "Expected cell to be one of rnn_tanh, rnn_relu, rnn_sigmoid, gru, gru_reset_before, lstm.*, got '"
    _refused(run, right_call(), lambda call: call | {"cell": name}, known + name.partition("\0")[0], ValueError)


@pytest.mark.parametrize("name", ["", "LSTM", "lstm ", "lstm\0", "é"])
def test_the_short_way_leaves_an_unknown_cell_to_the_long_one(name):
    layer = fastrnn.GRU(5, 6)
    with torch.no_grad():
        assert _C.run_layer("gru", torch.zeros(3, 2, 5), None, layer.__dict__, type(layer), {}) is not None
        assert _C.run_layer(name, torch.zeros(3, 2, 5), None, layer.__dict__, type(layer), {}) is None
        assert _C.run_step(name, torch.zeros(2, 5), None, layer._flat_weights, True) is None


@pytest.mark.parametrize("cell", CELLS)
def test_number_of_weights(run, cell):
    for biases, directions in ((True, 1), (False, 1), (True, 2)):
        call = right_call(cell, biases=biases, directions=directions)
        right = len(call["weights"])
        for count in {*range(12), 40} - {right}:

            def change(call, count=count):
                needs = {"needs": [True] * (3 + count)} if "needs" in call else {}
                return call | {"weights": (call["weights"] * 20)[:count]} | needs

            _refused(run, call, change, f"Expected {right} weights .* in {directions} direction.*, got {count} in all$")


@pytest.mark.parametrize("cell", CELLS)
def test_flags_that_do_not_fit_the_weights(run, cell):
    call = right_call(cell)
    given = len(call["weights"])
    _refused(run, call, lambda call: call | {"biases": False}, "Expected .* weights .* without biases")
    _refused(run, call, lambda call: call | {"bidirectional": True}, f"Expected {2 * given} weights .* in 2 direction")
    _refused(run, call, lambda call: call | {"projected": True}, f"Expected {given + 1} weights .* with a projection")


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if not cell["projectable"]])
def test_projection_of_a_cell_that_has_none(run, cell):
    def change(call):
        needs = {"needs": [*call["needs"], True]} if "needs" in call else {}
        return call | {"weights": [*call["weights"], torch.zeros(6, 6)], "projected": True} | needs

    _refused(run, right_call(cell), change, f"Expected no projection for {cell}")


@pytest.mark.parametrize("features", [0, 6, 7])
def test_projection_to_as_many_features_or_more(run, features):
    def change(call):
        _, _, *biases, _ = weights = call["weights"]
        return call | {"weights": [weights[0], torch.zeros(24, features), *biases, torch.zeros(features, 6)]}

    _refused(run, right_call(projection=2), change, "Expected a projection to 1 to 5 features")


@pytest.mark.parametrize("cell", [name for name, cell in CELLS.items() if not cell["carries_c"]])
def test_a_state_that_the_cell_does_not_have(run, cell):
    state = torch.zeros(1, 2, 6)
    _refused(run, right_call(cell), lambda call: call | {"c0": state}, f"Expected no c0, got one: {cell} has no")
    if "backward" in run[0].__name__:
        _refused(
            run, right_call(cell), lambda call: call | {"d_cn": state}, f"Expected no d_cn, got one: {cell} has no"
        )


@pytest.mark.parametrize("missing", [("h0",), ("c0",), ("h0", "c0")])
def test_states_may_be_given_one_by_one(missing):
    """Each is zeros by itself, as the schema says."""
    call = right_call() | dict.fromkeys(missing)
    zeros = right_call() | {name: torch.zeros(1, 2, 6) for name in missing}
    for a, b in zip([*forward(call), *infer(call)], [*forward(zeros), *infer(zeros)], strict=True):
        assert torch.equal(a, b)
    arguments = backward_call(right_call()) | {"output": forward(zeros)[0], "saved": forward(zeros, save=True)[3]}
    without = backward(arguments | dict.fromkeys(missing))
    given = backward(arguments | {name: torch.zeros(1, 2, 6) for name in missing})
    absent = [{"h0": 1, "c0": 2}[name] for name in missing]
    for i, (a, b) in enumerate(zip(without, given, strict=True)):
        assert a.numel() == 0 if i in absent else torch.equal(a, b)


OPERANDS = {
    "input": "input|weight_ih|sequence length",
    "h0": "h0|states|hidden",
    "c0": "c0|states|cell",
    "weights0": "weight_ih|input_size|the weights' dtype",
    "weights1": "weight_hh",
    "weights2": "bias_ih",
    "weights3": "bias_hh",
    "weights4": "weight_ci",
    "weights6": "weight_co",
    "d_output": "d_output",
    "d_hn": "d_hn",
    "d_cn": "d_cn",
    "output": "output",
    "saved": "saved",
}
CHANGES = {
    "float64": torch.Tensor.double,
    "bfloat16": torch.Tensor.bfloat16,
    "int64": torch.Tensor.long,
    "a dimension more": lambda t: t[None],
    "a dimension less": lambda t: t[0],
    "a feature less": lambda t: t[..., :-1],
    "a feature more": lambda t: torch.cat([t, t[..., :1]], -1),
    "no features": lambda t: t[..., :0],
    "a row less": lambda t: t[..., :-1, :] if t.dim() > 1 else t[:-1],
    "nothing": lambda t: t[:0],
    "a number": lambda t: t.new_zeros(()),
    "another device": lambda t: t.to("meta"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_operand_of_another_kind(run, change):
    operator, prepared = run
    call = prepared(right_call("peephole_lstm", lengths=[3, 2, 1] if change != "a row less" else None))
    operator(call)  # as it is, it runs
    for name, said in OPERANDS.items():
        if name not in call and not name.startswith("weights"):
            continue  # backward's alone
        if name == "input" and change == "a row less":
            continue  # a shorter sequence is right
        if name == "weights0" and change == "bfloat16":
            continue  # the kernels read narrow weights, see test_narrow.py
        told = _error(operator, replaced(call, name, CHANGES[change]))
        assert re.search(said if change != "another device" else "device| on ", told), f"{name}: {told}"


@pytest.mark.parametrize("left", [0, 4])
@pytest.mark.parametrize("name", ["input", "batch_sizes", "h0", "c0", "weights0", "weights1", "weights2", "weights4"])
def test_freed_operand(name, left):
    call = right_call(lengths=[3, 2, 1], projection=2)
    call = replaced(call, name, lambda t: resized(t, left))
    with pytest.raises(RuntimeError, match=f"in memory: it needs .* bytes, and its storage has {left}"):
        forward(call)


@pytest.mark.parametrize("left", [0, 4])
@pytest.mark.parametrize("name", ["d_output", "d_hn", "d_cn", "output", "saved", "input", "weights3"])
@pytest.mark.parametrize("recompute", [False, True])
def test_freed_operand_of_backward(name, left, recompute):
    call = backward_call(right_call(), recompute)
    with pytest.raises(RuntimeError, match=f"Expected [a-z_]+ in memory.*, and its storage has {left}"):
        backward(replaced(call, name, lambda t: resized(t, left)))


@pytest.mark.parametrize("training", [False, True])
def test_freed_weight_of_a_layer(training):
    layer = fastrnn.GRU(5, 6)
    layer.weight_hh_l0.untyped_storage().resize_(0)
    with torch.set_grad_enabled(training), pytest.raises(RuntimeError, match="Expected weight_hh in memory"):
        layer(random(3, 2, 5, dtype=torch.float32))


@pytest.mark.parametrize("sizes", [
    [1 << 62] * 4 + [1] * 3,  # the sum wraps to the number of rows, 3
    [(1 << 63) - 1] * 2 + [1] * 5,
    [1 << 62, 1, 1, 1],
    [],
    [3, 0],
    [-1] * 3,
    [-(1 << 63)] * 2 + [3],
])  # fmt: skip
def test_batch_sizes_that_do_not_fit(run, sizes):
    given = torch.tensor(sizes, dtype=torch.int64)
    call = right_call("gru", lengths=[1, 1, 1])
    _refused(run, call, lambda call: call | {"batch_sizes": given}, "batch_sizes|sequence length")


def test_unaligned_numbers():
    """torch.frombuffer makes tensors that begin anywhere."""
    call = right_call()
    expected = forward(call)

    def shifted(t):
        copy = bytearray(1) + bytearray(t.numpy().tobytes())
        return torch.frombuffer(copy, dtype=t.dtype, offset=1).view(t.shape)

    for name in ("input", "h0", "c0", "weights0", "weights2"):
        found = forward(replaced(call, name, shifted))
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True)), name


def test_a_batch_of_nothing_takes_no_memory():
    """However long it is."""
    call = right_call("gru", batch=0) | {"input": torch.empty(1 << 40, 0, 5)}
    output, hn, *_ = forward(call, True, True)
    assert output.shape == (1 << 40, 0, 6)
    assert hn.shape == (1, 0, 6)


@pytest.mark.parametrize("name", ["weights0", "h0", "input"])
@pytest.mark.parametrize("change", [
    lambda t: t.to_sparse(),
    lambda t: torch.quantize_per_tensor(t, 0.1, 0, torch.quint8),
    lambda t: torch.nested.nested_tensor(list(t), layout=torch.strided),
    lambda t: t.to_mkldnn(),
    lambda t: t.to(torch.complex64),
], ids=["sparse", "quantized", "nested", "mkldnn", "complex"])  # fmt: skip
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning")  # of torch's constructors
def test_another_kind_of_tensor(name, change):
    with pytest.raises((RuntimeError, ValueError, NotImplementedError)):
        forward(replaced(right_call(), name, change))


@pytest.mark.parametrize("needs", [[], [True] * 6, [True] * 8])
def test_needs_of_another_length(needs):
    with pytest.raises(RuntimeError, match="Expected needs for input, h0, c0 and 4 weights"):
        backward(backward_call(right_call()) | {"needs": needs})


@pytest.mark.parametrize("name", ["input", "h0", "c0", "weights0", "weights1", "weights3"])
def test_strides_do_not_matter(name):
    call = right_call(directions=2)
    arguments = backward_call(call)
    expected = [*forward(call), *backward(arguments)]
    original = call["weights"][int(name[-1])] if name[-1].isdigit() and name != "h0" and name != "c0" else call[name]
    for view in views(original):
        found = [*forward(replaced(call, name, lambda _, v=view: v)),
                 *backward(replaced(arguments, name, lambda _, v=view: v))]  # fmt: skip
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", ["d_output", "d_hn", "d_cn", "output"])
def test_strides_of_gradients_do_not_matter(name):
    arguments = backward_call(right_call(directions=2))
    expected = backward(arguments)
    others = list(views(arguments[name]))
    if name.startswith("d_"):
        others.append(torch.ones(()).expand_as(arguments[name]))
    for view in others:
        found = backward(arguments | {name: view})
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("run", [operators.run_forward, operators.run_infer], ids=["forward", "infer"])
def test_lengths_without_numbers(run):
    """If any operand is on meta, torch runs the shape function, which returns uninitialised memory."""
    layer, x, lengths = fastrnn.GRU(5, 6), random(3, 2, 5, dtype=torch.float32), torch.tensor([3, 1])
    call = call_of("gru", x, None, [w.detach() for w in layer.parameters()], lengths=lengths)
    right = (call,) if run is operators.run_infer else (call, False)
    run(*right)
    with pytest.raises(RuntimeError, match="Expected lengths on the cpu, got a tensor on meta, which has no numbers"):
        run(call._replace(lengths=lengths.to("meta")), *right[1:])
