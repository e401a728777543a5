"""The reference convolutions against seven nested loops, against one another (adjoints), and against PyTorch if it is there."""
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minigrad.kernels import reference
from tests.kernels.strategies import LAYOUTS, convolutions, lay, out_size, values


def naive(x, w, stride, padding, dilation, groups):
    """The equation of conv2d, one multiplication at a time; also which x meets which w in which y."""
    (n, _, h, wd), (o, c, kh, kw) = x.shape, w.shape
    oh, ow = out_size(x.shape, w.shape, stride, padding, dilation)
    y = np.zeros((n, o, oh, ow))
    for b, q, i, j, s, u, v in itertools.product(*map(range, (n, o, oh, ow, c, kh, kw))):
        r, t = i * stride[0] - padding[0] + u * dilation[0], j * stride[1] - padding[1] + v * dilation[1]
        if 0 <= r < h and 0 <= t < wd:
            y[b, q, i, j] += x[b, q // (o // groups) * c + s, r, t] * w[q, s, u, v]
    return y


@settings(max_examples=60)
@given(convolutions(channels=2), st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS))
def test_conv2d_is_the_seven_loops(case, x_layout, w_layout):
    x_shape, w_shape, *rest = case
    x, w = values(0, x_shape, layout=x_layout), values(1, w_shape, layout=w_layout)
    y = reference.conv2d(x, w, *rest)
    np.testing.assert_allclose(y, naive(x, w, *rest), rtol=1e-12, atol=1e-12)
    assert y.dtype == np.float64 and y.transpose(0, 2, 3, 1).flags.c_contiguous


@settings(max_examples=100)
@given(convolutions(), st.sampled_from(LAYOUTS))
def test_the_three_maps_are_adjoint(case, layout):
    x_shape, w_shape, stride, padding, dilation, groups = case
    g_shape = (x_shape[0], w_shape[0], *out_size(x_shape, w_shape, stride, padding, dilation))
    x, w, g = values(0, x_shape, layout=layout), values(1, w_shape, layout=layout), values(2, g_shape, layout=layout)
    rest = stride, padding, dilation, groups
    dx, dw = reference.conv2d_dx(g, w, *rest, x_shape[2:]), reference.conv2d_dw(x, g, *rest, w_shape[2:])
    expected = (reference.conv2d(x, w, *rest) * g).sum()
    np.testing.assert_allclose([(x * dx).sum(), (w * dw).sum()], expected, rtol=1e-9, atol=1e-9)
    assert dx.shape == x_shape and dx.transpose(0, 2, 3, 1).flags.c_contiguous
    assert dw.shape == w_shape and dw.flags.c_contiguous


@given(convolutions(), st.integers(0, 2), st.integers(0, 2))
def test_transposed_convolution_fills_rows_that_no_window_reached_with_zeros(case, extra_h, extra_w):
    x_shape, w_shape, stride, padding, dilation, groups = case
    oh, ow = out_size(x_shape, w_shape, stride, padding, dilation)
    size = [(q - 1) * s + d * (k - 1) + 1 - 2 * p + e for q, s, d, k, p, e in
            zip((oh, ow), stride, dilation, w_shape[2:], padding, (extra_h, extra_w), strict=True)]
    if min(size) < 1:
        return
    g, w = values(0, (x_shape[0], w_shape[0], oh, ow)), values(1, w_shape)
    full = reference.conv2d_dx(g, w, stride, padding, dilation, groups, tuple(size))
    rest = [slice(0, s - max(0, e - p)) for s, e, p in zip(size, (extra_h, extra_w), padding, strict=True)]
    assert not full[:, :, rest[0].stop:].any() and not full[:, :, :, rest[1].stop:].any()


def test_chunks_over_the_batch_do_not_change_the_result(monkeypatch):
    x, w, rest = values(0, (7, 4, 9, 9)), values(1, (6, 2, 3, 3)), ((1, 1), (1, 1), (1, 1), 2)
    whole = reference.conv2d(x, w, *rest)
    pair = reference.conv2d_dx(whole, w, *rest, (9, 9)), reference.conv2d_dw(x, whole, *rest, (3, 3))
    monkeypatch.setattr(reference.convolution, "COLUMN_BYTES", 30000)
    np.testing.assert_allclose(reference.conv2d(x, w, *rest), whole, rtol=1e-12)
    np.testing.assert_allclose(reference.conv2d_dx(whole, w, *rest, (9, 9)), pair[0], rtol=1e-12)
    np.testing.assert_allclose(reference.conv2d_dw(x, whole, *rest, (3, 3)), pair[1], rtol=1e-9, atol=1e-12)


@settings(max_examples=40)
@given(convolutions())
def test_the_three_maps_equal_pytorch(case):
    torch = pytest.importorskip("torch")
    x_shape, w_shape, stride, padding, dilation, groups = case
    x, w = values(0, x_shape), values(1, w_shape)
    tx, tw = torch.from_numpy(x).requires_grad_(), torch.from_numpy(w).requires_grad_()
    ty = torch.nn.functional.conv2d(tx, tw, None, stride, padding, dilation, groups)
    y = reference.conv2d(x, w, stride, padding, dilation, groups)
    np.testing.assert_allclose(y, ty.detach().numpy(), rtol=1e-10, atol=1e-10)
    g = values(2, y.shape)
    if y.size == 0:
        return
    ty.backward(torch.from_numpy(g))
    dx = reference.conv2d_dx(g, w, stride, padding, dilation, groups, x_shape[2:])
    dw = reference.conv2d_dw(x, g, stride, padding, dilation, groups, w_shape[2:])
    np.testing.assert_allclose(dx, tx.grad.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(dw, tw.grad.numpy(), rtol=1e-10, atol=1e-10)


def test_broadcast_inputs_of_stride_zero():
    x = np.broadcast_to(values(0, (1, 3, 1, 1)), (2, 3, 6, 6))
    w = values(1, (4, 3, 3, 3))
    rest = (2, 1), (1, 1), (1, 1), 1
    np.testing.assert_array_equal(reference.conv2d(x, w, *rest), reference.conv2d(lay(x, "nchw"), w, *rest))
