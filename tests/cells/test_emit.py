"""Emitted C++: the text of a cell, and what it computes, compiled, against the interpreter."""

import os
import re
from pathlib import Path

import pytest
import torch
from torch import sigmoid

import fastrnn
from fastrnn import _C, cells
from fastrnn._cell import compiler, emit, headers
from fastrnn._cell.programs import programs
from tests.support import compiled
from tests.support.instruction_sets import printed

CELLS = [cell for cell in map(vars(cells).get, cells.__all__) if emit.possible(programs(cell.declaration))]
ROOT = Path(__file__).parents[2]


def test_the_text_of_a_cell():
    class Leaky(fastrnn.Cell):
        gates = "a"
        vectors = "ü"

        def step(a, h, ü):
            return torch.where(a > 0, sigmoid(a) * h + ü, -0.1)

    declared = Leaky.declaration
    text = emit.header("Leaky", declared, programs(declared))
    assert (
        """
struct Leaky {
  // in: a, h, ?
  // out: h
  struct Inference {
    static constexpr int inputs = 3, outputs = 1;
    template <class V>
    FASTRNN_CELL void step(const V* in, V* out) {
      const V v0 = less(constant_of<V>(0.0), in[0]);
      const V v1 = sigmoid(in[0]);
      const V v2 = multiply_add(in[1], v1, in[2]);
      const V v3 = where(v0, v2, constant_of<V>(-0.1));
      out[0] = v3;
    }
  };
"""
        in text
    )
    assert text.isascii()


def test_the_headers_that_are_installed_are_those_that_are_included():
    waiting, found = [name for name in headers.HEADERS if name.startswith("cpu/for_")], set()
    waiting.append("cpu/compiled_cell.h")
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            file = headers.folder() / name
            for included in re.findall(r'^#include "(.*)"', file.read_text(), re.MULTILINE):
                waiting.append((file.parent / included).resolve().relative_to(headers.folder().resolve()).as_posix())
    assert sorted(found) == sorted(headers.HEADERS)


def test_means_and_matrices_are_left_to_the_interpreter():
    assert {*cells.__all__} - {cell.__name__ for cell in CELLS} == {"LayerNormLSTM", "TextbookGRU"}


@compiled.needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_published_cells_have_the_bits_of_the_interpreter(dtype, compiled_cells):
    for cell in CELLS:
        made = programs(cell.declaration)
        library = compiled_cells(cell, dtype)
        for name in compiled.PROGRAMS:
            compiled.assert_same_bits(getattr(made, name), getattr(library, name), dtype)


@compiled.needs_compiler
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_random_programs_have_the_bits_of_the_interpreter(dtype):
    compiled.check_random_programs(dtype)


@compiled.needs_compiler
@pytest.mark.parametrize("isa", ["generic", "avx2", "avx512"])
def test_instruction_sets(isa):
    if fastrnn.info()["instruction_set"].removesuffix("_bf16") == isa:
        pytest.skip("what all other tests run on")
    program = "from tests.support import compiled; compiled.check_cells(); print(compiled._C.instruction_set())"
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    assert isa in printed(program, isa, PYTHONPATH=paths)


@compiled.needs_compiler
def test_a_library_is_of_one_cell_and_version(compiled_cells, tmp_path):
    library = compiled_cells(cells.MGU, torch.float32)
    other = _C.Program(*programs(cells.LTC.declaration).inference)
    inputs = {name: getattr(programs(cells.MGU.declaration), name).inputs for name in compiled.PROGRAMS}
    for name in compiled.PROGRAMS:
        with pytest.raises(ValueError, match=f"of another cell: its program has {inputs[name]} inputs"):
            getattr(library, name)(other)
    with pytest.raises(RuntimeError, match="cannot be loaded"):
        _C.CellLibrary(str(tmp_path / "none.so"))
    libc = next(line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines() if "/libc.so" in line)
    with pytest.raises(RuntimeError, match="is no compiled cell"):
        _C.CellLibrary(libc)
    source = compiler.unit(
        emit.header(compiler.NAME, cells.MGU.declaration, programs(cells.MGU.declaration)), torch.float32
    )
    (tmp_path / "old.so").write_bytes(
        compiler.compiled(
            source.replace("return &cell;", "static fastrnn::CompiledCell old = cell; old.version = 0; return &old;"),
            compiler.find_compiler(),
        )
    )
    with pytest.raises(RuntimeError, match="of version 0, and this is version 1"):
        _C.CellLibrary(str(tmp_path / "old.so"))
