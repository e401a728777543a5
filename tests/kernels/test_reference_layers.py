"""The reference pooling, normalisation, activation and optimiser kernels against loops, adjoints, and PyTorch if it is there."""
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.kernels import reference
from tests.kernels.strategies import LAYOUTS, values


@st.composite
def pools(draw, dilated=True):
    """x shape, kernel, stride, padding, dilation and the output's size, with PyTorch's rule for ceil_mode."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))) if dilated else (1, 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    size = [draw(st.integers(max(1, r - 2 * p), r + 6)) for r, p in zip(reach, padding, strict=True)]
    ceil = draw(st.booleans())
    out = []
    for s, r, p, t in zip(size, reach, padding, stride, strict=True):
        q = (math.ceil if ceil else math.floor)((s + 2 * p - r) / t) + 1
        out.append(q - 1 if (q - 1) * t >= s + p else q)
    return (draw(st.integers(0, 2)), draw(st.integers(1, 3)), *size), kernel, stride, padding, dilation, tuple(out), ceil


@settings(max_examples=60)
@given(pools(), st.sampled_from(LAYOUTS), st.sampled_from(["normal", "ties", "nan", "-inf"]))
def test_max_pool_picks_the_first_maximum_as_pytorch(case, layout, kind):
    torch = pytest.importorskip("torch")
    shape, kernel, stride, padding, dilation, out, ceil = case
    x = values(0, shape, layout=layout).copy(order="K")
    if kind == "ties":
        x = np.round(x)
    elif kind == "nan":
        x[x > 1] = np.nan
    elif kind == "-inf":
        x[x < 1] = -np.inf
    y, indices = reference.max_pool2d(x, kernel, stride, padding, dilation, out)
    ty, ti = torch.nn.functional.max_pool2d(torch.from_numpy(np.ascontiguousarray(x)), kernel, stride, padding, dilation, ceil,
                                            return_indices=True)
    np.testing.assert_array_equal(y, ty.numpy())
    np.testing.assert_array_equal(indices, ti.numpy())
    assert indices.dtype == np.int64
    np.testing.assert_array_equal(reference.max_pool2d_gather(x, indices), y)


@given(pools(), st.sampled_from(LAYOUTS))
def test_scatter_and_gather_are_adjoint(case, layout):
    shape, kernel, stride, padding, dilation, out, _ = case
    x = values(0, shape, layout=layout)
    y, indices = reference.max_pool2d(x, kernel, stride, padding, dilation, out)
    g, z = values(1, y.shape, layout=layout), values(2, shape)
    scattered = reference.max_pool2d_scatter(g, indices, shape[2:])
    np.testing.assert_allclose((scattered * z).sum(), (reference.max_pool2d_gather(z, indices) * g).sum(), atol=1e-12)


@settings(max_examples=60)
@given(pools(dilated=False), st.booleans(), st.sampled_from([None, 3]), st.sampled_from(LAYOUTS))
def test_average_pool_equals_pytorch_and_its_adjoint(case, include, divisor, layout):
    torch = pytest.importorskip("torch")
    shape, kernel, stride, padding, _, out, ceil = case
    x = values(0, shape, layout=layout)
    y = reference.avg_pool2d(x, kernel, stride, padding, out, include, divisor)
    ty = torch.nn.functional.avg_pool2d(torch.from_numpy(x.copy()), kernel, stride, padding, ceil, include, divisor)
    np.testing.assert_allclose(y, ty.numpy(), rtol=1e-12, atol=1e-12)
    g = values(1, y.shape, layout=layout)
    dx = reference.avg_pool2d_dx(g, kernel, stride, padding, shape[2:], include, divisor)
    np.testing.assert_allclose((dx * x).sum(), (g * y).sum(), atol=1e-10)
    assert dx.shape == x.shape


@given(st.sampled_from([(0, 2, 3), (2, 3), (3,), (1, 2, 3), (0,)]), st.sampled_from(LAYOUTS))
def test_normalise_centres_scales_and_its_adjoint_is_the_finite_difference(axes, layout):
    x = values(0, (3, 4, 2, 5), layout=layout)
    xhat, istd, mean, var = reference.normalise(x, axes, 1e-3)
    np.testing.assert_allclose(mean, x.mean(axes, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(var, x.var(axes, keepdims=True), atol=1e-12)
    np.testing.assert_allclose(istd, 1 / np.sqrt(var + 1e-3), rtol=1e-12)
    g, g_istd, v = values(1, x.shape), values(2, istd.shape), values(3, x.shape)
    plus, minus = (reference.normalise(x + e * v, axes, 1e-3)[:2] for e in (1e-6, -1e-6))
    slopes = [((p - m) / 2e-6 * h).sum() for p, m, h in zip(plus, minus, (g, g_istd), strict=True)]
    np.testing.assert_allclose((reference.normalise_dx(g, None, xhat, istd, axes) * v).sum(), slopes[0], rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose((reference.normalise_dx(None, g_istd, xhat, istd, axes) * v).sum(), slopes[1], rtol=1e-6, atol=1e-7)
    both = reference.normalise_dx(g, g_istd, xhat, istd, axes)
    np.testing.assert_allclose((both * v).sum(), sum(slopes), rtol=1e-6, atol=1e-7)


def test_leaky_relu_at_zero_nan_and_infinity():
    x = np.array([-np.inf, -2.0, 0.0, 3.0, np.inf, np.nan])
    np.testing.assert_array_equal(reference.leaky_relu(x, 0.0), [0, 0, 0, 3, np.inf, np.nan])
    np.testing.assert_array_equal(reference.leaky_relu(x, 0.5), [-np.inf, -1, 0, 3, np.inf, np.nan])
    np.testing.assert_array_equal(reference.leaky_relu_dx(np.ones(6), x, 0.0), [0, 0, 0, 1, 1, 0])
    np.testing.assert_array_equal(reference.leaky_relu_dx(np.ones(6), x, 0.5), [.5, .5, .5, 1, 1, .5])


@given(st.sampled_from([(0, 2, 3), (2, 3)]), st.booleans(), st.sampled_from([1.0, 0.2, 0.0]))
def test_fused_normalisation_adjoint_is_the_finite_difference(axes, affine, slope):
    x = values(0, (3, 4, 5, 2))
    w, b = (values(1, 4), values(2, 4)) if affine else (None, None)
    y, istd, mean, _ = reference.norm_leaky_relu(x, w, b, axes, 1e-3, slope)
    g = values(3, x.shape)
    dx, dw, db = reference.norm_leaky_relu_dx(g, x, w, b, istd, mean, axes, slope)

    def slope_along(x, w, b, vx, vw, vb, e=1e-7):
        def at(sign):
            s = sign * e
            moved = (None, None) if w is None else (w + s * vw, b + s * vb)
            return reference.norm_leaky_relu(x + s * vx, *moved, axes, 1e-3, slope)[0]
        return ((at(1) - at(-1)) / (2 * e) * g).sum()

    vx, vw, vb = values(4, x.shape), values(5, 4), values(6, 4)
    expected = (dx * vx).sum() + ((dw * vw).sum() + (db * vb).sum() if affine else 0)
    np.testing.assert_allclose(expected, slope_along(x, w, b, vx, vw, vb), rtol=1e-5, atol=1e-5)


@given(st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from([(3, 4), (3, 4, 5), (2, 3, 4, 5)]))
def test_bias_and_activation_equal_the_composed_operations(slope, shape):
    x, b, g = values(0, shape), values(1, shape[1]), values(2, shape)
    z = x + b.reshape(1, -1, *[1] * (len(shape) - 2))
    y = reference.bias_leaky_relu(x, b, slope)
    np.testing.assert_array_equal(y, np.where(z > 0, z, slope * z))
    dx, db = reference.bias_leaky_relu_dx(g, y, slope)
    np.testing.assert_array_equal(dx, np.where(z > 0, g, slope * g))
    np.testing.assert_allclose(db, dx.sum((0, *range(2, len(shape)))), rtol=1e-12)
