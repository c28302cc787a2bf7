"""The headers that fastrnn emits of users' cells, for nvcc: part of `make cuda-check`.

No loop on the GPU runs them yet. That they compile there, without spills, is what a loop will rest on.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]

# A thread for each unit, as a loop's pointwise part has it.
KERNEL = """\
#include "{root}/csrc/cuda/step.h"
{headers}
namespace fastrnn::cuda {{

template <class Step, class A>
__global__ void step_units(const A* const* in, A* const* out, int64_t n) {{
  const int64_t u = blockIdx.x * int64_t(blockDim.x) + threadIdx.x;
  if (u >= n) return;
  Scalar<A> from[Step::inputs], to[Step::outputs];
  for (int k = 0; k < Step::inputs; ++k) from[k] = {{in[k][u]}};
  Step::step(from, to);
  for (int k = 0; k < Step::outputs; ++k) out[k][u] = to[k].v;
}}

{kernels}
}}  // namespace fastrnn::cuda
"""
INSTANCE = "template __global__ void step_units<{step}, {a}>(const {a}* const*, {a}* const*, int64_t);"


def every_operation() -> Any:
    """A step that computes each operation there is, as an output of its own, of a and b, and where of all three."""
    from fastrnn._cell import bytecode, emit
    from fastrnn._cell.graph import Graph

    g = Graph()
    a, b, c = inputs = [g.input("gate", name) for name in "abc"]
    less, product = g.node("lt", a, b), g.node("mul", a, b)
    truth = [less, g.node("le", a, b), g.node("eq", a, b), g.node("and", less, g.node("lt", b, c))]
    truth += [g.node("or", less, g.node("lt", b, c)), g.node("not", less)]
    found = {"where": g.where(less, b, c), "multiply_add": g.add(g.mul(b, c), a)}
    found |= {"multiply_sub": g.sub(g.mul(a, c), b), "sub_multiplied": g.sub(c, product)}
    found |= {t.op: g.where(t, b, g.constant(0.5)) for t in truth}
    found |= {"copy": c, "power": g.power(a, 5), "inverse power": g.power(a, -3)}
    found["clamp"] = g.node("clamp", a, value=(-0.5, 0.75))
    for name in ("add", "sub", "mul", "div", "maximum", "minimum"):
        found[name] = g.node(name, a, b)
    for name in bytecode.OPERATIONS[: bytecode.OPERATIONS.index("not")]:
        found.setdefault(name, g.node(name, a))
    code = bytecode.emit(inputs, list(found.values()))
    return emit.Step("Step", code, "abc", [name.replace(" ", "_") for name in found])


def source() -> str | None:
    """A file for nvcc with the steps of fastrnn.cells, or None, said, where they cannot be emitted."""
    sys.path.append(str(ROOT))  # a checkout that is built and not installed
    try:
        from fastrnn import cells
        from fastrnn._cell import emit
        from fastrnn._cell.programs import programs
    except ImportError as error:
        print(f"cells of users: not checked: {error}")
        return None
    headers, steps = [emit.of_steps("Every", every_operation())], ["Every::Step"]
    for name in cells.__all__:
        declared = getattr(cells, name).declaration
        made = programs(declared)
        if not emit.possible(made):
            print(f"{name}: a step with means or matrices, which is not emitted")
            continue
        headers.append(emit.header(name, declared, made))
        steps += [f"{name}::{step}" for step in ("Inference", "Forward", "Backward")]
    kernels = [INSTANCE.format(step=step, a=a) for step in steps for a in ("float", "double")]
    text = "\n".join(headers).replace("#pragma once\n", "")
    return KERNEL.format(root=ROOT, headers=text, kernels="\n".join(kernels))
