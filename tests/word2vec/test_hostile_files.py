"""Files that no saver wrote: every loader returns the right object, or raises ValueError or OSError."""

import bz2
import gzip
import json
import lzma
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from fastrnn.word2vec import FrozenPhrases, LineSentence, Phrases, Word2Vec, WordVectors
from fastrnn.word2vec.corpus import text_blocks
from fastrnn.word2vec.files import compression

SENTENCES = [f"graph trees minors w{i % 7} w{i % 3}".split() for i in range(50)]
OPTIONS = {"vector_size": 16, "min_count": 1, "seed": 1, "epochs": 1, "hs": 1}


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    file = tmp_path_factory.mktemp("saved") / "model.npz"
    Word2Vec(SENTENCES, **OPTIONS).save(file)
    return file


def parts(file):
    with np.load(file) as arrays:
        return dict(arrays)


def as_bytes(value):
    return np.frombuffer(value if isinstance(value, bytes) else json.dumps(value).encode(), np.uint8)


def settings(file, **changed):
    found = json.loads(parts(file)["settings"].tobytes())
    found["model"] |= changed
    return found


def refused(file, changed, message):
    np.savez(file, **{name: array for name, array in changed.items() if array is not None})
    with pytest.raises(ValueError, match=message) as raised:
        Word2Vec.load(file)
    assert str(file) in str(raised.value)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("syn1neg", lambda a: a[:1], r"syn1neg must have shape \[10, 16\], got \[1, 16\]"),
        ("syn1neg", lambda a: a[:, :8], r"syn1neg must have shape \[10, 16\], got \[10, 8\]"),
        ("syn1neg", lambda a: a.astype(np.float64), "syn1neg must be float32 in C order, got float64"),
        ("syn1neg", lambda a: a.astype(">f4"), "syn1neg must be float32 in C order, got >f4"),
        ("syn1neg", lambda a: np.asfortranarray(a), "syn1neg must be float32 in C order, got float32 in Fortran order"),
        ("syn1neg", lambda _: None, "syn1neg is missing"),
        ("syn1", lambda a: a[1:], r"syn1 must have shape \[9, 16\], got \[8, 16\]"),
        ("syn1", lambda _: None, "syn1 is missing"),
        ("syn0", lambda a: a.ravel(), r"syn0 must have shape \[10, 16\], got \[160\]"),
        ("syn0", lambda _: None, "syn0 is missing"),
        ("counts", lambda a: a[1:], r"counts must have shape \[10\], got \[9\]"),
        ("counts", lambda a: a.astype(np.int32), "counts must be int64 in C order, got int32"),
        ("counts", lambda a: -a, "counts of 0 or more"),
        ("losses", lambda a: a.astype(np.int64), "losses must be float64 in C order, got int64"),
        ("pairs", lambda a: np.append(a, a), r"pairs must have shape \[1\], got \[2\]"),
        ("keys", lambda _: as_bytes(["a"] * 10), "keys must not contain a string twice"),
        ("keys", lambda _: as_bytes([1] * 10), "keys must be a list of strings"),
        ("keys", lambda _: as_bytes(b"[" * 200_000), "nested too deep"),
        ("keys", lambda _: as_bytes([]), r"counts must have shape \[0\]"),
        ("settings", lambda _: as_bytes(b"{"), "Expecting"),
        ("settings", lambda _: as_bytes(b"[1]"), "settings must be a JSON object, got list"),
        ("vectors_lockf", lambda _: np.ones(7, np.float32), "vectors_lockf must have shape"),
        ("running_training_loss", lambda _: np.ones(2), r"running_training_loss must have shape \[1\]"),
        ("code", lambda _: np.zeros(3), "'code' is unknown"),
    ],
)
def test_models_whose_parts_do_not_fit(saved, tmp_path, name, change, message):
    arrays = parts(saved)
    refused(tmp_path / "x.npz", arrays | {name: change(arrays.get(name))}, message)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"corpus_file": "/etc/passwd"}, "settings: 'corpus_file' is unknown"),
        ({"sentences": [["a", "b"]]}, "settings: 'sentences' is unknown"),
        ({"workers": 3}, "settings: 'workers' is unknown"),
        ({"callbacks": []}, "settings: 'callbacks' is unknown"),
        ({"deterministic": 1}, "deterministic must be true or false"),
        ({"window": 2**40}, "window must be from 1"),
        ({"window": "5"}, "window must be a whole number"),
        ({"window": True, "alpha": None}, "alpha must be a number"),
        ({"ns_exponent": float("nan")}, "ns_exponent must be from -10 to 10"),
        ({"vector_size": 8}, r"must have shape \[\d+, 8\]"),
        ({"negative": 0, "hs": 0}, "would train nothing"),
    ],
)
def test_models_with_other_settings(saved, tmp_path, changed, message):
    refused(tmp_path / "x.npz", parts(saved) | {"settings": as_bytes(settings(saved, **changed))}, message)


