"""isinstance with torch.nn's classes, and everything else that looks at the class of a layer (docs/adr/0012)."""

import abc
import copy
import functools
import inspect
import io
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize

import fastrnn

NAMES = ("RNN", "GRU", "LSTM", "RNNCell", "GRUCell", "LSTMCell")


def made(name, **options):
    torch.manual_seed(3)
    return getattr(fastrnn, name)(4, 5, **options)


def converted(name):
    return fastrnn.convert(getattr(nn, name)(4, 5))


def input_of(name):
    return torch.randn(3, 4) if name.endswith("Cell") else torch.randn(6, 3, 4)


def h_of(result):
    while isinstance(result, tuple):
        result = result[0]
    return result


def saved(module):
    buffer = io.BytesIO()
    torch.save(module, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


@pytest.mark.parametrize("make", [made, converted])
@pytest.mark.parametrize("name", NAMES)
def test_an_instance_of_torchs_class_and_of_no_other(name, make):
    derived = getattr(nn, name).__subclasses__()
    module = make(name)
    for other in NAMES:
        assert isinstance(module, getattr(nn, other)) == (other == name)
        assert isinstance(module, getattr(fastrnn, other)) == (other == name)
    assert isinstance(module, (nn.Linear, getattr(nn, name)))
    assert type(module) is getattr(fastrnn, name)
    assert not issubclass(type(module), getattr(nn, name))  # which torch.compile would refuse to trace
    theirs = getattr(nn, name)(4, 5)
    assert not isinstance(theirs, getattr(fastrnn, name))
    assert getattr(nn, name).__subclasses__() == derived
    back = fastrnn.to_torch(module)
    assert type(back) is back.__class__ is getattr(nn, name)


@pytest.mark.parametrize("name", NAMES)
def test_its_class_is_its_type_in_all_else(name):
    module, own = made(name), getattr(fastrnn, name)
    cls = module.__class__
    assert issubclass(cls, getattr(nn, name))
    assert issubclass(cls, own)
    assert cls == own
    assert {own: 1}[cls] == 1
    assert cls is made(name).__class__
    assert (repr(cls), cls.__name__, cls.__module__, cls.__bases__) == (
        repr(own),
        own.__name__,
        own.__module__,
        (*own.__bases__, getattr(nn, name)),
    )
    assert type(cls(4, 5)) is own
    assert type(cls.__new__(cls)) is own
    assert type(type("Derived", (cls,), {})(4, 5)).__mro__[1] is own
    assert inspect.signature(cls) == inspect.signature(own)
    assert pickle.loads(pickle.dumps({"class": cls}))["class"] is own
    assert copy.deepcopy(cls) is cls


def test_what_is_set_on_its_class_is_set_on_the_type():
    class Counting(fastrnn.LSTM):
        made = 0

        def __init__(self, *args):
            super(self.__class__, self).__init__(*args)
            self.__class__.made += 1

        def forward(self, input, hx=None):
            return super(self.__class__, self).forward(input, hx)

    layer = Counting(4, 5)
    assert Counting.made == layer.made == 1
    assert repr(layer) == "Counting(4, 5)"
    assert isinstance(layer, nn.LSTM)
    assert not hasattr(nn.LSTM, "made")
    assert torch.equal(layer(x := input_of("LSTM"))[0], fastrnn.LSTM.forward(layer, x)[0])
    del layer.__class__.made
    assert not hasattr(Counting, "made")


def test_a_derived_class_with_an_abstract_base_and_a_registry():
    registry = []

    class Registered(abc.ABC):
        def __init_subclass__(cls):
            registry.append(cls)

        @abc.abstractmethod
        def name(self): ...

    class Mine(Registered, fastrnn.GRU):
        def name(self):
            return "mine"

    assert isinstance(Mine(4, 5), nn.GRU)
    assert isinstance(Mine(4, 5), Registered)
    assert registry == [Mine]
    assert Mine.__subclasses__() == []


def test_dispatch_by_class_finds_torchs():
    @functools.singledispatch
    def kind(module):
        return "other"

    kind.register(nn.LSTM, lambda module: "LSTM")
    assert [kind(m) for m in (made("LSTM"), made("GRU"), nn.LSTM(2, 2))] == ["LSTM", "other", "LSTM"]


class Asking(nn.Module):
    """Goes by the kind of its layer inside what is compiled."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        result = self.layer(x)
        return h_of(result) + 10 * isinstance(self.layer, self.layer._twin), self.layer.__class__.__name__


@pytest.mark.parametrize("name", NAMES)
def test_compiled_whole_and_exported(name):
    model, x = Asking(made(name)), input_of(name)
    expected = model(x)[0]
    assert expected.mean() > 9
    ways = [
        torch.compile(model, fullgraph=True, backend="eager"),
        torch.export.export(model, (x,), strict=True).module(),
        torch.export.export(model, (x,), strict=False).module(),
    ]
    for call in ways:
        found, text = call(x)
        torch.testing.assert_close(found, expected)
        assert text == name


def test_torchs_own_layers_compile_as_before():
    with pytest.raises(torch._dynamo.exc.Unsupported, match="RNN, GRU, or LSTM"):
        torch.compile(nn.LSTM(4, 5), fullgraph=True, backend="eager")(input_of("LSTM"))


@pytest.mark.parametrize("name", NAMES)
def test_copies_and_pickles_of_every_kind(name):
    module, x = made(name), input_of(name)
    expected = module(x)
    copies = [copy.copy(module), copy.deepcopy(module), saved(module)]
    copies += [pickle.loads(pickle.dumps(module, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    by_hand = module.__class__.__new__(module.__class__)
    by_hand.__dict__.update(module.__dict__)
    for other in (*copies, by_hand):
        assert type(other) is getattr(fastrnn, name)
        assert isinstance(other, getattr(nn, name))
        torch.testing.assert_close(other(x), expected, rtol=0, atol=0)


class Subclass(fastrnn.LSTM):
    def __init__(self, *args, note):
        super().__init__(*args)
        self.note = note


def test_a_pickled_subclass():
    other = pickle.loads(pickle.dumps(Subclass(4, 5, note="mine")))
    assert (type(other), other.note, repr(other)) == (Subclass, "mine", "Subclass(4, 5)")


PARAMETRIZED = [*((name, {}) for name in NAMES), ("RNN", {"nonlinearity": "sigmoid"}), ("GRU", {"reset_after": False})]


@pytest.mark.parametrize(("name", "options"), PARAMETRIZED, ids=str)
def test_parametrized(name, options):
    """parametrize derives a class from module.__class__: it stays fastrnn's, and what torch lacks stays what it is."""
    module, x = made(name, **options), input_of(name)
    expected, weight = module(x), "weight_hh" if name.endswith("Cell") else "weight_hh_l0"
    parametrizations.weight_norm(module, weight)
    assert issubclass(type(module), getattr(fastrnn, name))
    assert isinstance(module, getattr(nn, name))
    assert type(module).__name__ == f"Parametrized{name}"
    assert parametrize.type_before_parametrizations(module) is getattr(fastrnn, name)
    torch.testing.assert_close(module(x), expected)
    other = copy.deepcopy(module)
    assert type(other) is type(module)
    for parametrized in (module, other, torch.compile(module, fullgraph=True, backend="eager")):
        torch.testing.assert_close(parametrized(x), expected)
    parametrize.remove_parametrizations(module, weight)
    assert type(module) is getattr(fastrnn, name)
    torch.testing.assert_close(module(x), expected)
