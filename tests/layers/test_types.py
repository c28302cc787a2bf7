"""What a type checker knows of a call. `make lint` runs mypy on this file: an assert_type that is wrong, or an ignored
error that is none, fails there. Here the same calls run, so that the types are those of the values."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from typing_extensions import assert_type

import fastrnn
from fastrnn import functional

Pair = tuple[Tensor, Tensor]

x, h, c = torch.ones(5, 2, 3), torch.zeros(1, 2, 4), torch.zeros(1, 2, 4)
packed = pack_sequence([torch.ones(3, 3), torch.ones(2, 3)])


def test_layers_with_one_state() -> None:
    rnn, gru = fastrnn.RNN(3, 4), fastrnn.GRU(3, 4)
    assert_type(rnn(x), tuple[Tensor, Tensor])
    assert_type(gru(x, h), tuple[Tensor, Tensor])
    assert_type(gru.forward(x, h), tuple[Tensor, Tensor])
    assert_type(gru(packed), tuple[PackedSequence, Tensor])
    output, h_n = gru(packed, h)
    assert isinstance(output, PackedSequence)
    assert h_n.shape == h.shape
    with pytest.raises(AttributeError):
        gru(x, (h, c))  # type: ignore[call-overload]


def test_lstm() -> None:
    lstm = fastrnn.LSTM(3, 4, recompute=True)
    assert_type(lstm(x), tuple[Tensor, Pair])
    assert_type(lstm(x, None), tuple[Tensor, Pair])
    assert_type(lstm(packed, (h, c)), tuple[PackedSequence, Pair])
    assert_type(lstm.forward(packed), tuple[PackedSequence, Pair])
    output, (h_n, c_n) = lstm(x, (h, c))
    assert (output.shape, h_n.shape, c_n.shape) == ((5, 2, 4), h.shape, c.shape)
    with pytest.raises(IndexError):
        lstm(x, h)  # type: ignore[call-overload]


def test_cells() -> None:
    assert_type(fastrnn.RNNCell(3, 4)(x[0]), Tensor)
    assert_type(fastrnn.GRUCell(3, 4)(x[0], h[0]), Tensor)
    lstm = fastrnn.LSTMCell(3, 4)
    assert_type(lstm(x[0]), Pair)
    h_next, c_next = lstm(x[0], (h[0], c[0]))
    assert h_next.shape == c_next.shape == (2, 4)
    with pytest.raises(IndexError):
        lstm(x[0], (h[0],))  # type: ignore[arg-type]


def test_streams() -> None:
    stream = fastrnn.LSTM(3, 4).eval().stream(2)
    assert_type(stream(x[0], out=torch.empty(2, 4)), Tensor)
    assert_type(stream.batch_size, int)
    stream.reset(torch.tensor([True, False]))
    assert_type(fastrnn.stream(torch.nn.Sequential(fastrnn.GRU(3, 4)).eval(), 2)(x[0]), Tensor)
    with pytest.raises(TypeError):
        stream([0.0])  # type: ignore[arg-type]


def test_functions() -> None:
    lstm = fastrnn.LSTM(3, 4)
    weights = list(lstm.parameters())
    assert_type(functional.lstm(x, (h, c), weights), tuple[Tensor, Pair])
    run: Callable[[Tensor, Pair | None, list[Tensor]], tuple[Tensor, Pair]] = functional.lstm
    assert len(run(x, None, list(weights))[1]) == 2


def test_loss() -> None:
    loss = fastrnn.LinearCrossEntropyLoss(3, 4)(torch.ones(2, 3), torch.tensor([0, 1]))
    assert_type(loss, Tensor)
    assert loss.shape == ()


def test_the_rest_of_the_package() -> None:
    model = torch.nn.Sequential(torch.nn.LSTM(3, 4))
    assert_type(fastrnn.convert(model), torch.nn.Module)
    assert_type(fastrnn.to_torch(model), torch.nn.Module)
    assert_type(fastrnn.__version__, str)
