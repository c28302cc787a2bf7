"""Weights put in place of a module's own, in every way that public code does it: torch.nn says which of them count."""

import copy
import itertools

import pytest
import torch
import torch._dynamo.testing
from torch import nn
from torch.nn.utils import parametrize, prune

import fastrnn

NAMES = ("RNN", "GRU", "LSTM")


def pair(name):
    """torch.nn's module and fastrnn's, equal, in float64."""
    torch.manual_seed(5)
    theirs = getattr(nn, name)(4, 5, dtype=torch.float64)
    return theirs, fastrnn.convert(copy.deepcopy(theirs))


def new_weight(module, name):
    generator = torch.Generator().manual_seed(len(name))
    return torch.randn(getattr(module, name).shape, generator=generator, dtype=torch.float64)


def computed(module, leaves=()):
    """Output, and gradients of the parameters and of further leaves."""
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    if isinstance(module, nn.RNNCellBase):
        h = torch.ones(3, 5, dtype=torch.float64)
        output = module(x, (h, h) if isinstance(module, nn.LSTMCell) else h)
    else:
        output = module(torch.stack([x, 2 * x, x - 1]))
    while isinstance(output, tuple):
        output = output[0]
    found = [output.detach()]
    if output.requires_grad:
        variables = [*module.parameters(), *leaves]
        found += torch.autograd.grad(output.square().sum(), variables, allow_unused=True, retain_graph=True)
    return found


def assert_like_torch(theirs, ours, leaves=((), ())):
    for _ in range(2):  # what a call leaves behind counts in the next
        torch.testing.assert_close(computed(ours, leaves[1]), computed(theirs, leaves[0]))
        with torch.no_grad():
            torch.testing.assert_close(computed(ours), computed(theirs))


def flat(module, name):
    position = module._flat_weights_names.index(name)
    leaf = new_weight(module, name).requires_grad_()
    module._flat_weights = [2 * leaf if i == position else w for i, w in enumerate(module._flat_weights)]
    return leaf


def flat_in_the_same_list(module, name):
    leaf = new_weight(module, name).requires_grad_()
    module._flat_weights[module._flat_weights_names.index(name)] = 3 * leaf
    return leaf


def deleted_and_set(module, name):
    leaf = new_weight(module, name).requires_grad_()
    delattr(module, name)
    setattr(module, name, leaf * 2)
    return leaf


def none_and_in_the_dictionary(module, name):
    leaf = new_weight(module, name).requires_grad_()
    module._parameters[name] = None
    module.__dict__[name] = leaf * 2
    return leaf


def in_the_dictionary_beside_the_parameter(module, name):
    leaf = new_weight(module, name).requires_grad_()
    object.__setattr__(module, name, leaf * 2)
    return leaf


def in_the_parameters(module, name):
    module._parameters[name] = nn.Parameter(new_weight(module, name))


def another_parameter(module, name):
    setattr(module, name, nn.Parameter(new_weight(module, name)))


def data(module, name):
    getattr(module, name).data = new_weight(module, name)


def class_property(module, name):
    leaf = new_weight(module, name).requires_grad_()
    delattr(module, name)
    derived = type("Derived", (type(module),), {name: property(lambda self: leaf * 2)})
    module.__class__ = derived
    return leaf


def weight_norm_of_old(module, name):
    nn.utils.weight_norm(module, name, dim=None)


def pruned(module, name):
    prune.l1_unstructured(module, name, 0.4)


class Half(nn.Module):
    def forward(self, weight):
        return weight / 2


def parametrized(module, name):
    parametrize.register_parametrization(module, name, Half())


BY_NAME = [
    deleted_and_set,
    none_and_in_the_dictionary,
    in_the_dictionary_beside_the_parameter,
    in_the_parameters,
    another_parameter,
    data,
    class_property,
    weight_norm_of_old,
    pruned,
    parametrized,
]
IN_THE_LIST = [flat, flat_in_the_same_list]


@pytest.mark.filterwarnings("ignore:.*weight_norm. is deprecated:FutureWarning")
@pytest.mark.parametrize(
    ("name", "put"),
    [*itertools.product(["RNN", "LSTM", "GRUCell", "LSTMCell"], BY_NAME), *itertools.product(NAMES, IN_THE_LIST)],
)
def test_what_counts_is_what_torch_uses(name, put):
    for weight in ("weight_hh", "bias_ih"):
        theirs, ours = pair(name)
        before = computed(ours)[0]
        leaves = [put(module, weight if "Cell" in name else weight + "_l0") for module in (theirs, ours)]
        assert_like_torch(theirs, ours, [[] if leaf is None else [leaf] for leaf in leaves])
        assert torch.allclose(computed(ours)[0], before) == (put is weight_norm_of_old)


@pytest.mark.parametrize("second", [another_parameter, deleted_and_set, flat])
@pytest.mark.parametrize("called_between", [False, True])
@pytest.mark.parametrize("first", [another_parameter, in_the_parameters, deleted_and_set, flat])
def test_which_of_two_counts(first, called_between, second):
    """A list of weights holds until a name changes, and a change of a name is noticed at a call."""
    theirs, ours = pair("LSTM")
    for module in (theirs, ours):
        first(module, "weight_hh_l0")
        if called_between:
            computed(module)
        second(module, "weight_ih_l0")
    assert_like_torch(theirs, ours)


