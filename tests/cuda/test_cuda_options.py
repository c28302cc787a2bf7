"""What torch's layers lack, in the step kernels of the CUDA layers: resets, every state, a learned initial state,
recurrent dropout, zoneout, several heads.

On the CPU by emulation, see emulation/library.cpp, or on a GPU with `--device cuda`; whole modules as well, whose rows
with lengths are packed.
"""

from contextlib import ExitStack, contextmanager, nullcontext
from unittest import mock

import pytest
import torch
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from fastrnn._core import backend, gpu, operators, transforms
from fastrnn._core.extension import _C
from tests.cuda.operands import expected, forward, operands, run
from tests.layers.test_sequence_options import layer_and_call
from tests.support.regularized import carries_c, computed
from tests.support.twins import CELLS, PLAIN_CELLS, assert_same, by_reference

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY = {"resets": 0.3, "every_state": True, "learned_state": True}
ALL = EVERY | {"masks": "rhc", "heads": 3}
RAGGED = [4, 4, 3, 3, 1]


def _operands(cell, **options):
    return operands(cell, **{"times": 7, "batch": 4, "bidirectional": True} | options)


def _assert_close(found, wanted):
    for got, want in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {"resets": 0.3},
        {"resets": 1.0, "learned_state": True},
        {"every_state": True},
        {"learned_state": True},
        {"learned_state": True, "state": False},
        {"masks": "r"},
        {"masks": "h"},
        {"masks": "c"},
        {"masks": "rhc", "packed": RAGGED, "state": False},
        {"heads": 2, "hidden": 8},
        {"heads": 3, "packed": RAGGED},
        ALL,
        ALL | {"state": False, "bias": False},
        ALL | {"batch_first": True, "times": 1},
        ALL | {"packed": RAGGED},
        ALL | {"packed": RAGGED, "state": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_as_the_reference(kernels, cell, options, recompute):
    """Outputs, c after every step, final states and all gradients, in both directions."""
    given = _operands(cell, **options)
    _assert_close(run(kernels, given, recompute), expected(given))


@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("options", [{}, {"batch_first": True}, {"packed": [4, 4, 3, 3, 1, 1, 1]}], ids=str)
@pytest.mark.parametrize("cell", PLAIN_CELLS)
@pytest.mark.usefixtures("small_chunks")
def test_over_several_chunks(emulated, cell, options, recompute):
    """Rows also begin anew with the first step of a chunk."""
    given = _operands(cell, **ALL | options)
    _assert_close(run(emulated, given, recompute), expected(given))


@pytest.mark.parametrize("packed", [None, list(range(600, 0, -20))], ids=["padded", "packed"])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_recompute_over_several_checkpoints(kernels, cell, packed):
    given = _operands(cell, **ALL | {"times": 20, "batch": 300, "packed": packed})
    _assert_close(run(kernels, given, recompute=True), run(kernels, given))


# Rounding of weights, inputs and states to the dtype: a few units in its last place.
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-6), (torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize("cell", PLAIN_CELLS)
def test_narrower_numbers(kernels, cell, dtype, tolerance):
    for recompute in (False, True):
        given = _operands(cell, **ALL).to(dtype)
        with gpu.tf32(False):
            found = run(kernels, given, recompute)
        for got, want in zip(found, expected(given.to(torch.float64)), strict=True):
            assert got.dtype == dtype
            assert (got.double() - want).abs().max() <= tolerance * max(1.0, float(want.abs().max()))


LAYOUTS = {
    "the same at all times": lambda r: r[:1].expand_as(r),
    "the same in all rows": lambda r: r[:, :1].expand_as(r),
    "transposed": lambda r: r.t().contiguous().t(),
    "of a wider table": lambda r: torch.stack([~r, r, ~r], -1).flatten(1)[:, 1::3],
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_layout_of_resets(kernels, layout, batch_first):
    """The kernels read them where they lie."""
    given = _operands("lstm", **ALL | {"batch_first": batch_first})
    resets = LAYOUTS[layout](given.resets)
    assert not resets.is_contiguous()
    wanted = run(kernels, given._replace(resets=resets.contiguous()))
    for got, want in zip(run(kernels, given._replace(resets=resets)), wanted, strict=True):
        assert torch.equal(got, want)


def test_resets_of_packed_rows_that_lie_apart(kernels):
    given = _operands("gru", **ALL | {"packed": RAGGED})
    apart = torch.stack([given.resets, ~given.resets], 1)[:, 0]
    assert all(map(torch.equal, run(kernels, given), run(kernels, given._replace(resets=apart))))


def test_resets_that_name_no_row_change_nothing(kernels):
    given = _operands("lstm", learned_state=True, resets=0.0)
    assert not given.resets.any()
    found, wanted = run(kernels, given), run(kernels, given._replace(resets=None))
    assert all(map(torch.equal, found, wanted))


@pytest.mark.parametrize("kernel", ["block", "cluster", "grid"])
@pytest.mark.parametrize("cell", ["rnn_tanh", "gru", "lstm"])
def test_persistent_kernels_take_a_learned_state_alone(emulated, monkeypatch, cell, kernel):
    """The rest goes step by step, whatever is asked for."""
    unit = 2**-10
    for options, persistent in (
        ({"learned_state": True, "state": False}, True),
        ({"resets": 0.3}, False),
        ({"every_state": True}, cell != "lstm"),  # which asks for nothing where there is no c
        ({"masks": "r"}, False),
        ({"masks": "h"}, False),
        ({"heads": 3}, False),
        (ALL, False),
    ):
        given = _operands(cell, **options).to(torch.float16)
        wanted = expected(given.to(torch.float64))
        monkeypatch.setenv("FASTRNN_CUDA_KERNEL", kernel)
        before = emulated.calls()["sequences"]
        found = run(emulated, given)
        assert (emulated.calls()["sequences"] > before) == persistent
        for got, want in zip(found, wanted, strict=True):
            assert (got.double() - want).abs().max() <= 4 * unit * max(1.0, float(want.abs().max()))


def test_lengths_are_refused(emulated):
    """Those of padded rows, which the kernels do not know; not ignored."""
    cell, input, _, *rest = _operands("gru")[:10]
    lengths = torch.tensor([3, 7, 1, 2])
    with pytest.raises(
        NotImplementedError, match=r"Expected packed input with batch_sizes on cpu, got padded input with"
    ):
        emulated.forward(cell, input, None, *rest[:-1], True, False, rest[-1], lengths)


@contextmanager
def as_on_cuda(emulated, layer=transforms.layer):
    """Whole modules on the CPU that do as on CUDA, by the emulated operators. Gradients go through transforms.Layer,
    since autograd knows fastrnn's own operators alone."""

    def kernels(call):
        assert call.lengths is None
        return layer(call)

    replaced = [
        mock.patch.object(_C, "run_layer", return_value=None),  # the way of the CPU's layers
        mock.patch.object(backend, "_takes_options_as_given", return_value=False),
        mock.patch.object(backend, "_kernels_know_options", lambda call: call.lengths is None),
        mock.patch.object(backend, "_compiled_for_inference", return_value=False),
        mock.patch.object(backend.autograd, "layer", kernels),
        mock.patch.object(operators, "forward", emulated.forward.default),
        mock.patch.object(operators, "backward", emulated.backward.default),
    ]
    with ExitStack() as stack:
        for each in replaced:
            stack.enter_context(each)
        yield


COMBINATIONS = {
    "data": st.data(),
    "cell": st.sampled_from(list(CELLS)),
    "times": st.integers(1, 9),
    "batch": st.integers(1, 6),
    "units": st.integers(1, 4),
    "heads": st.sampled_from([1, 1, 2, 3]),
    "rates": st.tuples(*[st.sampled_from([0.0, 0.25, 1.0])] * 3) | st.just((0.0, 0.0, 0.0)),
    "layers": st.integers(1, 2),
    "flags": st.tuples(*[st.booleans()] * 4),
}


def drawn_module(data, cell, times, batch, units, heads, rates, layers, flags):
    """A layer of a combination, its input and state, and what it is called with."""
    training, bidirectional, batch_first, recompute = flags
    names = ("recurrent_dropout", "zoneout_h", "zoneout_c")[: 2 + carries_c(cell)]
    layer, *given = layer_and_call(
        lambda name: data.draw(st.booleans(), label=name),
        *(cell, times, batch, 2 * units * heads),
        heads=heads,
        num_layers=layers,
        bidirectional=bidirectional,
        batch_first=batch_first,
        recompute=recompute,
        **dict(zip(names, rates, strict=False)),
    )
    return layer.train(training), *given


@settings(max_examples=80)
@drawn(**COMBINATIONS)
def test_modules_with_any_combination(emulated, rates, **combination):
    rates = rates[: 2 + carries_c(combination["cell"])]
    layer, x, hx, called = drawn_module(rates=rates, **combination)
    with as_on_cuda(emulated, operators.run_reference) if any(rates) else nullcontext():  # masks of packed rows
        expected = computed(layer, x, hx, call=None if any(rates) else by_reference, **called)
    none = "lengths" in called and not called["lengths"].any()  # then there is nothing to pack
    reference, before = operators.run_reference if none else None, emulated.calls()["products"]
    with as_on_cuda(emulated), mock.patch.object(operators, "run_reference", reference):
        assert_same(computed(layer, x, hx, **called), expected)
    assert emulated.calls()["products"] > before or none


def test_a_step_saves_the_same_rows(kernels):
    """But with zoneout, which hides what the backward pass goes by: c of the cell, or h of one that saves nothing."""
    for cell, hidden_by in (("lstm", "c"), ("gru", ""), ("rnn_tanh", "h")):
        plain = forward(kernels, _operands(cell))[3].shape
        for masks in ("r", "h", "c", "rhc"):
            found = forward(kernels, _operands(cell, **ALL | {"masks": masks}))[3].shape
            assert found[:-1] == plain[:-1]
            assert found[-1] - plain[-1] == (6 if hidden_by and hidden_by in masks else 0)


MASKS = {
    "the same at all steps": lambda m: m[:1, :1].expand_as(m),
    "a number for all": lambda m: m[:1, :1, :1].expand_as(m),
    "transposed": lambda m: m.transpose(0, 1).contiguous().transpose(0, 1),
    "columns": lambda m: m.movedim(-1, 0).contiguous().movedim(0, -1),
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("layout", MASKS)
def test_any_layout_of_masks(kernels, layout, batch_first):
    """At inference zoneout is one row, expanded."""
    given = _operands("lstm", masks="rhc", batch_first=batch_first)
    names = ("recurrent_mask", "zoneout_h", "zoneout_c")
    laid_out = {name: MASKS[layout](getattr(given, name)) for name in names}
    wanted = run(kernels, given._replace(**{name: t.contiguous() for name, t in laid_out.items()}))
    assert all(map(torch.equal, run(kernels, given._replace(**laid_out)), wanted))


def test_masks_of_more_rows_than_the_batch(kernels):
    """As packed input has them while it is traced."""
    given = _operands("gru", masks="r", packed=RAGGED)
    more = torch.cat([given.recurrent_mask, given.recurrent_mask], 1)
    assert all(map(torch.equal, run(kernels, given), run(kernels, given._replace(recurrent_mask=more))))


@pytest.mark.parametrize("cell", CELLS)
def test_masks_of_ones_and_zoneout_of_nothing_are_the_plain_layer(kernels, cell):
    given = _operands(cell, masks="rhc")
    nothing = {
        name: torch.zeros_like(getattr(given, name))
        for name in ("zoneout_h", "zoneout_c")
        if getattr(given, name) is not None
    }
    given = given._replace(recurrent_mask=torch.ones_like(given.recurrent_mask), **nothing)
    _assert_close(run(kernels, given), run(kernels, _operands(cell)))


@pytest.mark.parametrize("cell", CELLS)
def test_heads_are_the_blocks_of_one(kernels, cell):
    """With as many heads as there are units of the state, and sizes that no vector divides."""
    for heads, hidden in ((3, 6), (5, 30), (2, 4) if cell == "lstm_projected" else (7, 7)):
        given = _operands(cell, heads=heads, hidden=hidden, every_state=True)
        _assert_close(run(kernels, given), expected(given))
