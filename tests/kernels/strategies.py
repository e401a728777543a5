"""Random arguments for kernels: small shapes with every stride, padding, dilation and group, and arrays in awkward layouts."""
import numpy as np
from hypothesis import strategies as st

LAYOUTS = ("nchw", "nhwc", "fortran", "reversed", "readonly", "strided", "offset")


def lay(a, layout):
    """The same values as a, held in memory in another way."""
    if layout == "nhwc" and a.ndim == 4:
        return np.ascontiguousarray(a.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    if layout == "fortran":
        return np.asfortranarray(a)
    if layout == "reversed":
        flip = (slice(None, None, -1),) * a.ndim
        return np.ascontiguousarray(a[flip])[flip]
    if layout == "readonly":
        a = a.copy()
        a.flags.writeable = False
        return a
    if layout == "strided":
        return np.repeat(a, 2, axis=-1)[..., ::2]
    if layout == "offset":                                      # an address that is no multiple of the vector's length
        flat = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
        flat[...] = a
        return flat
    return np.ascontiguousarray(a)


def values(seed, shape, dtype=np.float64, layout="nchw"):
    return lay(np.random.default_rng(seed).standard_normal(shape).astype(dtype), layout)


@st.composite
def convolutions(draw, channels=5):
    """x and w shapes with the arguments of conv2d; the output has at least one pixel."""
    groups = draw(st.integers(1, 3))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    smallest = [max(1, d * (k - 1) + 1 - 2 * p) for k, p, d in zip(kernel, padding, dilation, strict=True)]
    size = [draw(st.integers(s, s + 6)) for s in smallest]
    n, c, o = draw(st.integers(0, 3)), draw(st.integers(1, channels)) * groups, draw(st.integers(1, channels)) * groups
    return (n, c, *size), (o, c // groups, *kernel), stride, padding, dilation, groups


def out_size(x, w, stride, padding, dilation):
    return tuple((s + 2 * p - d * (k - 1) - 1) // t + 1
                 for s, p, d, k, t in zip(x[2:], padding, dilation, w[2:], stride, strict=True))
