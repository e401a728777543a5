"""The register tile: the inner loop of every product, convolution and weight gradient.

| symbol | meaning |
|---|---|
| VL | lanes: floats of a vector register |
| MR, NV | a tile of the result: MR rows (pixels) of NV vectors (output channels) |
| NR = NV*VL | columns of a tile |
| AR | rows of the tile of an outer product |

A core can start two vector multiply-adds in each cycle, but it can load only two vectors, and a product of matrices wants two
loads for each multiply-add. The way out is to keep a tile of the result in registers:

    acc[m][v] += broadcast(row[m][c]) * weights[c][v]           for all m < MR and v < NV, then the next c

This loads MR scalars and NV vectors for MR*NV multiply-adds, so the loads hide behind the arithmetic. All of acc, one row of
weights and one broadcast scalar must fit the register file:

| machine | registers | lanes VL | MR x NV | used | loads per multiply-add |
|---|---|---|---|---|---|
| AVX-512 | 32 | 16 | 14 x 2 | 28 + 2 + 1 | 16 / 28 |
| NEON | 32 | 4 | 14 x 2 | 28 + 2 + 1 | 16 / 28 |
| AVX2 | 16 | 8 | 6 x 2 | 12 + 2 + 1 | 8 / 12 |
| plain (SSE2, others) | 16 | 4 | 6 x 2 | 12 + 2 + 1 | 8 / 12 |

A multiply-add takes four cycles to finish, and two start in each cycle, so at least eight must be independent. All MR*NV are.
A tall tile, 14 x 2, reads each weight once for 14 pixels. A flat one, 7 x 4, would need four weights and a broadcast beside its
28 sums. That is one register too many, and it runs at less than half the speed (measured: 97 against 233 GFLOP/s, one Zen 5 core).
Scalars are broadcast rather than transposed into vectors, because memory is channels-last: a pixel's channels are contiguous.

Numba's own loops cannot hold such a tile in registers, because small arrays are allocated on the heap. So the instructions are
emitted: Python loops run while the code is built, and leave an unrolled sequence behind. The price is that addresses are plain
integers here and unchecked: a wrong one reads another array. Hence each tile has a twin in NumPy beside it, which
NUMBA_DISABLE_JIT=1 runs.

Rows are reached through a table of addresses. A pixel in the padding has the address of zeros. So there is no im2col buffer and
no padded copy. The functions here make tiles; the tiles that kernels use are made once, at the end of the file.

Imports: llvmlite, numba, numpy, machine, emit.
"""
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import instruction
from minigrad.kernels.cpu.registers.emit import AR, F32, I32, I64, LOW, MR, NR, NV, VL, Emit, addresses, at


def _tile_twin(vectors):
    def twin(table, taps, offset, channels, weights, out, out_offset, width, rows=MR):
        words = addresses(table, taps * (MR + 1)).reshape(taps, MR + 1)
        total = np.zeros((rows, vectors * VL), np.float32)
        for place, *sources in words:
            x = np.stack([at(row + offset, channels) for row in sources[:rows]])
            total += x @ at(weights + place, channels * NR).reshape(channels, NR)[:, :vectors * VL]
        for row, address in zip(total, addresses(out, rows), strict=True):
            at(address + out_offset, width)[:] = row[:width]
    return twin


def _emit_tile(b, vectors, height, table, taps, offset, channels, weights, out, out_offset, width, stream):
    e = Emit(b)
    acc = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(height)]
    with cgutils.for_range(b, taps, intp=I64) as tap:
        first = b.mul(tap.index, I64(MR + 1))
        weight = e.variable(b.add(weights, e.word(table, first)))
        rows = [b.add(offset, e.word(table, b.add(first, I64(1 + m)))) for m in range(height)]

        def term(c):
            address = b.load(weight)
            w = [e.load(address, 4 * VL * v) for v in range(vectors)]
            for m in range(height):
                x = e.scalar(rows[m], c)
                for v in range(vectors):
                    e.accumulate(acc[m][v], x, w[v])
            b.store(b.add(address, I64(4 * NR)), weight)

        e.in_pairs(I64(0), channels, term)
    e.store_rows(acc, [b.add(out_offset, e.word(out, I64(m))) for m in range(height)], width, stream)


