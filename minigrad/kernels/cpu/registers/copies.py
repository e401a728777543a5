"""What the kernels do lane by lane, beside the register tiles: copies, transposes, channelwise products, gate equations, and the
table of addresses through which tiles reach their rows.

The instructions are emitted as in `tiles`, which explains why. Addresses are plain integers, and each function has a twin in NumPy
beside it. Channels are multiples of VL unless it says otherwise.

Imports: llvmlite, numba, numpy, machine, emit.
"""
import contextlib

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import inner, instruction
from minigrad.kernels.cpu.machine.threads import ALIGNMENT
from minigrad.kernels.cpu.registers.emit import I32, I64, MR, NV, VL, Emit, addresses, all_lanes, at

PIECES = 4, 8, 16                   # floats that `copy_rows` copies at once


def _copy_rows(begins, base, count, length, target, pitch):
    for m, begin in enumerate(addresses(begins, count)):
        at(target + m * pitch, length)[:] = at(base + begin, length)


@instruction(_copy_rows)
def copy_rows(typing_context, begins, base, count, length, target, pitch):
    """target_row[m] = the `length` floats at base + begins[m], m < count, and what follows them up to a whole number of vectors.

    begins: the address of a table of words, in bytes; pitch: bytes from row to row of the target. A short row is one vector of 4, 8
    or 16 floats, a long one several.
    """
    def codegen(context, b, signature, args):
        begins, base, count, length, target, pitch = args
        for piece in PIECES:
            e, least = Emit(b, piece), {4: 0, 8: 4, 16: 8}[piece]
            chosen = b.icmp_signed(">", length, I64(least))
            if piece < PIECES[-1]:
                chosen = b.and_(chosen, b.icmp_signed("<=", length, I64(piece)))
            with b.if_then(chosen):
                pieces = b.udiv(b.add(length, I64(piece - 1)), I64(piece))
                with cgutils.for_range(b, pieces, intp=I64) as q, cgutils.for_range(b, count, intp=I64) as m:
                    offset = b.mul(q.index, I64(4 * piece))
                    source = b.add(b.add(base, offset), e.word(begins, m.index))
                    e.store(e.load(source), b.add(b.add(target, offset), b.mul(pitch, m.index)))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


def _copy_matrix(source, source_step, count, length, target, target_step):
    for k in range(count):
        at(target + k * target_step, length)[:] = at(source + k * source_step, length)


@instruction(_copy_matrix)
def copy_matrix(typing_context, source, source_step, count, length, target, target_step):
    """target_row[k] = source_row[k], k < count: `length` floats each, a step apart in bytes. The last vector ends with the row."""
    def codegen(context, b, signature, args):
        source, source_step, count, length, target, target_step = args
        short, zero = b.icmp_signed("<", length, I64(VL)), I64(0)
        vectors = b.select(short, zero, b.udiv(b.add(length, I64(VL - 1)), I64(VL)))
        for lanes, steps in (VL, vectors), (1, b.select(short, length, zero)):
            e, last = Emit(b, lanes), b.sub(length, I64(lanes))
            with cgutils.for_range(b, count, intp=I64) as k:
                row, place = b.add(source, b.mul(source_step, k.index)), b.add(target, b.mul(target_step, k.index))
                with cgutils.for_range(b, steps, intp=I64) as q:
                    start = b.mul(q.index, I64(lanes))
                    offset = e.times4(b.select(b.icmp_signed("<", start, last), start, last))
                    e.store(e.load(b.add(row, offset)), b.add(place, offset))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), codegen


def _strips_twin(lanes):
    def twin(source, source_step, count, strips, target, target_step):
        for k in range(count):
            for q in range(strips):
                at(target + q * target_step + 4 * lanes * k, lanes)[:] = at(source + k * source_step + 4 * lanes * q, lanes)
    return twin


def to_strips(lanes):
    """Make copy(source, source_step, count, strips, target, target_step): target[q][k] = source[k][q*lanes:(q + 1)*lanes].

    `count` rows, source_step bytes apart, are cut into strips of `lanes` floats. The strips q of all rows, one behind the other,
    become panel q; panels are target_step bytes apart.
    """
    @instruction(_strips_twin(lanes))
    def copy(typing_context, source, source_step, count, strips, target, target_step):
        def codegen(context, b, signature, args):
            source, source_step, count, strips, target, target_step = args
            e = Emit(b, lanes)
            with cgutils.for_range(b, count, intp=I64) as k:
                row, place = b.add(source, b.mul(source_step, k.index)), b.add(target, b.mul(I64(4 * lanes), k.index))
                with cgutils.for_range(b, strips, intp=I64) as q:
                    strip = e.load(b.add(row, b.mul(I64(4 * lanes), q.index)))
                    e.store(strip, b.add(place, b.mul(target_step, q.index)))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 6), codegen

    return copy


