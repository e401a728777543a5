"""The recurrent kernels in float32 equal their references, for any number of threads to the bit."""

import numpy as np
import pytest

from minigrad import kernels
from minigrad.kernels import cpu, reference
from minigrad.kernels.cpu.layers import lstm
from minigrad.kernels.cpu.machine.compiling import kernel
from minigrad.kernels.cpu.registers import copies
from minigrad.random import Stream

SHAPES = [(1, 1, 1, 1), (3, 2, 3, 5), (2, 15, 40, 16), (4, 33, 7, 40), (3, 29, 128, 128), (2, 0, 2, 3), (3, 50, 1, 17)]
# steps, batch, inputs, width


def draw(*shape):
    return Stream(0, f"recurrent {shape}").normal(shape)


def close(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert a.dtype == np.float32 and a.shape == b.shape
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=4e-6)


def double(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def lstm_case(steps, batch, ins, width):
    """x, h0, c0, w_ih, w_hh, b"""
    w = draw(4 * width, ins + width) / np.float32(np.sqrt(ins + width))
    states = draw(2, batch, width)
    return draw(steps, batch, ins), *states, w[:, :ins], w[:, ins:], draw(4 * width)


@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_scan_equals_its_reference(shape):
    args = lstm_case(*shape)
    close(cpu.lstm_scan(*args), reference.lstm_scan(*double(*args)))


@pytest.mark.parametrize("given", ["h", "c", "hc", "hx"])
@pytest.mark.parametrize("shape", SHAPES)
def test_lstm_scan_dx_equals_its_reference(shape, given):
    steps, batch, _, width = shape
    x, h0, c0, w_ih, w_hh, b = lstm_case(*shape)
    _, c, gates = (a.astype(np.float32) for a in reference.lstm_scan(x, h0, c0, w_ih, w_hh, b))
    gh, gc = (draw(steps, batch, width) if name in given else None for name in "hc")
    args = gh, gc, c0, c, gates, w_ih if "x" in given else None, w_hh
    close(cpu.lstm_scan_dx(*args), reference.lstm_scan_dx(*double(*args)))


def test_the_number_of_threads_does_not_change_a_bit():
    x, h0, c0, w_ih, w_hh, b = lstm_case(3, 50, 9, 24)
    results, before = [], kernels.get_num_threads()
    try:
        for threads in (1, 2, 3):
            kernels.set_num_threads(threads)
            h, c, gates = cpu.lstm_scan(x, h0, c0, w_ih, w_hh, b)
            results.append([h, c, gates, *cpu.lstm_scan_dx(h, None, c0, c, gates, w_ih, w_hh)])
    finally:
        kernels.set_num_threads(before)
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_sequence_does_not_depend_on_its_batch():
    """To the bit, whatever the height of the tile that it falls into."""
    x, h0, c0, w_ih, w_hh, b = lstm_case(3, 40, 9, 24)
    whole = cpu.lstm_scan(x, h0, c0, w_ih, w_hh, b)
    for count in (1, 3, 9, 15, 23, 39):
        part = cpu.lstm_scan(x[:, :count], h0[:count], c0[:count], w_ih, w_hh, b)
        for a, b_ in zip(part, whole, strict=True):
            np.testing.assert_array_equal(a, b_[:, :count])
        gradients = [cpu.lstm_scan_dx(h[:, :n], None, c0[:n], c[:, :n], gates[:, :n], w_ih, w_hh)
                     for (h, c, gates), n in ((whole, 40), (part, count))]
        for a, b_ in zip(gradients[1][:2], gradients[0][:2], strict=True):
            np.testing.assert_array_equal(a, b_[:, :count])


def test_a_nan_reaches_its_own_sequence_only_and_infinity_saturates():
    x, h0, c0, w_ih, w_hh, b = lstm_case(3, 20, 8, 8)
    w_ih, w_hh, b = np.tile(np.eye(8, dtype=np.float32), (4, 1)), w_hh, np.zeros_like(b)
    x[1, 4, 3], c0[7, 2] = np.nan, np.inf
    h, c, gates = cpu.lstm_scan(x, h0, c0, w_ih, w_hh, b)
    assert np.isnan(h[1:, 4]).all() and np.isnan(c[1:, 4]).all() and np.isfinite(np.delete(h, 4, axis=1)).all()
    assert np.isinf(c[:, 7, 2]).all() and (h[:, 7, 2] == gates[:, 7, 26]).all()
    dp, _, dh0, *_ = cpu.lstm_scan_dx(np.ones_like(h), None, c0, c, gates, None, w_hh)
    finite = np.delete(np.arange(20), [4, 7])
    assert np.isnan(dh0[4]).all() and np.isfinite(dh0[finite]).all() and np.isfinite(dp[:, finite]).all()


def test_tanh_and_sigmoid_against_float64():
    """The equations of `lstm`, compiled, on vectors and on what is left over."""
    both = copies.lanewise(lambda x: (lstm.tanh(x), lstm.sigmoid(x)), 1, 2)

    @kernel
    def run(places, count):
        both(places.ctypes.data, count)

    x = np.concatenate([np.linspace(-12, 12, 20001), np.geomspace(1e-30, 1, 2000), [0.0, np.inf, -np.inf, np.nan]])
    x = x.astype(np.float32)
    y, s = np.empty_like(x), np.empty_like(x)
    run(np.array([a.ctypes.data for a in (x, y, s)]), x.size)
    assert np.isnan(y[-1]) and np.isnan(s[-1])
    x, y, s = x[:-1], y[:-1], s[:-1]
    true = np.tanh(x.astype(np.float64))
    assert (np.abs(y - true) <= 8 * np.spacing(np.abs(true).astype(np.float32))).all() and np.abs(y).max() == 1
    with np.errstate(over="ignore"):
        assert np.abs(s - 1 / (1 + np.exp(-x.astype(np.float64)))).max() < 3e-7
    np.testing.assert_allclose(lstm.tanh(x), y, rtol=1e-6)  # the same text on arrays


@pytest.mark.parametrize("terms, rows, columns", [(2500, 70, 65), (700, 128, 100), (513, 33, 600), (1000, 512, 300),
                                                  (700, 20, 900), (640, 100, 300), (3000, 40, 300)])
def test_a_long_transposed_product_equals_numpy(terms, rows, columns):
    a, b = draw(terms, rows), draw(terms, columns)
    y = cpu.matmul(a.T, b)
    assert y.shape == (rows, columns) and y.flags.c_contiguous
    np.testing.assert_allclose(y, a.T.astype(np.float64) @ b, atol=4e-7 * terms)


@pytest.mark.parametrize("terms, count, width", [(0, 3, 4), (7, 5, 1), (40, 3, 200), (600, 65, 128), (9, 4, 0)])
def test_adding_rows_equals_its_reference_and_a_row_without_a_term_is_zero(terms, count, width):
    g, rows = draw(terms, width), Stream(0, "rows").integers(0, count - 1, (terms,))
    y = cpu.add_rows(g, rows, count)
    assert y.dtype == np.float32 and not y[-1].any()
    np.testing.assert_allclose(y, reference.add_rows(*double(g), rows, count), rtol=2e-5, atol=2e-5)
