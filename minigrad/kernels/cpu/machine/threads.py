"""The one thread pool: kernels run without the GIL and take blocks from a shared counter.

    launch(kernel, blocks, *arguments)      runs kernel(counter, *arguments) on every thread

and in the kernel

    share(counter)
    while True:
        block = take(counter)
        if block >= blocks:
            break

`share` hands this very call to the pool's other threads, the helpers (OpenMP would call it a fork). It writes the arguments down,
together with the address of a function that reads them and calls the kernel again. A block writes what no other block writes, and
its own sums run in a fixed order. So the result is the same to the bit for any number of threads, however the blocks fell to them.
A thread that is held up delays the others little, because they take its share of the blocks.

A kernel may work in stages: blocks of a later stage read what blocks of an earlier one wrote. The earlier blocks have the lower
numbers, and call `complete(counter)` at their end. The later ones call `after(counter, n)` before they read: it waits until n
blocks are complete. This never locks up, because blocks are taken in the order of their numbers: a block that is waited for is
being worked on, or itself waits for lower ones, and the lowest waits for none. One kernel of three stages is cheaper than three
kernels, because a launch costs up to 25 microseconds of Python, whose code and data the kernel before has driven out of the caches.

From the kernel's first line until the last thread is done no Python runs and nobody holds the GIL. A thread that waited for the GIL
would sleep, and to wake it costs 50 microseconds, where a training step launches hundreds of kernels. For the same reason a helper
without work watches for the next launch for a fifth of a millisecond before it sleeps. If the caller has done all blocks before a
sleeping helper woke, it takes the job back and goes on.

Imports: llvmlite, numba, numpy, atomic, compiling.
"""
import ctypes
import functools
import math
import os
import re
import sys
import threading
import time
from types import SimpleNamespace

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.callconv import RETCODE_NONE, RETCODE_OK

from minigrad.kernels.cpu.machine.atomic import WORD, acquire, call, exchange, give_way, look, relax, release, replace
from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel

ALIGNMENT = 64                      # bytes: a cache line, and the longest vector
MOST = 64                           # threads
SLACK = 256                         # bytes that a tile may read beyond an array of `empty`, without using them


def address(x):
    """Where a C-contiguous array begins. Takes half the time of x.ctypes.data if the array may be written and is not empty."""
    return ctypes.addressof(ctypes.c_char.from_buffer(x)) if x.flags.writeable and x.size else x.ctypes.data


def empty(*shape, dtype=np.float32):
    """np.empty whose first element lies on a cache line, so that no vector straddles two, with SLACK bytes beyond its last."""
    memory = np.empty(math.prod(shape) * np.dtype(dtype).itemsize + ALIGNMENT + SLACK, np.uint8)
    return np.ndarray(shape, dtype, memory, -address(memory) % ALIGNMENT)


# ------------------------------------------------------------------------------------------------- words that threads share

# Places in the counter of a launch: the next block; how many helpers are still to be called; the next thread's seat (its number);
# where the arguments of the call are written down; where the helpers' words lie; how many blocks are complete; whether one failed.
COUNT, HELPERS, SEAT, ARGUMENTS_AT, WORDS_AT, COMPLETE, BROKEN, COUNTER_WORDS = 0, 8, 9, 10, 11, 12, 13, 16
ROOM = 1 << 12                      # bytes of arguments of a call, at most

# Places in a helper's words: what it does and what it is to call; whether it is done; locks and how to use them. Words that
# different threads write lie on different cache lines.
JOB, ENTRY, ARGUMENTS, DONE, FAILED, GO, READY, ACQUIRE, RELEASE, WORDS = 0, 1, 2, 8, 9, 16, 17, 18, 19, 24
WATCHING, ASLEEP, POSTED = 0, 1, 2  # words[JOB]; POSTED by the caller, until helper or caller takes it back
RUNNING, AWAITED, FINISHED = 0, 1, 2                            # words[DONE]; AWAITED by a caller that sleeps until then
WATCH = 200e-6                      # seconds that a thread watches before it sleeps
POLITE = 64                         # looks after which it lets other threads run: the caller and a helper may share a core


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


def _complete(counter):
    counter[COMPLETE] += 1


@instruction(_complete)
def complete(typing_context, counter):
    """Count one more block as complete. A thread that waited by `after` sees what the block wrote."""
    def codegen(context, b, signature, args):
        array = context.make_array(signature.args[0])(context, b, args[0])
        b.atomic_rmw("add", b.gep(array.data, [WORD(COMPLETE)]), WORD(1), "acq_rel")
        return context.get_dummy_value()

    return types.void(counter), codegen