@instruction(lambda address, size: None)
def prefetch(typing_context, address, size):
    """Begin to bring `size` bytes from an address on into the L2 cache, and do not wait: they will be read or written soon."""
    def codegen(context, b, signature, args):
        address, size = args
        pointer = ir.IntType(8).as_pointer()
        name = "llvm.prefetch" + (".p0i8" if "*" in str(pointer) else ".p0")                # LLVM before 17: typed
        fetch = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.VoidType(), [pointer, I32, I32, I32]), name)
        with cgutils.for_range(b, b.sdiv(b.add(size, I64(ALIGNMENT - 1)), I64(ALIGNMENT)), intp=I64) as k:
            place = b.inttoptr(b.add(address, b.mul(I64(ALIGNMENT), k.index)), pointer)
            b.call(fetch, [place, I32(0), I32(2), I32(1)])                                  # to read; into L2; data
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), codegen


def runs_of_vectors(b, channels, most):
    """(vectors at a time, first, end) of two loops over `channels` floats: `most` vectors at a time, then the rest."""
    count = b.udiv(channels, I64(VL))
    whole = b.sub(count, b.urem(count, I64(most)))
    return (most, I64(0), whole), (1, whole, count)


def _turn_square_twin(source, step, target, target_step):
    square = np.stack([at(source + i * step, VL) for i in range(VL)])
    for j in range(VL):
        at(target + j * target_step, VL)[:] = square[:, j]


@instruction(_turn_square_twin)
def turn_square(typing_context, source, step, target, target_step):
    """target[j][i] = source[i][j], i, j < VL: rows `step` and `target_step` bytes apart.

    For h = 1, 2, 4, ... up to VL/2, the two off-diagonal quarters of all 2h x 2h squares change places."""
    def codegen(context, b, signature, args):
        source, step, target, target_step = args
        e = Emit(b)
        rows = [e.load(b.add(source, b.mul(step, I64(i)))) for i in range(VL)]
        h = 1
        while h < VL:
            lanes = range(VL)
            upper = ir.Constant(ir.VectorType(I32, VL), [I32(VL + j - h if j & h else j) for j in lanes])
            lower = ir.Constant(ir.VectorType(I32, VL), [I32(VL + j if j & h else j + h) for j in lanes])
            for i in lanes:
                if not i & h:
                    x, y = rows[i], rows[i + h]
                    rows[i], rows[i + h] = b.shuffle_vector(x, y, upper), b.shuffle_vector(x, y, lower)
            h *= 2
        for j in range(VL):
            e.store(rows[j], b.add(target, b.mul(target_step, I64(j))))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), codegen


@inner
def turn(x, start, step, rows, columns, y, y_start, y_step):
    """y[y_start + j*y_step + i] = x[start + i*step + j], i < rows, j < columns: x and y flat."""
    if rows < VL or columns < VL:
        for i in range(rows):
            for j in range(columns):
                y[y_start + j * y_step + i] = x[start + i * step + j]
        return
    for i in range(0, rows, VL):
        top = min(i, rows - VL)                                 # the last square ends with the last row, or column
        for j in range(0, columns, VL):
            left = min(j, columns - VL)
            turn_square(x.ctypes.data + (start + top * step + left) * 4, step * 4,
                        y.ctypes.data + (y_start + left * y_step + top) * 4, y_step * 4)


@contextlib.contextmanager
def for_vectors(b, start, stop, vectors):
    """A loop from vector `start` to `stop`, `vectors` at a time. Yields the offset in bytes."""
    with cgutils.for_range(b, b.udiv(b.sub(stop, start), I64(vectors)), intp=I64) as group:
        yield b.mul(b.add(start, b.mul(group.index, I64(vectors))), I64(4 * VL))


