"""Bias and (leaky) ReLU at the end of a convolution, while its output is still in the cache.

    y = leaky_relu(y + bias[c])

A pass over memory of its own would cost as much as a tenth of the convolution. `finish` serves kernels that have a table of their
output pixels' addresses, and `finished` any output, in place; `windows.py` does the same in registers. Kernels take (bias, slope);
an empty bias says that nothing follows. May import: numpy, llvmlite, numba, and this folder.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel
from minigrad.kernels.cpu.machine.threads import launch, share, take
from minigrad.kernels.cpu.parts.layout import BLOCK
from minigrad.kernels.cpu.registers.tiles import F32, I64, VL, Emit, addresses, at

NOTHING = np.zeros(0, np.float32), 1.0


def _finish_twin(table, start, rows, channels, bias, slope):
    for address in addresses(table, rows):
        y = at(start + address, channels)
        z = y + at(bias, channels)
        y[:] = np.where(z <= 0, z * np.float32(slope) if slope else np.float32(0), z)


@instruction(_finish_twin)
def finish(typing_context, table, start, rows, channels, bias, slope):
    """row[c] = leaky_relu(row[c] + bias[c]), c < channels, for the rows at start + table[0], start + table[1], ... table, start and
    bias are addresses. NaN stays NaN, and slope 0 makes 0 of everything below, as in `reference.leaky_relu`."""
    def codegen(context, b, signature, args):
        table, start, rows, channels, bias, slope = args
        vectors = b.udiv(channels, I64(VL))
        slope = b.fptrunc(slope, F32)
        flat = b.fcmp_ordered("==", slope, ir.Constant(F32, 0.0))
        with cgutils.for_range(b, rows, intp=I64) as m:
            row = b.add(start, Emit(b).word(table, m.index))
            for lanes, first, count in ((VL, I64(0), vectors), (1, b.mul(vectors, I64(VL)), b.urem(channels, I64(VL)))):
                e = Emit(b, lanes)
                factor = e.splat(slope)
                with cgutils.for_range(b, count, intp=I64) as k:
                    offset = e.times4(b.add(first, b.mul(k.index, I64(lanes))))
                    place = b.add(row, offset)
                    z = b.fadd(e.load(place), e.load(b.add(bias, offset)))
                    low = b.select(flat, e.zero, b.fmul(z, factor))
                    e.store(b.select(b.fcmp_ordered("<=", z, e.zero), low, z), place)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5, types.float64), codegen


@inner
def finish_rows(y, bias, slope):
    """The same for y (R, C)."""
    slope32 = np.float32(slope)
    for r in range(y.shape[0]):
        row = y[r]
        for c in range(row.size):
            z = row[c] + bias[c]
            low = slope32 * z if slope32 != 0 else np.float32(0)
            row[c] = low if z <= 0 else z


@kernel
def finish_blocks(counter, y, bias, slope, rows_per_block):
    share(counter)
    while True:
        start = take(counter) * rows_per_block
        if start >= y.shape[0]:
            break
        finish_rows(y[start:start + rows_per_block], bias, slope)


def finished(y, bias, slope):
    """y (..., C), contiguous, in place."""
    if bias.size:
        rows = y.reshape(-1, bias.size)
        per_block = max(1, BLOCK // bias.size)
        launch(finish_blocks, -(-len(rows) // per_block), rows, bias, slope, per_block)
    return y
