"""Recurrent networks over sequences: rnn_tanh, rnn_relu, lstm, gru, and their single steps.

    x, h, c    input, state and cell of a step; h' and c' are those after it
    p          the input's part, x W_ih^T + b          W     W_hh, the weight of the state
    s          the sigmoid                             phi   tanh or ReLU

    RNN     h' = phi(p + h W^T)                                                                 (Elman 1990)
    LSTM    i, f, g, o = p + h W^T;  c' = s(f) c + s(i) tanh(g);  h' = s(o) tanh(c')            (Hochreiter & Schmidhuber 1997,
                                                                                                 Gers et al. 2000)
    GRU     q = h W^T + b_hh;  r, z = s(p + q);  n = tanh(p_n + r q_n);  h' = n + z (h - n)     (Cho et al. 2014, but with b_hn
                                                                                                 inside the product with r)

p needs no state. So for RNN and GRU it is one product over all time steps, and the LSTM's kernel computes it together with h W^T.
What is left is a scan: a loop over time in which each step reads the state of the one before.
Names, gate order and shapes are PyTorch's: weight_ih (gates * H, in), weight_hh (gates * H, H), biases (gates * H,).

A scan is one primitive. Its rule reads only its inputs and outputs; this is why the gates are outputs. The rule is written in
operators alone, so the same text runs on arrays, and on Tensors while the sweep is recorded. So every order is right. The gradient
of a weight is one product over all time steps.

Imports: numpy, minigrad.autograd, minigrad.kernels, activation, common, elementwise, indexing, linear, shape.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace

import numpy as np

from minigrad import kernels
from minigrad.autograd import Variable, is_grad_enabled, primitive
from minigrad.functional.activation import dropout as drop
from minigrad.functional.common import flag, integer, real, require_float
from minigrad.functional.elementwise import tanh
from minigrad.functional.indexing import cat, stack
from minigrad.functional.linear import linear, matmul
from minigrad.functional.shape import flip, squeeze, transpose, unsqueeze

_ON_ARRAYS = SimpleNamespace(matmul=kernels.matmul, tanh=np.tanh, cat=np.concatenate, stack=np.stack)
_ON_TENSORS = SimpleNamespace(matmul=matmul, tanh=tanh, cat=cat, stack=stack)


def _operands(node, *cotangents):
    """(operations, inputs, outputs, cotangents): Tensors while the sweep is recorded, otherwise plain arrays."""
    if is_grad_enabled():
        return _ON_TENSORS, node.inputs, [node.output(i) for i in range(node.n_outputs)], cotangents
    raw = [[v.array if isinstance(v, Variable) else v for v in values] for values in (node.inputs, cotangents)]
    return _ON_ARRAYS, raw[0], node.outputs, raw[1]


def _results(node, needs, *gradients):
    """The rule's results: Tensors, and None where no gradient is needed."""
    return tuple((g if isinstance(g, Variable) else node.cls.wrap(np.ascontiguousarray(g))) if need else None
                 for g, need in zip(gradients, needs, strict=True))


def _weight_gradient(on, dq, h0, h):
    """Sum over time of dq[t]^T h[t - 1], as one product: (T, N, gates * H), (N, H), (T, N, H) -> (gates * H, H)."""
    before = on.cat([h0.reshape(1, *h0.shape), h[:-1]], 0)
    return on.matmul(_rows(dq).T, _rows(before))


def _rows(a):
    """(T, N, F) -> (T * N, F)."""
    return a.reshape(a.shape[0] * a.shape[1], a.shape[2])


def _blocks(a, count):
    """The gates' columns of (N, count * H)."""
    width = a.shape[-1] // count
    return [a[:, k * width : (k + 1) * width] for k in range(count)]


def _plus(a, g, t):
    """a + g[t], where a or g may be missing."""
    return a if g is None else g[t] if a is None else a + g[t]


# ---- scans: p (T, N, gates * H) or x (T, N, in), h0 and c0 (N, H), w (gates * H, H) -> (T, N, ...) ---------------------


