"""EncoderDecoder: padding and the other rows of a batch change nothing, and it writes what is likeliest."""

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from fastrnn.train import fit, load, save
from fastrnn.train.data import Bucketed, Pairs, Vocabulary
from fastrnn.train.data.made.sums import sums
from fastrnn.train.models import EncoderDecoder
from fastrnn.train.models.ragged import beyond, reversed_in_time
from fastrnn.train.models.recurrent import CELLS

SOURCE = Vocabulary.build("0123456789+", tokenizer="characters", unknown=None)
TARGET = Vocabulary.build("0123456789", tokenizer="characters", unknown=None, bos="<bos>", eos="<eos>")
GARBAGE = 10**6  # an id without a token: reading it fails
SHAPES = [
    {},
    {"embedding": 5},
    {"bridge": "repeat"},
    {"reverse": True},
    {"attention": "dot"},
    {"attention": "additive", "bidirectional": True},
    {"bidirectional": True, "bridge": "repeat", "layers": 2},
    {"layers": 2, "dropout": 0.5, "embedding": 3, "attention": "dot", "reverse": True},
]
QUESTIONS = ["1", "12+3", "7+8", "123+45", "0"]
ANSWERS = ["1", "15", "15", "168", ""]


def model_of(target: Vocabulary = TARGET, seed: int = 1, **options: Any) -> EncoderDecoder:
    torch.manual_seed(seed)
    model = EncoderDecoder(SOURCE, target, **{"hidden": 8, **options}).double().eval()
    for weight in model.parameters():  # decided, so that a wrong token shows
        torch.nn.init.uniform_(weight, -0.9, 0.9)
    return model


def batch_of(questions: list[str], answers: list[str]) -> Pairs:
    items = [(SOURCE.encode(q), TARGET.encode(a, ends=True)) for q, a in zip(questions, answers, strict=True)]
    return next(iter(Bucketed(items, len(items), into=Pairs, shuffle=False)))


def with_garbage(batch: Pairs) -> Pairs:
    """Three steps longer, and with what is no token beyond each end."""

    def spoilt(ids: Tensor, lengths: Tensor) -> Tensor:
        longer = torch.cat([ids, torch.zeros(3, ids.size(1), dtype=torch.int64)])
        return longer.masked_fill(beyond(lengths, len(longer)), GARBAGE)

    source, target = spoilt(batch.source, batch.source_lengths), spoilt(batch.target, batch.target_lengths)
    return Pairs(source, batch.source_lengths, target, batch.target_lengths)


@pytest.mark.parametrize("options", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_shapes_and_gradients(cell: str, options: dict[str, Any]) -> None:
    model, batch = model_of(cell=cell, **options).train(), batch_of(QUESTIONS, ANSWERS)
    logits = model(batch.source, batch.source_lengths, batch.target)
    assert logits.shape == (5, 5, len(TARGET))
    step = model.loss(batch)
    assert step.items == sum(len(answer) + 1 for answer in ANSWERS)
    assert step.state is None
    step.loss.backward()
    gradients = [weight.grad for weight in model.parameters()]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)
    assert cell == "rnn_relu" or all(gradient.any() for gradient in gradients)  # units of relu may all be off
    assert not torch.allclose(logits[0, 1], logits[0, 2]), "the source makes a difference"


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_padding_changes_nothing(options: dict[str, Any]) -> None:
    model, batch = model_of(**options), batch_of(QUESTIONS, ANSWERS)
    step, spoilt = model.loss(batch), model.loss(with_garbage(batch))
    singles = [model.loss(batch_of([q], [a])) for q, a in zip(QUESTIONS, ANSWERS, strict=True)]
    mean = sum(single.loss * single.items for single in singles) / sum(single.items for single in singles)
    torch.testing.assert_close(step.loss, mean)
    torch.testing.assert_close(spoilt.loss, mean)
    assert step.items == spoilt.items == sum(single.items for single in singles)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_gradients_do_not_depend_on_padding(options: dict[str, Any]) -> None:
    model, batch = model_of(**options), batch_of(QUESTIONS, ANSWERS)
    plain = torch.autograd.grad(model.loss(batch).loss, list(model.parameters()))
    spoilt = torch.autograd.grad(model.loss(with_garbage(batch)).loss, list(model.parameters()))
    torch.testing.assert_close(plain, spoilt)


