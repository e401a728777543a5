"""Changing a leaf in place: fill_, add_, clamp_, x[i] = y, and what `x -= y` means. A mixin of `Tensor`.

One rule, in `InPlace.changed`: a leaf may be changed, each change goes through its version, which the sweep checks. Not changed are
a computed tensor (the error says what to write instead) and, while calls are recorded, a leaf that requires a gradient (write
`with no_grad():`, or use `.data`). The dtype stays: what would turn integers into fractions is refused.

x += y and its like: under `no_grad` a leaf changes; a recorded leaf that requires a gradient is refused; otherwise the name x gets
the result of x + y, and the old tensor stays as it was.

Imports: numpy, minigrad.functional, autograd, random.
"""

from __future__ import annotations

import numpy as np

from minigrad.autograd import Variable, is_grad_enabled
from minigrad.functional import arithmetic as _n
from minigrad.functional import elementwise as _e
from minigrad.functional.common import numpy_names
from minigrad.functional.door import number
from minigrad.functional.indexing import split_index
from minigrad.functional.sorting import scatter_places
from minigrad.random import as_stream


def _array(x):
    return x.array if isinstance(x, Variable) else x


class InPlace:
    """PyTorch's methods whose names end in _, and the assignments."""

    __slots__ = ()

    def changed(self, name: str, *used) -> None:
        """Raise RuntimeError unless self may be changed in place by `name`, with the values `used`; bump the version."""
        plain = name.strip("_")
        if self.node is not None:
            instead = f"x = x.{plain}(...)" if name.endswith("_") and hasattr(self, plain) else "minigrad.where(mask, a, b)"
            raise RuntimeError(f"{name}: this tensor was computed from others, and its graph may need its values; write "
                               f"{instead} to make a new one")
        if is_grad_enabled():
            if self.tracked:
                raise RuntimeError(f"{name}: a leaf that requires a gradient is changed while calls are recorded; write "
                                   f"`with minigrad.no_grad():` around it, or change x.data")
            if any(isinstance(v, Variable) and v.tracked for v in used):
                raise RuntimeError(f"{name}: what is written requires a gradient, which would be lost in a tensor that is "
                                   "changed in place; make a new one with minigrad.where, cat or stack, or .detach() it")
        self.version_cell[0] += 1

    def _become(self, name: str, value, *used):
        """self, holding `value` (an array or Tensor that broadcasts to it)."""
        value = _array(value)
        if getattr(value, "dtype", self.array.dtype).kind == "f" and self.array.dtype.kind != "f":
            raise TypeError(f"{name}: the result holds {value.dtype} and cannot be written into {self.array.dtype}; convert first")
        if np.broadcast_shapes(np.shape(value), self.shape) != self.shape:
            raise ValueError(f"{name}: the result of shape {np.shape(value)} does not fit into {self.shape}")
        self.changed(name, *used)
        self.array[...] = value
        return self

    # ---- filled ------------------------------------------------------------------------------------------------------

    def fill_(self, value):
        """Every element is `value`, a number."""
        self.changed("fill_", value)
        self.array[...] = number("fill_: value", value)
        return self

    def zero_(self):
        """Every element is 0."""
        self.changed("zero_")
        self.array[...] = 0
        return self

    def copy_(self, src, non_blocking=False):
        """The values of `src`, which broadcasts; converted to self's dtype."""
        given, src = src, self.result_type.from_data(src)
        if np.broadcast_shapes(src.shape, self.shape) != self.shape:
            raise ValueError(f"copy_: a tensor of shape {src.shape} does not fit into {self.shape}")
        self.changed("copy_", given)
        self.array[...] = src.to(self.device).array
        return self

    def _drawn(self, name, draw):
        self.changed(name)
        values = draw(np.float64 if self.dtype == np.float64 else np.float32)
        self.array[...] = values if isinstance(self.array, np.ndarray) else np.asarray(values, like=self.array)
        return self

    def normal_(self, mean=0.0, std=1.0, *, rng=None):
        """Normal numbers, drawn from `rng` (None: the default stream)."""
        mean, std = number("normal_: mean", mean), number("normal_: std", std)
        return self._drawn("normal_", lambda t: as_stream(rng).normal(self.shape, t, mean=mean, std=std))

    def uniform_(self, low=0.0, high=1.0, *, rng=None):
        """Uniform numbers in [low, high), drawn from `rng` (None: the default stream)."""
        low, high = number("uniform_: low", low), number("uniform_: high", high)
        return self._drawn("uniform_", lambda t: as_stream(rng).uniform(low, high, self.shape, t))

    def bernoulli_(self, p=0.5, *, rng=None):
        """1 with probability p (a number or Tensor), else 0."""
        return self._drawn("bernoulli_", lambda t: as_stream(rng).bernoulli(_array(p), self.shape, t))

    def random_(self, low=0, high=None, *, rng=None):
        """Integers in [low, high); random_(n) draws from [0, n); without bounds as many as the dtype holds exactly."""
        if high is None and low:
            low, high = 0, low
        elif high is None:
            high = {"float32": 2**24, "float64": 2**53, "bool": 2}.get(self.dtype.name) or np.iinfo(self.dtype).max
        return self._drawn("random_", lambda t: as_stream(rng).integers(low, high, self.shape))

    # ---- arithmetic --------------------------------------------------------------------------------------------------

    def add_(self, other, *legacy, alpha=1):
        """self + alpha * other; in old scripts also add_(alpha, other)."""
        other, alpha = (legacy[0], other) if legacy else (other, alpha)
        return self._become("add_", _n.add(self.detach(), other, alpha=alpha), other)

    def sub_(self, other, *legacy, alpha=1):
        """self - alpha * other; in old scripts also sub_(alpha, other)."""
        other, alpha = (legacy[0], other) if legacy else (other, alpha)
        return self._become("sub_", _n.sub(self.detach(), other, alpha=alpha), other)

    def mul_(self, other):
        """self * other"""
        return self._become("mul_", _e.mul(self.detach(), other), other)

    def div_(self, other, *, rounding_mode=None):
        """self / other"""
        return self._become("div_", _n.div(self.detach(), other, rounding_mode=rounding_mode), other)

    def pow_(self, exponent):
        """self ** exponent"""
        return self._become("pow_", _e.pow(self.detach(), exponent), exponent)

    def addcmul_(self, *args, value=1):
        """self + value * tensor1 * tensor2; in old scripts also addcmul_(value, tensor1, tensor2)."""
        value, first, second = (value, *args) if len(args) == 2 else args
        return self._become("addcmul_", _n.addcmul(self.detach(), first, second, value=value), first, second)

    def addcdiv_(self, *args, value=1):
        """self + value * tensor1 / tensor2; in old scripts also addcdiv_(value, tensor1, tensor2)."""
        value, first, second = (value, *args) if len(args) == 2 else args
        return self._become("addcdiv_", _n.addcdiv(self.detach(), first, second, value=value), first, second)

    def lerp_(self, end, weight):
        """self + weight * (end - self)"""
        return self._become("lerp_", _n.lerp(self.detach(), end, weight), end, weight)

    def clamp_(self, min=None, max=None):
        """Limited to [min, max]."""
        return self._become("clamp_", _e.clamp(self.detach(), min, max), min, max)

    clip_ = clamp_

    def clamp_min_(self, min):
        """At least `min`."""
        return self._become("clamp_min_", _e.clamp(self.detach(), min), min)

    def clamp_max_(self, max):
        """At most `max`."""
        return self._become("clamp_max_", _e.clamp(self.detach(), None, max), max)

    # ---- parts -------------------------------------------------------------------------------------------------------

    def masked_fill_(self, mask, value):
        """`value` where the mask holds."""
        return self._become("masked_fill_", self.detach().masked_fill(mask, value), value)

    @numpy_names
    def scatter_(self, dim, index, src=None, *, value=None):
        """self[i, index[i, j]] = src[i, j] for dim 1; src is a Tensor of index's shape or larger, or a number."""
        places, values = scatter_places("scatter_", self, dim, index, value if src is None else src)
        self.changed("scatter_", src)
        self.array[places] = values
        return self

    @numpy_names
    def scatter_add_(self, dim, index, src):
        """self[i, index[i, j]] += src[i, j] for dim 1."""
        places, values = scatter_places("scatter_add_", self, dim, index, src)
        self.changed("scatter_add_", src)
        np.add.at(self.array, places, values)
        return self

    def __setitem__(self, index, value):
        """x[index] = value, of a leaf under `no_grad`; while calls are recorded it is a TypeError that says what to write."""
        if is_grad_enabled():
            raise TypeError("a Tensor is not changed in place while calls are recorded: use minigrad.where(mask, a, b) or "
                            "minigrad.cat to build the new value, .assign_(...) to overwrite a whole leaf, or write "
                            "x[index] = value inside `with minigrad.no_grad():`")
        self.changed("x[index] = value", value)
        basic, advanced = split_index(self.shape, index)
        if advanced is None:
            self.array[basic] = _array(value)
        else:
            self.array[basic][advanced] = _array(value)

    @numpy_names
    def unsqueeze_(self, dim):
        """A new axis; the tensor itself gets the new shape."""
        return self._shaped("unsqueeze_", self.detach().unsqueeze(dim))

    @numpy_names
    def squeeze_(self, dim=None):
        """Axes of length 1 removed; the tensor itself gets the new shape."""
        return self._shaped("squeeze_", self.detach().squeeze(dim))

    def t_(self):
        """Two axes exchanged; the tensor itself gets the new shape."""
        return self._shaped("t_", self.detach().t())

    def resize_(self, *sizes):
        """The tensor itself gets another shape; of another number of elements, the first are kept and new ones are 0."""
        sizes = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)) else sizes
        return self._shaped("resize_", self.wrap(np.resize(self.array, sizes) if self.array.size == np.prod(sizes, dtype=int)
                                                 else _resized(self.array, sizes)))

    resize_as_ = lambda self, other: self.resize_(*other.shape)  # noqa: E731

    def _shaped(self, name, new):
        self.changed(name)
        self.array = new.array
        return self


