"""TiRex-2, a forecaster of time series by NXAI: its sLSTM layers as they are, and as a cell of fastrnn with heads.

    pip install '.[clients]'
    python -m bench.clients.tirex2 --json bench/results/NAME.json

Licences: the package tirex-2 and the package flashrnn, whose loop runs its sLSTM, are under Apache-2.0. Their package
mlstm_kernels, without which tirex-2 cannot be imported, is under the NXAI Community License, which is none of the
usual ones: read it before you use the package. None of their code is here.

The model is the published one in size (arXiv:2607.01204): 12 blocks, mLSTM and sLSTM in turns, 512 features, 4 heads,
patches of 32 numbers, so that a forecast is a sequence of 74 steps, whatever the length of the series. Weights are
random, and nothing is downloaded. The contenders have the same weights and take turns: the library as it is; as its
own ``load_model(compile=True)`` compiles it, layer by layer; with fastrnn's sLSTM layers; and with those and the
library's other recurrent layers compiled. The forecasts of all are compared. A sLSTM layer is timed alone, too.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from math import inf
from typing import Any

import torch
from tirex2 import TimeseriesType
from tirex2.model.component.flashrnn_slstm import sLSTMFlashRNNLayer
from tirex2.model.component.mlstm_block import mLSTMLayer
from tirex2.model.tirex2 import TiRex2
from torch import Tensor, clamp, exp, maximum, nn, sigmoid, tanh
from torch.nn.functional import logsigmoid

import fastrnn
from bench.clients.tables import FORECASTERS, tirex2
from bench.turns import heading, medians, turns
from fastrnn._saving import write_text

FEATURES, HEADS, PATCH, CONTEXT, FUTURE, BLOCKS = 512, 4, 32, 2048, 320, 12
LENGTH, HORIZON = 512, 128  # of the series and of the forecasts
TOLERANCE = 1e-4  # of the forecasts, in parts of the largest


class SLSTM(fastrnn.Cell):
    """The sLSTM of arXiv:2405.04517 as NXAI's kernels have it: the normaliser n is at least 1."""

    gates = "i f z o"
    state = dict(h=0, c=0, n=0, m=-inf)  # noqa: RUF012, C408

    def step(i, f, z, o, c, n, m):
        log_f = logsigmoid(f) + m
        m = maximum(log_f, i)
        i, f = exp(i - m), exp(log_f - m)
        c = f * c + i * tanh(z)
        n = clamp(f * n + i, min=1.0)
        return sigmoid(o) * c / n, c, n, m


class FusedSLSTM(nn.Module):
    """What a sLSTM layer of the library computes, (B, T, D) to (B, T, D), by fastrnn."""

    def __init__(self, theirs: sLSTMFlashRNNLayer) -> None:
        super().__init__()
        size, self.heads = theirs.config.embedding_dim, theirs.config.num_heads
        self.layer = fastrnn.layer(SLSTM)(size, size, batch_first=True, heads=self.heads)
        # The library stacks its gates' inputs in this order, and takes them for i, f, z and o.
        inputs = [torch.block_diag(*gate.weight) for gate in (theirs.fgate, theirs.igate, theirs.zgate, theirs.ogate)]
        recurrent = theirs.get_R().permute(2, 0, 3, 1)  # from (head, from, gate, to)
        with torch.no_grad():
            self.layer.weight_ih_l0.copy_(torch.cat(inputs))
            self.layer.weight_hh_l0.copy_(recurrent.reshape(self.layer.weight_hh_l0.shape))
            self.layer.bias_ih_l0.copy_(theirs.get_bias().transpose(0, 1).flatten())
            self.layer.bias_hh_l0.zero_()
        self.norm = theirs.group_norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.layer(x)[0].unflatten(-1, (self.heads, -1)))


