"""The recurrence of an LSTM over all steps, and its adjoint.

Imports: numpy.
"""

import numpy as np


def lstm_scan(x, h0, c0, w_ih, w_hh, b):
    """With the sigmoid s:  i, f, g, o = W_ih x[t] + W_hh h[t-1] + b;  c[t] = s(f) c[t-1] + s(i) tanh(g);  h[t] = s(o) tanh(c[t]).

    x (T, N, in), h0 and c0 (N, H), w_ih (4H, in), w_hh (4H, H), b (4H,)
    -> h, c (T, N, H) and gates (T, N, 4H): s(i), s(f), tanh(g), s(o).
    """
    p = np.matmul(x, w_ih.T) + b
    steps, batch, width = *p.shape[:2], p.shape[2] // 4
    h, c = (np.empty_like(p, shape=(steps, batch, width), order="C") for _ in range(2))
    gates = np.empty_like(p, order="C")
    # Because s(x) = tanh(x / 2) / 2 + 1/2, one tanh serves all four gates. Near 0 s loses digits that a gate does not need.
    half = np.repeat(np.asarray([0.5, 0.5, 1, 0.5], dtype=p.dtype, like=p), width)
    rest = 1 - half
    for t in range(steps):
        a = np.add(np.matmul(h[t - 1] if t else h0, w_hh.T), p[t], out=gates[t])
        a *= half
        np.tanh(a, out=a)
        a *= half
        a += rest
        i, f, g, o = np.split(a, 4, axis=1)
        np.add(f * (c[t - 1] if t else c0), i * g, out=c[t])
        np.multiply(o, np.tanh(c[t]), out=h[t])
    return h, c, gates


def lstm_scan_dx(gh, gc, c0, c, gates, w_ih, w_hh):
    """The adjoint of `lstm_scan`, from the gradients gh and gc of its results h and c.

    gh, gc (T, N, H), either may be None; c (T, N, H), c0 (N, H), gates (T, N, 4H); w_ih (4H, in), or None where no dx is
    wanted; w_hh (4H, H) -> dp (T, N, 4H), dx (T, N, in) or None, dh0, dc0 (N, H), db (4H,). dp is the gradient of the sums
    p = W_ih x[t] + W_hh h[t-1] + b.
    """
    dp, back, dc = np.empty_like(gates), np.zeros_like(c0), np.zeros_like(c0)
    for t in reversed(range(len(c))):
        i, f, g, o = np.split(gates[t], 4, axis=1)
        dh, y = back if gh is None else back + gh[t], np.tanh(c[t])
        dc = dc + dh * o * (1 - y * y)
        if gc is not None:
            dc = dc + gc[t]
        dp[t] = np.concatenate([dc * g * (i * (1 - i)), dc * (c[t - 1] if t else c0) * (f * (1 - f)),
                                dc * i * (1 - g * g), dh * y * (o * (1 - o))], axis=1)
        back, dc = np.matmul(dp[t], w_hh), dc * f
    return dp, None if w_ih is None else np.matmul(dp, w_ih), back, dc, dp.sum((0, 1))