@primitive(saves=((1, 2), (1, 2), (1, 2)), saves_out=(0,))
def _rnn_scan(p, h0, w, relu):
    """h[t] = tanh(p[t] + h[t-1] w^T), or relu instead of tanh; h[-1] is h0."""
    h = np.empty_like(p, order="C")
    for t in range(len(p)):
        np.add(kernels.matmul(h[t - 1] if t else h0, w.T), p[t], out=h[t])
        np.maximum(h[t], 0, out=h[t]) if relu else np.tanh(h[t], out=h[t])
    return h


@_rnn_scan.vjp
def _(node, needs, gh, relu):
    on, (_, h0, w), (h,), (gh,) = _operands(node, gh)
    dp, back = [], None
    for t in reversed(range(len(h))):
        dh = _plus(back, gh, t)
        dp.append(dh * (h[t] > 0) if relu else dh * (1 - h[t] * h[t]))
        back = on.matmul(dp[-1], w)
    dp = on.stack(dp[::-1], 0)
    return _results(node, needs, dp, back, _weight_gradient(on, dp, h0, h) if needs[2] else None)


@primitive(saves=((2, 3, 4), (2, 4), (2, 4), (0, 2, 4), (1, 2, 4), (2, 4)), saves_out=(0, 1, 2))
def _lstm_scan(x, h0, c0, w_ih, w_hh, b):
    """(h, c, gates): c[t] = f c[t-1] + i g, h[t] = o tanh(c[t]), gates from x[t] w_ih^T + h[t-1] w_hh^T + b.

    gates holds the values of i, f, g, o behind their sigmoids and tanh.
    """
    return kernels.lstm_scan(x, h0, c0, w_ih, w_hh, b)


@_lstm_scan.vjp
def _(node, needs, gh, gc, ga):
    on, (x, h0, c0, w_ih, w_hh, _), (h, c, gates), (gh, gc, ga) = _operands(node, gh, gc, ga)
    if on is _ON_ARRAYS and ga is None:
        dp, dx, back, dc, db = kernels.lstm_scan_dx(gh, gc, c0, c, gates, w_ih if needs[0] else None, w_hh)
    else:
        dp, back, dc = _lstm_scan_dx(on, gh, gc, ga, c0, c, gates, w_hh)
        dx, db = on.matmul(dp, w_ih) if needs[0] else None, dp.sum((0, 1))
    dw_ih = dw_hh = None
    if needs[3] and needs[4]:  # dp^T (x, h[t - 1]): what the kernel multiplies forward, and dp is read once
        dw = on.matmul(_rows(dp).T, _rows(_lstm_inputs(on, x, h0, h)))
        dw_ih, dw_hh = dw[:, : x.shape[2]], dw[:, x.shape[2] :]
    elif needs[3]:
        dw_ih = on.matmul(_rows(dp).T, _rows(x))
    elif needs[4]:
        dw_hh = _weight_gradient(on, dp, h0, h)
    return _results(node, needs, dx, back, dc, dw_ih, dw_hh, db)


def _lstm_inputs(on, x, h0, h):
    """(x, h[t - 1]) of all steps, (T, N, in + H)."""
    if on is _ON_TENSORS:
        return on.cat([x, on.cat([h0.reshape(1, *h0.shape), h[:-1]], 0)], 2)
    steps, batch, ins = x.shape
    inputs = np.empty_like(h, shape=(steps, batch, ins + h.shape[2]), order="C")
    inputs[:, :, :ins], inputs[0, :, ins:], inputs[1:, :, ins:] = x, h0, h[:-1]
    return inputs


def _lstm_scan_dx(on, gh, gc, ga, c0, c, gates, w):
    """The kernel's gradients, except x's, of arrays or Tensors; and with a cotangent of the gates."""
    squashed = on.tanh(c)
    dp, back, dc = [], None, None
    for t in reversed(range(len(c))):
        i, f, g, o = _blocks(gates[t], 4)
        dh, y = _plus(back, gh, t), squashed[t]
        if dh is None:
            dh = 0 * y
        through = dh * o * (1 - y * y)
        dc = _plus(through if dc is None else through + dc, gc, t)
        di, df, dg, do = dc * g, dc * (c[t - 1] if t else c0), dc * i, dh * y
        if ga is not None:
            di, df, dg, do = (d + e for d, e in zip((di, df, dg, do), _blocks(ga[t], 4), strict=True))
        dp.append(on.cat([di * (i * (1 - i)), df * (f * (1 - f)), dg * (1 - g * g), do * (o * (1 - o))], 1))
        back, dc = on.matmul(dp[-1], w), dc * f
    return on.stack(dp[::-1], 0), back, dc


