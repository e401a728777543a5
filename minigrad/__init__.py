"""minigrad: tensors, derivatives of every order, layers, optimisers, data and runs, on NumPy and Numba.

    import minigrad as mg
    x = mg.tensor([1.0, 2.0], requires_grad=True)
    (g,) = mg.grad((x * x).sum(), [x])

Two settings of the process are made here; MINIGRAD_NO_ENV=1 leaves them alone. OMP_WAIT_POLICY=passive before any thread
starts, because OpenMP threads of other libraries otherwise spin for milliseconds beside ours; and freed memory is kept
for the next step (minigrad/memory.py).
"""

import importlib as _importlib
import os as _os

if not _os.environ.get("MINIGRAD_NO_ENV"):
    _os.environ.setdefault("OMP_WAIT_POLICY", "passive")

    from minigrad import memory as _memory

    _memory.keep()

from minigrad import autograd, cuda, functional
from minigrad.absent import missing as _missing
from minigrad.autograd import enable_grad, grad, is_grad_enabled, no_grad, primitive, set_grad_enabled
from minigrad.conversion import Size
from minigrad.creation import (
    arange,
    as_tensor,
    empty,
    empty_like,
    eye,
    from_numpy,
    full,
    full_like,
    is_tensor,
    linspace,
    normal,
    numel,
    ones,
    ones_like,
    rand,
    rand_like,
    randint,
    randn,
    randn_like,
    randperm,
    tensor,
    zeros,
    zeros_like,
)
from minigrad.devices import device
from minigrad.dtypes import (
    BoolTensor,
    ByteTensor,
    CharTensor,
    DoubleTensor,
    FloatTensor,
    IntTensor,
    LongTensor,
    ShortTensor,
    double,
    float,
    int,
    int8,
    int16,
    int32,
    long,
    short,
    uint8,
)
from minigrad.functional.activation import dropout, log_softmax, relu, softmax
from minigrad.functional.arithmetic import (
    acos,
    add,
    addcdiv,
    addcmul,
    asin,
    atan,
    atan2,
    ceil,
    cosh,
    div,
    exp2,
    floor,
    floor_divide,
    fmod,
    frac,
    lerp,
    log2,
    log10,
    logaddexp,
    logit,
    reciprocal,
    remainder,
    round,
    rsqrt,
    sinh,
    square,
    sub,
    tan,
    trunc,
)
from minigrad.functional.comparison import (
    all,
    allclose,
    any,
    count_nonzero,
    eq,
    equal,
    ge,
    gt,
    is_floating_point,
    is_nonzero,
    isclose,
    isfinite,
    isinf,
    isnan,
    le,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    lt,
    ne,
)
from minigrad.functional.elementwise import (
    abs,
    clamp,
    cos,
    erf,
    exp,
    expm1,
    log,
    log1p,
    maximum,
    minimum,
    mul,
    neg,
    pow,
    sigmoid,
    sign,
    sin,
    sqrt,
    tanh,
    where,
)
from minigrad.functional.indexing import cat, chunk, gather, narrow, split, stack, unbind
from minigrad.functional.linear import einsum, matmul
from minigrad.functional.products import (
    addmm,
    baddbmm,
    bmm,
    cross,
    diag,
    diagonal,
    dist,
    dot,
    mm,
    mv,
    outer,
    trace,
)
from minigrad.functional.reduction import (
    amax,
    amin,
    argmax,
    argmin,
    cumprod,
    cumsum,
    logsumexp,
    max,
    mean,
    min,
    norm,
    prod,
    std,
    sum,
    var,
)
from minigrad.functional.shape import (
    clone,
    expand,
    flatten,
    flip,
    movedim,
    permute,
    reshape,
    roll,
    squeeze,
    t,
    transpose,
    tril,
    triu,
    unsqueeze,
)
from minigrad.functional.sorting import (
    argsort,
    bernoulli,
    bincount,
    index_add,
    index_select,
    kthvalue,
    masked_fill,
    masked_select,
    median,
    multinomial,
    nonzero,
    scatter,
    scatter_add,
    sort,
    take,
    topk,
    unique,
)
from minigrad.kernels import get_conv_precision, get_num_threads, set_conv_precision, set_num_threads
from minigrad.random import Generator, default_generator, get_rng_state, initial_seed, manual_seed, set_rng_state
from minigrad.tensor import Tensor, bool, float32, float64, int64

# other names of the same, as PyTorch has them
absolute, arccos, arcsin, arctan, clip, concat = abs, acos, asin, atan, clamp, cat
divide, true_divide, multiply, subtract, negative, ger = div, div, mul, sub, neg, outer
inference_mode = no_grad

from minigrad import nn, optim  # isort: skip (they build on all of the above)
from minigrad.saving import load, save  # isort: skip

__version__ = "0.1.0"

_LATER = {"use_deterministic_algorithms": "minigrad.backends"}  # what a script that uses it pays for
_LATER.update({name: "minigrad" for name in ("backends", "checkpoint", "data", "explain", "gradcheck", "random", "run", "utils")})


def __getattr__(name):
    if name in _LATER:
        module = _importlib.import_module(f"minigrad.{name}" if _LATER[name] == "minigrad" else _LATER[name])
        return module if _LATER[name] == "minigrad" else getattr(module, name)
    raise _missing("minigrad", name)
