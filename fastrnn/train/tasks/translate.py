"""Translates sentences: numbers in words, or a file of pairs."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastrnn._markdown import cell, table
from fastrnn.train.data.made.numerals import numerals
from fastrnn.train.data.readers import read_pairs
from fastrnn.train.loop.evaluation import evaluate as measure
from fastrnn.train.models.encoder_decoder import EncoderDecoder
from fastrnn.train.tasks import pairs
from fastrnn.train.tasks.pairs import Pair, PairSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared


@dataclass(frozen=True, kw_only=True)
class Settings(PairSettings):
    """Data: lines of sentence, tab, translation. By default "three hundred five" and "trois cent cinq"."""

    tokenizer: str = setting("characters", "What a token is.", choices=("characters", "words"))
    pairs: int | None = setting(
        10_000, "Use only this many pairs from the beginning of the file; none for all.", least=3
    )
    held_out: float = setting(0.2, "Share of the pairs held out of training.", least=0)
    shuffle: bool = setting(
        True, "Hold out random sentences, each in one part only; false takes the last of the file, as Keras does."
    )
    attention: str | None = setting("dot", "Attention of the decoder.", choices=("dot", "additive"))
    reverse: bool = setting(True, "Read the sentence in reverse.")
    hidden: int = setting(128, "Hidden units of each layer.", least=1)
    batch: int = setting(64, "Sentences in a batch.", least=1)
    epochs: int = setting(12, "Number of passes over the data.", least=1)
    lr: float = setting(4e-3, "Initial learning rate.", least=0)
    schedule: Mapping[str, Any] | str | None = setting("cosine", "Learning rate schedule.")


def prepare(settings: Settings) -> Prepared:
    if settings.data is None:
        train, held_out = numerals(held_out=settings.held_out, seed=settings.seed)
    else:
        found = read_pairs(settings.data)[: settings.pairs]
        train, held_out = divided(found, settings.held_out, settings.seed if settings.shuffle else None)
    return pairs.prepare(settings, train, held_out, settings.tokenizer, unknown="<unk>")


def divided(found: Sequence[Pair], held_out: float, seed: int | None) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on and the held-out ones: random sentences with all their translations; without a seed, the
    last pairs."""
    sources = list(dict.fromkeys(source for source, _ in found))
    if seed is None:
        end = len(found) - round(held_out * len(found))
        return list(found[:end]), list(found[end:])
    chosen = set(random.Random(seed).sample(sources, round(held_out * len(sources))))
    return [pair for pair in found if pair[0] not in chosen], [pair for pair in found if pair[0] in chosen]


def evaluate(model: EncoderDecoder, prepared: Prepared) -> dict[str, float]:
    """Loss, accuracy and exact sentences (EncoderDecoder.evaluate), and ``accuracy_with_padding`` as in the Keras
    example, which pads each target to the longest of all data and counts the padding too. Here padding counts as right:
    it is easy to learn, but this model does not write it."""
    figures = measure(model, prepared.test)
    lengths = [len(target) for _, target in prepared.test.items]
    parts = (part for part in (prepared.train, prepared.valid, prepared.test) if part is not None)
    places = len(lengths) * max(len(target) for part in parts for _, target in part.items)
    wrong = (1 - figures["accuracy"]) * (sum(lengths) - len(lengths))
    return {**figures, "accuracy_with_padding": 1 - wrong / places}


def samples(model: EncoderDecoder, prepared: Prepared) -> str:
    """Held-out sentences, the model's translations, and the references."""
    rows = [
        [cell(source), cell(written), "the same" if written == target else cell(target)]
        for source, target, written in pairs.examples(model, prepared, 12)
    ]
    return table(["sentence", "the model's translation", "reference"], rows, align="lll")


batches = pairs.batches


def generate(model: EncoderDecoder, prompt: str | None, options: Generation) -> str:
    if prompt is None:
        raise ValueError("this model needs a sentence to translate; type --prompt SENTENCE")
    return pairs.answer(model, prompt, options)
