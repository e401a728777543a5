"""The three convolution maps in float32: which algorithm serves which shape, and why.

`conv2d`, `conv2d_dx` and `conv2d_dw` (see `reference`) bring their arrays into the one layout that all kernels see, contiguous
N,H,W,C, and hand them to one of these algorithms. The conditions are functions of the shapes alone. Each of them says why it
stands there, and what was measured.

| | conv2d | conv2d_dx | conv2d_dw |
|---|---|---|---|
| kernel as large as the image | `whole_image` | `whole_image` | `direct.product` |
| one filter for each channel | `depthwise` | `depthwise` | `depthwise` |
| 3x3, 5x5, 4x4 of stride 2; many channels | `winograd` | `winograd` | `winograd` |
| 3x3, 4x4 of stride 2; very many channels, few patches | `winograd_panels` | `winograd_panels` | `winograd_panels` |
| few channels of x | `few_channels` | `few_channels_transposed` | `few_channels` |
| few channels of y, stride 1 | | `few_channels` | as if x were y |
| 1x1, many pixels | | | `parts.long_sums` |
| all others | `direct` | `direct` | `direct` |

Imports: numpy, minigrad.kernels.geometry, parts, registers, machine, depthwise, direct, few_channels, few_channels_transposed,
plans, whole_image, winograd, winograd_panels, winograd_transforms.
"""
import math

import numpy as np

from minigrad.kernels.cpu.convolution import winograd, winograd_panels
from minigrad.kernels.cpu.convolution.depthwise import convolve_depthwise, weight_gradient_depthwise
from minigrad.kernels.cpu.convolution.direct import convolve_directly, product, weight_gradient_directly
from minigrad.kernels.cpu.convolution.few_channels import convolve_few_channels, weight_gradient_of_few_channels
from minigrad.kernels.cpu.convolution.few_channels_transposed import FOLD_PIXELS, convolve_transposed_few_channels
from minigrad.kernels.cpu.convolution.plans import (
    NO_SHIFT,
    even_and_odd,
    forward_phases,
    frozen,
    merged_images,
    places_of_inputs,
    places_of_outputs,
    places_of_rows,
    remainders,
    taps_of,
    transposed_phases,
)
from minigrad.kernels.cpu.convolution.whole_image import images_by_filters, images_from_filters
from minigrad.kernels.cpu.convolution.winograd_transforms import M, points_of
from minigrad.kernels.cpu.machine.threads import empty
from minigrad.kernels.cpu.parts.activation import NOTHING, finish_output, leaky_relu
from minigrad.kernels.cpu.parts.layout import channels_last, padded, swapped, with_slack
from minigrad.kernels.cpu.parts.long_sums import LONG_SUM, sum_outer_products
from minigrad.kernels.cpu.registers.emit import AR, NR, VL
from minigrad.kernels.geometry import transposed_size, window_count

LARGE_WEIGHTS, HUGE_WEIGHTS = 1 << 21, 1 << 23                  # floats of transformed weights: see `by_panels`
SOME_PATCHES, MANY_PATCHES = 128, 512
FEW_PATCHES, FEW_SUMMED = 12, 32    # patches that pay for transforming the weights: see `winograd_pays`
WHOLE = 1 << 16                     # multiplications of a kernel as large as its image from which `whole_image` beats BLAS


def conv2d(x, w, stride, padding, dilation, groups, bias=None, slope=1.0):
    if slope < 0:                                               # `activation.finish` knows only slopes that keep the order
        return leaky_relu(conv2d(x, w, stride, padding, dilation, groups, bias), slope)
    n, channels, *size = x.shape
    o, c, kh, kw = w.shape
    out = tuple(map(window_count, size, (kh, kw), stride, padding, dilation))
    if bias is None and slope == 1:
        ending = NOTHING
    else:
        ending = np.zeros(o, np.float32) if bias is None else np.ascontiguousarray(bias), float(slope)
    if whole_image(size, (kh, kw), padding, dilation, groups) and x.size and w.size:
        if turns_images(n, o, w.size):
            y = images_by_filters(nhwc(x).reshape(n, -1, c), np.ascontiguousarray(w).reshape(o, c, -1))
        else:
            y = product(nhwc(x).reshape(n, -1), as_rows(w).T)
        return image(finish_output(y, *ending).reshape(n, 1, 1, o))
    y = empty(n, *out, o)
    if not (x.size and w.size and y.size):
        y[...] = 0
        return image(finish_output(y, *ending) if y.size else y)
    x, w = nhwc(x), np.ascontiguousarray(w)
    if one_filter_each(groups, channels, o):
        convolve_depthwise(x, w, y, forward_phases(n, out, (kh, kw), stride, padding, dilation, 1))
        finish_output(y, *ending)
    elif uses_winograd((kh, kw), stride, dilation, groups, c, o, n, out):
        shifts, _ = even_and_odd(c, kh, stride[0], padding)
        places = merged_images(c, kh, stride[0], padding)
        convolve_by_winograd(x, w, y, ((*out, 0, 0, 0, 0),), shifts, stride[0], 1, c * kh * kw, places, ending)
    elif few_inputs(c, groups, kw, dilation[1]):
        convolve_few_channels(x, w, y, stride, padding, dilation, ending)
    else:
        plan = forward_phases(n, out, (kh, kw), stride, padding, dilation, c)
        convolve_directly(x, w, y, plan, places_of_inputs(c, kh, kw), c * kh * kw, groups, ending)
    return image(y)


