"""Classes of sequences: any cell, pooling and front; padding never changes anything; what it learns."""

import json
from itertools import product

import pytest
import torch
from torch import Tensor

from fastrnn.train import evaluate, fit
from fastrnn.train.data import Arrays, Bucketed, Labelled, Vocabulary
from fastrnn.train.models.classifier import Classifier
from fastrnn.train.models.pooling import pooled

VOCABULARY = Vocabulary.build(["good bad film a plot the of and not"], pad="<pad>")
LENGTHS = torch.tensor([4, 7, 1, 5])


def ids() -> Tensor:
    return torch.randint(2, len(VOCABULARY), (7, 4))


@pytest.mark.parametrize("cell", ["lstm", "gru", "gru_reset_before", "rnn_tanh"])
@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("convolution", [None, {"channels": 6, "kernel": 3, "stride": 2}])
def test_padding_never_changes_anything(
    cell: str, pooling: str, bidirectional: bool, convolution: dict[str, int] | None
) -> None:
    """Each row of a batch is what the sequence gives alone, for tokens and for numbers with noise beyond the end."""
    options = {"cell": cell, "hidden": 5, "layers": 2, "pooling": pooling, "bidirectional": bidirectional}
    text = Classifier(VOCABULARY, "ab", embedding=3, dense=4, convolution=convolution, **options).eval()
    numbers = Classifier(2, "abc", convolution=convolution, **options).eval()
    tokens, series = ids(), torch.randn(7, 4, 2)
    for b, n in enumerate(LENGTHS.tolist()):
        tokens[n:, b], series[n:, b] = 0, float("nan")
    for model, input in ((text, tokens), (numbers, series)):
        together = model(input, LENGTHS)
        alone = torch.cat([model(input[:n, b : b + 1]) for b, n in enumerate(LENGTHS.tolist())])
        torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)
    numbers(series, LENGTHS).sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in numbers.parameters())


def test_poolings_by_hand() -> None:
    output = torch.tensor([[1.0, -1], [3, -3], [2, -5]]).unsqueeze(1).repeat(1, 2, 1)
    lengths = torch.tensor([3, 2])
    state = torch.tensor([[[7.0], [8]], [[9], [10]]])  # (directions, B, H)
    assert pooled("max", output, state, lengths, True).tolist() == [[3, -1], [3, -1]]
    assert pooled("mean", output, state, lengths, True).tolist() == [[2, -3], [2, -2]]
    assert pooled("mean", output, state, None, True).tolist() == [[2, -3], [2, -3]]
    assert pooled("max", output, state, None, True).tolist() == [[3, -1], [3, -1]]
    assert pooled("last", output, state, lengths, True).tolist() == [[7, 9], [8, 10]]
    assert pooled("last", output, (state, state * 0), lengths, False).tolist() == [[9], [10]]


def test_one_hot_is_an_embedding_that_does_not_learn() -> None:
    model = Classifier(VOCABULARY, "ab", embedding=None, hidden=4).eval()
    input = ids()
    numbers = Classifier(len(VOCABULARY), "ab", hidden=4).eval()
    numbers.load_state_dict(model.state_dict())
    one_hot = torch.nn.functional.one_hot(input, len(VOCABULARY)).float()
    torch.testing.assert_close(model(input), numbers(one_hot))


def test_loss_and_accuracy_by_hand() -> None:
    model = Classifier(VOCABULARY, "abc", hidden=4).eval()
    batch = Labelled(ids(), LENGTHS, torch.tensor([0, 2, 1, 1]))
    chance = model(batch.input, batch.lengths).softmax(1)
    step = model.loss(batch)
    assert step.items == 4
    expected = -chance[torch.arange(4), batch.target].log().mean()
    torch.testing.assert_close(step.loss, expected)
    halves = [Labelled(batch.input[:, :1], LENGTHS[:1], batch.target[:1])]
    halves.append(Labelled(batch.input[:, 1:], LENGTHS[1:], batch.target[1:]))
    found = model.evaluate(halves)
    assert found["loss"] == pytest.approx(float(expected.detach()), rel=1e-5)
    assert found["accuracy"] == int((chance.argmax(1) == batch.target).sum()) / 4


def test_word_dropout_reads_words_as_unknown_and_only_in_training() -> None:
    model = Classifier(VOCABULARY, "ab", hidden=4, word_dropout=0.999999)
    input, unknown = ids(), torch.full((7, 4), VOCABULARY.unknown)
    torch.testing.assert_close(model.train()(input), model.eval()(unknown))
    assert not torch.allclose(model(input), model(unknown))


