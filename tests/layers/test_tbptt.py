"""Truncated backpropagation through time: the values of the whole sequence, and the gradients of its chunks alone."""

from collections import OrderedDict, defaultdict, namedtuple

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence

import fastrnn
from tests.support.twins import CELLS, make, random

Pair = namedtuple("Pair", "h c")


def test_detach_goes_into_every_structure():
    w = torch.ones(2, requires_grad=True)
    h, c = w * 2, w * 3
    state = {"lstm": (h, c), "gru": [h, None], "more": OrderedDict(pair=Pair(h, (c, 7, "name", True, 1.5)))}
    found = fastrnn.detach(state)
    assert found["lstm"][0].data_ptr() == h.data_ptr()
    assert found["gru"][1] is None
    assert type(found["gru"]) is list
    assert type(found["more"]) is OrderedDict
    assert type(found["more"]["pair"]) is Pair
    assert found["more"]["pair"].c[1:] == (7, "name", True, 1.5)
    kept = [*found["lstm"], found["gru"][0], found["more"]["pair"].h, found["more"]["pair"].c[0]]
    assert not any(t.requires_grad for t in kept)
    assert all(torch.equal(t, expected) for t, expected in zip(kept, (h, c, h, h, c), strict=True))
    assert state["lstm"][0] is h
    assert fastrnn.detach(None) is None
    packed = fastrnn.detach(pack_sequence([h, h[:1]]))
    assert not packed.data.requires_grad


@pytest.mark.parametrize("what", [object(), {1, 2}, numpy.ones(3), (torch.ones(2), [object()])])
def test_detach_refuses_what_it_cannot_look_into(what):
    with pytest.raises(TypeError, match="Expected a state of tensors, tuples, lists and dictionaries, got a "):
        fastrnn.detach(what)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_values_of_the_whole_and_gradients_of_the_chunks(cell, batch_first):
    layer = make(fastrnn, cell, 3, 4, num_layers=2, batch_first=batch_first, dtype=torch.float64)
    x, y = random(7, 2, 3), random(7, 2, layer(random(1, 1, 3))[0].size(-1), seed=3)
    cut = (lambda t: t.transpose(0, 1)) if batch_first else (lambda t: t)
    chunks, outputs, lengths = fastrnn.tbptt((cut(x), cut(y)), 3, batch_first=batch_first), [], []
    assert len(chunks) == 3
    expected, state_of_hand = {name: torch.zeros_like(p) for name, p in layer.named_parameters()}, None
    for number, ((input, target), state) in enumerate(chunks):
        output, final = layer(input, state)
        chunks.keep(final)
        (output - target).square().sum().backward()
        outputs.append(cut(output.detach()))
        lengths.append(len(cut(input)))
        # The same by hand: this chunk alone, from a state that is a constant.
        rows = slice(3 * number, 3 * number + 3)
        output, final = layer(cut(x[rows]), state_of_hand)
        parameters = dict(layer.named_parameters())
        gradients = torch.autograd.grad((output - cut(y[rows])).square().sum(), parameters.values())
        for name, gradient in zip(parameters, gradients, strict=True):
            expected[name] += gradient
        state_of_hand = tuple(t.detach() for t in final) if isinstance(final, tuple) else final.detach()
    assert lengths == [3, 3, 1]
    whole, final = layer(cut(x))
    torch.testing.assert_close(torch.cat(outputs), cut(whole))
    torch.testing.assert_close(chunks.state, fastrnn.detach(final))
    for name, parameter in layer.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


@given(st.integers(1, 12), st.integers(1, 15), st.booleans())
def test_chunks_are_the_sequence(steps, k, batch_first):
    x = torch.arange(steps * 4).view(2, steps, 2) if batch_first else torch.arange(steps * 4).view(steps, 2, 2)
    chunks, seen = fastrnn.tbptt(x, k, {"n": torch.zeros(1)}, batch_first=batch_first), []
    for chunk, state in chunks:
        assert state["n"].item() == len(seen)
        seen.append(chunk)
        chunks.keep({"n": state["n"] + 1})
    assert len(seen) == len(chunks)
    assert torch.equal(torch.cat(seen, 1 if batch_first else 0), x)
    assert list(chunks) == []


def test_the_first_state_is_cut_too():
    h = torch.ones(1, 2, 4, requires_grad=True)
    _, state = next(iter(fastrnn.tbptt(torch.zeros(5, 2, 3), 2, (h * 2, [h]))))
    assert not state[0].requires_grad
    assert not state[1][0].requires_grad


def test_one_sequence_without_a_batch():
    layer, x = fastrnn.GRU(3, 4), torch.randn(5, 3)
    chunks = fastrnn.tbptt(x, 2)
    for chunk, state in chunks:
        chunks.keep(layer(chunk, state)[1])
    torch.testing.assert_close(chunks.state, layer(x)[1].detach())


@pytest.mark.parametrize("steps", [2, 7])
def test_a_state_that_is_not_kept_is_an_error(steps):
    """Also at the end, so that a sequence of one chunk is no exception."""
    chunks = fastrnn.tbptt(torch.zeros(steps, 2, 3), 3)
    with pytest.raises(RuntimeError, match=r"call keep\(state\) in the loop"):
        for _ in chunks:
            pass


@pytest.mark.parametrize(
    ("x", "k", "error", "message"),
    [
        (torch.zeros(5, 2, 3), 0, ValueError, "steps in a chunk, to be at least 1, got 0"),
        (torch.zeros(5, 2, 3), 2.0, TypeError, "steps in a chunk, to be an int, got float"),
        (torch.zeros(5, 2, 3), True, TypeError, "to be an int, got bool"),
        (torch.zeros(0, 2, 3), 2, ValueError, r"tensors of one length, at least 1, got lengths \[0\]"),
        ((torch.zeros(5, 2), torch.zeros(4, 2)), 2, ValueError, r"one length, at least 1, got lengths \[5, 4\]"),
        (
            pack_sequence([torch.zeros(3, 2)]),
            2,
            TypeError,
            "got a PackedSequence, whose steps cannot be cut; pad it by",
        ),
        (
            torch.nested.nested_tensor([torch.zeros(3, 2)], layout=torch.jagged),
            2,
            TypeError,
            "got a nested one, whose steps cannot be cut; pad it by torch.nested.to_padded_tensor",
        ),
        (numpy.zeros((5, 2)), 2, TypeError, "Expected a tensor or a tuple of tensors, got ndarray"),
        (torch.zeros(()), 2, ValueError, r"at least 1 dimensions, got size \[\]"),
    ],
)
def test_what_cannot_be_cut(x, k, error, message):
    with pytest.raises(error, match=message):
        fastrnn.tbptt(x, k)


def test_batch_first_needs_two_dimensions():
    with pytest.raises(ValueError, match=r"at least 2 dimensions, got size \[5\]"):
        fastrnn.tbptt(torch.zeros(5), 2, batch_first=True)
    with pytest.raises(TypeError, match="Expected batch_first to be a bool, got int"):
        fastrnn.tbptt(torch.zeros(5, 2), 2, batch_first=1)


def test_a_dictionary_with_a_default_keeps_its_type():
    found = fastrnn.detach(defaultdict(list, a=torch.ones(1, requires_grad=True)))
    assert type(found) is defaultdict
    assert not found["a"].requires_grad
