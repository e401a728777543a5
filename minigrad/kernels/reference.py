"""What each kernel computes, in plain array code: the definition, the oracle and the fallback.

Every function runs on NumPy and on CuPy, in any floating type, because it only calls `np.*` on the arrays handed in (NumPy's
dispatch protocols carry the calls to CuPy). The fast kernels in `cpu/` and `cuda/` must equal these; the tests hold them to it.

Shapes are (N, C, H, W) in any memory layout. Results of image shape are N,C,H,W views of contiguous N,H,W,C buffers. Pairs
are tuples of two ints that `minigrad.functional` has validated. Symbols: x input, w weight, g gradient of the output,
k kernel, s stride, p padding, d dilation, G groups. Nothing here knows about gradients, except that the three
convolution maps are adjoint to one another:  <conv2d(x, w), g> = <x, conv2d_dx(g, w)> = <w, conv2d_dw(x, g)>.

May import: numpy.
"""
import math

import numpy as np

from minigrad.kernels.geometry import transposed_size, window_count

COLUMN_BYTES = 64 << 20         # bound on the im2col buffer; larger batches are cut into chunks of samples


# ---------------------------------------------------------------------------------------------------------- convolution


def conv2d(x, w, stride, padding, dilation, groups, bias=None, slope=1.0):
    """y[n,o,i,j] = sum_{c,u,v} x[n, c, i*s - p + u*d, j*s - p + v*d] * w[o,c,u,v]    (cross-correlation, as in PyTorch).

    x (N,C,H,W), w (O,C/groups,kh,kw) -> (N,O,OH,OW); with a bias (O,) or a slope other than 1 leaky_relu(y + bias). By im2col: each
    window becomes a row, and all windows one matrix product.
    """
    n, _, h, wd = x.shape
    o, c, kh, kw = w.shape
    oh, ow = map(window_count, (h, wd), (kh, kw), stride, padding, dilation)
    matrix = _weight_matrix(w, groups)                                                      # (G, kh*kw*C/G, O/G)
    y = np.empty_like(x, shape=(n, oh, ow, groups, o // groups), dtype=np.result_type(x, w), order="C")
    for part in _chunks(n, oh * ow * groups * kh * kw * c * x.itemsize):
        columns = _columns(x[part], (kh, kw), (oh, ow), stride, padding, dilation, groups)
        product = columns @ matrix                                                          # (G, n*OH*OW, O/G)
        y[part] = product.transpose(1, 0, 2).reshape(-1, oh, ow, groups, o // groups)
    y = _image(y.reshape(n, oh, ow, o))
    y = y if bias is None else y + _along_channels(bias, y)
    return y if slope == 1 else leaky_relu(y, slope)


def conv2d_dx(g, w, stride, padding, dilation, groups, size):
    """The adjoint of `conv2d` in x, which is the transposed convolution: g (N,O,OH,OW), w (O,C/groups,kh,kw) -> (N,C,*size).

    Every product g*w[..., u, v] is added where tap (u, v) had read from: one strided addition for each tap.
    """
    n, o, oh, ow = g.shape
    _, c, kh, kw = w.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    matrix = _weight_matrix(w, groups).transpose(0, 2, 1)                                   # (G, O/G, kh*kw*C/G)
    # The padded image; it is larger than size + 2p where the output was asked to be (output_padding, dropped rows).
    reach = [max(s + 2 * p, covered) for s, p, covered in
             zip(size, padding, map(transposed_size, (oh, ow), (kh, kw), stride, (0, 0), dilation), strict=True)]
    dtype = np.result_type(g, w)
    x = np.empty_like(g, shape=(n, *size, groups * c), dtype=dtype, order="C")
    rows = _rows(g, groups, o // groups)                                                    # (G, N, OH, OW, O/G)
    for part in _chunks(n, oh * ow * groups * kh * kw * c * g.itemsize):
        columns = rows[:, part].reshape(groups, -1, o // groups) @ matrix
        columns = columns.reshape(groups, -1, oh, ow, kh, kw, c)
        padded = np.zeros_like(g, shape=(columns.shape[1], *reach, groups, c), dtype=dtype, order="C")
        for u in range(kh):
            for v in range(kw):
                window = padded[:, u * dh:u * dh + (oh - 1) * sh + 1:sh, v * dw:v * dw + (ow - 1) * sw + 1:sw]
                window += columns[:, :, :, :, u, v].transpose(1, 2, 3, 0, 4)
        x[part] = padded[:, ph:ph + size[0], pw:pw + size[1]].reshape(-1, *size, groups * c)
    return _image(x)


def conv2d_dw(x, g, stride, padding, dilation, groups, size):
    """The adjoint of `conv2d` in w: x (N,C,H,W), g (N,O,OH,OW) -> (O,C/groups,*size), C-contiguous.

    w[o,c,u,v] = sum_{n,i,j} x[n, c, i*s - p + u*d, j*s - p + v*d] * g[n,o,i,j]
    """
    n, ch = x.shape[:2]
    o, oh, ow = g.shape[1:]
    kh, kw = size
    c = ch // groups
    total = np.zeros_like(x, shape=(groups, kh * kw * c, o // groups), dtype=np.result_type(x, g), order="C")
    rows = _rows(g, groups, o // groups)
    for part in _chunks(n, oh * ow * ch * kh * kw * x.itemsize):
        columns = _columns(x[part], size, (oh, ow), stride, padding, dilation, groups)
        total += columns.transpose(0, 2, 1) @ rows[:, part].reshape(groups, -1, o // groups)
    total = total.reshape(groups, kh, kw, c, o // groups).transpose(0, 4, 3, 1, 2)
    return np.ascontiguousarray(total.reshape(o, c, kh, kw))


def _columns(x, kernel, out, stride, padding, dilation, groups):
    """im2col: (N,C,H,W) -> (G, N*OH*OW, kh*kw*C/G), the windows as rows; one strided copy for each tap."""
    n, ch = x.shape[:2]
    (oh, ow), (kh, kw), (sh, sw), (dh, dw) = out, kernel, stride, dilation
    padded = _pad(x, padding).transpose(0, 2, 3, 1)
    columns = np.empty_like(x, shape=(groups, n, oh, ow, kh, kw, ch // groups), order="C")
    for u in range(kh):
        for v in range(kw):
            window = padded[:, u * dh:u * dh + (oh - 1) * sh + 1:sh, v * dw:v * dw + (ow - 1) * sw + 1:sw]
            columns[:, :, :, :, u, v] = window.reshape(n, oh, ow, groups, ch // groups).transpose(3, 0, 1, 2, 4)
    return columns.reshape(groups, n * oh * ow, kh * kw * (ch // groups))


def _weight_matrix(w, groups):
    """(O,C/G,kh,kw) -> (G, kh*kw*C/G, O/G)"""
    o, c, kh, kw = w.shape
    return w.reshape(groups, o // groups, c, kh, kw).transpose(0, 3, 4, 2, 1).reshape(groups, kh * kw * c, o // groups)


def _rows(g, groups, channels):
    """(N,O,OH,OW) -> (G, N, OH, OW, O/G)"""
    n, _, oh, ow = g.shape
    return g.transpose(0, 2, 3, 1).reshape(n, oh, ow, groups, channels).transpose(3, 0, 1, 2, 4)


def _pad(x, padding, end=(0, 0)):
    """Zeros around the last two axes; `end` adds rows and columns after the padding."""
    (ph, pw), (eh, ew) = padding, end
    return np.pad(x, ((0, 0), (0, 0), (ph, ph + eh), (pw, pw + ew))) if ph or pw or eh or ew else x


def _image(y):
    """(N,H,W,C) buffer -> its N,C,H,W view"""
    return y.transpose(0, 3, 1, 2)


def _chunks(n, bytes_per_sample):
    step = max(1, COLUMN_BYTES // max(1, bytes_per_sample))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]


def matmul(a, b):
    """NumPy's matmul for ndim >= 2: the last two axes are matrices, the others broadcast."""
    return np.matmul(a, b)


# -------------------------------------------------------------------------------------------------------------- pooling


def max_pool2d(x, kernel, stride, padding, dilation, out_size):
    """The largest value of each window, and where it was: (N,C,H,W) -> y (N,C,OH,OW), indices int64 h*W + w, as PyTorch's.

    Padding counts as minus infinity and is never picked. The first of equal maxima wins; NaN wins over everything.
    """
    n, c, h, w = x.shape
    oh, ow = out_size
    y = np.full_like(x, -np.inf, shape=(n, oh, ow, c), order="C")
    indices = np.full_like(x, -1, shape=(n, oh, ow, c), dtype=np.int64, order="C")
    pixels = x.transpose(0, 2, 3, 1)
    for u in range(kernel[0]):
        out_i, in_i = _overlap(oh, h, stride[0], u * dilation[0] - padding[0])
        for v in range(kernel[1]):
            out_j, in_j = _overlap(ow, w, stride[1], v * dilation[1] - padding[1])
            flat = np.arange(h * w).reshape(h, w)[in_i, in_j]
            value, flat = pixels[:, in_i, in_j], _like(x, flat)[None, :, :, None]
            best, at = y[:, out_i, out_j], indices[:, out_i, out_j]
            wins = (value > best) | (value != value) | (at < 0)                             # the third: all -inf so far
            best[...] = np.where(wins, value, best)
            at[...] = np.where(wins, flat, at)
    return _image(y), _image(indices)


def max_pool2d_scatter(g, indices, size):
    """x[n,c,indices[n,c,i,j]] += g[n,c,i,j], from zero: (N,C,OH,OW) -> (N,C,*size). Adjoint of `max_pool2d_gather`."""
    n, c, oh, ow = g.shape
    x = np.zeros_like(g, shape=(n, size[0] * size[1], c), order="C")
    sample, channel = _like(g, np.arange(n))[:, None, None], _like(g, np.arange(c))[None, None, :]
    at = indices.transpose(0, 2, 3, 1).reshape(n, oh * ow, c)
    np.add.at(x, (sample, at, channel), g.transpose(0, 2, 3, 1).reshape(n, oh * ow, c))
    return _image(x.reshape(n, *size, c))


def max_pool2d_gather(x, indices):
    """x[n,c,indices[n,c,i,j]]: (N,C,H,W) -> (N,C,OH,OW)."""
    n, c, h, w = x.shape
    oh, ow = indices.shape[2:]
    at = indices.transpose(0, 2, 3, 1).reshape(n, oh * ow, c)
    return _image(np.take_along_axis(x.transpose(0, 2, 3, 1).reshape(n, h * w, c), at, 1).reshape(n, oh, ow, c))


def avg_pool2d(x, kernel, stride, padding, out_size, count_include_pad, divisor):
    """The mean of each window: (N,C,H,W) -> (N,C,OH,OW). Divides by `divisor` if given, else by the number of pixels of the
    window inside the padded image (count_include_pad) or inside the image."""
    n, c, h, w = x.shape
    (oh, ow), (kh, kw), (sh, sw) = out_size, kernel, stride
    end = [max(0, (q - 1) * s + k - size - 2 * p)
           for q, s, k, size, p in zip(out_size, stride, kernel, (h, w), padding, strict=True)]
    padded = _pad(x, padding, end).transpose(0, 2, 3, 1)
    y = np.zeros_like(x, shape=(n, oh, ow, c), order="C")
    for u in range(kh):
        for v in range(kw):
            y += padded[:, u:u + (oh - 1) * sh + 1:sh, v:v + (ow - 1) * sw + 1:sw]
    y /= _like(x, pool_divisors(kernel, stride, padding, (h, w), out_size, count_include_pad, divisor).astype(x.dtype))
    return _image(y)


def avg_pool2d_dx(g, kernel, stride, padding, size, count_include_pad, divisor):
    """The adjoint of `avg_pool2d`: g (N,C,OH,OW) -> (N,C,*size)."""
    n, c, oh, ow = g.shape
    (kh, kw), (sh, sw), (ph, pw) = kernel, stride, padding
    divisors = pool_divisors(kernel, stride, padding, size, (oh, ow), count_include_pad, divisor)
    share = g.transpose(0, 2, 3, 1) / _like(g, divisors.astype(g.dtype))
    reach = [max(s + 2 * p, covered) for s, p, covered in
             zip(size, padding, map(transposed_size, (oh, ow), kernel, stride, (0, 0)), strict=True)]
    padded = np.zeros_like(g, shape=(n, *reach, c), order="C")
    for u in range(kh):
        for v in range(kw):
            padded[:, u:u + (oh - 1) * sh + 1:sh, v:v + (ow - 1) * sw + 1:sw] += share
    return _image(np.ascontiguousarray(padded[:, ph:ph + size[0], pw:pw + size[1]]))


def pool_divisors(kernel, stride, padding, size, out_size, count_include_pad, divisor):
    """What each window of an average pool is divided by: (OH, OW, 1), a NumPy array."""
    counts = []
    for k, s, p, length, out in zip(kernel, stride, padding, size, out_size, strict=True):
        begin = np.arange(out) * s - p
        end = np.minimum(begin + k, length + p)                                             # ceil_mode may overshoot
        counts.append(end - begin if count_include_pad else np.minimum(end, length) - np.maximum(begin, 0))
    counts = counts[0][:, None, None] * counts[1][None, :, None]
    return np.full_like(counts, divisor) if divisor is not None else counts


def _overlap(out, size, stride, offset):
    """The output positions i whose tap i*stride + offset lies inside the image, and those taps, as two slices."""
    first, last = max(0, -(offset // stride)), min(out - 1, (size - 1 - offset) // stride)
    if last < first:
        return slice(0, 0), slice(0, 0)
    return slice(first, last + 1), slice(first * stride + offset, last * stride + offset + 1, stride)


def _like(x, values):
    """A NumPy array of constants, moved to where x lives."""
    return np.asarray(values, like=x)


# -------------------------------------------------------------------------------------------- normalisation, activation


def normalise(x, axes, eps):
    """xhat = (x - mean) * istd, istd = 1/sqrt(var + eps), over `axes`; any rank. Returns (xhat, istd, mean, var); the last three
    keep the reduced axes with length 1; var is the biased variance, mean((x - mean)^2)."""
    mean = x.mean(axes, keepdims=True, dtype=x.dtype)
    centred = x - mean
    var = (centred * centred).mean(axes, keepdims=True, dtype=x.dtype)
    istd = 1 / np.sqrt(var + x.dtype.type(eps))
    return centred * istd, istd, mean, var


def normalise_dx(g, g_istd, xhat, istd, axes):
    """The adjoint of x -> (xhat, istd), with M values in each mean; either gradient may be None:

    dx = istd*(g - mean(g) - xhat*mean(g*xhat)) - istd^2 * xhat * g_istd / M
    """
    dx = None
    if g is not None:
        dx = istd * (g - g.mean(axes, keepdims=True) - xhat * (g * xhat).mean(axes, keepdims=True))
    if g_istd is not None:
        count = math.prod(xhat.shape[a] for a in axes)
        part = xhat * (istd * istd * g_istd / xhat.dtype.type(count))
        dx = -part if dx is None else dx - part
    return np.zeros_like(xhat) if dx is None else dx


def leaky_relu(x, slope):
    """x where x > 0, else slope * x. slope 0 is relu (also of -inf). NaN stays NaN."""
    return np.maximum(x, 0) if slope == 0 else np.where(x > 0, x, x * x.dtype.type(slope))


def leaky_relu_dx(g, x, slope):
    """g where x > 0, else slope * g; exactly 0 there for slope 0."""
    return np.where(x > 0, g, g * g.dtype.type(slope) if slope else g.dtype.type(0))


def bias_leaky_relu(x, bias, slope):
    """leaky_relu(x + bias[c]) in one pass: x (N,C,...), bias (C,). slope 1 only adds the bias."""
    y = x + _along_channels(bias, x)
    return y if slope == 1 else leaky_relu(y, slope)


def bias_leaky_relu_dx(g, y, slope):
    """The adjoint of `bias_leaky_relu` from its own output y (for slope >= 0, y > 0 exactly where x + bias > 0): (dx, dbias)."""
    dx = g if slope == 1 else leaky_relu_dx(g, y, slope)
    return dx, dx.sum((0, *range(2, g.ndim)))


def add_leaky_relu(x, other, slope):
    """leaky_relu(x + other), of equal shapes, in one pass."""
    return leaky_relu(x + other, slope)


def norm_leaky_relu(x, weight, bias, axes, eps, slope, other=None):
    """leaky_relu(xhat * weight[c] + bias[c] + other): batch norm (axes all but 1) or instance norm (axes 2..) with what follows.

    x (N,C,...); weight, bias (C,) or None; other like x or None; slope 1 is no activation. Returns (y, istd, mean, var); xhat is
    not kept.
    """
    xhat, istd, mean, var = normalise(x, axes, eps)
    y = xhat if weight is None else xhat * _along_channels(weight, x)
    if bias is not None:
        y = y + _along_channels(bias, x)
    if other is not None:
        y = y + other
    return (y if slope == 1 else leaky_relu(y, slope)), istd, mean, var


def norm_leaky_relu_dx(g, x, weight, bias, istd, mean, axes, slope, y=None):
    """The adjoint of `norm_leaky_relu` in (x, weight, bias), first order, from its inputs and statistics.

    Returns (dx, dweight (C,), dbias (C,)): with h = g where xhat*weight + bias > 0 else slope*g,
    dbias = sum h, dweight = sum h*xhat, dx = istd*weight*(h - mean(h) - xhat*mean(h*xhat)).
    Where something was added before the activation its output y decides (slope >= 0), and h, the adjoint in `other`, comes last.
    """
    if y is not None:
        h = leaky_relu_dx(g, y, slope)
        return *norm_leaky_relu_dx(h, x, weight, bias, istd, mean, axes, 1), h
    xhat = (x - mean) * istd
    if slope != 1:
        y = xhat if weight is None else xhat * _along_channels(weight, x)
        g = leaky_relu_dx(g, y if bias is None else y + _along_channels(bias, x), slope)
    others = (0, *range(2, x.ndim))
    dweight, dbias = (g * xhat).sum(others), g.sum(others)
    h = g if weight is None else g * _along_channels(weight, x)
    return normalise_dx(h, None, xhat, istd, axes), dweight, dbias


def _along_channels(values, x):
    return values.reshape(1, -1, *[1] * (x.ndim - 2))


# ----------------------------------------------------------------------------------------------------------- optimisers
#
# In place over lists of arrays, one call a step. The order of floating-point operations is that of torch.optim's
# single-tensor implementation. `maximize` climbs: the gradient's sign is turned first.


def sgd_step(params, grads, buffers, *, lr, momentum, dampening, weight_decay, nesterov, maximize, first):
    """buffer = momentum*buffer + (1 - dampening)*grad (at first: grad); param -= lr * buffer, or of grad + momentum*buffer
    (Nesterov). buffers is None when momentum is 0. weight_decay adds weight_decay*param to the gradient."""
    for i, (p, g) in enumerate(zip(params, grads, strict=True)):
        g = _decayed(p, g, weight_decay, maximize)
        if momentum:
            b = buffers[i]
            if first:
                b[...] = g
            else:
                b *= _scalar(p, momentum)
                b += g * _scalar(p, 1 - dampening)
            g = g + b * _scalar(p, momentum) if nesterov else b
        p += g * _scalar(p, -lr)


def adam_step(params, grads, exp_avgs, exp_avg_sqs, max_exp_avg_sqs, *, step, lr, beta1, beta2, eps, weight_decay, decoupled,
              maximize):
    """m += (1-beta1)(g - m); v = beta2 v + (1-beta2) g^2; p -= lr/(1-beta1^t) * m / (sqrt(v / (1-beta2^t)) + eps).

    step t counts from 1. max_exp_avg_sqs (AMSGrad) holds the largest v so far, or is None. decoupled is AdamW: the decay
    multiplies p by 1 - lr*weight_decay instead of joining the gradient. (Kingma and Ba 2015; Loshchilov and Hutter 2019)
    """
    step_size, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
    for i, (p, g, m, v) in enumerate(zip(params, grads, exp_avgs, exp_avg_sqs, strict=True)):
        g = _decayed(p, g, 0 if decoupled else weight_decay, maximize)
        if decoupled and weight_decay:
            p *= _scalar(p, 1 - lr * weight_decay)
        _lerp(m, g, 1 - beta1)
        v *= _scalar(p, beta2)
        v += g * _scalar(p, 1 - beta2) * g
        if max_exp_avg_sqs is not None:
            v = np.maximum(max_exp_avg_sqs[i], v, out=max_exp_avg_sqs[i])
        p += m * _scalar(p, -step_size) / (np.sqrt(v) / _scalar(p, root) + _scalar(p, eps))


def rmsprop_step(params, grads, square_avgs, grad_avgs, buffers, *, lr, alpha, eps, weight_decay, momentum, centered, maximize):
    """v = alpha v + (1-alpha) g^2; p -= lr * g / (sqrt(v) + eps); `centered` takes v - mean(g)^2, `momentum` averages the step.

    grad_avgs is None unless centered; buffers is None unless momentum.
    """
    for i, (p, g, v) in enumerate(zip(params, grads, square_avgs, strict=True)):
        g = _decayed(p, g, weight_decay, maximize)
        v *= _scalar(p, alpha)
        v += g * _scalar(p, 1 - alpha) * g
        if centered:
            a = grad_avgs[i]
            _lerp(a, g, 1 - alpha)
            v = v - a * a
        denominator = np.sqrt(v) + _scalar(p, eps)
        if momentum > 0:
            b = buffers[i]
            b *= _scalar(p, momentum)
            b += g / denominator
            p += b * _scalar(p, -lr)
        else:
            p += g * _scalar(p, -lr) / denominator


def adagrad_step(params, grads, sums, *, step, lr, lr_decay, eps, weight_decay, maximize):
    """sum += g^2; p -= lr/(1 + (t-1) lr_decay) * g / (sqrt(sum) + eps); step t counts from 1."""
    rate = lr / (1 + (step - 1) * lr_decay)
    for p, g, s in zip(params, grads, sums, strict=True):
        g = _decayed(p, g, weight_decay, maximize)
        s += g * g
        p += g * _scalar(p, -rate) / (np.sqrt(s) + _scalar(p, eps))


def _decayed(p, g, weight_decay, maximize):
    g = -g if maximize else g
    return g + p * _scalar(p, weight_decay) if weight_decay else g


def _lerp(a, b, weight):
    """a += weight*(b - a), from the nearer end, as torch.lerp does."""
    if weight < 0.5:
        a += (b - a) * _scalar(a, weight)
    else:
        a[...] = b - (b - a) * _scalar(a, 1 - weight)


def _scalar(x, value):
    return x.dtype.type(value)


# ------------------------------------------------------------------------------------------------------------------ rows


def add_rows(g, rows, count):
    """y[rows[k]] += g[k], from zeros: the adjoint of picking rows, as an embedding does. g (K, D), rows (K,) -> (count, D)."""
    y = np.zeros_like(g, shape=(count, g.shape[1]), order="C")
    places = rows[:, None] * g.shape[1] + np.arange(g.shape[1], like=g)                     # flat: NumPy is ten times faster
    np.add.at(y.reshape(-1), places.reshape(-1), g.reshape(-1))
    return y


# ------------------------------------------------------------------------------------------------------------ recurrence


def lstm_scan(x, h0, c0, w_ih, w_hh, b):
    """i, f, g, o = W_ih x[t] + W_hh h[t-1] + b;  c[t] = s(f) c[t-1] + s(i) tanh(g);  h[t] = s(o) tanh(c[t])    (s the sigmoid).

    x (T, N, in), h0 and c0 (N, H), w_ih (4H, in), w_hh (4H, H), b (4H,)
    -> h, c (T, N, H) and gates (T, N, 4H): s(i), s(f), tanh(g), s(o).
    """
    p = np.matmul(x, w_ih.T) + b
    steps, batch, width = *p.shape[:2], p.shape[2] // 4
    h, c = (np.empty_like(p, shape=(steps, batch, width), order="C") for _ in range(2))
    gates = np.empty_like(p, order="C")
    # s(x) = tanh(x / 2) / 2 + 1/2, so that all four gates are one tanh; a gate needs no digits of its tail
    half = np.repeat(np.asarray([0.5, 0.5, 1, 0.5], dtype=p.dtype, like=p), width)
    rest = 1 - half
    for t in range(steps):
        a = np.add(np.matmul(h[t - 1] if t else h0, w_hh.T), p[t], out=gates[t])
        a *= half
        np.tanh(a, out=a)
        a *= half
        a += rest
        i, f, g, o = np.split(a, 4, axis=1)
        np.add(f * (c[t - 1] if t else c0), i * g, out=c[t])
        np.multiply(o, np.tanh(c[t]), out=h[t])
    return h, c, gates


def lstm_scan_dx(gh, gc, c0, c, gates, w_ih, w_hh):
    """Gradients of `lstm_scan`'s sums p = W_ih x[t] + W_hh h[t-1] + b, of x, h0, c0 and b, for those of its h and c.

    gh, gc (T, N, H), either may be None; c (T, N, H), c0 (N, H), gates (T, N, 4H); w_ih (4H, in), or None where no dx is
    wanted; w_hh (4H, H) -> dp (T, N, 4H), dx (T, N, in) or None, dh0, dc0 (N, H), db (4H,).
    """
    dp, back, dc = np.empty_like(gates), np.zeros_like(c0), np.zeros_like(c0)
    for t in reversed(range(len(c))):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        dh, y = back if gh is None else back + gh[t], np.tanh(c[t])
        dc = dc + dh * o * (1 - y * y)
        if gc is not None:
            dc = dc + gc[t]
        dp[t] = np.concatenate([dc * g * (i * (1 - i)), dc * (c[t - 1] if t else c0) * (f * (1 - f)),
                                dc * i * (1 - g * g), dh * y * (o * (1 - o))], axis=1)
        back, dc = np.matmul(dp[t], w_hh), dc * f
    return dp, None if w_ih is None else np.matmul(dp, w_ih), back, dc, dp.sum((0, 1))
