"""Dropout between layers: the same seed, the same run as torch.nn; where it acts, and in what share."""

import copy
import itertools

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

import fastrnn
import fastrnn.nn
from tests.support.twins import make, random, twins

F32 = torch.float32


def run(layer, x, lengths):
    """Output and gradients at one seed, and the random number that follows."""
    if lengths is not None:
        x = pack_padded_sequence(x, lengths, batch_first=layer.batch_first, enforce_sorted=False)
    torch.manual_seed(3)
    output = layer(x)[0]
    output = output if lengths is None else output.data
    layer.zero_grad()
    output.float().square().sum().backward()
    return output.detach(), [p.grad for p in layer.parameters()], torch.rand(1)


@pytest.mark.parametrize("arrange", ["padded", "packed", "unbatched"])
@pytest.mark.parametrize("name", ["RNN", "GRU", "LSTM"])
def test_the_same_seed_draws_the_same_masks_as_torch(name, arrange):
    options = itertools.product((False, True), (False, True), (2, 3), (F32, torch.float64))
    for batch_first, bidirectional, num_layers, dtype in options:
        theirs = getattr(torch.nn, name)(
            5, 24, num_layers, batch_first=batch_first, bidirectional=bidirectional, dropout=0.4, dtype=dtype
        )
        ours = fastrnn.convert(copy.deepcopy(theirs))
        x = random(*((7, 5) if arrange == "unbatched" else (7, 4, 5)), dtype=dtype)
        lengths = [7, 2, 4, 4] if arrange == "packed" else None
        if batch_first and x.dim() == 3:
            x = x.transpose(0, 1)
        found, expected = run(ours, x, lengths), run(theirs, x, lengths)
        for a, b in zip(found, expected, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_same_masks_in_bfloat16():
    theirs = torch.nn.GRU(5, 24, 2, batch_first=True, dropout=0.4, dtype=torch.bfloat16)
    ours, x = fastrnn.convert(copy.deepcopy(theirs)), random(4, 7, 5, dtype=torch.bfloat16)
    torch.testing.assert_close(run(ours, x, None)[0], run(theirs, x, None)[0], rtol=0.02, atol=0.02)


def test_a_batch_first_output_is_contiguous_with_dropout_as_without():
    layer, x = fastrnn.GRU(5, 24, 2, batch_first=True, dropout=0.4), random(4, 7, 5, dtype=F32)
    assert layer.train()(x)[0].is_contiguous()
    assert layer.eval()(x)[0].is_contiguous()


@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
class TestDropout:
    def layer(self, cell, p, **options):
        return make(fastrnn.nn, cell, 4, 64, num_layers=2, dropout=p, **options)

    def test_none_in_eval_mode_and_none_after_the_last_layer(self, cell):
        theirs, ours = twins(cell, 4, 64, num_layers=2, dropout=0.5)
        x = random(3, 8, 4, dtype=F32)
        torch.testing.assert_close(ours.eval()(x)[0], theirs.eval()(x)[0])
        assert (ours.train()(x)[0] != 0).all()

    def test_the_seed_decides(self, cell):
        layer, x = self.layer(cell, 0.5), random(3, 8, 4, dtype=F32)
        torch.manual_seed(3)
        first = layer(x)[0]
        torch.manual_seed(3)
        assert torch.equal(layer(x)[0], first)
        assert not torch.equal(layer(x)[0], first)

    def test_the_mask_is_in_the_gradient(self, cell):
        layer, x = self.layer(cell, 1.0), random(3, 8, 4, dtype=F32).requires_grad_()
        output, _ = layer(x)
        assert output.std(1).max() < 1e-6  # nothing of the input comes through
        output.sum().backward()
        assert x.grad.abs().max() == 0


def test_dropout_zeroes_its_share_and_scales_the_rest():
    """With the identity above it, the dropped layer's output can be read off: p of it is 0, the rest / (1 - p)."""
    layer = make(fastrnn.nn, "rnn_relu", 4, 64, num_layers=2, dropout=0.3)
    with torch.no_grad():
        layer.weight_ih_l1.copy_(torch.eye(64))
        for name in ("weight_hh_l0", "weight_hh_l1", "bias_ih_l1", "bias_hh_l1"):
            getattr(layer, name).zero_()
        layer.bias_ih_l0.fill_(5.0)  # so that relu never gives a zero of its own
        x = random(50, 40, 4, dtype=F32) * 0.1
        kept, dropped = layer.eval()(x)[0], layer.train()(x)[0]
    share = (dropped == 0).double().mean().item()
    sigma = (0.3 * 0.7 / kept.numel()) ** 0.5
    assert abs(share - 0.3) < 5 * sigma
    torch.testing.assert_close(dropped[dropped != 0], kept[dropped != 0] / 0.7)
