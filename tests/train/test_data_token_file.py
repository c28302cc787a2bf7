"""A text in blocks and as a mapped file of ids: what the whole text gives, and kept as long as it is the same."""

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from fastrnn.train.data import LanguageBatches, Vocabulary, encode_file
from fastrnn.train.data.readers import text_blocks

TEXT = "the cat  sat\n\n on thé mat\r\n" * 50 + "one long line " * 40 + "end\n\n"
TEXTS = [TEXT, "word " * 300, "no_space_at_all_漢字" * 60, "\n" * 40 + "x" * 90, "ends with a space \n "]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("block", [1, 7, 64, 1 << 20])
def test_blocks_are_the_text_and_cut_no_word(tmp_path: Path, text: str, block: int) -> None:
    (tmp_path / "text.gz").write_bytes(gzip.compress(text.encode()))
    parts = list(text_blocks(tmp_path / "text.gz", block=block))
    whole = text.replace("\r\n", "\n")
    assert "".join(parts) == whole
    if block == 64 and " " in text:
        assert len(parts) > 1 or len(text) < 64
        assert [word for part in parts for word in part.split()] == whole.split()
    assert max(map(len, parts)) <= max(2 * block, max(map(len, whole.split("\n"))) + 1, 1)


@pytest.mark.parametrize(
    ("tokenizer", "text"),
    [
        (tokenizer, text)
        for tokenizer in ("words", "characters", "subwords")
        for text in TEXTS
        if tokenizer == "characters" or text is not TEXTS[2]  # a word longer than a block
    ],
)
def test_the_ids_of_a_file_are_those_of_its_text(
    tmp_path: Path, tokenizer: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "__defaults__", ("utf-8", 100))
    file = tmp_path / "text.txt"
    file.write_bytes(text.encode())
    whole = text.replace("\r\n", "\n")
    vocabulary = Vocabulary.build(whole, tokenizer=tokenizer, eos="</s>", max_size=300)
    assert vocabulary == Vocabulary.build(text_blocks(file), tokenizer=tokenizer, eos="</s>", max_size=300)
    ids = encode_file(file, vocabulary, tmp_path / "kept")
    assert ids.tolist() == vocabulary.encode(whole)
    assert ids.dtype == np.uint16
    assert len(list((tmp_path / "kept").iterdir())) == 1


def test_ids_are_kept_as_long_as_text_and_vocabulary_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "text.txt"
    file.write_text("a b c a\n" * 5)
    vocabulary = Vocabulary.build("a b c", eos="</s>")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    first = encode_file(file, vocabulary)
    assert Path(str(first.filename)).parent == tmp_path / "caches" / "fastrnn"
    before = os.stat(str(first.filename)).st_mtime_ns
    again = encode_file(file, vocabulary)
    assert (again.filename, os.stat(str(again.filename)).st_mtime_ns) == (first.filename, before)
    windows = LanguageBatches(again, 2, 3)
    assert [w.target.tolist() for w in windows] == [w.target.tolist() for w in LanguageBatches(first.tolist(), 2, 3)]
    assert encode_file(file, Vocabulary.build("c b a", eos="</s>", min_count=1, bos="<s>")).filename != first.filename
    file.write_text("c c c c\n" * 5)
    os.utime(file, ns=(1, 1))
    assert encode_file(file, vocabulary).tolist() == vocabulary.encode("c c c c\n" * 5)


def test_a_large_vocabulary_has_ids_of_four_bytes(tmp_path: Path) -> None:
    vocabulary = Vocabulary([f"w{i}" for i in range(70_000)])
    (tmp_path / "text.txt").write_text("w69999 w0 w65536")
    ids = encode_file(tmp_path / "text.txt", vocabulary, tmp_path)
    assert (ids.tolist(), ids.dtype) == ([69999, 0, 65536], np.int32)


def test_what_cannot_be_encoded_names_file_and_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_blocks, "__defaults__", ("utf-8", 10))
    file, kept = tmp_path / "text.txt", tmp_path / "kept"
    vocabulary = Vocabulary.build("good word", unknown=None)
    file.write_text("good word\n" * 7 + "good wird\n" + "good word\n" * 7)
    with pytest.raises(ValueError, match=r"'wird', .*text\.txt, line 8, is not .* closest is 'word'"):
        encode_file(file, vocabulary, kept)
    file.write_bytes(b"good word\n" * 7 + b"good \xff\n")
    with pytest.raises(ValueError, match=r"text\.txt, line 8: the byte 0xff is not utf-8"):
        encode_file(file, vocabulary, kept)
    file.write_bytes(b"good word\n" * 7 + b"good \xe6\xbc")
    with pytest.raises(ValueError, match=r"text\.txt, line 8: the byte 0xe6 is not utf-8"):
        encode_file(file, vocabulary, kept)
    for empty in (b"", b"\n\n"):
        file.write_bytes(empty)
        with pytest.raises(ValueError, match=r"text\.txt is empty"):
            encode_file(file, vocabulary, kept)
    assert list(kept.iterdir()) == []
    with pytest.raises(FileNotFoundError, match=r"absent\.txt"):
        encode_file(tmp_path / "absent.txt", vocabulary, kept)
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(ValueError, match="unpack it first"):
        list(text_blocks(tmp_path / "a.zip"))
