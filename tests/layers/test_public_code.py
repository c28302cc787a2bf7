"""What public code does with a layer, in small: it goes by isinstance, and so it must be told the truth."""

import pytest
import torch
from torch import nn

import fastrnn

NAMES = ("RNN", "GRU", "LSTM")


def same(model, x, **options):
    """The model's result with torch.nn's layers, and with fastrnn's after conversion."""
    expected = model(x, **options)
    fastrnn.convert(model)
    torch.testing.assert_close(model(x, **options), expected)


class Textbook(nn.Module):
    """begin_state makes one tensor or a pair of them."""

    def __init__(self, rnn, vocabulary):
        super().__init__()
        self.rnn, self.linear = rnn, nn.Linear(rnn.hidden_size * (2 if rnn.bidirectional else 1), vocabulary)

    def begin_state(self, batch):
        shape = (self.rnn.num_layers * (2 if self.rnn.bidirectional else 1), batch, self.rnn.hidden_size)
        if not isinstance(self.rnn, nn.LSTM):
            return torch.ones(shape)
        return torch.ones(shape), torch.ones(shape)

    def forward(self, x):
        y, state = self.rnn(x, self.begin_state(x.shape[1]))
        assert isinstance(state, tuple) == isinstance(self.rnn, nn.LSTM)
        return self.linear(y)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_states_made_by_the_kind_of_the_layer(name, bidirectional):
    same(Textbook(getattr(nn, name)(4, 5, 2, bidirectional=bidirectional), 3), torch.randn(6, 3, 4))


class Codec(nn.Module):
    """Its initialiser knows convolutions and LSTMs, and leaves alone what it does not know."""

    def __init__(self):
        super().__init__()
        self.encode, self.lstm, self.step = nn.Conv1d(2, 4, 3), nn.LSTM(4, 4, 2), nn.LSTMCell(4, 4)
        self.bridge = nn.GRU(4, 4)

    def forward(self, x):
        y, _ = self.bridge(self.lstm(self.encode(x).permute(2, 0, 1))[0])
        return self.step(y[-1])[0]

    def init_weights(self):
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_normal_(module.weight)
            elif isinstance(module, (nn.LSTM, nn.LSTMCell)):
                for name, parameter in module.named_parameters():
                    (nn.init.xavier_uniform_ if "weight" in name else nn.init.zeros_)(parameter)
            elif isinstance(module, nn.RNNBase):
                for parameter in module.parameters():
                    nn.init.constant_(parameter, 0.1)


@pytest.mark.parametrize("how", ["convert", "converted"])
def test_initialisers_initialise(how):
    torch.manual_seed(8)
    theirs = Codec()
    torch.manual_seed(8)
    if how == "converted":
        with fastrnn.converted():
            ours = Codec()
    else:
        ours = fastrnn.convert(Codec())
    for model in (theirs, ours):
        torch.manual_seed(9)
        model.init_weights()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=0, atol=0)
    assert not ours.lstm.bias_hh_l1.any()
    x = torch.randn(3, 2, 9)
    torch.testing.assert_close(ours(x), theirs(x))


class Decoder(nn.Module):
    """Keeps its state as a tuple, and unwraps it for a GRU."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        h = torch.ones(self.rnn.num_layers, x.shape[1], self.rnn.hidden_size)
        state = (h, h) if isinstance(self.rnn, nn.LSTM) else (h,)
        if isinstance(self.rnn, nn.GRU):
            return self.rnn(x, state[0])[0]
        return self.rnn(x, state)[0]


class Masked(nn.LSTM):
    """A layer of a project's own, which takes a mask that torch's does not."""

    def forward(self, input, hx=None, mask=None):
        return super().forward(input if mask is None else input * mask, hx)


class Recurrent(nn.Module):
    """Passes the mask to the project's own layers alone."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x):
        if type(self.rnn) is nn.LSTM or (isinstance(self.rnn, nn.LSTM) and not isinstance(self.rnn, Masked)):
            return self.rnn(x)[0]
        return self.rnn(x, mask=torch.ones(3, 1))[0]


@pytest.mark.parametrize("name", ["GRU", "LSTM"])
def test_a_tuple_of_states(name):
    same(Decoder(getattr(nn, name)(4, 5)), torch.randn(6, 3, 4))


def test_a_mask():
    same(Recurrent(nn.LSTM(4, 5)), torch.randn(6, 3, 4))
    model, x = Recurrent(Masked(4, 5)), torch.randn(6, 3, 4)
    expected = model(x)
    fastrnn.convert(model, derived=True)
    torch.testing.assert_close(model(x), expected)
    with pytest.raises(TypeError, match="mask"):
        fastrnn.LSTM(4, 5)(x, mask=None)


def test_orthogonal_by_kind_then_compiled_and_trained():
    model = fastrnn.convert(Textbook(nn.GRU(4, 5), 3))
    for module in model.modules():
        if isinstance(module, nn.GRU):
            nn.init.orthogonal_(module.weight_hh_l0)
    weight = model.rnn.weight_hh_l0
    torch.testing.assert_close(weight.T @ weight, torch.eye(5))
    x = torch.randn(6, 3, 4)
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()
    assert weight.grad.abs().max() > 0