@inner
def after(counter, blocks):
    """Wait until so many blocks are complete, or until a thread has failed, because then they may never be."""
    looks = 0
    while look(counter, COMPLETE) < blocks and look(counter, BROKEN) == 0:
        relax()
        looks += 1
        if looks % POLITE == 0:
            give_way()


@instruction(lambda counter: 0)
def share(typing_context, counter):
    """Run this call on the helpers too. A kernel's first line. Returns the number of the calling thread, from 0.

    The thread that launched the kernel finds a number of HELPERS in the counter, takes it out, and posts the job to each helper.
    A helper comes to the same line with the same arguments, and finds 0."""
    def codegen(context, b, signature, args):
        counter, kernel = context.make_array(signature.args[0])(context, b, args[0]).data, b.function

        def word(array, place):
            return b.gep(array, [WORD(place)])

        seat = b.atomic_rmw("add", word(counter, SEAT), WORD(1), "acq_rel")
        helpers = b.atomic_rmw("xchg", word(counter, HELPERS), WORD(0), "acq_rel")
        with b.if_then(b.icmp_signed(">", helpers, WORD(0)), likely=False):
            arguments = kernel.args[2:]                         # the first two are Numba's own: result and exception
            written = ir.LiteralStructType([a.type for a in arguments])
            if context.get_abi_sizeof(written) > ROOM:
                raise NotImplementedError(f"{kernel.name}: too many arguments")
            at = b.load(word(counter, ARGUMENTS_AT))
            for i, argument in enumerate(arguments):
                if argument.type == cgutils.voidptr_t and argument.name.endswith((".0", ".1")):
                    argument = argument.type(None)              # an array's owner: the caller keeps it alive
                b.store(argument, b.gep(b.inttoptr(at, written.as_pointer()), [ir.IntType(32)(0), ir.IntType(32)(i)]))
            entry, first = b.ptrtoint(_again(b.module, kernel, written), WORD), b.load(word(counter, WORDS_AT))
            with cgutils.for_range(b, helpers, intp=WORD) as h:
                words = b.inttoptr(b.add(first, b.mul(h.index, WORD(8 * WORDS))), WORD.as_pointer())
                for place, value in ((ENTRY, entry), (ARGUMENTS, at), (DONE, WORD(RUNNING)), (FAILED, WORD(0))):
                    b.store(value, word(words, place))
                before = b.atomic_rmw("xchg", word(words, JOB), WORD(POSTED), "seq_cst")
                with b.if_then(b.icmp_signed("==", before, WORD(ASLEEP)), likely=False):
                    wake = b.inttoptr(b.load(word(words, RELEASE)), ir.FunctionType(ir.VoidType(), [WORD]).as_pointer())
                    b.call(wake, [b.load(word(words, GO))])
        return seat

    return types.int64(counter), codegen


def _again(module, kernel, written):
    """A function in LLVM that calls `kernel` once more, with the arguments that were written down. It returns 1 for an error, else
    0. It also writes an error to the counter, because other threads may wait for this one's blocks."""
    function = ir.Function(module, ir.FunctionType(WORD, [WORD]), kernel.name + ".again")
    function.linkage = "internal"
    b = ir.IRBuilder(function.append_basic_block())
    at = b.inttoptr(function.args[0], written.as_pointer())
    arguments = [b.load(b.gep(at, [ir.IntType(32)(0), ir.IntType(32)(i)])) for i in range(len(kernel.args) - 2)]
    results = [b.bitcast(b.alloca(WORD, size=8), a.type) for a in kernel.args[:2]]
    state = b.call(kernel, [*results, *arguments], attrs=("noinline",))
    error = b.and_(b.icmp_signed("!=", state, RETCODE_OK), b.icmp_signed("!=", state, RETCODE_NONE))
    counter = next(a for a in arguments if a.type == WORD.as_pointer())                     # the first that points to words
    with b.if_then(error, likely=False):
        b.store(WORD(1), b.gep(counter, [WORD(BROKEN)]))
    b.ret(b.zext(error, WORD))
    return function


@kernel
def watch(words, place, value, looks):
    """Whether words[place] became `value` while we looked."""
    for k in range(looks):
        if look(words, place) == value:
            return True
        relax()
        if k % POLITE == POLITE - 1:
            give_way()
    return False


