"""How many windows fit into an image, and how large an image is that given windows cover: one axis, plain integers.

| symbol | meaning |
|---|---|
| H, H' | pixels along the axis: of the larger image, and of the smaller one, which has one pixel for each window |
| k, d | taps of the kernel, and the distance between two of them (dilation) |
| s, p | the distance between two windows (stride), and the pixels added at each end (padding) |

A kernel spans d*(k - 1) + 1 pixels. Convolution and pooling go from H to H', transposed convolution goes from H' to H.

Imports: the standard library.
"""

from __future__ import annotations


def window_count(size: int, kernel: int, stride: int, padding: int, dilation: int = 1, ceil_mode: bool = False) -> int:
    """H' = floor((H + 2p - d*(k - 1) - 1) / s) + 1; less than 1 where not even one window fits.

    `ceil_mode` rounds up instead, so that a last window may reach beyond the padding. That window is left out where it would start
    behind the image, at pixel H or later, because it would then hold no pixel. (Pooling sees to it that 2p <= k.)
    (PyTorch's documentation of Conv2d and MaxPool2d, "Shape".)
    """
    room = size + 2 * padding - dilation * (kernel - 1) - 1                                 # for the first window to move in
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    return count - 1 if (count - 1) * stride >= size + padding else count


def transposed_size(count: int, kernel: int, stride: int, padding: int, dilation: int = 1, output_padding: int = 0) -> int:
    """H = (H' - 1)*s - 2p + d*(k - 1) + 1 + output_padding: the image that H' windows came from.

    With output_padding 0, ..., s - 1 these are all the sizes H with window_count(H, ...) = H'. Without padding and
    output_padding it is the stretch from the first pixel of the first window to the last pixel of the last one.
    (PyTorch's documentation of ConvTranspose2d, "Shape".)
    """
    return (count - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + output_padding
