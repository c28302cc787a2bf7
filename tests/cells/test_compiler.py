"""The compiler of users' cells and its cache: what is kept, what is made again, and what a failure says."""

import multiprocessing
import os
import stat

import pytest
import torch

from fastrnn import cells
from fastrnn._cell import compiler, emit
from fastrnn._cell.programs import programs
from tests.support import compiled

pytestmark = compiled.needs_compiler
F32 = torch.float32
MGU = emit.header(compiler.NAME, cells.MGU.declaration, programs(cells.MGU.declaration))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty cache, and a process that has said nothing yet."""
    monkeypatch.setenv("FASTRNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(compiler, "_said", set())
    return tmp_path / "cache"


@pytest.fixture
def runs(monkeypatch):
    """The sources that were compiled."""
    made, run = [], compiler.compiled
    monkeypatch.setattr(compiler, "compiled", lambda source, *of: made.append(source) or run(source, *of))
    return made


def script(path, text):
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


def test_a_cell_is_compiled_once(folder, runs):
    for _ in range(2):
        assert compiler.library(MGU, F32) is not None
    assert len(runs) == 1
    (file,) = folder.iterdir()
    assert file.suffix == ".so"
    before = file.stat()
    assert compiler.library(MGU, F32) is not None
    assert file.stat() == before or file.stat().st_mtime_ns == before.st_mtime_ns
    assert compiler.library(MGU.replace("in[0]", "in[1]"), F32) is not None  # another cell
    assert len(runs) == 2


def test_what_a_key_is_made_of(folder, monkeypatch, tmp_path):
    known = [compiler.key(compiler.unit(MGU, dtype), compiler.find_compiler()) for dtype in (F32, torch.float64)]
    source = compiler.unit(MGU, F32)
    for isa in ("generic", "avx2", "avx512"):
        if isa != compiler._C.instruction_set().removesuffix("_bf16"):
            with monkeypatch.context() as patch:
                patch.setattr(compiler._C, "instruction_set", lambda isa=isa: isa)
                known.append(compiler.key(compiler.unit(MGU, F32), compiler.find_compiler()))
    for patched, value in (("FLAGS", (*compiler.FLAGS, "-O2")), ("headers_digest", lambda: "another")):
        with monkeypatch.context() as patch:
            patch.setattr(compiler, patched, value)
            known.append(compiler.key(source, compiler.find_compiler()))
    other = script(tmp_path / "g++", 'exec g++ "$@"')
    known.append(compiler.key(source, [other]))
    known.append(compiler.key(source, [other, "-m64"]))
    script(tmp_path / "g++", 'exec  g++ "$@"')  # a compiler that was installed anew
    known.append(compiler.key(source, [other]))
    assert len(known) == len(set(known)) == 9
    assert compiler.key(source, compiler.find_compiler()) == known[0]


def test_a_damaged_file_is_made_again(folder, runs):
    assert compiler.library(MGU, F32) is not None
    (file,) = folder.iterdir()
    good = file.read_bytes()
    flipped = bytes([*good[:2000], good[2000] ^ 1, *good[2001:]])
    for damaged in (good[:1000], b"", good[:-1], flipped, good[:1000] + good[-32:], b"\0" * len(good)):
        file.unlink()  # the loaded one goes on to be
        file.write_bytes(damaged)
        assert not compiler.whole(file)
        assert compiler.library(MGU, F32) is not None
        assert compiler.whole(file)
    assert len(runs) == 7


def _make(started, results):
    started.wait()
    results.put(compiler.library(MGU, F32) is not None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of fork, beside torch's threads
def test_processes_that_compile_at_once(folder):
    context = multiprocessing.get_context("fork")
    started, results = context.Event(), context.Queue()
    children = [context.Process(target=_make, args=(started, results)) for _ in range(3)]
    for child in children:
        child.start()
    started.set()
    assert [results.get(timeout=240) for _ in children] == [True] * 3
    for child in children:
        child.join()
    (file,) = folder.iterdir()
    assert compiler.whole(file)
    assert not stat.S_IMODE(file.stat().st_mode) & stat.S_IWOTH


def test_what_a_failure_says(folder, monkeypatch, tmp_path):
    """One warning for each cause, and no library. A later call tries again, and says nothing."""
    blocked = tmp_path / "file"
    blocked.touch()
    causes = [
        ({"CXX": None, "PATH": ""}, r"there is no C\+\+ compiler \(.*\) on PATH; install g\+\+, or set CXX"),
        ({"CXX": "'unfinished"}, "CXX is .*No closing quotation"),
        ({"CXX": "no-such-compiler -O1"}, "CXX is 'no-such-compiler -O1', and there is no such program"),
        (
            {"CXX": script(tmp_path / "broken", "echo 'a line\nb.cpp:3: error: out of ideas' >&2; exit 1")},
            "broken failed: b.cpp:3: error: out of ideas; set CXX to another compiler",
        ),
        ({"CXX": script(tmp_path / "silent", "exit 1")}, "silent failed: it said nothing"),
        ({"CXX": script(tmp_path / "idle", "exit 0")}, "idle made no library"),
        ({"CXX": str(tmp_path / "file")}, "there is no such program"),
        (
            {"CXX": script(tmp_path / "wrong", 'while [ "$1" != -o ]; do shift; done; echo no library > "$2"')},
            "cannot be loaded.*set FASTRNN_CACHE",
        ),
        ({"CXX": script(tmp_path / "damaged", "kill -9 $$")}, "damaged failed: it said nothing"),
        ({"FASTRNN_CACHE": str(blocked / "cache")}, "the cache cannot be written.*set FASTRNN_CACHE to a folder"),
    ]
    (tmp_path / "no interpreter").write_text("#!/no/such/shell\n")
    (tmp_path / "no interpreter").chmod(0o755)
    causes.append(({"CXX": f"'{tmp_path / 'no interpreter'}'"}, "cannot be run"))
    for environment, says in causes:
        with monkeypatch.context() as patch:
            for name, value in environment.items():
                patch.delenv(name, raising=False)
                if value is not None:
                    patch.setenv(name, value)
            with pytest.warns(RuntimeWarning, match=f"^compile=True has no effect, .*interpreted: .*{says}"):
                assert compiler.library(MGU, F32) is None
            assert compiler.library(MGU, F32) is None
    assert compiler.library(MGU, F32) is not None


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_cache_that_is_read_only(folder, monkeypatch):
    assert compiler.library(MGU, F32) is not None
    folder.chmod(0o555)
    assert compiler.library(MGU, F32) is not None  # a hit writes nothing
    with pytest.warns(RuntimeWarning, match="the cache cannot be written"):
        assert compiler.library(MGU, torch.float64) is None
    folder.chmod(0o755)


def test_a_hit_writes_nothing_and_starts_nothing(folder, monkeypatch):
    assert compiler.library(MGU, F32) is not None

    def refused(*_, **__):
        raise AssertionError

    monkeypatch.setattr(compiler, "replacing", refused)
    monkeypatch.setattr(compiler.subprocess, "run", refused)
    assert compiler.library(MGU, F32) is not None


def test_any_name_of_a_folder(tmp_path, monkeypatch, runs):
    monkeypatch.chdir(tmp_path)
    for name in (b".", b"sub/folder", b"two words", b"\xc3\xa9"):
        monkeypatch.setenv("FASTRNN_CACHE", os.fsdecode(name))
        for _ in range(2):
            assert compiler.library(MGU, F32) is not None
    assert len(runs) == 4
    assert len(list(tmp_path.glob("*.so"))) == 1


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_folder_whose_name_is_no_text(tmp_path, monkeypatch):
    """In a process of its own: others may read the names of what they have mapped."""
    monkeypatch.setenv("FASTRNN_CACHE", os.path.join(tmp_path, os.fsdecode(b"\xff")))
    context = multiprocessing.get_context("fork")
    started, results = context.Event(), context.Queue()
    child = context.Process(target=_make, args=(started, results))
    child.start()
    started.set()
    assert results.get(timeout=240) is True
    child.join()


def test_a_disk_that_is_full(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    for what in ("write_text", "mkdir"):
        with monkeypatch.context() as patch:
            patch.setattr(compiler.Path, what, full)
            with pytest.warns(RuntimeWarning, match="No space left on device"):
                assert compiler.library(MGU, F32) is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.chdir(tmp_path)
    for chosen, base, expected in (
        ("", "", "/home/somebody/.cache/fastrnn"),
        ("", "relative", "/home/somebody/.cache/fastrnn"),
        ("", "/base", "/base/fastrnn"),
        ("/chosen", "/base", "/chosen"),
        ("here", "/base", f"{tmp_path}/here"),
    ):
        monkeypatch.setenv("FASTRNN_CACHE", chosen)
        monkeypatch.setenv("XDG_CACHE_HOME", base)
        assert str(compiler.folder()) == expected
