"""Initial values, in place: PyTorch's names, arguments and distributions.

Each function overwrites a leaf through `assign_` (so a stale graph is noticed) and returns it. `rng`, or `generator`, is a
Stream or a numpy Generator; None is the default stream (`minigrad.random.manual_seed`). Numbers are drawn in the tensor's
dtype.

fan_in and fan_out count the connections of one output and one input unit: for a weight (out, in, kh, kw),
fan_in = in*kh*kw and fan_out = out*kh*kw.

Imports: numpy, minigrad.random, minigrad.tensor.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad.random import as_stream
from minigrad.tensor import Tensor
from minigrad.tensor import tensor as as_leaf


def _checked(name: str, tensor, ndim: int = 0) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"init.{name}: expected a Tensor, got {type(tensor).__name__}")
    if tensor.dtype.kind != "f":
        raise TypeError(f"init.{name}: needs a floating-point tensor, got {tensor.dtype}")
    if tensor.ndim < ndim:
        raise ValueError(f"init.{name}: needs at least {ndim} axes, got shape {tensor.shape}")
    return tensor


def _stream(generator, rng):
    return as_stream(generator if rng is None else rng)


def _assign(tensor: Tensor, values: np.ndarray) -> Tensor:
    return tensor.assign_(values if tensor.device == "cpu" else as_leaf(values, device=tensor.device))


# ---- plain distributions ---------------------------------------------------------------------------------------------


def uniform_(tensor, a: float = 0.0, b: float = 1.0, generator=None, *, rng=None) -> Tensor:
    """U[a, b)."""
    _checked("uniform_", tensor)
    return _assign(tensor, _stream(generator, rng).uniform(a, b, tensor.shape, dtype=tensor.dtype))


def normal_(tensor, mean: float = 0.0, std: float = 1.0, generator=None, *, rng=None) -> Tensor:
    """N(mean, std^2)."""
    _checked("normal_", tensor)
    if std < 0:
        raise ValueError(f"init.normal_: std must be >= 0, got {std}")
    return _assign(tensor, _stream(generator, rng).normal(tensor.shape, dtype=tensor.dtype, mean=mean, std=std))


def trunc_normal_(tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator=None, *,
                  rng=None) -> Tensor:
    """N(mean, std^2) given that it lies in [a, b], by rejection: of normal draws, or of U[a, b) where few fit."""
    _checked("trunc_normal_", tensor)
    if not (std > 0 and a < b):
        raise ValueError(f"init.trunc_normal_: needs std > 0 and a < b, got std={std}, a={a}, b={b}")
    stream, dtype = _stream(generator, rng), tensor.dtype
    low, high = (a - mean) / std, (b - mean) / std
    peak = max(low, min(0.0, high))
    inside = (math.erf(high / math.sqrt(2)) - math.erf(low / math.sqrt(2))) / 2
    values = np.empty(tensor.shape, dtype)
    pending = np.ones(tensor.shape, bool)
    while count := int(pending.sum()):
        if inside > 0.3:
            draw = stream.normal(count, dtype=dtype, mean=mean, std=std)
            accept = (draw >= dtype.type(a)) & (draw <= dtype.type(b))
        else:
            draw = stream.uniform(a, b, count, dtype=dtype)
            z = (draw.astype(np.float64) - mean) / std
            accept = stream.uniform(size=count, dtype=np.float64) < np.exp((peak**2 - z**2) / 2)
        places = np.flatnonzero(pending)[accept]
        values.reshape(-1)[places] = draw[accept]
        pending.reshape(-1)[places] = False
    return _assign(tensor, values)


def constant_(tensor, val: float) -> Tensor:
    """Every element is val."""
    return _checked("constant_", tensor).assign_(val)


def zeros_(tensor) -> Tensor:
    """Every element is 0."""
    return _checked("zeros_", tensor).assign_(0)


def ones_(tensor) -> Tensor:
    """Every element is 1."""
    return _checked("ones_", tensor).assign_(1)


# ---- maps that keep their input --------------------------------------------------------------------------------------


def eye_(tensor) -> Tensor:
    """The identity matrix; a rectangle has 1 on its main diagonal. Two axes only."""
    if _checked("eye_", tensor).ndim != 2:
        raise ValueError(f"init.eye_: needs two axes, got shape {tensor.shape}")
    return _assign(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def dirac_(tensor, groups: int = 1) -> Tensor:
    """The convolution (out, in, k, ...) that hands on as many channels as it can, in each group; 3 to 5 axes."""
    if not 3 <= _checked("dirac_", tensor).ndim <= 5:
        raise ValueError(f"init.dirac_: needs 3, 4 or 5 axes, got shape {tensor.shape}")
    out, inputs = tensor.shape[:2]
    if groups < 1 or out % groups:
        raise ValueError(f"init.dirac_: {out} output channels do not divide into {groups} groups")
    values = np.zeros(tensor.shape, tensor.dtype)
    centre = tuple(k // 2 for k in tensor.shape[2:])
    for group in range(groups):
        for d in range(min(out // groups, inputs)):
            values[(group * (out // groups) + d, d, *centre)] = 1
    return _assign(tensor, values)


def orthogonal_(tensor, gain: float = 1.0, generator=None, *, rng=None) -> Tensor:
    """A matrix (rows = first axis) with orthonormal rows or columns, times gain, uniform over all of them.

    Q of the QR factorisation of a normal matrix, with the signs of R's diagonal (Saxe et al. 2013; Mezzadri 2006).
    """
    _checked("orthogonal_", tensor, 2)
    if tensor.numel() == 0:
        return tensor
    rows = tensor.shape[0]
    shape = (rows, tensor.numel() // rows)
    normal = _stream(generator, rng).normal(shape, dtype=tensor.dtype)
    q, r = np.linalg.qr(normal.T if shape[0] < shape[1] else normal)
    q = q * np.sign(np.diag(r))
    q = q.T if shape[0] < shape[1] else q
    return _assign(tensor, (q * tensor.dtype.type(gain)).reshape(tensor.shape))


# ---- variance-preserving ---------------------------------------------------------------------------------------------


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor by which weights must grow to make up for a nonlinearity: sqrt(2) for 'relu',
    sqrt(2 / (1 + slope^2)) for 'leaky_relu' (param = slope, default 0.01), 5/3 for 'tanh', 3/4 for 'selu', else 1.
    """
    gains = dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
                           "conv_transpose3d", "sigmoid"), 1.0)
    gains.update(tanh=5 / 3, relu=math.sqrt(2), selu=0.75)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"calculate_gain: the slope of leaky_relu must be a number, got {slope!r}")
        return math.sqrt(2 / (1 + slope**2))
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: unknown nonlinearity {nonlinearity!r}; "
                         f"use one of leaky_relu, {', '.join(gains)}")
    return gains[nonlinearity]


