"""The modules: drop-in replacements of torch.nn's recurrent layers and cells, and the forms that torch lacks."""

from fastrnn.nn import quantization
from fastrnn.nn.cells import GRUCell as GRUCell
from fastrnn.nn.cells import LSTMCell as LSTMCell
from fastrnn.nn.cells import RNNCell as RNNCell
from fastrnn.nn.layers import GRU as GRU
from fastrnn.nn.layers import LSTM as LSTM
from fastrnn.nn.layers import RNN as RNN
from fastrnn.nn.losses import LinearCrossEntropyLoss as LinearCrossEntropyLoss

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "LinearCrossEntropyLoss", "RNNCell"]

quantization.install()
