"""Operations on each element, with broadcasting. Forward and derivative side by side.

Published subgradients (tested literally): sqrt'(0) = inf, |x|'(0) = 0, sign' = 0, maximum and minimum split a tie in
halves, clamp passes the gradient on the closed interval [min, max], pow(x, 0)' = 0.

Imports: numpy, minigrad.autograd, minigrad.kernels.special, common, door.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.autograd import Variable, primitive
from minigrad.functional.common import as_array, binary, is_double, unary, unbroadcast
from minigrad.functional.door import number
from minigrad.kernels import special

# ---- arithmetic ------------------------------------------------------------------------------------------------------


@primitive
def add(a, b):
    """a + b"""
    return binary(np.add, a, b)


@add.vjp
def _(node, needs, g):
    return unbroadcast(g, node, 0) if needs[0] else None, unbroadcast(g, node, 1) if needs[1] else None


@primitive
def sub(a, b):
    """a - b"""
    return binary(np.subtract, a, b)


@sub.vjp
def _(node, needs, g):
    return unbroadcast(g, node, 0) if needs[0] else None, unbroadcast(-g, node, 1) if needs[1] else None


@primitive(saves=((1,), (0,)))
def mul(a, b):
    """a * b"""
    return binary(np.multiply, a, b)


@mul.vjp
def _(node, needs, g):
    a, b = node.inputs
    return unbroadcast(g * b, node, 0) if needs[0] else None, unbroadcast(g * a, node, 1) if needs[1] else None


@primitive(saves=((1,), (0, 1)))
def div(a, b):
    """a / b; true division also for integers (float32)."""
    return binary(np.true_divide, a, b)


@div.vjp
def _(node, needs, g):
    a, b = node.inputs
    da = g / b  # d(a/b)/da = 1/b,  d(a/b)/db = -(a/b)/b
    return unbroadcast(da, node, 0) if needs[0] else None, unbroadcast(-da * (a / b), node, 1) if needs[1] else None


@primitive(saves=((1,), (0,)))
def weigh(x, w):
    """x * w, and 0 where w = 0 and x is infinite: a weight of 0 leaves a term out."""
    out = binary(np.multiply, x, w)
    return np.where((w == 0) & np.isinf(x), out.dtype.type(0), out)


@weigh.vjp
def _(node, needs, g):
    x, w = node.inputs
    return unbroadcast(weigh(g, w), node, 0) if needs[0] else None, unbroadcast(g * x, node, 1) if needs[1] else None


@primitive
def neg(x):
    """-x"""
    return unary(np.negative, x)


@neg.vjp
def _(node, needs, g):
    return (-g,)


def _power(a, b):
    if isinstance(b, int) and b == 2:
        return np.square(a)
    return np.power(a, b)


@primitive(saves=((0, 1), (0, 1)), saves_out=(0,))
def pow(a, b):
    """a ** b. The derivative with respect to b is 0 where a = 0 and b >= 0."""
    return binary(_power, a, b)


@pow.vjp
def _(node, needs, g):
    a, b = node.inputs
    da = db = None
    if needs[0]:
        if isinstance(b, Variable):  # b a^(b-1), and 0 for b = 0 also where a = 0
            da = unbroadcast(g * where(b.array == 0, 0.0, b * pow(a, b - 1)), node, 0)
        elif b == 0:
            da = g * 0.0 if g.array.shape == node.specs[0][0] else unbroadcast(g * 0.0, node, 0)
        elif b == 1:
            da = unbroadcast(g, node, 0)
        elif b == 2:
            da = unbroadcast(g * (a * 2), node, 0)
        else:
            da = unbroadcast(g * (pow(a, b - 1) * b), node, 0)
    if needs[1]:  # a^b log a; the logarithm is taken only where it counts, so that no NaN comes from the other branch
        if isinstance(a, Variable):
            zero = (a.array == 0) & (_raw(b) >= 0)
            log_a = log(where(zero, 1.0, a))
            db = g * node.output() * where(zero, 0.0, log_a)
        else:
            db = g * node.output() * (math.log(a) if a > 0 else 0.0 if a == 0 else math.nan)
        db = unbroadcast(db, node, 1)
    return da, db


def _raw(x):
    return x.array if isinstance(x, Variable) else x


# ---- exponentials, roots, trigonometry -------------------------------------------------------------------------------


@primitive(saves_out=(0,))
def exp(x):
    """e^x"""
    return unary(np.exp, x)


@exp.vjp
def _(node, needs, g):
    return (g * node.output(),)


@primitive(saves=((0,),))
def log(x):
    """Natural logarithm; log'(x) = 1/x."""
    return unary(np.log, x)


@log.vjp
def _(node, needs, g):
    return (g / node.inputs[0],)


@primitive(saves=((0,),))
def log1p(x):
    """log(1 + x), accurate near 0."""
    return unary(np.log1p, x)


@log1p.vjp
def _(node, needs, g):
    return (g / (node.inputs[0] + 1),)


@primitive(saves_out=(0,))
def expm1(x):
    """e^x - 1, accurate near 0."""
    return unary(np.expm1, x)


@expm1.vjp
def _(node, needs, g):
    return (g * (node.output() + 1),)


@primitive(saves_out=(0,))
def sqrt(x):
    """Square root; sqrt'(0) = inf."""
    return unary(np.sqrt, x)


