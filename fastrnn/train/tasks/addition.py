"""Adds numbers such as 123+34 digit by digit: an encoder-decoder learns to carry the one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastrnn._markdown import table
from fastrnn.train.data.made.sums import sums
from fastrnn.train.data.readers import read_pairs
from fastrnn.train.data.splitting import split
from fastrnn.train.models.encoder_decoder import EncoderDecoder
from fastrnn.train.tasks import pairs
from fastrnn.train.tasks.pairs import PairSettings
from fastrnn.train.tasks.settings import setting
from fastrnn.train.tasks.task import Generation, Prepared

EXAMPLE = "123+34"


@dataclass(frozen=True, kw_only=True)
class Settings(PairSettings):
    """The network of the Keras example with a higher, decaying learning rate. Data: lines of sum, tab, answer."""

    digits: int = setting(3, "Digits of the longest number.", least=1)
    count: int = setting(50_000, "Number of sums, including those held out.", least=3)
    held_out: float = setting(0.1, "Share of the sums held out of training.", least=0)
    padded: bool = setting(False, "Pad sums and answers with spaces to one length, as the Keras example does.")
    bridge: str = setting("repeat", "What the encoder passes to the decoder.", choices=("state", "repeat"))
    reverse: bool = setting(True, "Read the sum in reverse.")
    batch: int = setting(64, "Sums in a batch.", least=1)
    epochs: int = setting(20, "Number of passes over the data.", least=1)
    lr: float = setting(4e-3, "Initial learning rate.", least=0)
    schedule: Mapping[str, Any] | str | None = setting("cosine", "Learning rate schedule.")


def prepare(settings: Settings) -> Prepared:
    share = settings.held_out
    if settings.data is None:
        train, held_out = sums(
            settings.count, settings.digits, padded=settings.padded, held_out=share, seed=settings.seed
        )
    else:
        train, held_out = split(read_pairs(settings.data), (1 - share, share), settings.seed)
    return pairs.prepare(settings, train, held_out)


def samples(model: EncoderDecoder, prepared: Prepared) -> str:
    """Held-out sums with the model's answers, and whether they are right."""
    rows = [
        [question.strip(), written.strip(), "right" if written == answer else f"wrong: {answer.strip()}"]
        for question, answer, written in pairs.examples(model, prepared, 12)
    ]
    return table(["sum", "the model's answer", ""], rows, align="rrl")


batches = pairs.batches


def generate(model: EncoderDecoder, prompt: str | None, options: Generation) -> str:
    if prompt is None:
        return f"{EXAMPLE} = {pairs.answer(model, EXAMPLE, options)}"
    return pairs.answer(model, prompt, options)
