"""Files that nobody's save wrote: every loader answers with the right object or with ValueError or OSError."""

import json
import zipfile

import numpy as np
import pytest

from fastrnn.word2vec import Word2Vec

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
        ("syn1neg", lambda a: a.astype(np.float64), "syn1neg must be of type float32, by rows; got float64"),
        ("syn1neg", lambda a: a.astype(">f4"), "syn1neg must be of type float32, by rows; got >f4"),
        ("syn1neg", lambda a: np.asfortranarray(a), "syn1neg must be of type float32, by rows"),
        ("syn1neg", lambda _: None, "syn1neg is missing"),
        ("syn1", lambda a: a[1:], r"syn1 must have shape \[9, 16\], got \[8, 16\]"),
        ("syn1", lambda _: None, "syn1 is missing"),
        ("syn0", lambda a: a.ravel(), r"syn0 must have shape \[10, 16\], got \[160\]"),
        ("syn0", lambda _: None, "syn0 is missing"),
        ("counts", lambda a: a[1:], r"counts must have shape \[10\], got \[9\]"),
        ("counts", lambda a: a.astype(np.int32), "counts must be of type int64"),
        ("counts", lambda a: -a, "counts of 0 or more"),
        ("losses", lambda a: a.astype(np.int64), "losses must be of type float64"),
        ("pairs", lambda a: np.append(a, a), r"pairs must have shape \[1\], got \[2\]"),
        ("keys", lambda _: as_bytes(["a"] * 10), "keys must be different strings"),
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
    with pytest.raises(ValueError, match="compressed, which a saved file never is"):
        Word2Vec.load(tmp_path / "x.npz")


def test_a_model_whose_header_announces_more_than_there_is(saved, tmp_path):
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(tmp_path / "x.npz", "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename == "syn0.npy":
                data = data.replace(b"(10, 16), }", b"(99, 16), }")
            new.writestr(member.filename, data)
    with pytest.raises(ValueError, match=r"syn0 has 640 bytes, too few or many for \(99, 16\)"):
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
        with pytest.raises(ValueError, match="or damaged"):
            Word2Vec.load(tmp_path / "x.npz")
