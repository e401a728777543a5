"""Parameters as one vector, and back.

Imports: minigrad.functional.indexing, minigrad.functional.shape.
"""

from __future__ import annotations

from minigrad.functional.indexing import cat
from minigrad.functional.shape import reshape


def parameters_to_vector(parameters):
    """All parameters one after the other, a Tensor of one axis; the gradient travels back."""
    parts = [reshape(p, -1) for p in parameters]
    if not parts:
        raise ValueError("parameters_to_vector: there are no parameters; an iterator such as .parameters() can be used only once")
    return cat(parts)


def vector_to_parameters(vec, parameters) -> None:
    """Overwrite the parameters with the entries of vec. ValueError unless it has exactly as many."""
    parameters = list(parameters)
    total = sum(p.numel() for p in parameters)
    if vec.shape != (total,):
        raise ValueError(f"vector_to_parameters: vec {vec.shape} must be ({total},), one entry for each number of the parameters")
    values, start = vec.detach().array, 0
    for p in parameters:
        p.assign_(values[start:start + p.numel()].reshape(p.shape))
        start += p.numel()
