"""Winograd convolution: fewer multiplications for more additions.

| symbol | meaning |
|---|---|
| m | outputs along the side of a patch, the square of outputs that are computed together: 4 or 3, in a gradient also 2 |
| r | taps along the side of the kernel |
| a = m + r - 1 | pixels along the side of a patch's window (the input that it reads), and the number of points |
| f | one of the a*a frequencies: a pair of points, vertical and horizontal |
| w, X, Y | a kernel (r, r), a patch's window (a, a), a patch of outputs (m, m), all of one channel |

m neighbouring outputs of a correlation with r taps need m*r products when computed one by one, but m + r - 1 are enough. The
outputs are the coefficients of a product of two polynomials, transposed. A polynomial of degree m + r - 2 is fixed by its values
at m + r - 1 points, and at a point a product of polynomials is just a product of numbers (Toom-Cook). In matrices, with the
points 0, 1, -1, 2, -2 and infinity,

    y = A^T [ (G w) * (B^T x) ]          A, G: values of polynomials at the points; B^T: the inverse, transposed, scaled

and in two dimensions Y = A^T [ (G w G^T) * (B^T X B) ] A. For 3x3 kernels and 4x4 outputs 36 products do the work of 144.
Summed over channels, the product of each frequency becomes a product of matrices, which is the register tile's work: its rows are
patches, its columns output channels. (Winograd 1980; Lavin and Gray 2016)

* A kernel of stride 2 is four kernels of stride 1, its even and odd rows and columns, on the even and odd pixels. A 4x4 kernel of
  stride 2 is a 2x2 kernel with four times the channels: F(4,2), with 25 products for 64. The transposed convolution of stride 2
  is four separate convolutions with 2x2 kernels, one for each remainder of the output pixel. Each of them is a *problem* here.
* The weight gradient is the same bilinear form seen from the weights: G^T [ (A g A^T) * (B^T X B) ] G, summed over patches.
* The price is rounding: the transforms multiply by up to 5 and subtract again. Against float64, relative to the result's root mean
  square, the error's root mean square is 1e-6 to 5e-6 for 64 to 256 channels (direct: 2e-7 to 1e-6) and the largest error 8e-5
  (direct: 2e-5); tests/kernels/test_winograd.py bounds it. set_conv_precision("exact") avoids it.
* Patches have 4 outputs along a side, or 3 where that covers an image better: 7x7 outputs are patches of 4 and 3 with
  (5 + 4)^2 = 81 products. Two by two patches of 4 would need 100, a quarter of them for outputs outside. F(3, r) needs all
  points of F(4, r) but the last finite one, so the same transformed weights serve both.
* 5x5 kernels take patches of 3 outputs. Their weight gradient takes patches of 2, because the error of 3 would be too large.
* A block is a few tiles of patches, so that their transforms stay in the L2 cache from stage to stage. A transform writes one
  vector to each of 36 planes, one for each frequency. If planes lay a multiple of 4096 bytes apart, all of these vectors would fall
  into one set of the L1 cache, and the transform would take three times as long (measured: 200 against 65 ns). So each plane is a
  cache line longer than it need be.

Imports: numpy, parts, registers, machine, plans, winograd_patches, winograd_transforms.
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
    inputs_of,
    kind_of,
    output_gradients_of,
    outputs_of,
    points_of,
    transform_weights,
    weight_gradients_of,
)
from minigrad.kernels.cpu.machine.compiling import ONE, ZERO, inner, kernel, stage
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.activation import finish
from minigrad.kernels.cpu.parts.layout import shared_zeros
from minigrad.kernels.cpu.parts.packing import start_of
from minigrad.kernels.cpu.registers.emit import AR, LOW, MR, NR, VL
from minigrad.kernels.cpu.registers.tiles import HEIGHT_STEP, lower_narrow, lower_wide, outer_narrow, outer_wide

FAR_IMAGE = 1 << 18                 # floats of an image beyond the L2 cache: from here on a gradient prefetches its pixels
FAR_ARRAYS = 1 << 21                # floats of input and output beyond the L3 cache: from here on a convolution prefetches too
GRADIENT_SLICE = 64                 # input channels, and output channels, whose weight gradient a block sums in the L2 cache


# ------------------------------------------------------------------------------------------------------------ convolution


@kernel
def winograd_convolve(counter, scratches, x, w, places, out_stride, packed, y, problems, shifts, step, out_step, r, zeros,
                      tiles_per_block, bias, slope, blocks):
    """y[n, OUT_Y + out_step*i, OUT_X + out_step*j, :] = sum of w[u, v, p] x[n, step*(i + u) + IN_Y + shifts[p, 0], .] over u, v, p.

    x (N,H,W,C), y (N,OH,OW,O), w flat. places, out_stride, packed (room): see `transform_weights`, whose blocks come first.
    problems (Q, 11): a problem's outputs form one grid of equal patches. Its input channels are those of P shifted, subsampled
    images, one after the other: shifts (P, 2), step. The patches of a problem are dealt out to register tiles (`start_of`).
    bias, slope: see `activation`.
    """
    scratch = scratches[share(counter)]
    images, channels, depth, most = shifts.shape[0], x.shape[3], y.shape[3], points_of(r) ** 2
    ins, taps = images * channels, places.shape[1]
    panels = packed.shape[2] // (ins * NR)
    plane = (tiles_per_block * MR * max(ins, depth) + PLANE_SPARE) * 4
    m0 = scratch.ctypes.data
    v0 = m0 + plane                                             # products of frequency f replace inputs of f - 1, used up by then
    dump, prefetches = v0 + most * plane, x.size + y.size > FAR_ARRAYS
    # Tables of addresses: of an input window and of an output patch inside the images, relative to their first pixel; of one
    # that reaches beyond; of the planes.
    near, far = np.empty(most + TABLE_SPARE, np.int64), np.empty(M * M, np.int64)
    edge, planes = np.empty(most + TABLE_SPARE, np.int64), np.empty(most, np.int64)
    for f in range(most):
        planes[f] = f * plane
    rows, out = np.empty((tiles_per_block, MR + 1), np.int64), np.empty((tiles_per_block, MR), np.int64)
    heights = np.empty(tiles_per_block, np.int64)
    picked, taken = np.empty(GATHERED * images * taps, np.int64), np.zeros(GATHERED * images * taps * NR, np.float32)
    taps_at, prepared = np.empty(taps, np.int64), packed.shape[0] * panels * ((channels + WEIGHT_CHUNK - 1) // WEIGHT_CHUNK)
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
        patches = problem[PATCHES]
        tiles = (patches + MR - 1) // MR
        begin = (block - problem[FIRST_NUMBER]) * tiles_per_block
        end = min(begin + tiles_per_block, tiles)
        first = start_of(begin, tiles, patches)
        count = start_of(end, tiles, patches) - first
        transform_inputs(x, zeros, problem, shifts, step, r, first, count, near, edge, planes, v0, prefetches)
        for s in range(end - begin):
            start, stop = start_of(begin + s, tiles, patches) - first, start_of(begin + s + 1, tiles, patches) - first
            heights[s] = describe_tile(start, stop, v0, ins, m0, depth, rows[s], out[s])
        after(counter, prepared)
        multiply_planes(packed, problem, r, ins, depth, plane, end - begin, rows, out, heights)
        transform_outputs(y, problem, out_step, r, first, count, far, edge, planes, m0, dump, bias, slope, prefetches)


@stage
def transform_inputs(x, zeros, problem, shifts, step, r, first, count, near, edge, planes, v0, prefetches):
    """V[f, t, p*C + c] = (B^T X B)[f] for the window X of patch first + t, t < count, in channel c of image p. V lies at v0.

    near, edge: room for the tables of `window`. planes: where each frequency's plane lies, in bytes after v0.
    """
    x0, z0, images, channels = x.ctypes.data, zeros.ctypes.data, shifts.shape[0], x.shape[3]
    down, across = problem[DOWN], problem[ACROSS]
    kind, high, wide = kind_of(r, down, across), r + down - 1, r + across - 1
    grid(x, step, high, wide, near)
    b, i, j = place_of(first, problem)
    for t in range(count):
        next_b, next_i, next_j = following(b, i, j, problem)
        for p in range(images):
            row, column = problem[IN_Y] + shifts[p, 0], problem[IN_X] + shifts[p, 1]
            if prefetches:
                fetch(x, x0, next_b, next_i, next_j, problem, row + (r - 1) * step, column + (r - 1) * step, step, ZERO,
                      channels * 4)
            table, start = window(x, x0, z0, b, row + step * i, column + step * j, step, high, wide, ZERO, near, edge)
            inputs_of(r, kind, table, start, planes.ctypes.data, v0 + (t * images + p) * channels * 4, channels)
        b, i, j = next_b, next_i, next_j


@stage
def describe_tile(start, stop, v0, ins, m0, depth, rows, out):
    """The tables of one register tile, for frequency 0 (the other frequencies lie whole planes further), and its height.

    Its rows are patches `start` to `stop` of the block. If the tile is higher, the last patch is repeated.
    """
    height = MR - (MR - max(LOW, stop - start)) // HEIGHT_STEP * HEIGHT_STEP
    rows[0] = 0
    for m in range(height):
        rows[1 + m] = v0 + min(start + m, stop - 1) * ins * 4
        out[m] = m0 + (start + m) * depth * 4
    return height


@stage
def multiply_planes(packed, problem, r, ins, depth, plane, tiles, rows, out, heights):
    """M[f] = V[f] W[f] for every frequency f, with W the problem's transformed weights; `rows` and `out` say where V and M lie."""
    down, across = problem[DOWN], problem[ACROSS]
    w0, w_plane, panels = packed.ctypes.data, packed.shape[2] * 4, packed.shape[2] // (ins * NR)
    for f in range((r + down - 1) * (r + across - 1)):
        g = frequency(f, r, down, across)
        for panel in range(panels):
            weights = w0 + (problem[WEIGHTS] * packed.shape[1] + g) * w_plane + panel * ins * NR * 4
            place = f * plane + panel * NR * 4
            for s in range(tiles):
                if depth - panel * NR > VL:
                    lower_wide(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, NR, heights[s])
                else:
                    lower_narrow(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, VL, heights[s])


