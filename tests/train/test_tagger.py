"""Tags for tokens: columns and spelling, padding, rules of BIO, and a task that needs both directions."""

import json
from itertools import pairwise

import numpy as np
import pytest
import torch

from fastrnn.train import evaluate, fit
from fastrnn.train.data import Bucketed, Tagged
from fastrnn.train.models.chunks import chunk_f1
from fastrnn.train.models.columns import SPELLING, Columns, shape
from fastrnn.train.models.tagger import Tagger

BIO = ["O", "B-NP", "I-NP", "B-VP", "I-VP"]
SENTENCES = [
    (["He", "reckons", "the", "deficit", "will", "narrow"], ["PRP", "VBZ", "DT", "NN", "MD", "VB"]),
    (["Rockwell", "said"], ["NNP", "VBD"]),
    (["Confidence", "in", "1990-92", "."], ["NN", "IN", "CD", "."]),
]


def columns(**options: object) -> Columns:
    return Columns.build(SENTENCES, ("word", "pos"), **{"spelling": ("suffix2", "shape"), **options})


def batch(made: Columns) -> Tagged:
    items = [
        (made.encode(each), np.random.default_rng(len(each[0])).choice([0, 1, 3], len(each[0]))) for each in SENTENCES
    ]
    return next(iter(Bucketed(items, 3, into=Tagged, shuffle=False, columns=True)))


def test_shapes_of_words() -> None:
    words = ["McDonald's", "1990-92", "U.S.", "the", "X2", "été"]
    assert [shape(word) for word in words] == ["AaAa'a", "0-0", "A.A.", "a", "A0", "éaé"]
    assert SPELLING["suffix3"]("Reckons") == "ons"
    assert SPELLING["prefix5"]("He") == "he"


def test_columns_and_what_was_never_seen() -> None:
    made = columns()
    ids = made.encode((["He", "fasted"], ["PRP", "VBD"]))
    assert ids.shape == (2, 4)
    names = [[each.tokens[i] for each, i in zip(made.vocabularies.values(), row, strict=True)] for row in ids.tolist()]
    assert names == [["He", "PRP", "he", "Aa"], ["<unk>", "VBD", "<unk>", "a"]]
    again = Columns.from_config(json.loads(json.dumps(made.config())))
    assert torch.equal(again.encode(SENTENCES[0]), made.encode(SENTENCES[0]))
    assert len(columns(min_count=2).vocabularies["word"]) == 2  # <pad> and <unk>


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn_tanh"])
@pytest.mark.parametrize("crf", [False, True])
def test_padding_never_changes_anything(cell: str, crf: bool) -> None:
    made = columns()
    model = Tagger(made, BIO, cell=cell, hidden=5, layers=2, embedding=6, column_embedding=3, crf=crf).eval()
    together = batch(made)
    for b, length in enumerate(together.lengths.tolist()):
        together.input[length:, b] = 1
    step = model.loss(together)
    losses, found = 0.0, model.predict(together.input, together.lengths)
    for b, length in enumerate(together.lengths.tolist()):
        alone = Tagged(together.input[:length, b : b + 1], None, together.target[:length, b : b + 1])
        one = model.loss(alone)
        losses += float(one.loss.detach()) * one.items
        assert torch.equal(model.predict(alone.input), found[:length, b : b + 1])
        assert found[length:, b].tolist() == [-100] * (len(found) - length)
    assert step.items == 12
    assert float(step.loss.detach()) == pytest.approx(losses / 12, rel=1e-5)


def test_figures_are_those_of_the_tags_it_gives() -> None:
    made = columns()
    model = Tagger(made, BIO, hidden=5, embedding=6).eval()
    data = batch(made)
    figures = model.evaluate([data])
    pairs = []
    for b, sentence in enumerate(SENTENCES):
        true = [BIO[i] for i in data.target[: len(sentence[0]), b]]
        pairs.append((true, [tag for _, tag in model.tag(*sentence)]))
    score = chunk_f1(pairs)
    assert (figures["f1"], figures["precision"], figures["recall"]) == (score.f1, score.precision, score.recall)
    right = sum(a == b for true, found in pairs for a, b in zip(true, found, strict=True))
    assert figures["accuracy"] == pytest.approx(right / 12)
    assert figures["loss"] == pytest.approx(float(model.loss(data).loss.detach()))
    assert set(Tagger(made, ["x", "y"], hidden=5).evaluate([data._replace(target=data.target.clamp(max=1))])) == {
        "loss",
        "accuracy",
    }


def test_a_crf_over_chunks_keeps_to_the_rules_of_bio() -> None:
    """Untrained and with emissions that ask for I-VP everywhere: a softmax breaks the rules, a CRF cannot."""
    made = columns()
    for crf in (True, False):
        model = Tagger(made, BIO, hidden=5, crf=crf)
        with torch.no_grad():
            model.output.bias[4] += 20
        tags = ["O", *(tag for _, tag in model.tag(*SENTENCES[0]))]
        broken = any(after[0] == "I" and before[2:] != after[2:] for before, after in pairwise(tags))
        assert broken == (not crf)


