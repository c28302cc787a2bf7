"""LanguageModel: each option against its equation, one text in windows as at once, and what it learns."""

import copy
import math

import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

import fastrnn
from fastrnn import train
from fastrnn._core import backend
from fastrnn.train.data.batch import Window
from fastrnn.train.data.language_batches import LanguageBatches
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models import language_model
from fastrnn.train.models.language_model import LanguageModel
from fastrnn.train.models.recurrent import CELLS

WORDS = ["<eos>", "<unk>", *["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "table"]]
SMALL = {"embedding": 6, "hidden": 6}


def vocabulary():
    return Vocabulary(WORDS, unknown="<unk>", eos="<eos>")


def model(**options):
    return LanguageModel(vocabulary(), **{**SMALL, **options})


def window(steps=5, batch=3, first=True, seed=0):
    tokens = torch.randint(len(WORDS), (steps + 1, batch), generator=torch.Generator().manual_seed(seed))
    return Window(tokens[:-1], tokens[1:], first)


EVERY_KIND = [
    *({"cell": cell} for cell in CELLS),
    {"tied": True},
    {"tied": True, "hidden": 9},
    {"softmax": "adaptive", "hidden": 16},
    {"softmax": "adaptive", "cutoffs": [7]},
    {"one_hot": True},
    {"one_hot": True, "cell": "rnn_sigmoid", "layers": 1},
    {"locked_dropout": (0.1, 0.2, 0.3), "weight_drop": 0.5, "embedding_dropout": 0.1, "layers": 3},
    {"dropout": 0.5, "activation_penalty": 2.0, "temporal_penalty": 1.0},
    {"hidden": [9, 6], "tied": True},
    {"hidden": [4, 7, 9], "layers": 3, "cell": "gru", "one_hot": True},
]


@pytest.mark.parametrize("options", EVERY_KIND, ids=str)
class TestEveryKind:
    def test_logits_loss_and_gradients_belong_together(self, options):
        net, batch = model(**options), window()
        logits, state = net.eval()(batch.input)
        assert logits.shape == (5, 3, len(WORDS))
        step = net.loss(batch)
        torch.testing.assert_close(step.loss, cross_entropy(logits.flatten(0, 1), batch.target.flatten()))
        assert step.items == 15
        torch.testing.assert_close(step.state, state)
        net.train().loss(batch).loss.backward()
        trained = [parameter for parameter in net.parameters() if parameter.requires_grad]
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)

    def test_windows_of_a_text_are_the_text_at_once(self, options):
        net, whole = model(**options), window(steps=12)
        parts = [Window(whole.input[i : i + 5], whole.target[i : i + 5], i == 0) for i in range(0, 12, 5)]
        at_once, in_parts = net.evaluate([whole]), net.evaluate(parts)
        assert at_once["loss"] == pytest.approx(in_parts["loss"], rel=1e-5)
        assert at_once["perplexity"] == pytest.approx(math.exp(at_once["loss"]))
        assert net.training  # evaluate drops nothing out, and leaves the mode as it was
        assert net.evaluate([whole]) == at_once

    def test_it_is_saved_and_comes_back_the_same(self, options, tmp_path):
        net = model(**options).eval()
        train.save(net, tmp_path / "model.safetensors")
        back = train.load(tmp_path / "model.safetensors")
        assert back.vocabulary == net.vocabulary
        torch.testing.assert_close(back(window().input)[0], net(window().input)[0], rtol=0, atol=0)
        assert (back.output.weight is back.embedding.weight) if options.get("tied") else True

    def test_probabilities_of_a_sentence_are_those_of_its_words(self, options):
        net = model(**options)
        expected = 1.0
        for place, word in enumerate(["the", "cat", "<eos>"]):
            found = dict(net.next(["the", "cat"][:place], top=None))
            assert sum(found.values()) == pytest.approx(1.0)
            expected *= found[word]
        assert net.probability("the cat") == pytest.approx(expected, rel=1e-4)
        assert net.complete("the cat", seed=1, length=9) == net.complete("the cat", seed=1, length=9)
        assert net.complete("the", beam=3, length=4).startswith("the")
        assert net.training

    def test_texts_side_by_side_do_not_meet(self, options):
        net, batch = model(**options).eval(), window()
        together = net(batch.input)[0]
        for row in range(3):
            torch.testing.assert_close(net(batch.input[:, row : row + 1])[0], together[:, row : row + 1])


def test_a_window_that_continues_nothing_begins_with_zeros():
    net, one = model(), window()
    twice = net.evaluate([one, window(first=True)])
    assert twice["loss"] == pytest.approx(net.evaluate([one])["loss"])
    assert net.evaluate([one, window(first=False)])["loss"] != pytest.approx(twice["loss"], rel=1e-4)


def test_nothing_to_evaluate_is_said():
    with pytest.raises(ValueError, match="there are no batches to evaluate on"):
        model().evaluate([])


@pytest.mark.parametrize("cell", ["rnn_sigmoid", "gru", "lstm"])
def test_one_hot_words_are_the_product_with_w_ih(cell):
    net = model(cell=cell, one_hot=True, layers=1).eval()
    batch = window()
    layer = copy.deepcopy(net.recurrent.layers)
    layer.weight_ih_l0 = torch.nn.Parameter(net.embedding.weight.detach().t().contiguous())  # (G H, V)
    vectors = one_hot(batch.input, len(WORDS)).float()
    torch.testing.assert_close(net(batch.input)[0], net.output(layer(vectors)[0]), rtol=1e-5, atol=1e-6)
    before = net.embedding.weight.clone()
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    net.loss(batch).loss.backward()
    optimizer.step()
    identity = net.recurrent.layers.weight_ih_l0
    assert torch.equal(identity, torch.eye(len(identity)))
    assert (net.embedding.weight != before).any()


def test_one_hot_words_count_the_parameters_of_w_ih():
    net = model(cell="rnn_tanh", one_hot=True, layers=1)
    w_ih, w_hh, biases, softmax = len(WORDS) * 6, 6 * 6, 2 * 6, len(WORDS) * 6 + len(WORDS)
    assert net.parameters_count == w_ih + w_hh + biases + softmax


def test_the_same_model_on_torchs_operator_has_the_same_loss(monkeypatch):
    net, found = model(locked_dropout=0.2, weight_drop=0.5), []
    for by_torch in (False, True):
        monkeypatch.setattr(backend, "_left_to_torch", lambda call: by_torch)  # noqa: B023
        net.zero_grad()
        torch.manual_seed(0)
        step = net.loss(window())
        step.loss.backward()
        found.append([step.loss.detach(), *(parameter.grad for parameter in net.parameters())])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_dropped_words_are_dropped_wherever_they_stand():
    net = model(embedding_dropout=0.5)
    tokens = torch.arange(len(WORDS)).repeat(20, 2)
    zero = (net.embedding(tokens) == 0).all(-1)
    assert (zero.view(20, 2, -1) == zero.view(20, 2, -1)[0, 0]).all()
    assert 0 < zero.float().mean() < 1
    kept = net.embedding(tokens)
    rows = net.embedding.weight[tokens]
    assert all(torch.equal(row, 2 * weight) or not row.any() for row, weight in zip(kept[0], rows[0], strict=True))


def test_penalties_are_added_in_training_alone():
    batch, plain = window(), model()
    output, _ = plain.recurrent(plain.embedding(batch.input))
    penalised = model(activation_penalty=2.0, temporal_penalty=3.0)
    penalised.load_state_dict(plain.state_dict())
    expected = plain.loss(batch).loss + 2 * output.square().mean() + 3 * (output[1:] - output[:-1]).square().mean()
    torch.testing.assert_close(penalised.loss(batch).loss, expected)
    torch.testing.assert_close(penalised.eval().loss(batch).loss, plain.eval().loss(batch).loss)
    torch.testing.assert_close(penalised.train().loss(window(steps=1)).loss.isfinite(), torch.tensor(True))


def test_weights_are_drawn_as_they_were_asked_for():
    given = model(init_uniform=0.05)
    everything = torch.cat([parameter.detach().flatten() for parameter in given.parameters()])
    assert everything.abs().max() <= 0.05
    assert everything.std() == pytest.approx(0.1 / math.sqrt(12), rel=0.1)
    assert not model().output.bias.any()


class TestVectors:
    def test_those_of_word2vec_stand_where_its_words_do(self):
        sentences = [["the", "cat", "sat"], ["the", "dog", "ran"]] * 30
        word2vec = fastrnn.word2vec.Word2Vec(sentences, vector_size=8, min_count=1, epochs=1, seed=1, workers=1)
        for vectors in (word2vec, word2vec.wv):
            net = model(vectors=vectors)
            assert net.embedding.weight.shape == (len(WORDS), 8)
            row = net.embedding.weight[WORDS.index("cat")].detach()
            torch.testing.assert_close(row, torch.tensor(word2vec.wv["cat"]))
            assert net.embedding.weight.requires_grad

    def test_frozen_ones_are_not_trained(self):
        rows = torch.randn(len(WORDS), 4)
        net = model(vectors=rows, frozen=True)
        net.loss(window()).loss.backward()
        assert net.embedding.weight.grad is None
        again = LanguageModel.from_config(net.config())
        assert not again.embedding.weight.requires_grad
        assert again.config() == net.config()
        assert torch.equal(net.embedding.weight, rows)

    def test_none_that_fit_is_an_error(self):
        with pytest.raises(ValueError, match=r"Expected vectors of shape \(12, E\), got \[3, 4\]"):
            model(vectors=torch.zeros(3, 4))
        with pytest.raises(ValueError, match="none of the vocabulary's words has a vector"):
            model(vectors={"Fluglotse": [1.0]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"softmax": "sampled"}, "Expected softmax to be full or adaptive, got 'sampled'"),
        ({"tied": True, "one_hot": True}, "tied=True needs an embedding"),
        ({"tied": True, "softmax": "adaptive"}, "tied=True needs an embedding and the full softmax"),
        ({"frozen": True}, "frozen=True needs vectors="),
        ({"one_hot": True, "vectors": torch.zeros(12, 3)}, "vectors= and one_hot=True exclude each other, got both"),
        ({"softmax": "adaptive"}, "Expected hidden to be at least 16 for an adaptive softmax with 2 cutoffs"),
        ({"cell": "elman"}, "Expected cell to be one of lstm"),
        ({"hidden": [3, 4, 5]}, r"Expected a hidden size for each of 2 layer\(s\), got 3"),
    ],
)
def test_options_that_exclude_each_other_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        model(**options)


