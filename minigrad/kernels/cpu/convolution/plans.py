"""The tables that a convolution's kernels walk: phases and taps, Winograd's problems, and where the weights of each lie.

* A phase is a grid of outputs that all read the same taps. A forward convolution has one phase. A transposed one has a phase for
  each remainder of an output's row and column by the stride.
* A problem is a grid of outputs that Winograd's algorithm computes by itself, in equal patches (see `winograd`).
* Places say where a weight lies in w, counted in floats: w[o, c, u, v] is w.flat[o*out_stride + places[tap, c]], so that one kernel
  reads the weights of a forward, a transposed and a grouped convolution.

Tables follow from shapes alone, and they are kept, because making them costs more than a small convolution.

Imports: numpy, registers, machine, winograd_transforms.
"""
import functools
from typing import Any, NamedTuple

import numpy as np

from minigrad.kernels.cpu.convolution.winograd_transforms import FORWARD_SIDES, GRADIENT_SIDES
from minigrad.kernels.cpu.machine.compiling import inner
from minigrad.kernels.cpu.registers.emit import MR, NR

# Columns of the table of phases: rows and columns of outputs, the first output, the taps, the number of the first block.
ROWS, COLS, OUT_Y, OUT_X, FIRST_TAP, LAST_TAP, FIRST_BLOCK = range(7)
# Columns of the table of problems: the same four, then the first input, outputs along a patch's sides, whose weights, how many
# patches, the number of the first block (in a weight gradient: of the first round).
IN_Y, IN_X, DOWN, ACROSS, WEIGHTS, PATCHES, FIRST_NUMBER = range(4, 11)

LEAST_BLOCKS = 16                   # cut work into at least so many blocks where it is large enough, for the threads to share
MOST_TILES = 16                     # tiles to a block at most: their rows and one panel of weights fit the L2 cache
MOST_PARTS = 16                     # partial sums of a weight gradient, at most
SMALL_IMAGE = 64                    # pixels: up to here the batch is walked innermost, so that taps in the padding drop out
WINOGRAD_TILES = 2                  # tiles of MR patches to a block at most: their transforms fit the L2 cache
WINOGRAD_BLOCKS = 16                # cut Winograd's work into at least so many blocks
ROUND = 32                          # patches that a block of Winograd's weight gradient transforms at once


class Plan(NamedTuple):
    """What the kernels of `direct` walk. A plan equals nothing but itself, so it can be the key of a cache."""

    phases: Any                     # (P, 6): the columns ROWS to LAST_TAP; LAST_TAP is the first tap of the next phase
    taps: Any                       # (T, 3): dy, dx, place of the weights in bytes
    steps: Any                      # (4,): from one output to the next, in the input (vertical, horizontal), then in the output

    __eq__, __hash__ = object.__eq__, object.__hash__


@functools.lru_cache(1024)
def taps_of(kernel, padding, dilation, ins):
    """(dy, dx, place of the packed weights in bytes) for each tap of a forward convolution."""
    (kh, kw), (ph, pw), (dh, dw) = kernel, padding, dilation
    return frozen([(u * dh - ph, v * dw - pw, (u * kw + v) * ins * NR * 4) for u in range(kh) for v in range(kw)])


@functools.lru_cache(1024)
def forward_phases(n, out, kernel, stride, padding, dilation, ins):
    """The plan of a forward convolution: one phase."""
    grid = [(*out, 0, 0, 0, kernel[0] * kernel[1])]
    return Plan(frozen(grid), taps_of(kernel, padding, dilation, ins), frozen([*stride, 1, 1]))


