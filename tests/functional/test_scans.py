"""Recurrent networks: PyTorch's values at two orders, the equations, the rule on arrays against the rule on Tensors."""
import gc
import itertools
import weakref

import numpy as np
import pytest
from oracle import random, same_as_torch

import minigrad as mg
import minigrad.functional as F
from minigrad.functional import recurrent
from minigrad.gradcheck import check_grads
from minigrad.random import Stream

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
KINDS = tuple(GATES)


def weights(kind, inputs, hidden, layers=1, directions=1, biases=True, scale=0.5, dtype=np.float64):
    """A flat list in PyTorch's order."""
    params, gates = [], GATES[kind]
    for k in range(layers * directions):
        width = inputs if k < directions else hidden * directions
        shapes = [(gates * hidden, width), (gates * hidden, hidden)] + [(gates * hidden,)] * 2 * biases
        params += [random(*s, seed=10 * k + i, dtype=dtype) * dtype(scale) for i, s in enumerate(shapes)]
    return params


def call(function, kind, *options):
    """function(input, hx, params, ...) as a function of Tensors only, returning a flat tuple."""
    states = 2 if kind == "lstm" else 1

    def flat(x, *rest):
        hx = rest[:states] if kind == "lstm" else rest[0]
        out, last = (lambda y, *s: (y, s))(*function(x, hx, list(rest[states:]), *options))
        last = last[0] if len(last) == 1 and isinstance(last[0], tuple) else last
        return (out, *last)

    return flat


# ---- against PyTorch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers, bidirectional, batch_first, biases",
                         [(1, False, False, True), (2, True, True, True), (3, False, True, False), (1, True, False, False)])
def test_sequences_are_pytorchs_in_value_and_two_orders(kind, layers, bidirectional, batch_first, biases):
    torch = pytest.importorskip("torch")
    steps, batch, inputs, hidden, directions = 4, 3, 2, 3, 1 + bidirectional
    x = random(*((batch, steps) if batch_first else (steps, batch)), inputs)
    states = [random(layers * directions, batch, hidden, seed=k) for k in range(1 + (kind == "lstm"))]
    options = (biases, layers, 0.0, False, bidirectional, batch_first)
    same_as_torch(call(getattr(F, kind), kind, *options), call(getattr(torch, kind), kind, *options),
                  x, *states, *weights(kind, inputs, hidden, layers, directions, biases), order=2)


@pytest.mark.parametrize("kind", KINDS)
def test_cells_are_pytorchs_and_steps_of_the_sequence(kind):
    torch = pytest.importorskip("torch")
    states = [random(3, 4, seed=k) for k in range(1 + (kind == "lstm"))]

    def cell(function):
        return lambda x, *rest: function(x, rest[:2] if kind == "lstm" else rest[0], *rest[len(states) :])

    x, params = random(3, 2), weights(kind, 2, 4)
    ours, theirs = getattr(F, f"{kind}_cell"), getattr(torch, f"{kind}_cell")
    same_as_torch(cell(ours), cell(theirs), x, *states, *params, order=2)
    same_as_torch(cell(ours), cell(theirs), x, *states, *params[:2], order=1)
    one = ours(mg.tensor(x[1]), None, *map(mg.tensor, params))
    many = ours(mg.tensor(x), None, *map(mg.tensor, params))
    one, many = (one[0], many[0]) if kind == "lstm" else (one, many)
    np.testing.assert_allclose(one.array, many.array[1])

    sequence = random(5, 3, 2)
    h = None
    for t in range(5):
        h = ours(mg.tensor(sequence[t]), h, *map(mg.tensor, params))
    y, last = getattr(F, kind)(mg.tensor(sequence), None, map(mg.tensor, params))
    pairs = zip(last, h, strict=True) if kind == "lstm" else [(last, h)]
    for a, b in pairs:
        np.testing.assert_allclose(a.array[0], b.array)
    np.testing.assert_allclose(y.array[-1], (h[0] if kind == "lstm" else h).array)