def test_it_learns_a_grammar_to_its_entropy_and_says_it():
    """Sentences "the cat|dog sat|ran on|under mat|table": 4 bits in 6 tokens, the rest is certain."""
    generator = torch.Generator().manual_seed(0)
    text = " ".join(
        f"the {['cat', 'dog'][a]} {['sat', 'ran'][b]} {['on', 'under'][c]} {['mat', 'table'][d]} <eos>"
        for a, b, c, d in torch.randint(2, (300, 4), generator=generator).tolist()
    )
    net = LanguageModel(vocabulary(), cell="gru", embedding=8, hidden=16, layers=1)
    data = LanguageBatches(net.vocabulary.encode(text), batch=8, steps=12)
    train.fit(net, data, epochs=6, lr=4e-2, stateful=True, progress=False)
    entropy = 4 * math.log(2) / 6
    assert net.evaluate(data)["loss"] == pytest.approx(entropy, rel=0.05)
    found = dict(net.next("the cat", top=2))
    assert set(found) == {"sat", "ran"}
    assert sum(found.values()) > 0.98
    sentence = net.complete("the", seed=0).split()
    assert len(sentence) == 5
    assert all(word in WORDS[2:] for word in sentence)


def test_a_text_is_written_one_step_a_token(monkeypatch):
    net, read = model(), []
    forward = LanguageModel.forward
    monkeypatch.setattr(
        LanguageModel, "forward", lambda self, tokens, state: read.append(tokens.shape) or forward(self, tokens, state)
    )
    net.complete("the cat", n=2, length=5, stop=False, seed=0)
    assert read == [(3, 1)] + [(1, 2)] * 4  # the prompt after <eos>, then each token but the last


