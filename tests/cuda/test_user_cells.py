"""The functions of users' steps on CUDA (csrc/cuda/step.h), compiled for the CPU: the interpreter's numbers."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from torch.utils.cpp_extension import CUDA_HOME

from fastrnn import _C
from fastrnn._cell import compiler, emit
from tests.support import compiled

ROOT = Path(__file__).parents[2]
UNIT = """
#include "cells/compiled_cell.h"
#include "cuda/step.h"
{header}
namespace fastrnn {{
template <class A>
void run(const A* const* in, A* const* out, int64_t n) {{
  using Step = Every::Step;
  for (int64_t u = 0; u < n; ++u) {{
    cuda::Scalar<A> from[Step::inputs], to[Step::outputs];
    for (int k = 0; k < Step::inputs; ++k) from[k] = {{in[k][u]}};
    Step::step(from, to);
    for (int k = 0; k < Step::outputs; ++k) out[k][u] = to[k].v;
  }}
}}
}}
extern "C" __attribute__((visibility("default"))) const fastrnn::CompiledCell* fastrnn_compiled_cell() {{
  using namespace fastrnn;
  using Step = Every::Step;
  constexpr CompiledStep step{{Step::inputs, Step::outputs, {{run<float>, run<double>}}}};
  static constexpr CompiledCell cell{{compiled_cell_version, step, step, step}};
  return &cell;
}}
"""


@compiled.needs_compiler
def test_functions(tmp_path):
    include = Path(CUDA_HOME or "/usr/local/cuda") / "include"
    if not (include / "cuda_fp16.h").exists():
        pytest.skip(f"the headers of CUDA's numbers are not in {include}")
    step = runpy.run_path(str(ROOT / "csrc" / "cuda" / "check_cells.py"))["every_operation"]()
    with_cuda = [*compiler.find_compiler(), f"-isystem{include}", f"-I{ROOT / 'csrc'}"]
    file = tmp_path / "every.so"
    file.write_bytes(compiler.compiled(UNIT.format(header=emit.of_steps("Every", step)), with_cuda))
    program = _C.Program(*step.code)
    library = _C.CellLibrary(str(file)).inference(program)
    random = np.random.default_rng(0)
    rows = [random.normal(size=3000) * random.choice([1e-3, 1, 30], 3000) for _ in "abc"]
    special = np.array(np.meshgrid(*[compiled.SPECIAL] * 3)).reshape(3, -1)
    for kind, tolerance in ((np.float32, 5e-7), (np.float64, 2e-14)):
        run = "run_float" if kind is np.float32 else "run_double"
        for given in ([row.astype(kind) for row in rows], [row.astype(kind) for row in special]):
            found, expected = getattr(library, run)(given), getattr(program, run)(given)
            for name, got, want in zip(step.outputs, found, expected, strict=True):
                atol = tolerance if name in ("sin", "cos") else np.finfo(kind).tiny
                if name.startswith("multiply") or name == "sub_multiplied":
                    atol = tolerance * 1000  # of a product that a sum takes away again
                np.testing.assert_allclose(got, want, rtol=tolerance, atol=atol, err_msg=name)
