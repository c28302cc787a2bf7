"""What tests have in common: a fixed seed, no graphs of earlier tests, hypothesis without a clock, torch's warnings,
and the device of those that run on any."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack

# torch's own threads sleep while they wait: where two processes of tests share the cores, spinning took 6 times as long
# (14 tests of awkward sizes: 146 s in each of two processes, 22 s asleep; alone 24 s). Read when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import hypothesis
import pytest
import torch

from fastrnn._core import gpu
from tests.support import twins

hypothesis.settings.register_profile("fastrnn", deadline=None, derandomize=True, max_examples=60)
hypothesis.settings.load_profile("fastrnn")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", default="cpu", help="cpu, or cuda: then only the tests that run on any device run")


def pytest_configure(config: pytest.Config) -> None:
    try:
        gpu.parse_device(config.getoption("--device"))
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.addinivalue_line("markers", "cpu: the CPU's alone, though its neighbours run on any device")
    # torch.nn says these of its projected LSTM and of weights put in place, which the tests run beside ours.
    config.addinivalue_line("filterwarnings", "ignore:LSTM with projections is not supported with oneDNN")
    config.addinivalue_line("filterwarnings", "ignore:RNN module weights are not part of single contiguous chunk")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--device") == "cpu":
        return
    elsewhere = [item for item in items if "device" not in item.fixturenames or item.get_closest_marker("cpu")]
    config.hook.pytest_deselected(items=elsewhere)
    items[:] = [item for item in items if item not in set(elsewhere)]


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled cells are kept in a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTRNN_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def _fixed_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_earlier_graphs() -> None:
    """torch.compile counts the graphs of earlier tests towards its limit, beyond which it compiles no more."""
    if "torch._dynamo" in sys.modules:  # importing it takes seconds
        torch._dynamo.reset()


@pytest.fixture
def one_thread() -> Iterator[None]:
    """For small work, at which torch's own threads only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The device of the command line, where from now on whatever tests.support.twins makes is.

    On CUDA fastrnn's own kernels run there, and float32 is float32.
    """
    chosen = request.config.getoption("--device")
    monkeypatch.setattr(twins, "DEVICE", chosen)
    with ExitStack() as settings:
        if chosen == "cuda":
            settings.enter_context(gpu.own_kernels())
            settings.enter_context(gpu.tf32(False))
        yield chosen
