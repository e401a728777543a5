"""Edge smoothing beside loops written out pixel by pixel, at pictures whose edges are known, and under turns."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gan.translate.edges import canny, clear_share, dilate, gaussian, grey, linked, smooth_edges, sobel, taps, thin


def pictures(seed, n=2, channels=3, height=13, width=11):
    """Blocks of colour with a little noise: edges of all kinds."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (n, channels, -(-height // 4), -(-width // 4))).repeat(4, 2).repeat(4, 3)[:, :, :height, :width]
    return np.clip(x + rng.integers(-9, 10, x.shape), 0, 255).astype(np.uint8)


# ---- by hand


def step(low=0, high=255, size=10):
    """Dark on the left, bright on the right: (1, size, size)."""
    x = np.full((1, size, size), low, np.uint8)
    x[:, :, size // 2 :] = high
    return x


def test_the_weights_of_the_gaussian():
    """exp(-i^2 / 2.42) = 1, 0.6615, 0.1915; over their sum 2.7060: 94.6, 62.6 and 18.1 of 256."""
    assert taps().tolist() == [18, 63, 94, 63, 18] and sum(taps()) == 256


def test_a_point_becomes_the_window():
    x = np.zeros((1, 1, 9, 9), np.uint8)
    x[0, 0, 4, 4] = 255
    expected = np.floor(np.outer(taps(), taps()) * 255 / 65536 + 0.5)
    np.testing.assert_array_equal(gaussian(x)[0, 0, 2:7, 2:7], expected)
    assert gaussian(x).sum() == expected.sum()


def test_reflection_leaves_the_border_pixel_out():
    """A row 0 0 0 0 255: at the last pixel the taps meet 0 0 255 0 0, at the last but one 0 0 0 255 0."""
    x = np.zeros((1, 1, 5, 5), np.uint8)
    x[:, :, :, 4] = 255
    assert gaussian(x)[0, 0, 2].tolist()[3:] == [math.floor(255 * w / 256 + 0.5) for w in (63, 94)]


def test_grey_is_what_television_has():
    x = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], np.uint8).reshape(4, 3, 1, 1)
    assert grey(x).ravel().tolist() == [76, 150, 29, 255] and grey(x[:, :1]).ravel().tolist() == [255, 0, 0, 255]


def test_sobel_of_a_slope_and_of_a_step():
    slope = np.arange(8, dtype=np.uint8)[None, None, :].repeat(6, 1) * 10
    gx, gy = sobel(slope)
    assert (gx[:, :, 1:-1] == 80).all() and (gx[:, :, [0, -1]] == 40).all() and not gy.any()  # 8 times the derivative
    np.testing.assert_array_equal(sobel(slope.transpose(0, 2, 1))[1], gx.transpose(0, 2, 1))
    assert sobel(step())[0].max() == 4 * 255


def test_a_step_has_one_edge_and_no_picture_without_steps_has_any():
    edges = canny(step())
    assert edges[:, :, 4].all() and edges.sum() == 10  # on the dark side of the step
    assert canny(255 - step())[:, :, 5].all() and canny(255 - step()).sum() == 10
    for level in (0, 7, 255):
        assert not canny(np.full((2, 9, 9), level, np.uint8)).any()
    assert not canny(np.arange(16, dtype=np.uint8)[None, None].repeat(9, 1)).any()


def test_the_thresholds_are_those_of_the_gradient():
    """Of a step of height h the blurred picture holds 18, 81, 175, 238 of 256 parts: gx = 4 (175 - 18) h / 256 on its dark side."""
    for height in range(10, 256, 35):
        size = int(thin(*sobel(gaussian(step(0, height)[:, None])[:, 0])).max())
        assert size == pytest.approx(4 * 157 / 256 * height, abs=4)  # rounded to whole grey levels
        assert canny(step(0, height), size - 1, size - 1).any() and not canny(step(0, height), 0, size).any()
    assert not canny(step(0, 80)).any() and canny(step(0, 84)).any()  # 200 stands for a step of 82
    with pytest.raises(ValueError, match="low <= high, got 3 and 2"):
        canny(step(), 3, 2)


def test_weak_edges_stay_where_they_hang_on_a_sure_one():
    weak, sure = np.zeros((2, 1, 7, 7), bool)
    weak[0, 1, 1:6], weak[0, 5, 1:6] = True, True
    sure[0, 1, 5] = True
    assert linked(weak, sure)[0, 1, 1:6].all() and linked(weak, sure).sum() == 5
    weak[0, [2, 3, 4], [5, 6, 6]] = True  # a bridge over corners
    assert linked(weak, sure).sum() == weak.sum()
    assert not linked(weak, np.zeros_like(sure)).any()


def test_the_square_around_a_pixel():
    x = np.zeros((1, 9, 9), bool)
    x[0, 4, 1] = True
    wide = dilate(x)
    assert wide[0, 2:7, 0:4].all() and wide.sum() == 20 and dilate(x, 0).sum() == 1


# ---- beside loops