def test_models_with_other_facts(saved, tmp_path):
    for change, message in [
        (lambda s: s.update(format="fastrnn.word2vec 9"), "its format is 'fastrnn.word2vec 9'"),
        (lambda s: s.update(more=1), "settings: 'more' is unknown"),
        (lambda s: s["model"].pop("window"), "settings: 'window' is missing"),
        (lambda s: s.update(attributes={"count": [1] * 10}), "attributes must be a JSON object without 'count'"),
        (lambda s: s.update(attributes=[1]), "attributes must be a JSON object"),
        (lambda s: s.update(attributes={"x": [1]}), "Expected 10 values of 'x'"),
        (lambda s: s["totals"].update(more=1), "totals: 'more' is unknown"),
        (lambda s: s["totals"].update(total_words=-1), "total_words must be a whole number"),
        (lambda s: s["totals"].update(sentences=1.5), "sentences must be a whole number"),
        (lambda s: s["totals"].update(sentences=2**63), "sentences must be a whole number"),
    ]:
        found = settings(saved)
        change(found)
        refused(tmp_path / "x.npz", parts(saved) | {"settings": as_bytes(found)}, message)


def test_a_model_that_would_unpack_to_any_size(saved, tmp_path):
    np.savez_compressed(tmp_path / "x.npz", **parts(saved))
    with pytest.raises(ValueError, match="compressed; saved files never are"):
        Word2Vec.load(tmp_path / "x.npz")


def test_a_model_whose_header_announces_more_than_there_is(saved, tmp_path):
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "x.npz", "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename == "syn0.npy":
                data = data.replace(b"(10, 16), }", b"(99, 16), }")
            new.writestr(member.filename, data)
    with pytest.raises(ValueError, match=r"syn0 has 640 bytes, but its shape \(99, 16\) needs 6336"):
        Word2Vec.load(tmp_path / "x.npz")


def test_models_with_a_byte_changed(saved, tmp_path):
    """The checksums of the archive find what the checks do not."""
    whole, draw, same = saved.read_bytes(), np.random.default_rng(0), 0
    expected = Word2Vec.load(saved)
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[draw.integers(len(whole))] = draw.integers(256)
        (tmp_path / "x.npz").write_bytes(damaged)
        try:
            model = Word2Vec.load(tmp_path / "x.npz")
        except (ValueError, OSError):
            continue
        same += 1
        assert np.array_equal(model.wv.vectors, expected.wv.vectors)
        assert model.wv.index_to_key == expected.wv.index_to_key
        assert model.settings == expected.settings
    assert same < 100


def test_models_cut_short(saved, tmp_path):
    whole = saved.read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "x.npz").write_bytes(whole[:length])
        with pytest.raises(ValueError, match="or is damaged"):
            Word2Vec.load(tmp_path / "x.npz")


