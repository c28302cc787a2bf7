"""Files of vectors: the same bytes as gensim, errors for bad files, and an old file that survives a failed save."""

import gzip
import pickle
import resource
from pathlib import Path

import numpy as np
import pytest

from fastrnn.word2vec import WordVectors
from fastrnn.word2vec.vectors import word2vec_rows
from tests.word2vec.gensim_vectors import twin

AWKWARD = np.array([[1e-7, 1e20, -0.0], [0.1, 1 / 3, 16777216], [123456.789, 1e-5, 3]], dtype=np.float32)
KEYS = ["naïve", "東京", "c"]
ONE, TWO = (np.array(pair, dtype="<f4").tobytes() for pair in ([1, 2], [3, 4]))


@pytest.fixture
def vectors() -> WordVectors:
    return WordVectors(KEYS, AWKWARD, [3, 9, 3])


def written(file: Path, data: bytes) -> Path:
    file.write_bytes(data)
    return file


@pytest.mark.parametrize("binary", [False, True])
def test_gensim_writes_and_reads_the_same_bytes(vectors: WordVectors, tmp_path: Path, binary: bool) -> None:
    theirs = twin(vectors)
    for key in KEYS:
        theirs.set_vecattr(key, "count", vectors.get_vecattr(key, "count"))
    theirs.save_word2vec_format(str(tmp_path / "theirs"), binary=binary)
    vectors.save_word2vec_format(tmp_path / "ours", binary=binary)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    back = type(theirs).load_word2vec_format(str(tmp_path / "ours"), binary=binary)
    assert back.index_to_key == ["東京", "naïve", "c"]
    assert np.array_equal(back.vectors, AWKWARD[[1, 0, 2]])


