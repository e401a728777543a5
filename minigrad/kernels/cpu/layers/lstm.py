"""The LSTM's scan over time in float32, forward and backward: one launch for a whole sequence.

| symbol | meaning |
|---|---|
| t | time step |
| x, h, c | input, output, cell |
| i, f, g, o | gates, and before their activations the sums that they are made of |
| dp | the gradient of those sums |
| W_ih, W_hh, b | weights of the input and of the output before, bias |

The sequences of a batch do not depend on one another. So a block is a few sequences, as many as a register tile has rows, and it
runs through all time steps alone: no thread waits for another between two steps, and no step returns to Python. A batch is cut
into blocks of equal height, because a tile costs the same whether all its rows are used or not. Each step is one product

    forward     [x[t], h[t-1], 1] (W_ih, W_hh, b)^T     and then the gates from these sums
    backward    dp[t] (W_hh, W_ih) = dh[t-1], dx[t]     after dp[t] from the gates

with weights that are packed once for all steps and stay in the L2 cache. The sums stay in the L1 cache, and never become an array
over all steps. Besides the product a step costs five tanh for each unit. Numba's own math.tanh would take ten times the product's
time, so here it is a quotient of polynomials:

    tanh x = x P(x^2) / Q(x^2),  |x| < 9       relative error 2e-8, and with rounding about six units of float32's last place
    s(x) = tanh(x / 2) / 2 + 1/2               the sigmoid; the digits that its tail loses do not matter for a gate

NaN stays NaN, and beyond 9 tanh is 1. The coefficients are a minimax fit (Lawson's weighted least squares) on [0, 9].

Imports: numpy, parts, registers, machine.
"""
import numpy as np

from minigrad.kernels.cpu.machine.compiling import inner, kernel
from minigrad.kernels.cpu.machine.threads import after, complete, empty, launch, share, take
from minigrad.kernels.cpu.parts.packing import pack
from minigrad.kernels.cpu.registers.copies import lanewise, prefetch
from minigrad.kernels.cpu.registers.emit import LOW, MR, NR, VL
from minigrad.kernels.cpu.registers.tiles import any_height_wide, product_narrow

P = 1.0, 0.13381023705005646, 0.0034955854061990976, 2.060904080281034e-05, 1.3354608974225357e-08
Q = 1.0, 0.46714338660240173, 0.02587697096168995, 0.00032856303732842207, 7.776535539960605e-07
ROW_SPARE = 16                      # floats beyond a row, so that equal rows do not fall into the same lines of the cache


# ---- the equations, of vectors in registers or of arrays ---------------------------------------------------------------


def polynomial(coefficients, x):
    *rest, y = coefficients
    for a in reversed(rest):
        y = x * y + a
    return y


def tanh(x):
    x = x.clip(-9.0, 9.0)
    s = x * x
    return (x * polynomial(P, s) / polynomial(Q, s)).clip(-1.0, 1.0)


def sigmoid(x):
    return 0.5 * tanh(0.5 * x) + 0.5


def lstm_cell(i, f, g, o, c):
    """From sums and c[t-1] to gates, c[t], and h[t] twice: as output, and as a part of the next step's row."""
    i, f, g, o = sigmoid(i), sigmoid(f), tanh(g), sigmoid(o)
    c = f * c + i * g
    h = o * tanh(c)
    return i, f, g, o, c, h, h


def lstm_cell_dx(back, gh, dc, gc, i, f, g, o, before, c, *db):
    """From dh = back + gh and dc + gc to dp, dc of the step before, and the sum db of dp.

    back: what the next step's product gave; gh, gc: what the caller gave."""
    dh, y = back + gh, tanh(c)
    dc = dc + gc + dh * o * (1 - y * y)
    dp = dc * g * (i * (1 - i)), dc * before * (f * (1 - f)), dc * i * (1 - g * g), dh * y * (o * (1 - o))
    return (*dp, dc * f, *(total + d for total, d in zip(db, dp, strict=True)))


lstm_cells, lstm_cells_dx = lanewise(lstm_cell, 5, 7), lanewise(lstm_cell_dx, 14, 9)


# ---- the scans -------------------------------------------------------------------------------------------------------


@inner
def copy(x, y):
    for k in range(y.size):
        y[k] = x[k]


@inner
def announce(a, entry):
    """entry = the address and the bytes of an array that comes next: see `step_product`."""
    entry[0], entry[1] = a.ctypes.data, a.size * 4


