"""Layers of rows (N, C, L) or (C, L): Conv1d, ConvTranspose1d, pooling, pads; what each computes stands in `minigrad.functional`.

Imports: minigrad.functional, linear, module.
"""

from __future__ import annotations

from minigrad import functional as F
from minigrad.functional.common import integer
from minigrad.nn.linear import fan_in_uniform_, zero_parameter
from minigrad.nn.module import Module

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


def _one(name, value, minimum=1) -> int:
    if isinstance(value, (tuple, list)) and len(value) == 1:
        value = value[0]
    return integer(name, value, minimum)


class _Convolution1d(Module):
    """What both directions share: checked arguments, parameters, repr."""

    def __init__(self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed, output_padding, groups, bias,
                 padding_mode, device, dtype, rng):
        super().__init__()
        name = type(self).__name__
        for key, value in (("in_channels", in_channels), ("out_channels", out_channels), ("groups", groups)):
            setattr(self, key, integer(f"{name}: {key}", value, 1))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(f"{name}: in_channels {in_channels} and out_channels {out_channels} must be divisible by groups "
                             f"{groups}")
        for key, value in (("kernel_size", kernel_size), ("stride", stride), ("dilation", dilation)):
            setattr(self, key, (_one(f"{name}: {key}", value),))
        if isinstance(padding, str):
            if transposed or padding not in ("same", "valid") or (padding == "same" and self.stride != (1,)):
                raise ValueError(f"{name}: padding must be an integer, or (not transposed) 'valid', or 'same' with stride 1; got "
                                 f"{padding!r}")
            self.padding = padding
        else:
            self.padding = (_one(f"{name}: padding", padding, 0),)
        if padding_mode not in (PADDING_MODES[:1] if transposed else PADDING_MODES):
            raise ValueError(f"{name}: padding_mode must be one of {', '.join(PADDING_MODES)} (transposed: zeros), got "
                             f"{padding_mode!r}")
        self.padding_mode, self.transposed = padding_mode, transposed
        self.output_padding = (_one(f"{name}: output_padding", output_padding, 0),)
        first, second = (in_channels, out_channels) if transposed else (out_channels, in_channels)
        self.weight = zero_parameter((first, second // self.groups, *self.kernel_size), dtype, device)
        self.register_parameter("bias", zero_parameter((self.out_channels,), dtype, device) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        fan_in_uniform_(self.weight, self.bias, rng)

    def extra_repr(self):
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", (0,)), ("dilation", (1,)), ("output_padding", (0,)), ("groups", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        text += ", bias=False" if self.bias is None else ""
        return text + ("" if self.padding_mode == "zeros" else f", padding_mode={self.padding_mode}")


class Conv1d(_Convolution1d):
    """F.conv1d with a weight (out, in/groups, k) and a bias (out); arguments as Conv2d."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, dilation=1, groups=1, bias=True,
                 padding_mode="zeros", device=None, dtype=None, *, rng=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, False, 0, groups, bias, padding_mode,
                         device, dtype, rng)

    def forward(self, input):
        padding = self.padding
        if self.padding_mode != "zeros":
            total = self.dilation[0] * (self.kernel_size[0] - 1) if padding == "same" else 0
            left, right = (total // 2, total - total // 2) if isinstance(padding, str) else padding * 2
            input, padding = F.pad(input, (left, right), self.padding_mode), 0
        return F.conv1d(input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups)


class ConvTranspose1d(_Convolution1d):
    """F.conv_transpose1d with a weight (in, out/groups, k) and a bias (out).

    forward(input, output_size=None): output_size picks the output_padding that gives this length.
    """

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, output_padding=0, groups=1, bias=True,
                 dilation=1, padding_mode="zeros", device=None, dtype=None, *, rng=None):
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, dilation, True, output_padding, groups, bias,
                         padding_mode, device, dtype, rng)

    def forward(self, input, output_size=None):
        extra = self.output_padding
        if output_size is not None:
            (k,), (s,), (p,), (d,) = self.kernel_size, self.stride, self.padding, self.dilation
            wanted = output_size[-1] if isinstance(output_size, (tuple, list)) else output_size
            least = (input.shape[-1] - 1) * s - 2 * p + d * (k - 1) + 1
            if not 0 <= wanted - least < s:
                raise ValueError(f"ConvTranspose1d: output_size {wanted} is out of reach for the input {input.shape}; it can lie "
                                 f"between {least} and {least + s - 1}")
            extra = (wanted - least,)
        return F.conv_transpose1d(input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation)


class MaxPool1d(Module):
    """The largest value under each window; stride defaults to the window. return_indices adds their positions."""

    def __init__(self, kernel_size, stride=None, padding=0, dilation=1, return_indices=False, ceil_mode=False):
        super().__init__()
        self.kernel_size, self.stride, self.padding = kernel_size, kernel_size if stride is None else stride, padding
        self.dilation, self.return_indices, self.ceil_mode = dilation, return_indices, ceil_mode

    def forward(self, input):
        return F.max_pool1d(input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode, self.return_indices)

    def extra_repr(self):
        return (f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, dilation={self.dilation}, "
                f"ceil_mode={self.ceil_mode}")


class AvgPool1d(Module):
    """The mean under each window; count_include_pad: padding counts too."""

    def __init__(self, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True):
        super().__init__()
        self.kernel_size, self.stride, self.padding = ((_one(f"AvgPool1d: {k}", v, least),) for k, v, least in (
            ("kernel_size", kernel_size, 1), ("stride", kernel_size if stride is None else stride, 1), ("padding", padding, 0)))
        self.ceil_mode, self.count_include_pad = ceil_mode, count_include_pad

    def forward(self, input):
        return F.avg_pool1d(input, self.kernel_size, self.stride, self.padding, self.ceil_mode, self.count_include_pad)

    def extra_repr(self):
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool1d(Module):
    """Means over windows chosen so that the output has length output_size."""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def forward(self, input):
        return F.adaptive_avg_pool1d(input, self.output_size)

    def extra_repr(self):
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(AdaptiveAvgPool1d):
    """The largest values of windows chosen so that the output has length output_size."""

    def __init__(self, output_size, return_indices=False):
        super().__init__(output_size)
        self.return_indices = return_indices

    def forward(self, input):
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class _Pad1d(Module):
    """padding: an int for both ends, or (left, right)."""

    _mode = "constant"

    def __init__(self, padding):
        super().__init__()
        widths = tuple(padding) if isinstance(padding, (tuple, list)) else (padding,) * 2
        if len(widths) != 2:
            raise ValueError(f"{type(self).__name__}: padding must be one integer or (left, right), got {padding!r}")
        self.padding = tuple(integer(f"{type(self).__name__}: padding", n) for n in widths)

    def forward(self, input):
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self):
        return f"{self.padding}"


class ReflectionPad1d(_Pad1d):
    """Pads with the mirror image, the end itself not repeated."""

    _mode = "reflect"


class ReplicationPad1d(_Pad1d):
    """Pads with the values at the ends."""

    _mode = "replicate"


class ConstantPad1d(_Pad1d):
    """Pads with one value."""

    def __init__(self, padding, value):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self):
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(ConstantPad1d):
    """Pads with zeros."""

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self):
        return f"{self.padding}"
