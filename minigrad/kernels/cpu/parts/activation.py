"""Bias and (leaky) ReLU: as a pass of its own over memory, and at the end of a convolution while its output is still in the cache.

    leaky_relu(z) = z where z > 0, else slope*z         slope 0 makes 0 of everything below, even of -infinity; NaN stays NaN

The ending of a convolution is the pair (bias, slope) that its kernel takes, and stands for y = leaky_relu(y + bias[c]). As a pass
of its own it would cost as much as a tenth of the convolution. An empty bias says that nothing follows. `finish` serves kernels
that have a table of the addresses of their output pixels, `finish_output` any output, in place. `few_channels` does it in its
registers.

Imports: llvmlite, numba, numpy, registers, machine, layout.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel
from minigrad.kernels.cpu.machine.threads import launch, share, take
from minigrad.kernels.cpu.parts.layout import BLOCK, dense, empty_like, flat
from minigrad.kernels.cpu.registers.emit import F32, I64, VL, Emit, addresses, at

NOTHING = np.zeros(0, np.float32), 1.0


@kernel
def activate(counter, g, x, slope, y):
    """y = g where x > 0, else slope*g; with slope 0 that is 0, whatever g is. With g = x it is leaky ReLU."""
    share(counter)
    slope32, zero = np.float32(slope), np.float32(0)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        # Slices, because Numba cannot prove that an index is not negative if it starts at a variable, and then does not vectorise.
        start, stop = block * BLOCK, (block + 1) * BLOCK
        values, signs, out = g[start:stop], x[start:stop], y[start:stop]
        for i in range(values.size):
            low = slope32 * values[i]
            low = zero if slope32 == 0 else low
            out[i] = values[i] if signs[i] > 0 else low


@kernel
def rectify(counter, x, y):
    """y = max(x, 0); NaN stays NaN."""
    share(counter)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        values, out = x[block * BLOCK:(block + 1) * BLOCK], y[block * BLOCK:(block + 1) * BLOCK]
        for i in range(values.size):
            out[i] = np.float32(0) if values[i] <= 0 else values[i]


@kernel
def activate_sum(counter, x, other, slope, y):
    """y = leaky_relu(x + other)."""
    share(counter)
    slope32, zero = np.float32(slope), np.float32(0)
    while True:
        block = take(counter)
        if block * BLOCK >= x.size:
            break
        start, stop = block * BLOCK, (block + 1) * BLOCK
        left, right, out = x[start:stop], other[start:stop], y[start:stop]
        for i in range(left.size):
            z = left[i] + right[i]
            low = slope32 * z if slope32 != 0 else zero
            out[i] = low if z <= 0 else z


def leaky_relu(x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    source = flat(x, order)
    if slope == 0:
        launch(rectify, -(-x.size // BLOCK), source, memory)
    else:
        launch(activate, -(-x.size // BLOCK), source, source, float(slope), memory)
    return y


def add_leaky_relu(x, other, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    launch(activate_sum, -(-x.size // BLOCK), flat(x, order), flat(other, order), float(slope), memory)
    return y


def leaky_relu_dx(g, x, slope):
    order = dense(x)
    y, memory = empty_like(x, order)
    launch(activate, -(-x.size // BLOCK), flat(g, order), flat(x, order), float(slope), memory)
    return y


# ---------------------------------------------------------------------------------------------------------- endings



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
    """`finish` for y (R, C)."""
    slope32 = np.float32(slope)
    for r in range(y.shape[0]):
        row = y[r]
        for c in range(row.size):
            z = row[c] + bias[c]
            low = slope32 * z if slope32 != 0 else np.float32(0)
            row[c] = low if z <= 0 else z


@kernel
def finish_blocks(counter, y, bias, slope, rows_per_block):
    """`finish` for y (R, C), block by block."""
    share(counter)
    while True:
        start = take(counter) * rows_per_block
        if start >= y.shape[0]:
            break
        finish_rows(y[start:start + rows_per_block], bias, slope)


def finish_output(y, bias, slope):
    """The ending of y (..., C), contiguous, in place."""
    if bias.size:
        rows = y.reshape(-1, bias.size)
        per_block = max(1, BLOCK // bias.size)
        launch(finish_blocks, -(-len(rows) // per_block), rows, bias, slope, per_block)
    return y
