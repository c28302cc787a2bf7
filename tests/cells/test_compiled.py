"""Layers with compile=True: the interpreter's bits, the eager loop's numbers, and all else as without it."""

import copy
import itertools
import pickle

import pytest
import torch

import fastrnn
from fastrnn import cells
from fastrnn._cell import compiled as compiled_cell
from fastrnn._cell import compiler, kernels
from tests.cells.test_kernels import compared
from tests.support import compiled
from tests.support.user_cells import F64, numbers, of, random

CELLS = [getattr(cells, name) for name in cells.__all__]
F32 = torch.float32
_NUMBERS = itertools.count(1)


@pytest.fixture
def loaded(monkeypatch):
    """The dtypes of the libraries that were made or found."""
    found, library = [], compiler.library
    monkeypatch.setattr(compiler, "library", lambda header, dtype: found.append(dtype) or library(header, dtype))
    return found


def of_new(*sizes, **options):
    """A layer of a cell that nothing was compiled for: no other has its number."""
    number = next(_NUMBERS) / 64

    class New(fastrnn.Cell):
        gates = "a b"
        state = "h c"
        vectors = "u"

        def step(a, b, h, c, u):
            c = torch.sigmoid(a) * c + torch.tanh(b + u * c)
            return torch.relu(c) * number + h * 0.25, c

    return of(New, *sizes, **{"compile": True} | options)


def everything(layer, x, **given):
    """Output, states and all gradients."""
    x = x.clone().requires_grad_()
    output, final, states = layer(x, return_states=True, **given)
    results = [output, *(final if isinstance(final, tuple) else [final]), *states]
    loss = sum((r * random(*r.shape, seed=k, dtype=r.dtype)).sum() for k, r in enumerate(results) if r.isfinite().all())
    wanted = [x, *layer.parameters()]
    return [*results, *torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True)]


def assert_same_bits(layer, x, **given):
    layer.compiled = False
    expected = everything(layer, x, **given)
    layer.compiled = True
    for found, wanted in zip(everything(layer, x, **given), expected, strict=True):
        assert torch.equal(found, wanted)


@compiled.needs_compiler
@pytest.mark.parametrize("cell", CELLS, ids=lambda c: c.__name__)
def test_as_interpreted_and_as_eager(cell):
    """H 1 to 40, a row and several, both directions, heads and resets, in float32 and float64."""
    for dtype in (F32, F64):
        for hidden, shape in ((1, (4, 3)), (7, (3, 1)), (16, (2, 2)), (23, (5, 1)), (40, (3, 9))):
            heads = 4 if hidden == 16 and cell.declaration.recurrent_gates else 1
            layer = of(cell, 3, hidden, dtype=dtype, compile=True, bidirectional=hidden % 2 == 1, heads=heads)
            given = {name: n.to(dtype) for name, n in numbers(cell, *shape).items()}
            assert_same_bits(layer, random(*shape, 3, dtype=dtype), **given)
            resets = torch.arange(shape[0] * shape[1]).reshape(shape) % 3 == 1
            assert_same_bits(layer, random(*shape, 3, dtype=dtype), resets=resets, **given)
    for found, expected in zip(*compared(cell, 11, (4, 3), compile=True, num_layers=2), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


@compiled.needs_compiler
def test_a_dtype_is_compiled_when_it_is_first_used(loaded):
    layer = of_new(3, 5)
    assert loaded == []
    layer(random(4, 2, 3))
    layer(random(4, 2, 3))[0].sum().backward()
    assert loaded == [F64]
    layer = layer.float()
    layer(random(4, 2, 3, dtype=F32))
    layer.bfloat16()(random(4, 2, 3).bfloat16())  # computed in float32
    type(layer)(3, 7, compile=True)(random(4, 2, 3, dtype=F32))
    assert loaded == [F64, F32]
    type(layer)(3, 7)(random(4, 2, 3, dtype=F32))
    of_new(3, 5, compile=False)(random(4, 2, 3))
    assert loaded == [F64, F32]  # of layers without compile=True nothing


@compiled.needs_compiler
def test_the_library_is_what_runs():
    """Not the interpreter: a library that computes something else is seen."""
    layer, x = of_new(3, 5), random(4, 2, 3)
    kernel = layer._compiled_kernel
    text = compiled_cell.emit.header(compiler.NAME, kernel.cell, kernel.made).replace("out[0] = ", "out[0] = 2 - ")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled_cell.emit, "header", lambda *_: text)
        found = layer(x)[0]
    layer.compiled = False
    torch.testing.assert_close(found[0], 2 - layer(x)[0][0])
    assert not torch.allclose(found[1:], 2 - layer(x)[0][1:])


def test_without_a_compiler(monkeypatch):
    """One warning, then the interpreter, for any number of layers and calls."""
    monkeypatch.setattr(compiler, "_said", set())
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setenv("PATH", "")
    layer, x = of_new(3, 5, num_layers=2), random(4, 2, 3)
    with pytest.warns(RuntimeWarning, match="compile=True has no effect.*no C\\+\\+ compiler") as said:
        layer(x)
    assert len(said) == 1
    assert_same_bits(layer, x)
    assert_same_bits(of_new(3, 5), x)


def test_a_step_with_means_is_interpreted(loaded):
    layer = of(cells.LayerNormLSTM, 3, 5, compile=True)
    assert_same_bits(layer, random(4, 2, 3))
    assert loaded == []


@compiled.needs_compiler
def test_what_a_layer_keeps():
    layer, x = of(cells.Peephole, 3, 5, compile=True), random(4, 2, 3)
    expected = layer(x)[0]
    for again in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert again.compiled
        assert torch.equal(again(x)[0], expected)
    plain = of(cells.Peephole, 3, 5)
    assert list(plain.state_dict()) == list(layer.state_dict())
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(plain(x)[0], expected)
    assert "compile=True" in repr(layer)
    assert "compile" not in repr(plain)
    assert type(plain) is type(layer)
    assert callable(layer.compile)  # of torch.nn.Module


@compiled.needs_compiler
def test_graphs(loaded):
    """In a graph of torch.compile or torch.export the operator runs what this process has, with the same bits."""
    layer, x = of_new(3, 5), random(4, 2, 3)
    graph = torch.compile(layer, backend="eager", fullgraph=True)
    before = graph(x)[0]
    assert loaded == []
    program = torch.export.export(layer, (x,)).module()
    expected = layer(x)[0]
    assert loaded == [F64]
    for run in (graph, program):
        assert torch.equal(run(x)[0], expected)
    assert torch.equal(before, expected)


def test_only_texts_that_say_so_take_a_library():
    kernel = fastrnn.layer(cells.MGU)._kernel
    assert kernels.Kernel.prepare(kernel, F32) is None
    if not compiled.HERE:
        return
    library = compiled.library(cells.MGU, F32)
    with pytest.raises(ValueError, match="Expected the text of a cell that may be compiled"):
        fastrnn._C.use_library(kernel.program, library)
    with pytest.raises(ValueError, match="of another cell"):
        fastrnn._C.use_library(fastrnn.layer(cells.LTC)._compiled_kernel.program, library)
