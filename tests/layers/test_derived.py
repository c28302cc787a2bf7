"""convert(model, derived=True): subclasses of torch.nn's layers on fastrnn's kernels, and the context converted()."""

import abc
import copy
import pickle
import threading

import pytest
import torch
from torch import nn
from torch.overrides import BaseTorchFunctionMode

import fastrnn
from fastrnn._core import operators

pytestmark = pytest.mark.usefixtures("device")


class Named(nn.LSTM):
    """Adds to torch's layer, and leaves its forward alone."""

    def __init__(self, *args, label, **options):
        super().__init__(*args, **options)
        self.label = label

    def last(self, x):
        return self(x)[0][-1]

    def extra_repr(self):
        return super().extra_repr() + f", label={self.label}"


class Flexible(abc.ABC, nn.RNNBase):
    """As forecasting libraries do: an abstract base before torch's class, and a forward around torch's."""

    @abc.abstractmethod
    def empty(self, x): ...

    def forward(self, x, hx=None, lengths=None):
        if lengths is None:
            return super().forward(x, hx=hx)
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths.clamp(min=1), self.batch_first, enforce_sorted=False)
        output, state = super().forward(packed, hx=hx)
        return nn.utils.rnn.pad_packed_sequence(output, self.batch_first)[0], state


class FlexibleGRU(Flexible, nn.GRU):
    def empty(self, x):
        return x.new_zeros(1, x.shape[1], self.hidden_size)


class Doubled(nn.RNN):
    def forward(self, input, hx=None):
        output, h = super().forward(2 * input, hx)
        return output + 1, h


class Stepper(nn.LSTMCell):
    def forward(self, input, hx=None):
        return super().forward(input, hx)


def model_of(*modules):
    torch.manual_seed(4)
    return nn.ModuleList(make() for make in modules)


MAKERS = [
    lambda: Named(4, 5, label="a", bidirectional=True),
    lambda: FlexibleGRU(4, 5, batch_first=True),
    lambda: Doubled(4, 5, nonlinearity="relu"),
    lambda: Stepper(4, 5),
]


def tensors(result):
    return [result] if torch.is_tensor(result) else [t for part in result for t in tensors(part)]


def outcome(module):
    torch.manual_seed(2)
    x = torch.randn(3, 4) if isinstance(module, nn.LSTMCell) else torch.randn(6, 3, 4)
    options = {"lengths": torch.tensor([3, 1, 2, 3, 1, 2])} if isinstance(module, Flexible) else {}
    results = tensors(module(x, **options))
    gradients = torch.autograd.grad(sum(t.square().sum() for t in results), list(module.parameters()))
    return [t.detach() for t in results], gradients


@pytest.mark.parametrize("make", MAKERS)
def test_subclasses_are_converted_and_go_back(make, monkeypatch):
    (module,) = model_of(make)
    cls, text, expected = type(module), repr(module), outcome(module)
    attributes, parameters = dict(vars(module)), list(module.parameters())
    assert fastrnn.convert(module, derived=True) is module
    assert isinstance(module, cls)
    assert (repr(module), type(module).__name__, type(module).__module__) == (text, cls.__name__, __name__)
    assert all(a is b for a, b in zip(module.parameters(), parameters, strict=True))
    torch.testing.assert_close(outcome(module), expected)
    kernels = []
    original = operators.forward
    monkeypatch.setattr(operators, "forward", lambda *a: kernels.append(a[0]) or original(*a))
    with BaseTorchFunctionMode():  # a call that is watched goes through the operators
        outcome(module)
    assert kernels  # it is fastrnn that computes
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert type(other) is type(module)
        torch.testing.assert_close(outcome(other), expected)
    fastrnn.convert(module, derived=True)  # once more changes nothing, and says nothing
    fastrnn.convert(module)
    fastrnn.to_torch(module)
    assert type(module) is cls
    assert vars(module).keys() == attributes.keys()
    torch.testing.assert_close(outcome(module), expected)