def product_tile(vectors):
    """Make tile(table, taps, offset, channels, weights, out, out_offset, width, stream):

    out_row[m][n] = sum over taps t and channels c of row[t, m][c] * weights[t][c, n],  m < MR, n < width <= vectors*VL.

    table: the address of int64 (taps, 1 + MR): where a tap's weights (channels, NR) lie, in bytes after `weights`, and the
    addresses of its rows. out: the address of MR addresses. offset, out_offset: bytes added to the rows' and outputs' addresses.
    stream: see `streams`.
    """
    twin = _tile_twin(vectors)

    @instruction(lambda *args: twin(*args[:-1]))
    def tile(typing_context, table, taps, offset, channels, weights, out, out_offset, width, stream):
        def codegen(context, b, signature, args):
            _emit_tile(b, vectors, MR, *args)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), codegen

    return tile


def _panel_twin(rows):
    def twin(a, channels, count, weights, out, more):
        x, w = at(a, count * channels).reshape(count, channels), at(weights, channels * NR).reshape(channels, NR)
        y = at(out, count * NR).reshape(count, NR)
        y[:] = x @ w + (y if more else 0)
    return twin


def panel_tile(rows):
    """Make tile(a, channels, count, weights, out, more), a product of contiguous matrices, added to what out holds if `more`:

    out[m, n] = (out[m, n] if more else 0) + sum over c of a[m, c] * weights[c, n],  m < count <= rows, n < NR.

    a, weights, out: addresses. Rows of a beyond `count` repeat the last one; rows of out beyond it, up to `rows`, are overwritten.
    """
    @instruction(_panel_twin(rows))
    def tile(typing_context, a, channels, count, weights, out, more):
        def codegen(context, b, signature, args):
            a, channels, count, weights, out, more = args
            e, vectors = Emit(b), NR // VL
            last = b.sub(count, I64(1))
            places = [b.add(out, I64(4 * NR * m)) for m in range(rows)]
            acc = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(rows)]
            with b.if_then(b.icmp_signed("!=", more, I64(0))):
                for m in range(rows):
                    for v in range(vectors):
                        b.store(e.load(places[m], 4 * VL * v), acc[m][v])
            starts = []
            for m in range(rows):
                row = b.select(b.icmp_signed("<", I64(m), last), I64(m), last)
                starts.append(b.add(a, e.times4(b.mul(row, channels))))
            weight = e.variable(weights)
            with cgutils.for_range(b, channels, intp=I64) as c:
                address = b.load(weight)
                w = [e.load(address, 4 * VL * v) for v in range(vectors)]
                for m in range(rows):
                    x = e.scalar(starts[m], c.index)
                    for v in range(vectors):
                        e.accumulate(acc[m][v], x, w[v])
                b.store(b.add(address, I64(4 * NR)), weight)
            for m in range(rows):
                for v in range(vectors):
                    e.store(b.load(acc[m][v]), places[m], 4 * VL * v)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return tile


def product_tiles(vectors, step=1):
    """Make tile(..., width, rows): `product_tile` for rows = MR, MR - step, ... down to LOW, where tiles cannot all be full."""
    @instruction(_tile_twin(vectors))
    def tile(typing_context, table, taps, offset, channels, weights, out, out_offset, width, rows):
        def codegen(context, b, signature, args):
            for height in range(MR, LOW - 1, -step):                                        # the tallest first: most tiles are
                with b.if_then(b.icmp_signed("==", args[-1], I64(height))):
                    _emit_tile(b, vectors, height, *args[:-1], I64(0))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), codegen

    return tile


def _outer_twin(rows, vectors):
    def twin(left, left_offset, right, right_offset, count, out, out_stride):
        lefts, rights = addresses(left, count), addresses(right, count)
        for m in range(rows):
            total = at(out + 4 * m * out_stride, vectors * VL)
            for k in range(count):
                total += at(lefts[k] + left_offset, rows)[m] * at(rights[k] + right_offset, vectors * VL)
    return twin


def outer_tile(rows, vectors):
    """Make outer(left, left_offset, right, right_offset, count, out, out_stride), a sum of outer products, added to what out holds:

    out[m, n] += sum over k of left_row[k][m] * right_row[k][n],  m < rows, n < vectors*VL.

    left and right are addresses of tables of `count` row addresses; the offsets, in bytes, select channels; out_stride in floats.
    """
    @instruction(_outer_twin(rows, vectors))
    def outer(typing_context, left, left_offset, right, right_offset, count, out, out_stride):
        def codegen(context, b, signature, args):
            left, left_offset, right, right_offset, count, out, out_stride = args
            e = Emit(b)
            places = [b.add(out, e.times4(b.mul(out_stride, I64(m)))) for m in range(rows)]
            acc = [[e.variable(e.load(places[m], 4 * VL * v)) for v in range(vectors)] for m in range(rows)]
            with cgutils.for_range(b, count, intp=I64) as k:
                x = b.add(e.word(left, k.index), left_offset)
                y = b.add(e.word(right, k.index), right_offset)
                ys = [e.load(y, 4 * VL * v) for v in range(vectors)]
                for m in range(rows):
                    broadcast = e.scalar(x, I64(m))
                    for v in range(vectors):
                        e.accumulate(acc[m][v], broadcast, ys[v])
            for m in range(rows):
                for v in range(vectors):
                    e.store(b.load(acc[m][v]), places[m], 4 * VL * v)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), codegen

    return outer


