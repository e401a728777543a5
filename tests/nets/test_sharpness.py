"""Sharpness: known Laplacians, and that an average is never sharper than what it averages."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigrad.random import Stream
from nets.sharpness import sharpness, sharpness_ratio


def test_a_plane_has_none_a_dot_has_its_own():
    i, j = np.mgrid[:5, :6].astype(float)
    assert sharpness((2 * i - 3 * j + 1)[None, None]) == pytest.approx(0, abs=1e-12)
    assert sharpness((i * i)[None, None]) == pytest.approx(2)  # the second difference of a square
    dot = np.zeros((1, 1, 5, 5))
    dot[..., 2, 2] = 1
    assert sharpness(dot) == pytest.approx((4 + 4 * 1) / 9)


@given(st.integers(0, 1000), st.floats(0.1, 5), st.floats(-3, 3))
def test_it_scales_with_contrast_and_not_with_brightness(seed, factor, shift):
    x = Stream(seed, "x").normal((2, 3, 6, 5), np.float64)
    np.testing.assert_allclose(sharpness(factor * x + shift), factor * sharpness(x), rtol=1e-9)


@given(st.integers(0, 1000), st.integers(2, 5))
def test_a_mean_is_at_most_as_sharp_as_its_parts(seed, n):
    x = Stream(seed, "x").normal((n, 1, 6, 6), np.float64)
    assert sharpness_ratio(x.mean(0, keepdims=True), x) <= 1 + 1e-12


def test_uint8_is_no_trap():
    x = np.zeros((1, 1, 3, 3), np.uint8)
    x[..., 1, 1] = 255
    assert sharpness(x) == pytest.approx(4 * 255)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 2, 8)])
def test_what_has_no_inner_pixels_is_refused(shape):
    with pytest.raises(ValueError, match="at least 3 x 3"):
        sharpness(np.zeros(shape))


def test_pictures_of_two_sizes_are_not_compared():
    with pytest.raises(ValueError, match="one size"):
        sharpness_ratio(np.zeros((1, 1, 8, 8)), np.zeros((1, 1, 9, 9)))