class Lanes:
    """A vector in a register, written like a number. Products and sums are fused where the machine can."""

    def __init__(self, emit, value):
        self.emit, self.value = emit, value

    def _with(self, operation, left, right):
        left, right = (x.value if isinstance(x, Lanes) else self.emit.constant(x) for x in (left, right))
        return Lanes(self.emit, getattr(self.emit.b, operation)(left, right, flags=("contract", "nsz")))

    def __add__(self, other):
        return self._with("fadd", self, other)

    def __sub__(self, other):
        return self._with("fsub", self, other)

    def __rsub__(self, other):
        return self._with("fsub", other, self)

    def __mul__(self, other):
        return self._with("fmul", self, other)

    def __truediv__(self, other):
        return self._with("fdiv", self, other)

    __radd__, __rmul__ = __add__, __mul__

    def clip(self, low, high):
        """NaN stays NaN, as in NumPy."""
        b, x = self.emit.b, self.value
        for sign, limit in ((">", high), ("<", low)):
            limit = self.emit.constant(limit)
            x = b.select(b.fcmp_ordered(sign, x, limit), limit, x)
        return Lanes(self.emit, x)


def _lanewise_twin(equations, ins, outs):
    def twin(places, count):
        places = addresses(places, ins + outs)
        results = equations(*[at(place, count) for place in places[:ins]])
        for place, result in zip(places[ins:], results, strict=True):
            at(place, count)[:] = result
    return twin


def lanewise(equations, ins, outs):
    """Make loop(places, count): out_1[k], out_2[k], ... = equations(in_1[k], in_2[k], ...), k < count, all in registers.

    equations: a function of `ins` arrays that uses + - * / and .clip, and returns a tuple of `outs`. places: the address of a
    table of the addresses of the inputs, then of the outputs; an output may be an input's memory.
    """
    @instruction(_lanewise_twin(equations, ins, outs))
    def loop(typing_context, places, count):
        def codegen(context, b, signature, args):
            places, count = args
            vectors = b.sdiv(count, I64(VL))
            addresses = [Emit(b).word(places, I64(i)) for i in range(ins + outs)]
            for lanes, start, steps in ((VL, I64(0), vectors), (1, b.mul(vectors, I64(VL)), b.srem(count, I64(VL)))):
                e = Emit(b, lanes)
                with cgutils.for_range(b, steps, intp=I64) as k:
                    offset = e.times4(b.add(start, b.mul(k.index, I64(lanes))))
                    results = equations(*[Lanes(e, e.load(b.add(address, offset))) for address in addresses[:ins]])
                    for address, result in zip(addresses[ins:], results, strict=True):
                        e.store(result.value, b.add(address, offset))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp), codegen

    return loop


RUN_PIXELS = 4                      # pixels that `channelwise` computes at once: enough sums to hide the latency


def _channelwise_twin(table, taps, step, count, channels, out, out_step):
    for j in range(count):
        at(out + j * out_step, channels)[:] = 0
        for place, weight in addresses(table, 2 * taps).reshape(taps, 2):
            at(out + j * out_step, channels)[:] += at(place + j * step, channels) * at(weight, channels)


@instruction(_channelwise_twin)
def channelwise(typing_context, table, taps, step, count, channels, out, out_step):
    """out_row[j][c] = sum over taps t of x_row[t, j][c] * weights[t][c], j < count: a filter for each channel (a multiple of VL).

    table: the address of int64 (taps, 2): the addresses of a tap's first row and of its weights; row j lies j*step bytes further.
    """
    def codegen(context, b, signature, args):
        table, taps, step, count, channels, out, out_step = args
        e = Emit(b)
        runs, last = b.udiv(b.add(count, I64(RUN_PIXELS - 1)), I64(RUN_PIXELS)), b.sub(count, I64(RUN_PIXELS))
        short = b.icmp_signed("<", last, I64(0))
        pieces = list(runs_of_vectors(b, channels, NV))
        for pixels, groups in ((RUN_PIXELS, b.select(short, I64(0), runs)), (1, b.select(short, count, I64(0)))):
            with cgutils.for_range(b, groups, intp=I64) as group:
                first = b.mul(group.index, I64(pixels))
                if pixels > 1:                                  # the last run ends with the last pixel
                    first = b.select(b.icmp_signed("<", first, last), first, last)
                places = [b.mul(step, b.add(first, I64(m))) for m in range(pixels)]
                # All channels of a run come before the next run, in the order of memory.
                for vectors, start, stop in pieces:
                    with for_vectors(b, start, stop, vectors) as offset:
                        acc = [[e.variable(e.zero) for _ in range(vectors)] for _ in range(pixels)]
                        with cgutils.for_range(b, taps, intp=I64) as tap:
                            entry = b.shl(tap.index, I64(1))
                            row, weight = (b.add(e.word(table, b.add(entry, I64(k))), offset) for k in range(2))
                            ws = [e.load(weight, 4 * VL * v) for v in range(vectors)]
                            for m in range(pixels):
                                for v in range(vectors):
                                    e.accumulate(acc[m][v], e.load(b.add(row, places[m]), 4 * VL * v), ws[v])
                        for m in range(pixels):
                            target = b.add(b.add(out, offset), b.mul(out_step, b.add(first, I64(m))))
                            for v in range(vectors):
                                e.store(b.load(acc[m][v]), target, 4 * VL * v)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), codegen


