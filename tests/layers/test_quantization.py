"""torch.ao.quantization takes fastrnn's layers for torch.nn's: the same modules, the same numbers."""

import copy

import pytest
import torch
from torch import nn
from torch.ao.quantization import QConfigMapping, default_dynamic_qconfig, quantize_dynamic, quantize_fx

import fastrnn
from fastrnn.nn.face import Faced

pytestmark = [
    pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor.* are deprecated:UserWarning"),
]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru = nn.LSTM(8, 8), nn.GRU(8, 8, 2, bidirectional=True)
        self.rnn = nn.RNN(16, 8)
        self.inner = nn.ModuleDict({"a": nn.LSTMCell(8, 8), "b": nn.GRUCell(8, 8), "c": nn.RNNCell(8, 8)})
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        y = self.rnn(self.gru(self.lstm(x)[0])[0])[0]
        return self.out(self.inner["c"](self.inner["b"](self.inner["a"](y[-1])[0])))


@pytest.fixture
def twins():
    torch.manual_seed(6)
    theirs = Model().eval()
    return theirs, fastrnn.convert(copy.deepcopy(theirs))


SPECS = [
    {},
    {"dtype": torch.float16},
    {"qconfig_spec": {nn.LSTM, nn.GRUCell}},
    {"qconfig_spec": {"gru", "inner"}},
    {"qconfig_spec": {"inner": default_dynamic_qconfig, nn.GRU: default_dynamic_qconfig}},
    {"qconfig_spec": {nn.Linear}},
]


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("options", SPECS, ids=range(len(SPECS)))
def test_quantized_as_torch_does(twins, options, inplace):
    ours, x = twins[1], torch.randn(5, 2, 8)
    exact = ours(x).detach()
    expected, found = (quantize_dynamic(model, inplace=inplace, **options) for model in twins)
    for (name, a), (_, b) in zip(expected.named_modules(), found.named_modules(), strict=True):
        assert type(a) is (type(b)._twin if issubclass(type(b), Faced) else type(b)), name
    assert type(found.rnn) is fastrnn.RNN  # torch quantizes none
    torch.testing.assert_close(found(x), expected(x))
    if options.get("qconfig_spec") == {nn.Linear}:
        assert sum(issubclass(type(m), Faced) for m in found.modules()) == 6
    if not inplace:
        assert sum(issubclass(type(m), Faced) for m in ours.modules()) == 6
        torch.testing.assert_close(ours(x), exact, rtol=0, atol=0)


def test_what_torch_lacks_is_said():
    model = nn.Sequential(fastrnn.GRU(4, 4, reset_after=False), nn.Identity())
    with pytest.warns(UserWarning, match=r"GRU\(4, 4, reset_after=False\) is not quantized: torch.nn has no module"):
        quantized = quantize_dynamic(model)
    assert type(quantized[0]) is fastrnn.GRU


def test_a_subclass_stays_what_it_is_as_torchs_does():
    class Mine(fastrnn.LSTM):
        pass

    assert type(quantize_dynamic(nn.Sequential(Mine(4, 4)))[0]) is Mine


@pytest.mark.filterwarnings("ignore:To copy construct from a tensor:UserWarning")  # torch's own code
def test_quantized_in_a_graph_as_torch_does():
    class Small(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.out = nn.LSTM(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.out(self.lstm(x)[0])

    theirs, x = Small().eval(), torch.randn(5, 2, 8)
    ours = fastrnn.convert(copy.deepcopy(theirs))
    mapping = QConfigMapping().set_object_type(nn.LSTM, default_dynamic_qconfig)
    expected, found = (quantize_fx.convert_fx(quantize_fx.prepare_fx(m, mapping, (x,))) for m in (theirs, ours))
    assert type(found.lstm) is type(expected.lstm) is torch.ao.nn.quantized.dynamic.LSTM
    torch.testing.assert_close(found(x), expected(x))
