"""Fused operations equal the composed ones: values, first and second derivatives, running statistics."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import minigrad as mg
from minigrad.functional.activation import leaky_relu
from minigrad.functional.conv_norm import conv2d_batch_norm_leaky_relu, conv_transpose2d_batch_norm_leaky_relu
from minigrad.functional.convolution import conv2d, conv2d_leaky_relu, conv_transpose2d
from minigrad.functional.fused import add_leaky_relu, batch_norm_leaky_relu, bias_leaky_relu
from minigrad.functional.normalization import batch_norm

shapes = st.sampled_from([(2, 3), (4, 5), (2, 3, 4, 5), (3, 1, 2, 2), (2, 33, 3, 3), (5, 4, 1, 1)])
slopes = st.sampled_from([0.0, 0.01, 0.2, 1.0])
dtypes = st.sampled_from([np.float32, np.float64])


def orders(function, inputs, rng):
    """Value, gradients, and gradients of a random projection of the gradients."""
    y = function(*inputs)
    cotangent = mg.tensor(rng.normal(size=y.shape), dtype=y.dtype, requires_grad=True)
    g = mg.grad(y, inputs, cotangent, create_graph=True)
    total = sum((a * mg.tensor(rng.normal(size=a.shape), dtype=a.dtype)).sum() for a in g)
    second = mg.grad(total, [*inputs, cotangent], allow_unused=True)
    first = mg.grad(function(*inputs), inputs, mg.tensor(np.ones(y.shape), dtype=y.dtype))
    return [y.array] + [a.array for a in g] + [None if a is None else a.array for a in second] + [a.array for a in first]


def same(found, expected, dtype):
    tolerance = 2e-3 if dtype == np.float32 else 1e-9
    for a, b in zip(found, expected, strict=True):
        a, b = (np.zeros(()) if v is None else v for v in (a, b))
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1.0, np.abs(b).max()))


def images(shape, dtype, rng):
    x = rng.normal(size=shape)
    return mg.tensor(np.where(np.abs(x) < 0.05, 0.5, x), dtype=dtype, requires_grad=True)


@given(shape=shapes, slope=slopes, dtype=dtypes, seed=st.integers(0, 99))
def test_bias_leaky_relu_equals_the_composed_one(shape, slope, dtype, seed):
    rng = np.random.default_rng(seed)
    x, b = images(shape, dtype, rng), mg.tensor(rng.normal(size=shape[1]) * 0.01, dtype=dtype, requires_grad=True)
    along = (1, -1) + (1,) * (len(shape) - 2)
    fused = orders(lambda x, b: bias_leaky_relu(x, b, slope), [x, b], np.random.default_rng(seed))
    plain = orders(lambda x, b: leaky_relu(x + b.reshape(along), slope), [x, b], np.random.default_rng(seed))
    same(fused, plain, dtype)


@given(slope=slopes, dtype=dtypes, biased=st.booleans(), stride=st.integers(1, 2), groups=st.sampled_from([1, 2]),
       seed=st.integers(0, 99))
def test_conv2d_leaky_relu_equals_the_composed_one(slope, dtype, biased, stride, groups, seed):
    rng = np.random.default_rng(seed)
    shapes = (2, 4, 5, 6), (6, 4 // groups, 3, 2), *([(6,)] if biased else [])
    inputs = [mg.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True) for shape in shapes]
    geometry = {"stride": stride, "padding": 1, "groups": groups}
    assume(np.abs(conv2d(*inputs, **geometry).array).min() > 1e-4)                          # not at the kink
    fused = orders(lambda *a: conv2d_leaky_relu(*a, negative_slope=slope, **geometry), inputs, np.random.default_rng(seed))
    plain = orders(lambda *a: leaky_relu(conv2d(*a, **geometry), slope), inputs, np.random.default_rng(seed))
    same(fused, plain, dtype)


def test_conv2d_leaky_relu_of_one_image_and_its_errors():
    x, w, b = mg.ones(2, 5, 5), mg.ones(3, 2, 3, 3), mg.tensor([0.0, -18.0, -20.0])
    y = conv2d_leaky_relu(x, w, b, negative_slope=0.5)
    np.testing.assert_array_equal(y.array, np.broadcast_to(np.reshape([18.0, 0.0, -1.0], (3, 1, 1)), (3, 3, 3)))
    with pytest.raises(ValueError, match="conv2d_leaky_relu: negative_slope must be at least 0, got -0.1"):
        conv2d_leaky_relu(x, w, b, negative_slope=-0.1)
    with pytest.raises(ValueError, match=r"conv2d: bias \(3,\) must be \(4,\)"):
        conv2d_leaky_relu(x, mg.ones(4, 2, 3, 3), b)


@given(shape=shapes, slope=slopes, dtype=dtypes, seed=st.integers(0, 99))
def test_batch_norm_leaky_relu_equals_the_composed_one(shape, slope, dtype, seed):
    rng = np.random.default_rng(seed)
    inputs = [images(shape, dtype, rng)]
    inputs += [mg.tensor(rng.normal(size=shape[1]), dtype=dtype, requires_grad=True) for _ in range(2)]
    running = [np.zeros(shape[1], dtype), np.ones(shape[1], dtype)]
    others = [a.copy() for a in running]
    fused = orders(lambda x, w, b: batch_norm_leaky_relu(x, *running, w, b, 0.1, 0.1, slope), inputs,
                   np.random.default_rng(seed))
    plain = orders(lambda x, w, b: leaky_relu(batch_norm(x, *others, w, b, True, 0.1, 0.1), slope), inputs,
                   np.random.default_rng(seed))
    same(fused, plain, dtype)
    same(running, others, dtype)


@given(shape=shapes, slope=slopes, dtype=dtypes, seed=st.integers(0, 99))
def test_batch_norm_a_sum_and_leaky_relu_equal_the_composed_ones(shape, slope, dtype, seed):
    rng = np.random.default_rng(seed)
    inputs = [images(shape, dtype, rng), *[mg.tensor(rng.normal(size=shape[1]), dtype=dtype, requires_grad=True) for _ in range(2)],
              images(shape, dtype, rng)]
    running = [np.zeros(shape[1], dtype), np.ones(shape[1], dtype)]
    others = [a.copy() for a in running]
    assume(np.abs((batch_norm(inputs[0], None, None, *inputs[1:3], True, 0.1, 0.1) + inputs[3]).array).min() > 1e-4)
    fused = orders(lambda x, w, b, o: batch_norm_leaky_relu(x, *running, w, b, 0.1, 0.1, slope, o), inputs,
                   np.random.default_rng(seed))
    plain = orders(lambda x, w, b, o: leaky_relu(batch_norm(x, *others, w, b, True, 0.1, 0.1) + o, slope), inputs,
                   np.random.default_rng(seed))
    same(fused, plain, dtype)
    same(running, others, dtype)


@given(shape=shapes, slope=slopes, dtype=dtypes, seed=st.integers(0, 99))
def test_add_leaky_relu_equals_the_composed_one(shape, slope, dtype, seed):
    rng = np.random.default_rng(seed)
    inputs = [images(shape, dtype, rng), images(shape, dtype, rng)]
    assume(np.abs((inputs[0] + inputs[1]).array).min() > 1e-4)
    fused = orders(lambda x, o: add_leaky_relu(x, o, slope), inputs, np.random.default_rng(seed))
    plain = orders(lambda x, o: leaky_relu(x + o, slope), inputs, np.random.default_rng(seed))
    same(fused, plain, dtype)


@pytest.mark.parametrize("needed", range(1, 16))
def test_each_subset_of_gradients_of_the_fused_sum(needed):
    rng = np.random.default_rng(0)
    inputs = [mg.tensor(rng.normal(size=shape), dtype=mg.float64, requires_grad=bool(needed >> i & 1))
              for i, shape in enumerate([(3, 2, 4, 4), (2,), (2,), (3, 2, 4, 4)])]
    wanted = [x for x in inputs if x.requires_grad]
    fused = batch_norm_leaky_relu(inputs[0], None, None, *inputs[1:3], negative_slope=0.2, other=inputs[3])
    plain = leaky_relu(batch_norm(inputs[0], None, None, *inputs[1:3], training=True) + inputs[3], 0.2)
    for a, b in zip(mg.grad(fused.sum(), wanted), mg.grad(plain.sum(), wanted), strict=True):
        np.testing.assert_allclose(a.array, b.array, atol=1e-12)


def units(transposed, stride, groups, dtype, rng, summed):
    """(fused, composed, inputs, running statistics of each)"""
    shapes = (3, 4, 5, 6), (4, 6 // groups, 3, 2) if transposed else (6, 4 // groups, 3, 2), (6,), (6,)
    inputs = [mg.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True) for shape in shapes]
    running = [[np.zeros(6, dtype), np.ones(6, dtype)] for _ in range(2)]
    product = conv_transpose2d if transposed else conv2d
    unit = conv_transpose2d_batch_norm_leaky_relu if transposed else conv2d_batch_norm_leaky_relu
    geometry = {"stride": stride, "padding": 1, "groups": groups}
    if summed:
        shape = product(*inputs[:2], **geometry).shape
        inputs.append(mg.tensor(rng.normal(size=shape), dtype=dtype, requires_grad=True))

    def fused(x, w, gamma, beta, other=None, slope=1.0):
        return unit(x, w, gamma, beta, lambda shape: (*running[0], 0.1), 0.1, negative_slope=slope, other=other, **geometry)

    def composed(x, w, gamma, beta, other=None, slope=1.0):
        y = batch_norm(product(x, w, **geometry), *running[1], gamma, beta, True, 0.1, 0.1)
        return leaky_relu(y if other is None else y + other, slope)

    return fused, composed, inputs, running


@given(slope=slopes, dtype=dtypes, transposed=st.booleans(), stride=st.integers(1, 2), groups=st.sampled_from([1, 2]),
       summed=st.booleans(), seed=st.integers(0, 99))
def test_convolution_batch_norm_leaky_relu_equal_the_composed_ones(slope, dtype, transposed, stride, groups, summed, seed):
    rng = np.random.default_rng(seed)
    fused, composed, inputs, running = units(transposed, stride, groups, dtype, rng, summed)
    assume(np.abs(composed(*inputs).array).min() > 1e-4)
    for r in running:
        r[0][...], r[1][...] = 0, 1
    found = orders(lambda *a: fused(*a, slope=slope), inputs, np.random.default_rng(seed))
    same(found, orders(lambda *a: composed(*a, slope=slope), inputs, np.random.default_rng(seed)), dtype)
    same(*running, dtype)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("needed", range(1, 32))
def test_each_subset_of_gradients_of_a_convolution_with_its_norm(needed, transposed):
    fused, composed, inputs, _ = units(transposed, 2, 1, np.float64, np.random.default_rng(0), needed > 15)
    for i, x in enumerate(inputs):
        x.requires_grad_(bool(needed >> i & 1))
    wanted = [x for x in inputs if x.requires_grad]
    cotangent = mg.tensor(np.random.default_rng(1).normal(size=composed(*inputs).shape))
    for create_graph in (False, True):
        found, plain = (mg.grad(f(*inputs, slope=0.2), wanted, cotangent, create_graph=create_graph) for f in (fused, composed))
        for a, b in zip(found, plain, strict=True):
            np.testing.assert_allclose(a.array, b.array, atol=1e-11)


def test_only_a_sum_keeps_the_output_alive():
    fused, _, inputs, _ = units(False, 1, 1, np.float32, np.random.default_rng(0), True)
    assert fused(*inputs[:4]).node.outputs[0] is None and fused(*inputs).node.outputs[0] is not None


def test_errors_of_a_convolution_with_its_norm():
    x, w, one, moving = mg.ones(2, 3, 5, 5), mg.ones(4, 3, 3, 3), mg.ones(4), lambda shape: (None, None, 0.1)
    with pytest.raises(ValueError, match="conv2d_batch_norm_leaky_relu: negative_slope must be at least 0, got -0.1"):
        conv2d_batch_norm_leaky_relu(x, w, one, one, moving, negative_slope=-0.1)
    with pytest.raises(ValueError, match=r"conv2d_batch_norm_leaky_relu: gamma \(3,\) must be \(4,\)"):
        conv2d_batch_norm_leaky_relu(x, w, mg.ones(3), one, moving)
    with pytest.raises(ValueError, match=r"other \(2, 4, 1, 1\) must have the shape of the output, \(2, 4, 3, 3\)"):
        conv2d_batch_norm_leaky_relu(x, w, one, one, moving, other=mg.ones(2, 4, 1, 1))
    with pytest.raises(TypeError, match="all must be of one dtype, got float32, float32, float64, float32"):
        conv2d_batch_norm_leaky_relu(x, w, one.double(), one, moving)
    with pytest.raises(ValueError, match=r"training needs more than one value per channel, got \(1, 3, 1, 1\)"):
        conv_transpose2d_batch_norm_leaky_relu(mg.ones(1, 4, 1, 1), mg.ones(4, 3, 1, 1), mg.ones(3), mg.ones(3), moving)


@pytest.mark.parametrize("function", [
    lambda x, o: add_leaky_relu(x, o, 0.2), lambda x, o: add_leaky_relu(o, x, 0.2),
    lambda x, o: batch_norm_leaky_relu(x, None, None, mg.ones(2), mg.zeros(2), negative_slope=0.2, other=o),
    lambda x, o: batch_norm_leaky_relu(x, None, None, mg.ones(2), mg.zeros(2), negative_slope=0.2, other=-2 * o),
])
def test_a_fused_sum_of_two_types_promotes_as_a_sum_does(function):
    x = mg.tensor(np.random.default_rng(0).normal(size=(4, 2, 3, 3)), dtype=mg.float32, requires_grad=True)
    o = mg.tensor(np.random.default_rng(1).normal(size=x.shape), dtype=mg.float64, requires_grad=True)
    y = function(x, o)
    dx, do = mg.grad(y.sum(), [x, o])
    assert (y.dtype, dx.dtype, do.dtype) == (mg.float64, mg.float32, mg.float64)
    wide = x.detach().double().requires_grad_()
    exact = function(wide, o)
    np.testing.assert_allclose(y.array, exact.array, atol=1e-6)
    for a, b in zip((dx, do), mg.grad(exact.sum(), [wide, o]), strict=True):
        np.testing.assert_allclose(a.array, b.array, atol=1e-5)


def test_relu_at_the_kink_keeps_its_published_subgradient():
    x, b = mg.tensor([[0.0, 1.0]], requires_grad=True), mg.tensor([0.0, -1.0])
    for slope in (0.0, 0.2):
        (g,) = mg.grad(bias_leaky_relu(x, b, slope).sum(), [x])
        np.testing.assert_array_equal(g.array, np.full((1, 2), slope, np.float32))


def test_nan_propagates():
    x = mg.tensor([[np.nan, 1.0], [1.0, 2.0]])
    assert np.isnan(bias_leaky_relu(x, mg.zeros(2)).array[0, 0])
    assert np.isnan(batch_norm_leaky_relu(x, None, None, mg.ones(2), mg.zeros(2)).array[:, 0]).all()
    assert np.isnan(add_leaky_relu(mg.zeros(2, 2), x).array[0, 0])
    assert np.isnan(batch_norm_leaky_relu(mg.ones(2, 2), None, None, mg.ones(2), mg.zeros(2), other=x).array[0, 0])


def test_errors_name_the_function():
    with pytest.raises(ValueError, match="bias_leaky_relu: negative_slope"):
        bias_leaky_relu(mg.zeros(2, 3), mg.zeros(3), -0.1)
    with pytest.raises(ValueError, match="add_leaky_relu: negative_slope must be at least 0"):
        add_leaky_relu(mg.zeros(2, 3), mg.zeros(2, 3), -0.1)
    with pytest.raises(ValueError, match=r"add_leaky_relu: other \(3,\) must have the shape of input, \(2, 3\)"):
        add_leaky_relu(mg.zeros(2, 3), mg.zeros(3))
    with pytest.raises(ValueError, match=r"batch_norm_leaky_relu: other \(2, 1\) must have"):
        batch_norm_leaky_relu(mg.zeros(2, 3), None, None, mg.ones(3), mg.zeros(3), other=mg.zeros(2, 1))
    with pytest.raises(ValueError, match="batch_norm_leaky_relu: training needs more than one value"):
        batch_norm_leaky_relu(mg.zeros(1, 3), None, None, mg.ones(3), mg.zeros(3))
