"""What is imported when: word2vec does without torch, and the layers come when they are asked for."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import fastrnn

# Whatever asks for torch, raises.
WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
"""

WORD2VEC = """
import sys
from fastrnn.word2vec import Phrases, Word2Vec, WordVectors

for sg in (0, 1):
    vectors = Word2Vec(corpus_file="corpus.txt", sg=sg, vector_size=8, min_count=1, epochs=1, workers=2).wv
    vectors.save_word2vec_format("vectors.txt")
    vectors.save("vectors.fastrnn")
    for read in (WordVectors.load_word2vec_format("vectors.txt"), WordVectors.load("vectors.fastrnn", mmap=True)):
        assert read.get_vector("york", norm=True).shape == read["york"].shape == (8,)
        assert -1 <= read.similarity("new", "york") <= 1
        assert read.doesnt_match(["new", "york", "town"])
phrases = Phrases([["new", "york"]] * 9 + [["a", "town"]], min_count=1, threshold=0.1)
assert phrases[["new", "york"]] == ["new_york"]
phrases.apply_file("corpus.txt", "joined.txt")
assert "torch" not in sys.modules
assert len(vectors.most_similar("york")) == 5
assert "torch" in sys.modules
"""

COMMAND = """
import sys
from fastrnn.__main__ import main
main()
"""


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.txt"
    path.write_text("new york is a town\nmy town is new york\n" * 20)
    return path


def python(program: str, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)


def test_word2vec_loads_torch_only_for_similarities(corpus: Path) -> None:
    done = python(WORD2VEC, corpus.parent)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "corpus.txt", "--out", "vectors.bin", "--epochs", 1, "--min-count", 1],
        ["train", "corpus.txt", "--out", "vectors.txt", "--sg"],
        ["phrases", "corpus.txt", "--threshold", 0.1],
        ["phrases", "corpus.txt", "--out", "joined.txt"],
        ["--help"],
    ],
    ids=str,
)
def test_the_commands_of_word2vec_need_no_torch(corpus: Path, arguments: list[object]) -> None:
    done = python(WITHOUT_TORCH + COMMAND, corpus.parent, "word2vec", *arguments)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["bench", "--help"], ["verify", "--help"]])
def test_help_does_not_wait_for_torch(tmp_path: Path, arguments: list[str]) -> None:
    done = python(WITHOUT_TORCH + COMMAND, tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "Usage: " in done.stdout


def test_a_command_of_word2vec_calls_itself_so(corpus: Path) -> None:
    done = python(COMMAND, corpus.parent, "word2vec", "train", "--help")
    assert "Usage: fastrnn word2vec train" in done.stdout


@pytest.mark.parametrize(
    "program",
    [
        "import fastrnn; fastrnn.LSTM(2, 3)",
        "from fastrnn import LSTM, convert, info; convert(LSTM(2, 3)); info()",
        "import fastrnn, torch; fastrnn.nn, fastrnn.reference; torch.ops.fastrnn.forward.default",
        "import fastrnn.ops, torch; torch.ops.fastrnn.forward.default",
        "from fastrnn import _C; _C.instruction_set()",
        "from fastrnn import *; convert(GRU(2, 3)); ops.forward; functional.lstm; info()",
        "import fastrnn._environment, fastrnn.conversion, fastrnn; fastrnn.convert(fastrnn.GRU(2, 3)); fastrnn.info()",
        "import fastrnn.word2vec, fastrnn; fastrnn.GRU(2, 3)",
    ],
)
def test_the_layers_come_when_they_are_asked_for(tmp_path: Path, program: str) -> None:
    done = python("import sys, fastrnn; assert 'torch' not in sys.modules\n" + program, tmp_path)
    assert done.returncode == 0, done.stderr


def test_torch_compile_meets_names_that_are_not_yet_imported(tmp_path: Path) -> None:
    program = """
import torch, fastrnn
x, *weights = (torch.randn(size) for size in ((4, 1, 2), (9, 2), (9, 3), (9,), (9,)))
def run(x):
    return fastrnn.functional.gru(x, None, weights)[0]
compiled = torch.compile(run, fullgraph=True, backend="aot_eager")(x)
assert torch.equal(compiled, run(x))
"""
    done = python(program, tmp_path)
    assert done.returncode == 0, done.stderr


def copy_of_the_package(to: Path) -> Path:
    """The Python files of the package, as they lie in site-packages."""
    shutil.copytree(Path(fastrnn.__file__).parent, to / "fastrnn", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    (to / "fastrnn-0.1.0.dist-info").mkdir()
    metadata = "Metadata-Version: 2.1\nName: fastrnn\nVersion: 0.1.0\n"
    (to / "fastrnn-0.1.0.dist-info" / "METADATA").write_text(metadata)
    return to


def refusal(folder: Path) -> str:
    """The error of `fastrnn.LSTM`, with the package in a folder."""
    program = """
import sys
# That of an editable installation would find what the folder lacks.
sys.meta_path = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]
try:
    import fastrnn
    fastrnn.LSTM
except ImportError as error:
    assert "fastrnn._C" not in sys.modules
    print(error)
else:
    raise AssertionError
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder.parent,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


ORIGINS = {
    "checkout": ({}, "pip install --editable {folder}"),
    "index": ({}, "pip install --force-reinstall --no-deps --no-cache-dir fastrnn"),
    "folder": (
        {"url": "file:///home/me/fast%20rnn", "dir_info": {}},
        "pip install --force-reinstall --no-deps --no-cache-dir file:///home/me/fast%20rnn",
    ),
    "repository": (
        {"url": "https://a.org/fastrnn.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
        "pip install --force-reinstall --no-deps --no-cache-dir git+https://a.org/fastrnn.git@abc",
    ),
}


@pytest.mark.parametrize("origin", ORIGINS)
def test_another_torch_is_refused_before_the_core_is_loaded(tmp_path: Path, origin: str) -> None:
    direct_url, command = ORIGINS[origin]
    folder = copy_of_the_package(tmp_path)
    (folder / "fastrnn" / "_built.py").write_text('torch_version = "1.0.0"')
    if origin == "checkout":
        (folder / "build_backend.py").touch()
    if direct_url:
        (folder / "fastrnn-0.1.0.dist-info" / "direct_url.json").write_text(json.dumps(direct_url))
    said = refusal(folder)
    assert said.startswith(f"fastrnn was built against torch 1.0.0 but runs under torch {torch.__version__}. ")
    assert said.endswith(f"Build it again: {command.format(folder=folder)}")


def test_a_checkout_that_is_not_compiled_says_how_to_compile_it(tmp_path: Path) -> None:
    folder = copy_of_the_package(tmp_path)
    (folder / "fastrnn" / "_built.py").unlink()
    (folder / "build_backend.py").touch()
    assert f"where it has not been compiled. Type: pip install --editable {folder} (or start" in refusal(folder)


def test_names() -> None:
    assert {*fastrnn.__all__, "__version__", "nn"} <= {*dir(fastrnn)}
    assert not hasattr(fastrnn, "LTSM")
    with pytest.raises(AttributeError, match="module 'fastrnn' has no attribute 'LTSM'"):
        _ = fastrnn.LTSM
    with pytest.raises(ImportError, match="cannot import name 'LTSM'"):
        from fastrnn import LTSM  # noqa: F401
