"""Winograd convolution: fewer multiplications for more additions.

m neighbouring outputs of a correlation with r taps need m*r products when computed one by one, but m + r - 1 are enough. The
outputs are the coefficients of a product of two polynomials, transposed, and a polynomial of degree m + r - 2 is fixed by its
values at m + r - 1 points, where a product of polynomials is just a product of numbers (Toom-Cook). In matrices, with the
points 0, 1, -1, 2, -2 and infinity,

    y = A^T [ (G w) * (B^T x) ]          A, G: values of polynomials at the points; B^T: the inverse, transposed, scaled

and in two dimensions Y = A^T [ (G w G^T) * (B^T X B) ] A. For 3x3 kernels and 4x4 outputs 36 products do the work of 144.
Over channels the products become 36 products of matrices, the register tile's work. (Winograd 1980; Lavin and Gray 2016)

* A kernel of stride 2 is four kernels of stride 1, its even and odd rows and columns, on the even and odd pixels: a 4x4 kernel of
  stride 2 is a 2x2 kernel with four times the channels, F(4,2) with 25 products for 64. The transposed convolution of stride 2
  is four separate 2x2 kernels, one for each remainder of the output pixel ("problems" below).
* The weight gradient is the same bilinear form seen from the weights: G^T [ (A g A^T) * (B^T X B) ] G, summed over tiles.
* The price is rounding: the transforms multiply by up to 5 and subtract again. Against float64, relative to the result's root mean
  square, the error's root mean square is 1e-6 to 5e-6 for 64 to 256 channels (direct: 2e-7 to 1e-6) and the largest error 8e-5
  (direct: 2e-5); tests/kernels/test_winograd.py bounds it. set_conv_precision("exact") avoids it.
* Tiles have 4 outputs along a side, or 3 where that covers an image better: 7x7 outputs are tiles of 4 and 3 with (5 + 4)^2 = 81
  products, where two by two tiles of 4 would need 100, a quarter of them for outputs outside. F(3, r) needs the points of
  F(4, r) but for the last finite one, so the same transformed weights serve both.
* 5x5 kernels take tiles of 3 outputs; their weight gradient, where the error would be larger, of 2.
* Work is cut into blocks of tiles whose transforms stay in the L2 cache between the three steps. A transform writes one vector to
  each of 36 planes; planes a multiple of 4096 bytes apart would all fall into one set of the L1 cache, and the transform take three
  times as long (measured: 200 against 65 ns), so each plane is a cache line longer than it need be.
May import: numpy, `compiling`, `direct`, `endings`, `lanes`, `threads`, `tile`, `transforms`.
"""
import math

import numpy as np

from minigrad.kernels.cpu.convolution.plans import (
    ACROSS,
    COLS,
    DOWN,
    FIRST_NUMBER,
    IN_X,
    IN_Y,
    LEAST_BLOCKS,
    OUT_X,
    OUT_Y,
    PATCHES,
    ROUND,
    ROWS,
    WEIGHTS,
    patch_blocks,
    patch_rounds,
    row_of,
)
from minigrad.kernels.cpu.convolution.winograd_patches import fetch, following, grid, place_of, window
from minigrad.kernels.cpu.convolution.winograd_transforms import (
    GATHERED,
    PLANE_SPARE,
    TABLE_SPARE,
    WEIGHT_CHUNK,
    M,
    frequency,
    gathered,
    inputs_of,
    kind_of,
    outputs_of,
    points_of,
    spread,
    transform_weights,
)
from minigrad.kernels.cpu.machine.compiling import ONE, ZERO, inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.activation import finish
from minigrad.kernels.cpu.parts.layout import zeros as shared_zeros
from minigrad.kernels.cpu.parts.packing import start_of
from minigrad.kernels.cpu.registers.emit import AR, LOW, MR, NR, VL
from minigrad.kernels.cpu.registers.tiles import HEIGHT_STEP, lower_narrow, lower_wide, outer_narrow, outer_wide

