"""The one thread pool: a few Python threads that run kernels without the GIL, taking blocks from a shared counter.

    launch(kernel, blocks, *arguments)      every thread runs kernel(counter, *arguments)

and in the kernel

    while True:
        block = take(counter)
        if block >= blocks:
            break

A block writes what no other block writes, and its own sums run in a fixed order. So the result is the same to the bit
for any number of threads and however the blocks fell to them, and a thread that the machine holds up delays nobody much.

Waking a thread that sleeps costs about 50 microseconds, and a training step launches a hundred kernels. So a thread that has
nothing to do watches for the next launch for a fifth of a millisecond before it sleeps: measured, 7 microseconds instead of
46 for a kernel that follows another. A caller who has done all blocks before a sleeper woke takes the job back and goes on.
Whoever watches does not hold the GIL, and nobody is told anything by a thread that holds it, for a thread that waits for the
GIL sleeps too: a worker sets out when the caller's kernel takes its first block.
May import: numpy, numba, llvmlite, `compiling`.
"""
import ctypes
import functools
import math
import os
import threading
import time
from types import SimpleNamespace

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minigrad.kernels.cpu.compiling import kernel

ALIGNMENT = 64                      # bytes: a cache line, and the longest vector


def instruction(plain):
    """Decorate an LLVM code generator as a Numba intrinsic; with NUMBA_DISABLE_JIT=1 the Python function `plain` stands in."""
    return (lambda definition: plain) if numba.config.DISABLE_JIT else intrinsic


def _take(counter):
    counter[0] += 1
    return counter[0] - 1


@instruction(_take)
def take(typing_context, counter):
    """counter[0]++ as one indivisible step; the value before it."""
    def codegen(context, b, signature, args):
        array = context.make_array(signature.args[0])(context, b, args[0])
        return b.atomic_rmw("add", array.data, ir.Constant(ir.IntType(64), 1), "acq_rel")

    return types.int64(counter), codegen


def address(x):
    """Where a C-contiguous array begins; in half the time of x.ctypes.data where it may be written and is not empty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(x)) if x.flags.writeable and x.size else x.ctypes.data


def empty(*shape, dtype=np.float32):
    """np.empty whose first element lies on a cache line, so that no vector straddles two."""
    memory = np.empty(math.prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT, np.uint8)
    return np.ndarray(shape, dtype, memory, -address(memory) % ALIGNMENT)


# ------------------------------------------------------------------------------------------------- words that threads share

JOB, DONE = 0, 8                    # places in a worker's words, a cache line apart
WATCHING, ASLEEP, POSTED = 0, 1, 2  # words[JOB]: what the worker does; POSTED by the caller, until worker or caller takes it back
WAKE, WITHDRAWN = 3, 4
RUNNING, AWAITED, FINISHED = 0, 1, 2                            # words[DONE]; AWAITED by a caller that sleeps until then
NO_MORE = 1 << 40                   # a counter beyond any block, and no overflow where a kernel multiplies it
WATCH = 200e-6                      # seconds that a thread watches before it sleeps
POLITE = 64                         # looks after which it lets others run, if any wait: the caller and a worker may share a core


def _place(context, b, signature, args):
    return b.gep(context.make_array(signature.args[0])(context, b, args[0]).data, [args[1]])


@instruction(lambda words, place: words[place])
def look(typing_context, words, place):
    """words[place], as other threads see it."""
    def codegen(context, b, signature, args):
        return b.load_atomic(_place(context, b, signature, args), "acquire", 8)

    return types.int64(words, types.int64), codegen


@instruction(None)
def exchange(typing_context, words, place, value):
    """words[place] = value in one indivisible step; the value before it."""
    def codegen(context, b, signature, args):
        return b.atomic_rmw("xchg", _place(context, b, signature, args), args[2], "seq_cst")

    return types.int64(words, types.int64, types.int64), codegen


@instruction(None)
def replace(typing_context, words, place, expected, value):
    """words[place] = value if it is `expected`, in one indivisible step; the value before it."""
    def codegen(context, b, signature, args):
        pair = b.cmpxchg(_place(context, b, signature, args), args[2], args[3], "seq_cst", "seq_cst")
        return b.extract_value(pair, 0)

    return types.int64(words, types.int64, types.int64, types.int64), codegen


@instruction(None)
def relax(typing_context):
    """Tell the processor that this is a waiting loop."""
    def codegen(context, b, signature, args):
        if b.module.triple.startswith(("x86_64", "i686")):
            b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), []), "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@instruction(None)
def give_way(typing_context):
    """Let another thread run that waits for this core: it may be the one that is waited for."""
    def codegen(context, b, signature, args):
        if os.name == "posix":
            b.call(cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.IntType(32), []), "sched_yield"), [])
        return context.get_dummy_value()

    return types.void(), codegen


@kernel
def watch(words, counter, finished, looks):
    """A worker between two jobs: says that the last one is `finished`, and watches for the next.

    Returns POSTED when a launch has begun and the job is the worker's, ASLEEP when the worker has to sleep until `go`, WAKE when it
    has to wake the caller.
    """
    if finished and exchange(words, DONE, FINISHED) == AWAITED:
        return WAKE
    while True:
        for k in range(looks):
            if look(words, JOB) == POSTED and look(counter, 0) != 0 and replace(words, JOB, POSTED, WATCHING) == POSTED:
                return POSTED
            relax()
            if k % POLITE == POLITE - 1:
                give_way()
        if replace(words, JOB, WATCHING, ASLEEP) == WATCHING:
            return ASLEEP


@kernel
def wait(words, looks):
    """The caller, its own blocks done. FINISHED when the worker is, AWAITED when the caller has to sleep until `done`, WITHDRAWN if
    the worker had not even begun: the job is taken back."""
    if replace(words, JOB, POSTED, WATCHING) == POSTED:
        return WITHDRAWN
    for k in range(looks):
        if look(words, DONE) == FINISHED:
            return FINISHED
        relax()
        if k % POLITE == POLITE - 1:
            give_way()
    return FINISHED if replace(words, DONE, RUNNING, AWAITED) == FINISHED else AWAITED


@kernel
def post(words):
    """Tell a worker that there is a job. True if it sleeps and has to be woken."""
    words[DONE] = RUNNING
    return exchange(words, JOB, POSTED) == ASLEEP


# ------------------------------------------------------------------------------------------------------------- the pool


class _Worker:
    """A thread that waits for a job, does it, and says so."""

    def __init__(self):
        self.go, self.done, self.job, self.error = threading.Lock(), threading.Lock(), None, None
        self.words = empty(16, dtype=np.int64)
        self.words[...] = 0
        self.go.acquire()
        self.done.acquire()
        threading.Thread(target=self.run, args=(_counter,), daemon=True, name="minigrad-kernel").start()

    def run(self, counter):
        finished = False
        while True:
            state = watch(self.words, counter, finished, _looks())
            finished = False
            if state == WAKE:
                self.done.release()
            elif state == ASLEEP:
                self.go.acquire()
            else:
                try:
                    _run(*self.job)
                except BaseException as error:
                    self.error = error
                self.job = None                                 # a waiting thread must not keep arrays alive
                finished = True

    def start(self, job):
        self.job = job
        if post(self.words):
            self.go.release()

    def join(self):
        """Wait until the job is done; the error that it raised, if any."""
        state = wait(self.words, _looks())
        if state == WITHDRAWN:
            self.job = None
        elif state == AWAITED:
            self.done.acquire()
        error, self.error = self.error, None
        return error


@functools.cache
def _looks():
    """How many looks take WATCH seconds: a pause between two is 40 cycles on one processor and 140 on another."""
    words, counter, count = np.zeros(16, np.int64), np.zeros(1, np.int64), 1000
    times = []
    for _ in range(3):
        words[JOB], start = WATCHING, time.perf_counter()
        watch(words, counter, False, count)
        times.append(time.perf_counter() - start)
    return int(count * WATCH / max(1e-9, min(times))) + 1


def _run(kernel, counter, scratch, args):
    """A thread's share of a launch. Its scratch memory stays with the thread, for the next kernel."""
    if not scratch:
        return kernel(counter, *args)
    if getattr(_local, "scratch", None) is None or _local.scratch.size < scratch:
        _local.scratch = empty(scratch)
    return kernel(counter, _local.scratch, *args)


