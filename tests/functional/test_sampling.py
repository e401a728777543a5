"""interpolate, grid_sample, affine_grid: PyTorch's values for every argument, derivatives by image and grid, edges, errors."""
import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from oracle import channels_last, random, same_as_torch, same_in_float32

import minigrad as mg
import minigrad.functional as F
from minigrad.gradcheck import check_grads

length = st.integers(1, 9)
MODES = {3: ("nearest", "nearest-exact", "linear", "area"),
         4: ("nearest", "nearest-exact", "bilinear", "bicubic", "area"),
         5: ("nearest", "nearest-exact", "trilinear", "area")}


# ---- interpolate -----------------------------------------------------------------------------------------------------


@given(st.data())
def test_interpolate_is_pytorchs(data):
    torch = pytest.importorskip("torch")
    ndim = data.draw(st.sampled_from([3, 4, 4, 4, 5]))
    shape = (2, 2, *[data.draw(length) for _ in range(ndim - 2)])
    keys = {"mode": data.draw(st.sampled_from(MODES[ndim]))}
    if "linear" in keys["mode"] or "cubic" in keys["mode"]:
        keys["align_corners"] = data.draw(st.sampled_from([None, False, True]))
    if ndim == 4 and keys["mode"] in ("bilinear", "bicubic"):
        keys["antialias"] = data.draw(st.booleans())
    if data.draw(st.booleans()):
        keys["size"] = tuple(data.draw(length) for _ in shape[2:])
    else:
        keys["scale_factor"] = tuple(data.draw(st.sampled_from([0.4, 0.7, 1.0, 1.3, 1.9, 2.0, 3.0])) for _ in shape[2:])
        keys["recompute_scale_factor"] = data.draw(st.sampled_from([None, True]))
        assume(all(math.floor(n * s) >= 1 for n, s in zip(shape[2:], keys["scale_factor"], strict=True)))
    x = random(*shape)
    width = F.interpolate(mg.tensor(x), **keys).shape[-1]
    assume(not keys.get("antialias") or min(width, shape[-1]) > 1)  # torch 2.13 repeats row 0 of images 1 wide
    theirs = functools.partial(torch.nn.functional.interpolate, **keys)
    order = 0 if keys["mode"].startswith("nearest") else 1
    same_as_torch(functools.partial(F.interpolate, **keys), theirs, x, order=order, rtol=1e-6, atol=1e-6)
    check_grads(functools.partial(F.interpolate, **keys), [x])


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_positions_are_computed_in_the_precision_of_the_image(mode):
    torch = pytest.importorskip("torch")
    for n, m in [(7, 31), (31, 7), (28, 64), (64, 28), (49, 50), (50, 49), (3, 100), (100, 3), (41, 41)]:
        x = random(1, 1, n, 3, dtype=np.float32)
        same_as_torch(functools.partial(F.interpolate, size=(m, 3), mode=mode),
                      functools.partial(torch.nn.functional.interpolate, size=(m, 3), mode=mode),
                      x, order=0, rtol=1e-5, atol=1e-5)
    for s in (1.1, 2.3, 0.3, 3.7):
        same_as_torch(functools.partial(F.interpolate, scale_factor=s, mode=mode),
                      functools.partial(torch.nn.functional.interpolate, scale_factor=s, mode=mode),
                      random(1, 1, 23, 29, dtype=np.float32), order=0, rtol=1e-5, atol=1e-5)


def test_nearest_by_an_integer_repeats_pixels():
    x = random(2, 3, 4, 5, dtype=np.float32)
    for target in ({"scale_factor": 2}, {"size": (8, 10)}, {"scale_factor": (2.0, 2.0), "mode": "nearest-exact"}):
        y = F.interpolate(mg.tensor(x), **target)
        np.testing.assert_array_equal(y.array, x.repeat(2, 2).repeat(2, 3))
        assert y.dtype == np.float32 and y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    tensor = mg.tensor(x, requires_grad=True)
    g = random(2, 3, 8, 10, dtype=np.float32)
    (dx,) = mg.grad(F.interpolate(tensor, scale_factor=2), [tensor], mg.tensor(g))
    np.testing.assert_allclose(dx.array, g.reshape(2, 3, 4, 2, 5, 2).sum((3, 5)), rtol=1e-5, atol=1e-6)


