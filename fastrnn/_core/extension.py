"""Loads the C++ core, if it was built against the torch that is installed."""

import importlib.metadata
import json
import shlex
from pathlib import Path

import torch

PACKAGE = Path(__file__).parents[1]


def rebuild_command() -> str:
    """The command that builds fastrnn again from its origin: a checkout, a repository or the package index."""
    if (PACKAGE.parent / "build_backend.py").exists():
        return f"pip install --editable {shlex.quote(str(PACKAGE.parent))}"
    try:
        origin = json.loads(importlib.metadata.distribution("fastrnn").read_text("direct_url.json") or "{}")
    except importlib.metadata.PackageNotFoundError:
        origin = {}
    source = str(origin.get("url", "fastrnn"))
    if vcs := origin.get("vcs_info"):
        source = f"{vcs['vcs']}+{source}@{vcs['commit_id']}"
    return f"pip install --force-reinstall --no-deps --no-cache-dir {shlex.quote(source)}"


def _check_torch() -> None:
    """Refuse a binary that was built against another torch: it would fail to load, or compute nonsense."""
    try:
        from fastrnn._built import torch_version
    except ImportError:
        raise ImportError(
            f"fastrnn is imported from {PACKAGE}, where it has not been compiled. Type: {rebuild_command()} "
            "(or start Python in another folder, if fastrnn is installed)"
        ) from None
    if torch_version.split(".")[:2] != torch.__version__.split(".")[:2]:
        raise ImportError(
            f"fastrnn was built against torch {torch_version} but runs under torch {torch.__version__}. "
            f"Build it again: {rebuild_command()}"
        )


_check_torch()

import fastrnn._C as _C  # noqa: E402, F401