FAR_IMAGE = 1 << 18                 # floats of an image that the L2 cache does not hold: a gradient calls for its pixels ahead;
FAR_ARRAYS = 1 << 21                # so does a convolution, input and output, if not even the L3 cache still has what went before
GRADIENT_SLICE = 64                 # input channels, and output channels, whose weight gradient a block sums in the L2 cache


@kernel
def winograd_convolve(counter, scratches, x, w, places, out_stride, packed, y, problems, inputs, step, out_step, r, zeros,
                      groups_per_block, bias, slope, blocks):
    """y[n, OUT_Y + out_step*i, OUT_X + out_step*j, :] = sum of w[u, v, p] x[n, step*(i + u) + IN_Y + inputs[p, 0], .] over u, v, p.

    x (N,H,W,C), y (N,OH,OW,O), w flat; places, out_stride, packed (room): see `transform_weights`, whose blocks come first.
    problems (Q, 11), inputs (P, 2), step: a problem's outputs form one grid of equal tiles; its input channels are those of P
    shifted, subsampled images, one after the other. The tiles of a problem fall into groups (`start_of`), the rows of one register
    tile. bias, slope: see `activation`.
    """
    scratch = scratches[share(counter)]
    count_in, channels = inputs.shape[0], x.shape[3]
    n, oh, ow, depth = y.shape
    most, limit, ins = points_of(r) ** 2, groups_per_block * MR, count_in * channels
    panels = packed.shape[2] // (ins * NR)
    plane, w_plane = (limit * max(ins, depth) + PLANE_SPARE) * 4, packed.shape[2] * 4
    x0, y0, w0, z0, m0 = x.ctypes.data, y.ctypes.data, packed.ctypes.data, zeros.ctypes.data, scratch.ctypes.data
    v0 = m0 + plane                                         # products of frequency f replace inputs of f - 1, used up by then
    dump, far_away = v0 + most * plane, x.size + y.size > FAR_ARRAYS
    # Tables of addresses: of an input window and of an output tile inside the images, relative to their first pixel; of one
    # that reaches beyond; of the planes.
    near, far = np.empty(most + TABLE_SPARE, np.int64), np.empty(M * M, np.int64)
    edge, planes = np.empty(most + TABLE_SPARE, np.int64), np.empty(most, np.int64)
    for f in range(most):
        planes[f] = f * plane
    # The tables of the products are those of frequency 0; the others lie whole planes further.
    rows, out = np.empty((groups_per_block, MR + 1), np.int64), np.empty((groups_per_block, MR), np.int64)
    heights = np.empty(groups_per_block, np.int64)
    room, chunks = GATHERED * count_in * places.shape[1], (channels + WEIGHT_CHUNK - 1) // WEIGHT_CHUNK
    picked, taken = np.empty(room, np.int64), np.zeros(room * NR, np.float32)
    taps_at, prepared = np.empty(places.shape[1], np.int64), packed.shape[0] * panels * chunks
    while True:
        block = take(counter)
        if block < prepared:
            # `edge` is free meanwhile, and serves as the table of the planes.
            transform_weights(block, w, places, channels, out_stride, depth, r, picked, taken, taps_at, edge, packed)
            complete(counter)
            continue
        block -= prepared
        if block >= blocks:
            break
        q = row_of(problems, block)
        problem = problems[q]
        down, across, tiles = problem[DOWN], problem[ACROSS], problem[PATCHES]
        kind, a, area = kind_of(r, down, across), r + across - 1, (r + down - 1) * (r + across - 1)
        groups = (tiles + MR - 1) // MR
        begin = (block - problems[q, FIRST_NUMBER]) * groups_per_block
        end = min(begin + groups_per_block, groups)
        first, last = start_of(begin, groups, tiles), start_of(end, groups, tiles)
        grid(x, step, r + down - 1, a, near)
        grid(y, out_step, down, across, far)
        b, i, j = place_of(first, problem)
        for t in range(last - first):
            next_b, next_i, next_j = following(b, i, j, problem)
            for p in range(count_in):
                row, column = problem[IN_Y] + inputs[p, 0], problem[IN_X] + inputs[p, 1]
                if far_away:
                    fetch(x, x0, next_b, next_i, next_j, problem, row + (r - 1) * step, column + (r - 1) * step, step, ZERO,
                          channels * 4)
                top, left = row + step * i, column + step * j
                table, start = window(x, x0, z0, b, top, left, step, r + down - 1, a, ZERO, near, edge)
                inputs_of(r, kind, table, start, planes.ctypes.data, v0 + (t * ins + p * channels) * 4, channels)
            b, i, j = next_b, next_i, next_j
        for s in range(end - begin):
            start, stop = start_of(begin + s, groups, tiles) - first, start_of(begin + s + 1, groups, tiles) - first
            rows[s, 0], heights[s] = 0, MR - (MR - max(LOW, stop - start)) // HEIGHT_STEP * HEIGHT_STEP
            for m in range(heights[s]):
                rows[s, 1 + m] = v0 + min(start + m, stop - 1) * ins * 4
                out[s, m] = m0 + (start + m) * depth * 4
        after(counter, prepared)
        for f in range(area):
            g = frequency(f, r, down, across)
            for panel in range(panels):
                weights = w0 + (problem[WEIGHTS] * most + g) * w_plane + panel * ins * NR * 4
                place = f * plane + panel * NR * 4
                for s in range(end - begin):
                    if depth - panel * NR > VL:
                        lower_wide(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, NR, heights[s])
                    else:
                        lower_narrow(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, VL, heights[s])
        b, i, j = place_of(first, problem)
        for t in range(last - first):
            next_b, next_i, next_j = following(b, i, j, problem)
            if far_away:
                fetch(y, y0, next_b, next_i, next_j, problem, problem[OUT_Y], problem[OUT_X], out_step, ZERO, depth * 4)
            start = y0 + ((b * oh + problem[OUT_Y] + out_step * i) * ow + problem[OUT_X] + out_step * j) * depth * 4
            if i + down <= problem[ROWS] and j + across <= problem[COLS]:
                outputs_of(r, kind, planes.ctypes.data, m0 + t * depth * 4, far.ctypes.data, start, depth)
                if bias.size:
                    finish(far.ctypes.data, start, down * across, depth, bias.ctypes.data, slope)
            else:
                for u in range(down):
                    for v in range(across):
                        within = i + u < problem[ROWS] and j + v < problem[COLS]
                        edge[u * across + v] = start + far[u * across + v] if within else dump
                outputs_of(r, kind, planes.ctypes.data, m0 + t * depth * 4, edge.ctypes.data, 0, depth)
                if bias.size:
                    finish(edge.ctypes.data, 0, down * across, depth, bias.ctypes.data, slope)
            b, i, j = next_b, next_i, next_j


