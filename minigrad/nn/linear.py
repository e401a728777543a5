"""Linear maps of vectors and rows of a table: Linear, Embedding.

Imports: numpy, minigrad.functional, minigrad.random, minigrad.tensor, init, module.
"""

from __future__ import annotations

import math

import numpy as np

from minigrad import functional as F
from minigrad.functional.common import integer
from minigrad.nn import init
from minigrad.nn.module import Module, Parameter
from minigrad.random import as_stream
from minigrad.tensor import Tensor, float32, tensor


def zero_parameter(shape, dtype=None, device=None) -> Parameter:
    """A Parameter of zeros, for an initialiser to fill. A dtype of None is float32."""
    dtype = np.dtype(float32 if dtype is None else dtype)
    if dtype.kind != "f":
        raise TypeError(f"a Parameter holds floating-point numbers, not {dtype}; use float32 or float64")
    return Parameter(tensor(np.zeros(shape, dtype), device=device))


def fan_in_uniform_(weight: Parameter, bias: Parameter | None, rng) -> None:
    """PyTorch's default for Linear and convolutions: both U(-b, b) with b = 1/sqrt(fan_in)."""
    rng = as_stream(rng)
    init.kaiming_uniform_(weight, a=math.sqrt(5), rng=rng)
    if bias is not None:
        fan_in = init.fans(weight)[0]
        bound = 1 / math.sqrt(fan_in) if fan_in else 0.0
        init.uniform_(bias, -bound, bound, rng=rng)


class Linear(Module):
    """y = x W^T + b, x (..., in_features) -> (..., out_features). weight (out, in), bias (out).

    Initially weight and bias are U(-b, b), b = 1/sqrt(in_features), drawn from `rng`.
    """

    def __init__(self, in_features, out_features, bias=True, device=None, dtype=None, *, rng=None):
        super().__init__()
        self.in_features = integer("Linear: in_features", in_features, 0)
        self.out_features = integer("Linear: out_features", out_features, 0)
        self.weight = zero_parameter((self.out_features, self.in_features), dtype, device)
        self.register_parameter("bias", zero_parameter((self.out_features,), dtype, device) if bias else None)
        self.reset_parameters(rng)

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        fan_in_uniform_(self.weight, self.bias, rng)

    def forward(self, input):
        return F.linear(input, self.weight, self.bias)

    def extra_repr(self):
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Embedding(Module):
    """Rows of a table: integers of any shape -> that shape + (embedding_dim,).

    weight (num_embeddings, embedding_dim) starts as N(0, 1).

    padding_idx: this row starts at 0 and gets no gradient. max_norm: rows that are looked up and whose norm_type-norm
    is larger are first scaled down to it, in place and outside the graph (the version of `weight` is bumped).
    scale_grad_by_freq and sparse gradients do not exist here: they raise ValueError.
    """

    def __init__(self, num_embeddings, embedding_dim, padding_idx=None, max_norm=None, norm_type=2.0,
                 scale_grad_by_freq=False, sparse=False, device=None, dtype=None, *, rng=None):
        super().__init__()
        self.num_embeddings = integer("Embedding: num_embeddings", num_embeddings, 0)
        self.embedding_dim = integer("Embedding: embedding_dim", embedding_dim, 0)
        if scale_grad_by_freq or sparse:
            raise ValueError("Embedding: scale_grad_by_freq and sparse are not supported; leave both False")
        if padding_idx is not None:
            padding_idx = integer("Embedding: padding_idx", padding_idx)
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise ValueError(f"Embedding: padding_idx {padding_idx} lies outside "
                                 f"[{-num_embeddings}, {num_embeddings})")
            padding_idx %= num_embeddings
        self.padding_idx, self.max_norm, self.norm_type = padding_idx, max_norm, float(norm_type)
        self.weight = zero_parameter((self.num_embeddings, self.embedding_dim), dtype, device)
        self.reset_parameters(rng)

    @classmethod
    def from_pretrained(cls, embeddings, freeze=True, padding_idx=None, max_norm=None, norm_type=2.0):
        """An Embedding on a copy of a table (V, D); frozen (no gradient) by default."""
        table = tensor(embeddings)
        if table.ndim != 2:
            raise ValueError(f"Embedding.from_pretrained: the table must be (count, size), got {table.shape}")
        layer = cls(*table.shape, padding_idx, max_norm, norm_type, dtype=table.dtype, device=table.device)
        layer.weight.assign_(table)
        layer.weight.requires_grad_(not freeze)
        return layer

    def reset_parameters(self, rng=None) -> None:
        """Draw the initial values anew."""
        init.normal_(self.weight, rng=rng)
        if self.padding_idx is not None:
            self.weight.array[self.padding_idx] = 0

    def forward(self, input):
        if self.max_norm is not None:
            self._limit(input)
        return F.embedding(input, self.weight, self.padding_idx)

    def _limit(self, input):
        index = np.unique(input.array if isinstance(input, Tensor) else np.asarray(input))
        table = self.weight.array
        if index.size == 0 or index[0] < 0 or index[-1] >= len(table):
            return  # F.embedding says what is wrong
        norms = np.linalg.norm(table[index], self.norm_type, axis=1, keepdims=True)
        scale = np.where(norms > self.max_norm, self.max_norm / (norms + 1e-7), 1).astype(table.dtype)
        if (scale != 1).any():
            table[index] *= scale
            self.weight.version_cell[0] += 1

    def extra_repr(self):
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, default in (("padding_idx", None), ("max_norm", None), ("norm_type", 2.0)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        return text
