"""Pooling, and sparse linear maps along an axis. Every rule is the adjoint of its operation, so every order is right:

    max pooling     picks pixels by index (a constant almost everywhere):   pick <-> scatter
    average pooling avg_pool2d <-> its adjoint; with divisor 1 the adjoint is nearest up-sampling by an integer
    axis map        y[i] = sum of w[i, t] * x[index[i, t]] along one axis:  a map <-> the transposed map

Adaptive pooling is an axis map; so are interpolation (in `sampling`) and padding by reflection (in `rearrange`).
Images are (N, C, H, W) or one (C, H, W). Published subgradient: the first of equal maxima gets the whole gradient.

Imports: numpy, minigrad.autograd, minigrad.kernels, common, shape.
"""

from __future__ import annotations

import functools

import numpy as np

from minigrad import kernels
from minigrad.autograd import primitive
from minigrad.functional.common import integer, pair, require_float
from minigrad.functional.shape import squeeze, unsqueeze
from minigrad.kernels.geometry import window_count

# ---- pixels by index: max pooling, grid sampling ---------------------------------------------------------------------


@primitive(saves_out=(1,))
def _max_pool2d(x, kernel, stride, padding, dilation, out_size):
    """(y, indices): the largest value of each window, and where it was: h * W + w."""
    return kernels.max_pool2d(x, kernel, stride, padding, dilation, out_size)


@_max_pool2d.vjp
def _(node, needs, g, _, **geometry):
    return (scatter(g, node.outputs[1], size=node.specs[0][0][2:]),)


@primitive(saves=((1,),))
def scatter(g, indices, size):
    """(N,C,*size) zeros with g (N,C,OH,OW) added at the flat positions `indices` (N,C,OH,OW) = h * W + w."""
    return kernels.max_pool2d_scatter(g, indices, size)


@scatter.vjp
def _(node, needs, u, size):
    return pick(u, node.inputs[1]), None


@primitive(saves=((1,),))
def pick(x, indices):
    """x[n, c, indices[n, c, i, j]], the positions flat: the adjoint of `scatter`."""
    return kernels.max_pool2d_gather(x, indices)


@pick.vjp
def _(node, needs, g):
    return scatter(g, node.inputs[1], size=node.specs[0][0][2:]), None