def model_of(blocks: int) -> TiRex2:
    """The library's model with random weights, the recurrent ones too, which it has zero at first."""
    templates = {
        name: {
            "time_mixer": {"model_type": f"bi-{name}", "embedding_dim": FEATURES, "num_heads": HEADS, "device": "cpu"},
            "variate_mixer": {"embedding_dim": FEATURES, "num_heads": HEADS},
            "dropout": 0.0,
            "eps": 1e-7,
        }
        for name in ("mlstm", "slstm")
    }
    patches = {"input_patch_size": PATCH, "output_patch_size": PATCH}
    torch.manual_seed(0)
    model = TiRex2(
        stack_config={"templates": templates, "recipe": ["mlstm", "slstm"] * (blocks // 2)},
        num_blocks=blocks,
        embedding_dim=FEATURES,
        quantiles=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9],
        tokenizer_cfg={**patches, "input_patch_stride": PATCH},
        scaler_cfg={"use_arcsinh": True, "binaryaware": True},
        h_expand=4,
        context_len=CONTEXT,
        future_len=FUTURE,
        input_ff_dim=4 * FEATURES,
        act_func="SiLU",
        dropout=0.0,
        stack_out_norm_config={"eps": 1e-7},
        device="cpu",
        **patches,
    )
    for module in model.modules():
        if isinstance(module, sLSTMFlashRNNLayer):
            nn.init.uniform_(module.get_R(), -(module.config.head_dim**-0.5), module.config.head_dim**-0.5)
    return model.eval()


def contender(name: str, model: TiRex2) -> TiRex2:
    """A copy of the model with fastrnn's layers, or compiled, or both."""
    model = copy.deepcopy(model)
    if name in FORECASTERS[2:]:
        for block in model.stack:
            mixer = block.time_mixer
            if isinstance(mixer.fwd_cell, sLSTMFlashRNNLayer):
                mixer.fwd_cell = mixer.rev_cell = FusedSLSTM(mixer.fwd_cell)
    if name in (FORECASTERS[1], FORECASTERS[3]):
        for module in model.modules():
            if isinstance(module, (mLSTMLayer, sLSTMFlashRNNLayer)):
                module.compile()
    return model


def series(count: int) -> list[TimeseriesType]:
    """Sums of waves and noise."""
    generator = torch.Generator().manual_seed(count)
    t, phase, period, noise = (
        torch.arange(LENGTH),
        6.28 * torch.rand(count, 1, generator=generator),
        10 + 90 * torch.rand(count, 1, generator=generator),
        torch.randn(count, LENGTH, generator=generator),
    )
    values = (6.28 * t / period + phase).sin() + 0.3 * noise
    return [TimeseriesType(target=row[None], past_covariates=None, future_covariates=None) for row in values]


def measure(count: int, model: TiRex2, rounds: int) -> dict[str, Any]:
    """Time the forecasts of ``count`` series, and compare them with the library's.

    Raises:
        ArithmeticError: forecasts differ by more than rounding.
    """
    given, runs, differences, seconds = series(count), {}, {}, {}
    first: Any = None
    for name in FORECASTERS:
        own = contender(name, model)
        runs[name] = _forecaster(own, given)
        begin = time.perf_counter()
        found = torch.stack(runs[name]())
        seconds[name] = time.perf_counter() - begin
        first = found if first is None else first
        differences[name] = float((found - first).abs().max() / first.abs().max())
        if not differences[name] < TOLERANCE:  # so that a NaN fails too
            raise ArithmeticError(f"{name}: forecasts of {count} series differ by {differences[name]:.1e}")
    return {
        "series": count,
        "milliseconds": medians(turns(runs, rounds, block=0.0)),
        "first call, seconds": seconds,
        "differences": differences,
        "layer, milliseconds": medians(turns(layers(count, model), rounds, block=0.0)),
    }


def _forecaster(model: TiRex2, given: list[TimeseriesType]) -> Callable[[], list[Tensor]]:
    return lambda: model.predict(given, HORIZON)


def layers(count: int, model: TiRex2) -> dict[str, Callable[[], Tensor]]:
    """A sLSTM layer alone: as it is, compiled, and fastrnn's."""
    theirs = model.stack[1].time_mixer.fwd_cell
    compiled, x = copy.deepcopy(theirs), torch.randn(count, (CONTEXT + FUTURE) // PATCH, FEATURES)
    compiled.compile()
    modules = dict(zip(FORECASTERS, (theirs, compiled, FusedSLSTM(theirs)), strict=False))
    return {name: torch.no_grad()(_call(module, x)) for name, module in modules.items()}


def _call(module: nn.Module, x: Tensor) -> Callable[[], Tensor]:
    return lambda: module(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--series", default="1,64", help="how many at a time, with commas between them")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="of the model; even")
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    found = heading("bench.clients.tirex2", "tirex-2", "flashrnn") | {"threads": torch.get_num_threads()}
    found |= {"blocks": given.blocks, "length": LENGTH, "horizon": HORIZON, "rows": []}
    model = model_of(given.blocks)
    for count in map(int, given.series.split(",")):
        torch.compiler.reset()  # compiled for this number of series alone
        found["rows"].append(measure(count, model, given.rounds))
        print(found["rows"][-1], flush=True)
        if given.json:
            write_text(given.json, json.dumps(found, indent=1) + "\n")
    print(tirex2(found))


if __name__ == "__main__":
    main()
