"""Images in another size, or seen at other points: interpolate, grid_sample, affine_grid.

interpolate is a linear map along one axis after another (`pooling.axis_map`); its derivative is the transposed map.
grid_sample picks pixels by index (`pooling.pick`, whose adjoint scatters) and mixes them with weights that are
polynomials of the grid, in Tensor operations: it can be differentiated by the image and by the grid, at any order.

Published subgradients are PyTorch's. In padding_mode 'border' the derivative by a coordinate on or behind the border is 0. In mode
'nearest' the derivative by the grid is 0. NaN propagates, also from the grid.

Imports: numpy, minigrad.autograd, common, elementwise, linear, pooling, shape.
"""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np

from minigrad.autograd import primitive
from minigrad.functional.common import integer, real, require_float
from minigrad.functional.elementwise import where
from minigrad.functional.linear import matmul
from minigrad.functional.pooling import Taps, average_bins, axis_map, pick, upsample_nearest
from minigrad.functional.shape import reshape, transpose

# ---- interpolate -----------------------------------------------------------------------------------------------------

_AXES_OF = {"nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3), "linear": (1,), "bilinear": (2,),
            "trilinear": (3,), "bicubic": (2,)}


def interpolate(input, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None,
                antialias=False):
    """Images (N, C, H, W) in another size; also (N, C, L) and (N, C, D, H, W).

    size, scale_factor   give one: an int (or number), or one for each axis; the size is floor(length * scale_factor)
    mode            'nearest' (rounds down), 'nearest-exact' (to the nearest centre), 'linear', 'bilinear', 'trilinear'
                    (1, 2, 3 axes), 'bicubic' (Keys 1981, a = -0.75), 'area' (adaptive_avg_pool2d)
    align_corners   True lays the centres of the corner pixels on each other, False their outer edges (linear and
                    cubic modes only)
    recompute_scale_factor   take the ratio of the sizes as scale, not the scale_factor given
    antialias       widen the filter when making smaller, as Pillow does ('bilinear', 'bicubic'; cubic with a = -0.5)
    """
    name = "interpolate"
    require_float(name, input=input)
    axes = input.ndim - 2
    if mode not in _AXES_OF:
        raise ValueError(f"{name}: mode must be one of {', '.join(_AXES_OF)}, got {mode!r}")
    if axes not in _AXES_OF[mode]:
        raise ValueError(f"{name}: mode {mode!r} takes (N, C, ...) with {' or '.join(map(str, _AXES_OF[mode]))} axes "
                         f"of positions, got input {input.shape}")
    if 0 in input.shape[1:]:
        raise ValueError(f"{name}: input {input.shape} holds no pixels")
    if align_corners is not None and mode in ("nearest", "nearest-exact", "area"):
        raise ValueError(f"{name}: align_corners works with linear and cubic modes only, not with {mode!r}")
    if antialias and mode not in ("bilinear", "bicubic"):
        raise ValueError(f"{name}: antialias works with modes 'bilinear' and 'bicubic' only, not with {mode!r}")
    size, scales = _target_size(name, input.shape[2:], size, scale_factor, recompute_scale_factor)
    if mode == "area":
        return average_bins(input, size)
    maps = [_resize_taps(mode.removeprefix("bi").removeprefix("tri"), n, m, s, bool(align_corners), bool(antialias),
                         input.dtype.char)
            for n, m, s in zip(input.shape[2:], size, scales, strict=True)]
    factors = tuple(factor for _, factor in maps)
    if axes == 2 and None not in factors and factors != (1, 1):
        return upsample_nearest(input, factors)
    for axis in sorted(range(axes), key=lambda a: size[a] / input.shape[2 + a]):  # what shrinks comes first
        if maps[axis][1] != 1:
            input = axis_map(input, 2 + axis, maps[axis][0])
    return input


def _target_size(name, lengths, size, scale_factor, recompute):
    """The output size, and for each axis the scale to use or None for the ratio of the sizes."""
    if (size is None) == (scale_factor is None):
        raise ValueError(f"{name}: give either size or scale_factor, got size={size} and scale_factor={scale_factor}")
    given = size if size is not None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * len(lengths)
    if len(values) != len(lengths):
        raise ValueError(f"{name}: {given} must be one number or {len(lengths)}, one for each axis of {lengths}")
    scales = (None,) * len(lengths)
    if size is not None:
        if recompute:
            raise ValueError(f"{name}: recompute_scale_factor needs a scale_factor, not a size")
        return tuple(integer(f"{name}: size", n, 1) for n in values), scales
    values = tuple(real(f"{name}: scale_factor", s) for s in values)
    if not all(0 < s < math.inf for s in values):
        raise ValueError(f"{name}: scale_factor must be positive, got {scale_factor}")
    size = tuple(math.floor(n * s) for n, s in zip(lengths, values, strict=True))
    if min(size) < 1:
        raise ValueError(f"{name}: scale_factor {scale_factor} shrinks {lengths} to {size}; every axis needs a pixel")
    return size, scales if recompute else values


