"""Winograd's transforms: points, matrices, the instructions that apply them to VL channels at once, and the transform of weights.

    Y = A^T [ (G w G^T) * (B^T X B) ] A         (see `winograd`, which explains the symbols)

Each of them is a sandwich: a small matrix of numbers between a constant matrix and another one's transpose.

| instruction | computes | for |
|---|---|---|
| inputs_of | B^T X B | the window of a patch |
| weights_of | G w G^T | a kernel |
| outputs_of | A^T M A | the sum of products of a patch |
| output_gradients_of | A g A^T | a patch of output gradients, in a weight gradient |
| weight_gradients_of | G^T S G | the sum of products of a weight gradient |

Imports: llvmlite, numba, numpy, registers, machine.
"""
import itertools
import math
from fractions import Fraction

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils

from minigrad.kernels.cpu.machine.compiling import inner, instruction, kernel
from minigrad.kernels.cpu.registers.emit import I32, I64, NR, VL, Emit, addresses, all_lanes, at

POINTS = (0, 1, -1, 2, -2)
POINTS5 = (0, 1, -1, Fraction(1, 2), -2, 2)                     # for 5 taps, where high powers of 2 would magnify rounding
M = 4                               # outputs along the side of a patch, at most
TABLE_SPARE = 8                     # entries that `clipped` may write too many, or columns of a window, at most
SIDES = {2: (4, 3), 3: (4, 3), 5: (3, 2)}                       # outputs along each side of a patch, by taps
FORWARD_SIDES, GRADIENT_SIDES = {**SIDES, 5: (3,)}, {**SIDES, 5: (2,)}  # a convolution's; a weight gradient's
PLANE_SPARE = VL                    # floats that a frequency's plane is longer than it need be: see `winograd`
WEIGHT_CHUNK = 32                   # input channels whose weights a block transforms
GATHERED = 8                        # input channels whose weights are read from w, or written to dw, at once, in the L1 cache


def matrices(m, r, points=POINTS, monic=False):
    """A^T (m, a), G (a, r), B^T (a, a) of F(m, r), a = m + r - 1, from a - 1 points and infinity.

    Row p of B^T holds the coefficients of Lagrange's polynomial, the product of (x - q)/(p - q) over the other points q. With
    `monic` its denominator goes to A instead. Either way a row of G depends on its own point only.
    """
    points = [Fraction(p) for p in points[:m + r - 2]]

    def values(degree):
        """Powers 0 .. degree-1 of each point; infinity sees the leading coefficient only."""
        return np.array([[float(p**j) for j in range(degree)] for p in points] + [[0.0] * (degree - 1) + [1.0]])

    scale = np.array([float(math.prod(p - q for q in points if q != p)) for p in points] + [1.0]) if monic else np.ones(m + r - 1)
    bt = np.linalg.inv(values(m + r - 1)).T * scale[:, None]
    return values(m).T / scale, values(r), np.round(bt, 12)     # exact zeros, because `sandwiches` leaves those out


@kernel
def points_of(r):
    """How many points the largest patch of r taps has, infinity among them."""
    return r + M - 1 if r < 5 else r + M - 2


@inner
def kind_of(r, down, across):
    """The number of the patch with sides `down` and `across` among the patches of r taps."""
    most = points_of(r) - r + 1
    return (most - down) * 2 + (most - across)


@kernel
def frequency(f, r, down, across):
    """Frequency f of a patch with sides `down` and `across`, as a frequency of the largest patch. A smaller patch has the first
    points of the largest one, and infinity, which is the last."""
    points, i, j = points_of(r), f // (r + across - 1), f % (r + across - 1)
    return (points - 1 if i == r + down - 2 else i) * points + (points - 1 if j == r + across - 2 else j)


def _clipped_twin(near, edge, down, across, origin, outside, top, left, step, height, width):
    near, edge = (addresses(table, down * across).reshape(down, across) for table in (near, edge))
    rows, columns = top + step * np.arange(down), left + step * np.arange(across)
    inside = ((rows >= 0) & (rows < height))[:, None] & (columns >= 0) & (columns < width)
    edge[:] = np.where(inside, origin + near, outside)


