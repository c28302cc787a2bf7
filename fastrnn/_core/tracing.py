"""What torch's tracers are told about layers and cells: a leaf for torch.fx, torch's operators for ONNX."""

from __future__ import annotations

import sys
from typing import Any, NoReturn

import torch
from torch.fx import Proxy
from torch.fx.proxy import TraceError


def recorded_call(module: torch.nn.Module, input: Proxy, hx: Any, options: dict[str, Any] | None = None) -> Proxy:
    """Record a call of the module in the graph that is traced. So the module is a leaf to every tracer."""
    tracer: Any = input.tracer
    if getattr(tracer, "root", None) is module:
        raise TraceError(
            f"Expected a model that contains the {type(module).__name__}, got the layer itself, which is a leaf: "
            "torch.fx.symbolic_trace(torch.nn.Sequential(layer))"
        )
    return tracer.create_proxy("call_module", tracer.path_of_module(module), (input, hx), options or {})


def exports_to_onnx() -> bool:
    """Whether torch.onnx.export is running. Its exporters translate only torch's operators."""
    onnx = sys.modules.get("torch.onnx")  # importing it is slow, and most programs never do
    return onnx is not None and not torch.compiler.is_dynamo_compiling() and onnx.is_in_onnx_export()


class NotScriptable:
    """Refuses torch.jit.script, which compiles Python source and cannot compile these layers'."""

    def __prepare_scriptable__(self) -> NoReturn:
        raise RuntimeError(
            f"torch.jit.script cannot compile fastrnn's {type(self).__name__}. Script torch.nn's layers with the same "
            "weights: torch.jit.script(fastrnn.to_torch(copy.deepcopy(model))); or use torch.jit.trace or torch.export"
        )
