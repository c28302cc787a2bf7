"""PackedSequence in and out: the numbers, the order of the states, and the sequence's own description."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

import fastrnn.nn
from tests.support.twins import CELLS, TORCH_CELLS, assert_same, initial, make, random, results, twins

pytestmark = pytest.mark.usefixtures("device")

F64 = torch.float64
MANY = [i % 7 + 1 for i in range(130)]  # more rows than one thread takes at a time


@pytest.mark.parametrize("lengths", [[5, 3, 3, 1], [1, 5, 2, 5], [4], [2, 2, 2], [1, 1], MANY], ids=len)
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("cell", TORCH_CELLS)
def test_packed(cell, bidirectional, layers, lengths):
    theirs, ours = twins(cell, 3, 6, num_layers=layers, bidirectional=bidirectional, dtype=F64)
    x, hx = random(max(lengths), len(lengths), 3), initial(ours, len(lengths), F64)
    for enforce_sorted in (False, True):
        if enforce_sorted and lengths != sorted(lengths, reverse=True):
            continue

        def arrange(x, enforce_sorted=enforce_sorted):
            return pack_padded_sequence(x, lengths, enforce_sorted=enforce_sorted)

        assert_same(results(ours, x, hx, arrange), results(theirs, x, hx, arrange))
        assert_same(results(ours, x, None, arrange), results(theirs, x, None, arrange))


@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    cell=st.sampled_from(list(TORCH_CELLS)),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    hidden_size=st.integers(2, 20),
)
def test_any_lengths(lengths, cell, bidirectional, batch_first, hidden_size):
    theirs, ours = twins(cell, 3, hidden_size, bidirectional=bidirectional, batch_first=batch_first, dtype=F64)
    shape = (len(lengths), max(lengths)) if batch_first else (max(lengths), len(lengths))
    x, hx = random(*shape, 3), initial(ours, len(lengths), F64)

    def arrange(x):
        return pack_padded_sequence(x, lengths, batch_first=batch_first, enforce_sorted=False)

    assert_same(results(ours, x, hx, arrange), results(theirs, x, hx, arrange))


@pytest.mark.parametrize("cell", CELLS)
def test_each_sequence_as_if_alone(cell):
    """What lies beyond a sequence's end has no part in it, in either direction."""
    layer = make(fastrnn.nn, cell, 3, 6, num_layers=2, bidirectional=True, dtype=F64)
    lengths = [2, 7, 4, 1]
    sequences = [random(n, 3, seed=n) for n in lengths]
    hx = initial(layer, 4, F64)
    output, final = layer(pack_sequence(sequences, enforce_sorted=False), hx)
    padded, found_lengths = pad_packed_sequence(output)
    assert found_lengths.tolist() == lengths
    for i, sequence in enumerate(sequences):
        own = tuple(h[:, i] for h in hx) if isinstance(hx, tuple) else hx[:, i]
        alone, alone_final = layer(sequence, own)
        torch.testing.assert_close(padded[: lengths[i], i], alone)
        here = tuple(h[:, i] for h in final) if isinstance(final, tuple) else final[:, i]
        torch.testing.assert_close(here, alone_final)


@pytest.mark.parametrize("enforce_sorted", [False, True])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_the_output_describes_itself_as_the_input_does(cell, enforce_sorted):
    packed = pack_padded_sequence(random(5, 3, 4), [5, 4, 2], enforce_sorted=enforce_sorted)
    output, _ = make(fastrnn.nn, cell, 4, 6, dtype=F64)(packed)
    assert type(output) is PackedSequence
    assert torch.equal(output.batch_sizes, packed.batch_sizes)
    for order in ("sorted_indices", "unsorted_indices"):
        expected = getattr(packed, order)
        assert (getattr(output, order) is None) == (expected is None)
        assert expected is None or torch.equal(getattr(output, order), expected)


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_dropout_between_layers(cell):
    layer = make(fastrnn.nn, cell, 3, 16, num_layers=2, dropout=0.5, dtype=F64)
    packed = pack_padded_sequence(random(5, 4, 3), [5, 3, 3, 1])
    torch.manual_seed(1)
    first = layer(packed)[0].data
    torch.manual_seed(1)
    assert torch.equal(layer(packed)[0].data, first)
    assert not torch.equal(layer(packed)[0].data, first)
    assert not torch.equal(layer.eval()(packed)[0].data, first)
