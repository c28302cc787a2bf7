"""Bad input: the exception type of torch.nn, a message with what was expected and what came, and never a crash.

torch.nn itself runs on the CPU here, on whatever device fastrnn does: what cuDNN makes of mistakes is its own affair.
"""

import copy
import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import fastrnn
import fastrnn.nn
from fastrnn import functional
from tests.support import twins as shared
from tests.support.twins import TORCH_CELLS, make, random, twins

pytestmark = pytest.mark.usefixtures("device")

LAYERS = ("RNN", "GRU", "LSTM")
CELLS = ("RNNCell", "GRUCell", "LSTMCell")


def failure(call):
    with pytest.raises(Exception) as caught:  # noqa: PT011, the type is what is compared
        call()
    return caught.value


def zeros(*shape, **kind):
    return torch.zeros(*shape, **{"device": shared.DEVICE} | kind)


@contextmanager
def on_the_cpu():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shared, "DEVICE", "cpu")
        yield


def assert_fails_alike(name, arguments, use, *mentions, **options):
    """``use`` raises the same type with fastrnn's module as with torch.nn's, and the message mentions the rest."""
    with on_the_cpu():
        theirs = getattr(nn, name)(*arguments, **options)
        expected = failure(lambda: use(theirs))
    ours = getattr(fastrnn, name)(*arguments, **options).to(shared.DEVICE)
    found = failure(lambda: use(ours))
    assert type(found) is type(expected), f"{found!r}, torch.nn: {expected!r}"
    for mention in mentions:
        assert str(mention) in str(found), f"{mention} in {found}"


def state(name, *shape, **kind):
    return (zeros(shape, **kind),) * 2 if name.startswith("LSTM") else zeros(shape, **kind)