def _resized(array, sizes):
    out = np.zeros_like(array, shape=sizes)
    count = min(out.size, array.size)
    out.reshape(-1)[:count] = array.reshape(-1)[:count]
    return out


def _unary(name):
    def method(self):
        return self._become(f"{name}_", getattr(self.detach(), name)())

    method.__name__, method.__doc__ = f"{name}_", f"{name} of every element."
    return method


for _name in ("abs", "exp", "log", "sqrt", "rsqrt", "sin", "cos", "tanh", "sigmoid", "relu", "neg", "sign", "floor", "ceil",
              "round", "trunc", "reciprocal", "square"):
    setattr(InPlace, f"{_name}_", _unary(_name))


def _assignment(symbol, operator):
    def method(self, other):
        if self.node is None and not is_grad_enabled():
            return self._become(symbol, operator(self.detach(), other))
        if self.node is None and self.tracked:
            self.changed(symbol)  # raises
        return operator(self, other)

    method.__name__ = f"__i{operator.__name__}__"
    return method


for _symbol, _name, _operator in (("+=", "add", _e.add), ("-=", "sub", _e.sub), ("*=", "mul", _e.mul), ("/=", "truediv", _e.div),
                                  ("**=", "pow", _e.pow), ("//=", "floordiv", _n.floor_divide), ("%=", "mod", _n.remainder)):
    setattr(InPlace, f"__i{_name}__", _assignment(_symbol, _operator))
