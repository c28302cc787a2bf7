"""The errors of LSTM and GRU as users' cells keep the bound that the built-in layers keep: ``fastrnn verify``."""

import pytest
import torch

import fastrnn
from fastrnn import _verify
from tests.support.user_cells import GRU, LSTM


@pytest.mark.parametrize(("name", "cell"), [("lstm", LSTM), ("gru", GRU)], ids=["lstm", "gru"])
def test_float32_errors_within_the_bound_of_built_in_layers(name, cell):
    """Outputs, states and all gradients, against a float64 reference: at most twice torch's errors, and an ulp."""
    cases = [case for case in _verify.all_cases([name], [torch.float32]) if not case.proj_size][1::2]
    assert len(cases) == 6  # every second shape: many rows and few, long sequences, stacked, both directions, ragged
    for result in _verify.verify(cases, layer=lambda case: fastrnn.layer(cell)(**case.options)):
        assert result.passed, (result.case, result.worst)
