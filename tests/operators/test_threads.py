"""Threads change how long a layer takes, and nothing else."""

import multiprocessing
import os
import threading
import time

import pytest
import torch

import fastrnn.nn
from fastrnn import _C
from tests.support.twins import CELLS, make, random

# T, B, I, H: few rows and many, so that threads share out hidden units in some and rows in others; few steps of few
# rows, whose weights are not packed
SHAPES = [(40, 1, 64, 256), (30, 5, 40, 129), (24, 40, 48, 96), (7, 33, 200, 300), (1, 7, 90, 500), (3, 4, 50, 200)]


@pytest.fixture(autouse=True)
def _threads_as_they_were():
    before = torch.get_num_threads()
    _C.assume_cores(8)  # no more threads are used than there are cores
    yield
    _C.assume_cores(0)
    _C.dissolve_teams(None)
    torch.set_num_threads(before)


def _everything(cell, shape, **options):
    """Outputs, final states and all gradients of one call."""
    times, batch, input_size, hidden_size = shape
    layer = make(fastrnn.nn, cell, input_size, hidden_size, **options)
    input = random(times, batch, input_size, dtype=torch.float32).requires_grad_()
    output, state = layer(input)
    results = [output, *(state if isinstance(state, tuple) else (state,))]
    loss = sum((r * random(*r.shape, dtype=torch.float32, seed=5)).sum() for r in results)
    return [*results, *torch.autograd.grad(loss, [input, *layer.parameters()])]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_for_any_number_of_threads(cell, shape):
    results = {}
    for threads in (1, 2, 8):
        torch.set_num_threads(threads)
        results[threads] = _everything(cell, shape)
    for threads in (2, 8):
        assert all(torch.equal(a, b) for a, b in zip(results[1], results[threads], strict=True))


@pytest.mark.parametrize("cell", ["gru_reset_before", "lstm", "lstm_projected", "layer_norm_lstm"])
def test_same_bits_for_ragged_batches(cell):
    lengths = torch.tensor([50, 44, 44, 31, 30, 29, 12, 9, 9, 3, 2, 1])
    padded = random(50, 12, 24, dtype=torch.float32)
    packed = torch.nn.utils.rnn.pack_padded_sequence(padded, lengths)
    layer = make(fastrnn.nn, cell, 24, 200, bidirectional=True)
    results = []
    for threads in (1, 2, 8):
        torch.set_num_threads(threads)
        results.append(layer(packed)[0].data)
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("barrier", [0, 1, 2, 7, 30])
@pytest.mark.parametrize("cell", CELLS)
def test_same_bits_where_a_team_is_dissolved(cell, barrier):
    """Another program takes a core in the middle of a call: the first thread does the shares of all from there on."""
    for shape, options in [
        ((40, 1, 64, 256), {"bidirectional": True}),
        ((30, 5, 40, 129), {"recompute": True}),
        ((24, 40, 48, 96), {}),
    ]:
        torch.set_num_threads(1)
        expected = _everything(cell, shape, **options)
        torch.set_num_threads(3)
        _C.dissolve_teams(barrier)
        assert all(torch.equal(a, b) for a, b in zip(_everything(cell, shape, **options), expected, strict=True))
        _C.dissolve_teams(None)


