"""Networks' operations in plain NumPy, straight from their definitions: the references of tests/cases_functional.py.

Loops over output positions, no cleverness shared with the library. Pairs are (vertical, horizontal).
"""

import itertools

import numpy as np


def pair(v):
    return tuple(v) if isinstance(v, (tuple, list)) else (v, v)


def conv2d(x, w, b=None, stride=1, padding=0, dilation=1, groups=1):
    """y[n,o,i,j] = b[o] + sum x[n, c, i s - p + u d, j s - p + v d] w[o,c,u,v]"""
    (sh, sw), (ph, pw), (dh, dw) = pair(stride), pair(padding), pair(dilation)
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    (n, _, h, wd), (o, cg, kh, kw) = x.shape, w.shape
    y = np.zeros((n, o, (h - dh * (kh - 1) - 1) // sh + 1, (wd - dw * (kw - 1) - 1) // sw + 1))
    for k, i, j in np.ndindex(*y.shape[1:]):
        first = k // (o // groups) * cg
        patch = x[
            :, first : first + cg, i * sh : i * sh + dh * (kh - 1) + 1 : dh, j * sw : j * sw + dw * (kw - 1) + 1 : dw
        ]
        y[:, k, i, j] = (patch * w[k]).sum((1, 2, 3))
    return y if b is None else y + b[:, None, None]


def conv_transpose2d(x, w, b=None, stride=1, padding=0, output_padding=0, groups=1, dilation=1):
    """Every x[n,c,i,j] w[c,o,u,v] is added at (i s - p + u d, j s - p + v d)."""
    (sh, sw), (ph, pw), (dh, dw), (eh, ew) = pair(stride), pair(padding), pair(dilation), pair(output_padding)
    (n, c, h, wd), (_, og, kh, kw) = x.shape, w.shape
    size = [
        (m - 1) * s - 2 * p + d * (k - 1) + e + 1
        for m, s, p, d, k, e in ((h, sh, ph, dh, kh, eh), (wd, sw, pw, dw, kw, ew))
    ]
    y = np.zeros((n, og * groups, *size))
    for ch, i, j, u, v in itertools.product(range(c), range(h), range(wd), range(kh), range(kw)):
        a, e = i * sh - ph + u * dh, j * sw - pw + v * dw
        if 0 <= a < size[0] and 0 <= e < size[1]:
            first = ch // (c // groups) * og
            y[:, first : first + og, a, e] += x[:, ch, i, j, None] * w[ch, :, u, v]
    return y if b is None else y + b[:, None, None]


# ---- pooling ---------------------------------------------------------------------------------------------------------


def pooled(x, kernel, stride, padding, dilation, ceil_mode):
    """For each window: its position, and the taps inside the image as flat indices."""
    (kh, kw), (ph, pw), (dh, dw) = pair(kernel), pair(padding), pair(dilation)
    sh, sw = pair(kernel if stride is None else stride)
    h, w = x.shape[-2:]
    out = []
    for n, k, s, p, d in ((h, kh, sh, ph, dh), (w, kw, sw, pw, dw)):
        m = (n + 2 * p - d * (k - 1) - 1 + (s - 1 if ceil_mode else 0)) // s + 1
        out.append(m - 1 if ceil_mode and (m - 1) * s >= n + p else m)
    for i, j in np.ndindex(*out):
        rows = [r for u in range(kh) if 0 <= (r := i * sh - ph + u * dh) < h]
        cols = [c for v in range(kw) if 0 <= (c := j * sw - pw + v * dw) < w]
        yield out, (i, j), [r * w + c for r in rows for c in cols]


def max_pool2d(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    flat, y = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]), None
    for out, (i, j), taps in pooled(x, kernel_size, stride, padding, dilation, ceil_mode):
        if y is None:
            y, indices = np.zeros((*x.shape[:-2], *out)), np.zeros((*x.shape[:-2], *out), np.int64)
        y[..., i, j] = flat[..., taps].max(-1)
        indices[..., i, j] = np.array(taps)[flat[..., taps].argmax(-1)]
    return (y, indices) if return_indices else y


def avg_pool2d(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    flat, y = x.reshape(*x.shape[:-2], x.shape[-2] * x.shape[-1]), None
    (kh, kw), (ph, pw) = pair(kernel_size), pair(padding)
    sh, sw = pair(kernel_size if stride is None else stride)
    for out, (i, j), taps in pooled(x, kernel_size, stride, padding, 1, ceil_mode):
        y = np.zeros((*x.shape[:-2], *out)) if y is None else y
        padded = (min(i * sh + kh, x.shape[-2] + 2 * ph) - i * sh) * (min(j * sw + kw, x.shape[-1] + 2 * pw) - j * sw)
        count = divisor_override or (padded if count_include_pad else len(taps))
        y[..., i, j] = flat[..., taps].sum(-1) / count
    return y


def adaptive(x, output_size, best):
    """`best` of each window [floor(i n / m), ceil((i + 1) n / m))."""
    size = [n if m is None else m for m, n in zip(pair(output_size), x.shape[-2:], strict=True)]
    y = np.zeros((*x.shape[:-2], *size))
    for i, j in np.ndindex(*size):
        (a, b), (c, d) = (
            (k * n // m, -((k + 1) * n // -m)) for k, n, m in zip((i, j), x.shape[-2:], size, strict=True)
        )
        y[..., i, j] = best(x[..., a:b, c:d], axis=(-2, -1))
    return y


# ---- normalisation ---------------------------------------------------------------------------------------------------


def normalised(x, axes, eps=1e-5):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def affine(x, weight, bias):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return x * weight.reshape(shape) + bias.reshape(shape)


def group_norm(x, groups, eps=1e-5):
    grouped = x.reshape(x.shape[0], groups, -1)
    return normalised(grouped, (2,), eps).reshape(x.shape)


# ---- losses ----------------------------------------------------------------------------------------------------------


def reduced(losses, reduction):
    return {"none": lambda: losses, "sum": lambda: np.asarray(losses.sum()), "mean": lambda: np.asarray(losses.mean())}[
        reduction
    ]()


def log_softmax(x, axis):
    return x - np.log(np.exp(x).sum(axis, keepdims=True))


def nll_loss(logp, target, weight=None, ignore_index=-100, reduction="mean", smoothing=0.0):
    """Sample by sample; classes on axis 1 (or 0 of a vector)."""
    axis = 1 if logp.ndim > 1 else 0
    rows = np.moveaxis(logp, axis, -1)
    classes, labels = rows.shape[-1], np.broadcast_to(target, rows.shape[:-1])
    weight = np.ones(classes) if weight is None else weight
    losses, used = np.zeros(rows.shape[:-1]), np.zeros(rows.shape[:-1])
    for at in np.ndindex(rows.shape[:-1]):
        k = labels[at]
        if k != ignore_index:
            losses[at] = -(1 - smoothing) * weight[k] * rows[at][k] - smoothing / classes * (weight * rows[at]).sum()
            used[at] = weight[k]
    return np.asarray(losses.sum() / used.sum()) if reduction == "mean" else reduced(losses, reduction)


def cross_entropy(x, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    return nll_loss(log_softmax(x, 1 if x.ndim > 1 else 0), target, weight, ignore_index, reduction, label_smoothing)


def cross_entropy_of_probabilities(x, t, weight=None, reduction="mean", label_smoothing=0.0):
    axis = 1 if x.ndim > 1 else 0
    t = t * (1 - label_smoothing) + label_smoothing / x.shape[axis]
    terms = np.moveaxis(log_softmax(x, axis) * t, axis, -1)
    return reduced(-(terms if weight is None else terms * weight).sum(-1), reduction)


def huber(d, delta):
    return np.where(np.abs(d) < delta, d * d / 2, delta * (np.abs(d) - delta / 2))


# ---- pixels in other places --------------------------------------------------------------------------------------------


def resize_matrix(n, m, mode, align_corners, scale=None):
    """One row for each output pixel along an axis: PyTorch's published formulas."""
    matrix = np.zeros((m, n))
    for i in range(m):
        step = 1 / scale if scale else n / m
        if mode == "nearest":
            matrix[i, min(int(np.floor(i * step)), n - 1)] = 1
        elif mode == "nearest-exact":
            matrix[i, min(int(np.floor((i + 0.5) * step)), n - 1)] = 1
        else:
            at = i * (n - 1) / max(m - 1, 1) if align_corners else (i + 0.5) * step - 0.5
            at = at if mode == "bicubic" else max(at, 0)
            low = int(np.floor(at))
            for k, weight in zip(range(low - 1, low + 3), kernel_weights(at - low, mode), strict=True):
                matrix[i, np.clip(k, 0, n - 1)] += weight
    return matrix


def kernel_weights(t, mode):
    """The weights of pixels -1, 0, 1, 2 for a point at t in [0, 1)."""
    if mode == "nearest":
        return [0, float(t < 0.5), float(t >= 0.5), 0]
    if mode in ("bilinear", "linear"):
        return [0, 1 - t, t, 0]
    a, weights = -0.75, []
    for s in (1 + t, t, 1 - t, 2 - t):
        weights.append((a + 2) * s**3 - (a + 3) * s**2 + 1 if s <= 1 else a * s**3 - 5 * a * s**2 + 8 * a * s - 4 * a)
    return weights


def interpolate(x, size=None, scale_factor=None, mode="nearest", align_corners=None):
    axes = x.ndim - 2
    scales = (
        (None,) * axes
        if scale_factor is None
        else (scale_factor if isinstance(scale_factor, tuple) else (scale_factor,) * axes)
    )
    size = tuple(int(n * s) for n, s in zip(x.shape[2:], scales, strict=True)) if size is None else size
    size = size if isinstance(size, tuple) else (size,) * axes
    for a in range(axes):
        matrix = resize_matrix(x.shape[2 + a], size[a], mode, align_corners, scales[a])
        x = np.moveaxis(np.tensordot(np.moveaxis(x, 2 + a, -1), matrix, (-1, 1)), -1, 2 + a)
    return x


def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False):
    n, c, h, w = x.shape
    out = np.zeros((n, c, *grid.shape[1:3]))

    def inside(k, length):
        if padding_mode == "border":
            return min(max(k, 0), length - 1)
        low, high = (0, length - 1) if align_corners else (-0.5, length - 0.5)
        while padding_mode == "reflection" and high > low and not low <= k <= high:
            k = 2 * low - k if k < low else 2 * high - k
        return k

    for b, i, j in np.ndindex(n, *grid.shape[1:3]):
        taps = []
        for g, length in zip(grid[b, i, j][::-1], (h, w), strict=True):
            at = (g + 1) / 2 * (length - 1) if align_corners else ((g + 1) * length - 1) / 2
            if mode != "bicubic" and padding_mode != "zeros":
                at = min(max(inside(at, length), 0), length - 1)
            low = int(np.floor(at))
            ks = [
                inside(k, length) if mode == "bicubic" and padding_mode != "zeros" else k
                for k in range(low - 1, low + 3)
            ]
            taps.append(
                [(int(k), v) for k, v in zip(ks, kernel_weights(at - low, mode), strict=True) if 0 <= k < length]
            )
        for (r, a), (s, e) in itertools.product(*taps):
            out[b, :, i, j] += a * e * x[b, :, r, s]
    return out


def affine_grid(theta, size, align_corners):
    n, _, h, w = size
    out = np.zeros((n, h, w, 2))
    for b, i, j in np.ndindex(n, h, w):
        y, x = (2 * k / max(m - 1, 1) - (m > 1) if align_corners else (2 * k + 1) / m - 1 for k, m in ((i, h), (j, w)))
        out[b, i, j] = theta[b] @ np.array([x, y, 1.0])
    return out


def unfold(x, kernel_size, dilation=1, padding=0, stride=1):
    (kh, kw), (dh, dw), (ph, pw), (sh, sw) = map(pair, (kernel_size, dilation, padding, stride))
    x = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
    rows = range(0, x.shape[2] - dh * (kh - 1), sh)
    cols = range(0, x.shape[3] - dw * (kw - 1), sw)
    windows = [
        x[:, :, i : i + dh * (kh - 1) + 1 : dh, j : j + dw * (kw - 1) + 1 : dw].reshape(len(x), -1)
        for i in rows
        for j in cols
    ]
    return np.stack(windows, -1)


def fold(x, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Every element of every window is added where unfold would have read it."""
    (kh, kw), (dh, dw), (ph, pw), (sh, sw), (h, w) = map(pair, (kernel_size, dilation, padding, stride, output_size))
    out = np.zeros((len(x), x.shape[1] // (kh * kw), h + 2 * ph, w + 2 * pw))
    corners = itertools.product(range(0, out.shape[2] - dh * (kh - 1), sh), range(0, out.shape[3] - dw * (kw - 1), sw))
    for k, (i, j) in enumerate(corners):
        window = x[..., k].reshape(len(x), -1, kh, kw)
        out[:, :, i : i + dh * (kh - 1) + 1 : dh, j : j + dw * (kw - 1) + 1 : dw] += window
    return out[:, :, ph : ph + h, pw : pw + w]


def pixel_shuffle(x, r):
    *lead, c, h, w = x.shape
    out = np.zeros((*lead, c // r**2, h * r, w * r))
    for k, u, v in np.ndindex(c // r**2, r, r):
        out[..., k, u::r, v::r] = x[..., k * r * r + u * r + v, :, :]
    return out


def pixel_unshuffle(x, r):
    *lead, c, h, w = x.shape
    out = np.zeros((*lead, c * r * r, h // r, w // r))
    for k, u, v in np.ndindex(c, r, r):
        out[..., k * r * r + u * r + v, :, :] = x[..., k, u::r, v::r]
    return out
