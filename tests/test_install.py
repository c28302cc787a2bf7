"""How fastrnn is built and installed: against the torch that is there, without debug information."""

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import setuptools
import torch

import fastrnn

ROOT = Path(__file__).parent.parent
BINARIES = sorted(Path(fastrnn.__file__).parent.glob("**/_C.*.so"))

# What a frontend does: an interpreter, with or without its own packages, and with setuptools, asks the backend.
ASK = """
import sys
hide, *folders = sys.argv[1:]
if hide:
    sys.path = [folder for folder in sys.path if not folder.endswith("site-packages")]
sys.path += folders
import importlib.util, build_backend
asked = build_backend.get_requires_for_build_wheel()
assert asked == build_backend.get_requires_for_build_editable()
assert build_backend.get_requires_for_build_sdist() == []
print(asked, getattr(importlib.util.find_spec("torch"), "origin", None))
"""


def environment(folder: Path, with_torch: bool) -> Path:
    """A virtual environment with a package named torch, or without; returns its interpreter."""
    venv.create(folder, symlinks=True)
    (python,) = folder.glob("bin/python")
    if with_torch:
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "torch").mkdir()
        (packages / "torch" / "__init__.py").touch()
    return python


@pytest.mark.skipif(os.name != "posix", reason="folders are named otherwise")
@pytest.mark.parametrize("where", ["visible", "hidden by pip", "active", ".venv", "nowhere"])
def test_the_build_finds_the_torch_that_is_installed(tmp_path: Path, where: str) -> None:
    alone = tmp_path / "setuptools"
    alone.mkdir()
    for name in ("setuptools", "_distutils_hack"):
        (alone / name).symlink_to(Path(setuptools.__file__).parents[1] / name)
    own = environment(tmp_path / "own", where in ("visible", "hidden by pip"))
    active = environment(tmp_path / "active", where == "active")
    environment(tmp_path / "checkout" / ".venv", where == ".venv")
    done = subprocess.run(
        [own, "-c", ASK, "hide" if where == "hidden by pip" else "", ROOT, alone],
        cwd=tmp_path / "checkout",
        env={"PATH": os.pathsep.join([str(own.parent), str(active.parent), "/usr/bin"])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    home = {"visible": "own", "hidden by pip": "own", "active": "active", ".venv": "checkout/.venv"}.get(where)
    asked, found = done.stdout.strip().split(" ", 1)
    assert asked == ("[]" if home else "['torch>=2.10']")
    assert found.startswith(str(tmp_path / home)) if home else found == "None"


def test_the_package_requires_the_torch_it_was_built_against(tmp_path: Path) -> None:
    command = [sys.executable, "setup.py", "-q", "egg_info", "--egg-base", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    required = (tmp_path / "fastrnn.egg-info" / "requires.txt").read_text().split()
    major, minor = torch.__version__.split(".")[:2]
    assert required[:2] == [f"torch=={major}.{minor}.*", "numpy"]


@pytest.mark.skipif(sys.platform != "linux", reason="the names of ELF's sections")
@pytest.mark.parametrize("binary", BINARIES, ids=lambda path: path.parent.name)
def test_binaries_have_no_debug_information_and_no_symbols(binary: Path) -> None:
    content = binary.read_bytes()
    assert b"\0.dynsym\0" in content
    assert b"\0.debug_" not in content
    assert b"\0.symtab\0" not in content
