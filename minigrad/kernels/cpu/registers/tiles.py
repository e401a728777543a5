"""The register tile: the inner loop of every product, convolution and weight gradient.

A core can start two vector multiply-adds in each cycle, but it can load only two vectors, and a product of matrices wants
two loads for each multiply-add. The way out is to keep a block of the result in registers. With MR rows of pixels and NV
vectors of output channels,

    acc[m][v] += broadcast(row[m][c]) * weights[c][v]           m < MR, v < NV

loads MR scalars and NV vectors for MR*NV multiply-adds, so the loads hide behind the arithmetic. All of acc, one row of
weights and one broadcast scalar must fit the register file:

| machine | registers | lanes VL | MR x NV | used | loads per multiply-add |
|---|---|---|---|---|---|
| AVX-512 | 32 | 16 | 14 x 2 | 28 + 2 + 1 | 16 / 28 |
| NEON | 32 | 4 | 14 x 2 | 28 + 2 + 1 | 16 / 28 |
| AVX2 | 16 | 8 | 6 x 2 | 12 + 2 + 1 | 8 / 12 |
| plain (SSE2, others) | 16 | 4 | 6 x 2 | 12 + 2 + 1 | 8 / 12 |

A multiply-add takes four cycles to finish and two start in each, so at least eight must be independent: all of these are.
A tall tile, 14 x 2, reads each weight once for 14 pixels; a flat one, 7 x 4, would need four weights and a broadcast beside
its 28 sums, one register too many, and runs at less than half the speed (measured: 97 against 233 GFLOP/s, one Zen 5 core).
Scalars are broadcast, not transposed into vectors, because memory is channels-last: a pixel's channels are contiguous.

Numba's own loops cannot hold such a block in registers (small arrays are allocated on the heap), so `intrinsic` emits the
instructions: ordinary Python loops that unroll while the code is built. What they cost is that addresses are plain integers
here, unchecked: a wrong one reads another array. Hence each tile has a twin in NumPy beside it, which NUMBA_DISABLE_JIT=1 runs.
Rows are reached through a table of addresses. A padded pixel points at a block of zeros. No im2col buffer, no padding copy.
May import: numpy, numba, llvmlite, `compiling`, `threads`.
"""
import ctypes
import os

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import instruction
from minigrad.kernels.cpu.machine.threads import ALIGNMENT

F32, I32, I64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)


def host_features():
    """The set of processor features that Numba compiles for; NUMBA_CPU_FEATURES overrides what the machine has."""
    if config.CPU_FEATURES is not None or config.CPU_NAME is not None:
        listed = (config.CPU_FEATURES or "").split(",")
        return {f[1:] for f in listed if f.startswith("+")}
    return {name for name, present in binding.get_host_cpu_features().items() if present}


def tile_shape(features, triple):
    """(VL, MR, NV) for a machine: see the table above."""
    if "avx512f" in features:
        return 16, 14, 2
    if "avx2" in features and "fma" in features:
        return 8, 6, 2
    if triple.split("-")[0] in ("aarch64", "arm64"):
        return 4, 14, 2
    return 4, 6, 2


def chosen_shape():
    """This machine's, or MINIGRAD_TILE="VL,MR,NV" to try another: MR 14 or less."""
    asked = os.environ.get("MINIGRAD_TILE")
    return tuple(int(n) for n in asked.split(",")) if asked else tile_shape(host_features(), binding.get_process_triple())


