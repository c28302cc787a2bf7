"""A step of a stream against the same step of a layer, of torch.nn and of ONNX Runtime, in turns in one run.

    python -m bench.suites.streaming --json bench/results/NAME.json

One layer of LSTM or GRU with as many inputs as hidden units, in float32 unless the contender says otherwise. Each step
is one call from Python that takes x (B, I), keeps the state and returns y (B, H); all steps run under
torch.inference_mode(). A time is the median over rounds of the mean of a block of steps, in microseconds.
"""

import argparse
import importlib.util
import json
import statistics
import sys
import time
from itertools import product

import torch

import fastrnn
from fastrnn._bench.peers import NODES, onnx_weights
from fastrnn._bench.work import Shape, Work
from fastrnn._environment import machine
from fastrnn._saving import write_text

HIDDEN, BATCHES = (64, 256, 512), (1, 4, 16)


def stream(layer, batch, **options):
    ours = layer.stream(batch, **options)
    return lambda x: ours(x)


def stream_out(layer, batch):
    ours = layer.stream(batch)
    y = torch.empty(batch, layer.hidden_size)
    return lambda x: ours(x, out=y)


def whole_layer(layer, batch):
    """A layer that is called with a sequence of one step."""
    state = None

    def step(x):
        nonlocal state
        y, state = layer(x[None], state)
        return y[0]

    return step


def torchs_layer(layer, batch):
    theirs = getattr(torch.nn, type(layer).__name__)(layer.input_size, layer.hidden_size).eval()
    theirs.load_state_dict(layer.state_dict())
    return whole_layer(theirs, batch)


def torchs_cell(layer, batch):
    cell = getattr(torch.nn, f"{type(layer).__name__}Cell")(layer.input_size, layer.hidden_size).eval()
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    state = None

    def step(x):
        nonlocal state
        state = cell(x, state)
        return state[0] if isinstance(state, tuple) else state

    return step


def onnx_step(layer, batch):
    """ONNX Runtime with states that go in and come out; its input and output are NumPy arrays."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime import InferenceSession, SessionOptions

    cell, hidden, inputs = type(layer).__name__, layer.hidden_size, layer.input_size
    states = ["h", "c"] if cell == "LSTM" else ["h"]
    weights = onnx_weights(Work("infer", cell, 1, Shape(1, batch, inputs, hidden)), layer, 0)
    node = helper.make_node(
        cell,
        ["X", *weights, "", *(f"{s}0" for s in states)],
        ["", *(f"{s}1" for s in states)],
        hidden_size=hidden,
        **NODES[cell].options,
    )

    def values(names, sizes):
        return [helper.make_tensor_value_info(name, TensorProto.FLOAT, sizes) for name in names]

    graph = helper.make_graph(
        [node],
        cell,
        values(["X"], [1, batch, inputs]) + values([f"{s}0" for s in states], [1, batch, hidden]),
        values([f"{s}1" for s in states], [1, batch, hidden]),
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    options = SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds = {f"{s}0": np.zeros((1, batch, hidden), np.float32) for s in states}
    names = list(feeds)

    def step(x):
        feeds["X"] = x.numpy()[None]
        found = session.run(None, feeds)
        feeds.update(zip(names, found, strict=True))
        return torch.from_numpy(found[0][0])

    return step


CONTENDERS = {
    "stream": stream,
    "stream, out=": stream_out,
    "stream, int8": lambda layer, batch: stream(layer, batch, dtype="int8"),
    "fastrnn layer": whole_layer,
    "torch.nn layer": torchs_layer,
    "torch.nn cell": torchs_cell,
}
if importlib.util.find_spec("onnx") and importlib.util.find_spec("onnxruntime"):
    CONTENDERS["onnxruntime"] = onnx_step


def measure(cell, hidden, batch, rounds, block):
    torch.manual_seed(0)
    layer = getattr(fastrnn, cell)(hidden, hidden).eval()
    x = torch.randn(batch, hidden)
    runs = {name: make(layer, batch) for name, make in CONTENDERS.items()}
    first = {name: run(x) for name, run in runs.items()}
    for name, y in first.items():
        torch.testing.assert_close(y, first["stream"], rtol=0.05, atol=0.02 if "int8" in name else 1e-5)
    steps, times = {}, {name: [] for name in runs}
    for name, run in runs.items():
        begin = time.perf_counter()
        for _ in range(20):
            run(x)
        steps[name] = max(20, round(20 * block / (time.perf_counter() - begin)))
    for _ in range(rounds):
        for name, run in runs.items():
            repeats = range(steps[name])
            begin = time.perf_counter()
            for _ in repeats:
                run(x)
            times[name].append(1e6 * (time.perf_counter() - begin) / steps[name])
    return {
        "cell": cell,
        "hidden": hidden,
        "batch": batch,
        "threads": torch.get_num_threads(),
        "microseconds": {name: statistics.median(t) for name, t in times.items()},
        "least": {name: min(t) for name, t in times.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", help="where to write the results")
    parser.add_argument("--cells", default="LSTM,GRU")
    parser.add_argument("--threads", default="1", help="how many threads, several of them with commas")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--block", type=float, default=0.01, help="seconds of a turn")
    options = parser.parse_args()
    command = " ".join(["python -m bench.suites.streaming", *sys.argv[1:]])
    found = {"machine": machine(), "command": command, "rows": []}
    with torch.inference_mode():
        for threads, cell, hidden, batch in product(
            map(int, options.threads.split(",")), options.cells.split(","), HIDDEN, BATCHES
        ):
            torch.set_num_threads(threads)
            row = measure(cell, hidden, batch, options.rounds, options.block)
            found["rows"].append(row)
            times = "  ".join(f"{name} {us:.3g}" for name, us in row["microseconds"].items())
            print(f"{cell} H{hidden} B{batch}, {threads} thread(s): {times}", flush=True)
            if options.json:
                write_text(options.json, json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