@functools.lru_cache(maxsize=512)
def _resize_taps(kind, length, count, scale, align_corners, antialias, char):
    """The map along one axis, and the integer by which it repeats each pixel (or None).

    Positions are computed in the image's own precision (`char`), as PyTorch does: that decides how nearest rounds.
    """
    if align_corners:
        ratio = (length - 1) / (count - 1) if count > 1 else 0.0
    else:
        ratio = 1 / scale if scale else length / count
    ratio, i = np.dtype(char).type(ratio), np.arange(count).astype(char)
    if kind.startswith("nearest"):
        at = i * ratio if kind == "nearest" else np.maximum(ratio * (i + 0.5) - 0.5, 0) + 0.5
        columns = np.minimum(np.floor(at.astype(np.float32)).astype(np.int64), length - 1)
        factor = count // length
        repeats = count % length == 0 and (columns == np.arange(count) // factor).all()
        return Taps(np.arange(count), columns, None, count, length), factor if repeats else None
    if antialias:
        return _antialias_taps(kind, length, count, ratio, i), None
    at = i * ratio if align_corners else ratio * (i + 0.5) - 0.5
    if kind == "linear":
        if count == length:
            return None, 1
        at = np.maximum(at, 0)
    low = np.minimum(np.floor(at), length - 1).astype(np.int64)
    t = np.clip(at - low, 0, 1).astype(np.float64)
    weights, first = ([1 - t, t], 0) if kind == "linear" else (_cubic_weights(t), -1)
    columns = [np.clip(low + first + k, 0, length - 1) for k in range(len(weights))]
    rows = np.tile(np.arange(count), len(weights))
    return Taps(rows, np.concatenate(columns), np.concatenate(weights), count, length), None


def _cubic_weights(t, a=-0.75):
    """The weights of the pixels at -1, 0, 1, 2 for a point t in [0, 1) behind 0 (Keys 1981); t may be a Tensor."""
    near = [((x * (a + 2)) - (a + 3)) * x * x + 1 for x in (t, 1 - t)]
    far = [((x * a - 5 * a) * x + 8 * a) * x - 4 * a for x in (t + 1, 2 - t)]
    return [far[0], near[0], near[1], far[1]]


def _antialias_taps(kind, length, count, ratio, i):
    """A filter of the width of one output pixel (of one input pixel when making larger), normalised at the borders."""
    stretch = max(float(ratio), 1.0)
    support = (1 if kind == "linear" else 2) * stretch
    rows, columns, weights = [], [], []
    for row, centre in enumerate((ratio * (i + 0.5)).astype(np.float64)):
        first, last = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), length)
        x = np.abs(np.arange(first, last) - centre + 0.5) / stretch
        if kind == "linear":
            w = np.maximum(1 - x, 0)
        else:
            w = np.where(x < 1, (1.5 * x - 2.5) * x * x + 1, np.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, 0))
        rows += [row] * len(w)
        columns += range(first, last)
        weights += (w / w.sum()).tolist()
    return Taps(rows, columns, weights, count, length)


# ---- sampling at given points ----------------------------------------------------------------------------------------


def affine_grid(theta, size, align_corners=False):
    """The points that an affine map sends the pixels of an image of `size` to, for grid_sample (Jaderberg et al. 2015).

    theta (N, 2, 3), size (N, C, H, W) -> (N, H, W, 2), x before y, the image spanning [-1, 1]; or (N, 3, 4) and
    (N, C, D, H, W) -> (N, D, H, W, 3).
    """
    require_float("affine_grid", theta=theta)
    size = tuple(integer("affine_grid: size", n, 1) for n in size)
    axes = len(size) - 2
    if axes not in (2, 3) or theta.shape != (size[0], axes, axes + 1):
        raise ValueError(f"affine_grid: theta {theta.shape} and size {size} must be (N, 2, 3) and (N, C, H, W), "
                         "or (N, 3, 4) and (N, C, D, H, W)")
    lines = []
    for n in reversed(size[2:]):
        line = np.linspace(-1, 1, n) if n > 1 else np.zeros(1)
        lines.append(line if align_corners else line * (n - 1) / n)
    points = np.stack([*reversed(np.meshgrid(*reversed(lines), indexing="ij")), np.ones(size[2:])], -1)  # x, y, 1
    points = np.asarray(points.reshape(-1, axes + 1).astype(theta.dtype), like=theta.array)
    return reshape(matmul(theta.result_type.wrap(points), transpose(theta, 1, 2)), (size[0], *size[2:], axes))