@stage
def transform_outputs(y, problem, out_step, r, first, count, far, edge, planes, m0, dump, bias, slope, prefetches):
    """Y = A^T M A for `count` patches from `first` on, to their places in y, and then the ending. M lies at m0, its planes where
    `planes` says. far, edge: room for tables of addresses. dump: where the outputs go that are not in the image.
    """
    y0, oh, ow, depth = y.ctypes.data, y.shape[1], y.shape[2], y.shape[3]
    down, across = problem[DOWN], problem[ACROSS]
    kind = kind_of(r, down, across)
    grid(y, out_step, down, across, far)
    b, i, j = place_of(first, problem)
    for t in range(count):
        next_b, next_i, next_j = following(b, i, j, problem)
        if prefetches:
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


# -------------------------------------------------------------------------------------------------------- weight gradient


@kernel
def winograd_weight_gradient(counter, scratches, x, g, problems, shifts, step, r, zeros, total, rounds, places, dw):
    """total[part, piece, f, c, o] = sum over the part's patches of (B^T X B)[f, c] * (A g A^T)[f, o]. Then dw from it, by
    `winograd_collect`.

    x (N,H,W,C), g (N,OH,OW,O); problems, shifts and step as in `winograd_convolve`, but FIRST_NUMBER counts rounds, of ROUND
    patches. A part is a run of rounds. A piece is one of the shifted images, up to GRADIENT_SLICE of its channels and as many
    outputs.
    total (parts, pieces, frequencies, channels of a slice rounded up to AR, outputs of one rounded up to VL).
    """
    scratch = scratches[share(counter)]
    channels, most, parts, pieces = x.shape[3], points_of(r) ** 2, total.shape[0], total.shape[1]
    depth, height, width = g.shape[3], total.shape[3], total.shape[4]
    out_slices = (depth + GRADIENT_SLICE - 1) // GRADIENT_SLICE
    per_image = pieces // shifts.shape[0] // out_slices
    v0, v_plane, e_plane = scratch.ctypes.data, (ROUND * height + PLANE_SPARE) * 4, (ROUND * width + PLANE_SPARE) * 4
    e0 = v0 + most * v_plane
    near, edge = np.empty(most + TABLE_SPARE, np.int64), np.empty(most + TABLE_SPARE, np.int64)
    far = np.empty(M * M + TABLE_SPARE, np.int64)
    v_planes, e_planes = np.empty(most, np.int64), np.empty(most, np.int64)
    for f in range(most):
        v_planes[f], e_planes[f] = f * v_plane, f * e_plane
    left, right = np.empty(ROUND, np.int64), np.empty(ROUND, np.int64)
    for t in range(ROUND):
        left[t], right[t] = v0 + t * height * 4, e0 + t * width * 4
    room = GATHERED * places.shape[0] * places.shape[1]
    added, kernels, picked = np.empty((most, width), np.float32), np.empty((room, width), np.float32), np.empty(room, np.int64)
    added_at, kernels_at = np.empty(most, np.int64), np.empty(places.shape[1], np.int64)
    blocks, collected = parts * pieces, (channels + GATHERED - 1) // GATHERED * out_slices
    while True:
        block = take(counter)
        if block >= blocks:
            if block >= blocks + collected:
                break
            after(counter, blocks)
            winograd_collect(block - blocks, total, places, r, added, kernels, picked, added_at, kernels_at, dw)
            continue
        part, piece = block // pieces, block % pieces
        p, c0 = piece // out_slices // per_image, piece // out_slices % per_image * GRADIENT_SLICE
        o0 = piece % out_slices * GRADIENT_SLICE
        ins, outs = min(GRADIENT_SLICE, channels - c0), min(GRADIENT_SLICE, depth - o0)
        mine = total[part, piece]
        for f in range(most):
            for c in range(height):
                for o in range(width):
                    mine[f, c, o] = 0
        for number in range(part * rounds // parts, (part + 1) * rounds // parts):
            problem = problems[row_of(problems, number)]
            first = (number - problem[FIRST_NUMBER]) * ROUND
            count = min(ROUND, problem[PATCHES] - first)
            transform_round(x, g, zeros, problem, shifts[p], step, r, first, count, c0, ins, o0, outs, near, far, edge, v_planes,
                            v0, height, e_planes, e0, width)
            add_outer_products(mine, problem, r, ins, outs, count, left, v_plane, right, e_plane)
        complete(counter)


@stage
def transform_round(x, g, zeros, problem, shift, step, r, first, count, c0, ins, o0, outs, near, far, edge, v_planes, v0, height,
                    e_planes, e0, width):
    """V[f, t, c] = (B^T X B)[f] and E[f, t, o] = (A g A^T)[f] of patches first + t, t < count, in `ins` channels of x from c0 on
    and `outs` channels of g from o0 on. V lies at v0, with rows of `height` floats; E at e0, with rows of `width` floats.
    """
    x0, g0, z0 = x.ctypes.data, g.ctypes.data, zeros.ctypes.data
    down, across = problem[DOWN], problem[ACROSS]
    kind, high, wide = kind_of(r, down, across), r + down - 1, r + across - 1
    top, side = problem[IN_Y] + shift[0], problem[IN_X] + shift[1]
    grid(x, step, high, wide, near)
    grid(g, ONE, down, across, far)
    b, i, j = place_of(first, problem)
    for t in range(count):
        next_b, next_i, next_j = following(b, i, j, problem)
        if x.size > FAR_IMAGE:
            fetch(x, x0, next_b, next_i, next_j, problem, top + (r - 1) * step, side + (r - 1) * step, step, c0 * 4, ins * 4)
            fetch(g, g0, next_b, next_i, next_j, problem, problem[OUT_Y], problem[OUT_X], ONE, o0 * 4, outs * 4)
        table, start = window(x, x0, z0, b, step * i + top, step * j + side, step, high, wide, c0 * 4, near, edge)
        inputs_of(r, kind, table, start, v_planes.ctypes.data, v0 + t * height * 4, ins)
        table, start = window(g, g0, z0, b, i + problem[OUT_Y], j + problem[OUT_X], ONE, down, across, o0 * 4, far, edge)
        output_gradients_of(r, kind, table, start, e_planes.ctypes.data, e0 + t * width * 4, outs)
        b, i, j = next_b, next_i, next_j


@stage
def add_outer_products(total, problem, r, ins, outs, count, left, v_plane, right, e_plane):
    """total[f] += V[f]^T E[f] over `count` patches, whose rows of V[0] and E[0] lie at the addresses `left` and `right`."""
    down, across = problem[DOWN], problem[ACROSS]
    t0, height, width = total.ctypes.data, total.shape[1], total.shape[2]
    for f in range((r + down - 1) * (r + across - 1)):
        base = t0 + frequency(f, r, down, across) * height * width * 4
        for o in range(0, outs, NR):
            for c in range(0, ins, AR):
                place = base + (c * width + o) * 4
                left_at, right_at = f * v_plane + c * 4, f * e_plane + o * 4
                if outs - o > VL:
                    outer_wide(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
                else:
                    outer_narrow(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)


@inner
def winograd_collect(block, total, places, r, added, kernels, picked, source, target, dw):
    """dw[o, places[p, t, c]] = (G^T S G)[t] with S the sum of the parts of `total`, in order. dw (O, C*kh*kw).

    A block is GATHERED channels of all images, and a slice of the outputs: their taps lie side by side in a row of dw.
    added (a*a, outputs of a slice), kernels (GATHERED*images*taps, the same), picked, source, target: room.
    """
    parts, pieces, area, width = total.shape[0], total.shape[1], total.shape[2], total.shape[4]
    images, taps, channels = places.shape
    out_slices = (dw.shape[0] + GRADIENT_SLICE - 1) // GRADIENT_SLICE
    per_image = pieces // images // out_slices
    chunk, slice_ = block // out_slices, block % out_slices
    outs, size = min(GRADIENT_SLICE, dw.shape[0] - slice_ * GRADIENT_SLICE), 0
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
            weight_gradients_of(r, 0, source.ctypes.data, 0, target.ctypes.data, 0, outs)
    for o in range(outs):
        filter = dw[slice_ * GRADIENT_SLICE + o]
        for k in range(size):
            filter[picked[k]] = kernels[k, o]


# ---------------------------------------------------------------------------------------------------------------- launches


def convolve_by_patches(x, w, y, problems, shifts, step, out_step, out_stride, places, ending):
    """Transform the weights, then run over blocks of patches. places (problems, taps, input channels)."""
    n, _, _, channels = x.shape
    outs, (count, taps, ins) = y.shape[3], places.shape
    r = math.isqrt(taps)
    area, panels = points_of(r) ** 2, -(-outs // NR)
    packed = empty(count, area, panels * ins * NR + PLANE_SPARE)
    problems, per_block, blocks = patch_blocks(problems, n, r, step, out_step)
    prepared = count * panels * -(-channels // WEIGHT_CHUNK)
    launch(winograd_convolve, max(blocks, prepared), x, w.reshape(-1), places, out_stride, packed, y, problems, shifts, step,
           out_step, r, shared_zeros(channels), per_block, *ending, blocks,
           scratch=(area + 1) * (per_block * MR * max(ins, outs) + PLANE_SPARE) + outs)


def weight_gradient_by_patches(x, g, dw, shifts, step, places):
    """Partial sums over patches, then their sum in order. places (images, taps, channels)."""
    n, oh, ow, outs = g.shape
    images, taps, channels = places.shape
    r = math.isqrt(taps)
    area = points_of(r) ** 2
    height, width = -(-min(GRADIENT_SLICE, channels) // AR) * AR, -(-min(GRADIENT_SLICE, outs) // VL) * VL
    pieces = images * -(-channels // GRADIENT_SLICE) * -(-outs // GRADIENT_SLICE)
    problems, rounds = patch_rounds(n, (oh, ow), r, step)
    parts = min(rounds, max(-(-4 // pieces), min(LEAST_BLOCKS, rounds // 8)))
    total = empty(parts, pieces, area, height, width)
    launch(winograd_weight_gradient, parts * pieces, x, g, problems, shifts, step, r, shared_zeros(max(channels, outs)), total,
           rounds, places, dw, scratch=area * (ROUND * (height + width) + 2 * PLANE_SPARE) + NR)
