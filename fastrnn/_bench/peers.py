"""ONNX Runtime and OpenVINO: they get the layers as an ONNX model. They have no backward pass.

Where they have a mode of low precision, it is the one they recommend: ONNX Runtime's dynamic quantization, OpenVINO's
hint of bfloat16.
"""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from fastrnn._bench.work import LAYERS, Work

Infer = Callable[[], np.ndarray]


class Node(NamedTuple):
    """How ONNX's node of this name differs from torch's layer."""

    order: list[int]  # which of torch's gates is at each place
    options: Mapping[str, int] = MappingProxyType({})


NODES = {
    "RNN": Node([0]),
    "GRU": Node([1, 0, 2], {"linear_before_reset": 1}),  # z r n; torch has r z n
    "LSTM": Node([0, 3, 1, 2]),  # i o f g; torch has i f g o
}


def onnxruntime(work: Work, layers: Any, input: np.ndarray) -> Infer:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = work.threads
    # Its threads spin within a call but not between calls, where they would slow down the next contender.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    model = onnx_model(work, layers)
    if work.dtype == "int8":
        model = quantized(model)
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    T, B, _, _ = work.shape
    return lambda: session.run(None, {"X": input})[0].reshape(T, B, -1)


def openvino(work: Work, layers: Any, input: np.ndarray) -> Infer:
    from openvino import Core, Tensor

    core = Core()
    # By default it would compute in bfloat16 where the processor supports that.
    hint = {"float32": "f32", "bfloat16": "bf16"}[work.dtype]
    config = {"INFERENCE_NUM_THREADS": work.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": hint}
    request = core.compile_model(core.read_model(onnx_model(work, layers)), "CPU", config).create_infer_request()
    request.set_input_tensor(Tensor(input))
    T, B, _, _ = work.shape

    def run() -> np.ndarray:
        request.infer()
        return np.asarray(request.get_output_tensor(0).data).reshape(T, B, -1)

    return run


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino}

# The layers that a peer computes in each dtype. ONNX Runtime leaves the weights of others than the LSTM in float32.
SERVES: dict[str, dict[str, tuple[str, ...]]] = {
    "onnxruntime": {"float32": LAYERS, "int8": ("LSTM",)},
    "openvino": {"float32": LAYERS, "bfloat16": LAYERS},
}
TORCH_QUANTIZES = ("GRU", "LSTM")  # quantize_dynamic leaves other layers in float32


def quantized(model: bytes) -> bytes:
    """The model with int8 weights, a scale for each row, quantized by ONNX Runtime."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with NamedTemporaryFile(suffix=".onnx") as file:
        logger = logging.getLogger()
        level = logger.level
        logger.setLevel(logging.ERROR)  # it advises a preparation that changes nothing here
        try:
            quantize_dynamic(onnx.load_from_string(model), file.name, per_channel=True, weight_type=QuantType.QInt8)
        finally:
            logger.setLevel(level)
        return Path(file.name).read_bytes()


def onnx_model(work: Work, layers: Any) -> bytes:
    """Writes the layers as an ONNX graph with a node for each layer.

    A node's output is (T, D, B, H) for D directions. If D is 2 or another layer follows, it becomes (T, B, D H).
    """
    from onnx import TensorProto, helper, numpy_helper

    T, B, I, H = work.shape
    D = work.directions
    direction = "bidirectional" if D == 2 else "forward"
    attributes: dict[str, Any] = {"hidden_size": H, "direction": direction, **NODES[work.cell].options}
    constants: dict[str, np.ndarray] = {}
    nodes, output = [], "X"
    for layer in range(work.num_layers):
        weights = {f"{name}{layer}": value for name, value in onnx_weights(work, layers, layer).items()}
        constants |= weights
        nodes.append(helper.make_node(work.cell, [output, *weights], [output := f"Y{layer}"], **attributes))
        if D == 2:
            nodes.append(helper.make_node("Transpose", [output], [output := f"by_row{layer}"], perm=[0, 2, 1, 3]))
        if D == 2 or layer < work.num_layers - 1:
            constants["sizes"] = np.array([T, B, D * H])
            nodes.append(helper.make_node("Reshape", [output, "sizes"], [output := f"joined{layer}"]))
    sizes = [T, B, D * H] if D == 2 else [T, 1, B, H]
    graph = helper.make_graph(
        nodes,
        work.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, sizes)],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return model.SerializeToString()


def onnx_weights(work: Work, layers: Any, layer: int) -> dict[str, np.ndarray]:
    """Returns a layer's W (D, gates H, inputs), R (D, gates H, H) and B (D, 2 gates H) in ONNX's order of gates."""
    order, H = NODES[work.cell].order, work.shape.H

    def reordered(name: str) -> np.ndarray:
        both = []
        for direction in ("", "_reverse")[: work.directions]:
            weight = getattr(layers, f"{name}_l{layer}{direction}").detach().float().numpy()
            both.append(weight.reshape(len(order), H, -1)[order].reshape(weight.shape))
        return np.stack(both)

    return {
        "W": reordered("weight_ih"),
        "R": reordered("weight_hh"),
        "B": np.concatenate([reordered("bias_ih"), reordered("bias_hh")], axis=1),
    }
