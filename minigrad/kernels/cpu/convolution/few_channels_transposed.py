"""The transposed convolution to few channels: a product of matrices, then a fold (col2im), both within the cache.

The last layer of a generator makes 1 or 3 channels out of 64. If it summed output by output, its products would fill a few lanes
of a tile. But each pixel of g meets all taps (u, v) of all channels c with the same numbers, and those are enough columns:

    planes[(u, v, c), (i, j)] = sum over o of g[i, j, o] * w[o, c, u, v]                                          the product
    x[y, x, c]                = sum over taps with i*s + u*d - p = y and j*s + v*d - p = x of planes[(u, v, c), (i, j)]  the fold

The product is stored column by column, as one plane for each tap and channel, so that the fold adds whole vectors of neighbouring
pixels. For that the tile, VL columns of FOLD_PIXELS pixels, is transposed in its registers. All outputs of a row that have the
same remainder by the stride read the same taps; they are a *strand* of the row.

A block is a band of output rows of some images, whose planes stay in the L2 cache. It also reads pixels beyond the band, which are
multiplied once more for the next. No bit depends on the cut, because every product and every output is one sum in one order.

Imports: llvmlite, numba, numpy, registers, machine, plans.
"""
import functools

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.convolution.plans import LEAST_BLOCKS
from minigrad.kernels.cpu.machine.compiling import instruction, kernel
from minigrad.kernels.cpu.machine.threads import empty, launch, share, take
from minigrad.kernels.cpu.registers.copies import prefetch
from minigrad.kernels.cpu.registers.emit import F32, I32, I64, VL, Emit, addresses, all_lanes, at

FOLD_PIXELS = max(VL, 8)            # pixels of the tile: a multiple of VL, and at least eight independent sums
PLANE_FLOATS = 1 << 16              # floats of a block's planes, about: a quarter of an L2 cache
USUAL_STRANDS = 1, 2, 3, 4, 6, 8, 12                            # strands of a row, channels times stride, that `interleave` unrolls
OFFSET, DY, DX = range(3)           # columns of the table of taps


def _planes_twin(a, step, channels, weights, weight_step, out, out_step):
    rows = np.stack([at(a + m * step, channels) for m in range(FOLD_PIXELS)])
    columns = np.stack([at(weights + c * weight_step, VL) for c in range(channels)])
    for n, plane in enumerate((rows @ columns).T):
        at(out + n * out_step, FOLD_PIXELS)[:] = plane


