"""The training kernel against the numpy reference, and the reference against torch's gradients."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from fastrnn.word2vec import _C
from fastrnn.word2vec.training import reference
from fastrnn.word2vec.training.huffman import huffman_paths
from fastrnn.word2vec.training.pairs import skip_gram_pairs
from fastrnn.word2vec.training.parameters import empty_rows, random_rows
from fastrnn.word2vec.training.sampling import alias_table, choices, epoch_key, keep_thresholds, split_mix
from tests.support.instruction_sets import SETS

WORDS = 40
ALPHA = 0.05
SCHEMES = [(1, 0), (0, 0), (1, 1), (0, 1)]  # sg, hs


class Run:
    """A small corpus of skewed counts with what the kernel needs; all parameters random, so that nothing is zero."""

    def __init__(
        self,
        size=17,
        sg=1,
        hs=0,
        negative=5,
        mean=1,
        shrink=True,
        window=3,
        sample=0.0,
        sentences=30,
        lengths=None,
        scale=1.0,
        lock=None,
    ):
        generator = np.random.default_rng(1)
        lengths = generator.integers(0, 40, sentences) if lengths is None else lengths
        self.offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        self.ids = (WORDS * generator.random(self.offsets[-1]) ** 2).astype(np.int32)
        self.counts = np.bincount(self.ids, minlength=WORDS) + 1
        self.keep = keep_thresholds(self.counts, sample)
        self.alias = alias_table(self.counts**0.75)
        self.paths = huffman_paths(self.counts)
        self.size, self.sg, self.hs, self.negative, self.mean = size, sg, hs, negative, mean
        self.shrink, self.window, self.key = shrink, window, epoch_key(1, 0)
        self.lock = None if lock is None else generator.choice(lock, WORDS).astype(np.float32)
        self.start = []
        for seed, rows in enumerate((WORDS, WORDS - 1, WORDS)):
            matrix = empty_rows(rows, size)
            matrix[:, :size] = np.random.default_rng(seed).normal(size=(rows, size)) * scale / size**0.5
            self.start.append(matrix)

    def kernel(self, workers=1, deterministic=False, end=ALPHA, progress=None):
        syn0, syn1, syn1neg = [matrix_copy(matrix) for matrix in self.start]
        loss, pairs = _C.train_epoch(
            ids=self.ids,
            offsets=self.offsets,
            syn0=syn0,
            syn1=syn1 if self.hs else None,
            syn1neg=syn1neg if self.negative else None,
            keep=self.keep,
            alias=self.alias,
            paths=self.paths,
            lock=self.lock,
            skip_gram=bool(self.sg),
            cbow_mean=bool(self.mean),
            shrink_windows=self.shrink,
            window=self.window,
            negative=self.negative,
            key=self.key,
            alpha_begin=ALPHA,
            alpha_end=end,
            workers=workers,
            deterministic=deterministic,
            progress=progress,
        )
        assert all((m[:, self.size :] == 0).all() for m in (syn0, syn1, syn1neg))
        return [m[:, : self.size] for m in (syn0, syn1, syn1neg)], loss, pairs

    def steps(self, offsets=None):
        offsets = self.offsets if offsets is None else offsets
        return reference.negative_sampling_steps(
            self.ids, offsets, self.keep, self.alias, self.key, self.window, self.negative, self.shrink
        )

    def step(self, syn0, syn1, step):
        if self.sg:
            return reference.skip_gram_step(syn0, syn1, step, ALPHA, self.lock)
        return reference.cbow_step(syn0, syn1, step, ALPHA, bool(self.mean), self.lock)

    def reference(self, steps=None):
        syn0, syn1, syn1neg = (matrix[:, : self.size].astype(np.float64) for matrix in self.start)
        loss = 0.0
        steps = list(self.steps()) if steps is None else steps
        ways = reference.hierarchical_steps(iter(steps), self.paths)
        for step, way in zip(steps, ways, strict=True):
            loss += self.step(syn0, syn1, way) if self.hs else self.step(syn0, syn1neg, step)
        return (syn0, syn1, syn1neg), loss, sum(len(s.context) if self.sg else 1 for s in steps)


def matrix_copy(matrix):
    result = empty_rows(*matrix.shape)
    result[:] = matrix
    return result


def assert_like_reference(run, steps=None, **options):
    kernel, loss, pairs = run.kernel(**options)
    expected, expected_loss, expected_pairs = run.reference(steps)
    for ours, theirs in zip(kernel, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)  # 600 to 3500 steps of size 1 in float32
    assert loss == pytest.approx(expected_loss, rel=1e-6)
    assert pairs == expected_pairs


def test_pairs_of_the_classic_picture():
    pairs = skip_gram_pairs(["the", "quick", "brown", "fox"], 2)
    assert pairs[:5] == [("the", "quick"), ("the", "brown"), ("quick", "the"), ("quick", "brown"), ("quick", "fox")]
    assert len(pairs) == 10
    assert skip_gram_pairs(["alone"], 2) == []
    with pytest.raises(ValueError, match="window must be 1 or more, got 0"):
        skip_gram_pairs(["a", "b"], 0)


@pytest.mark.parametrize(("sg", "mean"), [(1, 1), (0, 1), (0, 0)])
def test_reference_descends_the_gradient(sg, mean):
    generator = torch.Generator().manual_seed(0)
    syn0 = torch.randn(5, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    syn1 = torch.randn(6, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    step = reference.Step(np.array([0, 2, 2]), np.array([1, 5, 3, 3]), np.array([1.0, 0, 0, 0]))
    h = syn0[step.context]
    if not sg:
        h = h.mean(0, keepdim=True) if mean else h.sum(0, keepdim=True)
    signed = (h @ syn1[step.outputs].T) * torch.tensor(2 * step.labels - 1)
    loss = -torch.nn.functional.logsigmoid(signed).sum()
    loss.backward()
    ours0, ours1 = syn0.detach().numpy().copy(), syn1.detach().numpy().copy()
    if sg:
        ours_loss = reference.skip_gram_step(ours0, ours1, step, ALPHA)
        factor = 1.0
    else:
        ours_loss = reference.cbow_step(ours0, ours1, step, ALPHA, bool(mean))
        factor = 3.0 if mean else 1 / 3  # as word2vec.c has it, for a context of three words
    assert ours_loss == pytest.approx(loss.item())
    np.testing.assert_allclose(ours0, (syn0 - factor * ALPHA * syn0.grad).detach().numpy(), rtol=1e-12)
    np.testing.assert_allclose(ours1, (syn1 - ALPHA * syn1.grad).detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize("size", [1, 3, 16, 17, 100, 129])
@pytest.mark.parametrize(("sg", "hs"), SCHEMES)
def test_kernel_is_the_reference(size, sg, hs):
    assert_like_reference(HsRun(size=size, sg=sg) if hs else Run(size=size, sg=sg))


@pytest.mark.parametrize("negative", [1, 2, 3, 7, 15, 20])
@pytest.mark.parametrize("window", [1, 2, 5, 12])
def test_kernel_at_awkward_sizes(negative, window):
    assert_like_reference(Run(negative=negative, window=window, size=5))


@pytest.mark.parametrize("sg", [0, 1])
def test_options(sg):
    assert_like_reference(Run(sg=sg, shrink=False))
    assert_like_reference(Run(sg=sg, mean=0))
    assert_like_reference(Run(sg=sg, sample=0.01))


@pytest.mark.parametrize(("sg", "hs"), SCHEMES)
def test_what_is_hopelessly_wrong_takes_no_step(sg, hs):
    run = (HsRun if hs else Run)(sg=sg, scale=8.0, size=20, sentences=4)
    products = [run.start[0][step.context].mean(axis=0) @ run.start[2][step.outputs].T for step in run.steps()]
    assert sum((np.abs(x) > 6).sum() for x in products) > 20
    assert_like_reference(run)


@pytest.mark.parametrize(("sg", "hs"), SCHEMES)
@pytest.mark.parametrize("mean", [0, 1])
def test_locked_rows_move_by_their_factor(sg, hs, mean):
    run = (HsRun if hs else Run)(sg=sg, mean=mean, lock=[0, 0.5, 1, 2], window=5)
    assert_like_reference(run)
    frozen = run.lock == 0
    for options in ({"workers": 4}, {"workers": 3, "deterministic": True}):
        syn0 = run.kernel(**options)[0][0]
        assert np.array_equal(syn0[frozen], run.start[0][frozen, : run.size])
    run.lock = np.ones(WORDS, np.float32)
    same = run.kernel()[0]
    run.lock = None
    assert all(np.array_equal(a, b) for a, b in zip(same, run.kernel()[0], strict=True))


def HsRun(**options):
    """Hierarchical softmax alone. The reference still draws contexts as the kernel does."""
    run = Run(hs=1, negative=5, **options)
    kernel_negative = run.kernel

    def kernel(**given):
        run.negative = 0
        result = kernel_negative(**given)
        run.negative = 5
        return result

    run.kernel = kernel
    return run


@pytest.mark.parametrize(("sg", "hs"), SCHEMES)
def test_deterministic_is_the_same_for_any_number_of_workers(sg, hs):
    run = Run(sg=sg, hs=hs, size=100, sample=0.01, sentences=3000)
    assert len(run.ids) > 50_000  # more blocks than are trained together
    one = run.kernel(workers=1, deterministic=True)
    for workers in (2, 3, 4, 9):
        other = run.kernel(workers=workers, deterministic=True)
        assert all((a == b).all() for a, b in zip(one[0], other[0], strict=True))
        assert one[1:] == other[1:]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("sg", [0, 1])
def test_deterministic_is_the_reference_with_four_blocks_at_a_time(sg, workers):
    # Six blocks, two of them of two sentences; few words survive.
    blocks = [[11_000], [4000, 5000], [11_000], [3000], [11_000], [9000, 500]]
    run = Run(sg=sg, lengths=list(itertools.chain(*blocks)), sample=1e-4)
    sentences = iter(itertools.pairwise(run.offsets))
    # Between two sentences is a place without a window.
    windows = [[step for _ in block for step in (*run.steps(next(sentences)), None)] for block in blocks]
    steps = [
        step
        for first in range(0, len(windows), 4)
        for turn in itertools.zip_longest(*windows[first : first + 4])
        for step in turn
        if step is not None
    ]
    assert len(steps) > 1000
    assert_like_reference(run, steps, workers=workers, deterministic=True)


def test_many_workers_learn_the_same():
    """Hogwild: not the same bits, but a loss that is near."""
    run = Run(sentences=2000, size=32)
    _, one, pairs = run.kernel(workers=1)
    _, four, pairs_of_four = run.kernel(workers=4)
    assert pairs == pairs_of_four
    assert four == pytest.approx(one, rel=0.02)


@pytest.mark.parametrize("isa", SETS)
def test_every_instruction_set(isa):
    code = (
        "from tests.word2vec.test_training import *; assert_like_reference(Run()); assert_like_reference(HsRun(sg=0))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"FASTRNN_ISA": isa}, capture_output=True)
    if b"this processor offers" in done.stderr:
        pytest.skip(f"no {isa} here")
    assert done.returncode == 0, done.stderr.decode()


def test_split_mix_is_the_published_one():
    assert [hex(int(split_mix(0, n))) for n in range(2)] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_draws_follow_the_weights():
    weights = np.array([5.0, 0.5, 2.5, 2.0])
    drawn = np.concatenate([choices(1, position, 1000, 5, alias_table(weights))[2] for position in range(100)])
    shares = np.bincount(drawn, minlength=4) / len(drawn)
    np.testing.assert_allclose(shares, weights / 10, atol=4 * (0.25 / 1e5) ** 0.5)


def test_subsampling_is_word2vecs_formula():
    counts = np.array([1000, 100, 1])
    kept = (keep_thresholds(counts, 0.01).astype(np.float64) + 1) / 2**32
    ratio = 0.01 * 1101 / counts
    np.testing.assert_allclose(kept, np.minimum(np.sqrt(ratio) + ratio, 1), rtol=1e-9)
    assert (keep_thresholds(counts, 0) == 2**32 - 1).all()


def test_huffman_code_is_optimal():
    offsets, nodes, codes = huffman_paths(np.array([45, 16, 13, 12, 9, 5]))  # Cormen et al., figure 16.3
    assert np.diff(offsets).tolist() == [1, 3, 3, 3, 4, 4]
    ways = ["".join(map(str, codes[offsets[w] : offsets[w + 1]])) for w in range(6)]
    assert not any(a != b and b.startswith(a) for a in ways for b in ways)
    assert (nodes[offsets[:-1]] == 4).all()  # all set out from the root
    assert huffman_paths(np.array([7]))[0].tolist() == [0, 0]


@pytest.mark.parametrize("deterministic", [False, True])
def test_an_exception_in_progress_comes_through(deterministic):
    def progress(words_done, loss, pairs):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Run(sentences=2000).kernel(workers=2, deterministic=deterministic, progress=progress)


def test_random_rows():
    rows = random_rows(50, 20, seed=3)
    assert rows.shape == (50, 32)
    assert rows.ctypes.data % 64 == 0
    assert np.abs(rows[:, :20]).max() <= 1 / 20
    assert (rows[:, 20:] == 0).all()
    assert (rows == random_rows(50, 20, seed=3)).all()
    assert (rows[:, :20] != random_rows(50, 20, seed=4)[:, :20]).all()