def conv2d_dx(g, w, stride, padding, dilation, groups, size):
    n, o, *out = g.shape
    _, c, kh, kw = w.shape
    if whole_image(size, (kh, kw), padding, dilation, groups) and tuple(out) == (1, 1) and g.size and w.size:
        g = np.ascontiguousarray(g.reshape(n, o))
        if turns_filters(n, c, kh * kw, w.size):
            x = images_from_filters(g, np.ascontiguousarray(w).reshape(o, c, -1))
        else:
            x = product(g, as_rows(w))
        return image(x.reshape(n, kh, kw, c))
    x = empty(n, *size, groups * c)
    if not (g.size and w.size and x.size):
        x[...] = 0
        return image(x)
    if multiplies_first((kh, kw), c, groups, o, n, out):
        convolve_transposed_few_channels(nhwc(g), w, x, stride, padding, dilation)
        return image(x)
    if stride == (1, 1) and few_inputs(o, groups, kw, dilation[1]):
        # The adjoint of a convolution of stride 1 is a convolution with the filters turned round.
        lead = tuple(d * (k - 1) - p for d, k, p in zip(dilation, (kh, kw), padding, strict=True))
        convolve_few_channels(nhwc(g), w[:, :, ::-1, ::-1].transpose(1, 0, 2, 3), x, stride, lead, dilation)
        return image(x)
    g, w = nhwc(g), np.ascontiguousarray(w)
    if one_filter_each(groups, groups * c, o):
        convolve_depthwise(g, w, x, transposed_phases(n, tuple(size), (kh, kw), stride, padding, dilation, 1))
    elif uses_winograd((kh, kw), stride, dilation, groups, o, c, n, [s // t for s, t in zip(size, stride, strict=True)]):
        problems, places = remainders(o, c, kh, stride[0], padding, tuple(size))
        convolve_by_winograd(g, w, x, problems, NO_SHIFT, 1, stride[0], kh * kw, places)
    else:
        plan = transposed_phases(n, tuple(size), (kh, kw), stride, padding, dilation, o // groups)
        convolve_directly(g, w, x, plan, places_of_outputs(o // groups, c, kh, kw), kh * kw, groups)
    return image(x)


def conv2d_dw(x, g, stride, padding, dilation, groups, size):
    n, channels, *shape = x.shape
    o, *out = g.shape[1:]
    c, (kh, kw) = channels // groups, size
    if not (x.size and g.size and kh * kw):
        return np.zeros((o, c, kh, kw), np.float32)
    if whole_image(shape, size, padding, dilation, groups) and out == [1, 1]:
        dw = product(g.reshape(n, o).T, nhwc(x).reshape(n, -1)).reshape(o, kh * kw, c)
        return swapped(dw).reshape(o, c, kh, kw)
    turned = [d * (k - 1) - p for d, k, p in zip(dilation, size, padding, strict=True)]
    if groups == 1 and o <= 4 < c and stride == (1, 1) and min(turned) >= 0 and merges_rows(o, 1, kw, dilation[1]):
        # With few outputs image and gradient change places, and the filters come out turned round.
        dw = conv2d_dw(g, x, stride, tuple(turned), dilation, 1, size)
        return np.ascontiguousarray(dw[:, :, ::-1, ::-1].transpose(1, 0, 2, 3))
    x, g = nhwc(x), nhwc(g)
    if one_filter_each(groups, channels, o):
        return weight_gradient_depthwise(x, g, (kh, kw), stride, padding, dilation)
    if pointwise(size, stride, padding, groups) and outer_pays(o, c) and n * shape[0] * shape[1] >= LONG_SUM:
        return sum_outer_products(g.reshape(-1, o), x.reshape(-1, c)).reshape(o, c, 1, 1)
    dw = np.empty((o, c * kh * kw), np.float32)
    if uses_winograd((kh, kw), stride, dilation, groups, c, o, n, out, sums=True):
        weight_gradient_by_winograd(x, g, dw, *even_and_odd(c, kh, stride[0], padding), stride[0])
    elif few_inputs(c, groups, kw, dilation[1]) and short_windows(c, kh, kw):
        weight_gradient_of_few_channels(x, g, dw, (kh, kw), stride, padding, dilation, places_of_rows(c, kh, kw).reshape(-1))
    elif merges_rows(c, groups, kw, dilation[1]):
        read = map(transposed_size, out, (kh, kw), stride, (0, 0), dilation)               # pixels, with those of the padding
        rows = padded(x, [(p, s - p - q) for s, p, q in zip(read, padding, shape, strict=True)])
        weight_gradient_directly(rows, g, dw, taps_of((kh, 1), (0, 0), dilation, 0), places_of_rows(c, kh, kw), stride, 1,
                                 kw * c, o)
    else:
        weight_gradient_directly(with_slack(x, c, AR), g, dw, taps_of((kh, kw), padding, dilation, 0), places_of_inputs(c, kh, kw),
                                 stride, groups, c, o // groups)
    return dw.reshape(o, c, kh, kw)


# --------------------------------------------------------------------------------------------------------------- choices

_precision = "fast"


def set_conv_precision(mode):
    """"fast" lets large float32 convolutions go through Winograd's algorithm, whose error is a few times that of direct summation.
    "exact" sums directly. float64 never uses Winograd."""
    global _precision
    if mode not in ("fast", "exact"):
        raise ValueError(f'set_conv_precision: mode must be "fast" or "exact", got {mode!r}')
    _precision = mode


def get_conv_precision():
    return _precision


def whole_image(size, kernel, padding, dilation, groups):
    """A kernel as large as the image makes one output, so it is a matrix: the first layer of a DCGAN's generator, the last of its
    critic."""
    return tuple(size) == tuple(kernel) and padding == (0, 0) and dilation == (1, 1) and groups == 1


def turns_images(n, o, size):
    """Whether `whole_image` multiplies images by filters as large as they are. One image or one output is a matrix times a vector,
    which BLAS does better."""
    return n > 1 and o > 1 and n * size >= WHOLE


def turns_filters(n, c, pixels, size):
    """The same for the adjoint, whose lanes run over the channels. The weights of a single pixel need no turning."""
    return pixels > 1 and c >= VL and n * size >= WHOLE


def pointwise(kernel, stride, padding, groups):
    """A 1x1 convolution is a product of matrices, pixels by channels."""
    return tuple(kernel) == stride == (1, 1) and padding == (0, 0) and groups == 1


def outer_pays(o, c):
    """Whether a 1x1 weight gradient copies its rows into panels (`sum_outer_products`). Measured: 1.1 to 1.5 times as fast as
    `direct`, which reads the image in place; but 0.65 to 0.95 where it has fewer than 256 channels and more than the output."""
    return o >= c or c >= 256 and o >= NR


def one_filter_each(groups, channels, outs):
    """One filter for each channel: there is no sum over channels, hence no product of matrices, only a loop along the channels."""
    return groups == channels == outs and channels % VL == 0


def few_inputs(channels, groups, kw, dilation):
    """Few channels go through `few_channels` if the rows of a window are contiguous. Measured: it is faster up to 15 channels."""
    return groups == 1 and channels < 16 and (kw == 1 or dilation == 1)


def merges_rows(channels, groups, kw, dilation):
    """Few channels make short inner loops in the weight gradient. So the image is copied with its padding, and a whole row of the
    kernel, contiguous in memory, becomes one tap of kw*channels channels. The copy costs less the fewer the channels."""
    return groups == 1 and channels < 16 and kw > 1 and dilation == 1


def short_windows(c, kh, kw):
    """Few channels under a small kernel: the weight gradient sums all taps at once. Longer windows fill the tile row by row, and a
    panel of them would not stay in the L1 cache."""
    return c * kh * kw <= 64


def uses_winograd(kernel, stride, dilation, groups, ins, outs, n, size, sums=False):
    """Whether the convolution (sums: its weight gradient) goes through Winograd: it must fit the algorithm, and it must pay."""
    fits = (kernel, stride) in (((3, 3), (1, 1)), ((4, 4), (2, 2)), ((5, 5), (1, 1))) and dilation == (1, 1) and groups == 1
    return fits and _precision == "fast" and ins % VL == 0 and outs % VL == 0 and winograd_pays(ins, outs, n, tuple(size), sums)


def winograd_pays(ins, outs, n, size, sums=False):
    """Winograd does not pay where channels are so few that the transforms cost what the products save, where the image is so small
    that patches hang out of it, and where there are too few patches to pay for transforming the weights.

    Measured (Zen 5, 3x3, one image of 16x16 pixels, so 16 patches, and 25 of its adjoint): with 16 to 256 channels the convolution
    is 1.3 to 2.3 times as fast as directly, its adjoint 1.2 to 2.2 times. With 9 patches the adjoint is at 0.9. The weight gradient
    transforms more: with 16 patches it is at 0.8 and 0.9 with 16 and 32 channels, 1.3 to 3.8 times as fast from 64 on."""
    patches = n * -(-size[0] // M) * -(-size[1] // M)
    hangs = any(s < 3 for s in size)
    few = FEW_SUMMED if sums and min(ins, outs) < 64 else FEW_PATCHES
    return ins >= 16 and outs >= 16 and not hangs and patches >= few


def by_panels(area, ins, outs, n, size, sums=False):
    """Whether Winograd goes panel by panel of filters (`winograd_panels`), or block by block of patches (`winograd`).

    By panels, the transformed weights are never written down, but the images are read again for each panel, and all patches are
    4x4. So it pays for few patches, or a moderate number where the L3 cache would not hold the weights. In a weight gradient
    (`sums`) the weights are the result; there it pays for smaller weights too, unless 4x4 patches hang out of the image.
    Measured (Zen 3): 512 filters of 512 channels are twice as fast. 256 filters of 256 channels are 0.85 to 1.2 times as fast at
    16x16 pixels, with 64 to 512 patches, and up to 1.4 times as slow at 14x14 pixels.
    """
    weights, patches = area * ins * outs, n * -(-size[0] // M) * -(-size[1] // M)
    if weights >= HUGE_WEIGHTS:
        return patches <= MANY_PATCHES
    if sums and size[0] % M == size[1] % M == 0:
        return weights >= LARGE_WEIGHTS and patches <= MANY_PATCHES
    return weights >= LARGE_WEIGHTS and patches <= SOME_PATCHES


def multiplies_first(kernel, channels, groups, ins, n, out):
    """Whether the transposed convolution multiplies first and folds afterwards (`few_channels_transposed`): where channels are too
    few to fill the lanes, but all taps of all channels fill them. Measured: 1.1 to 5 times as fast up to 3 channels. With more
    channels it pays only where rows are not tiny, and with 4, where the dot tile is at its best, only if inputs are few."""
    fits = groups == 1 and n * out[0] * out[1] >= FOLD_PIXELS and 2 * channels * kernel[0] * kernel[1] >= VL
    return fits and (channels <= 3 or channels <= 6 and out[1] > 4 and (channels > 4 or ins < 64))


def convolve_by_winograd(x, w, y, problems, shifts, step, out_step, out_stride, places, ending=NOTHING):
    """Winograd's convolution, by panels of filters or by blocks of patches. places (problems, taps, input channels)."""
    (_, taps, ins), outs = places.shape, y.shape[3]
    if taps < 25 and by_panels(points_of(math.isqrt(taps)) ** 2, ins, outs, len(x), problems[0]):
        winograd_panels.convolve_by_panels(x, w, y, frozen(problems), shifts, step, out_step, out_stride, places)
        finish_output(y, *ending)
    else:
        winograd.convolve_by_patches(x, w, y, problems, shifts, step, out_step, out_stride, places, ending)


def weight_gradient_by_winograd(x, g, dw, shifts, places, step):
    """Winograd's weight gradient, by panels of filters or by blocks of patches. places (images, taps, channels)."""
    n, oh, ow, outs = g.shape
    images, taps, channels = places.shape
    if taps < 25 and by_panels(points_of(math.isqrt(taps)) ** 2, images * channels, outs, n, (oh, ow), sums=True):
        winograd_panels.weight_gradient_by_panels(x, g, dw, shifts, step, places)
    else:
        winograd.weight_gradient_by_patches(x, g, dw, shifts, step, places)


# ------------------------------------------------------------------------------------------------------ layout of arrays


def nhwc(x):
    """The contiguous (N,H,W,C) side of an image; a copy only if the image is not channels-last already."""
    return channels_last(x)


def image(y):
    return y.transpose(0, 3, 1, 2)


def as_rows(w):
    """(O,C,kh,kw) -> (O, kh*kw*C), the order of an image's memory."""
    return swapped(w.reshape(*w.shape[:2], -1)).reshape(len(w), -1)