@inner
def step_product(rows, table, packed, outs, out, soon):
    """out_row[m] = row[m] @ the packed matrix, m < rows. At least LOW rows are computed.

    soon: addresses and sizes of the memory that is used after the product. It is prefetched while the product runs.
    """
    panel_bytes = packed.shape[2] * NR * 4
    for panel in range(packed.shape[0]):
        o = panel * NR
        for k in range(soon.shape[0]):
            part = -(-soon[k, 1] // (packed.shape[0] * 64)) * 64
            prefetch(soon[k, 0] + panel * part, min(part, soon[k, 1] - panel * part))
        weights, size = packed.ctypes.data + panel * panel_bytes, min(NR, outs - o)
        if size > VL:
            any_height_wide(table.ctypes.data, 1, 0, packed.shape[2], weights, out.ctypes.data, o * 4, size, max(rows, LOW))
        else:
            product_narrow(table.ctypes.data, 1, 0, packed.shape[2], weights, out.ctypes.data, o * 4, size, 0)


@kernel
def lstm_forward(counter, scratches, weights, places, out_stride, packed, x, h0, c0, h, c, gates):
    """See `lstm_scan`. The first blocks pack the matrix M[k, o] = weights[o*out_stride + places[0, k]] to (panels, 1, ins, NR)."""
    scratch = scratches[share(counter)]
    steps, batch, width, ins = h.shape[0], h.shape[1], h.shape[2], x.shape[2]
    blocks = (batch + MR - 1) // MR
    long, short = 4 * width + ROW_SPARE, (ins + width) // 16 * 16 + 16 + ROW_SPARE
    sums, rows = scratch[:MR * long].reshape(MR, long), scratch[MR * long:MR * (long + short)].reshape(MR, short)
    table, out, vectors = np.zeros(1 + MR, np.int64), np.empty(MR, np.int64), np.empty(12, np.int64)
    soon = np.zeros((4, 2), np.int64)
    for m in range(MR):
        table[1 + m], out[m] = rows.ctypes.data + m * 4 * short, sums.ctypes.data + m * 4 * long
    rows[...] = 1
    while True:
        block = take(counter)
        if block < packed.shape[0]:
            pack(block, weights, places, weights.size, out_stride, 4 * width, packed.shape[0], packed)
            complete(counter)
            continue
        block -= packed.shape[0]
        if block >= blocks:
            break
        after(counter, packed.shape[0])
        first, last = block * batch // blocks, (block + 1) * batch // blocks
        count = last - first
        for m in range(count):
            copy(h0[first + m], rows[m, ins:ins + width])
        for t in range(steps):
            for m in range(count):
                copy(x[t, first + m], rows[m, :ins])
            announce(gates[t, first:last], soon[0])
            announce(c[t, first:last], soon[1])
            announce(h[t, first:last], soon[2])
            announce(x[min(t + 1, steps - 1), first:last], soon[3])
            step_product(count, table, packed, 4 * width, out, soon)
            for m in range(count):
                b = first + m
                for gate in range(4):
                    vectors[gate] = out[m] + gate * width * 4
                    vectors[5 + gate] = gates[t, b].ctypes.data + gate * width * 4
                vectors[4] = c[t - 1, b].ctypes.data if t else c0[b].ctypes.data
                vectors[9], vectors[10], vectors[11] = c[t, b].ctypes.data, h[t, b].ctypes.data, table[1 + m] + ins * 4
                lstm_cells(vectors.ctypes.data, width)


@kernel
def lstm_backward(counter, scratches, weights, places, out_stride, packed, gh, gc, zeros, c0, c, gates, dp, dx, dh0, dc, db):
    """See `lstm_scan_dx`. gh or gc empty stand for zeros. weights, places, out_stride, packed: as in `lstm_forward`."""
    scratch = scratches[share(counter)]
    steps, batch, width, ins = c.shape[0], c.shape[1], c.shape[2], dx.shape[2]
    blocks = (batch + MR - 1) // MR
    long = (width + ins + 15) // 16 * 16 + ROW_SPARE
    back = scratch[:MR * long].reshape(MR, long)
    table, out, vectors = np.zeros(1 + MR, np.int64), np.empty(MR, np.int64), np.empty(23, np.int64)
    soon = np.zeros((5, 2), np.int64)
    for m in range(MR):
        out[m] = back.ctypes.data + m * 4 * long
    while True:
        block = take(counter)
        if block < packed.shape[0]:
            pack(block, weights, places, weights.size, out_stride, width + ins, packed.shape[0], packed)
            complete(counter)
            continue
        block -= packed.shape[0]
        if block >= blocks:
            break
        after(counter, packed.shape[0])
        first, last = block * batch // blocks, (block + 1) * batch // blocks
        count = last - first
        back[...] = 0
        dc[first:last] = 0
        for gate in range(4):
            vectors[10 + gate] = vectors[19 + gate] = db[block].ctypes.data + gate * width * 4
        for t in range(steps - 1, -1, -1):
            for m in range(MR):
                table[1 + m] = dp[t, first + min(m, count - 1)].ctypes.data
            for m in range(count):
                b = first + m
                vectors[0], vectors[2] = out[m], dc[b].ctypes.data
                vectors[1] = gh[t, b].ctypes.data if gh.size else zeros.ctypes.data
                vectors[3] = gc[t, b].ctypes.data if gc.size else zeros.ctypes.data
                for gate in range(4):
                    vectors[4 + gate] = gates[t, b].ctypes.data + gate * width * 4
                    vectors[14 + gate] = dp[t, b].ctypes.data + gate * width * 4
                vectors[8] = c[t - 1, b].ctypes.data if t else c0[b].ctypes.data
                vectors[9], vectors[18] = c[t, b].ctypes.data, dc[b].ctypes.data
                lstm_cells_dx(vectors.ctypes.data, width)
            announce(gates[max(t - 1, 0), first:last], soon[0])
            announce(dp[max(t - 1, 0), first:last], soon[1])
            announce(c[max(t - 2, 0), first:last], soon[2])
            announce(dx[t, first:last], soon[3])
            if gh.size:
                announce(gh[max(t - 1, 0), first:last], soon[4])
            step_product(count, table, packed, width + ins, out, soon)
            if ins:
                for m in range(count):
                    copy(back[m, width:width + ins], dx[t, first + m])
        for m in range(count):
            copy(back[m, :width], dh0[first + m])


def matrix(w, outs, out_stride, in_stride):
    """M[k, o] = w.flat[o*out_stride + k*in_stride] as the kernels' first four arguments, and the number of its panels."""
    ins, panels = w.size // outs, -(-outs // NR)
    return (w.reshape(-1), np.arange(ins)[None, :] * in_stride, out_stride, empty(panels, 1, ins, NR)), panels


def lstm_scan(x, h0, c0, w_ih, w_hh, b):
    """As `reference.lstm_scan`: (h, c, gates)."""
    (steps, batch, ins), width = x.shape, h0.shape[1]
    h, c, gates = empty(steps, batch, width), empty(steps, batch, width), empty(steps, batch, 4 * width)
    if h.size:
        x, h0, c0 = (np.ascontiguousarray(a) for a in (x, h0, c0))
        weights = np.concatenate([w_ih, w_hh, b[:, None]], axis=1)
        product, panels = matrix(weights, 4 * width, ins + width + 1, 1)
        launch(lstm_forward, max(panels, -(-batch // MR)), *product, x, h0, c0, h, c, gates,
               scratch=MR * (5 * width + ins + 16 + 2 * ROW_SPARE))
    return h, c, gates


def lstm_scan_dx(gh, gc, c0, c, gates, w_ih, w_hh):
    """As `reference.lstm_scan_dx`: (dp, dx, dh0, dc0, db)."""
    steps, batch, width = c.shape
    nothing, ins = np.empty((0, 0, 0), np.float32), 0 if w_ih is None else w_ih.shape[1]
    gh, gc = (nothing if g is None else np.ascontiguousarray(g) for g in (gh, gc))
    c0, c, gates = (np.ascontiguousarray(a) for a in (c0, c, gates))
    dp, dx, dh0, dc0 = empty(steps, batch, 4 * width), empty(steps, batch, ins), empty(batch, width), empty(batch, width)
    db = np.zeros((-(-batch // MR), 4 * width), np.float32)     # of each block
    if c.size:
        weights = np.ascontiguousarray(w_hh) if w_ih is None else np.concatenate([w_hh, w_ih], axis=1)
        product, panels = matrix(weights, width + ins, 1, width + ins)
        launch(lstm_backward, max(panels, len(db)), *product, gh, gc, np.zeros(width, np.float32), c0, c, gates, dp, dx, dh0, dc0,
               db, scratch=MR * (width + ins + 16 + ROW_SPARE))
    return dp, None if w_ih is None else dx, dh0, dc0, db.sum(0)
