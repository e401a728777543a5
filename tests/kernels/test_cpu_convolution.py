"""The compiled convolutions against the reference: every shape and layout, adjoints, NaN, any number of threads, same bits."""
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from minigrad import kernels
from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu.convolution import few_channels, few_channels_transposed, plans
from minigrad.kernels.cpu.machine.threads import SLACK, empty
from minigrad.kernels.cpu.parts import activation, layout
from minigrad.kernels.cpu.registers import emit
from minigrad.kernels.cpu.registers.emit import NR, VL
from tests.kernels.strategies import LAYOUTS, convolutions, out_size, values


def three_maps(module, x, w, g, stride, padding, dilation, groups):
    rest = stride, padding, dilation, groups
    return (module.conv2d(x, w, *rest), module.conv2d_dx(g, w, *rest, x.shape[2:]), module.conv2d_dw(x, g, *rest, w.shape[2:]))


def sample(case, layout="nchw", dtype=np.float32):
    x_shape, w_shape, stride, padding, dilation, _ = case
    g_shape = (x_shape[0], w_shape[0], *out_size(x_shape, w_shape, stride, padding, dilation))
    return [values(i, s, dtype, layout) for i, s in enumerate((x_shape, w_shape, g_shape))]


def check(case, layout="nchw", tolerance=2e-5):
    arrays = sample(case, layout)
    expected = three_maps(reference, *(a.astype(np.float64) for a in arrays), *case[2:])
    for name, ours, exact in zip(("conv2d", "conv2d_dx", "conv2d_dw"), three_maps(cpu, *arrays, *case[2:]), expected, strict=True):
        assert ours.dtype == np.float32 and ours.shape == exact.shape
        scale = np.abs(exact).max(initial=1)
        np.testing.assert_allclose(ours, exact, rtol=0, atol=tolerance * scale, err_msg=name)


@settings(max_examples=150)
@given(convolutions(), st.sampled_from(LAYOUTS))
def test_small_convolutions_equal_the_reference(case, layout):
    check(case, layout)