def test_fit_trains_it_as_a_script_with_torch_alone_would():
    ours = model(init_uniform=0.1)
    embedding, lstm, output = torch.nn.Embedding(len(WORDS), 6), torch.nn.LSTM(6, 6, 2), torch.nn.Linear(6, len(WORDS))
    embedding.load_state_dict(ours.embedding.state_dict())
    lstm.load_state_dict(ours.recurrent.layers.state_dict())
    output.load_state_dict(ours.output.state_dict())
    theirs = [*embedding.parameters(), *lstm.parameters(), *output.parameters()]
    optimizer, state = torch.optim.SGD(theirs, 20.0), None
    data = [window(seed=seed, first=seed == 0) for seed in range(4)]
    for batch in data:
        hidden, (h, c) = lstm(embedding(batch.input), state)
        state = h.detach(), c.detach()
        optimizer.zero_grad()
        cross_entropy(output(hidden).flatten(0, 1), batch.target.flatten()).backward()
        torch.nn.utils.clip_grad_norm_(theirs, 0.25)
        optimizer.step()
    train.fit(ours, data, epochs=1, optimizer="sgd", lr=20.0, clip=0.25, stateful=True, progress=False)
    for ours_, theirs_ in zip(ours.parameters(), theirs, strict=True):
        torch.testing.assert_close(ours_, theirs_, rtol=1e-4, atol=1e-5)


def test_characters_are_measured_in_bits_too():
    net = LanguageModel(Vocabulary.build("to be or not", tokenizer="characters", unknown=None), **SMALL)
    data = LanguageBatches(net.vocabulary.encode("to be or not to be"), batch=1, steps=4)
    found = net.evaluate(data)
    assert found["bits_per_character"] == pytest.approx(found["loss"] / math.log(2))
    assert "bits_per_character" not in model().evaluate([window()])


def test_the_softmax_is_the_fused_one_unless_a_user_puts_another_in_its_place(monkeypatch):
    calls, fused = [], language_model.linear_cross_entropy
    monkeypatch.setattr(language_model, "linear_cross_entropy", lambda *a, **k: calls.append(1) or fused(*a, **k))
    net, batch = model(tied=True), window()
    expected = net.loss(batch).loss
    assert calls == [1]
    net.output = torch.nn.Sequential(net.output)
    torch.testing.assert_close(net.loss(batch).loss, expected)
    assert calls == [1]
