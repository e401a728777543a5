"""Special functions that NumPy lacks, as NumPy ufuncs compiled by Numba at first use; CuPy arrays use CuPy's own.

Imports: cupyx (when called), numba (when called), numpy.
"""

from __future__ import annotations

import functools
import math

import numpy as np


@functools.cache
def _erf_ufunc():
    import numba

    # both loops are named: with one alone, numba would widen float32 to an existing float64 loop
    return numba.vectorize(["float32(float32)", "float64(float64)"])(lambda x: math.erf(x))


def erf(x):
    """2/sqrt(pi) * integral of e^(-t^2) from 0 to x, elementwise; float32 and float64."""
    if not isinstance(x, (np.ndarray, np.generic)):
        import cupyx.scipy.special

        return cupyx.scipy.special.erf(x)
    return _erf_ufunc()(x.astype(np.float32) if x.dtype.kind in "iub" else x)
