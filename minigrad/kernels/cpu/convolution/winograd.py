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
import numpy as np

from minigrad.kernels.cpu.convolution.direct import outer1, outer2, phase_of
from minigrad.kernels.cpu.convolution.winograd_transforms import (
    SPARE,
    M,
    clipped,
    frequency,
    gathered,
    inputs_of,
    kind_of,
    outputs_of,
    points_of,
    spread,
    weights_of,
)
from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, share, take
from minigrad.kernels.cpu.parts.endings import finish
from minigrad.kernels.cpu.registers.copies import prefetch
from minigrad.kernels.cpu.registers.tiles import AR, LOW, MR, NR, NV, VL, product_tiles

ZERO, ONE = np.int64(0), np.int64(1)                            # typed, for literal arguments would compile `window` a second time
STEPS = 3                           # rows between one height of tiles and the next: each takes time to compile
tile2, tile1 = product_tiles(NV, STEPS), product_tiles(1, STEPS)

# Columns of the table of problems.
ROWS, COLS, OUT_Y, OUT_X, IN_Y, IN_X, DOWN, ACROSS, WEIGHTS, TILES, FIRST_BLOCK = range(11)
PLANE = VL                          # floats between one frequency's plane and the next, beyond its size: see above
CHUNK = 32                          # input channels whose weights a block transforms
FEW = 8                             # input channels whose filters are gathered, or scattered, at once: they stay in the L1 cache
FAR = 1 << 18                       # floats of an image that the L2 cache does not hold: a gradient calls for its pixels ahead;
FARTHER = 1 << 21                   # so does a convolution, input and output, if not even the L3 cache still has what went before
SLICE = 64                          # input channels, and output channels, whose weight gradient a block sums: it fits the L2 cache
STEP = 32                           # tiles that it transforms at once


@inner
def chunk_weights(w, places, q, start, here, channels, out_stride, first, width, r, picked, taken, source, target, into, plane,
                  pitch):
    """into[f, p*pitch + c, o] = (G w G^T)[f] for channels start + c of the images p and filters first + o < width of a panel.

    w flat; the tap t of (o, k) lies at o*out_stride + places[q, t, k], k = p*channels + c. into: an address; its planes, one
    for each f, lie `plane` floats apart. picked, taken, source, target: room for FEW channels' places and taps, two tables.
    """
    taps, area = places.shape[1], points_of(r) ** 2
    count_in = places.shape[2] // channels
    for f in range(area):
        target[f] = f * plane * 4
    for begin in range(0, here, FEW):
        size = 0
        for c in range(begin, min(begin + FEW, here)):
            for p in range(count_in):
                for t in range(taps):
                    picked[size] = places[q, t, p * channels + start + c]
                    size += 1
        for o in range(width):                                  # some channels of a filter lie side by side: one page, one stream
            filter, column = w[(first + o) * out_stride:], taken[o:]
            for k in range(size):
                column[k * NR] = filter[picked[k]]
        for c in range(begin, min(begin + FEW, here)):
            for p in range(count_in):
                for t in range(taps):
                    source[t] = taken.ctypes.data + (((c - begin) * count_in + p) * taps + t) * NR * 4
                weights_of(r, 0, source.ctypes.data, 0, target.ctypes.data, into + (p * pitch + c) * NR * 4, NR)


@inner
def transform_weights(block, w, places, channels, out_stride, outs, r, picked, taken, source, target, packed):
    """packed[q, f] = (G w G^T)[f] of problem q as (panels, K, NR): panels of NR output channels, all input channels k.

    w flat, places as in `chunk_weights`. packed (Q, a*a, panels*K*NR + PLANE). A block is a chunk of channels of one panel.
    """
    area, plane, depth = packed.shape[1], packed.shape[2], places.shape[2]
    panels, chunks = plane // (depth * NR), (channels + CHUNK - 1) // CHUNK
    q, panel, start = block // (panels * chunks), block // chunks % panels, block % chunks * CHUNK
    here, width = min(CHUNK, channels - start), min(NR, outs - panel * NR)
    into = packed.ctypes.data + (q * area * plane + (panel * depth + start) * NR) * 4
    chunk_weights(w, places, q, start, here, channels, out_stride, panel * NR, width, r, picked, taken, source, target, into, plane,
                  channels)


@inner
def grid(x, step, down, across, source):
    """The addresses of a window's pixels, `step` apart, relative to its first."""
    for u in range(down):
        for v in range(across):
            source[u * across + v] = (u * x.shape[2] + v) * step * x.shape[3] * 4


@inner
def window(x, x0, z0, b, top, left, step, down, across, offset, near, edge):
    """Where the down x across pixels of an input window lie, `step` apart: (the address of a table, what to add to its entries).

    Inside the image that is `near`, which `grid` made; else `edge`, made here, with z0 for pixels outside. Both have room for SPARE
    entries more.
    """
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    if top >= 0 and left >= 0 and top + (down - 1) * step < h and left + (across - 1) * step < w:
        return near.ctypes.data, x0 + ((b * h + top) * w + left) * channels * 4 + offset
    origin = x0 + ((b * h + top) * w + left) * channels * 4 + offset
    clipped(near.ctypes.data, edge.ctypes.data, down, across, origin, z0, top, left, step, h, w)
    return edge.ctypes.data, 0