@primitive(saves=((1, 2), (1, 2), (1, 2), (1, 2)), saves_out=(0, 1, 2))
def _gru_scan(p, h0, w, b):
    """(h, gates, q): h[t] = n + z (h[t-1] - n), n = tanh(p_n + r q), r and z = sigmoid(p + h[t-1] w^T + b).

    gates holds the values of r, z, n; q = h W_hn^T + b_hn, what r is multiplied with.
    """
    steps, batch, width = *p.shape[:2], p.shape[2] // 3
    h, q = (np.empty_like(p, shape=(steps, batch, width), order="C") for _ in range(2))
    gates = np.empty_like(p, order="C")
    for t in range(steps):
        before = h[t - 1] if t else h0
        product = kernels.matmul(before, w.T) + b
        q[t] = product[:, 2 * width :]
        rz, n = gates[t][:, : 2 * width], gates[t][:, 2 * width :]
        np.add(product[:, : 2 * width], p[t][:, : 2 * width], out=rz)
        rz *= 0.5
        np.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        r, z = rz[:, :width], rz[:, width:]
        np.tanh(p[t][:, 2 * width :] + r * q[t], out=n)
        np.add(n, z * (before - n), out=h[t])
    return h, gates, q


@_gru_scan.vjp
def _(node, needs, gh, ga, gq):
    on, (_, h0, w, _), (h, gates, q), (gh, ga, gq) = _operands(node, gh, ga, gq)
    dp, dq, back = [], [], None
    for t in reversed(range(len(h))):
        r, z, n = _blocks(gates[t], 3)
        dh = _plus(back, gh, t)
        if dh is None:
            dh = 0 * n
        dz, dn = dh * ((h[t - 1] if t else h0) - n), dh * (1 - z)
        if ga is not None:
            extra = _blocks(ga[t], 3)
            dz, dn = dz + extra[1], dn + extra[2]
        dn = dn * (1 - n * n)
        dr = dn * q[t] if ga is None else dn * q[t] + extra[0]
        dr, dz = dr * (r * (1 - r)), dz * (z * (1 - z))
        dp.append(on.cat([dr, dz, dn], 1))
        dq.append(on.cat([dr, dz, _plus(dn * r, gq, t)], 1))
        back = dh * z + on.matmul(dq[-1], w)
    dp, dq = on.stack(dp[::-1], 0), on.stack(dq[::-1], 0)
    dw = _weight_gradient(on, dq, h0, h) if needs[2] else None
    return _results(node, needs, dp, back, dw, dq.sum((0, 1)) if needs[3] else None)


# ---- one layer in one direction: x (T, N, in), states (N, H) -> (output (T, N, H), last states...) ---------------------


def _rnn_layer(x, states, w_ih, w_hh, b_ih, b_hh, relu):
    h = _rnn_scan(linear(x, w_ih, _joined(b_ih, b_hh)), *states, w_hh, relu=relu)
    return h, h[-1]


def _lstm_layer(x, states, w_ih, w_hh, b_ih, b_hh):
    b = _joined(b_ih, b_hh)
    b = np.zeros_like(x.array, shape=w_hh.shape[:1]) if b is None else b
    h, c, _ = _lstm_scan(x, *states, w_ih, w_hh, b)
    return h, h[-1], c[-1]


def _gru_layer(x, states, w_ih, w_hh, b_ih, b_hh):
    b_hh = np.zeros_like(x.array, shape=w_hh.shape[:1]) if b_hh is None else b_hh
    h, _, _ = _gru_scan(linear(x, w_ih, b_ih), *states, w_hh, b_hh)
    return h, h[-1]


def _joined(a, b):
    return b if a is None else a if b is None else a + b


_LAYERS = {"rnn_tanh": (functools.partial(_rnn_layer, relu=False), 1, 1),  # layer, gates, states
           "rnn_relu": (functools.partial(_rnn_layer, relu=True), 1, 1),
           "lstm": (_lstm_layer, 4, 2), "gru": (_gru_layer, 3, 1)}