def test_loss_is_cross_entropy_of_what_follows_bos() -> None:
    model, batch = model_of(), batch_of(["12+3"], ["15"])
    logits = model(batch.source, batch.source_lengths, batch.target)[:, 0]
    wanted = torch.tensor([*TARGET.encode("15"), TARGET.eos])
    expected = -logits[:3].log_softmax(-1)[torch.arange(3), wanted].mean()
    torch.testing.assert_close(model.loss(batch).loss, expected)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_greedy_writes_the_likeliest_token_each_time(options: dict[str, Any]) -> None:
    model, batch = model_of(**options), batch_of(QUESTIONS, ANSWERS)
    written = model.decoder.greedy(model.encode(batch.source, batch.source_lengths), 5, 6)
    for question, row in zip(QUESTIONS, written, strict=True):
        source = batch_of([question], [""])
        read = torch.tensor([TARGET.bos, *row]).unsqueeze(1)
        likeliest = model(source.source, source.source_lengths, read).argmax(-1)[:, 0].tolist()
        assert row == likeliest[: len(row)]
        assert len(row) == 6 or likeliest[len(row)] == TARGET.eos


def scores(model: EncoderDecoder, question: str, rows: list[list[int]]) -> list[float]:
    """Of each row, the mean log-probability of its tokens, <eos> among them."""
    source, bos, eos = SOURCE.encode(question), model.decoder.bos, model.decoder.eos
    items = [(source, [bos, *row, eos]) for row in rows]
    batch = next(iter(Bucketed(items, len(items), into=Pairs, shuffle=False)))
    found = model(batch.source, batch.source_lengths, batch.target)[:-1].log_softmax(-1)
    picked = found.gather(2, batch.target[1:].unsqueeze(2)).squeeze(2)
    ends = batch.target_lengths - 1
    return (picked.masked_fill(beyond(ends, len(picked)), 0.0).sum(0) / ends).tolist()


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_a_wide_beam_finds_the_likeliest_of_all(options: dict[str, Any]) -> None:
    few = Vocabulary(["<eos>", "0", "1", "<bos>"], tokenizer="characters", bos="<bos>", eos="<eos>")
    model, batch = model_of(target=few, **options), batch_of(QUESTIONS, ANSWERS)
    found = model.decoder.best(model.encode(batch.source, batch.source_lengths), 5, 3, 16)
    every = [list(row) for length in range(3) for row in itertools.product([1, 2, 3], repeat=length)]
    for question, row in zip(QUESTIONS, found, strict=True):
        assert scores(model, question, [row])[0] == pytest.approx(max(scores(model, question, every)))


def test_reading_backwards() -> None:
    model, batch = model_of(reverse=True), batch_of(QUESTIONS, ANSWERS)
    forwards = model_of()
    forwards.load_state_dict(model.state_dict())
    turned = batch_of([question[::-1] for question in QUESTIONS], ANSWERS)
    assert torch.equal(reversed_in_time(batch.source, batch.source_lengths), turned.source)
    torch.testing.assert_close(model.loss(batch).loss, forwards.loss(turned).loss)