@pytest.mark.parametrize("pooling", ["last", "max"])
def test_it_learns_what_depends_on_order(pooling: str) -> None:
    """ "not good" is bad and "not bad" is good: counting words is no use. A fifth of the phrases is held out."""
    articles, nouns = ("", "a ", "the "), ("film", "plot", "film and the plot", "plot of a film")
    phrases = [
        (f"{no}{article}{word} {noun}", (word == "good") != bool(no))
        for no, article, word, noun in product(("", "not "), articles, ("good", "bad"), nouns)
    ]
    items = [(VOCABULARY.encode(text), int(label)) for text, label in phrases]
    train = Bucketed([item for i, item in enumerate(items) if i % 5], 8, into=Labelled, pad=VOCABULARY.pad)
    held_out = Bucketed(items[::5], 8, into=Labelled, pad=VOCABULARY.pad)
    model = Classifier(VOCABULARY, ["bad", "good"], hidden=8, bidirectional=True, pooling=pooling, embedding=8)
    fit(model, train, epochs=25, lr=0.03, progress=False)
    assert evaluate(model, held_out)["accuracy"] == 1
    (label, chance), (_, other) = model.classify("not a bad plot")
    assert (label, chance + other) == ("good", pytest.approx(1))
    assert model.classify(["not", "a", "good", "plot"])[0][0] == "bad"


def test_pixels_one_a_step_through_convolution_recurrence_and_a_dense_layer() -> None:
    """Pictures 4 x 4 with a line in the upper or lower half, read a pixel a step."""
    pictures = torch.zeros(24, 4, 4, dtype=torch.uint8)
    labels = torch.arange(24) % 2
    pictures[torch.arange(24), labels * 2 + torch.arange(24) // 12] = 255
    data = Arrays(pictures, labels, 8, pixels=True, scale=1 / 255)
    model = Classifier(1, ["upper", "lower"], cell="gru", hidden=8, dense=16, convolution={"channels": 8, "stride": 2})
    fit(model, data, epochs=20, lr=0.01, progress=False)
    assert evaluate(model, data)["accuracy"] == 1
    assert model.classify(pictures[3].reshape(-1, 1) / 255)[0][0] == "lower"


def test_it_begins_with_given_vectors() -> None:
    vectors = {"good": [1.0, 2, 3], "bad": [-1.0, -2, -3]}
    model = Classifier(VOCABULARY, "ab", hidden=4, vectors=vectors, frozen=True)
    assert model.embedding.weight[VOCABULARY.id("bad")].tolist() == [-1, -2, -3]
    assert not model.embedding.weight.requires_grad
    again = Classifier.from_config(model.config())
    assert again.embedding.weight.shape == (len(VOCABULARY), 3)
    assert not again.embedding.weight.requires_grad
    with pytest.raises(ValueError, match="pass a vocabulary as inputs"):
        Classifier(1, "ab", vectors=vectors)


def test_config_makes_it_again() -> None:
    for inputs in (VOCABULARY, 2):
        model = Classifier(
            inputs, ["a", "b"], hidden=4, layers=2, bidirectional=True, pooling="max", dense=3, dropout=0.5,
            convolution={"channels": 5, "kernel": 3},
        ).eval()  # fmt: skip
        again = Classifier.from_config(json.loads(json.dumps(model.config()))).eval()
        again.load_state_dict(model.state_dict())
        sequence = "a good plot" if inputs is VOCABULARY else torch.randn(5, 2)
        assert again.classify(sequence) == model.classify(sequence)
        assert again.config() == model.config()


def test_errors() -> None:
    with pytest.raises(ValueError, match="Expected pooling to be one of last, mean, max, got 'first'"):
        Classifier(1, "ab", pooling="first")
    with pytest.raises(ValueError, match="word_dropout replaces tokens by the unknown token"):
        Classifier(1, "ab", word_dropout=0.1)
    with pytest.raises(ValueError, match="Expected kernel to be odd"):
        Classifier(1, "ab", convolution={"channels": 4, "kernel": 4})
    model, numbers = Classifier(VOCABULARY, "ab", hidden=4), Classifier(1, "ab", hidden=4)
    with pytest.raises(ValueError, match="the text is empty"):
        model.classify(" ")
    with pytest.raises(ValueError, match="none of the tokens of 'xyzzy plugh' is in the vocabulary"):
        model.classify("xyzzy plugh")
    with pytest.raises(TypeError, match="this model reads text"):
        model.classify(torch.zeros(3, 1))
    with pytest.raises(ValueError, match=r"Expected a series \(T, 1\) with at least one step, got \(3,\)"):
        numbers.classify([1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="no batches"):
        model.evaluate([])
