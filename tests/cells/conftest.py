"""Compiled cells that several tests of a session use."""

from functools import cache

import pytest

from tests.support import compiled


@pytest.fixture(scope="session")
def compiled_cells():
    return cache(compiled.library)
