"""Layer normalization of numbers whose squares, or whose distances from the mean, are beyond float32.

The same of CUDA's kernels: tests/cuda/test_cuda_large_numbers.py.
"""

import pytest
import torch

import fastrnn

LAYERS = {"RNN": fastrnn.RNN, "GRU": fastrnn.GRU, "LSTM": fastrnn.LSTM}


@pytest.mark.parametrize("shift", [70, 100, 120])
@pytest.mark.parametrize("kind", LAYERS)
def test_where_squares_are_infinite(kind, shift):
    """What is larger by a power of two has the same norm, and no number of it is 0 or infinite."""
    torch.manual_seed(0)
    layer, x = LAYERS[kind](5, 40, layer_norm=True), torch.randn(3, 2, 5)
    with torch.no_grad():
        assert torch.equal(layer(x * 2.0**shift)[0], layer(x * 2.0**40)[0])


@pytest.mark.parametrize(("dtype", "largest"), [(torch.float32, 3e38), (torch.float64, 1.5e308)])
def test_where_a_distance_from_the_mean_is_infinite(dtype, largest):
    """That row is NaN, every number of it, and the others are as they were."""
    layer = fastrnn.RNN(1, 4, layer_norm=True, dtype=dtype)
    with torch.no_grad():
        layer.weight_ih_l0.copy_(torch.tensor([[1.0], [-1.0], [-1.0], [0.0]]))
        x = torch.tensor([[[1.0], [largest], [2.0]]], dtype=dtype)
        output = layer(x)[0][0]
        assert output[1].isnan().all()
        assert torch.equal(output[::2], layer(x[:, ::2])[0][0])
