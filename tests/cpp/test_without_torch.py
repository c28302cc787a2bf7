"""The kernels need no torch: no header of it is included outside csrc/torch, and a plain program computes layers.

The programs, layer.cpp and cells.cpp, are compiled with csrc/cpu and nothing else, and run on every instruction set of
this machine. layer.cpp's numbers are compared here with the equations of fastrnn.reference in float64.
"""

import itertools
import os
import re
import shutil
import struct
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy
import pytest
import torch

from fastrnn import reference
from fastrnn._core.cells import CELLS
from tests.support.instruction_sets import sets_here

HERE = Path(__file__).parent
CSRC = HERE.parents[1] / "csrc"
CXX = os.environ.get("CXX", "g++")
SETS = sets_here()

# Lengths of the rows, I, H, projection. By rows of the batch and by hidden units; several checkpoints; single steps; a
# few rows, multiplied where the weights lie, so deep that a sum goes in two chains; more than go at a time.
SHAPES = [
    ([7, 7, 4, 1, 1], 6, 5, 0),
    ([40] * 9, 3, 24, 0),
    ([11, 9, 2], 9, 130, 0),
    ([1], 20, 33, 0),
    ([12, 3], 5, 17, 6),
    ([2, 2, 2, 1, 1], 2100, 5, 0),
    ([1] * 41, 7, 21, 10),
]
TOLERANCES = {"float64": 1e-12, "float32": 3e-6}  # relative to the largest number of each result


@pytest.fixture(scope="module")
def objects(tmp_path_factory):
    """The kernels of every instruction set, compiled. Unoptimised: the compiler takes a fifth of the time."""
    if not shutil.which(CXX):
        pytest.skip(f"there is no C++ compiler {CXX}")
    folder = tmp_path_factory.mktemp("without_torch")
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(lambda source: _compiled(source, folder), sorted(CSRC.glob("cpu/*.cpp"))))


def _compiled(source, folder, level="-O0"):
    to = folder / f"{source.stem}.o"
    command = [CXX, "-std=c++20", level, "-fopenmp", "-c", source, "-o", to]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return to


def _linked(name, objects):
    """A program of this folder, with the kernels."""
    folder = objects[0].parent
    own = _compiled(HERE / f"{name}.cpp", folder, "-O1")
    subprocess.run([CXX, "-fopenmp", own, *objects, "-o", folder / name], check=True)
    return folder / name


@pytest.fixture(scope="module")
def program(objects):
    path = _linked("layer", objects)
    cells = subprocess.run([path, "cells"], check=True, capture_output=True, text=True).stdout.split()
    assert cells == list(reference.CELLS)
    return path