def fans(tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight (out, in, *kernel)."""
    if tensor.ndim < 2:
        raise ValueError(f"init: fan_in and fan_out need a weight with at least 2 axes, got shape {tensor.shape}")
    receptive = math.prod(tensor.shape[2:])
    return tensor.shape[1] * receptive, tensor.shape[0] * receptive


def xavier_uniform_(tensor, gain: float = 1.0, generator=None, *, rng=None) -> Tensor:
    """U(-a, a) with a = gain sqrt(6 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    bound = gain * math.sqrt(6 / sum(fans(_checked("xavier_uniform_", tensor, 2))))
    return uniform_(tensor, -bound, bound, generator, rng=rng)


def xavier_normal_(tensor, gain: float = 1.0, generator=None, *, rng=None) -> Tensor:
    """N(0, std^2) with std = gain sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(fans(_checked("xavier_normal_", tensor, 2)))), generator, rng=rng)


def kaiming_uniform_(tensor, a=0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None, *, rng=None) -> Tensor:
    """U(-b, b) with b = gain sqrt(3 / fan) (He et al. 2015); `a` is the leaky slope, mode 'fan_in' or 'fan_out'."""
    bound = math.sqrt(3) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator, rng=rng)


def kaiming_normal_(tensor, a=0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None, *, rng=None) -> Tensor:
    """N(0, std^2) with std = gain / sqrt(fan) (He et al. 2015); `a` is the leaky slope, mode 'fan_in' or 'fan_out'."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity), generator, rng=rng)


def _kaiming_std(name, tensor, a, mode, nonlinearity) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"init.{name}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    fan = fans(_checked(name, tensor, 2))[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / math.sqrt(fan) if fan else 0.0


def sparse_(tensor, sparsity: float, std: float = 0.01, generator=None, *, rng=None) -> Tensor:
    """N(0, std^2), but in each column of a matrix a fraction `sparsity` of the rows (rounded up) is 0 (Martens 2010)."""
    if _checked("sparse_", tensor).ndim != 2 or not 0 <= sparsity <= 1:
        raise ValueError(f"init.sparse_: needs two axes and sparsity in [0, 1], got shape {tensor.shape} and {sparsity}")
    stream = _stream(generator, rng)
    values = stream.normal(tensor.shape, dtype=tensor.dtype, mean=0.0, std=std)
    for column in range(tensor.shape[1]):
        values[stream.permutation(tensor.shape[0])[: math.ceil(sparsity * tensor.shape[0])], column] = 0
    return _assign(tensor, values)


# ---- names of old scripts --------------------------------------------------------------------------------------------

uniform, normal, constant, eye, dirac, orthogonal, sparse = uniform_, normal_, constant_, eye_, dirac_, orthogonal_, sparse_
xavier_uniform, xavier_normal, kaiming_uniform, kaiming_normal = xavier_uniform_, xavier_normal_, kaiming_uniform_, kaiming_normal_
