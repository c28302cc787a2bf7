"""The contenders: each turns a piece of work into a function without arguments that does it once.

All of them compute the very layer that `torch.nn` was initialised with, and are compared with it before they are timed.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fastrnn.bench.work import GATES, Work

# In the order in which they take turns. ONNX Runtime and OpenVINO have no backward pass.
CONTENDERS = {"infer": ("torch", "onnxruntime", "openvino", "fastrnn"), "train": ("torch", "fastrnn")}

# Largest difference from torch.nn, relative to the largest value, that rounding in float32 explains.
TOLERANCE = 1e-4

Run = Callable[[], Any]


def prepare(name: str, work: Work) -> Run:
    """Returns the function to time: inference returns the output, training the gradients of input and weights.

    Raises ArithmeticError if it differs from torch.nn.
    """
    torch.set_num_threads(work.threads)
    torch.manual_seed(0)
    T, B, I, H = work.shape
    layer = getattr(torch.nn, work.cell)(I, H)
    input, grad_output = torch.randn(T, B, I), torch.randn(T, B, H)

    def of_module(module: torch.nn.Module) -> Run:
        return inference(module, input) if work.mode == "infer" else training(module, input, grad_output)

    expected = of_module(layer)
    if name == "torch":
        return expected
    if name == "fastrnn":
        import fastrnn

        swapped = getattr(fastrnn, work.cell)(I, H)
        swapped.load_state_dict(layer.state_dict())
        run = of_module(swapped)
    else:
        run = PEERS[name](work, onnx_model(work, layer), input.numpy())
    check(name, work, run(), expected())
    return run


def inference(module: torch.nn.Module, input: Tensor) -> Run:
    def run() -> Tensor:
        with torch.inference_mode():
            return module(input)[0]

    return run


def training(module: torch.nn.Module, input: Tensor, grad_output: Tensor) -> Run:
    input = input.clone().requires_grad_()

    def run() -> list[Tensor | None]:
        module.zero_grad(set_to_none=True)
        input.grad = None
        module(input)[0].backward(grad_output)
        return [input.grad, *(weight.grad for weight in module.parameters())]

    return run


def onnxruntime(work: Work, model: bytes, input: np.ndarray) -> Run:
    from onnxruntime import InferenceSession, SessionOptions

    options = SessionOptions()
    options.intra_op_num_threads = work.threads
    # Its threads spin while they wait for more of the same call, but not between calls, where they would
    # take the processor from the next contender.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"X": input})[0][:, 0]


def openvino(work: Work, model: bytes, input: np.ndarray) -> Run:
    from openvino import Core, Tensor

    core = Core()
    # Its default would compute in bfloat16 where the processor can.
    config = {"INFERENCE_NUM_THREADS": work.threads, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model), "CPU", config).create_infer_request()
    request.set_input_tensor(Tensor(input))
    T, B, _, H = work.shape

    def run() -> np.ndarray:
        request.infer()
        return np.asarray(request.get_output_tensor(0).data).reshape(T, B, H)

    return run


PEERS = {"onnxruntime": onnxruntime, "openvino": openvino}


def onnx_model(work: Work, layer: torch.nn.Module) -> bytes:
    """Writes the layer as an ONNX graph of one node; its output Y is (T, directions, B, H)."""
    from onnx import TensorProto, helper, numpy_helper

    T, B, I, H = work.shape
    gates = GATES[work.cell]
    # ONNX keeps the GRU's gates in the order z r n, the LSTM's in the order i o f g; torch r z n and i f g o.
    order = {"RNN": [0], "GRU": [1, 0, 2], "LSTM": [0, 3, 1, 2]}[work.cell]

    def reordered(name: str) -> np.ndarray:
        weight = getattr(layer, name).detach().numpy()
        return weight.reshape(gates, H, -1)[order].reshape(1, gates * H, *weight.shape[1:])

    weights = {
        "W": reordered("weight_ih_l0"),
        "R": reordered("weight_hh_l0"),
        "B": np.concatenate([reordered("bias_ih_l0"), reordered("bias_hh_l0")], axis=1),
    }
    attributes: dict[str, Any] = {"hidden_size": H}
    if work.cell == "GRU":
        attributes["linear_before_reset"] = 1
    graph = helper.make_graph(
        [helper.make_node(work.cell, ["X", *weights], ["Y"], **attributes)],
        work.cell,
        [helper.make_tensor_value_info("X", TensorProto.FLOAT, [T, B, I])],
        [helper.make_tensor_value_info("Y", TensorProto.FLOAT, [T, 1, B, H])],
        [numpy_helper.from_array(np.ascontiguousarray(value), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    return model.SerializeToString()


def check(name: str, work: Work, results: Any, expected: Any) -> None:
    """Raises ArithmeticError unless every result is that of torch.nn, up to rounding."""
    if work.mode == "infer":
        results, expected = [results], [expected]
    for result, want in zip(results, expected, strict=True):
        difference = (torch.as_tensor(result).double() - want.double()).abs().max()
        error = float(difference / want.abs().max().clamp(min=1e-3))
        if not error < TOLERANCE:  # a NaN fails, too
            raise ArithmeticError(f"{name} differs from torch.nn on {work}: relative error {error:.2e}")