@instruction(_clipped_twin)
def clipped(typing_context, near, edge, down, across, origin, outside, top, left, step, height, width):
    """edge[u, v] = origin + near[u, v] where pixel (top + u*step, left + v*step) of a height x width image exists, else `outside`.

    near, edge: addresses of tables (down, across) of int64, each with room for TABLE_SPARE entries more. A row is written as one
    vector, which may be too long; the next row overwrites what was too much. Loops and branches take 50 ns for a table, this takes
    8 (Zen 3), and the transform of 16 channels 500.
    """
    def codegen(context, b, signature, args):
        near, edge, down, across, origin, outside, top, left, step, height, width = args
        words, halves = ir.VectorType(I64, TABLE_SPARE), ir.VectorType(I32, TABLE_SPARE)

        def short(value):
            return all_lanes(b, b.trunc(value, I32), halves)

        columns = b.add(short(left), b.mul(ir.Constant(halves, [I32(v) for v in range(TABLE_SPARE)]), short(step)))
        exists = b.icmp_unsigned("<", columns, short(width))                                # a negative one is a large number
        origin, outside = all_lanes(b, origin, words), all_lanes(b, outside, words)
        with cgutils.for_range(b, down, intp=I64) as u:
            offset = b.mul(b.mul(u.index, across), I64(8))
            source, target = (b.inttoptr(b.add(table, offset), words.as_pointer()) for table in (near, edge))
            row = b.icmp_unsigned("<", b.add(top, b.mul(u.index, step)), height)
            places = b.add(origin, b.load(source, align=8))
            b.store(b.select(row, b.select(exists, places, outside), outside), target, align=8)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 11), codegen


def _twin(pairs):
    def twin(r, kind, source, source_at, out, out_at, channels):
        left, right = pairs[r][kind]
        rows, columns = left.shape[1], right.shape[1]
        x = np.stack([at(source_at + a, channels) for a in addresses(source, rows * columns)]).reshape(rows, columns, channels)
        result = np.einsum("iu,jv,uvc->ijc", left, right, x, dtype=np.float32).reshape(-1, channels)
        for row, address in zip(result, addresses(out, len(result)), strict=True):
            at(out_at + address, channels)[:] = row
    return twin


def sandwiches(pairs):
    """Make transform(r, kind, source, source_at, out, out_at, channels): Y = L X R^T in every channel, L, R = pairs[r][kind].

    source, out: addresses of tables of row addresses, one for each element of X and of Y, row by row, relative to source_at and
    out_at; channels: a multiple of VL. Everything is unrolled and zeros are left out: a 6x6 transform is some 150 additions and
    multiply-adds for VL channels, without a loop.
    """
    @instruction(_twin(pairs))
    def transform(typing_context, r, kind, source, source_at, out, out_at, channels):
        def codegen(context, b, signature, args):
            for r, kinds in pairs.items():
                with b.if_then(b.icmp_signed("==", args[0], I64(r))):
                    for kind, (left, right) in kinds.items():
                        with b.if_then(b.icmp_signed("==", args[1], I64(kind))):
                            _emit_sandwich(b, left, right, *args[2:])
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), codegen

    return transform


def _emit_sandwich(b, left, right, source, source_at, out, out_at, channels):
    e = Emit(b)
    rows, columns = left.shape[1], right.shape[1]
    with cgutils.for_range(b, b.udiv(channels, I64(VL)), intp=I64) as c:
        offset = b.mul(c.index, I64(4 * VL))
        source_here, out_here = b.add(source_at, offset), b.add(out_at, offset)
        half = []                                                                           # (L X)^T
        for v in range(columns):
            half.append(_combinations(e, left, [e.load(b.add(e.word(source, I64(u * columns + v)), source_here))
                                                for u in range(rows)]))
        for i, row in enumerate(zip(*half, strict=True)):
            for j, y in enumerate(_combinations(e, right, row)):
                e.store(y, b.add(e.word(out, I64(i * len(right) + j)), out_here))


def _combinations(e, matrix, xs):
    """matrix @ xs. The points p and -p make two columns, or two rows, that are equal but for signs. Such a pair shares its
    products: a x + b y and a x - b y need a x and b y once."""
    b, matrix, xs = e.b, np.array(matrix), list(xs)

    def similar(vectors):
        """Pairs (k, l) of vectors that agree in some places and differ in sign in others."""
        left = [k for k, v in enumerate(vectors) if np.count_nonzero(v) > 1]
        while left:
            k = left.pop(0)
            for l in left:
                same, opposite = (np.count_nonzero((vectors[k] == sign * vectors[l]) & (vectors[k] != 0)) for sign in (1, -1))
                if np.array_equal(abs(vectors[k]), abs(vectors[l])) and same and opposite:
                    left.remove(l)
                    yield k, l
                    break

    def combined(row):
        total = None
        for factor, x in sorted(((f, x) for f, x in zip(row, xs, strict=True) if f), key=lambda t: -t[0] == 1):
            if total is None:
                total = x if factor == 1 else b.fmul(x, e.constant(factor))
            elif abs(factor) == 1:
                total = b.fadd(total, x) if factor > 0 else b.fsub(total, x)
            else:
                total = b.call(e.muladd, [x, e.constant(factor), total])
        return e.zero if total is None else total

    for k, l in list(similar(matrix.T)):                        # x_k and x_l become their sum and their difference
        same = matrix[:, k] == matrix[:, l]
        xs[k], xs[l] = b.fadd(xs[k], xs[l]), b.fsub(xs[k], xs[l])
        matrix[:, k], matrix[:, l] = np.where(same, matrix[:, k], 0), np.where(same, 0, matrix[:, k])
    results = [None] * len(matrix)
    for k, l in similar(matrix):
        same = matrix[k] == matrix[l]
        even, odd = combined(np.where(same, matrix[k], 0)), combined(np.where(same, 0, matrix[k]))
        results[k], results[l] = b.fadd(even, odd), b.fsub(even, odd)
    return [combined(row) if y is None else y for row, y in zip(matrix, results, strict=True)]


