"""What tests of users' cells share: cells that are compiled once a session, and what runs the layers of a test."""

from functools import cache

import pytest

from fastrnn._cell import kernels
from tests.support import compiled


@pytest.fixture(scope="session")
def compiled_cells():
    return cache(compiled.library)


@pytest.fixture(params=["kernels", "eager"])
def path(request, monkeypatch):
    """What runs the layers of a test; that it did is checked at the end."""
    runs, ran, serve, run = request.param == "kernels", [], kernels.serve, kernels.layer
    monkeypatch.setattr(kernels, "serve", lambda *given: runs and serve(*given))
    monkeypatch.setattr(kernels, "layer", lambda *given: ran.append(1) or run(*given))
    yield
    assert bool(ran) == runs