@pytest.mark.parametrize("crf", [False, True])
def test_it_learns_what_needs_both_directions(crf: bool) -> None:
    """Words before "!" in a sentence are tagged by whether it ends with "!", and begin a chunk after "the" alone."""
    random = np.random.default_rng(0)

    def sentence() -> tuple[list[str], list[str]]:
        words = [*random.choice(["the", "a", "cat"], random.integers(3, 8)).tolist(), str(random.choice(["!", "."]))]
        kind, tags = "NP" if words[-1] == "!" else "VP", []
        for before, _ in pairwise(["a", *words]):
            inside = bool(tags) and tags[-1] != "O"
            tags.append(f"B-{kind}" if before == "the" else f"I-{kind}" if inside else "O")
        return words, [*tags[:-1], "O"]

    sentences = [sentence() for _ in range(120)]
    made = Columns.build([(words,) for words, _ in sentences], spelling=())
    items = [(made.encode((words,)), [BIO.index(tag) for tag in tags]) for words, tags in sentences]
    train, held_out = (Bucketed(part, 20, into=Tagged, columns=True) for part in (items[:100], items[100:]))
    model = Tagger(made, BIO, cell="gru", hidden=12, embedding=6, crf=crf)
    fit(model, train, epochs=12, lr=0.04, progress=False)
    assert evaluate(model, held_out)["f1"] > 0.95
    assert model.tag("a the cat cat !") == [("a", "O"), ("the", "O"), ("cat", "B-NP"), ("cat", "I-NP"), ("!", "O")]
    assert model.tag("a the cat cat .")[2:4] == [("cat", "B-VP"), ("cat", "I-VP")]


def test_one_column_may_go_without_its_dimension() -> None:
    model = Tagger(columns(spelling=()), BIO, hidden=4).eval()
    with pytest.raises(ValueError, match=r"Expected ids \(T, B, 2\)"):
        model(torch.zeros(3, 2, dtype=torch.int64))
    words = Columns.build([(each[0],) for each in SENTENCES], spelling=())
    model, ids = Tagger(words, BIO, hidden=4).eval(), torch.randint(5, (3, 2))
    assert torch.equal(model(ids), model(ids.unsqueeze(2)))


def test_it_begins_with_given_vectors() -> None:
    made = columns()
    model = Tagger(made, BIO, hidden=4, vectors={"said": [1.0, 2, 3]})
    assert model.embeddings[0].weight[made.vocabularies["word"].id("said")].tolist() == [1, 2, 3]
    assert Tagger.from_config(model.config()).embeddings[0].weight.shape == model.embeddings[0].weight.shape


def test_tags_of_nothing_and_config() -> None:
    made = columns()
    model = Tagger(made, BIO, hidden=5, layers=2, dropout=0.5, word_dropout=0.5)
    assert model.tag("", "") == []
    again = Tagger.from_config(json.loads(json.dumps(model.config())))
    again.load_state_dict(model.state_dict())
    assert again.tag("He said so", "PRP VBD RB") == model.tag("He said so", "PRP VBD RB")
    assert model.training, "tagging puts the mode back"
    assert again.config() == model.config()


def test_errors() -> None:
    made = columns()
    model = Tagger(made, BIO, hidden=5)
    with pytest.raises(ValueError, match=r"the model reads 2 columns \(word, pos\), got 1"):
        model.tag("He said")
    with pytest.raises(
        ValueError, match=r"the columns word, pos have \[2, 1\] tokens; all columns need the same number"
    ):
        model.tag("He said", "PRP")
    with pytest.raises(ValueError, match="unknown spelling feature 'suffix9'; use any of lower, shape"):
        columns(spelling=("suffix9",))
    with pytest.raises(ValueError, match=r"expected 1 columns \(word\), got a sentence with 2"):
        Columns.build(SENTENCES, ("word",))
    with pytest.raises(ValueError, match="name those of the data first"):
        Columns({"shape": made.vocabularies["shape"]})
    with pytest.raises(ValueError, match="goes from tag 0 to tag 2 at step 1, which the rules of the CRF forbid"):
        model.loss(Tagged(made.encode(SENTENCES[1]).unsqueeze(1), None, torch.tensor([[0], [2]])))
    with pytest.raises(ValueError, match=r"Expected ids \(T, B, 4\) of word, pos, suffix2, shape, got \(3, 2, 5\)"):
        model(torch.zeros(3, 2, 5, dtype=torch.int64))
    with pytest.raises(ValueError, match="no batches"):
        model.evaluate([])
