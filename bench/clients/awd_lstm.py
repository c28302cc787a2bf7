"""fastai's AWD-LSTM: its own LSTMs, the same LSTMs converted, and fastrnn's options in place of its wrappers.

    pip install '.[clients]'
    python -m bench.clients.awd_lstm --json bench/results/NAME.json

All three are fastai's language model with fastai's dropout of the embedding and of the output, and the same weights.
The library has a module for each layer, wrapped in one that drops recurrent weights, with locked dropout in between.
The third model has one layer of fastrnn in their place, with a hidden size for each layer and all of that as options.

Measured is a training step: the loss, gradients, their norm clipped, SGD. Tokens follow English word frequencies
(Zipf's law). Masks differ between the models, so losses are compared without dropout: before training, and after some
steps.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from fastai.text.models.awdlstm import AWD_LSTM, EmbeddingDropout, awd_lstm_lm_config
from fastai.text.models.core import LinearDecoder, SequentialRNN
from torch import Tensor, nn

import fastrnn
from bench.clients.tables import MODELS, awd_lstm
from bench.turns import heading, turns
from fastrnn._saving import write_text

LR, CLIP = 1.0, 0.25
DROPOUTS = ("input_p", "hidden_p", "embed_p", "weight_p", "output_p")  # as fastai's configuration calls the rates
# fastai's wrapper cannot be reset after a call with a rate of 0, so its rate is one that drops nothing.
WITHOUT = dict.fromkeys(DROPOUTS, 0.0) | {"weight_p": 1e-12}


class Encoder(nn.Module):
    """What AWD_LSTM is, with fastrnn's options: tokens (B, T) to features (B, T, E), and a state that is kept."""

    def __init__(self, words: int, embedding: int, sizes: list[int], rates: dict[str, float]) -> None:
        super().__init__()
        self.encoder = nn.Embedding(words, embedding, padding_idx=1)
        self.encoder_dp = EmbeddingDropout(self.encoder, rates["embed_p"])
        self.lstm = fastrnn.LSTM(
            embedding,
            sizes,
            num_layers=len(sizes),
            batch_first=True,
            input_dropout=rates["input_p"],
            dropout=rates["hidden_p"],
            weight_dropout=rates["weight_p"],
            locked_dropout=True,
        )
        self.state: Any = None

    def forward(self, tokens: Tensor) -> Tensor:
        output, state = self.lstm(self.encoder_dp(tokens), self.state)
        self.state = fastrnn.detach(state)
        return output

    def reset(self) -> None:
        self.state = None

    def load(self, theirs: AWD_LSTM) -> None:
        """Take the weights of fastai's model."""
        self.encoder.load_state_dict(theirs.encoder.state_dict())
        weights = {}
        for layer, wrapper in enumerate(theirs.rnns):
            for name, weight in wrapper.named_parameters():
                weights[name.removeprefix("module.").removesuffix("_raw").replace("_l0", f"_l{layer}")] = weight
        self.lstm.load_state_dict(weights)


def model_of(name: str, sizes: dict[str, int], rates: dict[str, float]) -> nn.Module:
    """One of the three, with weights that depend on the sizes alone."""
    torch.manual_seed(0)
    words, embedding, hidden, layers = (sizes[size] for size in ("words", "embedding", "hidden", "layers"))
    of_encoder = {rate: value for rate, value in rates.items() if rate != "output_p"}
    encoder: Any = AWD_LSTM(words, embedding, hidden, layers, **of_encoder)
    if name == MODELS[1]:
        fastrnn.convert(encoder)
    elif name == MODELS[2]:
        theirs, encoder = encoder, Encoder(words, embedding, [hidden] * (layers - 1) + [embedding], rates)
        encoder.load(theirs)
    decoder = LinearDecoder(words, embedding, rates["output_p"], tie_encoder=encoder.encoder)
    return SequentialRNN(encoder, decoder)


def windows(sizes: dict[str, int], count: int = 8) -> list[tuple[Tensor, Tensor]]:
    """Tokens and the tokens that follow them, each (B, T); the windows continue each other."""
    generator = torch.Generator().manual_seed(0)
    steps, frequencies = sizes["steps"], 1 / torch.arange(1, sizes["words"] + 1, dtype=torch.float64)
    drawn = torch.multinomial(frequencies, sizes["batch"] * (count * steps + 1), True, generator=generator)
    text = drawn.view(sizes["batch"], -1)
    return [(text[:, t : t + steps], text[:, t + 1 : t + 1 + steps]) for t in range(0, count * steps, steps)]


def loss_of(model: nn.Module, window: tuple[Tensor, Tensor]) -> Tensor:
    decoded = model(window[0])[0]  # fastai's decoder returns what went in, too
    return nn.functional.cross_entropy(decoded.flatten(0, 1), window[1].flatten())


def trainer(model: nn.Module, data: list[tuple[Tensor, Tensor]]) -> Callable[[], Tensor]:
    """A training step on the next window, which returns the loss before it."""
    parameters = list(model.parameters())
    optimizer = torch.optim.SGD(parameters, LR)
    number = 0

    def step() -> Tensor:
        nonlocal number
        optimizer.zero_grad()
        loss = loss_of(model, data[number % len(data)])
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        number += 1
        return loss.detach()

    model.train()
    model.reset()  # type: ignore[operator]
    return step


def losses(name: str, sizes: dict[str, int], data: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """In eval mode before training, and in eval mode after five steps without dropout."""
    model = model_of(name, sizes, WITHOUT)
    found = {}
    for kind in ("loss", "loss without dropout"):
        model.eval()
        model.reset()  # type: ignore[operator]
        with torch.no_grad():
            found[kind] = float(loss_of(model, data[-1]))
        step = trainer(model, data)
        for _ in range(5):
            step()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--rounds", type=int, default=10)
    defaults = {"words": 10_000, "embedding": 400, "hidden": 1152, "layers": 3, "steps": 72, "batch": 20}
    for size, default in defaults.items():
        parser.add_argument(f"--{size}", type=int, default=default)
    given = parser.parse_args()
    sizes = {size: getattr(given, size) for size in defaults}
    found = heading("bench.clients.awd_lstm", "fastai") | {**sizes, "threads": torch.get_num_threads()}
    data, rates = windows(sizes), {rate: awd_lstm_lm_config[rate] for rate in DROPOUTS}
    steps = {name: trainer(model_of(name, sizes, rates), data) for name in MODELS}
    times = turns(steps, given.rounds, block=0.0)
    found["models"] = [{"name": name, "milliseconds": times[name], **losses(name, sizes, data)} for name in MODELS]
    before = [model["loss"] for model in found["models"]]
    if max(before) - min(before) > 1e-5 * max(before):
        raise ArithmeticError(f"the models' losses differ before training: {before}")
    if given.json:
        write_text(given.json, json.dumps(found, indent=1) + "\n")
    print(awd_lstm(found))


if __name__ == "__main__":
    main()