@kernel
def serve(words, finished, looks):
    """A helper's life: it watches, sleeps and does jobs. It returns when a job is for Python; `finished`: that is done."""
    while True:
        if finished and exchange(words, DONE, FINISHED) == AWAITED:
            release(words[RELEASE], words[READY])
        finished = False
        if watch(words, np.int64(JOB), np.int64(POSTED), looks):  # typed: see ONE
            if replace(words, JOB, POSTED, WATCHING) == POSTED:
                if words[ENTRY] == 0:
                    break
                words[FAILED] = call(words[ENTRY], words[ARGUMENTS])
                finished = True
        elif replace(words, JOB, WATCHING, ASLEEP) == WATCHING:
            acquire(words[ACQUIRE], words[GO])                  # until a job is posted


@kernel
def post(words, helpers):
    """What `share` does for a kernel in Python."""
    for h in range(helpers):
        mine = words[h]
        mine[ENTRY], mine[DONE], mine[FAILED] = 0, RUNNING, 0
        if exchange(mine, JOB, POSTED) == ASLEEP:
            release(mine[RELEASE], mine[GO])


@kernel
def wait(words, helpers, looks):
    """The caller has done its own blocks, and waits until the helpers have done theirs. It takes the job back from those that have
    not begun. Returns how many failed."""
    failed = 0
    for h in range(helpers):
        mine = words[h]
        if replace(mine, JOB, POSTED, WATCHING) == POSTED:
            mine[DONE] = FINISHED
        elif not watch(mine, np.int64(DONE), np.int64(FINISHED), looks) and replace(mine, DONE, RUNNING, AWAITED) != FINISHED:
            acquire(mine[ACQUIRE], mine[READY])
        failed += mine[FAILED]
    return failed


# ------------------------------------------------------------------------------------------------------------- the pool