def _dot_twin(rows, outs):
    def twin(table, taps, channels, weights, out):
        for m, address in enumerate(addresses(out, rows)):
            at(address, outs)[:] = 0
            for place, *row in addresses(table, taps * (MR + 1)).reshape(taps, MR + 1):
                at(address, outs)[:] += at(weights + place, outs * channels).reshape(outs, channels) @ at(row[m], channels)
    return twin


def dot_tile(rows, outs):
    """Make dot(table, taps, channels, weights, out): `product_tile` for one to four output channels, rows <= MR.

    The lanes run over the input channels (a multiple of VL), and are added up at the end:

    out_row[m][o] = sum over t, c of row[t, m][c] * weights[t][o, c],  m < rows, o < outs.
    """
    @instruction(_dot_twin(rows, outs))
    def dot(typing_context, table, taps, channels, weights, out):
        def codegen(context, b, signature, args):
            table, taps, channels, weights, out = args
            e = Emit(b)
            acc = [[e.variable(e.zero) for _ in range(outs)] for _ in range(rows)]
            with cgutils.for_range(b, taps, intp=I64) as tap:
                first = b.mul(tap.index, I64(MR + 1))
                weight = b.add(weights, e.word(table, first))
                xs = [e.word(table, b.add(first, I64(1 + m))) for m in range(rows)]
                with cgutils.for_range(b, b.udiv(channels, I64(VL)), intp=I64) as c:
                    offset = b.mul(c.index, I64(4 * VL))
                    address = b.add(weight, offset)
                    ws = [e.load(b.add(address, e.times4(b.mul(channels, I64(o))))) for o in range(outs)]
                    for m in range(rows):
                        x = e.load(b.add(xs[m], offset))
                        for o in range(outs):
                            e.accumulate(acc[m][o], x, ws[o])
            for m in range(rows):
                row = b.inttoptr(e.word(out, I64(m)), F32.as_pointer())
                for o in range(outs):
                    b.store(_sum_lanes(b, b.load(acc[m][o])), b.gep(row, [I64(o)]))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), codegen

    return dot


def _sum_lanes(b, vector):
    """The sum of a vector's lanes: the upper half is added to the lower until one lane is left."""
    lanes = vector.type.count
    while lanes > 1:
        lanes //= 2
        low, high = (ir.Constant(ir.VectorType(I32, lanes), [I32(start + i) for i in range(lanes)]) for start in (0, lanes))
        undefined = ir.Constant(vector.type, ir.Undefined)
        vector = b.fadd(b.shuffle_vector(vector, undefined, low), b.shuffle_vector(vector, undefined, high))
    return b.extract_element(vector, I32(0))


# ------------------------------------------------------------------------------------------------- the tiles that kernels use

# wide, narrow: NV vectors or one.   tall, low: the largest number of rows, or fewer.
DOT4_ROWS = 6 if MR == 14 else 3    # rows of a dot tile with 4 outputs: as many sums as 32 or 16 registers hold
OUTER_LOW = 6                       # rows of the low outer tile, for the last rows of a window and LeNet's six outputs
HEIGHT_STEP = 3                     # rows from one height of `lower_wide` to the next: each height takes time to compile

product_wide, product_narrow = product_tile(NV), product_tile(1)
lower_wide, lower_narrow = product_tiles(NV, HEIGHT_STEP), product_tiles(1, HEIGHT_STEP)
any_height_wide = product_tiles(NV)
panel_tall, panel_low = panel_tile(MR), panel_tile(AR)
outer_wide, outer_narrow, outer_low = outer_tile(AR, NV), outer_tile(AR, 1), outer_tile(OUTER_LOW, NV)
dot_to_one, dot_to_four = dot_tile(MR, 1), dot_tile(DOT4_ROWS, 4)