@functools.lru_cache(1024)
def transposed_phases(n, size, kernel, stride, padding, dilation, ins):
    """The plan of a transposed convolution: a phase for each remainder of the row and the column by the stride."""
    def axis(a):
        for r in range(min(stride[a], size[a])):
            offsets = [(u, r + padding[a] - u * dilation[a]) for u in range(kernel[a])]
            yield r, -(-(size[a] - r) // stride[a]), [(u, m // stride[a]) for u, m in offsets if m % stride[a] == 0]

    grid, taps = [], []
    for ry, rows, ups in axis(0):
        for rx, cols, lefts in axis(1):
            own = [(dy, dx, (u * kernel[1] + v) * ins * NR * 4) for u, dy in ups for v, dx in lefts]
            grid.append((rows, cols, ry, rx, len(taps), len(taps) + len(own)))
            taps += own
    return Plan(frozen(grid), frozen(taps).reshape(-1, 3), frozen([1, 1, *stride]))


@functools.lru_cache(1024)
def with_panels_of(width, plan):
    """The same plan for weights that are packed in panels of `width` floats instead of NR."""
    return Plan(plan.phases, plan.taps * np.array([1, 1, width]) // np.array([1, 1, NR]), plan.steps)


@functools.lru_cache(1024)
def blocked(plan, shape, rows_per_tile):
    """Number the blocks of a plan's phases: (phases, taps, steps, tiles per block, batch innermost, blocks).

    The batch goes innermost where many taps fall outside the image. This is so in a small image, and where the outputs reach far
    beyond the inputs."""
    (phases, taps, steps), (n, h, w, _) = plan, shape
    tiles = -(-n * phases[:, 0] * phases[:, 1] // rows_per_tile)
    per_block = int(max(1, min(MOST_TILES, tiles.sum() // LEAST_BLOCKS)))
    blocks = -(-tiles // per_block)
    phases = np.column_stack([phases, np.cumsum(blocks) - blocks])
    pixels = int((phases[:, 0] * phases[:, 1]).max())
    small = pixels <= SMALL_IMAGE or 3 * pixels * int(steps[0] * steps[1]) > 4 * h * w
    return phases, taps, steps, per_block, small, int(blocks.sum())


def frozen(rows):
    return np.array(rows, np.int64)


NO_SHIFT = frozen([(0, 0)])


@functools.lru_cache(256)
def even_and_odd(c, k, stride, padding):
    """(shifts, places) of a kernel of stride 1 or 2. It meets stride^2 subsampled images, which begin at the shifts (dy, dx).
    places (images, taps, C): where the weights for each image lie, after w[o]."""
    r = k // stride
    shifts = [(a, b) for a in range(stride) for b in range(stride)]
    taps = [[(a + stride * u) * k + b + stride * v for u in range(r) for v in range(r)] for a, b in shifts]
    return frozen([(a - padding[0], b - padding[1]) for a, b in shifts]), places_of_inputs(c, k, k)[frozen(taps)]


@functools.lru_cache(256)
def merged_images(c, k, stride, padding):
    """The places of `even_and_odd` for one problem, whose inputs are the channels of all images in turn: (1, taps, images*C)."""
    places = even_and_odd(c, k, stride, padding)[1].transpose(1, 0, 2)
    return np.ascontiguousarray(places).reshape(1, len(places), -1)


@functools.lru_cache(256)
def remainders(o, c, k, stride, padding, size):
    """(problems, places) of a transposed convolution of stride 1 or 2: a problem for each remainder of the output pixel.

    A problem is the columns ROWS to IN_X. places (problems, taps, O): where its weights lie, after w[0, c], in the order of the
    inputs that they meet."""
    def axis(a, r):
        reads = sorted(((r + padding[a] - u) // stride, u) for u in range(k) if (r + padding[a] - u) % stride == 0)
        return -(-(size[a] - r) // stride), reads[0][0], [u for _, u in reads]

    problems, taps = [], []
    for ry in range(stride):
        for rx in range(stride):
            (rows, top, ups), (cols, left, lefts) = axis(0, ry), axis(1, rx)
            problems.append((rows, cols, ry, rx, top, left))
            taps.append([u * k + v for u in ups for v in lefts])
    return tuple(problems), places_of_outputs(o, c, k, k)[frozen(taps)]


def runs(length, sides):
    """The runs of patches that cover `length` outputs: (first output, outputs, outputs along a patch).

    sides: one side, or two neighbouring ones. As many patches have the lower side as it takes for the last patch to end with the
    last output. A few short lengths cannot be covered exactly; there patches hang out."""
    high, low = max(sides), min(sides)
    lows = -length % high if high > low else 0
    if low * lows > length:
        lows = -(-length // low)
    split = max(0, length - low * lows)
    return [run for run in ((0, split, high), (split, length - split, low)) if run[1]]


@functools.lru_cache(1024)
def in_patches(problems, n, sides, step, out_step):
    """Problems (the columns ROWS to IN_X), cut into grids of equal patches: the columns ROWS to PATCHES."""
    return frozen([(rows, cols, oy + out_step * i, ox + out_step * j, iy + step * i, ix + step * j, down, across, q,
                    n * -(-rows // down) * -(-cols // across))
                   for q, (height, width, oy, ox, iy, ix) in enumerate(problems)
                   for i, rows, down in runs(height, sides) for j, cols, across in runs(width, sides)])


@functools.lru_cache(1024)
def patch_blocks(problems, n, r, step, out_step):
    """The problems of a convolution in patches, with the number of each one's first block; tiles of a block; blocks."""
    problems = in_patches(problems, n, FORWARD_SIDES[r], step, out_step)
    tiles = -(-problems[:, PATCHES] // MR)
    per_block = int(max(1, min(WINOGRAD_TILES, tiles.sum() // WINOGRAD_BLOCKS)))
    blocks = -(-tiles // per_block)
    return np.column_stack([problems, np.cumsum(blocks) - blocks]), per_block, int(blocks.sum())


@functools.lru_cache(1024)
def patch_rounds(n, out, r, step):
    """The problem of a weight gradient in patches, with the number of each grid's first round; rounds."""
    problems = in_patches(((*out, 0, 0, 0, 0),), n, GRADIENT_SIDES[r], step, 1)
    rounds = -(-problems[:, PATCHES] // ROUND)
    return np.column_stack([problems, np.cumsum(rounds) - rounds]), int(rounds.sum())


@functools.lru_cache(256)
def places_of_inputs(c, kh, kw):
    """Where w[o, c, u, v] lies after w[o]: (taps, C)."""
    return np.ascontiguousarray(np.arange(c * kh * kw).reshape(c, kh * kw).T)


@functools.lru_cache(256)
def places_of_rows(c, kh, kw):
    """The same where a whole row of the kernel is one tap: (kh, kw*C), channels innermost."""
    return np.ascontiguousarray(np.arange(c * kh * kw).reshape(c, kh, kw).transpose(1, 2, 0).reshape(kh, kw * c))


@functools.lru_cache(256)
def places_of_outputs(o, c, kh, kw):
    """Where w[o, c, u, v] lies after w[0, c]: (taps, O). The inputs of a transposed convolution are the o."""
    return np.ascontiguousarray(np.arange(o)[None, :] * (c * kh * kw) + np.arange(kh * kw)[:, None])


@inner
def row_of(table, block):
    """The row of a table of phases, or of problems, that a block belongs to. The last column numbers the first block of each."""
    p, first_block = 0, table.shape[1] - 1
    while p + 1 < table.shape[0] and table[p + 1, first_block] <= block:
        p += 1
    return p