@pytest.mark.parametrize("name", LAYERS)
class TestLayers:
    """Layers of input size 3 and hidden size 4."""

    def fails(self, name, use, *mentions, **options):
        assert_fails_alike(name, (3, 4), use, *mentions, **options)

    @pytest.mark.parametrize("rank", [0, 1, 4])
    def test_rank(self, name, rank):
        self.fails(name, lambda m: m(zeros([3] * rank)), "2D or 3D", f"{rank}D")

    @pytest.mark.parametrize("shape", [(5, 2, 7), (5, 7), (5, 2, 0), (5, 2, 1)])
    def test_input_size(self, name, shape):
        self.fails(name, lambda m: m(zeros(shape)), 3, shape[-1])

    @pytest.mark.parametrize("shape", [(0, 2, 3), (0, 0, 3), (0, 3)])
    def test_no_step(self, name, shape):
        self.fails(name, lambda m: m(zeros(shape)), "larger than 0", 0)

    def test_no_step_with_batch_first(self, name):
        self.fails(name, lambda m: m(zeros(2, 0, 3)), "larger than 0", 0, batch_first=True)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.complex64])
    def test_input_dtype(self, name, dtype):
        self.fails(name, lambda m: m(zeros(5, 2, 3, dtype=dtype)), "torch.float32", dtype)

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64])
    def test_state_dtype(self, name, dtype):
        self.fails(name, lambda m: m(zeros(5, 2, 3), state(name, 1, 2, 4, dtype=dtype)), "torch.float32", dtype)

    @pytest.mark.parametrize("weight", ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"])
    def test_weights_of_two_dtypes(self, name, weight):
        def use(module):
            setattr(module, weight, nn.Parameter(getattr(module, weight).detach().double()))
            module(zeros(5, 2, 3))

        with on_the_cpu():
            assert type(failure(lambda: use(getattr(nn, name)(3, 4)))) in (RuntimeError, ValueError)
        found = failure(lambda: use(getattr(fastrnn, name)(3, 4, device=shared.DEVICE)))
        assert type(found) in (RuntimeError, ValueError)
        assert "torch.float32" in str(found)
        assert "torch.float64" in str(found)

    def test_devices(self, name):
        meta = {"device": "meta"}
        self.fails(name, lambda m: m(zeros(5, 2, 3, **meta)), "meta", shared.DEVICE)
        self.fails(name, lambda m: m(zeros(5, 2, 3), state(name, 1, 2, 4, **meta)), "meta", shared.DEVICE)
        self.fails(name, lambda m: m.to("meta")(zeros(5, 2, 3)), "meta", shared.DEVICE)

    @pytest.mark.parametrize("shape", [(1, 3, 4), (2, 2, 4), (1, 2, 5), (1, 1, 4), (0, 2, 4), (2, 4), (1, 2, 4, 1)])
    def test_state_shape(self, name, shape):
        self.fails(name, lambda m: m(zeros(5, 2, 3), state(name, *shape)), [1, 2, 4], list(shape))

    @pytest.mark.parametrize("shape", [(1, 1, 4), (4,)])
    def test_state_rank_of_one_sequence(self, name, shape):
        self.fails(name, lambda m: m(zeros(5, 3), state(name, *shape)), "2 dimensions", len(shape))

    def test_state_shape_of_one_sequence(self, name):
        self.fails(name, lambda m: m(zeros(5, 3), state(name, 2, 4)), 1, 2)

    def test_not_a_tensor(self, name):
        for wrong in (None, [1.0, 2.0], "text", 3):
            self.fails(name, lambda m, wrong=wrong: m(wrong))

    @pytest.mark.parametrize("count", [0, 1, 3])
    def test_number_of_states(self, name, count):
        self.fails(name, lambda m: m(zeros(5, 2, 3), (zeros(1, 2, 4),) * count))

    @pytest.mark.parametrize("shape", [(1, 3, 4), (1, 1, 4), (1, 2, 5), (2, 2, 4), (2, 4)])
    @pytest.mark.parametrize("enforce_sorted", [True, False])
    def test_state_shape_with_packed_input(self, name, shape, enforce_sorted):
        packed = pack_padded_sequence(zeros(3, 2, 3), [3, 1], enforce_sorted=enforce_sorted)
        found = failure(lambda: getattr(fastrnn, name)(3, 4, device=shared.DEVICE)(packed, state(name, *shape)))
        assert type(found) is RuntimeError
        assert str(list(shape)) in str(found)

    def test_packed_sizes(self, name):
        def packed(rows, sizes, features=3):
            return PackedSequence(zeros(rows, features), torch.as_tensor(sizes))

        self.fails(name, lambda m: m(packed(3, [2, 1], 5)), 3, 5)
        self.fails(name, lambda m: m(packed(2, [2, 1])), 3, 2)
        self.fails(name, lambda m: m(packed(3, [1, 2])), "not to increase", "2 at 1")
        self.fails(name, lambda m: m(packed(2, [2, -1, 1])), "positive", "-1 at 1")
        self.fails(name, lambda m: m(packed(0, torch.tensor([], dtype=torch.int64))), "at least one step")
        self.fails(name, lambda m: m(packed(3, torch.tensor([2, 1], dtype=torch.int32))), "int64", "int32")

    def test_packed_rows_beyond_the_batch_sizes(self, name):
        """torch.nn drops them without a word."""
        packed = PackedSequence(zeros(7, 3), torch.tensor([2, 1]))
        with pytest.raises(RuntimeError, match=r"3 rows.*got 7"):
            getattr(fastrnn, name)(3, 4, device=shared.DEVICE)(packed)

    @pytest.mark.parametrize("lengths", [[3, 0], [4, 1], [3, -1], [3, 1, 1], [1, 3]], ids=str)
    def test_lengths_out_of_range(self, name, lengths):
        """torch's own packing refuses these before a layer sees them, so fastrnn's never does."""
        with pytest.raises(RuntimeError):
            getattr(fastrnn, name)(3, 4, device=shared.DEVICE)(pack_padded_sequence(zeros(3, 2, 3), lengths))


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize(
    "wrong",
    [
        {"hidden_size": 0},
        {"hidden_size": -1},
        {"hidden_size": 2.5},
        {"input_size": 0},
        {"input_size": "3"},
        {"num_layers": 0},
        {"bias": 1},
        {"batch_first": 1},
        {"dropout": 2},
        {"dropout": -0.1},
        {"dropout": True},
        {"dropout": "a"},
        {"proj_size": 9},
        {"proj_size": 4},
        {"proj_size": -1},
        {"dtype": torch.int32},
        {"nonlinearity": "gelu"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_constructor_arguments(name, wrong):
    arguments = {"input_size": 3, "hidden_size": 4} | wrong
    theirs, ours = (failure(lambda: getattr(package, name)(**arguments)) for package in (nn, fastrnn))  # noqa: B023
    assert type(ours) is type(theirs), f"{ours!r}, torch.nn: {theirs!r}"


def test_constructor_arguments_beyond_torch():
    with pytest.raises(ValueError, match="tanh, relu, sigmoid, got 'gelu'"):
        fastrnn.RNN(3, 4, nonlinearity="gelu")
    with pytest.raises(TypeError, match="bool, got str"):
        fastrnn.GRU(3, 4, reset_after="before")
    for name in ("RNN", "GRU"):
        with pytest.raises(ValueError, match="proj_size"):
            getattr(fastrnn, name)(3, 4, proj_size=2)


@pytest.mark.parametrize("name", CELLS)
class TestCells:
    """Cells of input size 3 and hidden size 4."""

    @pytest.mark.parametrize("shape", [(), (2, 2, 3)])
    def test_rank(self, name, shape):
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(shape)), "1D or 2D", f"{len(shape)}D")
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(2, 3), state(name, *shape)), "1D or 2D", f"{len(shape)}D")

    @pytest.mark.parametrize("shape", [(2, 5), (5,), (2, 0)])
    def test_input_size(self, name, shape):
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(shape)), 3, shape[-1])

    @pytest.mark.parametrize("shape", [(2, 5), (3, 4), (1, 4)])
    def test_state_shape(self, name, shape):
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(2, 3), state(name, *shape)), [2, 4], list(shape))

    def test_state_of_another_rank(self, name):
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(3), state(name, 1, 4)))
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(1, 3), state(name, 4)))

    def test_dtypes(self, name):
        double = {"dtype": torch.float64}
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(2, 3, **double)), "float32", "float64")
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(2, 3), state(name, 2, 4, **double)), "float32", "float64")

    def test_devices(self, name):
        assert_fails_alike(name, (3, 4), lambda m: m(zeros(2, 3, device="meta")), "meta", shared.DEVICE)
        assert_fails_alike(
            name, (3, 4), lambda m: m(zeros(2, 3), state(name, 2, 4, device="meta")), "meta", shared.DEVICE
        )

    def test_not_a_tensor(self, name):
        for wrong in (None, [1.0], 3):
            assert_fails_alike(name, (3, 4), lambda m, wrong=wrong: m(wrong))

    @pytest.mark.parametrize("wrong", [{"hidden_size": -1}, {"hidden_size": 2.5}, {"dtype": torch.int32}, {"no": 1}])
    def test_constructor_arguments(self, name, wrong):
        arguments = {"input_size": 3, "hidden_size": 4} | wrong
        theirs, ours = (failure(lambda: getattr(package, name)(**arguments)) for package in (nn, fastrnn))  # noqa: B023
        assert type(ours) is type(theirs)

    @pytest.mark.parametrize(("input_size", "hidden_size"), [(3, 0), (0, 4)])
    @pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
    def test_size_zero_gives_what_torch_gives(self, name, input_size, hidden_size):
        torch.manual_seed(1)
        theirs = getattr(nn, name)(input_size, hidden_size, device=shared.DEVICE)
        torch.manual_seed(1)
        ours = getattr(fastrnn, name)(input_size, hidden_size, device=shared.DEVICE)
        torch.testing.assert_close(ours(zeros(2, input_size)), theirs(zeros(2, input_size)))


