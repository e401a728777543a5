"""The three maps of convolution, by im2col. Each is the adjoint of the others:

    <conv2d(x, w), g> = <x, conv2d_dx(g, w)> = <w, conv2d_dw(x, g)>

Imports: numpy, minigrad.kernels.geometry, activation.
"""

import numpy as np

from minigrad.kernels.geometry import transposed_size, window_count
from minigrad.kernels.reference.activation import along_channels, leaky_relu

COLUMN_BYTES = 64 << 20         # bound on the im2col buffer; larger batches are cut into chunks of samples


def conv2d(x, w, stride, padding, dilation, groups, bias=None, slope=1.0):
    """y[n,o,i,j] = sum_{c,u,v} x[n, c, i*s - p + u*d, j*s - p + v*d] * w[o,c,u,v]    (cross-correlation, as in PyTorch).

    x (N,C,H,W), w (O,C/groups,kh,kw) -> (N,O,OH,OW). With a bias (O,), or a slope other than 1, the result is leaky_relu(y + bias).
    The method is im2col: each window becomes a row of a matrix, and one matrix product does them all.
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
    y = as_nchw(y.reshape(n, oh, ow, o))
    y = y if bias is None else y + along_channels(bias, y)
    return y if slope == 1 else leaky_relu(y, slope)


def conv2d_dx(g, w, stride, padding, dilation, groups, size):
    """The adjoint of `conv2d` in x, which is the transposed convolution: g (N,O,OH,OW), w (O,C/groups,kh,kw) -> (N,C,*size).

    Tap (u, v) of `conv2d` read some pixels; here g*w[..., u, v] is added to those pixels, in one strided addition for each tap.
    """
    n, o, oh, ow = g.shape
    _, c, kh, kw = w.shape
    (sh, sw), (ph, pw), (dh, dw) = stride, padding, dilation
    matrix = _weight_matrix(w, groups).transpose(0, 2, 1)                                   # (G, O/G, kh*kw*C/G)
    # The size of the padded image. The windows may reach beyond size + 2p: what lies there is dropped.
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
    return as_nchw(x)


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
    padded = pad_image(x, padding).transpose(0, 2, 3, 1)
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


def pad_image(x, padding, end=(0, 0)):
    """Zeros around the last two axes; `end` adds rows and columns after the padding."""
    (ph, pw), (eh, ew) = padding, end
    return np.pad(x, ((0, 0), (0, 0), (ph, ph + eh), (pw, pw + ew))) if ph or pw or eh or ew else x


def as_nchw(y):
    """(N,H,W,C) buffer -> its N,C,H,W view"""
    return y.transpose(0, 3, 1, 2)


def _chunks(n, bytes_per_sample):
    step = max(1, COLUMN_BYTES // max(1, bytes_per_sample))
    return [slice(i, min(i + step, n)) for i in range(0, n, step)]
