"""Activations that this field uses seldom, as modules; what each computes stands in `minigrad.functional`.

Imports: numpy, minigrad.functional, linear, module.
"""

from __future__ import annotations

import numpy as np

from minigrad import functional as F
from minigrad.functional.common import integer
from minigrad.nn.linear import zero_parameter
from minigrad.nn.module import Module


class _Inplace(Module):
    """`inplace` is accepted and changes nothing but the repr."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return self._function(input)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class SELU(_Inplace):
    """F.selu: scale * elu(x, alpha)."""

    _function = staticmethod(F.selu)


class SiLU(_Inplace):
    """F.silu: x * sigmoid(x)."""

    _function = staticmethod(F.silu)


class Mish(_Inplace):
    """F.mish: x * tanh(log(1 + e^x))."""

    _function = staticmethod(F.mish)


class Hardswish(Module):
    """F.hardswish: x * relu6(x + 3) / 6."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardswish(input)


class Hardsigmoid(Module):
    """F.hardsigmoid: relu6(x + 3) / 6."""

    def __init__(self, inplace=False):
        super().__init__()
        self.inplace = inplace

    def forward(self, input):
        return F.hardsigmoid(input)


class Hardtanh(Module):
    """F.hardtanh: x between min_val and max_val, the nearer of them elsewhere."""

    def __init__(self, min_val=-1.0, max_val=1.0, inplace=False):
        super().__init__()
        if not min_val < max_val:
            raise ValueError(f"Hardtanh: min_val must be below max_val, got {min_val} and {max_val}")
        self.min_val, self.max_val, self.inplace = min_val, max_val, inplace

    def forward(self, input):
        return F.hardtanh(input, self.min_val, self.max_val)

    def extra_repr(self):
        return f"min_val={self.min_val}, max_val={self.max_val}" + (", inplace=True" if self.inplace else "")


class ReLU6(Hardtanh):
    """F.relu6: min(max(x, 0), 6)."""

    def __init__(self, inplace=False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self):
        return "inplace=True" if self.inplace else ""


class CELU(Module):
    """F.celu: x where x > 0, else alpha * (e^(x / alpha) - 1)."""

    def __init__(self, alpha=1.0, inplace=False):
        super().__init__()
        self.alpha, self.inplace = alpha, inplace

    def forward(self, input):
        return F.celu(input, self.alpha)

    def extra_repr(self):
        return f"alpha={self.alpha}" + (", inplace=True" if self.inplace else "")


class Softsign(Module):
    """F.softsign: x / (1 + |x|)."""

    def forward(self, input):
        return F.softsign(input)


class Tanhshrink(Module):
    """F.tanhshrink: x - tanh(x)."""

    def forward(self, input):
        return F.tanhshrink(input)


class _Shrink(Module):
    def __init__(self, lambd=0.5):
        super().__init__()
        self.lambd = lambd

    def extra_repr(self):
        return str(self.lambd)


class Softshrink(_Shrink):
    """F.softshrink: x moved towards 0 by lambd."""

    def forward(self, input):
        return F.softshrink(input, self.lambd)


class Hardshrink(_Shrink):
    """F.hardshrink: x, and 0 where |x| <= lambd."""

    def forward(self, input):
        return F.hardshrink(input, self.lambd)


class Threshold(Module):
    """F.threshold: x where x > threshold, else value."""

    def __init__(self, threshold, value, inplace=False):
        super().__init__()
        self.threshold, self.value, self.inplace = threshold, value, inplace

    def forward(self, input):
        return F.threshold(input, self.threshold, self.value)

    def extra_repr(self):
        return f"threshold={self.threshold}, value={self.value}" + (", inplace=True" if self.inplace else "")


class PReLU(Module):
    """F.prelu with a trained weight: one for all, or num_parameters for as many channels. They start at init."""

    def __init__(self, num_parameters=1, init=0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters, self.init = integer("PReLU: num_parameters", num_parameters, 1), init
        self.weight = zero_parameter((self.num_parameters,), dtype, device)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """All weights are init."""
        self.weight.assign_(np.full(self.num_parameters, self.init) if self.weight.device == "cpu" else self.init)

    def forward(self, input):
        return F.prelu(input, self.weight)

    def extra_repr(self):
        return f"num_parameters={self.num_parameters}"


class GLU(Module):
    """F.glu: a * sigmoid(b), a and b being the halves along dim."""

    def __init__(self, dim=-1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        return F.glu(input, self.dim)

    def extra_repr(self):
        return f"dim={self.dim}"


class Softmax2d(Module):
    """softmax over the channels of (N, C, H, W) or (C, H, W)."""

    def forward(self, input):
        if input.ndim not in (3, 4):
            raise ValueError(f"Softmax2d: input must be (N, C, H, W) or (C, H, W), got {input.shape}")
        return F.softmax(input, -3)