def _channel_sums_twin(a, a_step, b, b_step, count, channels, out):
    total = at(out, channels)
    for k in range(count):
        total += at(a + k * a_step, channels) * at(b + k * b_step, channels)


@instruction(_channel_sums_twin)
def channel_sums(typing_context, a, a_step, b, b_step, count, channels, out):
    """out[c] += sum over k < count of a_row[k][c] * b_row[k][c], rows a step apart (bytes); channels: a multiple of VL."""
    def codegen(context, builder, signature, args):
        a, a_step, b, b_step, count, channels, out = args
        e = Emit(builder)
        for vectors, start, stop in runs_of_vectors(builder, channels, 4):           # four sums hide a multiply-add's latency
            with for_vectors(builder, start, stop, vectors) as offset:
                place = builder.add(out, offset)
                acc = [e.variable(e.load(place, 4 * VL * v)) for v in range(vectors)]
                with cgutils.for_range(builder, count, intp=I64) as k:
                    x, y = (builder.add(builder.add(first, builder.mul(k.index, step)), offset)
                            for first, step in ((a, a_step), (b, b_step)))
                    for v in range(vectors):
                        e.accumulate(acc[v], e.load(x, 4 * VL * v), e.load(y, 4 * VL * v))
                for v in range(vectors):
                    e.store(builder.load(acc[v]), place, 4 * VL * v)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 7), codegen


REACHED = 8 if MR <= 8 else 16      # pixels that `reach` handles at once: MR or more


def _reach(origin, dy, dx, h, w, offset, outside, row):
    places, rows, columns = addresses(origin, 3 * REACHED).reshape(3, REACHED)
    inside = (rows + dy >= 0) & (rows + dy < h) & (columns + dx >= 0) & (columns + dx < w)
    addresses(row, REACHED)[:] = np.where(inside, places + offset, outside)
    return int(inside.sum())


@instruction(_reach)
def reach(typing_context, origin, dy, dx, h, w, offset, outside, row):
    """One tap's entry in a tile's table, for all pixels m at once: row[m] = place[m] + offset where (y[m] + dy, x[m] + dx) lies in
    the h x w image, else `outside`. Returns how many lie inside. origin: the address of int64 (3, REACHED): place, y, x."""
    def codegen(context, b, signature, args):
        origin, dy, dx, h, w, offset, outside, row = args
        vector = ir.VectorType(I64, REACHED)

        def splat(value):
            return all_lanes(b, value, vector)

        def load(field):
            return b.load(b.inttoptr(b.add(origin, I64(8 * REACHED * field)), vector.as_pointer()), align=8)

        rows = b.icmp_unsigned("<", b.add(load(1), splat(dy)), splat(h))                    # unsigned: negative is large
        columns = b.icmp_unsigned("<", b.add(load(2), splat(dx)), splat(w))
        inside = b.and_(rows, columns)
        places = b.select(inside, b.add(load(0), splat(offset)), splat(outside))
        b.store(places, b.inttoptr(row, vector.as_pointer()), align=8)
        count = cgutils.get_or_insert_function(b.module, ir.FunctionType(ir.IntType(REACHED), [ir.IntType(REACHED)]),
                                               f"llvm.ctpop.i{REACHED}")
        return b.zext(b.call(count, [b.bitcast(inside, ir.IntType(REACHED))]), I64)

    return types.int64(*[types.intp] * 8), codegen
