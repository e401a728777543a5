"""The machine's peak: how many float32 operations a second it can do at most, measured rather than looked up.

Each thread runs a loop of independent fused multiply-adds on vector registers, without touching memory. A multiply-add
counts as two operations. What the benchmarks call "share of peak" is relative to this number for as many threads.
"""

import functools
import time

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.machine.threads import launch, share, take
from minigrad.kernels.cpu.registers.emit import MR, VL

CHAINS = 12 if MR < 14 else 24  # independent sums: enough to hide the latency, few enough to stay in registers
ROUNDS = 1 << 20  # multiply-adds of each chain in a block


@intrinsic
def multiply_adds(typing_context, rounds):
    """The sum over all lanes of CHAINS vectors, each the result of `rounds` steps s = s * 0.5 + 1."""

    def codegen(context, b, signature, args):
        vector, lane = ir.VectorType(ir.FloatType(), VL), ir.FloatType()
        fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fmuladd.v{VL}f32")
        half, one = (ir.Constant(vector, [ir.Constant(lane, value)] * VL) for value in (0.5, 1.0))
        sums = [cgutils.alloca_once_value(b, ir.Constant(vector, [ir.Constant(lane, 1.0 + i)] * VL)) for i in range(CHAINS)]
        with cgutils.for_range(b, args[0], intp=ir.IntType(64)):
            for s in sums:
                b.store(b.call(fma, [b.load(s), half, one]), s)
        total = b.load(sums[0])
        for s in sums[1:]:
            total = b.fadd(total, b.load(s))
        return b.extract_element(total, ir.IntType(32)(0))

    return types.float32(types.int64), codegen


@kernel
def burn(counter, blocks, rounds, out):
    """Blocks of multiply-adds, shared by the threads; the sums are written so that nothing is optimised away."""
    share(counter)
    while True:
        block = take(counter)
        if block >= blocks:
            break
        out[block] = multiply_adds(rounds)


@functools.lru_cache
def peak(threads: int) -> float:
    """Floating-point operations a second on `threads` threads (which `minigrad.kernels` must be set to): best of 15."""
    out, times = np.zeros(threads, np.float32), []
    launch(burn, threads, threads, 1, out)  # compiles
    for _ in range(15):
        start = time.perf_counter()
        launch(burn, threads, threads, ROUNDS, out)
        times.append(time.perf_counter() - start)
    return 2 * threads * ROUNDS * CHAINS * VL / min(times)
