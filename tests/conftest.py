"""A fixed seed for every test, hypothesis without a clock, and one warning that is torch's own."""

import hypothesis
import pytest
import torch

hypothesis.settings.register_profile("fastrnn", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastrnn")


def pytest_configure(config: pytest.Config) -> None:
    # torch.nn says this of its projected LSTM, which the tests run beside ours.
    config.addinivalue_line("filterwarnings", "ignore:LSTM with projections is not supported with oneDNN")


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)