NETWORKS = {                # (n, c, size, o, k, stride, padding, dilation, groups)
    "dcgan first": (5, 1, 28, 32, 4, 2, 1, 1, 1),
    "dcgan": (4, 32, 14, 64, 4, 2, 1, 1, 1),
    "dcgan rgb": (2, 3, 16, 48, 4, 2, 1, 1, 1),
    "critic": (5, 64, 4, 1, 4, 1, 0, 1, 1),
    "latent": (9, 64, 4, 20, 4, 1, 0, 1, 1),
    "generator 7": (5, 32, 7, 20, 7, 1, 0, 1, 1),
    "whole image": (37, 40, 5, 45, 5, 1, 0, 1, 1),
    "whole image of few pixels": (20, 33, 3, 30, 3, 1, 0, 1, 1),
    "whole image, few channels": (70, 6, 7, 15, 7, 1, 0, 1, 1),
    "lenet 1": (3, 1, 28, 6, 5, 1, 2, 1, 1),
    "lenet 2": (3, 6, 14, 16, 5, 1, 0, 1, 1),
    "residual": (1, 64, 10, 64, 3, 1, 1, 1, 1),                 # 9 patches: too few for Winograd
    "odd size": (1, 32, 11, 32, 3, 1, 1, 1, 1),
    "odd stride": (2, 32, 13, 40, 3, 2, 1, 1, 1),
    "rgb in": (1, 3, 20, 64, 7, 1, 0, 1, 1),
    "rgb out": (1, 64, 20, 3, 7, 1, 0, 1, 1),
    "grey out": (2, 48, 9, 1, 5, 1, 2, 1, 1),
    "1x1": (2, 64, 6, 96, 1, 1, 0, 1, 1),
    "1x1 odd": (2, 37, 6, 41, 1, 1, 0, 1, 1),
    "1x1 long": (3, 40, 16, 70, 1, 1, 0, 1, 1),
    "1x1 long, to few": (3, 300, 15, 37, 1, 1, 0, 1, 1),
    "depthwise": (3, 40, 9, 40, 3, 1, 1, 1, 40),
    "depthwise 2": (3, 5, 9, 5, 3, 2, 1, 1, 5),
    "multiplier": (2, 6, 8, 12, 3, 1, 1, 1, 6),
    "grouped": (2, 32, 8, 64, 3, 1, 1, 1, 4),
    "dilated": (2, 20, 12, 33, 3, 2, 2, 2, 1),
    "stride over kernel": (2, 16, 11, 16, 2, 3, 0, 1, 1),
    "many padding": (2, 16, 3, 16, 3, 1, 3, 1, 1),
    "stride 2 wide": (2, 16, 16, 64, 4, 2, 1, 1, 1),
    "5x5 stride 2": (2, 32, 15, 32, 5, 2, 2, 1, 1),
    "one pixel": (40, 64, 1, 64, 1, 1, 0, 1, 1),
    "generator last": (40, 24, 6, 3, 4, 2, 1, 1, 1),
    "rgb in, one wide block": (2, 3, 70, 33, 3, 1, 1, 1, 1),
    "small images": (37, 2, 4, 20, 3, 1, 1, 1, 1),
    "thin rows": (2, 5, 3, 40, 2, 1, 0, 1, 1),
    "padding beyond the kernel": (2, 9, 8, 12, 2, 1, 4, 1, 1),
    "1x1 of three": (3, 3, 9, 20, 1, 2, 0, 1, 1),
    "fold in bands": (1, 3, 61, 20, 5, 2, 2, 1, 1),
    "fold, grey in bands": (2, 1, 90, 7, 3, 1, 1, 1, 1),
    "fold, dilated": (1, 2, 40, 11, 3, 3, 4, 3, 1),
    "fold, six channels": (2, 6, 19, 17, 4, 3, 2, 1, 1),
    "few from rows": (3, 4, 16, 2, 4, 2, 1, 1, 1),
    "one from rows": (3, 8, 10, 1, 4, 1, 0, 1, 1),
    "depthwise vectors": (3, 32, 9, 32, 3, 1, 1, 1, 32),
    "depthwise vectors 2": (2, 48, 10, 48, 4, 2, 1, 1, 48),
    "depthwise vectors 3": (3, 80, 7, 80, 3, 3, 2, 2, 80),
    "depthwise, narrow": (2, 16, 3, 16, 3, 1, 1, 1, 16),
    "depthwise, padding beyond the kernel": (2, 48, 6, 48, 2, 2, 3, 1, 48),
    "depthwise, dilated": (1, 16, 12, 16, 4, 2, 5, 3, 16),
    "tall steps": (2, 2, 13, 9, 3, 3, 2, 1, 1),
    "winograd": (8, 32, 14, 48, 3, 1, 1, 1, 1),
    "winograd stride 2": (9, 32, 26, 64, 4, 2, 1, 1, 1),
    "winograd 7x7": (33, 32, 14, 48, 4, 2, 1, 1, 1),
    "winograd 5x5": (16, 16, 14, 32, 5, 1, 1, 1, 1),
    "winograd by panels": (40, 192, 4, 304, 3, 1, 1, 1, 1),
    "winograd by panels, stride 2": (33, 96, 8, 240, 4, 2, 1, 1, 1),
}