@pytest.mark.parametrize("block", [5, 1 << 24])
@pytest.mark.parametrize("name", ["v", "v.gz", "v.bz2", "v.xz"])
@pytest.mark.parametrize("binary", [False, True])
def test_what_is_saved_is_loaded(
    vectors: WordVectors, tmp_path: Path, binary: bool, name: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(word2vec_rows, "BLOCK", block)
    vectors.save_word2vec_format(tmp_path / name, binary=binary)
    back = WordVectors.load_word2vec_format(tmp_path / name, binary=binary)
    assert back.index_to_key == ["東京", "naïve", "c"]
    assert back.vectors.tobytes() == AWKWARD[[1, 0, 2]].tobytes()
    first = WordVectors.load_word2vec_format(tmp_path / name, binary=binary, limit=2)
    assert first.index_to_key == ["東京", "naïve"]


def test_gz_is_gzip(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(tmp_path / "v.gz")
    assert gzip.decompress((tmp_path / "v.gz").read_bytes()).startswith(b"3 3\n")


@pytest.mark.parametrize(
    ("data", "binary"),
    [
        (b"2 2\na " + ONE + b"\nb " + TWO + b"\n", True),  # as word2vec.c writes it
        (b"2 2\na 1.000000 2.000000 \nb 3.000000 4.000000 \n", False),
        (b"2 2\na 1 2\nb 3 4", False),
        (b"2 2\r\na 1 2\r\nb 3 4\r\n", False),
        (b"2 2\na  1 2\nb\t3 4\n\n", False),
    ],
)
def test_other_writers_are_read(tmp_path: Path, data: bytes, binary: bool) -> None:
    back = WordVectors.load_word2vec_format(written(tmp_path / "v", data), binary=binary)
    assert back.index_to_key == ["a", "b"]
    assert back.vectors.tolist() == [[1, 2], [3, 4]]


def test_glove_has_no_header_and_keys_with_spaces(tmp_path: Path) -> None:
    file = written(tmp_path / "glove.txt", b"the 1 2\n. . 3 4\n")
    assert WordVectors.load_word2vec_format(file, no_header=True).index_to_key == ["the", ". ."]
    with pytest.raises(ValueError, match=r"glove.txt, line 1: expected a header 'rows size'.*no_header=True"):
        WordVectors.load_word2vec_format(file)


@pytest.mark.parametrize(
    ("data", "binary", "message"),
    [
        (b"", False, "line 1: expected a header 'rows size' .*, got b''"),
        (b"x 2\na 1 2\n", False, "line 1: expected a header 'rows size'"),
        (b"2 2\na 1 2\n", False, "truncated"),
        (b"2 2\na 1 2.0000000\n", False, "says 2 rows, but it has 1"),
        (b"1 2\na 1 2\nb 3 4\n", False, "says 1 rows of 2 numbers, but more data follows"),
        (b"2 2\na 1 2\nb 3 \n\n\n", False, "line 3: expected a key and 2 numbers, got 2 fields"),
        (b"2 2\na 1 2\nb 3 4 5\n", False, "line 3: expected a key and 2 numbers, got 4 fields"),
        (b"2 2\na 1 2\nb 3 x\n", False, "line 3: expected 2 numbers, but b'x' is not a number"),
        (b"2 2\na 1 2\nb\xff 3 4\n", False, r"row 2: key b'b\\xff' is not valid utf8"),
        (b"99999999999 99999999999\na 1 2\n", False, "99999999999 rows of 99999999999 numbers take at least"),
        (b"99999999999 300\na " + ONE, True, "99999999999 rows of 300 numbers take at least"),
        (b"2 2\na " + ONE + b"b " + TWO[:-1], True, "2 rows of 2 numbers take at least 20 bytes, but 19 follow"),
        (b"1 2\na " + ONE + b"b " + TWO, True, "but more data follows"),
        (b"2 1\na " + ONE + b"\nb " + TWO + b"\n", True, "says 2 rows of 1 numbers, but more data follows"),
        (b"2 1\na " + ONE[:4] + b" " + ONE, True, "row 2: the key is empty; does each row have 1 numbers"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, data: bytes, binary: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        WordVectors.load_word2vec_format(written(tmp_path / "v.vec", data), binary=binary)
    assert "v.vec" in str(raised.value)


def test_huge_numbers_in_a_compressed_header_allocate_nothing(tmp_path: Path) -> None:
    file = written(tmp_path / "v.gz", gzip.compress(b"99999999999 2\na 1 2\n"))
    with pytest.raises(ValueError, match="at most 1073741824 follow"):
        WordVectors.load_word2vec_format(file)


def test_unicode_errors_and_repeated_keys(tmp_path: Path) -> None:
    file = written(tmp_path / "v", b"2 2\na\xff 1 2\na 3 4\n")
    assert WordVectors.load_word2vec_format(file, unicode_errors="replace").index_to_key == ["a\ufffd", "a"]
    with pytest.warns(UserWarning, match="ignored 1 rows that repeat an earlier key, the first 'a'"):
        back = WordVectors.load_word2vec_format(file, unicode_errors="ignore")
    assert back.vectors.tolist() == [[1, 2]]


def test_a_key_that_no_reader_could_find_is_refused(tmp_path: Path) -> None:
    for key in ("new york", "", "a\nb"):
        with pytest.raises(ValueError, match=r"cannot store the key .* is empty or contains white space"):
            WordVectors([key], np.zeros((1, 2))).save_word2vec_format(tmp_path / "v")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["v", "v.bin", "v.txt", "v.bin.gz", "v.vec.xz"])
@pytest.mark.parametrize("size", [3, 8, 300])
@pytest.mark.parametrize("options", [{"binary": True}, {"binary": False}, {"write_header": False}], ids=str)
def test_the_kind_of_a_file_is_told_by_what_is_in_it(tmp_path: Path, options: dict, size: int, name: str) -> None:
    for seed in range(5):
        numbers = np.random.default_rng(seed).normal(0, 1, (3, size)).astype(np.float32)
        WordVectors(["42", "東京", "c"], numbers).save_word2vec_format(tmp_path / name, **options)
        back = WordVectors.read(tmp_path / name)
        assert back.index_to_key == ["42", "東京", "c"]
        assert back.vectors.tobytes() == numbers.tobytes()
        assert WordVectors.read(tmp_path / name, limit=2).index_to_key == ["42", "東京"]


@pytest.mark.parametrize(
    ("data", "keys"),
    [
        (b"2 2\na " + ONE + b"\nb " + TWO + b"\n", ["a", "b"]),  # as word2vec.c writes it
        (b"1 4\na " + np.array([np.nan, np.inf, 0, 1e-9], dtype="<f4").tobytes(), ["a"]),
        (b"2 2\na 1.000000 2.000000 \nb 3.000000 4.000000 \n", ["a", "b"]),
        (b"2 4\r\na\t1 2\t-inf nan\r\nb 1 2 3e-7 4E+5\r\n", ["a", "b"]),
        (b"2 9\na 1 1 1 1 1 1 1 1 1\n\xe6\x9d\xb1 1 1 1 1 1 1 1 1 1\n", ["a", "東"]),
        (b"0 5\n", []),
    ],
)
def test_the_kind_of_other_writers_files(tmp_path: Path, data: bytes, keys: list[str]) -> None:
    assert WordVectors.read(written(tmp_path / "v", data)).index_to_key == keys


def test_a_part_of_the_native_file(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save(tmp_path / "v")
    first = WordVectors.read(tmp_path / "v", limit=2)
    assert first.index_to_key == KEYS[:2]
    assert first.counts is not None
    assert first.counts.tolist() == [3, 9]


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a pickle, which could run code and is never loaded"):
        WordVectors.read(written(tmp_path / "gensim.kv", pickle.dumps(KEYS)))


def test_counts_in_a_file_beside_the_vectors(vectors: WordVectors, tmp_path: Path) -> None:
    vectors.save_word2vec_format(tmp_path / "v", fvocab=tmp_path / "counts", binary=True)
    assert (tmp_path / "counts").read_text(encoding="utf-8") == "東京 9\nnaïve 3\nc 3\n"
    back = WordVectors.load_word2vec_format(tmp_path / "v", tmp_path / "counts", True)
    assert [back.get_vecattr(key, "count") for key in KEYS] == [3, 9, 3]
    with pytest.raises(ValueError, match="counts: cannot be written, because these vectors have no counts"):
        WordVectors(KEYS, AWKWARD).save_word2vec_format(tmp_path / "w", tmp_path / "counts")
    assert not (tmp_path / "w").exists()
    for text, message in (
        ("東京 9\nc 3\n", "counts: no count for 1 of 3 keys, the first 'naïve'"),
        ("東京 9\nc\n", r"counts, line 2: expected a key and its count \(below 2\*\*63\), got b'c\\n'"),
    ):
        with pytest.raises(ValueError, match=message):
            WordVectors.load_word2vec_format(tmp_path / "v", written(tmp_path / "counts", text.encode()), True)


def test_gensim_reads_and_writes_the_same_counts(vectors: WordVectors, tmp_path: Path) -> None:
    theirs = twin(vectors)
    for key in KEYS:
        theirs.set_vecattr(key, "count", vectors.get_vecattr(key, "count"))
    theirs.save_word2vec_format(str(tmp_path / "v"), str(tmp_path / "theirs"))
    vectors.save_word2vec_format(tmp_path / "v", tmp_path / "ours")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    back = type(theirs).load_word2vec_format(str(tmp_path / "v"), str(tmp_path / "ours"))
    assert [back.get_vecattr(key, "count") for key in KEYS] == [3, 9, 3]


@pytest.mark.parametrize("mmap", [False, True, "r"])
def test_the_native_file(tmp_path: Path, mmap: bool | str) -> None:
    file = tmp_path / "v.vectors"
    for counts in (None, [5, 4]):
        saved = WordVectors(["new york", "\n東"], np.array([[1, 2, 3], [4, 5, 6]]), counts)
        saved.save(file)
        back = WordVectors.load(file, mmap=mmap)
        assert back.index_to_key == saved.index_to_key
        assert np.array_equal(back.vectors, saved.vectors)
        assert (back.counts is None) == (counts is None)
        assert np.array_equal(back.counts or [], counts or []) if counts is None else (back.counts == counts).all()
        before = file.read_bytes()
        back.vectors[0] = 0  # the process's own copy
        assert file.read_bytes() == before
        assert back.most_similar(1, topn=1) == [("new york", 0.0)]


def test_a_native_file_of_another_size_or_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "v"
    WordVectors(KEYS, AWKWARD).save(file)
    whole = file.read_bytes()
    for damaged, message in (
        (whole[:-1], "its header says 3 vectors of 3"),
        (whole[:40], "its header is damaged"),
        (whole.replace(b'"rows": 3', b'"rows": 999999999999'), "its header says 999999999999 vectors of 3"),
        (whole[:-2] + b"]]", "its keys are damaged"),
        (pickle.dumps(KEYS), "a pickle, which could run code and is never loaded"),
        (b"1 2\na 1 2\n", "not a file of WordVectors.save"),
    ):
        with pytest.raises(ValueError, match=message):
            WordVectors.load(written(file, damaged))


@pytest.mark.parametrize("name", ["v.bin", "v.gz"])
def test_a_full_disc_leaves_the_old_file_whole(tmp_path: Path, vectors: WordVectors, name: str) -> None:
    file = written(tmp_path / name, b"old")
    for save in (vectors.save_word2vec_format, vectors.save):
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4, before[1]))  # as a disc that is full after four bytes
        try:
            with pytest.raises(OSError, match="too large"):
                save(file)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert [each.name for each in tmp_path.iterdir()] == [name]
        assert file.read_bytes() == b"old"
