"""How fastrnn is built and installed: against the torch that is there, without debug information."""

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
import setuptools
import torch

import fastrnn
from fastrnn._cell.headers import HEADERS, IN_PACKAGE

ROOT = Path(__file__).parents[2]
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


# Compiles and links nothing, in no time: what a build leaves where is what is tested.
COMPILER = """#!/bin/bash
case "$*" in *--version*|*-dumpfullversion*|*-dumpversion*) exec g++ "$@";; esac
while (($#)); do case $1 in -o) out=$2; shift;; -MF) dep=$2; shift;; esac; shift; done
[ -n "$out" ] && echo compiled > "$out"
[ -n "$dep" ] && echo "$out:" > "$dep"
exit 0
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the compiler is a script")
def test_a_build_notes_its_torch_and_keeps_nothing_of_another(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("setup.py", "build_backend.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    for name in ("csrc", "fastrnn"):
        shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("*.so", "_built.py", "__pycache__"))
    compiler = tmp_path / "compiler"
    compiler.write_text(COMPILER)
    compiler.chmod(0o755)
    environment = os.environ | {"CXX": str(compiler), "CC": str(compiler), "FASTRNN_CUDA": "0"}

    def build(hook: str) -> list[str]:
        command = [sys.executable, "-c", f"import build_backend; build_backend.{hook}({str(tmp_path)!r})"]
        done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        (wheel,) = tmp_path.glob("*.whl")
        with zipfile.ZipFile(wheel) as content:
            names = content.namelist()
        wheel.unlink()
        return names

    wheel = set(build("build_wheel"))
    assert {"fastrnn/_built.py", "fastrnn/py.typed", "fastrnn/word2vec/_C.pyi"} <= wheel
    assert {str(file.relative_to(ROOT)) for file in (ROOT / "fastrnn").rglob("*.py")} <= wheel | {"fastrnn/_built.py"}
    assert {f"fastrnn/{IN_PACKAGE}/{name}" for name in HEADERS} <= wheel  # which compile=True needs
    assert not (tree / "fastrnn" / "_built.py").exists()  # there is no binary beside it
    (noted,) = tree.glob("build/temp*/built.py")
    assert f'torch_version = "{torch.__version__}"' in noted.read_text()
    results = sorted(tree.glob("build/**/*.o")) + sorted(tree.glob("build/**/*.so"))
    for result in results:
        result.write_text("of another torch")
    noted.write_text(noted.read_text().replace(torch.__version__, "1.0.0"))
    build("build_wheel")
    assert len(results) > 20
    assert {result.read_text() for result in results} == {"compiled\n"}

    build("build_editable")
    assert (tree / "fastrnn" / "_built.py").read_text() == noted.read_text()
    assert len(sorted(tree.glob("fastrnn/**/_C.*.so"))) == 2