def shapes(n, c, size, o, k, s, p, d, groups):
    return (n, c, size, size), (o, c // groups, k, k), (s, s), (p, p), (d, d), groups


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_the_shapes_of_real_networks_equal_the_reference(name, layout):
    check(shapes(*NETWORKS[name]), layout)


@pytest.mark.parametrize("name", ["dcgan", "dcgan first", "lenet 1", "winograd", "winograd stride 2", "winograd by panels",
                                  "winograd by panels, stride 2", "critic", "whole image", "rgb in", "depthwise vectors",
                                  "depthwise vectors 2", "grouped", "generator last",
                                  "fold in bands", "fold, dilated", "rgb in, one wide block", "thin rows", "small images",
                                  "depthwise, dilated"])
def test_the_result_is_the_same_to_the_bit_for_any_number_of_threads_and_from_run_to_run(name):
    case = shapes(*NETWORKS[name])
    arrays, before = sample(case), kernels.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 2, 5):
            kernels.set_num_threads(threads)
            results.append(three_maps(cpu, *arrays, *case[2:]))
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("name", NETWORKS)
def test_outputs_that_go_past_the_caches_are_the_same_to_the_bit(name, monkeypatch):
    case, before = shapes(*NETWORKS[name]), kernels.get_num_threads()
    arrays, results = sample(case), []
    try:
        for streamed, threads in ((emit.STREAMED, 1), (0, 1), (0, 3)):
            monkeypatch.setattr(emit, "STREAMED", streamed)
            kernels.set_num_threads(threads)
            results.append([a.tobytes() for a in three_maps(cpu, *arrays, *case[2:])])
    finally:
        kernels.set_num_threads(before)
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("slope", [0.0, 0.2, 1.0])
def test_bias_and_leaky_relu_follow_in_the_same_pass(name, slope):
    """To the bit what they are as passes of their own; also of infinity, NaN and negative zero."""
    case = shapes(*NETWORKS[name])
    x, w, _ = sample(case)
    bias = values(7, w.shape[:1], np.float32)
    bias[0], bias[-1] = -np.inf, -0.0
    x[0, 0, 0, 0] = np.nan
    y, before = cpu.conv2d(x, w, *case[2:]), kernels.get_num_threads()
    expected = reference.bias_leaky_relu(y, bias, np.float32(slope))
    np.testing.assert_array_equal(cpu.conv2d(x, w, *case[2:], bias, slope), expected)
    np.testing.assert_array_equal(cpu.conv2d(x, w, *case[2:], None, slope), reference.leaky_relu(y, np.float32(slope)))
    try:
        kernels.set_num_threads(3)
        np.testing.assert_array_equal(cpu.conv2d(x, w, *case[2:], bias, slope), expected)
    finally:
        kernels.set_num_threads(before)


def test_nan_stays_in_its_image_where_the_kernel_is_the_whole_image():
    x, w, g = sample(shapes(*NETWORKS["whole image"]))
    x[3, 5, 2, 1], g[4, 7] = np.nan, np.nan
    rest = (1, 1), (0, 0), (1, 1), 1
    for y, row in ((cpu.conv2d(x, w, *rest), 3), (cpu.conv2d_dx(g, w, *rest, (5, 5)), 4)):
        assert np.isnan(y[row]).all() and np.isfinite(np.delete(y, row, 0)).all()


def test_bias_and_leaky_relu_of_an_empty_sum():
    """No input channel: the convolution is 0, and the bias follows; a negative slope goes another way."""
    x, w, bias = np.zeros((2, 0, 4, 4), np.float32), np.zeros((3, 0, 3, 3), np.float32), np.array([1, -2, 0], np.float32)
    y = cpu.conv2d(x, w, (1, 1), (0, 0), (1, 1), 1, bias, 0.5)
    np.testing.assert_array_equal(y, np.broadcast_to(np.reshape([1, -1, 0], (3, 1, 1)), (2, 3, 2, 2)))
    x, w = values(0, (2, 3, 5, 5), np.float32), values(1, (4, 3, 3, 3), np.float32)
    y = cpu.conv2d(x, w, (1, 1), (0, 0), (1, 1), 1)
    np.testing.assert_array_equal(cpu.conv2d(x, w, (1, 1), (0, 0), (1, 1), 1, None, -0.5), np.where(y > 0, y, -0.5 * y))