def transforms(matrix, mixed=True):
    """Make transform(r, kind, ...) from a function that picks one of the matrices A^T, G, B^T, or its transpose.

    Kind 0 is the largest patch of r taps; without `mixed` there is no other. For 5 taps patches are square, because those
    transforms take longest to compile. The matrices are monic for 3 and 5 taps, whose points come in pairs p, -p: rows of B^T
    then share their sums. With 2 taps A is the longer sum, and its factors are 1 only if it is not scaled."""
    def of(m, r):
        return np.float32(matrix(*matrices(m, r, POINTS if r < 5 else POINTS5, r > 2)))

    pairs = {r: {k: (of(down, r), of(across, r)) for k, (down, across) in enumerate(itertools.product(sides, sides))
                 if k == 0 or mixed and (down == across or r < 5)} for r, sides in SIDES.items()}
    return sandwiches(pairs)


inputs_of = transforms(lambda at, g, bt: bt)
outputs_of = transforms(lambda at, g, bt: at)
output_gradients_of = transforms(lambda at, g, bt: at.T)
largest_inputs_of = transforms(lambda at, g, bt: bt, mixed=False)
largest_outputs_of = transforms(lambda at, g, bt: at, mixed=False)
largest_output_gradients_of = transforms(lambda at, g, bt: at.T, mixed=False)
weights_of = transforms(lambda at, g, bt: g, mixed=False)
weight_gradients_of = transforms(lambda at, g, bt: g.T, mixed=False)


# ---------------------------------------------------------------------------------------------------------- weights


@inner
def chunk_weights(w, places, q, start, here, channels, out_stride, first, width, r, picked, taken, source, target, into, plane,
                  pitch):
    """into[f, p*pitch + c, o] = (G w G^T)[f] for channels start + c of the images p and filters first + o < width of a panel.

    w is flat: tap t of output o and input k = p*channels + c lies at o*out_stride + places[q, t, k]. into: an address; the planes
    there, one for each f, lie `plane` floats apart. picked, taken: room for the places and the taps of GATHERED channels. source,
    target: room for two tables of addresses.
    """
    taps, area = places.shape[1], points_of(r) ** 2
    images = places.shape[2] // channels
    for f in range(area):
        target[f] = f * plane * 4
    for begin in range(0, here, GATHERED):
        size = 0
        for c in range(begin, min(begin + GATHERED, here)):
            for p in range(images):
                for t in range(taps):
                    picked[size] = places[q, t, p * channels + start + c]
                    size += 1
        for o in range(width):                                  # filter by filter: its channels lie side by side in memory
            filter, column = w[(first + o) * out_stride:], taken[o:]
            for k in range(size):
                column[k * NR] = filter[picked[k]]
        for c in range(begin, min(begin + GATHERED, here)):
            for p in range(images):
                for t in range(taps):
                    source[t] = taken.ctypes.data + (((c - begin) * images + p) * taps + t) * NR * 4
                weights_of(r, 0, source.ctypes.data, 0, target.ctypes.data, into + (p * pitch + c) * NR * 4, NR)


@inner
def transform_weights(block, w, places, channels, out_stride, outs, r, picked, taken, source, target, packed):
    """packed[q, f] = (G w G^T)[f] of problem q as (panels, K, NR): panels of NR output channels, all input channels k.

    w flat, places as in `chunk_weights`. packed (Q, a*a, panels*K*NR + PLANE_SPARE). A block is a chunk of channels of one panel.
    """
    area, plane, depth = packed.shape[1], packed.shape[2], places.shape[2]
    panels, chunks = plane // (depth * NR), (channels + WEIGHT_CHUNK - 1) // WEIGHT_CHUNK
    q, panel, start = block // (panels * chunks), block // chunks % panels, block % chunks * WEIGHT_CHUNK
    here, width = min(WEIGHT_CHUNK, channels - start), min(NR, outs - panel * NR)
    into = packed.ctypes.data + (q * area * plane + (panel * depth + start) * NR) * 4
    chunk_weights(w, places, q, start, here, channels, out_stride, panel * NR, width, r, picked, taken, source, target, into, plane,
                  channels)