def test_evaluate_counts_every_sequence_once() -> None:
    model = model_of()
    texts = model.translate(QUESTIONS, length=3)
    answers = [*texts[:2], "15", "168", "99"]  # two that it writes itself, if they end in time
    ended = [text for text in texts[:2] if len(text) < 3]
    whole = model.evaluate([batch_of(QUESTIONS, answers)])
    parts = model.evaluate([with_garbage(batch_of(QUESTIONS[:1], answers[:1])), batch_of(QUESTIONS[1:], answers[1:])])
    assert parts == pytest.approx(whole)
    assert whole["exact"] == len(ended) / 5
    batch = batch_of(QUESTIONS, answers)
    assert whole["loss"] == pytest.approx(model.loss(batch).loss.item())
    likeliest = model(batch.source, batch.source_lengths, batch.target)[:-1].argmax(-1)
    real = ~beyond(batch.target_lengths, len(batch.target))[1:]
    assert whole["accuracy"] == pytest.approx(((likeliest == batch.target[1:]) & real).sum().item() / real.sum().item())


def test_evaluate_of_nothing() -> None:
    with pytest.raises(ValueError, match="there are no batches"):
        model_of().evaluate([])


@pytest.mark.parametrize(
    "options", [{"reverse": True}, {"attention": "dot", "cell": "gru"}, {"bridge": "repeat", "reverse": True}]
)
def test_learns_all_sums_of_one_digit(options: dict[str, Any]) -> None:
    questions, _ = sums(55, 1, held_out=0.0)
    data = Bucketed([(SOURCE.encode(q), TARGET.encode(a, ends=True)) for q, a in questions], 11, into=Pairs)
    model = EncoderDecoder(SOURCE, TARGET, hidden=64, **options)
    fit(model, data, epochs=120, lr=0.02, clip=1.0, schedule="cosine", progress=False)
    assert model.evaluate(data.epoch(0))["exact"] == 1.0
    assert model.translate("9+9") == "18"
    assert model.translate([question for question, _ in questions]) == [answer for _, answer in questions]
    assert model.translate("3+4" if ("3+4", "7") in questions else "4+3", beam=3) == "7"
    assert model.training, "translating leaves the model as it was"


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_saved_and_loaded(options: dict[str, Any], tmp_path: Any) -> None:
    model = model_of(**options).float()
    save(model, tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert loaded.config() == model.config()
    assert loaded.translate(QUESTIONS, length=5) == model.translate(QUESTIONS, length=5)


@pytest.mark.parametrize("options", SHAPES, ids=str)
def test_autocast_trains_in_bfloat16(options: dict[str, Any]) -> None:
    model, batch = model_of(**options).float(), batch_of(QUESTIONS, ANSWERS)
    expected = model.loss(batch).loss
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.loss(batch).loss
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(expected.item(), rel=0.05)
    loss.backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())


def test_translate_takes_one_or_many() -> None:
    model = model_of()
    assert model.translate(["1+2"], length=4) == [model.translate("1+2", length=4)]
    assert model.translate([]) == []
    assert max(map(len, model.translate(QUESTIONS, length=2))) <= 2
    assert model.translate(QUESTIONS, length=4, beam=1) == model.translate(QUESTIONS, length=4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EncoderDecoder(SOURCE, SOURCE), "lacks bos.*Vocabulary.build"),
        (lambda: EncoderDecoder(SOURCE, TARGET, bridge="copy"), "bridge to be one of state, repeat, got 'copy'"),
        (lambda: EncoderDecoder(SOURCE, TARGET, attention="loud"), "one of dot, additive, or None, got 'loud'"),
        (lambda: EncoderDecoder(SOURCE, TARGET, hidden=7, bidirectional=True), "type hidden=8"),
        (lambda: EncoderDecoder(SOURCE, TARGET, embedding=0), "None for one-hot, got 0"),
        (lambda: EncoderDecoder(SOURCE, TARGET, cell="lstn"), "lstm"),
        (lambda: model_of().translate(["1+2", ""]), "text 2 of 2 is"),
        (lambda: model_of().translate("1+2", length=0), "at least 1 token, got 0"),
        (lambda: model_of().translate("1+2", beam=0), "got width=0"),
        (lambda: model_of().translate("1-2"), "'-'.*not in the vocabulary"),
    ],
)
def test_what_is_wrong_is_said(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
