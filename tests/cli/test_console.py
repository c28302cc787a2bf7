"""What every command does with its files and its output: text as it is, files checked first, errors in a line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from fastrnn.cli import terminal
from fastrnn.cli.console import check_outputs
from fastrnn.word2vec import WordVectors
from fastrnn.word2vec import cli as word2vec_cli
from tests.cli.test_cli import call

ODD = ["[/b]", ":tea:", "[red]", "naïve"]
RESULTS = Path(__file__).parents[2] / "bench" / "results"


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    file = tmp_path / "vectors.txt"
    WordVectors(ODD, [[1, 0], [1, 0.1], [1, 0.2], [1, 0.3]]).save_word2vec_format(file)
    return file


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    file = tmp_path / "corpus.txt"
    file.write_text(f"{' '.join(ODD)}\n" * 20, encoding="utf-8")
    return file


@pytest.fixture
def no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes long must not have begun."""

    def begun(*arguments: object, **options: object) -> None:
        raise AssertionError("the work was begun")

    for module, name in (
        (terminal, "run_verify"),
        (terminal, "run_bench"),
        (terminal, "run_roofline"),
        (word2vec_cli, "Word2Vec"),
        (word2vec_cli, "Phrases"),
    ):
        monkeypatch.setattr(module, name, begun)


def program(*arguments: object, stdout: str | None = None, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs fastrnn in a process, its output in a file or captured."""
    command = [sys.executable, "-m", "fastrnn", *map(str, arguments)]
    with open(stdout or os.devnull, "wb") as out:
        where = out if stdout else subprocess.PIPE
        environment = os.environ | variables
        return subprocess.run(command, stdout=where, stderr=subprocess.PIPE, env=environment, check=False)


def test_words_are_printed_as_they_are(vectors: Path, corpus: Path) -> None:
    result = call("word2vec", "neighbours", vectors, *ODD)
    assert result.exit_code == 0
    assert all(result.output.count(word) == len(ODD) for word in ODD)
    result = call("word2vec", "phrases", corpus, "--threshold", 0.01, "--min-count", 1)
    assert result.exit_code == 0
    assert "[/b]_:tea:" in result.output


def test_names_of_files_are_printed_as_they_are(vectors: Path, tmp_path: Path) -> None:
    questions = tmp_path / "[bold].txt"
    questions.write_text(": [/i] :tea:\n[/b] :tea: [red] naïve\n", encoding="utf-8")
    result = call("word2vec", "eval", vectors, "--analogies", questions)
    assert result.exit_code == 0
    assert "[bold].txt" in result.output
    assert "[/i] :tea:" in result.output


def test_what_the_encoding_lacks_is_escaped(vectors: Path) -> None:
    done = program("word2vec", "neighbours", vectors, "naïve", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert b"na\\xefve" in done.stdout


def test_results_for_a_file_are_not_escaped() -> None:
    file = RESULTS / "2026-11-23-xeon-2.8ghz-stacked.json"
    done = program("bench", "--render", file, PYTHONIOENCODING="ascii")
    assert done.returncode == 2
    assert done.stderr.decode().strip() == (
        "fastrnn: the output's encoding, ascii, lacks '\\xd7'. Set PYTHONIOENCODING=utf-8, or use --into PAGE"
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("arguments", [["info"], ["word2vec", "--help"], ["word2vec", "neighbours", "vectors", "[/b]"]])
def test_an_output_that_cannot_be_written_is_a_line(vectors: Path, arguments: list[str]) -> None:
    done = program(*(str(vectors) if each == "vectors" else each for each in arguments), stdout="/dev/full")
    assert done.returncode == 2
    assert done.stderr.decode().strip() == "fastrnn: cannot read or write: No space left on device"


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["verify"], "--json"),
        (["bench"], "--json"),
        (["bench"], "--plot"),
        (["roofline"], "--json"),
        (["roofline"], "--plot"),
        (["demo"], "--out"),
        (["word2vec", "train", "corpus"], "--out"),
        (["word2vec", "phrases", "corpus"], "--out"),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["in a file", "a folder"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, corpus: Path, command: list[str], option: str, kind: str
) -> None:
    target = corpus / "x.png" if kind == "in a file" else tmp_path / "folder.png"
    (tmp_path / "folder.png" / "report.md").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    result = call(*(corpus if each == "corpus" else each for each in command), option, target)
    assert result.exit_code == 2
    assert result.output.startswith(f"fastrnn: {option} {tmp_path}")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize("link", [None, "symlink_to", "hardlink_to"])
@pytest.mark.parametrize("command", ["train", "phrases"])
def test_the_corpus_is_not_overwritten(tmp_path: Path, corpus: Path, command: str, link: str | None) -> None:
    out = corpus
    if link:
        out = tmp_path / "link.txt"
        getattr(out, link)(corpus)
    before = corpus.read_bytes()
    result = call("word2vec", command, corpus, "--out", out)
    assert result.exit_code == 2
    assert f"--out {out} is the same file as the corpus" in result.output
    assert corpus.read_bytes() == before


@pytest.mark.usefixtures("no_work")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bench", "--json", "a.png", "--plot", "a.png"], "--plot a.png is the same file as --json"),
        (["bench", "--plot", "a.foo"], "--plot a.foo: the name must end with one of .eps"),
        (["bench", "--plot", "a.png", "--without", "torch"], "--plot draws speed relative to torch.nn"),
        (["bench", "--into", "page.md"], "--into needs --render"),
        (["bench", "--render", "missing"], "fastrnn: missing: No such file or directory"),
        (["verify", "--render", "missing"], "fastrnn: missing: No such file or directory"),
        (["roofline", "--from", "missing", "--plot", "a.png"], "fastrnn: missing: No such file or directory"),
        (["bench", "--render", "results.json", "--into", "missing"], "fastrnn: missing: No such file or directory"),
        (["bench", "--render", "broken.json"], "broken.json is not JSON"),
        (["bench", "--render", "deep.json"], "deep.json is not JSON"),
        (["bench", "--render", "list.json"], "list.json does not contain results of fastrnn bench"),
        (
            ["verify", "--render", "results.json"],
            "results.json does not contain results of fastrnn verify: KeyError: res",
        ),
        (["roofline", "--from", "list.json", "--plot", "a.png"], "list.json: "),
        (["word2vec", "neighbours", "missing", "a"], "fastrnn: missing: No such file or directory"),
    ],
    ids=str,
)
def test_a_wrong_file_is_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    results = (RESULTS / "2026-11-23-xeon-2.8ghz-stacked.json").read_text()
    for name, text in {"results": results, "broken": "{", "deep": "[" * 100_000, "list": "[1]"}.items():
        Path(f"{name}.json").write_text(text)
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.output
    assert result.output.count("\n") == 1


def test_checking_changes_nothing_and_allows_what_can_be_written(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "sub" / "new.json"
    old.write_text("old")
    check_outputs({"--json": old, "--plot": new, "--out": None}, {"the corpus": tmp_path / "corpus"})
    assert old.read_text() == "old"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old.json", "sub"]
    check_outputs({"--json": Path(os.devnull), "--plot": Path(os.devnull)})
    with pytest.raises(typer.Exit):
        check_outputs({"--json": old, "--plot": tmp_path / "sub" / ".." / "old.json"})


def test_train_into_a_device(corpus: Path) -> None:
    options = ["--min-count", 1, "--vector-size", 4, "--epochs", 1, "--workers", 1]
    assert call("word2vec", "train", corpus, "--out", os.devnull, *options).exit_code == 0
    assert not Path(os.devnull).is_file()
