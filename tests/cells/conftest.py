"""Compiled cells of these tests are kept in a folder of their own, and each is compiled once."""

from functools import cache as cached

import pytest

from tests.support import compiled


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FASTRNN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def compiled_cells(cache):
    return cached(compiled.library)