@instruction(_planes_twin)
def planes_tile(typing_context, a, step, channels, weights, weight_step, out, out_step):
    """out_row[n][m] = sum over c of a_row[m][c] * weights_row[c][n], m < FOLD_PIXELS, n < VL: a product, stored transposed.

    a, weights, out: addresses of rows that are a step apart, in bytes.
    """
    def codegen(context, b, signature, args):
        a, step, channels, weights, weight_step, out, out_step = args
        e = Emit(b)
        thrice = b.mul(step, I64(3))
        # One pointer serves four rows, so that all addresses fit the registers.
        rows = [e.variable(b.add(a, b.mul(step, I64(m)))) for m in range(0, FOLD_PIXELS, 4)]
        weight = e.variable(weights)
        acc = [e.variable(e.zero) for _ in range(FOLD_PIXELS)]
        with cgutils.for_range(b, channels, intp=I64):
            w = e.load(b.load(weight))
            for m in range(FOLD_PIXELS):
                row = b.load(rows[m // 4])
                place = (row, b.add(row, step), b.add(row, b.shl(step, I64(1))), b.add(row, thrice))[m % 4]
                e.accumulate(acc[m], e.scalar(place, I64(0)), w)
            for pointer, size in [(weight, weight_step)] + [(row, I64(4)) for row in rows]:
                b.store(b.add(b.load(pointer), size), pointer)
        for first in range(0, FOLD_PIXELS, VL):
            for n, plane in enumerate(_transposed(b, [b.load(acc[first + m]) for m in range(VL)])):
                e.store(plane, b.add(out, b.mul(out_step, I64(n))), 4 * first)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), codegen


def _transposed(b, rows):
    """The columns of VL rows: log2(VL) times, row i and row i + VL/2 are interleaved to the new rows 2i and 2i + 1."""
    half = VL // 2
    low, high = (ir.Constant(ir.VectorType(I32, VL), [I32(start + k // 2 + k % 2 * VL) for k in range(VL)]) for start in (0, half))
    for _ in range(VL.bit_length() - 1):
        rows = [b.shuffle_vector(x, y, lanes) for x, y in zip(rows[:half], rows[half:], strict=True) for lanes in (low, high)]
    return rows


def _fold_twin(taps, count, planes, columns, width, out):
    total = np.zeros(width, np.float32)
    j = np.arange(width)
    for offset, _, dx in addresses(taps, 3 * count).reshape(count, 3):
        inside = (j + dx >= 0) & (j + dx < columns)
        for k in j[inside]:
            total[k] += at(planes + offset + 4 * k, 1)[0]
    at(out, width)[:] = total


@instruction(_fold_twin)
def fold(typing_context, taps, count, planes, columns, width, out):
    """out[j] = sum over taps with 0 <= j + dx < columns of the float j at planes + offset, j < width, rounded up to vectors.

    taps: the address of int64 (count, 3): OFFSET in bytes, DY, DX. What lies outside is read, but not added.
    """
    def codegen(context, b, signature, args):
        taps, count, planes, columns, width, out = args
        e = Emit(b)
        vector = ir.VectorType(I32, VL)
        lanes = ir.Constant(vector, [I32(i) for i in range(VL)])

        def splat(value):
            return all_lanes(b, b.trunc(value, I32), vector)

        limit = splat(columns)
        with cgutils.for_range(b, b.udiv(b.add(width, I64(VL - 1)), I64(VL)), intp=I64) as vector_index:
            first = b.mul(vector_index.index, I64(VL))
            place = b.add(planes, e.times4(first))
            acc = e.variable(e.zero)
            with cgutils.for_range(b, count, intp=I64) as tap:
                entry = b.mul(tap.index, I64(3))
                value = e.load(b.add(place, e.word(taps, entry)))
                column = b.add(lanes, splat(b.add(first, e.word(taps, b.add(entry, I64(DX))))))
                inside = b.icmp_unsigned("<", column, limit)                               # unsigned: negative is large
                b.store(b.fadd(b.load(acc), b.select(inside, value, e.zero)), acc)
            e.store(b.load(acc), b.add(out, e.times4(first)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


def _interleave_twin(strands, pitch, count, size, out):
    for k in range(size):
        at(out + 4 * k, 1)[:] = at(strands + 4 * (k % count * pitch + k // count), 1)


@instruction(_interleave_twin)
def interleave(typing_context, strands, pitch, count, size, out):
    """out[j*count + k] = strands[k*pitch + j] for the first `size` floats of out: the strands of a row of outputs become the row.

    For USUAL_STRANDS each vector of the row is put together by one shuffle for each strand; for other counts, float by float.
    """
    def codegen(context, b, signature, args):
        strands, pitch, count, size, out = args
        e = Emit(b)
        done = e.variable(I64(0))
        for strides in USUAL_STRANDS:
            with b.if_then(b.icmp_signed("==", count, I64(strides))):
                with cgutils.for_range(b, b.udiv(b.add(size, I64(strides * VL - 1)), I64(strides * VL)), intp=I64) as group:
                    place = b.add(strands, b.mul(group.index, I64(4 * VL)))
                    sources = [e.load(b.add(place, e.times4(b.mul(pitch, I64(k))))) for k in range(strides)]
                    for part in range(strides):
                        first = b.add(b.mul(group.index, I64(strides * VL)), I64(part * VL))
                        e.store_first(_woven(b, sources, part), b.add(out, e.times4(first)), 0, b.sub(size, first))
                b.store(size, done)
        with cgutils.for_range(b, b.sub(size, b.load(done)), intp=I64) as k:
            source = b.add(b.mul(b.urem(k.index, count), pitch), b.udiv(k.index, count))
            pointers = [b.gep(b.inttoptr(base, F32.as_pointer()), [index]) for base, index in ((strands, source), (out, k.index))]
            b.store(b.load(pointers[0]), pointers[1])
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), codegen


def _woven(b, sources, part):
    """Vector `part` of the interleaved vectors: lane k is float e // count of source e % count, e = part*VL + k."""
    count, result = len(sources), sources[0]
    for k, source in enumerate(sources):
        lanes = [divmod(part * VL + lane, count) for lane in range(VL)]
        keep = (lambda lane, place: lane) if k else (lambda lane, place: place)
        result = b.shuffle_vector(result, source, ir.Constant(ir.VectorType(I32, VL), [
            I32(VL + place if which == k else keep(lane, place)) for lane, (place, which) in enumerate(lanes)]))
    return result


@kernel
def multiply_and_fold(counter, scratches, g, weights, x, axes, taps, step_h, step_w, dilation_h, padding_h, kh, images, height,
                      pitch, strand, margin):
    """x from g (N,OH,OW,O) and weights (O, columns rounded up to VL). A block is `height` rows of `images` images of x.

    axes (stride^2, 2): for each remainder (ry, rx), rx innermost, its first tap in `taps` and the one after its last.
    pitch, strand: floats from plane to plane and from strand to strand in the scratch. margin: floats around all planes, which taps
    beyond the image read, but do not add.
    """
    scratch = scratches[share(counter)]
    n, oh, ow, outs = g.shape
    h, w, depth = x.shape[1], x.shape[2], x.shape[3]
    width = weights.shape[1]
    bands, total = (h + height - 1) // height, n * oh * ow
    g0, w0, t0, x0 = g.ctypes.data, weights.ctypes.data, taps.ctypes.data, x.ctypes.data
    s0 = scratch.ctypes.data
    p0 = s0 + (step_w * depth * strand + margin) * 4
    while True:
        block = take(counter)
        if block >= (n + images - 1) // images * bands:
            break
        b, top = block // bands * images, block % bands * height
        bottom, end = min(h, top + height), min(n, b + images)
        # The rows of g that reach this band: i*step + u*dilation - padding = y with top <= y < bottom.
        above = max(0, -((dilation_h * (kh - 1) - padding_h - top) // step_h)) if bands > 1 else 0
        below = min(oh, (bottom - 1 + padding_h) // step_h + 1) if bands > 1 else oh
        begin = (b * oh + above) * ow
        pixels = ((end - 1) * oh + below) * ow - begin
        for m in range(0, pixels, FOLD_PIXELS):
            start = min(begin + m, total - FOLD_PIXELS)                # the last tile ends with the last pixel
            prefetch(g0 + min(start + FOLD_PIXELS, total - FOLD_PIXELS) * outs * 4, FOLD_PIXELS * outs * 4)
            for q in range(0, width, VL):
                planes_tile(g0 + start * outs * 4, outs * 4, outs, w0 + q * 4, width * 4,
                            p0 + (start - begin + q * pitch) * 4, pitch * 4)
        for image in range(b, end):
            for y in range(top, bottom):
                ry, i = y % step_h, y // step_h
                source = p0 + ((image * oh + i) * ow - begin) * 4
                for rx in range(min(step_w, w)):
                    axis = ry * step_w + rx
                    first, last = axes[axis, 0], axes[axis, 1]
                    while first < last and i + taps[first, DY] >= oh:       # dy falls from tap to tap
                        first += 1
                    while first < last and i + taps[last - 1, DY] < 0:
                        last -= 1
                    for c in range(depth):
                        fold(t0 + first * 24, last - first, source + c * pitch * 4, ow, (w - rx + step_w - 1) // step_w,
                             s0 + (rx * depth + c) * strand * 4)
                interleave(s0, strand, step_w * depth, w * depth, x0 + (image * h + y) * w * depth * 4)


# ---------------------------------------------------------------------------------------------------------------- launches


@functools.lru_cache(1024)
def strand_taps(kernel, channels, stride, padding, dilation, columns, pitch):
    """(axes, taps) of `multiply_and_fold`."""
    axes, taps = [], []
    for ry in range(stride[0]):
        for rx in range(stride[1]):
            first = len(taps)
            for u in range(kernel[0]):
                for v in range(kernel[1]):
                    y, x = ry + padding[0] - u * dilation[0], rx + padding[1] - v * dilation[1]
                    if y % stride[0] == 0 and x % stride[1] == 0:
                        dy, dx = y // stride[0], x // stride[1]
                        taps.append((((u * kernel[1] + v) * channels * pitch + dy * columns + dx) * 4, dy, dx))
            axes.append((first, len(taps)))
    return np.array(axes, np.int64), np.array(taps, np.int64).reshape(-1, 3)


def cut(n, out, size, kernel, stride, dilation, width):
    """(images, rows) of a block: whole images where they fit the cache, else bands of rows. The shapes alone decide."""
    pixels, most = out[0] * out[1], max(1, PLANE_FLOATS // width)
    if pixels <= most and n >= LEAST_BLOCKS:
        return max(1, min(most // pixels, n // LEAST_BLOCKS)), size[0]
    bands = max(-(-pixels // most), -(-LEAST_BLOCKS // n))
    least = 2 * dilation[0] * (kernel[0] - 1)           # rows, because a lower band would make most products twice
    return 1, min(size[0], max(-(-size[0] // bands), least, 1))


def convolve_transposed_few_channels(g, w, x, stride, padding, dilation):
    """x (N,H,W,C) of few channels from g (N,OH,OW,O), at least FOLD_PIXELS pixels, and w (O,C,kh,kw)."""
    n, oh, ow, outs = g.shape
    _, c, kh, kw = w.shape
    # How far taps reach beyond the planes of a row, also with output_padding, which is less than a stride or a dilation.
    size, reach = x.shape[1:3], padding[1] + dilation[1] * kw
    columns, width = kh * kw * c, -(-kh * kw * c // VL) * VL
    weights = empty(outs, width)
    weights[:, :columns] = w.reshape(outs, c, kh * kw).transpose(0, 2, 1).reshape(outs, columns)
    weights[:, columns:] = 0
    images, height = cut(n, (oh, ow), size, (kh, kw), stride, dilation, width)
    rows = images * oh if height == size[0] else min(oh, (height + dilation[0] * (kh - 1)) // stride[0] + 2)
    pitch = (-(-rows * ow // VL) + 2 * FOLD_PIXELS // VL | 1) * VL    # odd: planes must not share lines of the L1 cache
    strand, margin = (-(-size[1] // stride[1]) // VL + 1) * VL, FOLD_PIXELS + -(-reach // VL) * VL
    axes, taps = strand_taps((kh, kw), c, stride, padding, dilation, ow, pitch)
    launch(multiply_and_fold, -(-n // images) * -(-size[0] // height), g, weights, x, axes, taps, *stride, dilation[0], padding[0],
           kh, images, height, pitch, strand, margin, scratch=width * pitch + 2 * margin + stride[1] * c * strand)