# ---- PyTorch's functions ---------------------------------------------------------------------------------------------


def lstm(input, hx, params, has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=False,
         batch_first=False, rng=None):
    """Long short-term memory over sequences -> (output, (h_n, c_n)).

    input    (T, N, in), with batch_first (N, T, in), or one sequence (T, in)
    hx       (h_0, c_0), each (num_layers * directions, N, H), without N for one sequence; None is zeros
    params   for each layer, and within it each direction: weight_ih, weight_hh and, with has_biases, bias_ih, bias_hh
    dropout  in training (`train`) the chance that an output of a layer but the last is dropped; drawn from `rng`
    output   (T, N, directions * H), laid out as input; h_n and c_n are shaped as h_0
    """
    options = (has_biases, num_layers, dropout, train, bidirectional, batch_first, rng)
    return _sequence("lstm", input, hx, params, *options)


def gru(input, hx, params, has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=False,
        batch_first=False, rng=None):
    """Gated recurrent units over sequences -> (output, h_n); arguments as for lstm, hx is h_0."""
    options = (has_biases, num_layers, dropout, train, bidirectional, batch_first, rng)
    return _sequence("gru", input, hx, params, *options)


def rnn_tanh(input, hx, params, has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=False,
             batch_first=False, rng=None):
    """A recurrent network with tanh over sequences -> (output, h_n); arguments as for lstm, hx is h_0."""
    options = (has_biases, num_layers, dropout, train, bidirectional, batch_first, rng)
    return _sequence("rnn_tanh", input, hx, params, *options)


def rnn_relu(input, hx, params, has_biases=True, num_layers=1, dropout=0.0, train=False, bidirectional=False,
             batch_first=False, rng=None):
    """A recurrent network with ReLU over sequences -> (output, h_n); arguments as for lstm, hx is h_0."""
    options = (has_biases, num_layers, dropout, train, bidirectional, batch_first, rng)
    return _sequence("rnn_relu", input, hx, params, *options)


def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: input (N, in) or (in,), hx = (h, c) of (N, H) or (H,), or None for zeros -> (h', c')."""
    return _cell("lstm", input, hx, w_ih, w_hh, b_ih, b_hh)


def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU: input (N, in) or (in,), hx (N, H) or (H,), or None for zeros -> h'."""
    return _cell("gru", input, hx, w_ih, w_hh, b_ih, b_hh)


def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """tanh(W_ih x + b_ih + W_hh h + b_hh): input (N, in) or (in,), hx (N, H) or (H,), or None for zeros -> h'."""
    return _cell("rnn_tanh", input, hx, w_ih, w_hh, b_ih, b_hh)


def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """relu(W_ih x + b_ih + W_hh h + b_hh): input (N, in) or (in,), hx (N, H) or (H,), or None for zeros -> h'."""
    return _cell("rnn_relu", input, hx, w_ih, w_hh, b_ih, b_hh)


# ---- what they share -------------------------------------------------------------------------------------------------


def _cell(kind, input, hx, w_ih, w_hh, b_ih, b_hh):
    """A sequence of one step."""
    name = f"{kind}_cell"
    require_float(name, input=input)
    if input.ndim not in (1, 2):
        raise ValueError(f"{name}: input must be (N, in) or (in,), got {input.shape}")
    weights = _checked(name, kind, [[w_ih, w_hh, b_ih, b_hh]], input, 1)
    states = _states(name, kind, hx, input, input.shape[:-1] + (w_hh.shape[1],))
    x, states = (input, states) if input.ndim == 2 else (unsqueeze(input, 0), [unsqueeze(s, 0) for s in states])
    _, *last = _LAYERS[kind][0](unsqueeze(x, 0), states, *weights[0])
    last = [squeeze(s, 0) for s in last] if input.ndim == 1 else last
    return tuple(last) if kind == "lstm" else last[0]


