"""The recurrent kernels in float32 equal their references, for any number of threads to the bit."""

import numpy as np
import pytest

from minigrad import kernels
from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu import recurrent
from minigrad.random import Stream

SHAPES = [(1, 1, 1), (3, 2, 5), (2, 15, 16), (4, 33, 40), (3, 29, 128), (2, 0, 3), (3, 50, 17)]  # steps, batch, width


def draw(*shape):
    return Stream(0, f"recurrent {shape}").normal(shape)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert a.dtype == np.float32 and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


def double(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def lstm_case(steps, batch, width):
    p, w = draw(steps, batch, 4 * width), draw(4 * width, width) / np.float32(np.sqrt(width))
    return p, draw(batch, width), draw(1, batch, width)[0], w


@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_scan_equals_its_reference(shape):
    args = lstm_case(*shape)
    close(cpu.lstm_scan(*args), reference.lstm_scan(*double(*args)))


@pytest.mark.parametrize("given", ["h", "c", "hc"])
@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_scan_dx_equals_its_reference(shape, given):
    p, h0, c0, w = lstm_case(*shape)
    _, c, gates = (a.astype(np.float32) for a in reference.lstm_scan(p, h0, c0, w))
    gh, gc = (draw(*shape) if name in given else None for name in "hc")
    args = gh, gc, c0, c, gates, w
    close(cpu.lstm_scan_dx(*args), reference.lstm_scan_dx(*double(*args)))


def test_the_number_of_threads_does_not_change_a_bit():
    p, h0, c0, w = lstm_case(3, 50, 24)
    results, before = [], kernels.get_num_threads()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            h, c, gates = cpu.lstm_scan(p, h0, c0, w)
            results.append([h, c, gates, *cpu.lstm_scan_dx(h, None, c0, c, gates, w)])
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_nan_reaches_its_own_sequence_only_and_infinity_saturates():
    p, h0, c0, w = lstm_case(3, 20, 8)
    p[1, 4, 3], p[1, 7, 2] = np.nan, np.inf
    h, c, gates = cpu.lstm_scan(p, h0, c0, w)
    assert np.isnan(h[2, 4]).all() and np.isnan(c[1, 4, 3]) and np.isfinite(np.delete(h, 4, axis=1)).all()
    assert gates[1, 7, 2] == 1
    dp, dh0, _ = cpu.lstm_scan_dx(np.ones_like(h), None, c0, c, gates, w)
    assert np.isnan(dh0[4]).all() and np.isfinite(np.delete(dh0, 4, axis=0)).all()


def test_tanh_and_sigmoid_against_float64():
    x = np.concatenate([np.linspace(-12, 12, 20001), np.geomspace(1e-30, 1, 2000), [0.0, np.inf, -np.inf]])
    x = x.astype(np.float32)
    y, zero = np.empty_like(x), np.zeros_like(x)
    recurrent.add_tanh(x, zero, y)
    true = np.tanh(x.astype(np.float64))
    assert (np.abs(y - true) <= 8 * np.spacing(np.abs(true).astype(np.float32))).all() and np.abs(y).max() == 1
    recurrent.add_sigmoid(x, zero, y)
    with np.errstate(over="ignore"):
        assert np.abs(y - 1 / (1 + np.exp(-x.astype(np.float64)))).max() < 3e-7
    nan = np.full(1, np.nan, np.float32)
    recurrent.add_tanh(nan, zero[:1], y[:1])
    assert np.isnan(y[0])


@pytest.mark.parametrize("terms, rows, columns", [(2500, 70, 65), (700, 128, 100), (513, 33, 600)])
def test_a_long_transposed_product_equals_numpy(terms, rows, columns):
    a, b = draw(terms, rows), draw(terms, columns)
    y = cpu.matmul(a.T, b)
    assert y.shape == (rows, columns) and y.flags.c_contiguous
    np.testing.assert_allclose(y, a.T.astype(np.float64) @ b, atol=4e-7 * terms)
