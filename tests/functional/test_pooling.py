"""Pooling and maps along an axis: PyTorch's values for every argument, differences, adjoints, layouts, wrong arguments."""
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import channels_last, random, same_as_torch, same_in_float32

import minigrad as mg
from minigrad.functional import pooling as F
from minigrad.gradcheck import check_grads


@st.composite
def geometries(draw, dilated):
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    keys = {
        "kernel_size": kernel,
        "stride": draw(st.one_of(st.none(), st.tuples(st.integers(1, 3), st.integers(1, 3)))),
        "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
        "ceil_mode": draw(st.booleans()),
    }
    if dilated:
        keys["dilation"] = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    return keys


shapes = st.one_of(st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)),
                   st.tuples(st.integers(1, 2), st.integers(3, 7), st.integers(3, 7)))


def distinct(*shape, seed=0):
    """Values with no two near each other, so that no difference quotient crosses a tie."""
    return np.random.default_rng([seed, *shape]).permutation(math.prod(shape)).reshape(shape) * 0.1 - 1.0


@given(shapes, geometries(dilated=True))
def test_max_pool2d_is_pytorchs(shape, keys):
    torch = pytest.importorskip("torch")
    try:
        F.max_pool2d(mg.zeros(shape), **keys)
    except ValueError:
        assume(False)
    same_as_torch(lambda x: F.max_pool2d(x, **keys, return_indices=True),
                  lambda x: torch.nn.functional.max_pool2d(x, **keys, return_indices=True),
                  distinct(*shape), order=2)


@given(shapes, geometries(dilated=False), st.booleans(), st.sampled_from([None, 3, -2]))
def test_avg_pool2d_is_pytorchs(shape, keys, count_include_pad, divisor_override):
    torch = pytest.importorskip("torch")
    keys |= {"count_include_pad": count_include_pad, "divisor_override": divisor_override}
    try:
        F.avg_pool2d(mg.zeros(shape), **keys)
    except ValueError:
        with pytest.raises(RuntimeError):
            torch.nn.functional.avg_pool2d(torch.zeros(shape), **keys)
        return
    same_as_torch(lambda x: F.avg_pool2d(x, **keys), lambda x: torch.nn.functional.avg_pool2d(x, **keys),
                  random(*shape), order=2)


@given(shapes, st.tuples(st.one_of(st.none(), st.integers(1, 8)), st.one_of(st.none(), st.integers(1, 8))))
def test_adaptive_pooling_is_pytorchs(shape, size):
    torch = pytest.importorskip("torch")
    same_as_torch(lambda x: F.adaptive_avg_pool2d(x, size),
                  lambda x: torch.nn.functional.adaptive_avg_pool2d(x, size), random(*shape), order=2)
    same_as_torch(lambda x: F.adaptive_max_pool2d(x, size, return_indices=True),
                  lambda x: torch.nn.functional.adaptive_max_pool2d(x, size, return_indices=True),
                  distinct(*shape), order=2)


def test_derivatives_of_both_orders():
    check_grads(lambda x: F.max_pool2d(x, 3, 2, 1), [distinct(2, 2, 5, 6)])
    check_grads(lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False), [random(2, 2, 5, 6)])
    check_grads(lambda x: F.adaptive_avg_pool2d(x, (3, 4)), [random(2, 2, 5, 6)])
    check_grads(lambda x: F.adaptive_max_pool2d(x, (3, 4)), [distinct(2, 2, 5, 6)])
    check_grads(lambda x: F.max_pool2d(x * x, 2) ** 3, [distinct(1, 2, 4, 4)], order=3)


def test_max_pool2d_against_the_definition():
    x = random(2, 3, 6, 7)
    y, at = F.max_pool2d(mg.tensor(x), (2, 3), stride=(2, 1), padding=(1, 1), dilation=(2, 1), return_indices=True)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    for i, j in itertools.product(*map(range, y.shape[2:])):
        window = padded[:, :, 2 * i : 2 * i + 3 : 2, j : j + 3]
        np.testing.assert_array_equal(y.array[:, :, i, j], window.max(axis=(2, 3)))
    np.testing.assert_array_equal(np.take_along_axis(x.reshape(2, 3, -1), at.array.reshape(2, 3, -1), 2),
                                  y.array.reshape(2, 3, -1))
    assert at.dtype == np.int64 and not at.requires_grad


def test_the_first_of_equal_maxima_gets_the_whole_gradient():
    x = mg.zeros((1, 1, 2, 2), requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.array, [[[[1, 0], [0, 0]]]])