@inner
def place_of(t, problem):
    """The image and the first output of a problem's tile t."""
    down, across = problem[DOWN], problem[ACROSS]
    high, wide = (problem[ROWS] + down - 1) // down, (problem[COLS] + across - 1) // across
    return t // (high * wide), t // wide % high * down, t % wide * across


@inner
def following(b, i, j, problem):
    """`place_of` the tile after the one at (b, i, j), without its divisions."""
    j += problem[ACROSS]
    if j >= problem[COLS]:
        i, j = i + problem[DOWN], 0
        if i >= problem[ROWS]:
            b, i = b + 1, 0
    return b, i, j


@inner
def fetch(x, x0, b, i, j, problem, top, left, step, offset, size):
    """Begin to bring into the cache what the window of the tile at (b, i, j) reads that the tile before it did not, `size` bytes of
    each pixel: it comes while the tile before is transformed. top, left: of the first window, r - 1 taps further. Or what it will
    write."""
    h, w, channels = x.shape[1], x.shape[2], x.shape[3]
    if b < x.shape[0]:
        for u in range(problem[DOWN]):
            row = top + (i + u) * step
            if 0 <= row < h:
                for v in range(problem[ACROSS]):
                    prefetch(x0 + ((b * h + row) * w + left + (j + v) * step) * channels * 4 + offset, size)


@inner
def start_of(group, groups, tiles):
    """The first tile of a group: MR to a group, but for the last two, which share what is left, for a register tile of few rows
    costs the time of LOW."""
    if group < max(1, groups - 1):
        return group * MR
    return tiles if group == groups else tiles - (tiles - MR * (groups - 2)) // 2


