"""The commands `fastrnn word2vec train` and `phrases` on a small corpus."""

import pytest
from typer.testing import CliRunner

from fastrnn.cli.main import app
from fastrnn.word2vec import WordVectors

TEXT = "new york is a town\nmy town is not new york\nnew york new york\n" * 20


@pytest.fixture
def corpus(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["word2vec", *map(str, arguments)])


@pytest.mark.parametrize("name", ["vectors.bin", "vectors.txt"])
@pytest.mark.parametrize("options", [[], ["--sg", "--deterministic"], ["--hs", "--negative", "0"]], ids=str)
def test_train_writes_vectors(corpus, tmp_path, name, options):
    out = tmp_path / name
    result = run("train", corpus, "--out", out, "--vector-size", 8, "--epochs", 2, "--workers", 1, *options)
    assert result.exit_code == 0, result.output
    vectors = WordVectors.read(out)
    assert vectors.index_to_key[:2] == ["new", "york"]
    assert vectors.vectors.shape == (len({*TEXT.split()}), 8)


def test_the_same_vectors_for_the_same_seed(corpus, tmp_path):
    files = []
    for workers in (1, 2):
        files.append(tmp_path / f"{workers}.bin")
        options = ["--vector-size", 8, "--epochs", 1, "--workers", workers, "--deterministic"]
        assert run("train", corpus, "--out", files[-1], *options).exit_code == 0
    assert files[0].read_bytes() == files[1].read_bytes()


def test_phrases_are_shown_or_joined(corpus, tmp_path):
    shown = run("phrases", corpus, "--threshold", 0.1)
    assert "new_york" in shown.output
    out = tmp_path / "joined.txt"
    assert run("phrases", corpus, "--threshold", 0.1, "--out", out).exit_code == 0
    assert out.read_text().splitlines()[0].startswith("new_york is")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--negative", 0], "negative"),
        (["--min-count", 1000], "min_count"),
        (["--workers", 0], "workers"),
    ],
)
def test_bad_settings(corpus, tmp_path, arguments, said):
    result = run("train", corpus, "--out", tmp_path / "v.bin", *arguments)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "v.bin").exists()


def test_no_such_corpus(tmp_path):
    result = run("train", tmp_path / "nowhere.txt", "--out", tmp_path / "v.bin")
    assert result.exit_code == 2
    assert "nowhere.txt" in result.output.replace("\n", "")
