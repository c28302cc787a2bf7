"""The tool that compares bits: what it sees, and that neither a second run nor a second thread changes a hash."""

import re

import pytest
import torch

from tests.support import bit_cases, bits

SOME = re.compile(r"^(gru|lstm_projected|LSTMCell|linear_cross_entropy) float32")


@pytest.fixture
def found():
    before = torch.get_num_threads()
    yield {"hashes": {"here": bits.hashes(SOME)}}
    torch.set_num_threads(before)


def test_a_second_run_and_a_second_thread(found):
    again = {"hashes": {"here": bits.hashes(SOME)}}
    assert bits.differences(found, again, ["here"], SOME) == []
    one, two = (found["hashes"]["here"][f"{n} threads"] for n in (1, 2))
    both = [case for case in two if case in one]
    assert len(both) > 30
    assert [case for case in both if one[case] != two[case]] == []


def test_a_change_is_named(found, monkeypatch):
    monkeypatch.setitem(bit_cases.LAYERS, "gru", bit_cases.LAYERS["gru_reset_before"])
    told = bits.differences(found, {"hashes": {"here": bits.hashes(SOME)}}, ["here"], SOME)
    assert len(told) > 50
    assert all(" gru float32 " in line and line.endswith(" differs") for line in told)
    fewer = {"hashes": {"here": bits.hashes(re.compile("^gru float32"))}}
    assert any(
        "LSTMCell" in line and line.endswith(" is missing") for line in bits.differences(found, fewer, ["here"], SOME)
    )


@pytest.mark.parametrize("other", [torch.tensor([0.0, -0.0]), torch.zeros(2, 1), torch.zeros(2).double(), None])
def test_one_bit_counts(other):
    assert bit_cases.digest([torch.zeros(2)]) == bit_cases.digest([torch.zeros(4)[::2]])
    assert bit_cases.digest([torch.zeros(2)]) != bit_cases.digest([other])