@pytest.mark.parametrize("name", NETWORKS)
def test_nan_and_infinity_reach_exactly_the_outputs_that_the_equation_names(name):
    case = shapes(*NETWORKS[name])
    x, w, g = sample(case)
    w = np.abs(w) + 0.1
    x[0, 0, x.shape[2] // 2, x.shape[3] // 2] = np.nan
    y = cpu.conv2d(x, w, *case[2:])
    finite = reference.conv2d(np.nan_to_num(x), w, *case[2:])
    touched = reference.conv2d(np.isnan(x).astype(np.float64), np.ones(w.shape), *case[2:]) > 0
    assert np.isnan(y[touched]).all()
    if name not in WINOGRAD:                                    # Winograd's patches share their inputs
        assert not np.isnan(y[~touched]).any()
        np.testing.assert_allclose(y[~touched], finite[~touched], rtol=1e-4, atol=1e-4)


WINOGRAD = {name for name in NETWORKS if name.startswith("winograd")}


@given(st.integers(0, 2**32))
@example(0)
@settings(max_examples=5)
def test_the_compiled_maps_are_adjoint(seed):
    case = shapes(*NETWORKS["dcgan"])
    x, w, g = (values(seed + i, a.shape, np.float32) for i, a in enumerate(sample(case)))
    y, dx, dw = (a.astype(np.float64) for a in three_maps(cpu, x, w, g, *case[2:]))
    sides = (y * g).sum(), (x * dx).sum(), (w * dw).sum()
    size = np.abs(y * g).sum()
    np.testing.assert_allclose(sides, sides[0], atol=1e-5 * size)


@settings(max_examples=60)
@given(convolutions(), st.integers(0, 2), st.integers(1, 6), st.integers(1, 4))
def test_folds_make_images_of_every_size_from_every_cut(case, extra, channels, rows):
    """conv2d_dx to few channels, also larger than the gradient reaches (output_padding), in blocks of any size: same bits."""
    (n, _, *size), (o, _, *kernel), stride, padding, dilation, _ = case
    g = values(0, (n, o, *out_size((n, channels, *size), (o, channels, *kernel), stride, padding, dilation)), np.float32)
    w, size = values(1, (o, channels, *kernel), np.float32), tuple(s + extra for s in size)
    if n * g.shape[2] * g.shape[3] < few_channels_transposed.FOLD_PIXELS:
        return
    sides, rest = [], (stride, padding, dilation)
    with pytest.MonkeyPatch.context() as patch:
        for cut in (few_channels_transposed.cut, lambda *_: (1, min(rows, size[0])), lambda *_: (2, size[0])):
            patch.setattr(few_channels_transposed, "cut", cut)
            x = np.full((n, *size, channels), np.nan, np.float32)
            few_channels_transposed.convolve_transposed_few_channels(np.ascontiguousarray(g.transpose(0, 2, 3, 1)), w, x, *rest)
            sides.append(x)
    exact = reference.conv2d_dx(g.astype(np.float64), w.astype(np.float64), *rest, 1, size).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(sides[0], exact, rtol=0, atol=2e-5 * np.abs(exact).max(initial=1))
    assert sides[0].tobytes() == sides[1].tobytes() == sides[2].tobytes()


@settings(max_examples=60)
@given(convolutions(), st.integers(1, 40), st.integers(1, 20))
def test_windows_of_every_cut_give_the_same_bits(case, pixels, outs):
    (n, c, *size), (_, _, *kernel), stride, padding, (dilation, _), _ = case
    x = values(0, (max(n, 1) * 9, *size, c), np.float32)
    w = values(1, (outs, c, *kernel), np.float32)
    rest = stride, padding, (dilation, 1)
    shape = out_size((0, 0, *size), w.shape, *rest)
    sides = []
    with pytest.MonkeyPatch.context() as patch:
        for about in (few_channels.BLOCK_PIXELS, pixels):
            patch.setattr(few_channels, "BLOCK_PIXELS", about)
            y = np.full((len(x), *shape, outs), np.nan, np.float32)
            few_channels.convolve_few_channels(x, w, y, *rest)
            sides.append(y)
    exact = reference.conv2d(x.transpose(0, 3, 1, 2).astype(np.float64), w.astype(np.float64), *rest, 1).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(sides[0], exact, rtol=0, atol=2e-5 * np.abs(exact).max(initial=1))
    assert sides[0].tobytes() == sides[1].tobytes()


@settings(max_examples=60)
@given(convolutions(), st.integers(1, 60), st.sampled_from([VL, VL + 1, NR, 3 * VL]), st.sampled_from([None, 0.0, 0.2, 1.0, 3.0]),
       st.integers(0, 1), st.integers(1, 3))
def test_windows_that_go_past_the_caches_are_the_same_to_the_bit(case, pixels, outs, slope, shift, threads):
    """Where the output begins on a cache line, or not; with the ending as a pass of its own. Nothing beside it is written."""
    (n, c, *size), (_, _, *kernel), stride, padding, (dilation, _), _ = case
    x, w = values(0, (3 * n + 1, *size, c), np.float32), values(1, (outs, c, *kernel), np.float32)
    bias, rest = values(2, (outs,), np.float32), (stride, padding, (dilation, 1))
    x[0, 0, 0], bias[0] = np.nan, -np.inf
    shape = len(x), *out_size((0, 0, *size), w.shape, *rest), outs
    results, before = [], kernels.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(few_channels, "BLOCK_PIXELS", pixels)
        for streamed in (1, math.prod(shape) * 4, math.prod(shape) * 4 + 1):
            patch.setattr(emit, "STREAMED", streamed)
            memory = empty(math.prod(shape) + 2 * VL)
            memory[...] = 7
            y = memory[VL + shift:][:math.prod(shape)].reshape(shape)
            kernels.set_num_threads(threads)
            try:
                if slope is None or streamed > y.nbytes:
                    few_channels.convolve_few_channels(x, w, y, *rest)
                else:
                    few_channels.convolve_few_channels(x, w, y, *rest, (bias, slope))
            finally:
                kernels.set_num_threads(before)
            if slope is not None and streamed > y.nbytes:
                activation.finish_output(y, bias, slope)
            results.append(memory.tobytes())
            assert (memory[:VL + shift] == 7).all() and (memory[VL + shift + y.size:] == 7).all()
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize("name", ["generator last", "fold in bands", "fold, dilated"])
def test_folds_pass_nan_to_the_outputs_of_its_window_only(name):
    case = shapes(*NETWORKS[name])
    x, w, g = sample(case)
    g[0, 0, g.shape[2] // 2, 0] = np.nan
    touched = reference.conv2d_dx(np.isnan(g).astype(np.float64), np.ones(w.shape), *case[2:], x.shape[2:]) > 0
    assert (np.isnan(cpu.conv2d_dx(g, w, *case[2:], x.shape[2:])) == touched).all()


def test_float64_goes_through_the_reference_and_stays_float64():
    case = shapes(*NETWORKS["residual"])
    arrays = sample(case, dtype=np.float64)
    for ours, plain in zip(three_maps(kernels, *arrays, *case[2:]), three_maps(reference, *arrays, *case[2:]), strict=True):
        assert ours.dtype == np.float64 and ours.tobytes() == plain.tobytes()


def test_outputs_are_channels_last_and_inputs_are_not_changed():
    case = shapes(*NETWORKS["dcgan"])
    arrays = sample(case)
    copies = [a.copy() for a in arrays]
    y, dx, dw = three_maps(cpu, *arrays, *case[2:])
    assert y.transpose(0, 2, 3, 1).flags.c_contiguous and dx.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dw.flags.c_contiguous
    for a, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(a, copy)


def test_precision_setting_is_checked():
    with pytest.raises(ValueError, match='"fast" or "exact", got "fastest"'.replace('"fastest"', "'fastest'")):
        kernels.set_conv_precision("fastest")
    with pytest.raises(ValueError, match="1 to 64, got 0"):
        kernels.set_num_threads(0)


@pytest.mark.parametrize("channels, outs, groups", [(24, 32, 1), (16, 1, 1), (16, 3, 1), (16, 16, 16)])
def test_a_second_convolution_of_a_shape_plans_nothing(channels, outs, groups):
    x, w = values(0, (2, channels, 9, 9), np.float32), values(1, (outs, channels // groups, 5, 5), np.float32)

    def both():
        y = cpu.conv2d(x, w, (1, 1), (2, 2), (1, 1), groups)
        cpu.conv2d_dx(y, w, (1, 1), (2, 2), (1, 1), groups, (9, 9))
        return [f.cache_info().misses for f in (plans.blocked, plans.with_panels_of, plans.forward_phases, plans.transposed_phases)]
    assert both() == both()


def test_arrays_of_ours_are_not_copied_for_the_slack_that_tiles_need():
    x = empty(2, 5, 5, 3)
    assert layout.with_slack(x, 3, 8) is x
    view = x.reshape(50, 3)
    assert layout.with_slack(view, 3, 8) is view
    assert 4 * (emit.AR + emit.NR) <= SLACK
    for other in (np.ones((2, 3), np.float32), np.ones((9, 3), np.float32)[7:], np.ones((64, 6), np.float32)[:, :3]):
        copy = layout.with_slack(other, 3, 8)
        assert not np.shares_memory(copy, other) and layout.has_slack(copy) and np.array_equal(copy, other)
    start = np.ones((90, 3), np.float32)[:4]
    assert layout.with_slack(start, 3, 8) is start
