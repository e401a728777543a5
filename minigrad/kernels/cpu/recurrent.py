"""The LSTM's scan over time in float32, forward and backward: one launch for a whole sequence.

Sequences of a batch know nothing of one another. So a block is MR sequences, one register tile high, and runs through all
time steps alone: no thread waits for another between two steps, and nothing of a step is left in Python. In each step the
tile multiplies MR hidden states with the recurrent weights, which are packed once for all steps and stay in the L2 cache, and the
gates are computed while the products are still in L1. What a step costs besides the product is five tanh for each unit;
Numba's own math.tanh would take ten times the product's time, so here it is a quotient of polynomials:

    tanh x = x P(x^2) / Q(x^2),  |x| < 9,   relative error 2e-8 before rounding, some six units of float32's last place with it;
    s(x) = tanh(x / 2) / 2 + 1/2            (a gate needs no digits of its tail);   NaN stays NaN, and beyond 9 tanh is 1.

The coefficients are a minimax fit (Lawson's weighted least squares) on [0, 9]. Each loop touches few arrays: the compiler
vectorises a loop only if it can check cheaply that its arrays do not overlap. May import: numpy, and this folder.
"""
import numpy as np

from minigrad.kernels.cpu.compiling import kernel
from minigrad.kernels.cpu.direct import pack, tile1, tile2
from minigrad.kernels.cpu.threads import empty, launch, take
from minigrad.kernels.cpu.tile import MR, NR, VL

P0, P1, P2, P3, P4 = (np.float32(a) for a in (
    1.0, 0.13381023705005646, 0.0034955854061990976, 2.060904080281034e-05, 1.3354608974225357e-08))
Q1, Q2, Q3, Q4 = (np.float32(a) for a in (
    0.46714338660240173, 0.02587697096168995, 0.00032856303732842207, 7.776535539960605e-07))
ONE, HALF, NINE = np.float32(1), np.float32(0.5), np.float32(9)


@kernel
def tanh(x):
    x = NINE if x > NINE else x                                 # so written that NaN passes
    x = -NINE if x < -NINE else x
    s = x * x
    y = x * (P0 + s * (P1 + s * (P2 + s * (P3 + s * P4)))) / (ONE + s * (Q1 + s * (Q2 + s * (Q3 + s * Q4))))
    y = ONE if y > ONE else y
    return -ONE if y < -ONE else y


@kernel
def sigmoid(x):
    return HALF * tanh(HALF * x) + HALF


@kernel
def add_tanh(a, b, y):
    for k in range(y.size):
        y[k] = tanh(a[k] + b[k])


@kernel
def add_sigmoid(a, b, y):
    for k in range(y.size):
        y[k] = sigmoid(a[k] + b[k])


@kernel
def add_to(x, y):
    for k in range(y.size):
        y[k] += x[k]


@kernel
def multiply(base, step, batch, first, width, packed, outs, table, out):
    """out_row[m] = (row first + m of step `step` of the (T, batch, width) array at address `base`) @ the packed matrix.

    Rows beyond the batch repeat the last one, for the tile always has MR.
    """
    for m in range(MR):
        table[1 + m] = base + ((step * batch + min(first + m, batch - 1)) * width) * 4
    panel_bytes = packed.shape[1] * packed.shape[2] * NR * 4
    for panel in range(packed.shape[0]):
        o = panel * NR
        weights, size = packed.ctypes.data + panel * panel_bytes, min(NR, outs - o)
        if size > VL:
            tile2(table.ctypes.data, 1, 0, width, weights, out.ctypes.data, o * 4, size)
        else:
            tile1(table.ctypes.data, 1, 0, width, weights, out.ctypes.data, o * 4, size)


@kernel
def lstm_step(a, p, before, gates, c, h):
    """a = h[t-1] W^T of one sequence."""
    width = h.size
    add_sigmoid(a[:2 * width], p[:2 * width], gates[:2 * width])
    add_tanh(a[2 * width:3 * width], p[2 * width:3 * width], gates[2 * width:3 * width])
    add_sigmoid(a[3 * width:], p[3 * width:], gates[3 * width:])
    i, f, g, o = gates[:width], gates[width:2 * width], gates[2 * width:3 * width], gates[3 * width:]
    for k in range(width):
        c[k] = f[k] * before[k] + i[k] * g[k]
    for k in range(width):
        h[k] = o[k] * tanh(c[k])


