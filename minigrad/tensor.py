"""`Tensor`: an array (NumPy or CuPy) and its place in the graph.

Names, argument order and meaning are PyTorch's. `.array` is the array itself. An operation never changes a Tensor. Leaves can be
changed: by `assign_`, by the methods of `inplace`, and by `x.data = y`, which gives x another array.

dtypes: float32 by default; float64 is kept where it is given and is meant for checking derivatives. Python numbers and
integer Tensors never widen a float32. Two floating dtypes promote as in NumPy. What becomes a tensor: `functional.door`.

Imports: numpy, minigrad.functional, absent, autograd, conversion, devices, hooks, inplace.
"""

from __future__ import annotations

import builtins
from sys import getrefcount

import numpy as np

from minigrad.absent import missing
from minigrad.autograd import Variable, backward, make_variable
from minigrad.conversion import Conversion, Size, array_from, constructed
from minigrad.devices import CPU, CUDA
from minigrad.functional import activation as _a
from minigrad.functional import arithmetic as _n
from minigrad.functional import comparison as _c
from minigrad.functional import elementwise as _e
from minigrad.functional import indexing as _i
from minigrad.functional import products as _p
from minigrad.functional import reduction as _r
from minigrad.functional import shape as _s
from minigrad.functional import sorting as _o
from minigrad.functional.door import operand
from minigrad.functional.linear import matmul as _matmul
from minigrad.hooks import never_filled, register_hook, retain_grad
from minigrad.inplace import InPlace

float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
int64, bool = np.dtype(np.int64), np.dtype(np.bool_)