def grid_sample(input, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    """The values of images at points: out[n, c, i, j] = input[n, c] at (x, y) = grid[n, i, j].

    input (N, C, H, W), grid (N, H', W', 2) -> (N, C, H', W'); or (N, C, D, H, W), (N, D', H', W', 3). x runs along W;
    -1 and 1 are the outer edges of the image, or with align_corners the centres of its corner pixels.
    mode 'bilinear' (trilinear in 3-D), 'nearest' (ties to even), 'bicubic' (2-D). padding_mode says what lies outside:
    'zeros', 'border' (the nearest pixel) or 'reflection' (about the edges, or centres with align_corners).
    """
    name = "grid_sample"
    require_float(name, input=input, grid=grid)
    axes = input.ndim - 2
    if axes not in (2, 3) or grid.ndim != input.ndim or grid.shape[-1] != axes or grid.shape[0] != input.shape[0]:
        raise ValueError(f"{name}: input {input.shape} and grid {grid.shape} must be (N, C, H, W) and (N, H', W', 2) "
                         "or (N, C, D, H, W) and (N, D', H', W', 3)")
    if input.dtype != grid.dtype:
        raise TypeError(f"{name}: input is {input.dtype} but grid is {grid.dtype}; convert one with .to(dtype)")
    if mode not in ("bilinear", "nearest", "bicubic") or (mode == "bicubic" and axes == 3):
        raise ValueError(f"{name}: mode must be 'bilinear', 'nearest' or (for 4 axes) 'bicubic', got {mode!r}")
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(f"{name}: padding_mode must be 'zeros', 'border' or 'reflection', got {padding_mode!r}")
    if 0 in input.shape[1:]:
        raise ValueError(f"{name}: input {input.shape} holds no pixels")
    taps = [_taps_at(grid[..., axes - 1 - a], length, mode, padding_mode, bool(align_corners))
            for a, length in enumerate(input.shape[2:])]
    channels, points = input.shape[1], (math.prod(grid.shape[1:-2]), grid.shape[-2])
    pixels = reshape(input, (*input.shape[:2], math.prod(input.shape[2:-1]), input.shape[-1]))
    out = None
    for corner in itertools.product(*taps):
        index, inside, weight = 0, True, None
        for (at, valid, w), length in zip(corner, input.shape[2:], strict=True):
            index, inside = index * length + at, inside & valid
            weight = w if weight is None else weight * w
        shape = (grid.shape[0], 1, *points)
        index = np.broadcast_to(index.reshape(shape), (shape[0], channels, *points))
        value = pick(pixels, index)
        if not inside.all():
            value = where(inside.reshape(shape), value, 0.0)
        value = value * reshape(weight, shape)
        out = value if out is None else out + value
    return reshape(out, (*input.shape[:2], *grid.shape[1:-1]))


def _taps_at(x, length, mode, padding_mode, align_corners):
    """[(pixel, whether it lies inside, weight)] along one axis, for points x in [-1, 1] of any shape."""
    x = (x + 1) * ((length - 1) / 2) if align_corners else ((x + 1) * length - 1) * 0.5
    if padding_mode != "reflection":  # far outside all taps are 0, or all the border: a constant also for infinity
        x = where((x.array < -2) | (x.array > length + 1), np.clip(x.array, -4, length + 3), x)
    if padding_mode != "zeros" and mode != "bicubic":
        x = _into_image(x, length, padding_mode, align_corners)
    known = np.nan_to_num(x.array, nan=0.0, posinf=0.0, neginf=0.0)  # a NaN stays in the weight
    if mode == "nearest":
        steps = [(np.rint(known), _one(x))]
    else:
        low = np.floor(known)
        t = x - low
        weights, first = ([1 - t, t], 0) if mode == "bilinear" else (_cubic_weights(t), -1)
        steps = [(low + (first + k), w) for k, w in enumerate(weights)]
    taps = []
    for at, weight in steps:
        if mode == "bicubic" and padding_mode != "zeros":
            at = _into_image(x.result_type.wrap(at), length, padding_mode, align_corners).array
        at = at.astype(np.int64)
        taps.append((np.clip(at, 0, length - 1), (at >= 0) & (at < length), weight))
    return taps


@np.errstate(all="ignore")
def _into_image(x, length, padding_mode, align_corners):
    """Points outside the image moved into it: to the border, or by reflection. A piecewise linear map of x."""
    if padding_mode == "reflection":
        low, span = (0.0, length - 1) if align_corners else (-0.5, length)
        if span == 0:
            sign = mirrored = np.zeros_like(x.array)
        else:
            away = np.abs(x.array - low)
            odd = np.floor(away / span) % 2 == 1
            rest = np.fmod(away, span)
            mirrored = np.where(odd, span - rest, rest) + low
            sign = np.where(odd, -1.0, 1.0) * np.where(x.array < low, -1.0, 1.0)
        shift = mirrored - sign * x.array
        x = x * sign.astype(x.dtype) + shift.astype(x.dtype)
    inside = (x.array > 0) & (x.array < length - 1)
    return where(inside, x, np.clip(x.array, 0, length - 1))


@primitive
def _one(x):
    """1 with the gradient 0, for weights that do not depend on the point; NaN stays NaN."""
    return np.where(x == x, np.ones_like(x), x)


@_one.vjp
def _(node, needs, g):
    return (g * 0.0,)