def _run(program, isa, cell, dtype, threads, reverse, recompute, lengths, sizes, arrays):
    """The program's results by name, flat."""
    head = (
        list(reference.CELLS).index(cell),
        dtype.itemsize,
        reverse,
        threads,
        lengths[0],
        len(lengths),
        *sizes,
        recompute,
    )
    given = struct.pack(f"={len(head) + len(lengths)}q", *head, *lengths)
    for name, array in arrays.items():
        numbers = array.detach().numpy().astype(dtype)
        given += struct.pack("=8sq", name.ljust(8).encode(), numbers.size) + numbers.tobytes()
    done = subprocess.run(
        [program], input=given, capture_output=True, env=os.environ | {"FASTRNN_ISA": isa}, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found, rest = {}, done.stdout
    while rest:
        name, count = struct.unpack_from("=8sq", rest)
        found[name.decode().strip()] = numpy.frombuffer(rest, dtype, count, 16)
        rest = rest[16 + count * dtype.itemsize :]
    return found


def _operands(cell, lengths, inputs, hidden, projection, biases, states, regularized):
    """What a layer is given, and the gradients that come back to it, as leaves in float64."""
    generator = torch.Generator().manual_seed(len(lengths) * hidden)

    def numbers(*shape):
        return (torch.rand(shape, generator=generator, dtype=torch.float64) - 0.5) * 2 / hidden**0.5

    described, output, batch = reference.CELLS[cell], projection or hidden, len(lengths)
    gates = described.gates * hidden
    shapes = {"x": (sum(lengths), inputs), "w_ih": (gates, inputs), "w_hh": (gates, output)}
    shapes |= {"b_ih": (gates,), "b_hh": (gates,)} if biases else {}
    shapes |= {"w_hr": (projection, hidden)} if projection else {}
    sizes = CELLS[cell].vectors.values()
    shapes |= {f"vector{k}": (size * hidden,) for k, size in enumerate(sizes)}
    shapes |= {"h0": (batch, output), "c0": (batch, hidden)} if states else {}
    shapes |= {"mask": (batch, output), "zone_h": (sum(lengths), output)} if regularized else {}
    shapes |= {"zone_c": (sum(lengths), hidden)} if regularized else {}
    shapes |= {"dy": (sum(lengths), output), "dhn": (batch, output), "dcn": (batch, hidden)}
    if not described.carries_c:
        shapes = {name: shape for name, shape in shapes.items() if name not in ("c0", "dcn", "zone_c")}
    constants = ("d", "mask", "zone")
    return {name: numbers(*shape).requires_grad_(not name.startswith(constants)) for name, shape in shapes.items()}


def _expected(cell, lengths, hidden, reverse, operands):
    """The same by the equations, step by step."""
    active = [sum(t < length for length in lengths) for t in range(lengths[0])]
    steps = operands["x"].split(active)
    weights = [operands.get(name) for name in ("w_ih", "w_hh", "b_ih", "b_hh")]
    weights += [operands[name] for name in operands if name == "w_hr" or name.startswith("vector")]
    dtype = weights[1].dtype
    zeros = torch.zeros(len(lengths), weights[1].shape[1], dtype=dtype)
    h, c = operands.get("h0", zeros), None
    if reference.CELLS[cell].carries_c:
        c = operands.get("c0", torch.zeros(len(lengths), hidden, dtype=dtype))
    y = [zeros] * len(steps)
    zones = [operands[name].split(active) if name in operands else None for name in ("zone_h", "zone_c")]
    for t in reversed(range(len(steps))) if reverse else range(len(steps)):
        n = active[t]
        dropped = h[:n] * operands["mask"][:n] if "mask" in operands else None
        y[t], new_c = reference.step(cell, steps[t], h[:n], None if c is None else c[:n], weights, dropped)
        if zones[0]:
            y[t] = zones[0][t] * h[:n] + (1 - zones[0][t]) * y[t]
        if zones[1]:
            new_c = zones[1][t] * c[:n] + (1 - zones[1][t]) * new_c
        h, c = torch.cat([y[t], h[n:]]), None if c is None else torch.cat([new_c, c[n:]])
    found = {"y": torch.cat(y), "hn": h} | ({} if c is None else {"cn": c})
    leaves = {name: t for name, t in operands.items() if t.requires_grad}
    incoming = [operands["d" + name] for name in found]
    grads = torch.autograd.grad(list(found.values()), list(leaves.values()), incoming)
    return found | {"d" + name: grad for name, grad in zip(leaves, grads, strict=True)}


@pytest.mark.parametrize("cell", reference.CELLS)
def test_layer(program, cell):
    cases = [(shape, options) for i, shape in enumerate(SHAPES) for options in (i % 4, (i + 1) % 4)]
    for n, ((lengths, inputs, hidden, projection), options) in enumerate(cases):
        if projection and not CELLS[cell].projectable:
            continue
        reverse, recompute, biases, states = options & 1, options >> 1, options < 3, n % 3
        regularized = n // 2 % 2
        operands = _operands(cell, lengths, inputs, hidden, projection, biases, states, regularized)
        expected = _expected(cell, lengths, hidden, reverse, operands)
        narrow = {name: t.detach().float().requires_grad_(t.requires_grad) for name, t in operands.items()}
        rounded = _expected(cell, lengths, hidden, reverse, narrow)
        sizes, threads = (inputs, hidden, projection), 1 + n % 3
        for isa, (dtype, tolerance) in itertools.product(SETS, TOLERANCES.items()):
            found = _run(program, isa, cell, numpy.dtype(dtype), threads, reverse, recompute, lengths, sizes, operands)
            assert expected.keys() <= found.keys()
            for name, value in expected.items():
                value, other = value.detach().numpy().ravel(), rounded[name].detach().numpy().ravel()
                error, known = (
                    abs(numbers - value).max() / max(1, abs(value).max()) for numbers in (found[name], other)
                )
                # Normalization of few numbers magnifies how they are rounded: in the equations in float32 as well.
                allowed = tolerance + 2 * known * (dtype == "float32" and CELLS[cell].normalized)
                assert error <= allowed, f"{name} of {lengths} {sizes}, options {options}, {isa}, {dtype}: {error}"


def test_user_cells(objects):
    """Values, gradients, and the same bits for any number of threads: cells.cpp says what differs."""
    cells = _linked("cells", objects)
    for isa in SETS:
        done = subprocess.run(
            [cells], capture_output=True, text=True, env=os.environ | {"FASTRNN_ISA": isa}, timeout=300
        )
        assert done.returncode == 0, f"{isa}:\n{done.stdout}{done.stderr}"


@pytest.mark.parametrize("folder", sorted(path.name for path in CSRC.iterdir() if path.name != "torch"))
def test_no_header_of_torch(folder):
    files = [path for path in CSRC.glob(f"{folder}/**/*") if path.suffix in (".h", ".cpp", ".cu")]
    assert files
    for path in files:
        text = path.read_text(encoding="utf-8")
        for header in re.findall(r'^\s*#\s*include\s*[<"](.*?)[>"]', text, re.MULTILINE):
            assert not re.match(r"(ATen|c10|caffe2|torch)/", header), f"{path} includes {header}"
            assert "../torch" not in header, f"{path} includes {header}"
        assert not re.search(r"\b(at|c10|torch)::", text), f"{path} names something of torch's"
