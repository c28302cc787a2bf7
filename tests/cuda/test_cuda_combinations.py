"""Whole modules on a GPU with what torch's layers lack, in any combination; see test_cuda.py.

Run with `pytest --device cuda`. The same by emulation: test_cuda_options.py.
"""

import copy
import os
from unittest import mock

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call, grad, jvp, vmap

from fastrnn._core import backend, gpu, operators
from tests.cuda.test_cuda import warmed_up
from tests.cuda.test_cuda_options import COMBINATIONS, drawn_module
from tests.support.regularized import computed, layer_of
from tests.support.twins import CELLS, PLAIN_CELLS, assert_same, random

pytestmark = pytest.mark.usefixtures("on_cuda")


def refuse(*arguments, **options):
    raise AssertionError("the kernels should have run")


@settings(max_examples=150)
@given(**COMBINATIONS, by_default=st.booleans())
def test_any_combination(by_default, **combination):
    """The same as the reference on the same device, whose masks come from the same generator. With fastrnn's own
    kernels, or by default, where torch's operator runs what it has."""
    layer, x, hx, called = drawn_module(**combination)
    if "resets" in called:
        called["resets"] = called["resets"].to(x.device)
    none = "lengths" in called and not called["lengths"].any()  # then there is nothing to run
    asked_for = "" if by_default else os.environ[gpu.KERNEL]
    with (
        mock.patch.object(operators, "run_reference", operators.run_reference if none else refuse),
        mock.patch.dict(os.environ, {gpu.KERNEL: asked_for}),
    ):
        found = computed(layer, x, hx, **called)
    with mock.patch.object(backend.autograd, "layer", operators.run_reference), gpu.own_kernels():
        assert_same(found, computed(layer, x, hx, **called))


def every_option(cell, dtype=torch.float32, **options):
    """A layer with masks, heads and a learned state, its input, and what it is called with."""
    layer = layer_of(cell, 48, (0.25,) * 3, 17, heads=3, num_layers=2, learn_initial_state=True, dtype=dtype, **options)
    x = random(9, 5, 17, dtype=dtype)
    return layer, x, {"resets": torch.rand(9, 5, device="cuda") < 0.3, "return_states": True}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_the_same_bits_twice(cell, dtype):
    layer, x, called = every_option(cell, dtype, bidirectional=True)
    first, second = (computed(layer, x, None, **called) for _ in range(2))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []


@pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature")  # torch says so once
@pytest.mark.parametrize("cell", CELLS)
def test_the_host_never_waits(cell):
    layer, x, called = every_option(cell)
    torch.cuda.set_sync_debug_mode("error")
    try:
        output = layer(x.requires_grad_(), **called)[0]
        torch.autograd.grad(output.sum(), [x, *layer.parameters()], allow_unused=True)
        with torch.no_grad():
            layer.eval()(x, **called)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("cell", CELLS)
def test_a_graph_of_a_training_step(cell):
    """Its replay reads the input and the resets of then; without masks, which a graph draws anew."""
    layer = layer_of(cell, 48, (), 17, heads=3, num_layers=2, learn_initial_state=True)
    x, other = (random(9, 5, 17, dtype=torch.float32, seed=seed).requires_grad_() for seed in (1, 2))
    resets, others = (torch.rand(9, 5, device="cuda") < 0.3 for _ in range(2))

    def step(input, resets):
        output = layer(input, resets=resets)[0]
        return [output.detach(), *torch.autograd.grad(output.square().sum(), [input, *layer.parameters()])]

    expected = step(other, others)
    warmed_up(lambda: step(x, resets))
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = step(x, resets)
    with torch.no_grad():
        x.copy_(other)
    resets.copy_(others)
    graph.replay()
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("cell", CELLS)
def test_a_graph_draws_masks_anew(cell):
    """Of recurrent dropout: a replay's output is not the one before, and a mask is one for all steps."""
    layer, x, _ = every_option(cell)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad():
        warmed_up(lambda: layer(x))
        with torch.cuda.graph(graph):
            output, _ = layer(x)
    graph.replay()
    first = output.clone()
    graph.replay()
    assert first.isfinite().all()
    assert not torch.equal(first, output)


@pytest.mark.parametrize("shift", [70, 100, 120])
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.startswith("layer_norm")])
def test_layer_norm_of_what_squares_to_infinity(cell, shift):
    """What is larger by a power of two has the same norm, and no number of it is 0 or infinite."""
    layer, x = layer_of(cell, 40, (), 5, heads=5, dtype=torch.float32), random(3, 2, 5, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(layer(x * 2.0**shift)[0], layer(x * 2.0**40)[0])


@pytest.mark.filterwarnings("ignore:.torch.jit.script.* is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kernel", ["", "step"], ids=["by default", "step"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_derivatives_by_torch_func(cell, kernel, monkeypatch):
    """Per-sample gradients of weights given to the layer, and forward mode, as on the CPU."""
    monkeypatch.setenv(gpu.KERNEL, kernel)
    layer, x = layer_of(cell, 8, ()), random(6, 4, 3)
    on_cpu = copy.deepcopy(layer.double()).cpu()

    def everything(layer, x):
        def loss(weights, x):
            return functional_call(layer, weights, (x.unsqueeze(1),))[0].square().sum()

        weights = {name: weight.detach() for name, weight in layer.named_parameters()}
        forward = jvp(lambda x: layer(x)[0], (x,), (x.cos(),))
        return [*forward, *vmap(grad(loss), in_dims=(None, 1))(weights, x).values()]

    for found, expected in zip(everything(layer, x), everything(on_cpu, x.cpu()), strict=True):
        torch.testing.assert_close(found.cpu(), expected)
