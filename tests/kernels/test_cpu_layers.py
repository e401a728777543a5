"""The compiled normalisation, activation, pooling and optimiser kernels against the reference, in every layout."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels import cpu, reference
from tests.kernels.strategies import LAYOUTS, lay, values
from tests.kernels.test_reference_layers import pools

AXES = [((3, 5, 4, 6), (0, 2, 3)), ((3, 5, 4, 6), (2, 3)), ((3, 5, 4, 6), (1, 2, 3)), ((3, 5, 4, 6), (3,)), ((3, 5, 4, 6), (0, 1)),
        ((70, 5), (0,)), ((7, 50), (1,)), ((3, 5, 40), (0, 2)), ((3, 5, 40), (2,)), ((4, 130, 23, 9), (0, 2, 3))]


def close(ours, exact, tolerance=1e-5):
    for a, b in zip(ours, exact, strict=True):
        assert a.shape == b.shape and a.dtype == np.float32
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max(initial=0)))


@settings(max_examples=100)
@given(st.sampled_from(AXES), st.sampled_from(LAYOUTS), st.sampled_from([0, 100]))
def test_normalise_and_its_adjoint(case, layout, offset):
    shape, axes = case
    x = lay(values(0, shape, np.float32) + np.float32(offset), layout)
    exact = reference.normalise(x.astype(np.float64), axes, 1e-3)
    ours = cpu.normalise(x, axes, 1e-3)
    close(ours, exact, 1e-4 if offset else 1e-5)
    xhat, istd = (a.astype(np.float32) for a in exact[:2])
    g, g_istd = values(1, shape, np.float32, layout), values(2, istd.shape, np.float32)
    for one, two in ((g, None), (None, g_istd), (g, g_istd)):
        exact_dx = reference.normalise_dx(*(None if a is None else a.astype(np.float64) for a in (one, two, xhat, istd)), axes)
        close([cpu.normalise_dx(one, two, xhat, istd, axes)], [exact_dx])


def test_variance_does_not_cancel_far_from_zero():
    x = (values(0, (64, 3, 20, 20)) + 1e4).astype(np.float32)
    var = cpu.normalise(x, (0, 2, 3), 1e-5)[3]
    np.testing.assert_allclose(var, x.astype(np.float64).var((0, 2, 3), keepdims=True), rtol=1e-4)


@settings(max_examples=60)
@given(st.sampled_from([((3, 5, 4, 6), (0, 2, 3)), ((3, 5, 4, 6), (2, 3)), ((70, 5), (0,)), ((9, 40, 13, 7), (0, 2, 3))]),
       st.sampled_from(["none", "weight", "both"]), st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from(LAYOUTS))
def test_normalisation_with_scale_shift_and_activation(case, affine, slope, layout):
    shape, axes = case
    x, g = values(0, shape, np.float32, layout), values(1, shape, np.float32, layout)
    w = None if affine == "none" else values(2, shape[1], np.float32)
    b = values(3, shape[1], np.float32) if affine == "both" else None
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, b)]
    exact = reference.norm_leaky_relu(*wide, axes, 1e-3, slope)
    close(cpu.norm_leaky_relu(x, w, b, axes, 1e-3, slope), exact)
    _, istd, mean, _ = exact
    dx = reference.norm_leaky_relu_dx(g.astype(np.float64), *wide, istd, mean, axes, slope)
    close(cpu.norm_leaky_relu_dx(g, x, w, b, istd.astype(np.float32), mean.astype(np.float32), axes, slope), dx, 3e-5)
    other = values(4, shape, np.float32, "nchw")                # added before the activation
    exact = reference.norm_leaky_relu(*wide, axes, 1e-3, slope, other.astype(np.float64))
    y = cpu.norm_leaky_relu(x, w, b, axes, 1e-3, slope, other)
    close(y, exact)
    dx = reference.norm_leaky_relu_dx(g.astype(np.float64), *wide, istd, mean, axes, slope, y[0].astype(np.float64))
    close(cpu.norm_leaky_relu_dx(g, x, w, b, istd.astype(np.float32), mean.astype(np.float32), axes, slope, y[0]), dx, 3e-5)


@settings(max_examples=60)
@given(st.sampled_from([(7, 4), (3, 4, 5), (2, 33, 9, 9)]), st.sampled_from([1.0, 0.2, 0.0]), st.sampled_from(LAYOUTS))
def test_bias_and_activation(shape, slope, layout):
    x, b, g = values(0, shape, np.float32, layout), values(1, shape[1], np.float32), values(2, shape, np.float32, layout)
    exact = reference.bias_leaky_relu(*(a.astype(np.float64) for a in (x, b)), slope)
    y = cpu.bias_leaky_relu(x, b, slope)
    close([y], [exact])
    close(cpu.bias_leaky_relu_dx(g, y, slope), reference.bias_leaky_relu_dx(g.astype(np.float64), exact, slope))


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 3, 0, 4), (0, 3), (2, 0, 4, 4)])
def test_bias_and_activation_of_nothing(shape):
    x, bias = np.zeros(shape, np.float32), np.zeros(shape[1], np.float32)
    y = cpu.bias_leaky_relu(x, bias, 0.2)
    dx, dbias = cpu.bias_leaky_relu_dx(x, y, 0.2)
    assert y.shape == dx.shape == shape and dbias.shape == bias.shape and not dbias.any()


@given(st.sampled_from([(), (5,), (3, 4), (2, 3, 4, 5), (0, 3), (40, 1000)]), st.sampled_from([0.0, 0.2, 1.0]),
       st.sampled_from(LAYOUTS))
def test_leaky_relu_equals_the_reference_to_the_bit(shape, slope, layout):
    if not shape:
        layout = "nchw"
    x, g = values(0, shape, np.float32, layout), values(1, shape, np.float32, "nchw")
    y = cpu.leaky_relu(x, slope)
    np.testing.assert_array_equal(y, reference.leaky_relu(x, slope))
    np.testing.assert_array_equal(cpu.leaky_relu_dx(g, x, slope), reference.leaky_relu_dx(g, x, slope))
    np.testing.assert_array_equal(cpu.add_leaky_relu(x, g, slope), reference.add_leaky_relu(x, g, slope))
    assert y.shape == x.shape and y.dtype == np.float32


def test_nan_and_infinity_in_the_activation():
    x = np.array([-np.inf, -2.0, 0.0, 3.0, np.inf, np.nan] * 20, np.float32)
    g = np.array([np.inf, np.nan, 1.0, 1.0, np.nan, 2.0] * 20, np.float32)
    for slope in (0.0, 0.5):
        np.testing.assert_array_equal(cpu.leaky_relu(x, slope), reference.leaky_relu(x, slope))
        np.testing.assert_array_equal(cpu.leaky_relu_dx(g, x, slope), reference.leaky_relu_dx(g, x, slope))
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(cpu.add_leaky_relu(x, g, slope), reference.add_leaky_relu(x, g, slope))


@pytest.mark.parametrize("slope", [1.0, 0.2, 0.0])
def test_a_nan_makes_its_channel_nan_and_no_other(slope):
    x = values(0, (3, 5, 7, 6), np.float32, "nhwc")
    x[1, 2, 3, 4] = np.nan
    y, istd, mean, var = cpu.norm_leaky_relu(x, None, None, (0, 2, 3), 1e-5, slope)
    assert np.isnan(y[:, 2]).all() and np.isnan([istd[0, 2], mean[0, 2], var[0, 2]]).all()
    assert np.isfinite(np.delete(y, 2, 1)).all()


@settings(max_examples=60)
@given(pools(), st.sampled_from(LAYOUTS), st.sampled_from(["normal", "ties", "nan", "-inf"]))
def test_max_pool_equals_the_reference_to_the_bit(case, layout, kind):
    shape, kernel, stride, padding, dilation, out, _ = case
    x = values(0, shape, np.float32)
    x = lay({"normal": x, "ties": np.round(x), "nan": np.where(x > 1, np.float32(np.nan), x),
             "-inf": np.where(x < 1, np.float32(-np.inf), x)}[kind], layout)
    y, indices = cpu.max_pool2d(x, kernel, stride, padding, dilation, out)
    exact, places = reference.max_pool2d(x, kernel, stride, padding, dilation, out)
    np.testing.assert_array_equal(y, exact)
    np.testing.assert_array_equal(indices, places)
    g = values(1, y.shape, np.float32, layout)
    np.testing.assert_allclose(cpu.max_pool2d_scatter(g, indices, shape[2:]),
                               reference.max_pool2d_scatter(g, indices, shape[2:]), rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(cpu.max_pool2d_gather(x, indices), reference.max_pool2d_gather(x, indices))


@pytest.mark.parametrize("channels, size", [(16, (4, 6)), (32, (5, 7)), (48, (2, 2)), (24, (6, 4)), (64, (1, 3))])
@pytest.mark.parametrize("special", [0.0, np.nan, -np.inf, np.inf])
def test_max_pool_of_two_by_two_equals_the_reference_to_the_bit(channels, size, special):
    x = np.round(values(0, (3, channels, *size), np.float32))
    x = np.where(np.abs(values(1, x.shape, np.float32)) > 1, np.float32(special), x)
    args = (2, 2), (2, 2), (0, 0), (1, 1), (size[0] // 2, size[1] // 2)
    for ours, exact in zip(cpu.max_pool2d(x, *args), reference.max_pool2d(x, *args), strict=True):
        np.testing.assert_array_equal(ours, exact)


@settings(max_examples=60)
@given(pools(dilated=False), st.booleans(), st.sampled_from([None, 3]), st.sampled_from(LAYOUTS))
def test_average_pool_and_its_adjoint(case, include, divisor, layout):
    shape, kernel, stride, padding, _, out, _ = case
    x = values(0, shape, np.float32, layout)
    rest = kernel, stride, padding
    y = cpu.avg_pool2d(x, *rest, out, include, divisor)
    close([y], [reference.avg_pool2d(x.astype(np.float64), *rest, out, include, divisor)])
    g = values(1, y.shape, np.float32, layout)
    close([cpu.avg_pool2d_dx(g, *rest, shape[2:], include, divisor)],
          [reference.avg_pool2d_dx(g.astype(np.float64), *rest, shape[2:], include, divisor)])


def everything(x, g, w):
    y, istd, mean, _ = cpu.norm_leaky_relu(x, w, w, (0, 2, 3), 1e-5, 0.2)
    p, m, v, big = x.copy(), g.copy(), np.abs(g), x.reshape(-1)[:1100 * 400].reshape(1100, 400)
    cpu.adam_step([p], [g], [m], [v], None, step=3, lr=0.1, beta1=0.5, beta2=0.9, eps=1e-8, weight_decay=0.1, decoupled=False,
                  maximize=False)
    return [y, *cpu.norm_leaky_relu_dx(g, x, w, w, istd, mean, (0, 2, 3), 0.2), *cpu.bias_leaky_relu_dx(g, y, 0.2),
            cpu.leaky_relu(x, 0.2), *cpu.normalise(x, (1, 2, 3), 1e-5), p,
            *(cpu.matmul(a, a.T) for a in (big, big[:100], big[:, :30]))]


def test_same_bits_for_any_number_of_threads():
    x, g, w = values(0, (50, 48, 17, 13), np.float32), values(1, (50, 48, 17, 13), np.float32), values(2, 48, np.float32)
    before = kernels.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 5):
            kernels.set_num_threads(threads)
            results.append(everything(x, g, w))
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


def test_optimisers_fall_back_for_arrays_that_are_not_contiguous():
    p = np.asfortranarray(values(0, (4, 5), np.float32))
    twin, g = np.ascontiguousarray(p), values(1, (4, 5), np.float32)
    options = dict(lr=0.1, momentum=0, dampening=0, weight_decay=0.1, nesterov=False, maximize=False, first=True)
    cpu.sgd_step([p], [g], None, **options)
    cpu.sgd_step([twin], [g], None, **options)
    np.testing.assert_allclose(p, twin, rtol=1e-6)


def test_optimisers_refuse_states_of_another_size():
    p, g = np.zeros(4, np.float32), np.zeros(4, np.float32)
    with pytest.raises(ValueError, match="differ in size"):
        cpu.adagrad_step([p], [g], [np.zeros(3, np.float32)], step=1, lr=1, lr_decay=0, eps=1e-8, weight_decay=0, maximize=False)


def test_one_call_steps_many_parameters_of_any_size():
    sizes = [0, 1, 5, 16384, 16385, 70000]
    ps, gs, ss = ([values(10 * k + i, n, np.float32) ** (2 if k == 2 else 1) for i, n in enumerate(sizes)] for k in range(3))
    copies = [p.copy() for p in ps], [s.copy() for s in ss]
    options = dict(step=2, lr=0.1, lr_decay=0.1, eps=1e-8, weight_decay=0.1, maximize=True)
    cpu.adagrad_step(ps, gs, ss, **options)
    reference.adagrad_step(copies[0], gs, copies[1], **options)
    for a, b in zip(ps + ss, copies[0] + copies[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("shapes", [((0, 3), (3, 4)), ((5, 3), (3, 4)), ((2, 5, 3), (3, 4)), ((2, 5, 3), (2, 3, 4)),
                                    ((300, 500), (500, 500)), ((2, 200, 500), (500, 470)), ((100, 700), (700, 1100)),
                                    ((1100, 400), (400, 30))])
@pytest.mark.parametrize("layout", ["nchw", "fortran", "reversed", "strided", "readonly"])
def test_matmul_is_numpys(shapes, layout):
    a, b = (values(i, s, np.float32, layout) for i, s in enumerate(shapes))
    exact = np.matmul(a.astype(np.float64), b.astype(np.float64))
    ours = kernels.matmul(a, b)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, exact, atol=1e-5 * max(1, np.abs(exact).max(initial=0)))
    with pytest.raises(ValueError, match="mismatch"):
        kernels.matmul(np.zeros((3, 4), np.float32), np.zeros((3, 4), np.float32))