@kernel
def lstm(counter, p, h0, c0, packed, h, c, gates):
    steps, batch, width = h.shape
    a = np.empty((MR, 4 * width), np.float32)
    table, out = np.zeros(1 + MR, np.int64), np.empty(MR, np.int64)
    for m in range(MR):
        out[m] = a.ctypes.data + m * 16 * width
    while True:
        first = take(counter) * MR
        if first >= batch:
            break
        for t in range(steps):
            if t:
                multiply(h.ctypes.data, t - 1, batch, first, width, packed, 4 * width, table, out)
            else:
                multiply(h0.ctypes.data, 0, batch, first, width, packed, 4 * width, table, out)
            for m in range(min(MR, batch - first)):
                b = first + m
                if t:
                    lstm_step(a[m], p[t, b], c[t - 1, b], gates[t, b], c[t, b], h[t, b])
                else:
                    lstm_step(a[m], p[t, b], c0[b], gates[t, b], c[t, b], h[t, b])


@kernel
def lstm_step_back(dh, dc, c, before, gates, y, dp):
    """From dh and dc to dp = the gradient before the gates' activations, and dc of the step before."""
    width = dh.size
    i, f, g, o = gates[:width], gates[width:2 * width], gates[2 * width:3 * width], gates[3 * width:]
    di, df, dg, do = dp[:width], dp[width:2 * width], dp[2 * width:3 * width], dp[3 * width:]
    for k in range(width):
        y[k] = tanh(c[k])
    for k in range(width):
        do[k] = dh[k] * y[k] * (o[k] * (ONE - o[k]))
    for k in range(width):
        dc[k] += dh[k] * o[k] * (ONE - y[k] * y[k])
    for k in range(width):
        di[k] = dc[k] * g[k] * (i[k] * (ONE - i[k]))
    for k in range(width):
        df[k] = dc[k] * before[k] * (f[k] * (ONE - f[k]))
    for k in range(width):
        dg[k] = dc[k] * i[k] * (ONE - g[k] * g[k])
    for k in range(width):
        dc[k] *= f[k]


@kernel
def lstm_back(counter, gh, gc, c0, c, gates, packed, dp, dh0, dc):
    """gh or gc empty: zeros."""
    steps, batch, width = c.shape
    back, y = np.empty((MR, width), np.float32), np.empty(width, np.float32)
    table, out = np.zeros(1 + MR, np.int64), np.empty(MR, np.int64)
    for m in range(MR):
        out[m] = back.ctypes.data + m * 4 * width
    while True:
        first = take(counter) * MR
        if first >= batch:
            break
        count = min(MR, batch - first)
        back[...] = 0
        dc[first:first + count] = 0
        for t in range(steps - 1, -1, -1):
            for m in range(count):
                b = first + m
                if gh.size:
                    add_to(gh[t, b], back[m])
                if gc.size:
                    add_to(gc[t, b], dc[b])
                if t:
                    lstm_step_back(back[m], dc[b], c[t, b], c[t - 1, b], gates[t, b], y, dp[t, b])
                else:
                    lstm_step_back(back[m], dc[b], c[t, b], c0[b], gates[t, b], y, dp[t, b])
            multiply(dp.ctypes.data, t, batch, first, 4 * width, packed, width, table, out)
        dh0[first:first + count] = back[:count]


def packed(w, outs, out_stride, in_stride):
    """The matrix M[c, o] = w.flat[o*out_stride + c*in_stride] in the tile's order, (panels, 1, ins, NR)."""
    w = np.ascontiguousarray(w)
    ins, panels = w.size // outs, -(-outs // NR)
    memory = empty(panels, 1, ins, NR)
    launch(pack, panels, w.reshape(-1), np.arange(ins)[None, :] * in_stride, w.size, out_stride, outs, panels, memory)
    return memory


def lstm_scan(p, h0, c0, w):
    steps, batch, width = p.shape[0], *h0.shape
    h, c, gates = empty(steps, batch, width), empty(steps, batch, width), empty(steps, batch, 4 * width)
    if h.size:
        p, h0, c0 = (np.ascontiguousarray(a) for a in (p, h0, c0))
        launch(lstm, -(-batch // MR), p, h0, c0, packed(w, 4 * width, width, 1), h, c, gates)
    return h, c, gates


def lstm_scan_dx(gh, gc, c0, c, gates, w):
    steps, batch, width = c.shape
    nothing = np.empty((0, 0, 0), np.float32)
    gh, gc = (nothing if g is None else np.ascontiguousarray(g) for g in (gh, gc))
    c0, c, gates = (np.ascontiguousarray(a) for a in (c0, c, gates))
    dp, dh0, dc0 = empty(steps, batch, 4 * width), empty(batch, width), empty(batch, width)
    if c.size:
        launch(lstm_back, -(-batch // MR), gh, gc, c0, c, gates, packed(w, width, 1, width), dp, dh0, dc0)
    return dp, dh0, dc0