@sqrt.vjp
def _(node, needs, g):
    return (g / (node.output() * 2),)


@primitive(saves=((0,),))
def sin(x):
    """sin x (radians)"""
    return unary(np.sin, x)


@sin.vjp
def _(node, needs, g):
    return (g * cos(node.inputs[0]),)


@primitive(saves=((0,),))
def cos(x):
    """cos x (radians)"""
    return unary(np.cos, x)


@cos.vjp
def _(node, needs, g):
    return (-g * sin(node.inputs[0]),)


@primitive(saves_out=(0,))
def tanh(x):
    """Hyperbolic tangent; tanh' = 1 - tanh^2."""
    return unary(np.tanh, x)


@tanh.vjp
def _(node, needs, g):
    y = node.output()
    return (g * (1 - y * y),)


def _sigmoid(x):
    # 1 / (1 + e^-x), and e^x / (1 + e^x) where x < 0: nothing overflows, and the tail keeps its leading digits
    if x.dtype.kind != "f":
        x = x.astype(np.float32)
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, tail) / (1 + tail)


@primitive(saves_out=(0,))
def sigmoid(x):
    """1 / (1 + e^-x); sigmoid' = s (1 - s)."""
    return unary(_sigmoid, x)


@sigmoid.vjp
def _(node, needs, g):
    s = node.output()
    return (g * (s * (1 - s)),)


@primitive(saves=((0,),))
def erf(x):
    """The error function 2/sqrt(pi) * integral of e^(-t^2) from 0 to x."""
    return unary(special.erf, x)


@erf.vjp
def _(node, needs, g):
    x = clamp(node.inputs[0], -30.0, 30.0)  # e^-900 is 0; no x^2 overflows
    return (g * exp(-(x * x)) * (2 / math.sqrt(math.pi)),)


# ---- kinks -----------------------------------------------------------------------------------------------------------


@primitive(saves=((0,),))
def abs(x):
    """|x|, with subgradient 0 at 0."""
    return unary(np.abs, x)


@abs.vjp
def _(node, needs, g):
    return (g * sign(node.inputs[0]),)


@primitive
def sign(x):
    """-1, 0 or 1; its derivative is 0 everywhere. NaN stays NaN."""
    return unary(np.sign, x)


@sign.vjp
def _(node, needs, g):
    return (g * 0.0,)


@primitive(saves=((), (0,), (0,)))
def where(condition, a, b):
    """a where condition holds, else b. `condition` is a constant (a bool array or Tensor).

    The branch not taken gets the gradient 0 without a product, so an infinite value there does not leak. The derivative
    of what was computed for that branch may still be NaN: mask before the operation (the "double where").
    """
    out = np.where(condition, a, b)
    if out.dtype.char == "d" and not (is_double(a) or is_double(b)):
        out = out.astype(np.float32)
    return out


@where.vjp
def _(node, needs, g):
    condition = _raw(node.inputs[0])
    return (
        None,
        unbroadcast(where(condition, g, 0.0), node, 1) if needs[1] else None,
        unbroadcast(where(condition, 0.0, g), node, 2) if needs[2] else None,
    )


@primitive(saves=((0, 1), (0, 1)))
def maximum(a, b):
    """The larger of a and b; at a tie each gets half the gradient. NaN propagates."""
    return binary(np.maximum, a, b)


@maximum.vjp
def _(node, needs, g):
    return _select(node, needs, g, np.greater)


@primitive(saves=((0, 1), (0, 1)))
def minimum(a, b):
    """The smaller of a and b; at a tie each gets half the gradient. NaN propagates."""
    return binary(np.minimum, a, b)


@minimum.vjp
def _(node, needs, g):
    return _select(node, needs, g, np.less)


def _select(node, needs, g, wins):
    a, b = (_raw(x) for x in node.inputs)
    share = (wins(a, b) + (a == b) * 0.5).astype(g.array.dtype)  # 1, 1/2 or 0: constant almost everywhere
    return (
        unbroadcast(g * share, node, 0) if needs[0] else None,
        unbroadcast(g * (1 - share), node, 1) if needs[1] else None,
    )


def clamp(x, min=None, max=None):
    """x limited to [min, max] (numbers or Tensors; either may be None). The gradient passes where min <= x <= max."""
    if min is None and max is None:
        raise ValueError("clamp: give min, max or both")
    if any(isinstance(v, Variable) or getattr(v, "shape", ()) for v in (min, max)):
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    low, high = (None if v is None else number("clamp", v) for v in (min, max))
    return _clamp(x, low=low, high=high)


@primitive(saves=((0,),))
def _clamp(x, low, high):
    """min(max(x, low), high); None is no limit."""
    if x.dtype.kind in "iub" and (isinstance(low, float) or isinstance(high, float)):
        x = x.astype(np.float32)
    if low is not None:
        x = np.maximum(x, low)
    return as_array(x if high is None else np.minimum(x, high))  # where low > high, all is high, as in PyTorch


@_clamp.vjp
def _(node, needs, g, low, high):
    x = node.inputs[0].array
    inside = np.ones_like(x, dtype=bool)
    if low is not None:
        inside &= x >= low
    if high is not None:
        inside &= x <= high
    return (where(inside, g, 0.0),)