@kernel
def winograd_weight_gradient(counter, scratches, x, g, problems, inputs, step, r, zeros, total, steps, places, w):
    """total[part, piece, f, c, o] = sum over the part's tiles of (B^T X B)[f, c] * (A g A^T)[f, o]; then w from it, by
    `winograd_collect`.

    x (N,H,W,C), g (N,OH,OW,O); problems, inputs and step as in `convolve`, FIRST_NUMBER counting steps of ROUND tiles. A piece is
    one of the shifted images, up to GRADIENT_SLICE of its channels and up to GRADIENT_SLICE of the outputs.
    total (parts, pieces, frequencies, channels of a slice rounded up to AR, outputs of one rounded up to VL).
    """
    scratch = scratches[share(counter)]
    channels, most, parts, pieces = x.shape[3], points_of(r) ** 2, total.shape[0], total.shape[1]
    depth, height, width = g.shape[3], total.shape[3], total.shape[4]
    out_slices = (depth + GRADIENT_SLICE - 1) // GRADIENT_SLICE
    per_image = pieces // inputs.shape[0] // out_slices
    x0, g0, z0, t0, v0 = x.ctypes.data, g.ctypes.data, zeros.ctypes.data, total.ctypes.data, scratch.ctypes.data
    v_plane, e_plane = (ROUND * height + PLANE_SPARE) * 4, (ROUND * width + PLANE_SPARE) * 4
    e0 = v0 + most * v_plane
    near, edge = np.empty(most + TABLE_SPARE, np.int64), np.empty(most + TABLE_SPARE, np.int64)
    far = np.empty(M * M + TABLE_SPARE, np.int64)
    v_planes, e_planes = np.empty(most, np.int64), np.empty(most, np.int64)
    for f in range(most):
        v_planes[f], e_planes[f] = f * v_plane, f * e_plane
    left, right = np.empty(ROUND, np.int64), np.empty(ROUND, np.int64)
    for t in range(ROUND):
        left[t], right[t] = v0 + t * height * 4, e0 + t * width * 4
    images, taps = places.shape[0], places.shape[1]
    added, kernels = np.empty((most, width), np.float32), np.empty((GATHERED * images * taps, width), np.float32)
    picked, added_at, kernels_at = np.empty(GATHERED * images * taps, np.int64), np.empty(most, np.int64), np.empty(taps, np.int64)
    blocks, collected = parts * pieces, (channels + GATHERED - 1) // GATHERED * out_slices
    while True:
        block = take(counter)
        if block >= blocks:
            if block >= blocks + collected:
                break
            after(counter, blocks)
            winograd_collect(block - blocks, total, places, r, added, kernels, picked, added_at, kernels_at, w)
            continue
        part, piece = block // pieces, block % pieces
        p, start = piece // out_slices // per_image, piece // out_slices % per_image * GRADIENT_SLICE
        o0 = piece % out_slices * GRADIENT_SLICE
        rows, outs = min(GRADIENT_SLICE, channels - start), min(GRADIENT_SLICE, depth - o0)
        mine = total[part, piece]
        for f in range(most):
            for c in range(height):
                for o in range(width):
                    mine[f, c, o] = 0
        for chunk in range(part * steps // parts, (part + 1) * steps // parts):
            q = row_of(problems, chunk)
            problem = problems[q]
            down, across = problem[DOWN], problem[ACROSS]
            kind, a, area = kind_of(r, down, across), r + across - 1, (r + down - 1) * (r + across - 1)
            top, side = problem[IN_Y] + inputs[p, 0], problem[IN_X] + inputs[p, 1]
            first = (chunk - problem[FIRST_NUMBER]) * ROUND
            count = min(ROUND, problem[PATCHES] - first)
            grid(x, step, r + down - 1, a, near)
            grid(g, ONE, down, across, far)
            b, i, j = place_of(first, problem)
            for t in range(count):
                next_b, next_i, next_j = following(b, i, j, problem)
                if x.size > FAR_IMAGE:
                    fetch(x, x0, next_b, next_i, next_j, problem, top + (r - 1) * step, side + (r - 1) * step, step, start * 4,
                          rows * 4)
                    fetch(g, g0, next_b, next_i, next_j, problem, problem[OUT_Y], problem[OUT_X], ONE, o0 * 4, outs * 4)
                row, column = step * i + top, step * j + side
                table, begin = window(x, x0, z0, b, row, column, step, r + down - 1, a, start * 4, near, edge)
                inputs_of(r, kind, table, begin, v_planes.ctypes.data, v0 + t * height * 4, rows)
                row, column = i + problem[OUT_Y], j + problem[OUT_X]
                table, begin = window(g, g0, z0, b, row, column, ONE, down, across, o0 * 4, far, edge)
                spread(r, kind, table, begin, e_planes.ctypes.data, e0 + t * width * 4, outs)
                b, i, j = next_b, next_i, next_j
            for f in range(area):
                k = frequency(f, r, down, across)
                base = t0 + ((part * pieces + piece) * most + k) * height * width * 4
                for o in range(0, outs, NR):
                    for c in range(0, rows, AR):
                        place = base + (c * width + o) * 4
                        left_at, right_at = f * v_plane + c * 4, f * e_plane + o * 4
                        if outs - o > VL:
                            outer_wide(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
                        else:
                            outer_narrow(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
        complete(counter)


@inner
def winograd_collect(block, total, places, r, added, kernels, picked, source, target, w):
    """w[o, places[p, t, c]] = (G^T S G)[t] with S the sum of `gradient`'s parts, in order. w (O, C*kh*kw).

    A block is GATHERED channels of all images, and a slice of the outputs: the weights of one filter that it writes lie side by
    side.
    added (a*a, outputs of a slice), kernels (GATHERED*images*taps, the same), picked, source, target: room.
    """
    parts, pieces, area, width = total.shape[0], total.shape[1], total.shape[2], total.shape[4]
    images, taps, channels = places.shape
    out_slices = (w.shape[0] + GRADIENT_SLICE - 1) // GRADIENT_SLICE
    per_image = pieces // images // out_slices
    chunk, slice_ = block // out_slices, block % out_slices
    outs, size = min(GRADIENT_SLICE, w.shape[0] - slice_ * GRADIENT_SLICE), 0
    for f in range(area):
        source[f] = added.ctypes.data + f * width * 4
    for c in range(chunk * GATHERED, min((chunk + 1) * GATHERED, channels)):
        for p in range(images):
            piece, row = (p * per_image + c // GRADIENT_SLICE) * out_slices + slice_, c % GRADIENT_SLICE
            for f in range(area):
                into, first = added[f], total[0, piece, f, row]
                for o in range(outs):
                    into[o] = first[o]
                for part in range(1, parts):
                    more = total[part, piece, f, row]
                    for o in range(outs):
                        into[o] += more[o]
            for t in range(taps):
                picked[size], target[t] = places[p, t, c], kernels.ctypes.data + size * width * 4
                size += 1
            gathered(r, 0, source.ctypes.data, 0, target.ctypes.data, 0, outs)
    for o in range(outs):
        filter = w[slice_ * GRADIENT_SLICE + o]
        for k in range(size):
            filter[picked[k]] = kernels[k, o]


# ---------------------------------------------------------------------------------------------------------------- launches


def convolve_by_patches(x, w, y, problems, images, step, out_step, out_stride, places, ending):
    """Transform the weights, then run over blocks of patches. places (problems, taps, input channels)."""
    n, _, _, channels = x.shape
    outs, (count, taps, ins) = y.shape[3], places.shape
    r = math.isqrt(taps)
    area, panels = points_of(r) ** 2, -(-outs // NR)
    packed = empty(count, area, panels * ins * NR + PLANE_SPARE)
    problems, per_block, blocks = patch_blocks(problems, n, r, step, out_step)
    prepared = count * panels * -(-channels // WEIGHT_CHUNK)
    launch(winograd_convolve, max(blocks, prepared), x, w.reshape(-1), places, out_stride, packed, y, problems, images, step,
           out_step, r, shared_zeros(channels), per_block, *ending, blocks,
           scratch=(area + 1) * (per_block * MR * max(ins, outs) + PLANE_SPARE) + outs)


def weight_gradient_by_patches(x, g, w, images, step, places):
    """Partial sums over patches, then their sum in order. places (images, taps, channels)."""
    n, oh, ow, outs = g.shape
    count, taps, channels = places.shape
    r = math.isqrt(taps)
    area = points_of(r) ** 2
    height, width = -(-min(GRADIENT_SLICE, channels) // AR) * AR, -(-min(GRADIENT_SLICE, outs) // VL) * VL
    pieces = count * -(-channels // GRADIENT_SLICE) * -(-outs // GRADIENT_SLICE)
    problems, rounds = patch_rounds(n, (oh, ow), r, step)
    parts = min(rounds, max(-(-4 // pieces), min(LEAST_BLOCKS, rounds // 8)))
    total = empty(parts, pieces, area, height, width)
    launch(winograd_weight_gradient, parts * pieces, x, g, problems, images, step, r, shared_zeros(max(channels, outs)), total,
           rounds, places, w, scratch=area * (ROUND * (height + width) + 2 * PLANE_SPARE) + NR)