def max_pool2d(input, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """The largest value of each window; with `return_indices` also where it was, as int64 h * W + w.

    input (N, C, H, W) or (C, H, W) -> H' = (H + 2*padding - dilation*(kernel - 1) - 1) / stride + 1, rounded down, or
    up in ceil_mode (the last window must still start inside the image or the padding before it). stride None is
    kernel_size. Padding is minus infinity and at most half the kernel. NaN propagates.
    """
    name = "max_pool2d"
    x, unbatched = _images(name, input)
    kernel, stride, padding = _geometry(name, kernel_size, stride, padding)
    dilation = pair(f"{name}: dilation", dilation, 1)
    out_size = _out_size(name, x.shape, kernel, stride, padding, dilation, ceil_mode)
    for k, s, p, d, n, length in zip(kernel, stride, padding, dilation, out_size, x.shape[2:], strict=True):
        taps = np.arange(n)[:, None] * s - p + np.arange(k) * d
        if not ((taps >= 0) & (taps < length)).any(axis=1).all():
            raise ValueError(f"{name}: with kernel {kernel}, padding {padding} and dilation {dilation} a window holds "
                             f"no pixel of input {input.shape}; use less padding or dilation")
    y, indices = _max_pool2d(x, kernel=kernel, stride=stride, padding=padding, dilation=dilation, out_size=out_size)
    if unbatched:
        y, indices = squeeze(y, 0), squeeze(indices, 0)
    return (y, indices) if return_indices else y


def adaptive_max_pool2d(input, output_size, return_indices=False):
    """The largest value of each of output_size windows: window i spans [floor(i*H/H'), ceil((i+1)*H/H'))."""
    name = "adaptive_max_pool2d"
    x, unbatched = _images(name, input)
    size = _adaptive_size(name, x, output_size)
    indices = _adaptive_indices(x.array, size)
    y, indices = pick(x, indices), x.result_type.wrap(indices)
    if unbatched:
        y, indices = squeeze(y, 0), squeeze(indices, 0)
    return (y, indices) if return_indices else y


def _adaptive_indices(x, size):
    """Flat positions of the maxima (N,C,*size), tap by tap for all windows; short windows repeat their last tap."""
    h, w = x.shape[2:]
    (top, bottom), (left, right) = _bins(h, size[0]), _bins(w, size[1])
    pixels = x.transpose(0, 2, 3, 1)
    best = at = None
    for u in range(int((bottom - top).max())):
        rows = np.minimum(top + u, bottom - 1)[:, None]
        for v in range(int((right - left).max())):
            flat = _beside(x, rows * w + np.minimum(left + v, right - 1))
            value, flat = pixels[:, flat // w, flat % w], flat[None, :, :, None]
            if best is None:
                best, at = value, np.zeros_like(value, dtype=np.int64, order="C") + flat
            wins = (value > best) | (value != value)
            best, at = np.where(wins, value, best), np.where(wins, flat, at)
    return np.ascontiguousarray(at).transpose(0, 3, 1, 2)


# ---- averages --------------------------------------------------------------------------------------------------------


@primitive
def _avg_pool2d(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """The sum of each window, divided by its number of pixels or by `divisor`."""
    return kernels.avg_pool2d(x, kernel, stride, padding, out_size, count_include_pad, divisor)


@_avg_pool2d.vjp
def _(node, needs, g, out_size, **geometry):
    return (_avg_pool2d_dx(g, size=node.specs[0][0][2:], **geometry),)


@primitive
def _avg_pool2d_dx(g, kernel, stride, padding, size, count_include_pad, divisor):
    """The adjoint of avg_pool2d: each window's g, divided as there, is added to its pixels."""
    return kernels.avg_pool2d_dx(g, kernel, stride, padding, size, count_include_pad, divisor)


@_avg_pool2d_dx.vjp
def _(node, needs, u, size, **geometry):
    return (_avg_pool2d(u, out_size=node.specs[0][0][2:], **geometry),)


def avg_pool2d(input, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True,
               divisor_override=None):
    """The mean of each window of (N, C, H, W) or (C, H, W); sizes as for max_pool2d with dilation 1.

    The sum is divided by divisor_override if given, else by the number of pixels that the window covers in the padded
    image (count_include_pad) or in the image alone. What ceil_mode adds beyond the padding never counts.
    """
    name = "avg_pool2d"
    x, unbatched = _images(name, input)
    kernel, stride, padding = _geometry(name, kernel_size, stride, padding)
    if divisor_override is not None and integer(f"{name}: divisor_override", divisor_override) == 0:
        raise ValueError(f"{name}: divisor_override must not be 0")
    out_size = _out_size(name, x.shape, kernel, stride, padding, (1, 1), ceil_mode)
    y = _avg_pool2d(x, kernel=kernel, stride=stride, padding=padding, out_size=out_size,
                    count_include_pad=bool(count_include_pad), divisor=divisor_override)
    return squeeze(y, 0) if unbatched else y


def adaptive_avg_pool2d(input, output_size):
    """The mean of each of output_size windows: window i spans [floor(i*H/H'), ceil((i+1)*H/H')).

    input (N, C, H, W) or (C, H, W). output_size: an int, or (H', W') where None keeps the input's size.
    """
    name = "adaptive_avg_pool2d"
    x, unbatched = _images(name, input)
    y = average_bins(x, _adaptive_size(name, x, output_size))
    return squeeze(y, 0) if unbatched else y


def average_bins(x, size):
    """The means of size[i] windows along axis 2 + i of x (N, C, ...)."""
    lengths = x.shape[2:]
    if len(size) == 2 and not any(n % m for n, m in zip(lengths, size, strict=True)):
        kernel = tuple(n // m for n, m in zip(lengths, size, strict=True))
        return _avg_pool2d(x, kernel=kernel, stride=kernel, padding=(0, 0), out_size=size, count_include_pad=True,
                           divisor=None)
    for axis, (n, m) in enumerate(zip(lengths, size, strict=True), 2):
        x = axis_map(x, axis, _mean_taps(n, m))
    return x


def upsample_nearest(x, factors):
    """Each pixel repeated factors[0] x factors[1] times."""
    size = tuple(n * f for n, f in zip(x.shape[2:], factors, strict=True))
    return _avg_pool2d_dx(x, kernel=factors, stride=factors, padding=(0, 0), size=size, count_include_pad=True,
                          divisor=1)


# ---- sparse linear maps along an axis --------------------------------------------------------------------------------


class Taps:
    """A sparse matrix (count, length): y[row] += weight * x[column] for each of the triples given.

    `weights` None means ones. `steps` groups the triples so that no row occurs twice in a step; each step is then one vectorised
    addition. Shorter rows are not filled up with weights of 0, because 0 times infinity would be NaN.
    """

    def __init__(self, rows, columns, weights, count, length):
        rows, columns = np.asarray(rows, np.int64), np.asarray(columns, np.int64)
        order = np.argsort(rows, kind="stable")
        self.rows, self.columns = rows[order], columns[order]
        self.weights = None if weights is None else np.asarray(weights, np.float64)[order]
        self.count, self.length = count, length
        rank = np.arange(len(rows)) - np.searchsorted(self.rows, self.rows)
        self.steps = []
        for t in range(int(rank.max(initial=-1)) + 1):
            of = rank == t
            weight = None if self.weights is None else self.weights[of]
            self.steps.append((_selector(self.rows[of]), _selector(self.columns[of]), weight, int(of.sum()) == count))

    @functools.cached_property
    def adjoint(self):
        return Taps(self.columns, self.rows, self.weights, self.length, self.count)


def _selector(index):
    """An index array as a slice where it is an arithmetic progression: NumPy is much faster at those."""
    steps = np.diff(index)
    if len(index) == 0 or (len(steps) and (steps[0] < 1 or (steps != steps[0]).any())):
        return index
    step = int(steps[0]) if len(steps) else 1
    return slice(int(index[0]), int(index[-1]) + 1, step)


def axis_map(x, axis, taps):
    """The map `taps` along one axis of x."""
    return _axis_map(x, axis=axis, taps=taps)


@primitive
def _axis_map(x, axis, taps):
    """y[row] = sum of weight * x[column] along `axis`, over the triples of `taps`."""
    images = x.ndim == 4  # work on the N,H,W,C side, so that images stay channels-last
    if images:
        x, axis = x.transpose(0, 2, 3, 1), (0, 3, 1, 2)[axis]
    lead, tail = (slice(None),) * axis, (1,) * (x.ndim - axis - 1)
    out = None
    for rows, columns, weight, full in taps.steps:
        part = x[(*lead, _beside(x, columns))]
        if weight is not None:
            part = part * np.asarray(weight.astype(x.dtype).reshape(-1, *tail), like=x)
        if out is None and full:
            out = part.copy(order="C") if weight is None and isinstance(columns, slice) else np.ascontiguousarray(part)
            continue
        if out is None:
            out = np.zeros_like(x, shape=(*x.shape[:axis], taps.count, *x.shape[axis + 1 :]), order="C")
        out[(*lead, _beside(x, rows))] += part
    if out is None:  # an empty map
        out = np.zeros_like(x, shape=(*x.shape[:axis], taps.count, *x.shape[axis + 1 :]), order="C")
    return out.transpose(0, 3, 1, 2) if images else out


def _beside(x, index):
    """An index array where x lives; a slice as it is."""
    return index if isinstance(index, slice) else np.asarray(index, like=x)


@_axis_map.vjp
def _(node, needs, g, axis, taps):
    return (_axis_map(g, axis=axis, taps=taps.adjoint),)


@functools.lru_cache(maxsize=256)
def _mean_taps(length, count):
    start, stop = _bins(length, count)
    rows = np.repeat(np.arange(count), stop - start)
    columns = np.concatenate([np.arange(a, b) for a, b in zip(start, stop, strict=True)])
    return Taps(rows, columns, 1.0 / (stop - start)[rows], count, length)


def _bins(length, count):
    i = np.arange(count)
    return i * length // count, -((i + 1) * length // -count)


# ---- arguments -------------------------------------------------------------------------------------------------------


def _images(name, input):
    """The input as a batch, and whether it was a single image."""
    require_float(name, input=input)
    if input.ndim not in (3, 4) or 0 in input.shape[-3:]:
        raise ValueError(f"{name}: input must be (N, C, H, W) or (C, H, W) with pixels in it, got {input.shape}")
    return (unsqueeze(input, 0), True) if input.ndim == 3 else (input, False)


def _geometry(name, kernel_size, stride, padding):
    kernel = pair(f"{name}: kernel_size", kernel_size, 1)
    empty = stride is None or (isinstance(stride, (tuple, list)) and not stride)
    stride = kernel if empty else pair(f"{name}: stride", stride, 1)
    padding = pair(f"{name}: padding", padding)
    if any(2 * p > k for p, k in zip(padding, kernel, strict=True)):
        raise ValueError(f"{name}: padding {padding} must be at most half of kernel_size {kernel}")
    return kernel, stride, padding


def _out_size(name, shape, kernel, stride, padding, dilation, ceil_mode):
    size = tuple(map(window_count, shape[2:], kernel, stride, padding, dilation, (ceil_mode, ceil_mode)))
    if min(size) < 1:
        raise ValueError(f"{name}: input {shape[2:]} with kernel {kernel}, stride {stride}, padding {padding} and "
                         f"dilation {dilation} gives the output size {size}; it must be at least 1")
    return size


def _adaptive_size(name, x, output_size):
    sizes = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size, output_size)
    if len(sizes) != 2:
        raise ValueError(f"{name}: output_size must be one integer or two, None to keep a size, got {output_size!r}")
    lengths = zip(sizes, x.shape[2:], strict=True)
    return tuple(n if m is None else integer(f"{name}: output_size", m, 1) for m, n in lengths)
