"""More arithmetic of single elements: sums with a factor, quotients, rounding, powers of ten and two, angles.

Names, arguments and values are PyTorch's. Functions with steps (floor, round, sign and their like) have the derivative 0; that of
a remainder is 1 in the dividend and minus the whole quotient in the divisor. round takes halves to the even neighbour.

Imports: numpy, minigrad.autograd, common, door, elementwise.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import Variable, primitive
from minigrad.functional.common import binary, integer, unary, unbroadcast
from minigrad.functional.door import number
from minigrad.functional.elementwise import add as plus
from minigrad.functional.elementwise import clamp, cos, exp, log, pow, sin, sqrt, tanh
from minigrad.functional.elementwise import div as quotient
from minigrad.functional.elementwise import mul as times
from minigrad.functional.elementwise import sub as minus

# ---- sums and quotients ----------------------------------------------------------------------------------------------


def add(input, other, *, alpha=1):
    """input + alpha * other"""
    return plus(input, _scaled(other, alpha))


def sub(input, other, *, alpha=1):
    """input - alpha * other"""
    return minus(input, _scaled(other, alpha))


def _scaled(x, alpha):
    alpha = number("alpha", alpha)
    return x if type(alpha) is int and alpha == 1 else x * alpha


def div(input, other, *, rounding_mode=None):
    """input / other, true division also of integers; rounding_mode 'floor' or 'trunc' rounds the quotient down or towards 0."""
    if rounding_mode is None:
        return quotient(input, other)
    if rounding_mode not in ("floor", "trunc"):
        raise ValueError(f"div: rounding_mode must be None, 'floor' or 'trunc', got {rounding_mode!r}")
    return floor_divide(input, other) if rounding_mode == "floor" else _truncated(input, other)


def floor_divide(input, other):
    """The largest integer that is not above input / other; the derivative is 0. Integers stay integers."""
    return _floored(input, other)


@primitive
def _floored(a, b):
    """floor(a / b)"""
    return binary(np.floor_divide, a, b)


@_floored.vjp
def _(node, needs, g):
    return unbroadcast(g * 0.0, node, 0) if needs[0] else None, unbroadcast(g * 0.0, node, 1) if needs[1] else None


@primitive
def _truncated(a, b):
    """a / b rounded towards 0."""
    if all(np.asarray(v).dtype.kind in "iub" for v in (a, b)):
        return binary(lambda a, b: (np.abs(a) // np.abs(b)) * (np.sign(a) * np.sign(b)), a, b)
    return binary(lambda a, b: np.trunc(np.true_divide(a, b)), a, b)


@_truncated.vjp
def _(node, needs, g):
    return unbroadcast(g * 0.0, node, 0) if needs[0] else None, unbroadcast(g * 0.0, node, 1) if needs[1] else None


def remainder(input, other):
    """input - floor(input / other) * other: the sign is the divisor's, as of Python's %."""
    return _remainder(input, other)


@primitive(saves=((), (0, 1)))
def _remainder(a, b):
    """a - floor(a / b) * b"""
    return binary(np.remainder, a, b)


@_remainder.vjp
def _(node, needs, g):
    a, b = node.inputs
    return (unbroadcast(g, node, 0) if needs[0] else None,
            unbroadcast(-g * _floored(a, b), node, 1) if needs[1] else None)


def fmod(input, other):
    """input - trunc(input / other) * other: the sign is the dividend's, as of C's fmod."""
    return _fmod(input, other)


@primitive(saves=((), (0, 1)))
def _fmod(a, b):
    """a - trunc(a / b) * b"""
    return binary(np.fmod, a, b)


@_fmod.vjp
def _(node, needs, g):
    a, b = node.inputs
    return (unbroadcast(g, node, 0) if needs[0] else None,
            unbroadcast(-g * _truncated(a, b), node, 1) if needs[1] else None)


def addcmul(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 * tensor2"""
    return plus(input, _scaled(times(tensor1, tensor2), value))


def addcdiv(input, tensor1, tensor2, *, value=1):
    """input + value * tensor1 / tensor2"""
    return plus(input, _scaled(quotient(tensor1, tensor2), value))


def lerp(input, end, weight):
    """input + weight * (end - input), a point on the line between them; weight is a number or a Tensor."""
    return plus(input, times(minus(end, input), weight))


def clamp_min(input, min):
    """input, at least `min`."""
    return clamp(input, min)


def clamp_max(input, max):
    """input, at most `max`."""
    return clamp(input, None, max)


def square(input):
    """input * input"""
    return pow(input, 2)


def reciprocal(input):
    """1 / input"""
    return quotient(1.0, input)


def rsqrt(input):
    """1 / sqrt(input)"""
    return quotient(1.0, sqrt(input))


# ---- steps -----------------------------------------------------------------------------------------------------------


@primitive
def floor(x):
    """The largest integer that is not above x; the derivative is 0."""
    return unary(np.floor, x)