def test_interpolate_reproduces_lines_and_constants():
    line = np.linspace(-1, 1, 5)[None, None, None] * np.ones((1, 1, 3, 1))
    for mode in ("bilinear", "bicubic"):
        y = F.interpolate(mg.tensor(line), (3, 9), mode=mode, align_corners=True).array
        np.testing.assert_allclose(y[0, 0, 0, 2:-2], np.linspace(-1, 1, 9)[2:-2], atol=1e-12)
    for mode, antialias in itertools.product(("bilinear", "bicubic"), (False, True)):
        y = F.interpolate(mg.ones((1, 1, 7, 5)), (3, 8), mode=mode, antialias=antialias)
        np.testing.assert_allclose(y.array, 1, rtol=1e-6)


@pytest.mark.parametrize("mode", MODES[4])
def test_layout_dtype_nan_and_batch(mode):
    x = random(2, 3, 4, 6, dtype=np.float32)
    f = functools.partial(F.interpolate, size=(5, 9), mode=mode)
    y = f(mg.tensor(x))
    assert y.dtype == np.float32 and y.array.transpose(0, 2, 3, 1).flags.c_contiguous
    np.testing.assert_array_equal(f(mg.tensor(channels_last(x))).array, y.array)
    assert f(mg.zeros((0, 3, 4, 6))).shape == (0, 3, 5, 9)
    x[0, 0, 0, 0] = np.nan
    bad = np.isnan(f(mg.tensor(x)).array)
    assert bad[0, 0, 0, 0] and not bad[1].any() and not bad[:, 1:].any() and not bad[0, 0, -1, -1]


