"""pad, unfold, fold, pixel_shuffle: PyTorch's values for every argument, adjoints, inverses, layouts, wrong arguments."""
import functools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import channels_last, random, same_as_torch

import minigrad as mg
import minigrad.functional as F
from minigrad.gradcheck import check_grads

width = st.integers(-2, 4)


@given(st.data())
def test_pad_is_pytorchs(data):
    torch = pytest.importorskip("torch")
    ndim = data.draw(st.integers(2, 5))
    axes = data.draw(st.integers(max(1, ndim - 2), min(3, ndim - 1)))
    shape = tuple(data.draw(st.integers(1, 5)) for _ in range(ndim))
    mode = data.draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    keys = {"pad": tuple(data.draw(width) for _ in range(2 * axes)), "mode": mode}
    if mode == "constant":
        keys["value"] = data.draw(st.sampled_from([None, 0.0, -1.5, math.inf]))
    x = random(*shape)
    try:
        F.pad(mg.tensor(x), **keys)
    except ValueError:
        # torch fills from memory it never wrote where a cut leaves less than what is to be repeated
        if mode != "circular" or min(keys["pad"]) >= 0:
            with pytest.raises(RuntimeError):
                torch.nn.functional.pad(torch.tensor(x), **keys)
        return
    try:
        torch.nn.functional.pad(torch.tensor(x), **keys)
    except (RuntimeError, NotImplementedError):
        assume(False)
    same_as_torch(functools.partial(F.pad, **keys), functools.partial(torch.nn.functional.pad, **keys), x, order=2)


def test_pad_takes_the_last_axis_first():
    x = random(1, 1, 2, 3)
    assert F.pad(mg.tensor(x), (1, 2, 3, 4)).shape == (1, 1, 9, 6)
    for mode, name in (("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")):
        y = F.pad(mg.tensor(x), (2, 1, 1, 0), mode)
        np.testing.assert_array_equal(y.array, np.pad(x, ((0, 0), (0, 0), (1, 0), (2, 1)), mode=name))
        assert y.array.transpose(0, 2, 3, 1).flags.c_contiguous


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_derivatives(mode):
    check_grads(lambda x: F.pad(x, (2, -1, 1, 2), mode) ** 2, [random(2, 1, 3, 4)], order=3)


@st.composite
def windows(draw):
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    return {"kernel_size": draw(pairs), "dilation": draw(pairs), "stride": draw(pairs),
            "padding": draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))}


@given(windows(), st.tuples(st.integers(1, 6), st.integers(1, 6)), st.booleans())
def test_unfold_and_fold_are_pytorchs_and_adjoint(keys, size, batched):
    torch = pytest.importorskip("torch")
    x = random(*((2,) if batched else ()), 3, *size)
    try:
        columns = F.unfold(mg.tensor(x), **keys)
    except ValueError:
        with pytest.raises(RuntimeError):
            torch.nn.functional.unfold(torch.tensor(x), **keys)
        return
    theirs = functools.partial(torch.nn.functional.unfold, **keys)
    same_as_torch(functools.partial(F.unfold, **keys), theirs, x, order=2)
    g = random(*columns.shape, seed=1)
    same_as_torch(functools.partial(F.fold, output_size=size, **keys),
                  functools.partial(torch.nn.functional.fold, output_size=size, **keys), g, order=2)
    image = F.fold(mg.tensor(g), size, **keys).array
    assert math.isclose((columns.array * g).sum(), (x * image).sum(), abs_tol=1e-9)


def test_convolution_is_unfold_and_a_product():
    x, w = random(2, 3, 6, 5), random(4, 3, 2, 3)
    columns = F.unfold(mg.tensor(x), (2, 3), padding=(1, 0), stride=(2, 1)).array
    y = F.conv2d(mg.tensor(x), mg.tensor(w), padding=(1, 0), stride=(2, 1)).array
    np.testing.assert_allclose((w.reshape(4, -1) @ columns).reshape(y.shape), y, atol=1e-12)