def test_nan_propagates_and_only_where_it_is():
    x = np.ones((1, 1, 4, 6), np.float32)
    x[0, 0, 0, 0] = np.nan
    for f in (lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2), lambda x: F.adaptive_avg_pool2d(x, (2, 3)),
              lambda x: F.adaptive_max_pool2d(x, (2, 3)), lambda x: F.adaptive_avg_pool2d(x, (4, 4))):
        y = f(mg.tensor(x)).array[0, 0]
        assert np.isnan(y[0, 0]) and np.isfinite(y[1:]).all() and y.dtype == np.float32


@pytest.mark.parametrize("f", [lambda x: F.max_pool2d(x, 2), lambda x: F.avg_pool2d(x, 2, padding=1),
                               lambda x: F.adaptive_avg_pool2d(x, (3, None)),
                               lambda x: F.adaptive_max_pool2d(x, 3)])
def test_layout_and_batch(f):
    x = random(2, 3, 4, 6, dtype=np.float32)
    y = f(mg.tensor(x))
    assert y.dtype == np.float32 and y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(f(mg.tensor(channels_last(x))).array, y.array)
    np.testing.assert_array_equal(f(mg.tensor(x[1])).array, y.array[1])
    empty = mg.zeros((0, 3, 4, 6), requires_grad=True)
    out = f(empty)
    assert out.shape == (0, *y.shape[1:])
    assert mg.grad(out.sum(), [empty])[0].shape == empty.shape


@pytest.mark.parametrize("f", [
    lambda x: F.max_pool2d(x, 3, 2, 1),
    lambda x: F.max_pool2d(x, (2, 3), (1, 2), 1, (2, 1), ceil_mode=True),
    lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
    lambda x: F.avg_pool2d(x, 2, divisor_override=3),
    lambda x: F.adaptive_avg_pool2d(x, (4, 3)),
    lambda x: F.adaptive_max_pool2d(x, (4, 3)),
    lambda x: F.upsample_nearest(x, (2, 3)),
])
def test_float32_equals_float64_in_both_layouts(f):
    same_in_float32(f, distinct(2, 5, 9, 11) * 0.1)


def test_adjoints():
    x, g = random(2, 3, 5, 6), random(2, 3, 10, 18)
    up = F.upsample_nearest(mg.tensor(x), (2, 3)).array
    np.testing.assert_array_equal(up, x.repeat(2, 2).repeat(3, 3))
    tensor = mg.tensor(x, requires_grad=True)
    (back,) = mg.grad(F.upsample_nearest(tensor, (2, 3)), [tensor], mg.tensor(g))
    assert math.isclose((up * g).sum(), (x * back.array).sum())
    taps = F.Taps([2, 0, 2, 5, 2], [1, 1, 3, 0, 1], [0.5, 2.0, -1.0, 3.0, 1.0], 6, 5)
    dense = np.zeros((6, 5))
    np.add.at(dense, (taps.rows, taps.columns), taps.weights)
    for axis in range(3):
        x = random(5, 5, 5)
        np.testing.assert_allclose(F.axis_map(mg.tensor(x), axis, taps).array,
                                   np.moveaxis(np.tensordot(dense, x, (1, axis)), 0, axis), atol=1e-15)
    check_grads(lambda x: F.axis_map(x, 1, taps), [random(2, 5, 3)], order=3)


@pytest.mark.parametrize("call, message", [
    (lambda x: F.max_pool2d(x, 2, padding=2), "at most half"),
    (lambda x: F.max_pool2d(x, 9), "must be at least 1"),
    (lambda x: F.max_pool2d(x, 0), "at least 1"),
    (lambda x: F.max_pool2d(x, 2, stride=0), "at least 1"),
    (lambda x: F.max_pool2d(x, (1, 2, 3)), "one integer or two"),
    (lambda x: F.max_pool2d(x[:, :, :1], 2, padding=1, dilation=2, stride=2), "holds no pixel"),
    (lambda x: F.avg_pool2d(x, 2, padding=-1), "at least 0"),
    (lambda x: F.avg_pool2d(x, 2, divisor_override=0), "divisor_override"),
    (lambda x: F.avg_pool2d(x[0, 0], 2), r"\(N, C, H, W\)"),
    (lambda x: F.adaptive_avg_pool2d(x, 0), "at least 1"),
    (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), "one integer or two"),
    (lambda x: F.adaptive_max_pool2d(x[:, :, :0], 1), "with pixels"),
])
def test_wrong_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call(mg.zeros((2, 3, 4, 4)))


def test_wrong_types_are_type_errors():
    with pytest.raises(TypeError, match="integer"):
        F.max_pool2d(mg.zeros((1, 1, 4, 4)), 2.0)
    with pytest.raises(TypeError, match="floating-point"):
        F.avg_pool2d(mg.tensor([[[1, 2], [3, 4]]]), 2)
    with pytest.raises(TypeError, match="must be a Tensor"):
        F.max_pool2d(np.zeros((1, 1, 4, 4)), 2)