# ---- against formulas and differences --------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize("kind", KINDS)
def test_against_the_equations(kind):
    x, (w, u, b, d) = random(4, 2, 3), weights(kind, 3, 5)
    h, c = np.zeros((2, 5)), np.zeros((2, 5))
    outputs = []
    for t in range(4):
        p, q = x[t] @ w.T + b, h @ u.T + d
        if kind == "gru":
            r, z = (sigmoid(p[:, s] + q[:, s]) for s in (slice(5), slice(5, 10)))
            h = (1 - z) * np.tanh(p[:, 10:] + r * q[:, 10:]) + z * h
        elif kind == "lstm":
            i, f, g, o = np.split(p + q, 4, 1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        else:
            h = np.tanh(p + q) if kind == "rnn_tanh" else np.maximum(p + q, 0)
        outputs.append(h)
    y, _ = getattr(F, kind)(mg.tensor(x), None, [mg.tensor(v) for v in (w, u, b, d)])
    np.testing.assert_allclose(y.array, outputs, atol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_derivatives_of_three_orders(kind):
    states = [random(1, 2, 3, seed=k) for k in range(1 + (kind == "lstm"))]
    f = call(getattr(F, kind), kind)
    inputs = [random(3, 2, 2), *states, *weights(kind, 2, 3)]
    check_grads(lambda *a: sum((y * y).sum() for y in f(*a)), inputs, order=2)
    check_grads(lambda *a: f(*a)[-1], [random(2, 1, 1), *[s[:, :1, :2] for s in states], *weights(kind, 1, 2)], order=3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_rule_on_arrays_equals_the_rule_on_tensors(kind):
    """The same text runs on arrays, and recorded on Tensors; float32, as in training."""
    params = [mg.tensor(p, requires_grad=True) for p in weights(kind, 3, 4, layers=2, directions=2, dtype=np.float32)]
    x = mg.tensor(random(5, 2, 3, dtype=np.float32), requires_grad=True)
    y, _ = getattr(F, kind)(x, None, params, True, 2, 0.0, False, True)
    loss = (y * y).sum()
    plain = mg.grad(loss, [x, *params], retain_graph=True)
    recorded = mg.grad(loss, [x, *params], create_graph=True)
    for a, b in zip(plain, recorded, strict=True):
        assert a.dtype == np.float32 and not a.requires_grad and b.requires_grad
        np.testing.assert_allclose(a.array, b.array, rtol=1e-4, atol=1e-6)


# ---- shapes, dropout, states -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, bidirectional", list(itertools.product(KINDS, (False, True))))
def test_one_sequence_without_a_batch(kind, bidirectional):
    directions = 1 + bidirectional
    params = [mg.tensor(p) for p in weights(kind, 3, 4, 2, directions)]
    x = random(5, 3)
    options = (True, 2, 0.0, False, bidirectional)
    y, last = getattr(F, kind)(mg.tensor(x), None, params, *options)
    many, lasts = getattr(F, kind)(mg.tensor(x[:, None]), None, params, *options)
    assert y.shape == (5, 4 * directions)
    np.testing.assert_array_equal(y.array, many.array[:, 0])
    for a, b in zip(last, lasts, strict=True) if kind == "lstm" else [(last, lasts)]:
        assert a.shape == (2 * directions, 4)
        np.testing.assert_array_equal(a.array, b.array[:, 0])
    again, _ = getattr(F, kind)(mg.tensor(x), last, params, *options)
    assert again.shape == y.shape


def test_states_carry_on_where_a_sequence_was_cut():
    params = [mg.tensor(p) for p in weights("lstm", 3, 4, 2)]
    x = mg.tensor(random(6, 2, 3))
    whole, _ = F.lstm(x, None, params, num_layers=2)
    first, state = F.lstm(x[:2], None, params, num_layers=2)
    second, _ = F.lstm(x[2:], state, params, num_layers=2)
    np.testing.assert_allclose(np.concatenate([first.array, second.array]), whole.array, atol=1e-14)


def test_dropout_lies_between_layers_and_only_in_training():
    params = [mg.tensor(p) for p in weights("gru", 3, 4, 2)]
    x = mg.tensor(random(6, 2, 3))
    runs = [F.gru(x, None, params, True, 2, 0.5, train, rng=Stream(seed, "d"))[0].array
            for train, seed in ((False, 0), (True, 0), (True, 0), (True, 1))]
    np.testing.assert_array_equal(runs[1], runs[2])
    assert (runs[1] != runs[0]).any() and (runs[1] != runs[3]).any() and (runs[3] != 0).all()
    one = [F.gru(x, None, params[:4], True, 1, 0.5, train)[0].array for train in (False, True)]
    np.testing.assert_array_equal(*one)  # one layer: nothing lies between


def test_an_empty_batch_and_no_gradient_for_what_does_not_ask():
    params = [mg.tensor(p) for p in weights("lstm", 3, 4)]
    y, (h, c) = F.lstm(mg.zeros((5, 0, 3), dtype=np.float64), None, params)
    assert y.shape == (5, 0, 4) and h.shape == c.shape == (1, 0, 4)
    x = mg.tensor(random(5, 2, 3), requires_grad=True)
    with mg.functional.recurrent.kernels.counting() as calls:
        y, _ = F.lstm(x, None, params)
        forward = calls["matmul"]
        mg.grad(y.sum(), [x])
    assert calls["lstm_scan_dx"] == 1 and calls["matmul"] == forward  # no product for the weights


def test_memory_goes_without_the_garbage_collector():
    params = [mg.tensor(p, requires_grad=True) for p in weights("lstm", 3, 4)]
    gc.disable()
    try:
        y, last = F.lstm(mg.tensor(random(3, 2, 3)), None, params)
        node = weakref.ref(y.node)
        gs = mg.grad((y * y).sum(), params, create_graph=True)
        del y, last, gs
        assert node() is None
    finally:
        gc.enable()


def test_extreme_inputs_give_no_nan():
    for kind in KINDS:
        params = [mg.tensor(p * 1e4, requires_grad=True) for p in weights(kind, 3, 4, dtype=np.float32)]
        if kind == "rnn_relu":
            params = [mg.tensor(p.array * np.float32(1e-4), requires_grad=True) for p in params]
        y, _ = getattr(F, kind)(mg.tensor(random(3, 2, 3, dtype=np.float32)), None, params)
        assert np.isfinite(y.array).all() and y.dtype == np.float32
        assert all(np.isfinite(g.array).all() for g in mg.grad(y.sum(), params))


# ---- wrong arguments -------------------------------------------------------------------------------------------------

X = mg.zeros((4, 2, 3))
P = [mg.tensor(p) for p in weights("lstm", 3, 5, dtype=np.float32)]
H = mg.zeros((1, 2, 5))


@pytest.mark.parametrize("make, message", [
    (lambda: F.lstm(X[0, 0], None, P), r"lstm: input must be \(T, N, in\)"),
    (lambda: F.lstm(X[:0], None, P), "at least one time step"),
    (lambda: F.lstm(X, None, P[:3]), "3 params, but 1 layers in 1 directions with 4 each are 4"),
    (lambda: F.lstm(X, None, P, num_layers=2), "are 8"),
    (lambda: F.lstm(X, None, P, dropout=1.5), "dropout"),
    (lambda: F.lstm(X, None, P, num_layers=0), "num_layers"),
    (lambda: F.lstm(mg.zeros((4, 2, 6)), None, P), r"weight_ih_l0 \(20, 3\) must be \(20, 6\)"),
    (lambda: F.gru(X, None, P), r"weight_ih_l0 \(20, 3\) must be \(15, 3\)"),
    (lambda: F.lstm(X, H, P), r"hx must be \(h_0, c_0\)"),
    (lambda: F.lstm(X, (H, H[:, :1]), P), r"c_0 \(1, 1, 5\) must be \(1, 2, 5\)"),
    (lambda: F.lstm_cell(X, None, *P), r"\(N, in\)"),
    (lambda: F.gru_cell(X[0], None, *P), "weight_ih"),
])
def test_wrong_arguments_are_value_errors(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_wrong_types_are_type_errors():
    with pytest.raises(TypeError, match="weight_ih_l0 is float32"):
        F.lstm(mg.zeros((4, 2, 3), dtype=np.float64), None, P)
    with pytest.raises(TypeError, match="h_0 is float64"):
        F.lstm(X, (H.double(), H), P)
    with pytest.raises(TypeError, match="floating-point"):
        F.lstm(mg.tensor([[[1]]]), None, P)


def test_every_kind_is_public():
    for kind in KINDS:
        assert getattr(F, kind) is getattr(recurrent, kind) and getattr(F, f"{kind}_cell")
