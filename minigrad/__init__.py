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

from minigrad import functional
from minigrad.absent import missing as _missing
from minigrad.autograd import enable_grad, grad, is_grad_enabled, no_grad, primitive
from minigrad.creation import (
    arange,
    eye,
    from_numpy,
    full,
    full_like,
    linspace,
    ones,
    ones_like,
    tensor,
    zeros,
    zeros_like,
)
from minigrad.functional.activation import relu, softmax
from minigrad.functional.elementwise import (
    abs,
    clamp,
    cos,
    erf,
    exp,
    log,
    log1p,
    maximum,
    minimum,
    pow,
    sigmoid,
    sign,
    sin,
    sqrt,
    tanh,
    where,
)
from minigrad.functional.indexing import cat, chunk, gather, split, stack, unbind
from minigrad.functional.linear import einsum, matmul
from minigrad.functional.reduction import (
    amax,
    amin,
    argmax,
    argmin,
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
    expand,
    flatten,
    flip,
    permute,
    reshape,
    roll,
    squeeze,
    transpose,
    tril,
    triu,
    unsqueeze,
)
from minigrad.kernels import get_conv_precision, get_num_threads, set_conv_precision, set_num_threads
from minigrad.random import Generator, default_generator, get_rng_state, initial_seed, manual_seed, set_rng_state
from minigrad.tensor import Tensor, bool, float32, float64, int64

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