@given(st.integers(1, 3), st.lists(st.integers(1, 2), max_size=2), st.integers(1, 3), st.integers(1, 3))
def test_pixel_shuffle_is_pytorchs_and_inverted_by_unshuffle(r, lead, h, w):
    torch = pytest.importorskip("torch")
    x = random(*lead, 2 * r * r, h, w)
    same_as_torch(functools.partial(F.pixel_shuffle, upscale_factor=r),
                  functools.partial(torch.nn.functional.pixel_shuffle, upscale_factor=r), x, order=2)
    y = F.pixel_shuffle(mg.tensor(x), r)
    np.testing.assert_array_equal(F.pixel_unshuffle(y, r).array, x)
    same_as_torch(functools.partial(F.pixel_unshuffle, downscale_factor=r),
                  functools.partial(torch.nn.functional.pixel_unshuffle, downscale_factor=r),
                  y.array, order=2)


def test_derivatives_of_both_orders():
    check_grads(lambda x: F.unfold(x, (2, 3), (1, 2), 1, (2, 1)), [random(1, 2, 4, 5)])
    check_grads(lambda x: F.fold(x, (4, 5), 2, padding=1, stride=2), [random(1, 8, 9)])
    check_grads(lambda x: F.pixel_shuffle(x, 2), [random(1, 8, 2, 3)])
    check_grads(lambda x: F.pixel_unshuffle(x, 2), [random(1, 2, 4, 2)])


@pytest.mark.parametrize("f", [lambda x: F.pad(x, (1, 2, 3, 0), "reflect"), lambda x: F.pad(x, (1, 2, 3, 0)),
                               lambda x: F.pixel_shuffle(x, 2), lambda x: F.pixel_unshuffle(x, 2),
                               lambda x: F.fold(F.unfold(x, 3, 1, 1), (4, 6), 3, 1, 1)])
def test_layout_dtype_and_batch(f):
    x = random(2, 4, 4, 6, dtype=np.float32)
    y = f(mg.tensor(x))
    assert y.dtype == np.float32 and y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(f(mg.tensor(channels_last(x))).array, y.array)
    assert f(mg.zeros((0, 4, 4, 6))).shape == (0, *y.shape[1:])


X = mg.zeros((2, 3, 4, 4))


@pytest.mark.parametrize("call, message", [
    (lambda: F.pad(X, (1, 2, 3)), "a pair for each padded axis"),
    (lambda: F.pad(X, (1,) * 10), "a pair for each padded axis"),
    (lambda: F.pad(X, (-3, -2)), "cuts more"),
    (lambda: F.pad(X, (4, 0), "reflect"), "at most 3 on each side"),
    (lambda: F.pad(X, (5, 0), "circular"), "at most 4 on each side"),
    (lambda: F.pad(X, (1, 1), "mirror"), "mode must be"),
    (lambda: F.pad(X, (1, 1), "reflect", 1.0), "value"),
    (lambda: F.unfold(X, 5), "no window"),
    (lambda: F.unfold(X[0, 0], 2), r"\(N, C, H, W\)"),
    (lambda: F.fold(mg.zeros((1, 9, 4)), (4, 4), 2), r"must be \(N, C \* 4, 9\)"),
    (lambda: F.pixel_shuffle(X, 2), "must divide by"),
    (lambda: F.pixel_unshuffle(X, 3), "must divide by"),
    (lambda: F.pixel_shuffle(X, 0), "at least 1"),
    (lambda: F.pixel_shuffle(X[0, 0], 2), r"\(..., C, H, W\)"),
])
def test_wrong_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_type_errors():
    with pytest.raises(TypeError, match="integer"):
        F.pad(X, (1.5, 2))
    with pytest.raises(TypeError, match="must be a Tensor"):
        F.pad(np.zeros((1, 2)), (1, 1))
