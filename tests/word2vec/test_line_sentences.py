"""Text files as iterables of sentences, by hand and compared with gensim; and classes that fastrnn lacks."""

import bz2
import io
import sys
from pathlib import Path
from typing import Any

import pytest

import fastrnn.word2vec
from fastrnn.word2vec import LineSentence, PathLineSentences, Text8Corpus, Word2Vec
from fastrnn.word2vec.corpus import line_sentences

TEXT = "a b c d e f\n\n g h\u00a0i \nй к\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "one.txt").write_text(TEXT, encoding="utf-8")
    return tmp_path / "one.txt"


def test_lines(file: Path) -> None:
    sentences = LineSentence(file, max_sentence_length=4)
    expected = [["a", "b", "c", "d"], ["e", "f"], ["g", "h", "i"], ["й", "к"]]
    assert list(sentences) == list(sentences) == expected
    assert list(LineSentence(str(file), limit=2)) == [list("abcdef")]
    (file.parent / "two.bz2").write_bytes(bz2.compress(TEXT.encode()))
    assert list(LineSentence(file.parent / "two.bz2", 4)) == expected
    for source in (io.StringIO(TEXT), io.BytesIO(TEXT.encode()), file.open("rb"), file.open(encoding="utf-8")):
        with source:
            assert list(LineSentence(source, 4)) == list(LineSentence(source, 4)) == expected
            assert not source.closed


def test_folders(file: Path) -> None:
    (file.parent / "folder").mkdir()
    (file.parent / "another.txt").write_text("x y\nz\n")
    both = PathLineSentences(file.parent, max_sentence_length=4, limit=1)
    assert list(both) == list(both) == [["x", "y"], ["a", "b", "c", "d"], ["e", "f"]]
    assert list(PathLineSentences(file)) == list(LineSentence(file))
    with pytest.raises(ValueError, match=r"there is no file or folder .*gone"):
        PathLineSentences(file.parent / "gone")
    with pytest.raises(ValueError, match="contains no files"):
        PathLineSentences(file.parent / "folder")


@pytest.mark.parametrize("block", [1, 2, 3, 7, 1 << 20])
def test_text_without_lines(file: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line_sentences, "BLOCK", block)
    corpus = Text8Corpus(file, max_sentence_length=4)
    assert list(corpus) == list(corpus) == [list("abcd"), list("efgh"), ["i", "й", "к"]]
    file.write_text("no space")
    assert list(Text8Corpus(file)) == [["no", "space"]]


@pytest.mark.parametrize("name", ["LineSentence", "PathLineSentences", "Text8Corpus"])
@pytest.mark.parametrize("length", [1, 4, 10000])
def test_gensim_reads_the_same(file: Path, name: str, length: int) -> None:
    theirs = pytest.importorskip("gensim.models.word2vec", reason="gensim is not installed")
    ours = getattr(fastrnn.word2vec, name)(str(file), max_sentence_length=length)
    assert list(ours) == list(getattr(theirs, name)(str(file), max_sentence_length=length))


@pytest.mark.parametrize("kind", [LineSentence, Text8Corpus])
def test_bytes_that_are_no_text(tmp_path: Path, kind: Any) -> None:
    (tmp_path / "bad").write_bytes(b"a b\na \xff b\n")
    with pytest.raises(ValueError, match=r"bad(, line 2)?: not UTF-8: .*; corpus_file= replaces such bytes"):
        list(kind(tmp_path / "bad"))


def test_what_is_no_source() -> None:
    with pytest.raises(TypeError, match=r"source must be a path or an open file, got \['a'\]"):
        LineSentence(["a"])
    for kind in (LineSentence, Text8Corpus):
        with pytest.raises(ValueError, match="max_sentence_length must be 1 or more, got 0"):
            kind("file", max_sentence_length=0)


def test_a_model_learns_from_them_what_it_learns_from_the_file(file: Path) -> None:
    options: dict[str, Any] = {"vector_size": 4, "min_count": 1, "deterministic": True}
    file.write_text("a b c\nc d\n" * 50)
    expected = Word2Vec(corpus_file=file, **options).wv.vectors
    assert (Word2Vec(LineSentence(file), **options).wv.vectors == expected).all()


def test_classes_of_gensims_that_are_not_here() -> None:
    with pytest.raises(ImportError, match=r"no FastText: it is not part of fastrnn; .*reads fastText's \.vec files"):
        from fastrnn.word2vec import FastText  # noqa: F401
    with pytest.raises(ImportError, match=r"no Doc2Vec: it is not part of fastrnn; model.wv.get_mean_vector"):
        from fastrnn.word2vec import Doc2Vec  # noqa: F401
    with pytest.raises(ImportError, match="cannot import name 'Word3Vec'"):
        from fastrnn.word2vec import Word3Vec  # noqa: F401
    assert not hasattr(sys.modules["fastrnn.word2vec"], "Word3Vec")