@floor.vjp
def _(node, needs, g):
    return (g * 0.0,)


@primitive
def ceil(x):
    """The smallest integer that is not below x; the derivative is 0."""
    return unary(np.ceil, x)


@ceil.vjp
def _(node, needs, g):
    return (g * 0.0,)


@primitive
def trunc(x):
    """x without its fraction; the derivative is 0."""
    return unary(np.trunc, x)


@trunc.vjp
def _(node, needs, g):
    return (g * 0.0,)


@primitive
def _rint(x):
    """The nearest integer, halves to the even one; the derivative is 0."""
    return unary(np.rint, x)


@_rint.vjp
def _(node, needs, g):
    return (g * 0.0,)


def round(input, decimals=0):
    """The nearest number of `decimals` decimals, halves to the even one; the derivative is 0."""
    if integer("round: decimals", decimals) == 0:
        return _rint(input)
    scale = 10.0 ** abs(decimals)
    return _rint(input * scale) / scale if decimals > 0 else _rint(input / scale) * scale


def frac(input):
    """input - trunc(input)"""
    return input - trunc(input)


# ---- powers and logarithms of other bases, angles --------------------------------------------------------------------


def log2(input):
    """Logarithm to the base 2."""
    return _log_base(input, base=2)


def log10(input):
    """Logarithm to the base 10."""
    return _log_base(input, base=10)


@primitive(saves=((0,),))
def _log_base(x, base):
    """log x / log base"""
    return unary(np.log2 if base == 2 else np.log10, x)


@_log_base.vjp
def _(node, needs, g, base):
    return (g / (node.inputs[0] * math.log(base)),)


@primitive(saves_out=(0,))
def exp2(x):
    """2^x"""
    return unary(np.exp2, x)


@exp2.vjp
def _(node, needs, g):
    return (g * (node.output() * math.log(2)),)


def sinh(input):
    """(e^x - e^-x) / 2"""
    return _hyperbolic(input, odd=True)


def cosh(input):
    """(e^x + e^-x) / 2"""
    return _hyperbolic(input, odd=False)


@primitive(saves=((0,),))
def _hyperbolic(x, odd):
    """sinh x (odd) or cosh x."""
    return unary(np.sinh if odd else np.cosh, x)


@_hyperbolic.vjp
def _(node, needs, g, odd):
    return (g * _hyperbolic(node.inputs[0], odd=not odd),)


def tan(input):
    """sin x / cos x (radians)"""
    return sin(input) / cos(input)


@primitive(saves=((0,),))
def asin(x):
    """The angle in [-pi/2, pi/2] whose sine is x; the derivative at -1 and 1 is infinite."""
    return unary(np.arcsin, x)


@asin.vjp
def _(node, needs, g):
    x = node.inputs[0]
    return (g / sqrt((1 - x) * (1 + x)),)


@primitive(saves=((0,),))
def acos(x):
    """The angle in [0, pi] whose cosine is x; the derivative at -1 and 1 is infinite."""
    return unary(np.arccos, x)


@acos.vjp
def _(node, needs, g):
    x = node.inputs[0]
    return (-g / sqrt((1 - x) * (1 + x)),)


@primitive(saves=((0,),))
def atan(x):
    """The angle in [-pi/2, pi/2] whose tangent is x."""
    return unary(np.arctan, x)


@atan.vjp
def _(node, needs, g):
    x = node.inputs[0]
    return (g / (1 + x * x),)


@primitive(saves=((0, 1), (0, 1)))
def atan2(a, b):
    """The angle of the point (b, a): atan(a / b) in the right quadrant."""
    return binary(np.arctan2, a, b)


@atan2.vjp
def _(node, needs, g):
    a, b = node.inputs
    scale = g / (a * a + b * b)
    return (unbroadcast(scale * b, node, 0) if needs[0] else None,
            unbroadcast(-scale * a, node, 1) if needs[1] else None)


def logit(input, eps=None):
    """log(x / (1 - x)), the inverse of sigmoid; with eps, x is limited to [eps, 1 - eps] first."""
    x = input if eps is None else clamp(input, eps, 1 - number("logit: eps", eps))
    return log(x) - log(1 - x)


def tanhshrink(input):
    """x - tanh(x)"""
    return input - tanh(input)


def logaddexp(input, other):
    """log(e^a + e^b), without overflow."""
    return _logaddexp(input, other)


@primitive(saves=((0, 1), (0, 1)), saves_out=(0,))
def _logaddexp(a, b):
    """log(e^a + e^b)"""
    return binary(np.logaddexp, a, b)


@_logaddexp.vjp
def _(node, needs, g):
    y = node.output()
    return [unbroadcast(g * exp((x if isinstance(x, Variable) else g.wrap(np.asarray(x, g.dtype))) - y), node, i) if need else None
            for i, (x, need) in enumerate(zip(node.inputs, needs, strict=True))]