def dropping(base):
    class Dropped(base):
        """Drops recurrent weights as public code does: around the call of torch's forward."""

        def forward(self, input, hx=None):
            kept = self._flat_weights
            generator = torch.Generator().manual_seed(0)
            self._flat_weights = [
                w * (torch.rand(w.shape, generator=generator) > 0.5) if n.startswith("weight_hh") else w
                for w, n in zip(kept, self._flat_weights_names, strict=True)
            ]
            result = super().forward(input, hx)
            self._flat_weights = kept
            return result

    return Dropped


@pytest.mark.parametrize("name", NAMES)
def test_a_subclass_that_drops_weights(name):
    theirs, ours = (dropping(getattr(package, name))(4, 5, dtype=torch.float64) for package in (nn, fastrnn))
    ours.load_state_dict(theirs.state_dict())  # in place
    assert_like_torch(theirs, ours)
    plain = getattr(fastrnn, name)(4, 5, dtype=torch.float64)
    plain.load_state_dict(theirs.state_dict())
    assert not torch.allclose(computed(ours)[0], computed(plain)[0])
    theirs.load_state_dict(ours.state_dict(), assign=True)  # new names: torch drops nothing in the first call
    ours.load_state_dict(theirs.state_dict(), assign=True)
    assert_like_torch(theirs, ours)
    for model in (theirs, ours):
        model.to(torch.float32).to(torch.float64)
    assert_like_torch(theirs, ours)


class Halving(fastrnn.LSTM):
    def forward(self, input, hx=None):
        kept = self._flat_weights
        self._flat_weights = [w / 2 for w in kept]
        try:
            return super().forward(input, hx)
        finally:
            self._flat_weights = kept


def test_a_subclass_compiled_and_exported():
    half, plain, x = Halving(4, 5), fastrnn.LSTM(4, 5), torch.randn(6, 3, 4)
    half.load_state_dict(plain.state_dict())
    expected = half(x)[0]
    assert not torch.allclose(expected, plain(x)[0])
    torch.testing.assert_close(torch.compile(half, fullgraph=True, backend="eager")(x)[0], expected)
    with pytest.raises(RuntimeError, match="strict=True"):  # where torch.nn drops nothing, in silence
        torch.export.export(half, (x,), strict=False)
    torch.testing.assert_close(half(x)[0], expected)


class WeightDrop(nn.Module):
    """A wrapper that keeps the raw weight and sets the layer's anew for every call."""

    def __init__(self, module, name):
        super().__init__()
        self.module, self.name = module, name
        raw = getattr(module, name)
        delattr(module, name)
        self.register_parameter(f"{name}_raw", nn.Parameter(raw.data))
        setattr(module, name, raw.clone())
        module.flatten_parameters = lambda: None

    def forward(self, *args):
        setattr(self.module, self.name, torch.sigmoid(getattr(self, f"{self.name}_raw")))
        return self.module(*args)


@pytest.mark.parametrize("name", NAMES)
def test_a_wrapper_that_drops_weights(name):
    theirs, ours = (WeightDrop(module, "weight_hh_l0") for module in pair(name))
    assert_like_torch(theirs, ours)
    assert ours.weight_hh_l0_raw.grad is None
    ours(torch.randn(6, 3, 4, dtype=torch.float64))[0].sum().backward()
    assert ours.weight_hh_l0_raw.grad.abs().max() > 0


@pytest.mark.parametrize("name", NAMES)
def test_weights_replaced_once_are_in_step_again(name):
    """After one call the short way of csrc/torch/fast_path.cpp is open again."""
    _, ours = pair(name)
    another_parameter(ours, "weight_hh_l0")
    assert fastrnn._C.flat_weights(vars(ours)) is None
    computed(ours)
    assert fastrnn._C.flat_weights(vars(ours)) is ours._flat_weights
    deleted_and_set(ours, "weight_ih_l0")
    computed(ours)
    assert fastrnn._C.flat_weights(vars(ours)) is ours._flat_weights


def test_a_missing_weight_is_named():
    x = torch.randn(6, 3, 4, dtype=torch.float64)
    _, ours = pair("GRU")
    ours._parameters["weight_hh_l0"] = None
    ours.to(torch.float64)
    with pytest.raises(RuntimeError, match="GRU: Expected a tensor as weight_hh_l0, got None"):
        ours(x)
    del ours.weight_hh_l0
    with pytest.raises(AttributeError, match="weight_hh_l0"):
        ours(x)


@pytest.mark.parametrize("name", ["LSTM", "GRUCell"])
@pytest.mark.parametrize("wrap", [lambda module, weight: module, WeightDrop])
def test_one_graph_serves_all_calls(name, wrap):
    """Also where eager calls come between and leave other tensors in the module."""
    _, module = pair(name)
    model = wrap(module, "weight_hh" if "Cell" in name else "weight_hh_l0")
    x = torch.randn(3, 4, dtype=torch.float64)
    x = x if "Cell" in name else x.unsqueeze(0)
    counter = torch._dynamo.testing.CompileCounter()
    compiled, optimizer = (
        torch.compile(model, fullgraph=True, backend=counter),
        torch.optim.SGD(model.parameters(), 0.1),
    )
    for _ in range(3):
        expected, found = model(x), compiled(x)
        torch.testing.assert_close(found, expected)
        found[0].sum().backward()
        optimizer.step()
    assert counter.frame_count == 1


def test_overridden_methods_that_are_never_called_are_named():
    with pytest.warns(UserWarning, match="Mine overrides check_input, permute_hidden, .* override forward") as caught:

        class Mine(fastrnn.GRU):
            def permute_hidden(self, hx, permutation):
                return hx

            def check_input(self, input, batch_sizes):
                pass

    assert caught[0].filename == __file__