PACKERS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "\n".join(" ".join(sentence) for sentence in [*SENTENCES, []]).encode() * 50
LOADERS = {
    "vectors": lambda file: WordVectors.load_word2vec_format(file),
    "glove": lambda file: WordVectors.load_word2vec_format(file, no_header=True),
    "any": lambda file: WordVectors.read(file),
    "corpus": lambda file: Word2Vec(corpus_file=file, **OPTIONS),
    "lines": lambda file: list(LineSentence(file)),
    "phrases": lambda file: Phrases(corpus_file=file),
    "saved phrases": lambda file: Phrases.load(file),
    "frozen phrases": lambda file: FrozenPhrases.load(file),
    "counts": lambda file: WordVectors.load_word2vec_format(file.with_name("vectors"), fvocab=file),
    "pairs": lambda file: WordVectors(["a"], np.ones((1, 2))).evaluate_word_pairs(file),
}


@pytest.mark.parametrize("suffix", list(PACKERS))
@pytest.mark.parametrize("loader", list(LOADERS))
def test_damaged_compressed_files(tmp_path, loader, suffix):
    (tmp_path / "vectors").write_text("1 2\na 1 2\n")
    body = np.random.default_rng(0).integers(97, 123, 100_000, dtype=np.uint8).tobytes()
    packed = PACKERS[suffix](b"1000 1\n" + body.replace(b"z", b"\n"))
    cut, flipped = packed[: len(packed) // 2], bytearray(packed)
    flipped[len(packed) // 2] ^= 0xFF
    for damaged in (cut, bytes(flipped), b"this is none"):
        file = tmp_path / f"file{suffix}"
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"file{suffix}") as raised:
            LOADERS[loader](file)
        if damaged == b"this is none":
            assert "truncated or damaged" in str(raised.value)


@pytest.mark.parametrize("suffix", list(PACKERS))
@pytest.mark.parametrize("loader", ["corpus", "lines", "phrases", "saved phrases", "vectors", "glove"])
def test_a_decompression_bomb_stops(tmp_path, monkeypatch, loader, suffix):
    monkeypatch.setattr(compression, "UNPACKED_BYTES", 1 << 20)
    beginning = {"vectors": b"200000 1\n", "saved phrases": b'{"format": "'}.get(loader, b"")
    row = {"vectors": b"a 1\n", "glove": b"a 1\n"}.get(loader, b"a b\n")
    (tmp_path / f"file{suffix}").write_bytes(PACKERS[suffix](beginning + row * (1 << 19)))
    with pytest.raises(ValueError, match="unpacks to more than"):
        LOADERS[loader](tmp_path / f"file{suffix}")


def test_what_packs_well_is_no_bomb(tmp_path):
    (tmp_path / "file.gz").write_bytes(gzip.compress(TEXT))
    assert len(list(LineSentence(tmp_path / "file.gz"))) == TEXT.count(b"\n")
    assert len(Word2Vec(corpus_file=tmp_path / "file.gz", **OPTIONS).wv) == 10


@pytest.mark.parametrize(
    ("beginning", "what"),
    [
        (b"\xba\x16\x4f\x2f\x0c\0\0\0", "fastText model"),
        (b"PK\x03\x04", "zip archive; if Word2Vec.save wrote it, read it with Word2Vec.load"),
        (b"\x80\x04\x95", "pickle, which could run code"),
        (gzip.compress(b"1 2\na 1 2\n", mtime=0), "gzip data; rename the file to end in .gz"),
        (bz2.compress(b"1 2\na 1 2\n"), "bzip2 data; rename the file to end in .bz2"),
        (lzma.compress(b"1 2\na 1 2\n"), "xz data; rename the file to end in .xz"),
    ],
    ids=["fastText", "zip", "pickle", "gzip", "bzip2", "xz"],
)
def test_files_of_other_kinds(tmp_path, beginning, what):
    file = tmp_path / "v.bin"
    file.write_bytes(beginning + bytes(1000))
    for load in (
        lambda: WordVectors.load_word2vec_format(file),
        lambda: WordVectors.load_word2vec_format(file, binary=True),
        lambda: WordVectors.load_word2vec_format(file, no_header=True),
        lambda: WordVectors.read(file),
    ):
        with pytest.raises(ValueError, match=f"v.bin: not a word2vec text or binary file, but (a )?{what}"):
            load()


@pytest.mark.parametrize("header", [b"nan 2", b"1 nan", b"-1 2", b"1e3 2", b"9223372036854775808 2", b"9" * 5000])
def test_headers_that_are_no_numbers(tmp_path, header):
    (tmp_path / "v").write_bytes(header + b"\na 1 2\n")
    for binary in (False, True):
        with pytest.raises(ValueError, match="line 1: expected a header 'rows size'"):
            WordVectors.load_word2vec_format(tmp_path / "v", binary=binary)
    with pytest.raises(ValueError, match=r"v, line [12]"):
        WordVectors.read(tmp_path / "v")


def test_numbers_out_of_range(tmp_path):
    (tmp_path / "v").write_text("1 2\na 1 2\n")
    for limit in (-1, -(10**30)):
        with pytest.raises(ValueError, match="limit must be 0 or more, or None for all rows; got -1"):
            WordVectors.load_word2vec_format(tmp_path / "v", limit=limit)
        with pytest.raises(ValueError, match="limit must be 0 or more"):
            WordVectors.read(tmp_path / "v", limit=limit)
    assert len(WordVectors.load_word2vec_format(tmp_path / "v", limit=0)) == 0
    for count in ("9223372036854775808", "-1", "1.5", "nan", "9" * 5000, "²"):
        (tmp_path / "counts").write_text(f"a {count}\n", encoding="utf-8")
        with pytest.raises(ValueError, match="counts, line 1: expected a key and its count"):
            WordVectors.load_word2vec_format(tmp_path / "v", fvocab=tmp_path / "counts")


def native(tmp_path, header=None, keys=None):
    file = tmp_path / "own"
    WordVectors(["a", "b"], np.ones((2, 3), np.float32), [1, 2]).save(file)
    whole = file.read_bytes()
    found = json.loads(whole[len(b"fastrnn word vectors 1\n") : 256])
    numbers, names = whole[256 : -found["keys"]], whole[-found["keys"] :] if keys is None else keys
    found = found | {"keys": len(names)} | (header or {})
    text = b"fastrnn word vectors 1\n" + json.dumps(found).encode()
    file.write_bytes(text.ljust(255) + b"\n" + numbers + names)
    return file


@pytest.mark.parametrize(
    "changed",
    [
        {"header": {"rows": float("nan")}},
        {"header": {"counts": float("nan")}},
        {"header": {"counts": 1}},
        {"header": {"rows": 2**63}},
        {"header": {"rows": True}},
        {"header": {"more": 1}},
        {"keys": b'["a", "a"]'},
        {"keys": b'["a", true]'},
        {"keys": b'["a"]'},
        {"keys": b"[" * 100_000},
        {"keys": b'{"keys": ["a", "b"]}'},
        {"keys": b'{"keys": ["a", "b"], "attributes": {}, "more": 1}'},
        {"keys": b'{"keys": ["a", "b"], "attributes": {"count": [1, 2]}}'},
        {"keys": b'{"keys": ["a", "b"], "attributes": {"x": [1]}}'},
    ],
)
def test_vectors_that_save_did_not_write(tmp_path, changed):
    assert len(WordVectors.load(native(tmp_path))) == 2
    for mmap in (False, True):
        with pytest.raises(ValueError, match="own: "):
            WordVectors.load(native(tmp_path, **changed), mmap=mmap)


@pytest.mark.parametrize("kind", [Phrases, FrozenPhrases])
def test_phrases_that_save_did_not_write(tmp_path, kind):
    phrases = Phrases(SENTENCES, min_count=1, threshold=0.1)
    file, secret = tmp_path / "phrases", tmp_path / "secret"
    secret.write_text("new york is new york\n" * 9)
    (phrases if kind is Phrases else phrases.freeze()).save(file)
    whole = json.loads(file.read_bytes())
    assert len(kind.load(file)) > 0
    changes = [
        lambda s: s["options"].update(corpus_file=str(secret)),
        lambda s: s["options"].update(sentences=[["a", "b"]]),
        lambda s: s["options"].pop("delimiter"),
        lambda s: s["options"].update(delimiter=""),
        lambda s: s["options"].update(threshold=float("nan")),
        lambda s: s["options"].update(threshold="10"),
        lambda s: s["options"].update(connector_words="of"),
        lambda s: s.update(more=1),
        lambda s: s.update(format="another"),
    ]
    if kind is Phrases:
        changes += [
            lambda s: s.update(counts=s["counts"][1:]),
            lambda s: s["counts"].__setitem__(0, -1),
            lambda s: s["counts"].__setitem__(0, 2**63),
            lambda s: s["counts"].__setitem__(0, 1.5),
            lambda s: s["words"].__setitem__(0, s["words"][1]),
            lambda s: s["words"].__setitem__(0, 1),
            lambda s: s.update(total_words=-1),
            lambda s: s.update(least=None),
        ]
    else:
        changes += [lambda s: s.update(phrasegrams=["a_b"]), lambda s: s["phrasegrams"].update(a_b=float("inf"))]
    for change in changes:
        damaged = json.loads(json.dumps(whole))
        change(damaged)
        file.write_text(json.dumps(damaged))
        with pytest.raises(ValueError, match=r"phrases is not a file of 'fastrnn (frozen )?phrases 1', or is damaged"):
            kind.load(file)
    for text in (b"[" * 100_000, b"[1]", b"", b"\xff"):
        file.write_bytes(text)
        with pytest.raises(ValueError, match=r"phrases is not a file of 'fastrnn (frozen )?phrases 1', or is damaged"):
            kind.load(file)


def test_a_corpus_that_is_cut_short_while_it_is_read(tmp_path, monkeypatch):
    """It was mapped into memory once, and this ended the process by SIGBUS."""
    monkeypatch.setattr(text_blocks.blocks, "__defaults__", (1 << 16, 1 << 12))
    file = tmp_path / "corpus"
    file.write_bytes(TEXT * 10)
    whole = file.stat().st_size
    blocks = text_blocks.blocks(file)
    next(blocks)
    with open(file, "rb+") as out:
        out.truncate(1 << 17)
    with pytest.raises(ValueError, match=rf"corpus was truncated from {whole} to \d+ bytes while it was read"):
        list(blocks)


def test_a_corpus_that_grows_while_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(text_blocks.blocks, "__defaults__", (1 << 16, 1 << 12))
    file = tmp_path / "corpus"
    file.write_bytes(TEXT)
    read = b""
    for text, cuts in text_blocks.blocks(file):
        read += bytes(text[: cuts[-1]])
        with open(file, "ab") as out:
            out.write(b"more and more\n" * 100)
    assert read == TEXT


PEAK = """
import resource, sys
from fastrnn.word2vec import WordVectors
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
vectors = WordVectors.load_word2vec_format(sys.argv[1], binary=True)
print((peak() - before) / vectors.vectors.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_the_memory_of_loading(tmp_path):
    """The table and a block of the file, and the keys."""
    vectors = np.ones((100_000, 300), np.float32)
    WordVectors([f"w{i}" for i in range(len(vectors))], vectors).save_word2vec_format(tmp_path / "v", binary=True)
    done = subprocess.run([sys.executable, "-c", PEAK, tmp_path / "v"], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1.35  # of 120 MB; of 240 MB 1.2