_local, _lock, _workers = threading.local(), threading.Lock(), []
_counter = empty(8, dtype=np.int64)[:1]                         # of the pool's launches, on a cache line of its own


def _leave_threads():
    """The next launch starts threads of its own; those of a job that nobody waited for go on with the old counter."""
    global _workers, _counter
    _counter[0] |= NO_MORE
    _workers, _counter = [], empty(8, dtype=np.int64)[:1]


def _forget_threads():
    """After fork(): the child has none of its parent's threads."""
    global _lock
    _lock = threading.Lock()
    _leave_threads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_threads)


def _cores():
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("MINIGRAD_NUM_THREADS") or os.environ.get("NUMBA_NUM_THREADS")
    return max(1, min(int(asked) if asked else cores, 64))


_threads = 1 if numba.config.DISABLE_JIT else _cores()


def get_num_threads():
    """The number of threads that kernels use: MINIGRAD_NUM_THREADS, else NUMBA_NUM_THREADS, else the cores at our disposal."""
    return _threads


def set_num_threads(n):
    """Set the number of threads that kernels use, 1 to 64. Results are the same to the bit for any number."""
    global _threads
    if not isinstance(n, int) or not 1 <= n <= 64:
        raise ValueError(f"set_num_threads: n must be an int from 1 to 64, got {n!r}")
    _threads = 1 if numba.config.DISABLE_JIT else n


def launch(kernel, blocks, *args, scratch=0):
    """Run `kernel` over blocks 0..blocks-1 on the pool's threads; returns when all are done.

    kernel(counter, *args), or kernel(counter, scratch, *args) with an aligned float32 buffer of the thread's own of at
    least `scratch` floats, contents undefined.
    """
    args = [_writable(a) if type(a) is np.ndarray and not a.flags.writeable else a for a in args]
    helpers = min(_threads, blocks) - 1
    # Whoever compiles the kernel, and a second Python thread that calls while the pool is at work, does its blocks alone.
    if helpers <= 0 or not kernel.overloads or not _lock.acquire(blocking=False):
        _run(kernel, np.zeros(1, np.int64), scratch, args)
        return
    joined = False
    try:
        while len(_workers) < helpers:
            _workers.append(_Worker())
        team, job = _workers[:helpers], (kernel, _counter, scratch, args)
        _counter[0] = 0
        for worker in team:
            worker.start(job)
        try:
            _run(*job)
        finally:
            _counter[0] |= NO_MORE                              # a kernel that failed before its first block frees the workers
            errors = [error for worker in team if (error := worker.join()) is not None]
            joined = True
        if errors:
            raise errors[0]
    finally:
        if not joined:                                          # Ctrl-C while the caller waited: workers may still be at work
            _leave_threads()
        _lock.release()


def _writable(a):
    """The same memory without its write protection, which Numba would take for another type and compile the kernel again.
    Kernels write to outputs only, and the caller holds `a` while they run."""
    return np.asarray(SimpleNamespace(__array_interface__={**a.__array_interface__, "data": (a.ctypes.data, False)}))