# ---- grid_sample and affine_grid -------------------------------------------------------------------------------------


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample_is_pytorchs(mode, padding_mode, align_corners):
    torch = pytest.importorskip("torch")
    keys = {"mode": mode, "padding_mode": padding_mode, "align_corners": align_corners}
    for shape in ((2, 3, 4, 5), (1, 1, 1, 3), (1, 2, 6, 1)):
        grid = random(shape[0], 3, 4, 2, low=-2.7, high=2.7)
        same_as_torch(functools.partial(F.grid_sample, **keys),
                      functools.partial(torch.nn.functional.grid_sample, **keys), random(*shape), grid, order=1,
                      rtol=1e-7, atol=1e-9)
    if mode != "bicubic":
        same_as_torch(functools.partial(F.grid_sample, **keys),
                      functools.partial(torch.nn.functional.grid_sample, **keys),
                      random(2, 2, 3, 4, 5), random(2, 2, 3, 2, 3, low=-1.8, high=1.8), order=1)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_grid_sample_differentiates_twice_by_image_and_grid(mode, padding_mode, align_corners):
    f = functools.partial(F.grid_sample, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    check_grads(f, [random(1, 2, 4, 5), random(1, 2, 3, 2, low=-1.7, high=1.7)], order=2)
    check_grads(f, [random(1, 1, 3, 3), random(1, 1, 2, 2, low=-0.9, high=0.9)], order=3)


@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
def test_published_subgradients_on_the_border_and_on_pixels(padding_mode):
    torch = pytest.importorskip("torch")
    points = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    grid = np.stack(np.meshgrid(points, points), -1)[None]
    keys = {"padding_mode": padding_mode, "align_corners": True}
    same_as_torch(functools.partial(F.grid_sample, **keys), functools.partial(torch.nn.functional.grid_sample, **keys),
                  random(1, 2, 5, 5), grid, order=1)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_points_far_away_do_no_harm_and_nan_propagates(mode):
    x, grid = mg.ones((1, 1, 3, 3), requires_grad=True), np.zeros((1, 1, 4, 2), np.float32)
    grid[0, 0, 1:3, 0] = [1e30, -np.inf]
    for padding_mode, value in (("zeros", 0.0), ("border", 1.0)):
        y = F.grid_sample(x, mg.tensor(grid, requires_grad=True), mode, padding_mode)
        np.testing.assert_allclose(y.array[0, 0, 0], [1, value, value, 1], rtol=1e-6)
    grid[0, 0, 1, 0] = np.nan
    y = F.grid_sample(x, mg.tensor(grid), mode)
    assert np.isnan(y.array[0, 0, 0, 1]) and y.array[0, 0, 0, 0] == 1.0 and y.array[0, 0, 0, 2] == 0.0


@pytest.mark.parametrize("mode, padding_mode", [("bilinear", "zeros"), ("bilinear", "border"), ("bicubic", "reflection")])
def test_float32_equals_float64_in_both_layouts(mode, padding_mode):
    same_in_float32(lambda x, g: F.grid_sample(x, g, mode, padding_mode), random(2, 3, 5, 6),
                    random(2, 4, 3, 2, low=-1.3, high=1.3))
    same_in_float32(lambda x: F.interpolate(x, (7, 4), mode=mode, antialias=True), random(2, 3, 5, 6))


def test_affine_grid_is_pytorchs():
    torch = pytest.importorskip("torch")
    for align_corners in (False, True):
        for theta, size in (((2, 2, 3), (2, 3, 4, 5)), ((1, 2, 3), (1, 1, 2, 3)), ((2, 3, 4), (2, 1, 2, 3, 4))):
            same_as_torch(functools.partial(F.affine_grid, size=size, align_corners=align_corners),
                          functools.partial(torch.nn.functional.affine_grid, size=size, align_corners=align_corners),
                          random(*theta), order=1)
    theta = mg.tensor(np.array([[[1.0, 0, 0], [0, 1, 0]]]))
    for align_corners in (False, True):  # the identity
        x = random(1, 2, 4, 5)
        y = F.grid_sample(mg.tensor(x), F.affine_grid(theta, (1, 2, 4, 5), align_corners), align_corners=align_corners)
        np.testing.assert_allclose(y.array, x, atol=1e-12)
    check_grads(lambda t, x: F.grid_sample(x, F.affine_grid(t, (1, 1, 3, 4))),
                [random(1, 2, 3) * 0.4, random(1, 1, 4, 3)])


# ---- wrong arguments -------------------------------------------------------------------------------------------------

X = mg.zeros((2, 3, 4, 4))


@pytest.mark.parametrize("call, message", [
    (lambda: F.interpolate(X), "either size or scale_factor"),
    (lambda: F.interpolate(X, 2, 2.0), "either size or scale_factor"),
    (lambda: F.interpolate(X, (2, 2, 2)), "one number or 2"),
    (lambda: F.interpolate(X, 0), "at least 1"),
    (lambda: F.interpolate(X, scale_factor=0.1), "every axis needs a pixel"),
    (lambda: F.interpolate(X, scale_factor=-2), "positive"),
    (lambda: F.interpolate(X, 2, mode="cubic"), "mode must be one of"),
    (lambda: F.interpolate(X, 2, mode="linear"), "1 axes"),
    (lambda: F.interpolate(X, 2, align_corners=True), "linear and cubic"),
    (lambda: F.interpolate(X, 2, antialias=True), "antialias"),
    (lambda: F.interpolate(X, 2, recompute_scale_factor=True), "recompute_scale_factor"),
    (lambda: F.interpolate(X[:, :, :0], 2), "no pixels"),
    (lambda: F.grid_sample(X, mg.zeros((2, 3, 3, 3))), r"\(N, H', W', 2\)"),
    (lambda: F.grid_sample(X, mg.zeros((1, 3, 3, 2))), r"\(N, H', W', 2\)"),
    (lambda: F.grid_sample(X, mg.zeros((2, 3, 3, 2)), mode="cubic"), "mode must be"),
    (lambda: F.grid_sample(X, mg.zeros((2, 3, 3, 2)), padding_mode="zero"), "padding_mode"),
    (lambda: F.affine_grid(mg.zeros((1, 2, 3)), (2, 3, 4, 4)), "affine_grid: theta"),
    (lambda: F.affine_grid(mg.zeros((2, 2, 3)), (2, 3, 0, 4)), "at least 1"),
])
def test_wrong_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_types_are_type_errors():
    with pytest.raises(TypeError, match="convert one"):
        F.grid_sample(X, mg.zeros((2, 3, 3, 2), dtype=np.float64))
    with pytest.raises(TypeError, match="integer"):
        F.interpolate(X, 2.5)
    with pytest.raises(TypeError, match="floating-point"):
        F.interpolate(mg.tensor([[[1, 2]]]), 4)
