"""Resizing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from minigrad.data import resize


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 24), st.integers(1, 24), st.integers(0, 100))
@settings(max_examples=60)
def test_resize_equals_pillow(height, width, new_height, new_width, seed):
    images = np.random.default_rng(seed).integers(0, 256, (2, 1, height, width), np.uint8)
    found = resize(images, (new_height, new_width))
    assert found.shape == (2, 1, new_height, new_width) and found.dtype == np.uint8
    for ours, image in zip(found[:, 0], images[:, 0], strict=True):
        theirs = np.asarray(Image.fromarray(image).resize((new_width, new_height), Image.Resampling.BILINEAR))
        assert np.abs(ours.astype(int) - theirs).max() <= 1


def test_a_size_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 1"):
        resize(np.zeros((1, 1, 2, 2), np.uint8), 0)