@kernel
def convolve(counter, scratches, x, w, places, out_stride, packed, y, problems, inputs, step, out_step, r, zeros, groups_per_block,
             bias, slope, blocks):
    """y[n, OUT_Y + out_step*i, OUT_X + out_step*j, :] = sum of w[u, v, p] x[n, step*(i + u) + IN_Y + inputs[p, 0], .] over u, v, p.

    x (N,H,W,C), y (N,OH,OW,O), w flat; places, out_stride, packed (room): see `transform_weights`, whose blocks come first.
    problems (Q, 11), inputs (P, 2), step: a problem's outputs form one grid of equal tiles; its input channels are those of P
    shifted, subsampled images, one after the other. The tiles of a problem fall into groups (`start_of`), the rows of one register
    tile. bias, slope: see `endings`.
    """
    scratch = scratches[share(counter)]
    count_in, channels = inputs.shape[0], x.shape[3]
    n, oh, ow, depth = y.shape
    most, limit, ins = points_of(r) ** 2, groups_per_block * MR, count_in * channels
    panels = packed.shape[2] // (ins * NR)
    plane, w_plane = (limit * max(ins, depth) + PLANE) * 4, packed.shape[2] * 4
    x0, y0, w0, z0, m0 = x.ctypes.data, y.ctypes.data, packed.ctypes.data, zeros.ctypes.data, scratch.ctypes.data
    v0 = m0 + plane                                         # products of frequency f replace inputs of f - 1, used up by then
    dump, far_away = v0 + most * plane, x.size + y.size > FARTHER
    # Tables of addresses: of an input window and of an output tile inside the images, relative to their first pixel; of one
    # that reaches beyond; of the planes.
    near, far = np.empty(most + SPARE, np.int64), np.empty(M * M, np.int64)
    edge, planes = np.empty(most + SPARE, np.int64), np.empty(most, np.int64)
    for f in range(most):
        planes[f] = f * plane
    # The tables of the products are those of frequency 0; the others lie whole planes further.
    rows, out = np.empty((groups_per_block, MR + 1), np.int64), np.empty((groups_per_block, MR), np.int64)
    heights = np.empty(groups_per_block, np.int64)
    room, chunks = FEW * count_in * places.shape[1], (channels + CHUNK - 1) // CHUNK
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
        q = phase_of(problems, block)
        problem = problems[q]
        down, across, tiles = problem[DOWN], problem[ACROSS], problem[TILES]
        kind, a, area = kind_of(r, down, across), r + across - 1, (r + down - 1) * (r + across - 1)
        groups = (tiles + MR - 1) // MR
        begin = (block - problems[q, FIRST_BLOCK]) * groups_per_block
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
            rows[s, 0], heights[s] = 0, MR - (MR - max(LOW, stop - start)) // STEPS * STEPS
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
                        tile2(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, NR, heights[s])
                    else:
                        tile1(rows[s].ctypes.data, 1, f * plane, ins, weights, out[s].ctypes.data, place, VL, heights[s])
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
def gradient(counter, scratches, x, g, problems, inputs, step, r, zeros, total, steps, places, w):
    """total[part, piece, f, c, o] = sum over the part's tiles of (B^T X B)[f, c] * (A g A^T)[f, o]; then w from it: see `collect`.

    x (N,H,W,C), g (N,OH,OW,O); problems, inputs and step as in `convolve`, FIRST_BLOCK counting steps of STEP tiles. A piece is
    one of the shifted images, up to SLICE of its channels and up to SLICE of the outputs.
    total (parts, pieces, frequencies, channels of a slice rounded up to AR, outputs of one rounded up to VL).
    """
    scratch = scratches[share(counter)]
    channels, most, parts, pieces = x.shape[3], points_of(r) ** 2, total.shape[0], total.shape[1]
    depth, height, width = g.shape[3], total.shape[3], total.shape[4]
    out_slices = (depth + SLICE - 1) // SLICE
    per_image = pieces // inputs.shape[0] // out_slices
    x0, g0, z0, t0, v0 = x.ctypes.data, g.ctypes.data, zeros.ctypes.data, total.ctypes.data, scratch.ctypes.data
    v_plane, e_plane = (STEP * height + PLANE) * 4, (STEP * width + PLANE) * 4
    e0 = v0 + most * v_plane
    near, far, edge = np.empty(most + SPARE, np.int64), np.empty(M * M + SPARE, np.int64), np.empty(most + SPARE, np.int64)
    v_planes, e_planes = np.empty(most, np.int64), np.empty(most, np.int64)
    for f in range(most):
        v_planes[f], e_planes[f] = f * v_plane, f * e_plane
    left, right = np.empty(STEP, np.int64), np.empty(STEP, np.int64)
    for t in range(STEP):
        left[t], right[t] = v0 + t * height * 4, e0 + t * width * 4
    images, taps = places.shape[0], places.shape[1]
    added, kernels = np.empty((most, width), np.float32), np.empty((FEW * images * taps, width), np.float32)
    picked, added_at, kernels_at = np.empty(FEW * images * taps, np.int64), np.empty(most, np.int64), np.empty(taps, np.int64)
    blocks, collected = parts * pieces, (channels + FEW - 1) // FEW * out_slices
    while True:
        block = take(counter)
        if block >= blocks:
            if block >= blocks + collected:
                break
            after(counter, blocks)
            collect(block - blocks, total, places, r, added, kernels, picked, added_at, kernels_at, w)
            continue
        part, piece = block // pieces, block % pieces
        p, start, o0 = piece // out_slices // per_image, piece // out_slices % per_image * SLICE, piece % out_slices * SLICE
        rows, outs = min(SLICE, channels - start), min(SLICE, depth - o0)
        mine = total[part, piece]
        for f in range(most):
            for c in range(height):
                for o in range(width):
                    mine[f, c, o] = 0
        for chunk in range(part * steps // parts, (part + 1) * steps // parts):
            q = phase_of(problems, chunk)
            problem = problems[q]
            down, across = problem[DOWN], problem[ACROSS]
            kind, a, area = kind_of(r, down, across), r + across - 1, (r + down - 1) * (r + across - 1)
            top, side = problem[IN_Y] + inputs[p, 0], problem[IN_X] + inputs[p, 1]
            first = (chunk - problem[FIRST_BLOCK]) * STEP
            count = min(STEP, problem[TILES] - first)
            grid(x, step, r + down - 1, a, near)
            grid(g, ONE, down, across, far)
            b, i, j = place_of(first, problem)
            for t in range(count):
                next_b, next_i, next_j = following(b, i, j, problem)
                if x.size > FAR:
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
                            outer2(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
                        else:
                            outer1(left.ctypes.data, left_at, right.ctypes.data, right_at, count, place, width)
        complete(counter)


@inner
def collect(block, total, places, r, added, kernels, picked, source, target, w):
    """w[o, places[p, t, c]] = (G^T S G)[t] with S the sum of `gradient`'s parts, in order. w (O, C*kh*kw).

    A block is FEW channels of all images, and a slice of the outputs: the weights of one filter that it writes lie side by side.
    added (a*a, outputs of a slice), kernels (FEW*images*taps, the same), picked, source, target: room.
    """
    parts, pieces, area, width = total.shape[0], total.shape[1], total.shape[2], total.shape[4]
    images, taps, channels = places.shape
    out_slices = (w.shape[0] + SLICE - 1) // SLICE
    per_image = pieces // images // out_slices
    chunk, slice_ = block // out_slices, block % out_slices
    outs, size = min(SLICE, w.shape[0] - slice_ * SLICE), 0
    for f in range(area):
        source[f] = added.ctypes.data + f * width * 4
    for c in range(chunk * FEW, min((chunk + 1) * FEW, channels)):
        for p in range(images):
            piece, row = (p * per_image + c // SLICE) * out_slices + slice_, c % SLICE
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
        filter = w[slice_ * SLICE + o]
        for k in range(size):
            filter[picked[k]] = kernels[k, o]
