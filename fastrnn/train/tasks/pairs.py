"""Shared by the tasks that turn one text into another: settings, vocabularies, batches, samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fastrnn.train.data.batch import Pairs
from fastrnn.train.data.bucketed import Bucketed
from fastrnn.train.data.readers import read_pairs
from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.encoder_decoder import EncoderDecoder
from fastrnn.train.tasks.fit_settings import FitSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared

Pair = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class PairSettings(FitSettings):
    """An encoder-decoder; see :class:`fastrnn.train.models.EncoderDecoder`."""

    bridge: str = setting("state", "What the encoder passes to the decoder.", choices=("state", "repeat"))
    attention: str | None = setting(None, "Attention of the decoder.", choices=("dot", "additive"))
    bidirectional: bool = setting(False, "Bidirectional encoder.")
    reverse: bool = setting(False, "Read the source in reverse.")
    embedding: int | None = setting(None, "Size of a token's embedding; none for one-hot vectors.", least=1)
    clip: float | None = setting(1.0, "Maximum norm of the gradient.", least=0)


def prepare(
    settings: PairSettings,
    train: Sequence[Pair],
    held_out: Sequence[Pair],
    tokenizer: str = "characters",
    unknown: str | None = None,
) -> Prepared:
    """The model and its batches: every other held-out pair is for validation, the others for test.

    A token outside the training part is ``unknown``, or an error if that is None.
    """
    sources, targets = zip(*train, strict=True)
    if len(held_out) < 2:
        raise ValueError(f"At least two pairs must be held out, one to validate and one to test, got {len(held_out)}")
    source = Vocabulary.build(sources, tokenizer=tokenizer, unknown=unknown)
    target = Vocabulary.build(targets, tokenizer=tokenizer, unknown=unknown, bos="<bos>", eos="<eos>")
    model = EncoderDecoder(source, target, **settings.arguments_of(EncoderDecoder))
    return Prepared(
        model,
        bucketed(model, train, settings, shuffle=True),
        bucketed(model, held_out[0::2], settings),
        bucketed(model, held_out[1::2], settings),
        about={"pairs to train on": f"{len(train):,}", "held out": f"{len(held_out):,}, half of them for test"},
    )


def batches(settings: PairSettings, model: EncoderDecoder) -> Bucketed:
    """What `fastrnn evaluate` measures: all pairs of a file."""
    return bucketed(model, read_pairs(settings.given_data()), settings)


def bucketed(model: EncoderDecoder, pairs: Sequence[Pair], settings: PairSettings, shuffle: bool = False) -> Bucketed:
    """Texts as batches of ids."""
    source, target = model.source_vocabulary, model.target_vocabulary
    items = [(source.encode(read), target.encode(written, ends=True)) for read, written in pairs]
    return Bucketed(items, settings.batch, into=Pairs, seed=settings.seed, shuffle=shuffle)


def examples(model: EncoderDecoder, prepared: Prepared, count: int) -> list[tuple[str, str, str]]:
    """Examples of the test data: source, target, and the model's output."""
    items = prepared.test.items
    some = items[:: -(-len(items) // count)]
    sources = [model.source_vocabulary.decode(source) for source, _ in some]
    targets = [model.target_vocabulary.decode(target) for _, target in some]
    return list(zip(sources, targets, model.translate(sources), strict=True))


def answer(model: EncoderDecoder, prompt: str, options: Generation) -> str:
    """What the model writes for a prompt."""
    return model.translate(prompt, beam=options.beam, length=options.length)
