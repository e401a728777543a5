"""The pool: each block is done once, by whatever thread; errors reach the caller; nobody is left waiting."""
import ast
import pathlib
import signal
import threading
import time

import numpy as np
import pytest
from numba.core.errors import TypingError

from minigrad.kernels import cpu
from minigrad.kernels.cpu import get_num_threads, set_num_threads
from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.activation import activate
from minigrad.kernels.cpu.parts.layout import BLOCK

pytestmark = pytest.mark.skipif(get_num_threads() == 1 and not set_num_threads(2) and get_num_threads() == 1,
                                reason="without a compiler there is one thread")


@pytest.fixture(autouse=True, params=[2, 5])
def threads(request):
    before = get_num_threads()
    set_num_threads(request.param)
    yield request.param
    set_num_threads(before)


class InPython:
    """A kernel in Python: job(block) for each block, `pause` seconds in each."""
    overloads = ("any",)

    def __init__(self, blocks, job):
        self.blocks, self.job, self.lock = blocks, job, threading.Lock()

    def __call__(self, counter):
        while True:
            with self.lock:
                block = counter[0]
                counter[0] += 1
            if block >= self.blocks:
                return
            self.job(int(block))


def halves(x):
    y = np.empty_like(x)
    launch(activate, -(-x.size // BLOCK), x, x, 0.5, y)
    return y


def test_each_block_is_done_once_whether_the_workers_watch_or_sleep():
    for blocks, pause in [(1, 0), (2, 0), (3, 0.003), (40, 0), (40, 0.0003)]:
        done = []
        launch(InPython(blocks, lambda b: (done.append(b), time.sleep(pause))), blocks)  # noqa: B023
        assert sorted(done) == list(range(blocks))


def test_launches_in_quick_and_in_slow_succession_are_right():
    rng = np.random.default_rng(0)
    x = rng.standard_normal(5 * BLOCK + 7).astype(np.float32)
    right = np.where(x > 0, x, x * np.float32(0.5))
    for pause in [0] * 300 + [0.0001, 0.0005, 0.002] * 20:
        assert np.array_equal(halves(x), right)
        time.sleep(pause)


@pytest.mark.parametrize("fails", ["caller", "worker"])
def test_an_error_in_any_thread_reaches_the_caller_and_the_pool_goes_on(fails):
    caller = threading.get_ident()

    def job(block):
        time.sleep(0.002)
        if (threading.get_ident() == caller) == (fails == "caller"):
            raise ValueError(f"block {block}")

    with pytest.raises(ValueError, match="block"):
        launch(InPython(20, job), 20)
    x = np.ones(3 * BLOCK, np.float32)
    assert np.array_equal(halves(x), x)


def test_a_kernel_that_fails_before_its_first_block_leaves_nobody_waiting():
    class Broken:
        overloads = ("any",)

        def __call__(self, counter):
            raise TypeError("no such arguments")

    with pytest.raises(TypeError, match="no such arguments"):
        launch(Broken(), 8)
    assert np.array_equal(halves(np.ones(3 * BLOCK, np.float32)), np.ones(3 * BLOCK))


@kernel
def seats(counter, scratches, stop, pause, seat_of, blocks):
    """Each block writes down which thread did it; block `stop` fails."""
    mine = share(counter)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        if block == stop:
            raise ValueError("stop")
        for k in range(pause):
            scratches[mine, k % scratches.shape[1]] += 1
        seat_of[block] = mine


def who(blocks, stop=-1, pause=100_000):
    seat_of = np.full(blocks, -1)
    launch(seats, blocks, stop, pause, seat_of, blocks, scratch=16)
    return seat_of


def test_every_thread_has_a_seat_of_its_own(threads):
    who(1)                                                      # compiled
    for _ in range(20):
        assert set(who(64)) <= set(range(threads))
    assert any(len(set(who(64))) > 1 for _ in range(50)), "nobody helped"


def test_a_compiled_kernel_that_fails_says_so_whoever_did_and_the_pool_goes_on():
    who(1)
    told, end = set(), time.monotonic() + 60
    while told != {ValueError, RuntimeError} and time.monotonic() < end:
        with pytest.raises((ValueError, RuntimeError), match="stop|seats: failed on a helping thread") as caught:
            who(12, stop=len(told) + 5)
        told.add(caught.type)
        assert -1 not in who(12)
    assert told == {ValueError, RuntimeError}, "in a minute only one side failed"


@kernel
def in_stages(counter, stop, pause, x, total, y):
    """x[i] = i; total = their sum; y[i] = total - x[i]. Block `stop` fails, after it has worked for a while."""
    share(counter)
    n = x.size
    while True:
        block = take(counter)
        if block > 2 * n:
            break
        after(counter, 0 if block < n else n if block == n else n + 1)
        for _ in range(pause if block < n else 0):
            total[1] += 1
        if block == stop:
            raise ValueError("stop")
        if block < n:
            x[block] = block
        elif block == n:
            for i in range(n):
                total[0] += x[i]
        else:
            y[block - n - 1] = total[0] - x[block - n - 1]
        if block <= n:
            complete(counter)


def stages(n, stop=-1, pause=0):
    x, total, y = np.full(n, -1), np.zeros(2, np.int64), np.full(n, -1)
    launch(in_stages, n, stop, pause, x, total, y)
    assert total[0] == n * (n - 1) // 2
    assert np.array_equal(y, total[0] - np.arange(n))


def test_a_block_comes_after_those_that_it_waits_for():
    stages(1)                                                   # compiled
    for n, pause in [(1, 0), (2, 0), (3, 30_000), (40, 0), (40, 3000)] * 40:
        stages(n, pause=pause)


def test_nobody_waits_for_a_block_that_failed():
    stages(1)
    for n in (2, 12):
        for stop in [0, n // 2, n - 1, n, n + 1, 2 * n] * 10:
            with pytest.raises((ValueError, RuntimeError), match="stop|in_stages: failed on a helping thread"):
                stages(n, stop, pause=3000)
            stages(n)


def test_arguments_that_fit_no_kernel_leave_nobody_waiting():
    who(1)
    for _ in range(3):
        with pytest.raises(TypingError):
            launch(seats, 12, object(), 1, np.zeros(12, np.int64), 12, scratch=16)
        assert -1 not in who(12)


def test_every_kernel_that_takes_blocks_shares_its_call_in_the_first_line():
    for path in pathlib.Path(cpu.__file__).parent.rglob("*.py"):
        for function in ast.parse(path.read_text()).body:
            calls = [c.func.id for c in ast.walk(function) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)]
            if isinstance(function, ast.FunctionDef) and "take" in calls:
                first = function.body[1 if ast.get_docstring(function) else 0]
                assert calls.count("share") == 1 and "share(counter)" in ast.unparse(first), f"{path.name}: {function.name}"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs a signal")
def test_the_pool_goes_on_after_a_keyboard_interrupt(threads):
    """The caller is interrupted while it waits for a worker; the next launch does each of its blocks once, and waits for them."""
    caller, begun = threading.get_ident(), threading.Event()
    halves(np.ones(3 * BLOCK, np.float32))                      # compiled: Numba itself is not to be interrupted

    def slow(block):
        if threading.get_ident() == caller:
            begun.wait(10)
        else:
            begun.set()
            time.sleep(0.3)

    def interrupt(*_):
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.15)
            launch(InPython(threads, slow), threads)
            time.sleep(1)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    for _ in range(2):
        done = []
        launch(InPython(16, lambda b: (time.sleep(0.02), done.append(b))), 16)  # noqa: B023
        assert sorted(done) == list(range(16))


def test_two_threads_of_the_program_may_compute_at_once():
    x = np.linspace(-1, 1, 4 * BLOCK, dtype=np.float32)
    right, wrong = halves(x), []

    def many():
        wrong.extend(i for i in range(100) if not np.array_equal(halves(x), right))

    programs = [threading.Thread(target=many) for _ in range(3)]
    for p in programs:
        p.start()
    for p in programs:
        p.join()
    assert not wrong


def test_memory_is_aligned():
    assert all(empty(n).ctypes.data % 64 == 0 for n in (1, 7, 1000))
