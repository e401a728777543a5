"""`Tensor`: an array (NumPy or CuPy) and its place in the graph.

Names, argument order and meaning are PyTorch's. `.array` is the array itself. An operation never changes a Tensor:
there is no in-place arithmetic (`x += y` rebinds the name x). `assign_` is the one exception, for leaves, and it bumps the
version that the reverse sweep checks.

dtypes: float32 by default; float64 is kept where it is given and is meant for checking derivatives. Python numbers and
integer Tensors never widen a float32. Two floating dtypes promote as in NumPy.

Imports: cupy (when called), numpy, minigrad.functional, absent, autograd.
"""

from __future__ import annotations

import builtins
from sys import getrefcount

import numpy as np

from minigrad.absent import missing
from minigrad.autograd import Variable, backward, make_variable
from minigrad.functional import activation as _a
from minigrad.functional import elementwise as _e
from minigrad.functional import indexing as _i
from minigrad.functional import reduction as _r
from minigrad.functional import shape as _s
from minigrad.functional.linear import matmul as _matmul

float32, float64 = np.dtype(np.float32), np.dtype(np.float64)
int64, bool = np.dtype(np.int64), np.dtype(np.bool_)

KINDS = "fiub"


class Tensor(Variable):
    """Tensor(data, dtype=None, device=None, requires_grad=False); see `tensor` for the arguments."""

    __slots__ = ("name",)
    __array_ufunc__ = None  # NumPy defers: array * tensor is Tensor.__rmul__
    __hash__ = object.__hash__

    def __init__(self, data, dtype=None, device=None, requires_grad=False):
        self.array = _as_array(data, dtype, device)
        self.node, self.index, self.cell, self.grad = None, 0, None, None
        if requires_grad and self.array.dtype.kind != "f":
            raise TypeError(f"tensor: only floating-point tensors can require a gradient, got {self.array.dtype}")
        self.requires_grad = builtins.bool(requires_grad)

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

    @staticmethod
    def constant(value):
        """A NumPy scalar counts as the Python number that it holds (it never widens); an array is used as it is."""
        if isinstance(value, np.generic) or (isinstance(value, np.ndarray) and value.ndim == 0):
            value = value.item()
        if isinstance(value, (int, float)) or (hasattr(value, "dtype") and value.dtype.kind in KINDS):
            return value
        raise TypeError(f"a Tensor works with Tensors, arrays and numbers, not with {type(value).__name__} ({value!r})")

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
        array += other.array
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

    def backward(self, gradient=None, retain_graph=None) -> None:
        """Add d(self)/d(leaf) to `.grad` of every leaf that requires one: `autograd.backward(self, gradient, retain_graph)`.

        `gradient` is the cotangent of self (default: ones, for a value with one element).
        """
        backward(self, gradient, retain_graph)

    # ---- attributes ----------------------------------------------------------------------------------------------

    shape = property(lambda self: self.array.shape, doc="Sizes of the axes, a tuple of ints.")
    dtype = property(lambda self: self.array.dtype, doc="The NumPy dtype.")
    ndim = property(lambda self: self.array.ndim, doc="Number of axes.")
    device = property(lambda self: "cpu" if isinstance(self.array, np.ndarray) else "cuda", doc="'cpu' or 'cuda'.")
    is_leaf = property(lambda self: self.node is None, doc="True unless a recorded operation made it.")
    T = property(lambda self: _s.permute(self, tuple(reversed(range(self.ndim)))), doc="All axes reversed.")
    mT = property(lambda self: _s.transpose(self, -1, -2), doc="The last two axes exchanged.")

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[dim]

    def numel(self) -> int:
        return int(self.array.size)

    def dim(self) -> int:
        return self.array.ndim

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array (shared memory on the CPU). Raises RuntimeError inside a graph: detach first."""
        if self.requires_grad:
            raise RuntimeError("numpy: this tensor requires a gradient; call .detach().numpy() (or use .array)")
        return self.array if self.device == "cpu" else self.array.get()

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
        if requires_grad and self.array.dtype.kind != "f":
            raise TypeError(f"requires_grad_: only floating-point tensors can require a gradient, got {self.dtype}")
        self.requires_grad = builtins.bool(requires_grad)
        return self

    def detach(self) -> Tensor:
        """The same memory outside the graph; in-place changes to either are noticed by the sweep."""
        t = self.wrap(self.array)
        t.cell = self.version_cell
        return t

    def assign_(self, value) -> Tensor:
        """Overwrite a leaf in place (broadcasting `value`) and bump its version."""
        if self.node is not None:
            raise RuntimeError("assign_: only a leaf can be assigned; this tensor was computed from others")
        self.array[...] = value.array if isinstance(value, Variable) else value
        self.version_cell[0] += 1
        return self

    def to(self, *args, dtype=None, device=None) -> Tensor:
        """Another dtype or device ('cpu', 'cuda'); self where nothing changes. The gradient travels back."""
        for a in args:
            if isinstance(a, str) and a.split(":")[0] in ("cpu", "cuda"):
                device = a
            elif isinstance(a, Tensor):
                dtype, device = a.dtype, a.device
            else:
                dtype = a
        out = self
        if dtype is not None and np.dtype(dtype) != self.dtype:
            dtype = np.dtype(dtype)
            if dtype.kind not in KINDS:
                raise TypeError(f"to: {dtype} is not supported; use float32, float64, int64 or bool")
            out = _s.astype(out, dtype=dtype) if dtype.kind == "f" and self.dtype.kind == "f" else \
                self.wrap(self.array.astype(dtype))
        if device is not None and device_name(device) != out.device:
            out = _s.to_device(out, device=device_name(device))
        return out

    def float(self):
        return self.to(float32)

    def double(self):
        return self.to(float64)

    def long(self):
        return self.to(int64)

    def cpu(self):
        return self.to("cpu")

    def cuda(self):
        return self.to("cuda")

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

    def __matmul__(self, other):
        return _matmul(self, other if isinstance(other, Variable) else Tensor(other))

    def __rmatmul__(self, other):
        return _matmul(Tensor(other), self)

    def _compare(self, ufunc, other):
        other = other.array if isinstance(other, Variable) else self.constant(other)
        return self.wrap(np.asarray(ufunc(self.array, other)) if self.device == "cpu" else ufunc(self.array, other))

    def __eq__(self, other):
        return NotImplemented if other is None or isinstance(other, str) else self._compare(np.equal, other)

    def __ne__(self, other):
        return NotImplemented if other is None or isinstance(other, str) else self._compare(np.not_equal, other)

    def __lt__(self, other):
        return self._compare(np.less, other)

    def __le__(self, other):
        return self._compare(np.less_equal, other)

    def __gt__(self, other):
        return self._compare(np.greater, other)

    def __ge__(self, other):
        return self._compare(np.greater_equal, other)

    def __invert__(self):
        return self.wrap(~self.array)

    def __and__(self, other):
        return self._compare(np.bitwise_and, other)

    def __or__(self, other):
        return self._compare(np.bitwise_or, other)

    def __setitem__(self, index, value):
        raise TypeError("a Tensor is not changed in place: use minigrad.where(mask, a, b) or minigrad.cat to build the "
                        "new value, or .assign_(...) to overwrite a whole leaf")

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
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __index__(self):
        if self.dtype.kind not in "iu":
            raise TypeError(f"only an integer tensor can be an index, got {self.dtype}")
        return int(self.item())

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
        new.array, new.requires_grad, new.grad = self.array.copy(order="K"), self.requires_grad, None
        new.node, new.index, new.cell = None, 0, None
        if hasattr(self, "name"):
            new.name = self.name
        return new

    # ---- the usual methods: each is the function of the same name ------------------------------------------------

    add, sub, mul, div, pow, neg = _e.add, _e.sub, _e.mul, _e.div, _e.pow, _e.neg
    exp, log, log1p, expm1, sqrt, erf = _e.exp, _e.log, _e.log1p, _e.expm1, _e.sqrt, _e.erf
    sin, cos, tanh, sigmoid, relu = _e.sin, _e.cos, _e.tanh, _e.sigmoid, _a.relu
    abs, sign, clamp, maximum, minimum = _e.abs, _e.sign, _e.clamp, _e.maximum, _e.minimum
    softmax, log_softmax = _a.softmax, _a.log_softmax
    sum, sum_to, mean, var, std, norm = _r.sum, _r.sum_to, _r.mean, _r.var, _r.std, _r.norm
    max, min, amax, amin, argmax, argmin = _r.max, _r.min, _r.amax, _r.amin, _r.argmax, _r.argmin
    logsumexp, prod, cumsum, matmul = _r.logsumexp, _r.prod, _r.cumsum, _matmul
    reshape, view, flatten, unflatten = _s.reshape, _s.reshape, _s.flatten, _s.unflatten
    squeeze, unsqueeze, permute, transpose, movedim = _s.squeeze, _s.unsqueeze, _s.permute, _s.transpose, _s.movedim
    expand, repeat, flip, roll, gather = _s.expand, _s.repeat, _s.flip, _s.roll, _i.gather
    narrow, split, chunk, unbind, tril, triu = _i.narrow, _i.split, _i.chunk, _i.unbind, _s.tril, _s.triu
    clone, contiguous = _s.clone, _s.contiguous

    def expand_as(self, other):
        return _s.expand(self, other.shape)

    def view_as(self, other):
        return _s.reshape(self, other.shape)

    def t(self):
        return _s.transpose(self, 0, 1)

    def square(self):
        return _e.pow(self, 2)

    def isfinite(self):
        return self.wrap(np.isfinite(self.array))

    def isnan(self):
        return self.wrap(np.isnan(self.array))

    def any(self):
        return self.wrap(np.asarray(self.array.any()))

    def all(self):
        return self.wrap(np.asarray(self.array.all()))

    def __getattr__(self, name):  # only for names that are not found
        raise missing("Tensor", name)


Tensor.result_type = Tensor  # what operations return, also for subclasses such as nn.Parameter


# ---- data in ---------------------------------------------------------------------------------------------------------


def device_name(device) -> str:
    name = str(device).split(":")[0]
    if name not in ("cpu", "cuda"):
        raise ValueError(f"device must be 'cpu' or 'cuda', got {device!r}")
    return name


def _as_array(data, dtype, device):
    if isinstance(data, Variable):
        data = data.array
    if not hasattr(data, "dtype"):  # Python numbers and nested lists: floats become float32, integers int64
        data = _from_python(data, np.float32 if dtype is None else None)
    if data.dtype.kind not in KINDS:
        raise TypeError(f"tensor: cannot hold {data.dtype}; give numbers (or bools) of one shape")
    if dtype is not None:
        dtype = np.dtype(dtype)
        if dtype.kind not in KINDS:
            raise TypeError(f"tensor: dtype {dtype} is not supported; use float32, float64, int64 or bool")
    out = data.astype(dtype if dtype is not None else data.dtype, copy=True)
    out = np.asarray(out) if isinstance(out, np.generic) else out  # a NumPy scalar could not be assigned in place
    if device is not None and device_name(device) == "cuda" and isinstance(out, np.ndarray):
        out = cupy_or_error().asarray(out)
    elif device is not None and device_name(device) == "cpu" and not isinstance(out, np.ndarray):
        out = out.get()
    return out


def _from_python(data, floats) -> np.ndarray:
    """Numbers and nested lists as an array; floating-point numbers in `floats` (None: as they are, float64)."""
    if isinstance(data, (list, tuple)) and any(isinstance(x, Variable) for x in data):
        data = [x.array.tolist() if isinstance(x, Variable) else x for x in data]
    try:
        array = np.asarray(data)
    except ValueError:
        raise ValueError("tensor: the nested list is ragged; every row needs the same length") from None
    if array.dtype == np.float64 and floats is not None:
        return array.astype(floats)
    if array.dtype.kind in "OUS":
        raise TypeError(f"tensor: cannot hold {type(data).__name__} {str(data)[:60]!r}; give numbers or nested lists of them")
    return array


def cupy_or_error():
    try:
        import cupy
    except ImportError:
        raise ImportError("device='cuda' needs CuPy: pip install -e '.[gpu]'") from None
    return cupy