# What a container's files say, and how many cores that is worth
QUOTAS = {
    "none, version 2": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
    "version 2": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "250000 100000\n"}, 3),
    "version 2, of a group above": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        2,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/docker/1\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_quota_us": "400000\n",
            "sys/fs/cgroup/cpu,cpuacct/docker/1/cpu.cfs_period_us": "100000\n",
        },
        4,
    ),
    "none, version 1": (
        {
            "proc/self/cgroup": "1:cpu:/\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "less than a core": ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
    "no such files": ({}, None),
}


@pytest.mark.parametrize("name", QUOTAS)
def test_the_quota_of_a_container_counts_as_cores(name, tmp_path):
    files, cores = QUOTAS[name]
    for path, text in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert _C.quota_cores(str(tmp_path)) == (cores or 2**31 - 1)


def test_scratch_memory_grows_and_is_used_again():
    """Calls that need more than the ones before, less, and more than a thread keeps (64 MiB), in one thread."""
    sizes = [(9, 2, 3, 20), (9, 2, 300, 400), (9, 2, 3, 20), (9, 1, 1536, 1536), (9, 2, 300, 400)]
    found: dict = {}
    for shape in sizes:
        results = _everything("lstm", shape)
        expected = found.setdefault(shape, results)
        assert all(torch.equal(a, b) for a, b in zip(results, expected, strict=True))
        assert all(r.isfinite().all() for r in results)


def _processor_times_of_a_call(layer, input, cores):
    """Ticks of processor time that each thread of this process spends in a few calls, busiest first."""

    def so_far():
        times = {}
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/stat") as f:
                fields = f.read().rpartition(")")[2].split()
            times[task] = int(fields[11]) + int(fields[12])
        return times

    with torch.no_grad():
        layer(input)
        before = so_far()
        for _ in range(5):
            _C.assume_cores(cores)  # forgets delays, after which a call has fewer threads
            layer(input)
        after = so_far()
    return sorted((after[t] - before.get(t, 0) for t in after), reverse=True)


def test_two_threads_really_run():
    """A build without OpenMP would be right and single-threaded: count who burns processor time during a call.

    There the second thread has no time at all. Beside other programs it may have little, since a team is dissolved.
    """
    torch.set_num_threads(2)
    busy = _processor_times_of_a_call(make(fastrnn.nn, "lstm", 512, 512), random(64, 64, 512, dtype=torch.float32), 2)
    assert busy[1] > 0.1 * busy[0] > 0


def test_no_more_threads_than_cores():
    """They would wait for each other, and for a core, once a step."""
    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(4 * cores)
    busy = _processor_times_of_a_call(make(fastrnn.nn, "lstm", 512, 512), random(64, 64, 512, dtype=torch.float32), 0)
    assert sum(ticks > 0.1 * busy[0] for ticks in busy) <= cores


def test_more_threads_than_cores_give_up_waiting():
    """They take turns at every step. Before teams were dissolved it took 20 to 200 times as long as one thread."""
    cores = len(os.sched_getaffinity(0))
    layer, input = make(fastrnn.nn, "lstm", 128, 128), random(100, 1, 128, dtype=torch.float32)

    def seconds(threads):
        torch.set_num_threads(threads)
        with torch.no_grad():
            start = time.perf_counter()
            for _ in range(200):
                layer(input)
        return time.perf_counter() - start

    _C.assume_cores(4 * cores)
    seconds(1)
    assert seconds(4 * cores) < 6 * seconds(1)


def test_two_python_threads_at_once():
    layer = make(fastrnn.nn, "gru", 48, 130)
    inputs = [random(30, 6, 48, dtype=torch.float32, seed=s) for s in range(2)]
    expected = [layer(x)[0].detach() for x in inputs]
    wrong = []

    def work(n):
        for _ in range(20):
            x = inputs[n].clone().requires_grad_()
            output = layer(x)[0]
            torch.autograd.grad(output.sum(), x)
            if not torch.equal(output, expected[n]):
                wrong.append(n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(2)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(timeout=120)
        assert not t.is_alive()
    assert not wrong


def _output_and_gradients(layer, input, state):
    with torch.no_grad():
        inferred = layer(input, state)[0]
    output = layer(input, state)[0]
    ones = torch.ones(()).expand_as(output)  # the gradient of a sum
    return [inferred, output.detach(), *torch.autograd.grad(output, [input, state, *layer.parameters()], ones)]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("recompute", [False, True])
def test_after_fork(recompute):
    """A child has none of its parent's OpenMP threads: it must not wait for them.

    Nor must torch's operators that the layer calls: input, weights and the expanded gradient have to be copied, and are
    so large that torch would share out the work.
    """
    torch.set_num_threads(2)
    layer = make(fastrnn.nn, "gru", 640, 100, recompute=recompute)
    for name, weight in layer.named_parameters():
        if name.startswith("weight"):
            weight.data = weight.data.T.contiguous().T
    input = random(640, 8, 50, dtype=torch.float32).permute(2, 1, 0).requires_grad_()
    state = random(100, 8, 1, dtype=torch.float32).permute(2, 1, 0).requires_grad_()
    expected = _output_and_gradients(layer, input, state)  # the parent's threads are running now
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        sender.send([t.numpy() for t in _output_and_gradients(layer, input, state)])
        sender.send(torch.get_num_threads())

    child = context.Process(target=work, daemon=True)
    child.start()
    try:
        assert receiver.poll(60)
        found = receiver.recv()
        assert receiver.recv() == 2
    finally:
        child.kill()
    assert all(torch.equal(torch.from_numpy(a), b) for a, b in zip(found, expected, strict=True))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_the_peak_after_fork():
    from fastrnn._core.extension import _C

    assert _C.fma_peak(2) > 0  # the parent's threads are running now
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=lambda: sender.send(_C.fma_peak(2)), daemon=True)
    child.start()
    try:
        assert receiver.poll(60)
        assert receiver.recv() > 0
    finally:
        child.kill()