class Tensor(InPlace, Conversion, Variable):
    """An array and its place in the graph. `tensor(data)` makes one in the data's own dtype.

    The constructor is PyTorch's: Tensor(data) converts to float32 (so a float64 array of NumPy's does not slow a network down), and
    Tensor(2, 3) is a tensor of that size, filled with zeros.
    """

    __slots__ = ("name",)
    __array_ufunc__ = None  # NumPy defers: array * tensor is Tensor.__rmul__
    __hash__ = object.__hash__

    def __init__(self, *data, dtype=float32, device=None, requires_grad=False):
        self.start(constructed(data, dtype, device), requires_grad)

    def start(self, array, requires_grad=False) -> Tensor:
        """Become a leaf around `array`: what constructors of subclasses call."""
        self.array, self.node, self.index, self.cell, self.grad, self.tracked = array, None, 0, None, None, False
        if requires_grad:
            self.requires_grad_()
        return self

    # ---- what the engine asks ------------------------------------------------------------------------------------

    @staticmethod
    def spec(array):
        return array.shape, array.dtype

    @staticmethod
    def describe(spec):
        return f"of shape {spec[0]}, {spec[1]}"

    @staticmethod
    def differentiable(array):
        return array.dtype.kind == "f"

    constant = staticmethod(operand)

    @staticmethod
    def quietly(forward, arrays, kw):
        with np.errstate(all="ignore"):
            return forward(*arrays, **kw)

    @classmethod
    def wrap(cls, array) -> Tensor:
        """A constant Tensor around an array, without checks or copies."""
        return make_variable(cls.result_type, array, None, 0)

    def ones_like(self) -> Tensor:
        if self.array.size != 1:
            raise RuntimeError(f"grad: the output has shape {self.shape}; without an explicit cotangent it must have one "
                               "element. Reduce it (.sum() or .mean()) or pass the cotangent.")
        return self.wrap(np.ones_like(self.array))

    def memory_is_shared(self, alone) -> bool:
        array, held = self.array, alone + 1  # held twice: by the name `array` and by self
        if getrefcount(array) > held or type(array) is not np.ndarray or not array.flags.writeable:
            return True
        base = array.base
        return base is not None and (type(base) is not np.ndarray or base.base is not None or getrefcount(base) > held)

    def accumulate_(self, other) -> Tensor:
        array = self.array
        try:
            array += other.array
        except FloatingPointError:
            pass  # NumPy was told to raise at an overflow; it does so when all elements are written
        self.version_cell[0] += 1
        return self

    def owned(self, handed_out) -> Tensor:
        root = self.array
        while getattr(root, "base", None) is not None:
            root = root.base
        flags = self.array.flags
        t = self
        if id(root) in handed_out or not getattr(flags, "writeable", True) or 0 in self.array.strides:
            t = _s.clone(self)
            if 0 in t.array.strides:
                t = _s.contiguous(t)
            root = t.array
        handed_out.add(id(root))
        return t

    def backward(self, gradient=None, retain_graph=None, *, inputs=None, **absent) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires one (or of `inputs`): see `autograd.backward`.

        `gradient` is the cotangent of self (default: ones, for a value with one element).
        """
        if absent.pop("create_graph", False) or absent:
            raise TypeError("backward: takes gradient, retain_graph and inputs; create_graph is an argument of grad() alone, "
                            "because .grad would hold the graph that holds the leaf")
        backward(self, gradient, retain_graph, inputs=inputs)

    # ---- attributes ----------------------------------------------------------------------------------------------

    shape = property(lambda self: self.array.shape, doc="Sizes of the axes, a tuple of ints.")
    dtype = property(lambda self: self.array.dtype, doc="The NumPy dtype.")
    ndim = property(lambda self: self.array.ndim, doc="Number of axes.")
    device = property(lambda self: CPU if isinstance(self.array, np.ndarray) else CUDA, doc="'cpu' or 'cuda'.")
    is_cuda = property(lambda self: not isinstance(self.array, np.ndarray), doc="Whether it lies on a GPU.")
    grad_fn = property(lambda self: self.node, doc="The recorded call that made it, None for a leaf.")
    is_leaf = property(lambda self: self.node is None, doc="True unless a recorded operation made it.")
    T = property(lambda self: _s.permute(self, tuple(reversed(range(self.ndim)))), doc="All axes reversed.")
    mT = property(lambda self: _s.transpose(self, -1, -2), doc="The last two axes exchanged.")

    @property
    def data(self) -> Tensor:
        """Read: `detach()`, the same memory outside the graph. Assigned: another array for this tensor, shared with the value;
        graphs recorded before go on reading the old one."""
        return self.detach()

    @data.setter
    def data(self, value) -> None:
        value = value if isinstance(value, Variable) else tensor(value)
        if self.tracked and value.array.dtype.kind != "f":
            raise TypeError(f"data: a tensor that requires a gradient holds floating-point numbers, not {value.dtype}")
        self.array = value.array
        if self.node is None:
            self.cell = value.version_cell

    def size(self, dim=None):
        return Size(self.array.shape) if dim is None else self.array.shape[dim]

    def numel(self) -> int:
        return builtins.int(self.array.size)

    nelement = numel

    def dim(self) -> int:
        return self.array.ndim

    ndimension = dim

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (shared memory on the CPU). Raises RuntimeError inside a graph: detach first."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; call .detach().numpy() (or use .array)")
        return self.array if isinstance(self.array, np.ndarray) else self.array.get()

    def __array__(self, dtype=None, copy=None):
        """np.asarray(t): the values, shared where NumPy asks for no copy. Raises RuntimeError where a gradient is required."""
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __format__(self, spec):
        return format(self.item(), spec) if spec and self.array.size == 1 else object.__format__(str(self), spec)

    def item(self):
        """The only element as a Python number."""
        if self.array.size != 1:
            raise ValueError(f"item: a tensor of shape {self.shape} has {self.array.size} elements, not one")
        return self.array.item()

    def tolist(self):
        return self.array.tolist()

    def requires_grad_(self, requires_grad=True) -> Tensor:
        if self.node is not None:
            raise RuntimeError("requires_grad_: only a leaf can be changed; use .detach() on a computed tensor")
        self.requires_grad = requires_grad
        return self

    register_hook, retain_grad = register_hook, retain_grad

    def detach(self) -> Tensor:
        """The same memory outside the graph; in-place changes to either are noticed by the sweep."""
        t = self.wrap(self.array)
        t.cell = self.version_cell
        return t

    def detach_(self) -> Tensor:
        """Leave the graph: self becomes a leaf that requires no gradient."""
        self.cell, self.node, self.index, self.tracked = self.version_cell, None, 0, False
        return self

    def assign_(self, value) -> Tensor:
        """Overwrite a leaf in place (broadcasting `value`) and bump its version."""
        if self.node is not None:
            raise RuntimeError("assign_: only a leaf can be assigned; this tensor was computed from others")
        if not isinstance(value, Variable):
            value = tensor(value, device=self.device)
        self.array[...] = value.array
        self.version_cell[0] += 1
        return self

    # ---- operators -----------------------------------------------------------------------------------------------

    __add__, __sub__, __mul__, __truediv__ = _e.add, _e.sub, _e.mul, _e.div
    __pow__, __neg__, __abs__, __getitem__ = _e.pow, _e.neg, _e.abs, _i.getitem

    def __radd__(self, other):
        return _e.add(other, self)

    def __rsub__(self, other):
        return _e.sub(other, self)

    def __rmul__(self, other):
        return _e.mul(other, self)

    def __rtruediv__(self, other):
        return _e.div(other, self)

    def __rpow__(self, other):
        return _e.pow(other, self)

    __floordiv__, __mod__ = _n.floor_divide, _n.remainder

    def __rfloordiv__(self, other):
        return _n.floor_divide(other, self)

    def __rmod__(self, other):
        return _n.remainder(other, self)

    def __pos__(self):
        return self

    def __matmul__(self, other):
        return _matmul(self, other if isinstance(other, Variable) else tensor(other))

    def __rmatmul__(self, other):
        return _matmul(tensor(other), self)

    def __eq__(self, other):
        return NotImplemented if other is None or isinstance(other, str) else _c.eq(self, other)

    def __ne__(self, other):
        return NotImplemented if other is None or isinstance(other, str) else _c.ne(self, other)

    __lt__, __le__, __gt__, __ge__ = _c.lt, _c.le, _c.gt, _c.ge
    __invert__, __and__, __or__, __xor__ = _c.bitwise_not, _c.bitwise_and, _c.bitwise_or, _c.bitwise_xor
    __rand__, __ror__, __rxor__ = _c.bitwise_and, _c.bitwise_or, _c.bitwise_xor

    def __len__(self):
        if self.ndim == 0:
            raise TypeError("len() of a tensor without axes")
        return self.shape[0]

    def __iter__(self):
        if self.ndim == 0:
            raise TypeError("iteration over a tensor without axes")
        return iter(_i.unbind(self, 0))

    def __bool__(self):
        if self.array.size != 1:
            raise ValueError(f"the truth of a tensor of shape {self.shape} is ambiguous; use .array.any() or .array.all()")
        return builtins.bool(self.array)

    def __float__(self):
        return builtins.float(self.item())

    def __int__(self):
        return builtins.int(self.item())

    def __index__(self):
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return builtins.int(self.item())

    def __repr__(self):
        body = np.array2string(self.cpu().array, separator=", ", prefix="tensor(", precision=4, threshold=1000)
        extra = "" if self.dtype in (float32, int64, bool) else f", dtype={self.dtype}"
        extra += "" if self.device == "cpu" else f", device='{self.device}'"
        if self.node is not None:
            extra += f", from={self.node.op.name}"
        elif self.requires_grad:
            extra += ", requires_grad=True"
        return f"tensor({body}{extra})"

    def __reduce__(self):
        raise TypeError("a Tensor is not pickled; save arrays with minigrad.checkpoint.save")

    def __deepcopy__(self, memo):
        if self.node is not None:
            raise RuntimeError("deepcopy: only a leaf can be copied; use .detach() first")
        new = self.__class__.__new__(self.__class__)
        new.start(self.array.copy(order="K")).tracked = self.tracked
        if hasattr(self, "name"):
            new.name = self.name
        return new

    # ---- the usual methods: each is the function of the same name ------------------------------------------------

    add, sub, mul, div, pow, neg = _n.add, _n.sub, _e.mul, _n.div, _e.pow, _e.neg
    multiply, divide, true_divide, subtract = _e.mul, _n.div, _e.div, _n.sub
    exp, log, log1p, expm1, sqrt, erf = _e.exp, _e.log, _e.log1p, _e.expm1, _e.sqrt, _e.erf
    sin, cos, tanh, sigmoid, relu = _e.sin, _e.cos, _e.tanh, _e.sigmoid, _a.relu
    abs, sign, clamp, maximum, minimum = _e.abs, _e.sign, _e.clamp, _e.maximum, _e.minimum
    softmax, log_softmax, clip, clamp_min, clamp_max = _a.softmax, _a.log_softmax, _e.clamp, _n.clamp_min, _n.clamp_max
    sum, sum_to, mean, var, std, norm = _r.sum, _r.sum_to, _r.mean, _r.var, _r.std, _r.norm
    max, min, amax, amin, argmax, argmin = _r.max, _r.min, _r.amax, _r.amin, _r.argmax, _r.argmin
    logsumexp, prod, cumsum, cumprod, matmul = _r.logsumexp, _r.prod, _r.cumsum, _r.cumprod, _matmul
    reshape, view, flatten, unflatten = _s.reshape, _s.view, _s.flatten, _s.unflatten
    squeeze, unsqueeze, permute, transpose, movedim = _s.squeeze, _s.unsqueeze, _s.permute, _s.transpose, _s.movedim
    expand, repeat, flip, roll, gather = _s.expand, _s.repeat, _s.flip, _s.roll, _i.gather
    narrow, split, chunk, unbind, tril, triu = _i.narrow, _i.split, _i.chunk, _i.unbind, _s.tril, _s.triu
    clone, contiguous, t, swapaxes = _s.clone, _s.contiguous, _s.t, _s.transpose
    square, reciprocal, rsqrt, log2, log10, exp2 = _n.square, _n.reciprocal, _n.rsqrt, _n.log2, _n.log10, _n.exp2
    floor, ceil, round, trunc, frac = _n.floor, _n.ceil, _n.round, _n.trunc, _n.frac
    fmod, remainder, floor_divide, lerp, addcmul, addcdiv = (_n.fmod, _n.remainder, _n.floor_divide, _n.lerp, _n.addcmul,
                                                             _n.addcdiv)
    tan, asin, acos, atan, atan2, sinh, cosh = _n.tan, _n.asin, _n.acos, _n.atan, _n.atan2, _n.sinh, _n.cosh
    arcsin, arccos, arctan = _n.asin, _n.acos, _n.atan
    mm, bmm, mv, dot, ger, outer, addmm, baddbmm = _p.mm, _p.bmm, _p.mv, _p.dot, _p.outer, _p.outer, _p.addmm, _p.baddbmm
    diag, diagonal, trace, cross, dist = _p.diag, _p.diagonal, _p.trace, _p.cross, _p.dist
    eq, ne, lt, le, gt, ge, equal, allclose = _c.eq, _c.ne, _c.lt, _c.le, _c.gt, _c.ge, _c.equal, _c.allclose
    isfinite, isnan, isinf, any, all, isclose = _c.isfinite, _c.isnan, _c.isinf, _c.any, _c.all, _c.isclose
    logical_and, logical_or, logical_xor, logical_not = _c.logical_and, _c.logical_or, _c.logical_xor, _c.logical_not
    count_nonzero, is_floating_point = _c.count_nonzero, _c.is_floating_point
    sort, argsort, topk, kthvalue, median, nonzero = _o.sort, _o.argsort, _o.topk, _o.kthvalue, _o.median, _o.nonzero
    masked_fill, masked_select, index_select, take = _o.masked_fill, _o.masked_select, _o.index_select, _o.take
    scatter, scatter_add, index_add = _o.scatter, _o.scatter_add, _o.index_add
    unique, bincount, multinomial, bernoulli = _o.unique, _o.bincount, _o.multinomial, _o.bernoulli

    def expand_as(self, other):
        return _s.expand(self, other.shape)

    def view_as(self, other):
        return _s.reshape(self, other.shape)

    reshape_as = view_as

    def __getattr__(self, name):  # only for names that are not found
        if name == "grad":  # results do not pay for it: it is not set until a sweep fills it or somebody asks
            self.grad = None
            return None if self.node is None else never_filled(self)
        raise missing("Tensor", name)


Tensor.result_type = Tensor  # what operations return, also for subclasses such as nn.Parameter


# ---- data in ---------------------------------------------------------------------------------------------------------


def tensor(data, dtype=None, device=None, requires_grad=False) -> Tensor:
    """A new Tensor holding a copy of `data`: a number, nested lists, an array or a Tensor.

    dtype: of the data; Python floats become float32. `functional.door` says which arrays are converted and which are refused.
    device: 'cpu' or 'cuda'. Raises TypeError for what is not numeric, ValueError for ragged lists.
    """
    return Tensor.wrap(array_from(data, dtype, device)).requires_grad_(requires_grad)


def tensor_of(data: tuple, dtype, device=None, requires_grad=False) -> Tensor:
    """What Tensor(*data) and FloatTensor(*data) make: of sizes, or of one piece of data."""
    return Tensor.wrap(constructed(data, dtype, device)).requires_grad_(requires_grad)


def _variable(data, requires_grad=False, volatile=False) -> Tensor:
    """autograd.Variable of PyTorch's old scripts: a leaf on the memory of `data`. `volatile` is ignored: use `no_grad`."""
    return (data.detach() if isinstance(data, Variable) else tensor(data)).requires_grad_(requires_grad)


Variable.from_data = _variable
