"""The C++ core, for all that call it. It is loaded only by the torch that it was built against."""

import torch

from fastrnn._built import torch_version


def _check_torch() -> None:
    """A binary built against another torch would fail to load, or worse: say so first."""

    def minor(version: str) -> list[str]:
        return version.split(".")[:2]

    if minor(torch.__version__) != minor(torch_version):
        raise ImportError(
            f"fastrnn was built against torch {torch_version} but runs under torch {torch.__version__}. "
            "Build it again: pip install --force-reinstall --no-deps --no-cache-dir --no-build-isolation fastrnn "
            "(in a checkout: pip install --no-build-isolation .)"
        )


_check_torch()

import fastrnn._C as _C  # noqa: E402, F401
