"""The one thread pool: a few Python threads that run kernels without the GIL, taking blocks from a shared counter.

    launch(kernel, blocks, *arguments)      every thread runs kernel(counter, *arguments)

and in the kernel

    while True:
        block = take(counter)
        if block >= blocks:
            break

A block writes what no other block writes, and its own sums run in a fixed order. So the result is the same to the bit
for any number of threads and however the blocks fell to them, and a thread that the machine holds up delays nobody much.
Waking a thread costs about 50 microseconds, as with OpenMP's passive waiting: small work runs on the caller alone.
May import: numpy, numba, `compiling`.
"""
import math
import os
import threading
from types import SimpleNamespace

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

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


def empty(*shape, dtype=np.float32):
    """np.empty whose first element lies on a cache line, so that no vector straddles two."""
    size, item = math.prod(shape), np.dtype(dtype).itemsize
    raw = np.empty(size + ALIGNMENT // item, dtype)
    start = -raw.__array_interface__["data"][0] % ALIGNMENT // item
    return raw[start:start + size].reshape(shape)


# ------------------------------------------------------------------------------------------------------------- the pool


class _Worker:
    """A thread that waits for a job, does it, and says so."""

    def __init__(self):
        self.go, self.done, self.job, self.error = threading.Lock(), threading.Lock(), None, None
        self.go.acquire()
        self.done.acquire()
        threading.Thread(target=self.run, daemon=True, name="minigrad-kernel").start()

    def run(self):
        while True:
            self.go.acquire()
            try:
                _run(*self.job)
            except BaseException as error:
                self.error = error
            self.job = None                                     # a waiting thread must not keep arrays alive
            self.done.release()


def _run(kernel, counter, scratch, args):
    """A thread's share of a launch. Its scratch memory stays with the thread, for the next kernel."""
    if not scratch:
        return kernel(counter, *args)
    if getattr(_local, "scratch", None) is None or _local.scratch.size < scratch:
        _local.scratch = empty(scratch)
    return kernel(counter, _local.scratch, *args)


_local, _lock, _workers = threading.local(), threading.Lock(), []


def _forget_threads():
    """After fork(): the child has none of its parent's threads."""
    global _lock, _workers
    _lock, _workers = threading.Lock(), []


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
    counter = np.zeros(1, np.int64)
    args = [_writable(a) if type(a) is np.ndarray and not a.flags.writeable else a for a in args]
    helpers = min(_threads, blocks) - 1
    job = kernel, counter, scratch, args
    # Whoever compiles the kernel, and a second Python thread that calls while the pool is at work, does its blocks alone.
    if helpers <= 0 or not kernel.signatures or not _lock.acquire(blocking=False):
        _run(*job)
        return
    try:
        while len(_workers) < helpers:
            _workers.append(_Worker())
        team = _workers[:helpers]
        for worker in team:
            worker.job = job
            worker.go.release()
        try:
            _run(*job)
        finally:
            for worker in team:
                worker.done.acquire()
        for worker in team:
            if worker.error is not None:
                error, worker.error = worker.error, None
                raise error
    finally:
        _lock.release()


def _writable(a):
    """The same memory without its write protection, which Numba would take for another type and compile the kernel again.
    Kernels write to outputs only, and the caller holds `a` while they run."""
    return np.asarray(SimpleNamespace(__array_interface__={**a.__array_interface__, "data": (a.ctypes.data, False)}))