def test_unknown_nonlinearity_of_a_cell():
    assert_fails_alike("RNNCell", (3, 4, True, "gelu"), lambda m: m(zeros(2, 3)), "gelu", "sigmoid")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_what_is_not_finite_propagates_as_in_torch(cell, dtype, bad):
    theirs, ours = twins(cell, 5, 18, bidirectional=True, dtype=dtype)
    x = random(6, 4, 5, dtype=dtype)
    x[2, 1, 3] = bad
    found, expected = ours(x)[0].cpu(), theirs.cpu()(x.cpu())[0]
    assert torch.equal(found.isnan(), expected.isnan())
    assert torch.equal(found.isinf(), expected.isinf())
    torch.testing.assert_close(found, expected, equal_nan=True)
    assert found[:, 0].isfinite().all()  # the other sequences of the batch do not notice
    found.sum().backward()
    expected.sum().backward()
    # Whether 0 times infinity (nan) or what only rounds to 0 meets it depends on the last bit: both are not finite.
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(a.grad.isfinite().cpu(), b.grad.isfinite())


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_weights_that_are_not_finite_propagate_as_in_torch(cell):
    theirs, ours = twins(cell, 5, 18, dtype=torch.float64)
    for layer in (theirs, ours):
        with torch.no_grad():
            layer.weight_hh_l0[3, 2] = math.nan
    x = random(6, 4, 5)
    torch.testing.assert_close(ours(x)[0].cpu(), theirs.cpu()(x.cpu())[0], equal_nan=True)


