"""Winograd: the algebra holds exactly, the error in float32 is bounded, and "exact" turns it off."""
import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import config

from minigrad import kernels
from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu.convolution import choice, plans, winograd_panels, winograd_transforms
from tests.kernels.strategies import out_size, values


@given(st.integers(1, 6), st.integers(1, 5), st.integers(0, 1000))
def test_the_matrices_give_the_correlation_for_any_patch_and_kernel(m, r, seed):
    points = (0, 1, -1, 2, -2, "1/2", "-1/2", 3, -3, 4)
    at, g, bt = winograd_transforms.matrices(m, r, points)
    x, w = values(seed, m + r - 1), values(seed + 1, r)
    direct = [sum(x[i + j] * w[j] for j in range(r)) for i in range(m)]
    np.testing.assert_allclose(at @ ((g @ w) * (bt @ x)), direct, rtol=1e-7, atol=1e-7)


@given(st.integers(1, 200), st.sampled_from([(4, 3), (3, 2), (3,), (2,)]))
def test_patches_of_two_sides_cover_a_length_and_hang_out_as_little_as_can_be(length, sides):
    runs = plans.runs(length, sides)
    assert [start for start, _, _ in runs] == list(np.cumsum([0] + [n for _, n, _ in runs])[:-1])
    assert sum(n for _, n, _ in runs) == length
    patches = [(side, -(-n // side)) for _, n, side in runs]
    over = {(4, 3): {1: 2, 2: 1, 5: 1}, (3, 2): {1: 1}, (3,): {length: -length % 3}, (2,): {length: length % 2}}[sides]
    assert sum(side * count for side, count in patches) - length == over.get(length, 0)
    assert sum(count for _, count in patches) <= -(-length // min(sides)) and len(patches) <= len(sides)


@pytest.mark.parametrize("r", winograd_transforms.SIDES)
def test_a_smaller_patch_shares_its_points_with_the_largest(r):
    """So one set of transformed weights serves all: `frequency` says which of them."""
    points = winograd_transforms.POINTS if r < 5 else winograd_transforms.POINTS5
    sides = winograd_transforms.SIDES[r]
    whole = winograd_transforms.matrices(sides[0], r, points)[1]
    for down, across in itertools.product(sides, sides):
        rows, columns = (winograd_transforms.matrices(m, r, points)[1] for m in (down, across))
        pairs = [divmod(winograd_transforms.frequency(f, r, down, across), len(whole)) for f in range(len(rows) * len(columns))]
        np.testing.assert_array_equal([whole[i] for i, _ in pairs], np.repeat(rows, len(columns), 0))
        np.testing.assert_array_equal([whole[j] for _, j in pairs], np.tile(columns, (len(rows), 1)))


@st.composite
def cases(draw):
    """Shapes that go through Winograd: 3x3 and 5x5, 4x4 of stride 2; odd sizes, every padding, channels in half tiles."""
    k, s = draw(st.sampled_from([(3, 1), (4, 2), (5, 1)]))
    p = draw(st.integers(0, 3))
    c, o = (draw(st.sampled_from([32, 48, 80])) for _ in range(2))
    size = [draw(st.integers(max(1, k - 2 * p), 12 * s)) for _ in range(2)]
    return (draw(st.integers(1, 4)), c, *size), (o, c, k, k), (s, s), (p, p), (1, 1), 1


def arrays_of(case, dtype=np.float32):
    x_shape, w_shape, stride, padding, dilation, _ = case
    g_shape = (x_shape[0], w_shape[0], *out_size(x_shape, w_shape, stride, padding, dilation))
    return [values(i, shape, dtype) for i, shape in enumerate((x_shape, w_shape, g_shape))]


def three_maps(module, x, w, g, *rest):
    return module.conv2d(x, w, *rest), module.conv2d_dx(g, w, *rest, x.shape[2:]), module.conv2d_dw(x, g, *rest, w.shape[2:])


def error(ours, exact):
    """The largest error over the root mean square of the result."""
    return np.abs(ours - exact).max() / max(np.sqrt(np.mean(exact**2)), 1e-3)


@pytest.mark.parametrize("panels", [False, True], ids=["by patches", "by panels"])
@settings(max_examples=40)
@given(case=cases())
@example(case=((1, 48, 1, 1), (32, 48, 3, 3), (1, 1), (1, 1), (1, 1), 1))
@example(case=((2, 32, 4, 2), (48, 32, 4, 4), (2, 2), (3, 1), (1, 1), 1))
@example(case=((4, 208, 8, 8), (80, 208, 4, 4), (2, 2), (1, 1), (1, 1), 1))
def test_the_three_maps_equal_the_reference_for_any_size_and_padding(panels, case):
    """Also where it does not pay: images smaller than a patch, padding larger than the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choice, "winograd_pays", lambda *_: True)
        patch.setattr(choice, "by_panels", lambda *_, **__: panels)
        check(case)


@pytest.mark.parametrize("span", [1, winograd_panels.SPAN])
def test_panels_may_be_cut_into_runs_and_spans_of_patches(span, monkeypatch):
    """270 patches: three runs of 90, in three spans or in one."""
    monkeypatch.setattr(choice, "winograd_pays", lambda *_: True)
    monkeypatch.setattr(choice, "by_panels", lambda *_, **__: True)
    monkeypatch.setattr(winograd_panels, "SPAN", span)
    check(((30, 64, 9, 11), (48, 64, 3, 3), (1, 1), (1, 1), (1, 1), 1))
    check(((30, 32, 17, 22), (48, 32, 4, 4), (2, 2), (1, 1), (1, 1), 1))


def check(case):
    x, w, g = arrays_of(case)
    exact = three_maps(reference, *(a.astype(np.float64) for a in (x, w, g)), *case[2:])
    for ours, truth in zip(three_maps(cpu, x, w, g, *case[2:]), exact, strict=True):
        assert error(ours, truth) < 1e-4


@pytest.mark.skipif(config.DISABLE_JIT, reason="takes minutes without a compiler, and NumPy does not fuse: 6e-5")
@pytest.mark.parametrize("k, s, bound, direct", [(3, 1, 5e-5, 1e-5), (4, 2, 5e-5, 1e-5), (5, 1, 7e-5, 2e-5)])
def test_the_error_at_the_size_of_real_layers(k, s, bound, direct):
    """Largest error over the result's root mean square, 128 channels; direct summation's is a fifth of it."""
    case = (8, 128, 16 * s, 16 * s), (128, 128, k, k), (s, s), (1, 1), (1, 1), 1
    x, w, g = arrays_of(case)
    exact = three_maps(reference, *(a.astype(np.float64) for a in (x, w, g)), *case[2:])
    fast = [error(a, b) for a, b in zip(three_maps(cpu, x, w, g, *case[2:]), exact, strict=True)]
    kernels.set_conv_precision("exact")
    try:
        slow = [error(a, b) for a, b in zip(three_maps(cpu, x, w, g, *case[2:]), exact, strict=True)]
    finally:
        kernels.set_conv_precision("fast")
    assert max(fast) < bound and max(slow) < direct and max(slow) < max(fast)


def test_exact_is_exact_where_sums_are():
    """Small integers: direct summation makes no rounding error at all."""
    rng = np.random.default_rng(0)
    x = rng.integers(-8, 9, (4, 32, 12, 12)).astype(np.float32)
    w = rng.integers(-8, 9, (32, 32, 3, 3)).astype(np.float32)
    rest = (1, 1), (1, 1), (1, 1), 1
    assert kernels.get_conv_precision() == "fast"
    kernels.set_conv_precision("exact")
    try:
        np.testing.assert_array_equal(cpu.conv2d(x, w, *rest), reference.conv2d(x, w, *rest))
        assert kernels.get_conv_precision() == "exact"
    finally:
        kernels.set_conv_precision("fast")