def test_a_converted_subclass_is_made_anew_and_called_by_its_methods():
    (module,) = model_of(MAKERS[0])
    fastrnn.convert(module, derived=True)
    again = type(module)(4, 5, label="b")
    assert (again.label, type(again)) == ("b", type(module))
    assert module.last(torch.randn(6, 3, 4)).shape == (3, 10)
    assert isinstance(module.__class__, type)
    assert issubclass(module.__class__, Named)


def test_compiled_with_a_break_at_a_subclass_as_before():
    model = nn.Sequential(Named(4, 5, label="a"))
    x = torch.randn(6, 3, 4)
    expected = model(x)
    fastrnn.convert(model, derived=True)
    torch.testing.assert_close(torch.compile(model, backend="eager")(x), expected)


class Replaces(nn.LSTM):
    def forward(self, input, hx=None):
        return input, None


class Permutes(nn.GRU):
    def permute_hidden(self, hx, permutation):
        return -hx if permutation is None else super().permute_hidden(hx, permutation)


class Clashes(nn.GRU):
    def _weights(self):
        return "mine"


class Demanding(nn.GRU):
    def __init_subclass__(cls, *, needed):
        pass


def clashing_attribute():
    layer = Named(4, 5, label="c")
    layer._cell = "mine"
    return layer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Replaces(4, 5), r"Replaces: its forward does not call super\(\).forward\(\)"),
        (lambda: Permutes(4, 5), "Permutes: it defines permute_hidden"),
        (lambda: Clashes(4, 5), "Clashes: it defines _weights"),
        (clashing_attribute, "Named: it defines _cell"),
        (lambda: Demanding(4, 5), "Demanding: its class cannot be subclassed"),
    ],
)
def test_subclasses_that_rely_on_torchs_forward_are_skipped_with_the_reason(make, message):
    module = make()
    cls = type(module)
    with pytest.warns(UserWarning, match=message):
        fastrnn.convert(module, derived=True)
    assert type(module) is cls


NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")


@pytest.mark.parametrize("name", NAMES)
def test_constructed_within_converted(name):
    options = {"nonlinearity": "relu"} if name.startswith("RNN") else {}
    torch.manual_seed(9)
    theirs, after = getattr(nn, name)(4, 5, **options), torch.rand(1)
    torch.manual_seed(9)
    with fastrnn.converted():
        ours = getattr(nn, name)(4, 5, **options)
    assert type(ours) is getattr(fastrnn, name)
    assert repr(ours) == repr(theirs)
    torch.testing.assert_close(torch.rand(1), after, rtol=0, atol=0)
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    x = torch.randn(3, 4) if "Cell" in name else torch.randn(6, 3, 4)
    torch.testing.assert_close(ours(x), theirs(x))
    assert type(getattr(nn, name)(4, 5)) is getattr(nn, name)
    assert type(fastrnn.to_torch(ours)) is getattr(nn, name)
    assert vars(ours).keys() == vars(theirs).keys()


def test_converted_changes_what_is_made_in_it_and_nothing_else():
    before = nn.LSTM(4, 5)
    with fastrnn.converted():
        before.load_state_dict(nn.LSTM(4, 5).state_dict(), assign=True)
        before.weight_hh_l0 = nn.Parameter(torch.zeros(20, 5))
        assert type(before) is nn.LSTM
        assert type(Replaces(4, 5)) is Replaces
        assert type(nn.Linear(2, 2)) is nn.Linear
        with fastrnn.converted():
            pass
        assert type(nn.GRU(4, 5, bias=False)) is fastrnn.GRU
        with pytest.raises(ValueError, match="hidden_size"):
            nn.GRU(4, 0)
    with pytest.raises(KeyError), fastrnn.converted():
        raise KeyError
    assert type(nn.GRU(4, 5)) is nn.GRU


def test_converted_is_of_one_thread():
    made = []
    with fastrnn.converted():
        thread = threading.Thread(target=lambda: made.append(type(nn.LSTM(2, 2))))
        thread.start()
        thread.join()
    assert made == [nn.LSTM]