class _Pool:
    """The helpers, their words, and the memory that a launch needs. Threads start when they are first needed."""

    def __init__(self):
        self.words, self.counter = _zeros(64, WORDS), _zeros(COUNTER_WORDS)
        self.arguments = _zeros(ROOM // 8)
        self.counter[ARGUMENTS_AT], self.counter[WORDS_AT] = address(self.arguments), address(self.words)
        self.words[:, DONE] = FINISHED
        self.helpers, self.looks, self.lock, self.job, self.errors = 0, 0, threading.Lock(), None, []

    def grow(self, helpers):
        api = ctypes.pythonapi
        api.PyThread_allocate_lock.restype = ctypes.c_void_p
        if not self.helpers:                                    # compile all before anybody waits: no Ctrl-C can come in between
            self.looks = _looks()
            first = self.words[0]
            first[JOB] = POSTED
            serve(first, False, 1)
            post(self.words, 0)
            wait(self.words, 0, 1)
        while self.helpers < helpers:
            words = self.words[self.helpers]
            words[ACQUIRE], words[RELEASE] = (ctypes.cast(f, ctypes.c_void_p).value
                                              for f in (api.PyThread_acquire_lock, api.PyThread_release_lock))
            for place in (GO, READY):
                words[place] = api.PyThread_allocate_lock()
                api.PyThread_acquire_lock(ctypes.c_void_p(int(words[place])), 1)
            thread = threading.Thread(target=self.help, args=(words,), daemon=True, name="minigrad-kernel")
            self.helpers += 1                                   # even if the start fails, these words are this thread's
            thread.start()

    def help(self, words):
        finished = False
        while True:
            serve(words, finished, self.looks)
            try:
                kernel, args = self.job
                kernel(*args)
            except BaseException as error:
                self.errors.append(error)
            kernel = args = None                                # a waiting thread must not keep arrays alive
            finished = True

    def run(self, kernel, helpers, scratch, args):
        """kernel(counter[, scratches], *args) on this thread and `helpers` others. The caller holds the lock."""
        if helpers > self.helpers:
            self.grow(helpers)
        counter = self.counter
        counter[COUNT] = counter[SEAT] = counter[COMPLETE] = counter[BROKEN] = 0
        args = (counter, _scratch(self, helpers + 1, scratch), *args) if scratch else (counter, *args)
        self.errors = []
        try:
            if hasattr(kernel, "py_func"):                      # compiled: `share` calls the helpers
                counter[HELPERS] = helpers
            else:
                self.job = kernel, args
                post(self.words, helpers)
            kernel(*args)
        except BaseException:
            counter[BROKEN] = 1                                 # nobody must wait for our blocks
            raise
        finally:
            counter[HELPERS] = 0                                # a kernel that failed before `share` called nobody
            failed = wait(self.words, helpers, self.looks)      # no call stands before this one: Ctrl-C would skip it
            self.job = None
        if self.errors:
            raise self.errors[0]
        if failed:
            raise RuntimeError(f"{kernel.__name__}: failed on a helping thread; with set_num_threads(1) the error itself is raised")


def _zeros(*shape):
    words = empty(*shape, dtype=np.int64)
    words[...] = 0
    return words


@functools.cache
def _looks():
    """How many looks take WATCH seconds. A pause between two is 40 cycles on one processor and 140 on another."""
    words, count, times = np.zeros(1, np.int64), 1000, []
    watch(words, 0, 1, 1)                                       # compiled
    for _ in range(3):
        start = time.perf_counter()
        watch(words, 0, 1, count)
        times.append(time.perf_counter() - start)
    return int(count * WATCH / max(1e-9, min(times))) + 1


def _scratch(owner, threads, size):
    """(threads or more, size or more) aligned floats that stay with their owner for the next kernel."""
    kept = getattr(owner, "scratch", None)
    if kept is None or len(kept) < threads or kept.shape[1] < size:
        size = max(-(-size // 16) * 16, 0 if kept is None else kept.shape[1])
        kept = owner.scratch = empty(max(threads, 0 if kept is None else len(kept)), size)
    return kept


_local, _pool = threading.local(), _Pool()


def forget_scratch():
    """Let go of the scratch memory that is kept for the next launch."""
    _local.scratch = _pool.scratch = None


def _new_pool():
    """After fork(): the child has none of its parent's threads."""
    global _pool
    _pool = _Pool()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_new_pool)


def cores():
    """The processor cores at our disposal."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _asked():
    """The threads that the environment asks for. What is no such number costs one line and not the program: any number of threads
    gives the same results."""
    asked, default = os.environ.get("MINIGRAD_NUM_THREADS", "").strip(), min(cores(), MOST)
    if asked:
        if re.fullmatch("[0-9]{1,9}", asked) and 1 <= int(asked) <= MOST:
            return int(asked)
        print(f"minigrad: MINIGRAD_NUM_THREADS must be an integer from 1 to {MOST}, got {asked[:40]!r}; going on with {default}",
              file=sys.stderr)
        return default
    asked = os.environ.get("NUMBA_NUM_THREADS", "").strip()
    return max(1, min(int(asked), MOST)) if re.fullmatch("[0-9]{1,9}", asked) else default


_threads = 1 if numba.config.DISABLE_JIT else _asked()


def get_num_threads():
    """The number of threads that kernels use: MINIGRAD_NUM_THREADS, else NUMBA_NUM_THREADS, else the cores at our disposal."""
    return _threads


def set_num_threads(n):
    """Set the number of threads that kernels use, 1 to 64. Results are the same to the bit for any number."""
    global _threads
    if not isinstance(n, int) or not 1 <= n <= MOST:
        raise ValueError(f"set_num_threads: n must be an int from 1 to {MOST}, got {n!r}")
    _threads = 1 if numba.config.DISABLE_JIT else n


def launch(kernel, blocks, *args, scratch=0):
    """Run `kernel` on the pool's threads, but on no more than `blocks`; returns when all are done.

    blocks: how many can be worked on at once. How many there are the kernel knows itself; one in stages has more.
    Calls kernel(counter, *args), or with `scratch` kernel(counter, scratches, *args). Then scratches[share(counter)] is the
    thread's own: aligned float32 memory of at least `scratch` floats, contents undefined.
    """
    args = [_writable(a) if type(a) is np.ndarray and not a.flags.writeable else a for a in args]
    helpers, pool = min(_threads, blocks) - 1, _pool
    # The first call, which compiles the kernel, does all blocks alone. So does a call from a second Python thread while the pool is
    # at work. (And so would every call, if Ctrl-C once came between the lock and `try`.)
    if helpers > 0 and kernel.overloads and pool.lock.acquire(blocking=False):
        try:
            pool.run(kernel, helpers, scratch, args)
        finally:
            pool.lock.release()
    elif scratch:
        kernel(np.zeros(COUNTER_WORDS, np.int64), _scratch(_local, 1, scratch), *args)
    else:
        kernel(np.zeros(COUNTER_WORDS, np.int64), *args)


def _writable(a):
    """The same memory without its write protection. To Numba a protected array is of another type, and it would compile the kernel
    again. Kernels write to outputs only, and the caller holds `a` while they run."""
    return np.asarray(SimpleNamespace(__array_interface__={**a.__array_interface__, "data": (a.ctypes.data, False)}))