def _sequence(name, input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first, rng):
    require_float(name, input=input)
    for key, value in zip(("has_biases", "train", "bidirectional", "batch_first"),
                          (has_biases, train, bidirectional, batch_first), strict=True):
        flag(f"{name}: {key}", value)
    if input.ndim not in (2, 3) or input.shape[1 if batch_first and input.ndim == 3 else 0] == 0:
        raise ValueError(f"{name}: input must be {'(N, T, in)' if batch_first else '(T, N, in)'} or (T, in) with at least "
                         f"one time step, got {input.shape}")
    layers, directions = integer(f"{name}: num_layers", num_layers, 1), 2 if bidirectional else 1
    if not 0 <= real(f"{name}: dropout", dropout) <= 1:
        raise ValueError(f"{name}: dropout must lie in [0, 1], got {dropout}")
    params, each = list(params), 4 if has_biases else 2
    if len(params) != layers * directions * each:
        raise ValueError(f"{name}: {len(params)} params, but {layers} layers in {directions} directions with {each} each "
                         f"are {layers * directions * each}")
    weights = [(params[i : i + each] + [None, None])[:4] for i in range(0, len(params), each)]
    weights = _checked(name, name, weights, input, directions)
    x = unsqueeze(input, 1) if input.ndim == 2 else transpose(input, 0, 1) if batch_first else input
    hidden = weights[0][1].shape[1]
    batch = x.shape[1:2] if input.ndim == 3 else ()
    states = _states(name, name, hx, input, (layers * directions, *batch, hidden))
    if input.ndim == 2:
        states = [unsqueeze(s, 1) for s in states]
    layer, finals = _LAYERS[name][0], []
    for k in range(layers):
        outputs = []
        for j in range(directions):
            at = k * directions + j
            y, *last = layer(flip(x, 0) if j else x, [s[at] for s in states], *weights[at])
            outputs.append(flip(y, 0) if j else y)
            finals.append(last)
        x = cat(outputs, 2) if bidirectional else y
        if train and dropout and k + 1 < layers:
            x = drop(x, dropout, True, rng=rng)
    finals = [stack(s, 0) for s in zip(*finals, strict=True)]
    if input.ndim == 2:
        x, finals = squeeze(x, 1), [squeeze(s, 1) for s in finals]
    elif batch_first:
        x = transpose(x, 0, 1)
    return x, tuple(finals) if name == "lstm" else finals[0]


def _checked(name, kind, weights, input, directions):
    """The weights of all layers, each of the shape that its place demands."""
    gates, hidden = _LAYERS[kind][1], weights[0][1].shape[-1]
    for k, row in enumerate(weights):
        width = input.shape[-1] if k < directions else hidden * directions
        suffix = f"_l{k // directions}" + ("_reverse" if k % directions else "")
        shapes = {"weight_ih": (gates * hidden, width), "weight_hh": (gates * hidden, hidden),
                  "bias_ih": (gates * hidden,), "bias_hh": (gates * hidden,)}
        for (key, shape), w in zip(shapes.items(), row, strict=True):
            if w is None and key.startswith("bias"):
                continue
            require_float(name, **{key + suffix: w})
            if w.shape != shape:
                raise ValueError(f"{name}: {key}{suffix} {w.shape} must be {shape} for input {input.shape} and hidden size "
                                 f"{hidden}")
            if w.dtype != input.dtype:
                raise TypeError(f"{name}: input is {input.dtype} but {key}{suffix} is {w.dtype}; convert one with .to()")
    return weights


def _states(name, kind, hx, input, shape):
    """The initial states as a list; zeros for None."""
    count = _LAYERS[kind][2]
    if hx is None:
        return [input.result_type.wrap(np.zeros_like(input.array, shape=shape, order="C")) for _ in range(count)]
    states = list(hx) if isinstance(hx, (tuple, list)) else [hx]
    if len(states) != count:
        raise ValueError(f"{name}: hx must be {'(h_0, c_0)' if count == 2 else 'one Tensor, h_0'}, got {len(states)}")
    for label, s in zip(("h_0", "c_0"), states, strict=False):
        require_float(name, **{label: s})
        if s.shape != shape:
            raise ValueError(f"{name}: {label} {s.shape} must be {shape} for input {input.shape}")
        if s.dtype != input.dtype:
            raise TypeError(f"{name}: input is {input.dtype} but {label} is {s.dtype}; convert one with .to()")
    return states