@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_large_numbers_saturate(cell):
    theirs, ours = twins(cell, 5, 18)
    x = 1e4 * random(6, 4, 5, dtype=torch.float32)
    exact = copy.deepcopy(theirs).double()(x.double())[0]
    # Of such numbers a sum is rounded to 1e-3 or so, which shows where it happens to be near zero, in torch too.
    rounding = (x.abs().max() * theirs.weight_ih_l0.abs().max()).item() * torch.finfo(torch.float32).eps
    for output in (ours(x)[0], theirs(x)[0]):
        torch.testing.assert_close(output.double(), exact, rtol=1e-5, atol=2 * rounding)
    assert ours(x)[0].isfinite().all()


@pytest.mark.parametrize("cell", TORCH_CELLS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_empty_batch_gives_empty_results(cell, batch_first):
    theirs, ours = twins(cell, 3, 4, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = zeros((0, 5, 3) if batch_first else (5, 0, 3)).requires_grad_()
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x)[0].sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad.abs().sum() == 0 for p in ours.parameters())


class TestFunctions:
    """Weights come from anywhere here, so their number and shapes can be wrong too."""

    @property
    def weights(self):
        return zeros(16, 3), zeros(16, 4), zeros(16), zeros(16)

    @pytest.mark.parametrize("count", [0, 1, 2, 3, 6, 8])
    def test_number_of_weights(self, count):
        with pytest.raises(RuntimeError, match=f"Expected 4 weights.*got {count}"):
            functional.lstm(zeros(5, 2, 3), None, (self.weights * 2)[:count])

    @pytest.mark.parametrize("position", range(4))
    @pytest.mark.parametrize("shape", [(16, 5), (15, 3), (15,), (1,), (16, 4, 1), ()], ids=str)
    def test_shape_of_a_weight(self, position, shape):
        weights = list(self.weights)
        if weights[position].shape == shape:
            pytest.skip("this one is right")
        weights[position] = zeros(shape)
        with pytest.raises((RuntimeError, IndexError)):
            functional.lstm(zeros(5, 2, 3), None, weights)

    def test_nonlinearity(self):
        with pytest.raises(ValueError, match="tanh, relu, sigmoid, got 'gelu'"):
            functional.rnn(zeros(5, 2, 3), None, (zeros(4, 3), zeros(4, 4)), nonlinearity="gelu", biases=False)

    def test_one_bias_without_the_other(self):
        with pytest.raises(ValueError, match="b_ih and b_hh or neither"):
            functional.gru_cell(zeros(2, 3), None, zeros(12, 3), zeros(12, 4), zeros(12))


def test_a_good_call_after_a_bad_one():
    layer = make(fastrnn.nn, "lstm", 3, 4)
    x = random(5, 2, 3, dtype=torch.float32)
    expected = layer(x)[0]
    with pytest.raises(RuntimeError):
        layer(x, (zeros(1, 3, 4), zeros(1, 3, 4)))
    assert torch.equal(layer(x)[0], expected)


@pytest.mark.parametrize("form", ["sequence", "packed", "unbatched", "cell"])
def test_one_state_too_many_or_too_few_says_what_to_pass(form):
    """As code does that goes by isinstance: a tuple of one state for a GRU, a tensor for an LSTM."""
    x, h = torch.randn(6, 3, 4), torch.zeros(1, 3, 5)
    if form == "packed":
        x = torch.nn.utils.rnn.pack_padded_sequence(x, [6, 5, 4])
    elif form != "sequence":
        x, h = (x[:, 0], h[:, 0]) if form == "unbatched" else (x[0], h[0])
    suffix = "Cell" if form == "cell" else ""
    for package in (torch.nn, fastrnn.nn):
        with pytest.raises(AttributeError, match="tuple") as caught:
            getattr(package, "GRU" + suffix)(4, 5)(x, (h,))
    assert str(caught.value) == "Expected hx to be a tensor, got a tuple of 1; pass hx[0]"
    with pytest.raises((IndexError, RuntimeError), match=r"Expected hx to be a pair, got .*; pass \(h_0, c_0\)"):
        getattr(fastrnn.nn, "LSTM" + suffix)(4, 5)(x, h)
