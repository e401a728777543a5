"""Convolution layers of images (N, C, H, W) or (C, H, W): Conv2d, ConvTranspose2d.

Weights and biases start as U(-b, b) with b = 1/sqrt(fan_in), fan_in = weight.shape[1] * kh * kw (PyTorch's default).

Imports: minigrad.functional, minigrad.kernels.geometry, linear, module.
"""

from __future__ import annotations

from minigrad import functional as F
from minigrad.functional.common import integer, pair
from minigrad.functional.convolution import conv2d_leaky_relu
from minigrad.kernels.geometry import transposed_size
from minigrad.nn.linear import fan_in_uniform_, zero_parameter
from minigrad.nn.module import Module

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Convolution(Module):
    """What both directions share: checked arguments, parameters, repr."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding,
                 groups, bias, padding_mode, device, dtype, rng):
        super().__init__()
        name = type(self).__name__
        self.in_channels = integer(f"{name}: in_channels", in_channels, 1)
        self.out_channels = integer(f"{name}: out_channels", out_channels, 1)
        self.groups = integer(f"{name}: groups", groups, 1)
        for key in ("in_channels", "out_channels"):
            if getattr(self, key) % self.groups:
                raise ValueError(f"{name}: {key} {getattr(self, key)} must be divisible by groups {self.groups}")
        self.kernel_size = pair(f"{name}: kernel_size", kernel_size, 1)
        self.stride, self.dilation = pair(f"{name}: stride", stride, 1), pair(f"{name}: dilation", dilation, 1)
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(f"{name}: padding must be integers, 'same' or 'valid', got {padding!r}")
            if padding == "same" and self.stride != (1, 1):
                raise ValueError(f"{name}: padding='same' needs stride 1, got {self.stride}")
            self.padding = padding
        else:
            self.padding = pair(f"{name}: padding", padding)
        if padding_mode not in PADDING_MODES:
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(PADDING_MODES)}, got {padding_mode!r}")
        self.padding_mode, self.transposed = padding_mode, transposed
        self.output_padding = pair(f"{name}: output_padding", output_padding)
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = zero_parameter((first, second // self.groups, *self.kernel_size), dtype, device)
        self.register_parameter("bias", zero_parameter((self.out_channels,), dtype, device) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        fan_in_uniform_(self.weight, self.bias, rng)

    def extra_repr(self):
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0, 0)), ("dilation", (1, 1)), ("output_padding", (0, 0)), ("groups", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        text += ", bias=False" if self.bias is None else ""
        return text + ("" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}")


class Conv2d(_Convolution):
    """F.conv2d with a weight (out, in/groups, kh, kw) and a bias (out).

    padding: integers, 'valid' or 'same'; padding_mode 'zeros', 'reflect', 'replicate' or 'circular' says what it is
    filled with. For the other arguments and the output's size see F.conv2d.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", device=None, dtype=None, *, rng=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, False, 0, groups, bias,
                         padding_mode, device, dtype, rng)

    def forward(self, input):
        return self.product(input, self.bias)

    def product(self, input, bias=None, weight=None, slope=1.0):
        """leaky_relu(the convolution with another bias, or none, and perhaps another weight); slope 1: no activation."""
        weight, padding = self.weight if weight is None else weight, self.padding
        if self.padding_mode != "zeros":
            input = F.pad(input, self._widths(), self.padding_mode)
            padding = 0
        if slope == 1:
            return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
        return conv2d_leaky_relu(input, weight, bias, self.stride, padding, self.dilation, self.groups, slope)

    def _widths(self) -> tuple[int, int, int, int]:
        """left, right, top, bottom; of an odd total the larger half is behind."""
        if self.padding == "valid":
            return 0, 0, 0, 0
        if self.padding == "same":
            total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
            return total[1] // 2, total[1] - total[1] // 2, total[0] // 2, total[0] - total[0] // 2
        return self.padding[1], self.padding[1], self.padding[0], self.padding[0]


class ConvTranspose2d(_Convolution):
    """F.conv_transpose2d with a weight (in, out/groups, kh, kw) and a bias (out).

    forward(input, output_size=None): output_size (H', W') picks the output_padding that gives this size.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1,
                 bias=True, dilation=1, padding_mode="zeros", device=None, dtype=None, *, rng=None):
        if padding_mode != "zeros":
            raise ValueError(f"ConvTranspose2d: padding_mode must be 'zeros', got {padding_mode!r}")
        if isinstance(padding, str):
            raise TypeError(f"ConvTranspose2d: padding must be integers, got {padding!r}")
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, True, output_padding,
                         groups, bias, padding_mode, device, dtype, rng)

    def forward(self, input, output_size=None):
        return self.product(input, self.bias, output_size)

    def product(self, input, bias=None, output_size=None, weight=None):
        """The transposed convolution with another bias, or none, and perhaps another weight."""
        weight = self.weight if weight is None else weight
        extra = self.output_padding if output_size is None else self._output_padding(input, output_size)
        return F.conv_transpose2d(input, weight, bias, self.stride, self.padding, extra, self.groups,
                                  self.dilation)

    def _output_padding(self, input, output_size) -> tuple[int, int]:
        size = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,) * 2
        if len(size) not in (2, input.ndim):
            raise ValueError(f"ConvTranspose2d: output_size {size} must be (H, W) or the whole shape of the output")
        least = list(map(transposed_size, input.shape[-2:], self.kernel_size, self.stride, self.padding, self.dilation))
        extra = tuple(wanted - low for wanted, low in zip(size[-2:], least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = [low + s - 1 for low, s in zip(least, self.stride, strict=True)]
            raise ValueError(f"ConvTranspose2d: output_size {size[-2:]} is out of reach for the input {input.shape}; "
                             f"it can lie between {tuple(least)} and {tuple(most)}")
        return extra