def slow_gaussian(x):
    height, width = x.shape
    out, w = np.zeros_like(x), taps()

    def inside(i, n):
        return -i if i < 0 else 2 * (n - 1) - i if i >= n else i

    for r in range(height):
        for c in range(width):
            total = sum(int(w[i + 2]) * int(w[j + 2]) * int(x[inside(r + i, height), inside(c + j, width)])
                        for i in range(-2, 3) for j in range(-2, 3))
            out[r, c] = (total + 32768) // 65536
    return out


def slow_canny(x, low, high):
    """One picture, in loops, by angles: independent of the code under test but for the blurring."""
    x = slow_gaussian(x).astype(int)
    height, width = x.shape

    def at(r, c):
        return x[min(max(r, 0), height - 1), min(max(c, 0), width - 1)]

    size, ways = np.zeros((height, width), int), {}
    for r in range(height):
        for c in range(width):
            gx = sum(k * (at(r + i, c + 1) - at(r + i, c - 1)) for i, k in ((-1, 1), (0, 2), (1, 1)))
            gy = sum(k * (at(r + 1, c + i) - at(r - 1, c + i)) for i, k in ((-1, 1), (0, 2), (1, 1)))
            size[r, c] = abs(gx) + abs(gy)
            eighth = round(math.atan2(gy, gx) / (math.pi / 4)) % 8
            ways[r, c] = [(0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1), (-1, 0), (-1, 1)][eighth]

    def outside(r, c):
        return size[r, c] if 0 <= r < height and 0 <= c < width else 0

    ridge = {(r, c) for (r, c), (i, j) in ways.items()
             if size[r, c] > outside(r - i, c - j) and size[r, c] >= outside(r + i, c + j)}
    stack = [(r, c) for r, c in ridge if size[r, c] > high]
    found = set(stack)
    while stack:
        r, c = stack.pop()
        for near in ((r + i, c + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            if near in ridge and near not in found and size[near] > low:
                found.add(near)
                stack.append(near)
    out = np.zeros((height, width), bool)
    for place in found:
        out[place] = True
    return out


@pytest.mark.parametrize("seed", range(6))
def test_edges_are_those_of_the_loops(seed):
    x = pictures(seed, 1, 1)
    np.testing.assert_array_equal(gaussian(x)[0, 0], slow_gaussian(x[0, 0]))
    for low, high in ((100, 200), (30, 60), (0, 500)):
        np.testing.assert_array_equal(canny(x[:, 0], low, high)[0], slow_canny(x[0, 0], low, high))


# ---- properties


@given(seed=st.integers(0, 10_000), channels=st.sampled_from([1, 3]), height=st.integers(3, 14), width=st.integers(3, 14))
def test_only_pixels_near_edges_change_and_nothing_else_does(seed, channels, height, width):
    x = pictures(seed, 2, channels, height, width)
    before = x.copy()
    y = smooth_edges(x)
    near = dilate(canny(grey(x)))[:, None].repeat(channels, 1)
    np.testing.assert_array_equal(x, before)
    np.testing.assert_array_equal(y[~near], x[~near])
    np.testing.assert_array_equal(y[near], gaussian(x)[near])
    assert y.dtype == np.uint8 and y.shape == x.shape


@given(seed=st.integers(0, 10_000), turns=st.integers(0, 3), mirror=st.booleans())
def test_turned_and_mirrored_pictures_have_turned_and_mirrored_edges(seed, turns, mirror):
    def moved(x):
        x = np.rot90(x, turns, (-2, -1))
        return x[..., ::-1] if mirror else x

    x = pictures(seed)
    np.testing.assert_array_equal(smooth_edges(np.ascontiguousarray(moved(x))), moved(smooth_edges(x)))
    np.testing.assert_array_equal(canny(grey(moved(x))), moved(canny(grey(x))))


@given(seed=st.integers(0, 1000), low=st.integers(0, 300), more=st.integers(0, 300))
def test_higher_thresholds_find_fewer_edges(seed, low, more):
    x = grey(pictures(seed))
    assert not (canny(x, low, low + more) & ~canny(x, low, low)).any()
    assert not (canny(x, low + more, low + more) & ~canny(x, low, low + more)).any()


def test_many_pictures_are_the_same_as_each_alone():
    x = pictures(0, 70)
    for i in (0, 63, 64, 69):
        np.testing.assert_array_equal(smooth_edges(x)[i : i + 1], smooth_edges(x[i : i + 1]))
    assert smooth_edges(x[:0]).shape == (0, 3, 13, 11)


def test_lines_are_clearer_than_what_became_of_them():
    x = pictures(3, 8, 3, 32, 32)
    assert clear_share(x) > 1.3 * clear_share(smooth_edges(x)) > 0
    assert clear_share(np.full((1, 1, 8, 8), 9, np.uint8)) == 0.0


@pytest.mark.parametrize("wrong", [np.zeros((1, 3, 8, 8), np.float32), np.zeros((1, 2, 8, 8), np.uint8),
                                   np.zeros((3, 8, 8), np.uint8), np.zeros((1, 3, 8, 2), np.uint8)],
                         ids=lambda x: f"{x.dtype}{x.shape}")
@pytest.mark.parametrize("function", [smooth_edges, clear_share])
def test_what_are_no_pictures_is_refused(function, wrong):
    with pytest.raises(ValueError, match=f"{function.__name__}: needs pictures uint8"):
        function(wrong)
