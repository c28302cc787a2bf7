"""Readers of the usual formats: what they return, whatever the compression, and errors that say file, line and why."""

import bz2
import contextlib
import gzip
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import savemat

from fastrnn.train.data import readers, split

SENTENCES = "the DT B-NP\ncat NN I-NP\n\n\nsat VBD B-VP\n"


def write(file: Path, content: str | bytes) -> Path:
    """A file, compressed as its name says."""
    data = content.encode() if isinstance(content, str) else content
    if file.suffix == ".zip":
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("folder/", "")
            archive.writestr("folder/" + file.stem, data)
    else:
        file.write_bytes(_PACK.get(file.suffix, bytes)(data))
    return file


_PACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}


def write_zip(file: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize("ending", ["", ".gz", ".bz2", ".xz", ".zip"])
def test_a_file_may_be_compressed(tmp_path: Path, ending: str) -> None:
    file = write(tmp_path / f"pairs.txt{ending}", "Go.\tVa !\r\n\r\nRun!\tCours\u202f!\tCC-BY\n")
    assert readers.read_pairs(file) == [("Go.", "Va !"), ("Run!", "Cours\u202f!")]


@pytest.mark.parametrize("names", ["{}.txt", "ptb.{}.txt", "wiki.{}.tokens", "{}.txt.gz"])
def test_a_corpus_is_three_files_of_one_set(tmp_path: Path, names: str) -> None:
    for part in ("train", "valid", "test"):
        write(tmp_path / names.format(part), f" {part} \n")
    if names.startswith("ptb"):
        write(tmp_path / "test.txt", "of something else")
    assert readers.read_corpus(tmp_path) == (" train \n", " valid \n", " test \n")
    if not names.endswith(".gz"):
        archive = write_zip(tmp_path / "c.zip", {f"data/{names.format(p)}": p for p in ("train", "valid", "test")})
        assert readers.read_corpus(archive) == ("train", "valid", "test")
    (tmp_path / names.format("valid")).unlink()
    with pytest.raises(FileNotFoundError, match=r"valid.*Penn Treebank in Mikolov's preparation, simple-examples\.tgz"):
        readers.read_corpus(tmp_path)


def test_a_text_is_cut_at_lines_or_words_and_nothing_is_lost(tmp_path: Path) -> None:
    lines = "".join(f"line {i}\n" for i in range(100))
    corpus = readers.read_text(write(tmp_path / "lines.txt", lines), (0.8, 0.1, 0.1))
    assert "".join(part or "" for part in corpus) == lines
    assert corpus.valid is not None
    assert corpus.valid.startswith("line 8")
    assert 0.79 < len(corpus.train) / len(lines) < 0.82
    words = "word " * 100
    corpus = readers.read_text(write(tmp_path / "words.txt", words))
    assert (corpus.train + (corpus.valid or ""), corpus.test) == (words, None)
    assert corpus.train.endswith(" ")
    assert readers.read_text(write(tmp_path / "one.txt", "x" * 100)).valid == "x" * 5
    with pytest.raises(ValueError, match="has 1 characters, too few"):
        readers.read_text(write(tmp_path / "tiny.txt", "x"))
    with pytest.raises(ValueError, match="sum to 1"):
        readers.read_text(tmp_path / "one.txt", (0.5, 0.2, 0.2))


def test_a_text_gives_each_part_a_share_of_every_piece(tmp_path: Path) -> None:
    lines = [f"line {i:03}\n" for i in range(100)]
    file = write(tmp_path / "lines.txt", "".join(lines))
    corpus = readers.read_text(file, (0.5, 0.3, 0.2), pieces=10)
    assert corpus.train == "".join(lines[i] for i in range(100) if i % 10 < 5)
    assert corpus.valid == "".join(lines[i] for i in range(100) if 5 <= i % 10 < 8)
    assert corpus.test == "".join(lines[i] for i in range(100) if i % 10 >= 8)
    assert readers.read_text(file, (0.9, 0.1, 0.0), pieces=1) == readers.read_text(file, (0.9, 0.1, 0.0))
    with pytest.raises(ValueError, match="too few for parts of"):
        readers.read_text(file, (0.9, 0.1, 0.0), pieces=300)  # more than there are lines
    with pytest.raises(ValueError, match="pieces must be at least 1, got 0"):
        readers.read_text(file, pieces=0)


def test_conll2000_from_a_folder_and_from_a_zip(tmp_path: Path) -> None:
    expected = [(["the", "cat"], ["DT", "NN"], ["B-NP", "I-NP"]), (["sat"], ["VBD"], ["B-VP"])]
    archive = write_zip(tmp_path / "c.zip", {f"conll2000/{part}.txt": SENTENCES for part in ("train", "test")})
    for part in ("train", "test"):
        write(tmp_path / f"{part}.txt", SENTENCES)
    for source in (tmp_path, archive):
        assert readers.read_conll2000(source) == (expected, expected)
    assert readers.read_conll2000(archive).train[0].chunks == ["B-NP", "I-NP"]
    assert readers.read_columns(tmp_path / "train.txt", 3) == expected
    file = write(tmp_path / "tabs.txt", "New York\tNE\n10\xa0000\tNUM")
    assert readers.read_columns(file, 2, "\t") == [(["New York", "10\xa0000"], ["NE", "NUM"])]
    assert readers.read_columns(write(tmp_path / "b.txt", "10\xa0000  NUM\n")) == [(["10\xa0000"], ["NUM"])]


def test_sentence_polarity_is_latin_1_with_a_sentence_a_line(tmp_path: Path) -> None:
    members: dict[str, str | bytes] = {
        "p/rt-polarity.pos": b"caf\xe9 \x85 good \nfine\n",
        "p/rt-polarity.neg": b"bad\n",
    }
    expected = [("caf\xe9 \x85 good", 1), ("fine", 1), ("bad", 0)]
    assert readers.read_polarity(write_zip(tmp_path / "p.zip", members)) == expected
    train, valid = split(expected, (2 / 3, 1 / 3), seed=1)
    assert sorted(train + valid) == sorted(expected)


def test_piano_rolls(tmp_path: Path) -> None:
    rolls = [np.eye(5 + i, 88, dtype=np.uint8) for i in range(3)]

    def pieces(arrays: list[np.ndarray]) -> np.ndarray:
        row = np.empty((1, len(arrays)), dtype=object)
        row[0, :] = arrays
        return row

    def save(name: str, do_compression: bool = False, **parts: Any) -> Path:
        savemat(tmp_path / name, parts, do_compression=do_compression)
        return tmp_path / name

    good = {f"{part}data": pieces(rolls) for part in ("train", "valid", "test")}
    found = readers.read_piano_rolls(save("good.mat", **good))
    assert [len(part) for part in found] == [3, 3, 3]
    assert all(np.array_equal(roll, read) for roll, read in zip(rolls, found.test, strict=True))
    assert found.train[0].dtype == np.uint8
    for bad, message in [
        (np.eye(5, 87), r"piece 1: expected \(T, 88\) of 0 and 1, got .* \(5, 87\)"),
        (2 * np.eye(5, 88), "piece 1: expected 0 and 1, got 2"),
    ]:
        with pytest.raises(ValueError, match=f"validdata, {message}"):
            readers.read_piano_rolls(save("bad.mat", **{**good, "validdata": pieces([rolls[0], bad])}))
    found = readers.read_piano_rolls(save("packed.mat", **good, do_compression=True, other="text", more={"a": 1.0}))
    assert np.array_equal(found.valid[2], rolls[2])
    found = readers.read_piano_rolls(save("doubles.mat", **{**good, "testdata": pieces([np.eye(3, 88)])}))
    assert np.array_equal(found.test[0], np.eye(3, 88))
    for other in ("text", {"a": 1.0}, pieces(["text"]), np.eye(3, 88) * 1j):
        with pytest.raises(ValueError, match="expected arrays of real numbers or a cell of them, got MATLAB's class"):
            readers.read_piano_rolls(save("bad.mat", **{**good, "validdata": other}))
    with pytest.raises(ValueError, match=r"version is 7\.3; save it with -v7"):
        readers.read_piano_rolls(write(tmp_path / "new.mat", b"MATLAB 7.3 MAT-file" + b" " * 200))
    with pytest.raises(ValueError, match="has no testdata; expected traindata"):
        readers.read_piano_rolls(save("two.mat", traindata=good["traindata"], validdata=good["validdata"]))
    whole = (tmp_path / "good.mat").read_bytes()
    for content in (whole[:-100], b"x" * 300):
        with pytest.raises(ValueError, match=r"broken\.mat cannot be read as a \.mat file: it "):
            readers.read_piano_rolls(write(tmp_path / "broken.mat", content))


def idx(array: np.ndarray, kind: int = 8) -> bytes:
    shape = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes([0, 0, kind, array.ndim]) + shape + array.tobytes()


@pytest.mark.parametrize("names", ["{}-{}-idx{}-ubyte.gz", "{}-{}.idx{}-ubyte", "{}-{}-idx{}-ubyte"])
def test_mnist(tmp_path: Path, names: str) -> None:
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([7, 1], np.uint8)
    for part in ("train", "t10k"):
        write(tmp_path / names.format(part, "images", 3), idx(images))
        write(tmp_path / names.format(part, "labels", 1), idx(labels))
    mnist = readers.read_mnist(tmp_path)
    assert np.array_equal(mnist.test_images, images)
    assert np.array_equal(mnist.train_labels, labels)
    assert mnist.train_images.flags.writeable
    write(tmp_path / names.format("t10k", "labels", 1), idx(labels[:1]))
    with pytest.raises(ValueError, match=r"t10k: expected images \(N, H, W\) and labels \(N,\), got .*\(1,\)"):
        readers.read_mnist(tmp_path)


def test_idx_files_that_are_not_what_they_say(tmp_path: Path) -> None:
    numbers = np.array([[1.5, -2.0]], ">f4")
    read = readers.read_idx(write(tmp_path / "numbers", idx(numbers, 0x0D)))
    assert np.array_equal(read, numbers)
    assert read.dtype == np.float32
    for content, message in [
        (idx(numbers, 0x0D)[:-1], r"\(1, 2\) of >f4 needs a file of 20 bytes, got 19"),
        (idx(numbers, 0x0D) + b"x", "20 bytes, got 21"),
        (b"\0\0\x08\x03" + b"\xff" * 12, r"4294967295\) of uint8 needs a file of 79228162\d* bytes, got 16"),
        (b"\0\0\x08\x03\xff", "bytes, got 5"),
        (b"\0\0\x08\0\0", "got 5"),
        (b"\0\0\x07\x01\0\0\0\0", "magic number of an idx file, such as 00 00 08 03, got 00 00 07 01"),
        (b"\0\0", "magic number"),
        (gzip.compress(idx(numbers, 0x0D), mtime=0), r"got 1f 8b .*should end in \.gz"),
    ]:
        with pytest.raises(ValueError, match=message):
            readers.read_idx(write(tmp_path / "bad", content))


def test_a_table_has_numbers_dates_and_text(tmp_path: Path) -> None:
    file = write(tmp_path / "t.csv", '"Month","Sold", where,id\r\n"1949-01",112,"a, b",7\r\n\r\n"1949-02",1e2,b,x\r\n')
    table = readers.read_table(file, text=["id"])
    assert table.names == ["Month", "Sold", "where", "id"]
    assert len(table) == 2
    assert table["Month"].tolist() == np.array(["1949-01", "1949-02"], "datetime64[M]").tolist()
    assert table.numbers().tolist() == [[112.0], [100.0]]
    assert table["where"].tolist() == ["a, b", "b"]
    assert table["id"].tolist() == ["7", "x"]
    with pytest.raises(ValueError, match="no column 'price', only 'Month', 'Sold', 'where', 'id'"):
        table["price"]
    with pytest.raises(ValueError, match="expected columns of numbers, got 'where'"):
        table.numbers(["Sold", "where"])
    gaps = write(tmp_path / "gaps.csv", "d,x\n2016-07-01 00:00:00,1\nNA,\n2016-07-01 02:00:00,nan\n")
    table = readers.read_table(gaps, allow_missing=True)
    assert np.isnat(table["d"]).tolist() == [False, True, False]
    assert np.isnan(table["x"]).tolist() == [False, True, True]
    bare = readers.read_table(write(tmp_path / "bare.csv", "1;2\n3;4\n"), delimiter=";", header=False)
    assert bare.numbers(["1", "0"]).tolist() == [[2, 1], [4, 3]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n3\n", r"line 3: expected 2 columns, got 1: \['3'\]"),
        ("a,b\n1,2\n3,4,5\n", "line 3: expected 2 columns, got 3"),
        ("a,b\n1,2\n3,x\n", "line 3, column 'b': expected a number, got 'x'; text="),
        ("a,b\n1,?\n3,4\n", "line 2, column 'b': expected a number, got '?'"),
        ("a,b\n1,2\n3,\n", "line 3, column 'b': expected a number, got ''; allow_missing=True"),
        ("a,b\n1,2\n3,inf\n", "line 3, column 'b': expected a number, got 'inf'"),
        ("a,b\n1,2\n3,1_000\n", "line 3, column 'b': expected a number, got '1_000'"),
        ("d\n2016-07-01\n2016-13-01\n", "line 3, column 'd': expected a date, .* got '2016-13-01'"),
        ("1,2\n3,4\n", "line 1: expected column names, got numbers; pass header=False"),
        ("a,a\n3,4\n", "line 1: two columns are named 'a'"),
        ("a,b\n", "column names but no rows"),
        ('a,b\n1,"2\n', "line 2: not CSV"),
        ("a,b\n1,2\n3,\xe9", "line 3: the byte 0xe9 is not utf-8; expected .*latin-1"),
    ],
)
def test_a_row_that_is_wrong_is_named(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "bad.csv"
    file.write_bytes(content.encode("latin-1"))
    with pytest.raises(ValueError, match=message.replace("?'", r"\?'")) as error:
        readers.read_table(file)
    assert "bad.csv" in str(error.value)


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (readers.read_pairs, "a\tb\nc d\n", "line 2: expected two sentences with a tab between them, got 'c d'"),
        (readers.read_pairs, "a\tb\n\tc\n", "line 2: expected two sentences with a tab"),
        (readers.read_columns, "the DT\ncat\n", "line 2: expected 2 columns, a word and its tags, got 1: 'cat'"),
        (readers.read_columns, "the DT\n\ncat NN x\n", "line 3: expected 2 columns, .* got 3"),
        (readers.read_text, b"good\n\xff\xfe bad", "line 2: the byte 0xff is not utf-8"),
        (readers.read_text, "text".encode("utf-16"), 'line 1: .*the file is UTF-16; give encoding="utf-16"'),
        (readers.read_text, gzip.compress(b"text", mtime=0), r"compressed with gzip, so its name should end in \.gz"),
    ],
)
def test_a_line_that_is_wrong_is_named(tmp_path: Path, read: Any, content: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read(write(tmp_path / "bad.txt", content))
    assert "bad.txt" in str(error.value)


SOURCES = [
    (readers.read_text, "tinyshakespeare"),
    (readers.read_pairs, "Tatoeba"),
    (readers.read_columns, "CoNLL-2000"),
    (readers.read_idx, "MNIST"),
    (readers.read_piano_rolls, r"Nottingham\.mat"),
    (readers.read_table, r"ETTh1\.csv"),
]
FOLDERS = [
    (readers.read_corpus, "Penn Treebank", "train.txt"),
    (readers.read_conll2000, "CoNLL-2000", "train.txt"),
    (readers.read_polarity, "rt-polarity", "rt-polarity.pos"),
    (readers.read_mnist, "MNIST", "train-images-idx3-ubyte"),
]


@pytest.mark.parametrize(("read", "where"), SOURCES)
def test_missing_empty_and_damaged_files_are_errors(tmp_path: Path, read: Any, where: str) -> None:
    with pytest.raises(FileNotFoundError, match=rf"absent\.x\. .*{where}"):
        read(tmp_path / "absent.x")
    with pytest.raises(ValueError, match="is a folder, expected a file"):
        read(tmp_path)
    for empty in ("", " \n\n"):
        with pytest.raises(ValueError, match=r"empty\.x is empty"):
            read(write(tmp_path / "empty.x", empty))
    noise = np.random.default_rng(0).bytes(5000)
    for ending in _PACK:
        file = tmp_path / f"short{ending}"
        file.write_bytes(write(tmp_path / f"whole{ending}", noise).read_bytes()[:-200])
        with pytest.raises(ValueError, match=rf"short\{ending} is truncated or damaged"):
            read(file)
    file = tmp_path / "short.zip"
    file.write_bytes(write(tmp_path / "whole.zip", noise).read_bytes()[:-200])
    with pytest.raises(ValueError, match=r"short\.zip is not a zip archive, or it is truncated"):
        read(file)
    content = bytearray(write(tmp_path / "whole.zip", noise).read_bytes())
    content[500] ^= 1
    (tmp_path / "flipped.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"flipped\.zip, folder/whole: cannot be unpacked"):
        read(tmp_path / "flipped.zip")
    with pytest.raises(ValueError, match=r"must contain exactly one file, but contains a, b; unpack it"):
        read(write_zip(tmp_path / "two.zip", {"a": "1", "b": "2"}))


@pytest.mark.parametrize(("read", "where", "name"), FOLDERS)
def test_a_folder_or_zip_without_its_files_says_where_they_are(
    tmp_path: Path, read: Any, where: str, name: str
) -> None:
    for source in (tmp_path / "absent", tmp_path, write_zip(tmp_path / "other.zip", {"a": "1"})):
        with pytest.raises(FileNotFoundError, match=where):
            read(source)
    with pytest.raises(ValueError, match=r"neither a folder nor a \.zip"):
        read(write(tmp_path / "file", "x"))
    with pytest.raises(ValueError, match=f"x/{name} is empty"):
        read(write_zip(tmp_path / "empty.zip", {f"x/{name}": ""}))
    with pytest.raises(ValueError, match="has 2 files"):
        read(write_zip(tmp_path / "twice.zip", {f"x/{name}": "1", f"y/{name}": "1"}))


def test_a_small_file_that_unpacks_to_very_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastrnn.word2vec.files.compression.UNPACKED_BYTES", 1 << 16)
    monkeypatch.setattr("fastrnn.train.data.readers.files.UNPACKED_BYTES", 1 << 16)
    for ending in (*_PACK, ".zip"):
        with pytest.raises(ValueError, match="unpacks to"):
            readers.read_text(write(tmp_path / f"zeros{ending}", b"a" * (1 << 22)))


def test_an_unknown_encoding_is_an_error(tmp_path: Path) -> None:
    file = write(tmp_path / "a.txt", b"\xef\xbb\xbfwith a mark \n and more text, so that there are two parts")
    assert readers.read_text(file).train.startswith("with a mark")
    with pytest.raises(ValueError, match='such as "utf-8" or "latin-1", got \'utf8000\''):
        readers.read_text(file, encoding="utf8000")


@pytest.mark.filterwarnings("ignore")  # of the library
def test_data_sets_of_hugging_face(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"text": ["a b", "c"], "label": [1, 0], "id": [5, 6]})
    expected = [("a b", 1), ("c", 0)]
    both = datasets.DatasetDict({"train": rows, "test": rows})
    assert readers.read_dataset(rows, ["text", "label"]) == expected
    assert readers.read_dataset(both, ["text", "label"], "test") == expected
    both.save_to_disk(tmp_path / "saved")
    assert readers.read_dataset(tmp_path / "saved", ["text", "label"], "train") == expected
    with pytest.raises(ValueError, match="pass split=, one of 'train', 'test'"):
        readers.read_dataset(both, ["text"])
    with pytest.raises(ValueError, match="no split 'valid', only 'train', 'test'"):
        readers.read_dataset(both, ["text"], "valid")
    with pytest.raises(ValueError, match=r"names out of 'text', 'label', 'id'; got \['words'\]"):
        readers.read_dataset(rows, ["words"])
    with pytest.raises(ValueError, match="empty"):
        readers.read_dataset(rows.select([]), ["text"])
    with pytest.raises(FileNotFoundError, match="save_to_disk"):
        readers.read_dataset(tmp_path / "absent", ["text"])
    with pytest.raises(TypeError, match="expected a Dataset"):
        readers.read_dataset([1, 2], ["text"])


def test_a_split_takes_each_item_once() -> None:
    parts = split(range(100), (0.8, 0.1, 0.1), seed=3)
    assert [len(part) for part in parts] == [80, 10, 10]
    assert sorted(item for part in parts for item in part) == list(range(100))
    assert parts == split(range(100), (0.8, 0.1, 0.1), seed=3)
    assert parts != split(range(100), (0.8, 0.1, 0.1), seed=4)
    assert split("abcd", (0.5, 0.5), seed=None) == [["a", "b"], ["c", "d"]]
    with pytest.raises(ValueError, match="sum to 1"):
        split(range(10), (0.8, 0.1))
    with pytest.raises(ValueError, match="2 items are too few"):
        split(range(2), (0.9, 0.1))


def valid_files(folder: Path) -> dict[str, tuple[Any, bytes]]:
    """A small file of each binary format, and what reads it."""
    folder.mkdir()
    roll = np.empty((1, 1), dtype=object)
    roll[0, 0] = np.eye(3, 88, dtype=np.uint8)
    parts = {f"{part}data": roll for part in ("train", "valid", "test")}
    savemat(folder / "rolls.mat", parts)
    savemat(folder / "packed.mat", parts, do_compression=True)
    return {
        "numbers.idx": (readers.read_idx, idx(np.arange(6, dtype=np.uint8).reshape(2, 3))),
        "pairs.gz": (readers.read_pairs, gzip.compress(b"a\tb\n" * 20)),
        "pairs.bz2": (readers.read_pairs, bz2.compress(b"a\tb\n" * 20)),
        "pairs.xz": (readers.read_pairs, lzma.compress(b"a\tb\n" * 20)),
        "pairs.zip": (readers.read_pairs, write(folder / "pairs.zip", "a\tb\n" * 20).read_bytes()),
        "c.zip": (
            readers.read_conll2000,
            write_zip(folder / "c.zip", {"train.txt": "a b c", "test.txt": "a b c"}).read_bytes(),
        ),
        "table.csv": (readers.read_table, b"a,b\n1,2016-07-01\n2,2016-07-02\n"),
        "columns.txt": (readers.read_columns, b"the DT\ncat NN\n"),
        "rolls.mat": (readers.read_piano_rolls, (folder / "rolls.mat").read_bytes()),
        "packed.mat": (readers.read_piano_rolls, (folder / "packed.mat").read_bytes()),
    }


def test_a_damaged_file_is_an_error_or_what_it_says(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, (read, whole) in valid_files(tmp_path / "valid").items():
        for _ in range(60):
            content = bytearray(whole)
            for at in random.integers(0, len(content), 1 + random.integers(3)):
                content[at] = random.integers(256)
            (tmp_path / name).write_bytes(content[: random.integers(1, 2 * len(content))])
            with contextlib.suppress(ValueError, FileNotFoundError):  # the latter: the name of a zip's member
                read(tmp_path / name)
