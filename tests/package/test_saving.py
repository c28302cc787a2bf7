"""How files are written: docs/adr/0014-saving.md. Everything that fastrnn saves goes through one place."""

import ast
import gzip
import multiprocessing
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastrnn import _saving
from fastrnn._saving import ENDING, replacing, write_text
from fastrnn.word2vec import Phrases, Word2Vec, WordVectors

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes, links and devices are POSIX's")
ROOT = Path(_saving.__file__).parent
SENTENCES = [["graph", "trees", "minors"]] * 40


@pytest.fixture(autouse=True)
def umask():
    before = os.umask(0o022)
    yield
    os.umask(before)


def mode(file):
    return stat.S_IMODE(os.stat(file).st_mode)


def parts(folder):
    return [name for name in os.listdir(folder) if name.endswith(ENDING)]


def test_a_new_file_has_the_mode_of_the_umask(tmp_path):
    write_text(tmp_path / "x", "new")
    assert mode(tmp_path / "x") == 0o644
    os.umask(0o077)
    write_text(tmp_path / "y", "new")
    assert mode(tmp_path / "y") == 0o600


@pytest.mark.parametrize("old", [0o600, 0o640, 0o755, 0o666])
def test_an_old_file_keeps_its_mode(tmp_path, old):
    file = tmp_path / "x"
    file.write_text("old")
    file.chmod(old)
    with replacing(file) as out:
        assert mode(out.fileno()) == old  # from the first byte on, so that nobody reads what is nobody's business
        out.write(b"new")
    assert mode(file) == old
    assert file.read_text() == "new"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to everything")
