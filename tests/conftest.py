"""Two threads, as on the machines that run the tests, and hypothesis without a clock."""

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("fastrnn", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastrnn")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)