VL, MR, NV = chosen_shape()
NR = VL * NV                        # output channels of a tile
AR = 8 if MR == 14 else 6           # rows of the outer-product tile: 8 divides common channel counts
STREAMED = 1 << 23                  # bytes of an output from which `streams` pays: measured together with the layer that reads it
LOW = max(1, MR // 2)               # the least height of `product_tiles`: more than MR rows can be cut into tiles of LOW to MR


def at(address, count):
    """The `count` floats at an address, as an array."""
    return np.frombuffer((ctypes.c_float * int(count)).from_address(int(address)), np.float32)


def addresses(address, count):
    return np.frombuffer((ctypes.c_int64 * int(count)).from_address(int(address)), np.int64)


def streams(y, outs, sooner=1):
    """Whether tiles write an output of `outs` channels, or groups of them, past the caches (`Emit.stream`), as 0 or 1.

    sooner: who does not call for the lines that he will write gains from STREAMED/sooner on."""
    return int(y.nbytes >= STREAMED // sooner and outs % VL == 0 and y.ctypes.data % ALIGNMENT == 0)


class Emit:
    """The few LLVM phrases that the tiles are written in: vectors of `lanes` floats at integer addresses."""

    def __init__(self, builder, lanes=VL):
        self.b, self.vector, self.lanes = builder, ir.VectorType(F32, lanes), lanes
        self.undefined = ir.Constant(self.vector, ir.Undefined)
        self.zero = ir.Constant(self.vector, None)
        # Fused where the machine has the instruction, a product and a sum where it has not.
        self.muladd = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(self.vector, [self.vector] * 3), f"llvm.fmuladd.v{lanes}f32")

    def load(self, address, offset=0):
        return self.b.load(self.pointer(address, offset), align=4)

    def store(self, value, address, offset=0):
        self.b.store(value, self.pointer(address, offset), align=4)

    def stream(self, value, address, offset=0):
        """Store a vector past the caches. Its place must be aligned to its size.

        An output that is larger than the caches has left them before the next layer reads it, and an ordinary store would first
        fetch the line that it overwrites. Other threads see such stores late, but not after an atomic step of the thread that made
        them: on x86, which alone reorders them, `take` is a locked instruction, and the last thing that a thread does in a kernel.
        """
        store = self.b.store(value, self.pointer(address, offset), align=4 * self.lanes)
        store.set_metadata("nontemporal", self.b.module.add_metadata([I32(1)]))

    def store_first(self, value, address, offset, count):
        """Store the first `count` lanes only (a masked store: AVX has it, elsewhere LLVM makes branches)."""
        pointer = self.pointer(address, offset)
        typed = "*" in str(pointer.type)                                                    # LLVM before 17
        name = f"llvm.masked.store.v{self.lanes}f32.p0" + (f"v{self.lanes}f32" if typed else "")
        mask = ir.VectorType(ir.IntType(1), self.lanes)
        store = cgutils.get_or_insert_function(
            self.b.module, ir.FunctionType(ir.VoidType(), [self.vector, pointer.type, I32, mask]), name)
        lanes = ir.Constant(ir.VectorType(I64, self.lanes), [I64(i) for i in range(self.lanes)])
        undefined = ir.Constant(lanes.type, ir.Undefined)
        limit = self.b.shuffle_vector(self.b.insert_element(undefined, count, I32(0)), undefined,
                                      ir.Constant(ir.VectorType(I32, self.lanes), None))
        self.b.call(store, [value, pointer, I32(4), self.b.icmp_signed("<", lanes, limit)])

    def store_rows(self, acc, rows, width, streamed):
        """Store the first `width` lanes of each row of vectors; or all, as `stream` does, where the number `streamed` is 1.

        Whole rows have a path of their own, for Zen 3 takes twelve cycles for a masked store, and one for any other."""
        b, places = self.b, [(m, v) for m in range(len(rows)) for v in range(len(acc[m]))]
        with b.if_else(b.icmp_signed("!=", streamed, I64(0))) as (past_caches, otherwise):
            with past_caches:
                for m, v in places:
                    self.stream(b.load(acc[m][v]), rows[m], 4 * VL * v)
            with otherwise, b.if_else(b.icmp_signed(">=", width, I64(VL * len(acc[0])))) as (whole, part):
                with whole:
                    for m, v in places:
                        self.store(b.load(acc[m][v]), rows[m], 4 * VL * v)
                with part:
                    for m, v in places:
                        self.store_first(b.load(acc[m][v]), rows[m], 4 * VL * v, b.sub(width, I64(VL * v)))

    def pointer(self, address, offset):
        return self.b.inttoptr(self.b.add(address, I64(offset)), self.vector.as_pointer())

    def scalar(self, address, index):
        """All lanes equal to the float at address + 4*index."""
        value = self.b.load(self.b.gep(self.b.inttoptr(address, F32.as_pointer()), [index]))
        return self.splat(value)

    def splat(self, value):
        first = self.b.insert_element(self.undefined, value, I32(0))
        return self.b.shuffle_vector(first, self.undefined, ir.Constant(ir.VectorType(I32, self.lanes), None))

    def constant(self, value):
        return ir.Constant(self.vector, [ir.Constant(F32, float(np.float32(value)))] * self.lanes)

    def variable(self, value):
        """A value that changes in a loop; LLVM keeps it in a register."""
        return cgutils.alloca_once_value(self.b, value)

    def accumulate(self, variable, x, y):
        self.b.store(self.b.call(self.muladd, [x, y, self.b.load(variable)]), variable)

    def in_pairs(self, start, end, term):
        """term(k) for start <= k < end, two to a turn of the loop: short sums are up to a tenth faster."""
        b = self.b
        whole = b.add(start, b.and_(b.sub(end, start), I64(-2)))
        with cgutils.for_range_slice(b, start, whole, I64(2), intp=I64) as (k, _):
            term(k)
            term(b.add(k, I64(1)))
        with b.if_then(b.icmp_signed("<", whole, end)):
            term(whole)

    def word(self, table, index):
        """table[index] of a table of int64 at an address."""
        return self.b.load(self.b.gep(self.b.inttoptr(table, I64.as_pointer()), [index]))

    def times4(self, value):
        return self.b.shl(value, I64(2))


# ----------------------------------------------------------------------------------------------------------------- tiles


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
    """Make tile(..., width, rows): `product_tile` for rows = MR, MR - step, ... down to LOW, for who cannot fill all tiles."""
    @instruction(_tile_twin(vectors))
    def tile(typing_context, table, taps, offset, channels, weights, out, out_offset, width, rows):
        def codegen(context, b, signature, args):
            for height in range(MR, LOW - 1, -step):                                        # the tallest first: most are
                with b.if_then(b.icmp_signed("==", args[-1], I64(height))):
                    _emit_tile(b, vectors, height, *args[:-1], I64(0))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 9), codegen

    return tile


def _outer_twin(rows, vectors):
    def twin(a, a_offset, b, b_offset, count, out, out_stride):
        left, right = addresses(a, count), addresses(b, count)
        for m in range(rows):
            total = at(out + 4 * m * out_stride, vectors * VL)
            for k in range(count):
                total += at(left[k] + a_offset, rows)[m] * at(right[k] + b_offset, vectors * VL)
    return twin


def outer_tile(rows, vectors):
    """Make outer(a, a_offset, b, b_offset, count, out, out_stride), a sum of outer products, added to what out holds:

    out[m, n] += sum over k of a_row[k][m] * b_row[k][n],  m < rows, n < vectors*VL.

    a and b are addresses of tables of `count` row addresses; the offsets, in bytes, select channels; out_stride in floats.
    """
    @instruction(_outer_twin(rows, vectors))
    def outer(typing_context, a, a_offset, b, b_offset, count, out, out_stride):
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
    """Make dot(table, taps, channels, weights, out): `tile` for one to four output channels, rows <= MR.

    There the lanes run over the input channels (a multiple of VL), and are added up at the end:
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