def test_a_file_that_is_read_only_is_not_replaced(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")
    file.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        write_text(file, "new")
    assert file.read_text() == "old"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_an_old_file_keeps_its_owner(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")
    os.chown(file, 1234, 5678)
    write_text(file, "new")
    assert (os.stat(file).st_uid, os.stat(file).st_gid) == (1234, 5678)


def test_a_link_stays_one(tmp_path):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "target", tmp_path / "link"
    link.symlink_to("folder/target")
    for text in ("one", "two"):  # first it leads to nothing
        write_text(link, text)
        assert link.is_symlink()
        assert target.read_text() == text
    assert sorted(os.listdir(tmp_path)) == ["folder", "link"]


def test_devices_and_pipes_are_written_to(tmp_path):
    write_text("/dev/null", "text")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_text(pipe, "through")
    assert reader.communicate(timeout=20)[0] == b"through"
    assert stat.S_ISFIFO(os.stat(pipe).st_mode)


def test_a_device_in_a_folder_of_ours(tmp_path):
    try:
        os.mknod(tmp_path / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        (tmp_path / "null").write_text("can be used")
    except PermissionError:
        pytest.skip("this needs root")
    write_text(tmp_path / "null", "text")
    assert stat.S_ISCHR(os.stat(tmp_path / "null").st_mode)


@pytest.mark.parametrize("name", ["/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_an_open_file_is_written_to(tmp_path, name):
    """Also where the shell has led it to a file, which others go on writing to."""
    if not os.path.exists(name):
        pytest.skip(f"there is no {name} here")
    code = f"from fastrnn._saving import write_text; print('a', flush=True); write_text({name!r}, 'b'); print('c')"
    with open(tmp_path / "out", "wb") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out").read_text() == "a\nbc\n"


def _broken_off(file, error):
    with replacing(file) as out:
        out.write(b"half")
        raise error


def test_whatever_goes_wrong_the_old_file_stays(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")
    for error in (OSError("full"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            _broken_off(file, error)
        assert os.listdir(tmp_path) == ["x"]
        assert file.read_text() == "old"


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path, "text")
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "folder", "text")
    (tmp_path / "a").symlink_to("a")
    with pytest.raises(OSError, match=r"[Tt]oo many"):
        write_text(tmp_path / "a", "text")


def test_names_of_the_longest_kind(tmp_path):
    for name in ("x" * 255, "ж" * 127, "日" * 85):
        write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"


def _killed(file):
    with replacing(file) as out:
        out.write(b"half")
        out.flush()
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_kill_leaves_the_old_file_and_the_next_save_clears_up(tmp_path):
    file = tmp_path / "x"
    file.write_text("old")
    mine = [tmp_path / "x.part", tmp_path / f".x{ENDING}", tmp_path / "x.0123456789abcdef"]
    for each in mine:
        each.write_text("the user's own")
    child = multiprocessing.get_context("fork").Process(target=_killed, args=(file,))
    child.start()
    child.join(30)
    assert child.exitcode == -signal.SIGKILL
    assert file.read_text() == "old"
    assert len(os.listdir(tmp_path)) == 5
    write_text(tmp_path / "another", "text")  # any save in this folder
    assert sorted(os.listdir(tmp_path)) == sorted([*(each.name for each in mine), "another", "x"])
    assert all(each.read_text() == "the user's own" for each in mine)


def test_one_that_is_being_written_is_no_leftover(tmp_path):
    with replacing(tmp_path / "x") as out:
        out.write(b"first")
        with replacing(tmp_path / "x") as other:
            other.write(b"second")
        assert (tmp_path / "x").read_bytes() == b"second"
    assert (tmp_path / "x").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["x"]


def test_a_part_that_is_cleared_before_it_is_locked_is_made_again(tmp_path, monkeypatch):
    lock, taken = _saving._lock, []

    def late(descriptor):
        if not taken:  # another program was quicker
            taken.extend(parts(tmp_path))
            _saving_clear(tmp_path)
        return lock(descriptor)

    def _saving_clear(folder):
        for name in parts(folder):
            os.unlink(folder / name)

    monkeypatch.setattr(_saving, "_lock", late)
    write_text(tmp_path / "x", "text")
    assert len(taken) == 1
    assert (tmp_path / "x").read_text() == "text"


def _write_often(file, text):
    for _ in range(60):
        write_text(file, text)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_two_writers_at_once(tmp_path):
    texts = ["a" * 100_000, "b" * 100_000]
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write_often, args=(tmp_path / "x", text)) for text in texts]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        if (tmp_path / "x").exists():
            assert (tmp_path / "x").read_text() in texts
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert os.listdir(tmp_path) == ["x"]


def savers():
    model, phrases = Word2Vec(SENTENCES, vector_size=4, min_count=1), Phrases(SENTENCES, min_count=1, threshold=0.1)
    return {
        "model": model.save,
        "vectors": model.wv.save,
        "text": model.wv.save_word2vec_format,
        "phrases": phrases.save,
        "frozen": phrases.freeze().save,
        "counts": lambda file: model.wv.save_word2vec_format(str(file) + ".vectors", fvocab=file),
    }


@pytest.mark.parametrize("what", ["model", "vectors", "text", "phrases", "frozen", "counts"])
def test_all_that_word2vec_saves(tmp_path, what):
    file, link = tmp_path / "file", tmp_path / "link"
    file.write_text("old")
    file.chmod(0o640)
    link.symlink_to(file)
    savers()[what](link)
    assert link.is_symlink()
    assert mode(file) == 0o640
    assert file.read_bytes()[:3] != b"old"
    assert not parts(tmp_path)
    savers()[what]("/dev/null")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_compressed_file(tmp_path):
    vectors = WordVectors(["a", "b"], np.ones((2, 3), np.float32))
    vectors.save_word2vec_format(tmp_path / "v.txt.gz")
    assert gzip.decompress((tmp_path / "v.txt.gz").read_bytes()).startswith(b"2 3\na ")
    assert mode(tmp_path / "v.txt.gz") == 0o644


def writes(call):
    """Whether a call opens or writes a file by itself."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "open":
        modes = [
            each.value for each in [*call.args, *(k.value for k in call.keywords)] if isinstance(each, ast.Constant)
        ]
        return any(isinstance(mode, str) and mode[:1] in ("w", "a", "x") for mode in modes)
    if name == "save" and "MidiFile" in ast.dump(call.func):
        return bool(call.args)
    if name in ("savefig", "savez"):
        return getattr(call.args[0], "id", "") != "out"
    return name in ("write_bytes", "tofile", "NamedTemporaryFile") or (
        name == "write_text" and isinstance(call.func, ast.Attribute)
    )


def test_nothing_is_written_in_another_way():
    # encoding.py, peers.py, compiler.py and the suite word2vec.py write into a temporary folder, memory.py into /proc;
    # console.py asks whether it could; compare_builds.py imports no fastrnn, since it compares two
    allowed = {"_saving.py", "encoding.py", "peers.py", "compiler.py", "memory.py", "word2vec.py"}
    allowed |= {"console.py", "compare_builds.py"}
    found = [
        f"{file.name}, line {node.lineno}"
        for folder in (ROOT, *(ROOT.parent / "bench" / each for each in ("suites", "peers", "pages", "recipes")))
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and file.name not in allowed and writes(node)
    ]
    assert not found
