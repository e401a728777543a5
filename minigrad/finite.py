"""Numbers that are not finite, told by the names of what holds them. A run neither logs nor saves them.

Imports: numpy.
"""

from __future__ import annotations

import numpy as np

__all__ = ["NonFiniteError", "finite", "nan_places", "not_finite"]


class NonFiniteError(ArithmeticError):
    """NaN or infinity in a loss, parameter or gradient. `.step`, `.names` (what is not finite)."""

    what = "not finite"

    def __init__(self, step: int, names: list[str], last: str | None):
        kept = f"the last good checkpoint is {last}" if last else "no checkpoint had been written yet"
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        super().__init__(f"step {step}: {self.what}: {', '.join(names[:5])}{more}; {kept}. Lower the learning rate, or "
                         "look at what feeds the first one named")
        self.step, self.names = step, names


def finite(array) -> bool:
    """Whether an array holds neither NaN nor infinity."""
    # one pass without a temporary; a sum that overflows is looked at again
    return array.dtype.kind not in "fc" or bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def not_finite(named) -> list[str]:
    """Names of what holds NaN or infinity, and of what has a gradient that does. named: a dict or pairs (name, value); a value is
    an array, or has .array and .grad (a Parameter)."""
    found = []
    for name, value in named.items() if isinstance(named, dict) else named:
        grad = getattr(value, "grad", None)
        for label, array in ((name, getattr(value, "array", value)), (f"gradient of {name}", getattr(grad, "array", grad))):
            if array is not None and not finite(array):
                found.append(label)
    return found


def nan_places(node, place: str = ""):
    """The names of the arrays in a tree of dicts, lists and tuples that hold NaN: "adam.state.0"."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from nan_places(value, f"{place}.{key}" if place else str(key))
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from nan_places(value, f"{place}.{index}" if place else str(index))
    elif isinstance(node, np.ndarray) and not finite(node) and np.isnan(node).any():
        yield place
