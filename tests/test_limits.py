"""Formulas at their limits: nothing depends on np.seterr; no 0 * inf, no overflowing square where the result is finite."""

import functools
import math
import warnings

import numpy as np
import pytest
from cases import CASES
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import minigrad as mg
import minigrad.functional as F
from minigrad import optim

INF = math.inf
EXTREMES = [0.0, -0.0, 1.0, -1.0, 1e-42, -1e-42, 1e-30, 1e30, -1e30, 3e38, -3e38, 50.0, -200.0, INF, -INF, math.nan]


def outcome(case, arrays, options, mode):
    """Bytes of the values and gradients, or the class of error that names a wrong value."""
    with np.errstate(all=mode), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            xs = [mg.tensor(a, requires_grad=True) for a in arrays]
            ys = case.function(*xs, **options)
            ys = [y for y in (ys if isinstance(ys, (tuple, list)) else (ys,))]
            found = [y.array.tobytes() for y in ys]
            ys = [y for y in ys if y.requires_grad]
            if ys:
                us = [mg.ones_like(y) for y in ys]
                found += [None if g is None else g.array.tobytes() for g in mg.grad(ys, xs, us, allow_unused=True)]
            return found
        except (ValueError, TypeError) as error:
            return type(error)


@pytest.mark.parametrize("case", [c for c in CASES if c.order], ids=repr)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_depends_on_seterr_whatever_the_input(case, dtype):
    @settings(max_examples=6, suppress_health_check=list(HealthCheck))
    @given(st.data())
    def body(data):
        call = data.draw(case.sample)
        rng = np.random.default_rng(data.draw(st.integers(0, 1000)))
        for arrays in ([rng.choice(EXTREMES, a.shape) for a in call.arrays], [a * 1e-42 for a in call.arrays]):
            arrays = [np.asarray(a, dtype) for a in arrays]
            assert outcome(case, arrays, call.options, "raise") == outcome(case, arrays, call.options, "ignore")

    body()


@pytest.mark.parametrize("make", [optim.SGD, optim.Adam, optim.AdamW, optim.RMSprop, optim.Adagrad], ids=lambda m: m.__name__)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_training_step_does_not_depend_on_seterr(make, dtype):
    ends = []
    for mode in ("raise", "ignore"):
        with np.errstate(all=mode):
            w = mg.tensor(np.array([1e-30, 1.0, -2.0], dtype), requires_grad=True)
            step = make([w], lr=1e-3)
            for _ in range(3):
                w.grad = None
                (w * np.asarray([1e-30, 1e-20, 1e10], dtype)).square().sum().backward()
                step.step()
        ends.append(w.array.tobytes())
    assert ends[0] == ends[1]


# value and slope at the limit, in closed form; nan in `slopes` means that the slope has no limit and is not asked for
LIMITS = {
    "gelu": (F.gelu, [-INF, -1e30, -100.0, 100.0, 1e30, INF], [0, 0, 0, 100.0, 1e30, INF], [0, 0, 0, 1, 1, 1]),
    "gelu tanh": (
        functools.partial(F.gelu, approximate="tanh"),
        [-INF, -1e20, -100.0, 100.0, 1e20, INF],
        [0, 0, 0, 100, 1e20, INF],
        [0, 0, 0, 1, 1, 1],
    ),
    "elu": (F.elu, [-INF, -1e30, 1e30, INF], [-1, -1, 1e30, INF], [0, 0, 1, 1]),
    "elu of infinite alpha": (lambda x: F.elu(x, INF), [-1.0, 1.0, INF], [-INF, 1.0, INF], [INF, 1, 1]),
    "elu of infinite alpha at 0": (lambda x: F.elu(x, INF), [0.0], [0.0], [math.nan]),
    "elu of alpha 0": (lambda x: F.elu(x, 0.0), [-INF, -1.0, 1.0], [0, 0, 1], [0, 0, 1]),
    "relu": (F.relu, [-INF, INF], [0, INF], [0, 1]),
    "leaky_relu": (F.leaky_relu, [-INF, INF], [-INF, INF], [0.01, 1]),
    "softplus": (F.softplus, [-INF, -1e30, 1e30, INF], [0, 0, 1e30, INF], [0, 0, 1, 1]),
    "softplus without threshold": (lambda x: F.softplus(x, threshold=INF), [-INF, 1e30, INF], [0, 1e30, INF], [0, 1, 1]),
    "logsigmoid": (F.logsigmoid, [-INF, -1e30, 1e30, INF], [-INF, -1e30, 0, 0], [1, 1, 0, 0]),
    "sigmoid": (mg.sigmoid, [-INF, INF], [0, 1], [0, 0]),
    "tanh": (mg.tanh, [-INF, INF], [-1, 1], [0, 0]),
    "erf": (mg.erf, [-INF, -1e30, 1e30, INF], [-1, -1, 1, 1], [0, 0, 0, 0]),
    "exp": (mg.exp, [-INF, INF], [0, INF], [0, INF]),
    "log": (mg.log, [0.0, INF], [-INF, INF], [INF, 0]),
    "sqrt": (mg.sqrt, [0.0, INF], [0, INF], [INF, 0]),
    "atan": (mg.atan, [-INF, -1e30, INF], [-math.pi / 2, -math.pi / 2, math.pi / 2], [0, 0, 0]),
    "clamp": (lambda x: mg.clamp(x, -1, 1), [-INF, INF], [-1, 1], [0, 0]),
    "huber": (lambda x: F.huber_loss(x, 0 * mg.ones_like(x), reduction="none"), [-INF, 1e30], [INF, 1e30], [-1, 1]),
    "huber of infinite delta": (
        lambda x: F.huber_loss(x, mg.zeros_like(x), reduction="none", delta=INF),
        [2.0, -4.0],
        [2, 8],
        [2, -4],
    ),
    "smooth_l1": (lambda x: F.smooth_l1_loss(x, mg.zeros_like(x), reduction="none"), [-INF, 1e30], [INF, 1e30], [-1, 1]),
    "l1": (lambda x: F.l1_loss(x, mg.zeros_like(x), reduction="none"), [-INF, 1e30], [INF, 1e30], [-1, 1]),
    "bce with logits, right": (
        lambda x: F.binary_cross_entropy_with_logits(x, mg.ones_like(x), reduction="none"),
        [INF, 1e30],
        [0, 0],
        [0, 0],
    ),
    "bce with logits, 0": (
        lambda x: F.binary_cross_entropy_with_logits(x, mg.zeros_like(x), reduction="none"),
        [-INF, -1e30, INF],
        [0, 0, INF],
        [0, 0, 1],
    ),
    "bce with logits, weight 0": (
        lambda x: F.binary_cross_entropy_with_logits(x, mg.zeros_like(x), np.zeros(1), reduction="none"),
        [INF],
        [0],
        [0],
    ),
    "triu": (lambda x: mg.triu(x.reshape(2, 2)).reshape(-1), [INF, -INF, INF, 1.0], [INF, -INF, 0, 1], [1, 1, 0, 1]),
    "tril": (lambda x: mg.tril(x.reshape(2, 2)).reshape(-1), [INF, -INF, INF, 1.0], [INF, 0, INF, 1], [1, 0, 1, 1]),
    "masked_fill": (lambda x: x.masked_fill(x > 0, 0.0), [INF, -1.0], [0, -1], [0, 1]),
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_and_slopes_are_the_limits(name, dtype):
    f, points, values, slopes = LIMITS[name]
    with np.errstate(all="raise"):
        x = mg.tensor(np.array(points, dtype), requires_grad=True)
        y = f(x)
        (g,) = mg.grad(y, x, mg.ones_like(y), create_graph=True)
        if g.requires_grad:
            (h,) = mg.grad(g, x, mg.ones_like(g), allow_unused=True)
            if (
                name.startswith(("gelu", "softplus", "sigmoid", "tanh", "erf", "clamp", "triu", "tril", "relu", "logsigmoid"))
                and h is not None
            ):
                assert not np.isnan(h.array).any(), "the second derivative has a limit, too"
    np.testing.assert_allclose(y.array, np.array(values, dtype), rtol=1e-6, atol=1e-30)
    known = ~np.isnan(slopes)
    np.testing.assert_allclose(g.array[known], np.array(slopes, dtype)[known], rtol=1e-5, atol=1e-15)


MASKED = np.array([[1.0, -INF, 0.5], [-INF, 2.0, -1.0]])  # one class ruled out in each row
FINITE = {
    "cross_entropy": lambda x: F.cross_entropy(x, mg.tensor([0, 1])),
    "cross_entropy of probabilities": lambda x: F.cross_entropy(x, mg.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]])),
    "cross_entropy, class of weight 0": lambda x: F.cross_entropy(x[:, :2], mg.tensor([0, 1]), weight=np.array([1.0, 1.0])),
    "cross_entropy, impossible label of weight 0": lambda x: F.cross_entropy(
        x, mg.tensor([1, 1]), weight=np.array([0.0, 0.0, 1.0]), reduction="sum"
    ),
    "cross_entropy, ignored": lambda x: F.cross_entropy(x, mg.tensor([1, 2]), ignore_index=1),
    "kl_div": lambda x: F.kl_div(F.log_softmax(x, 1), mg.tensor([[0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]), reduction="sum"),
    "softmax": lambda x: F.softmax(x, 1).square().sum(),
    "logsumexp": lambda x: mg.logsumexp(x, 1).sum(),
}


@pytest.mark.parametrize("name", FINITE)
def test_a_class_that_is_ruled_out_with_minus_infinity_leaves_loss_and_gradient_finite(name):
    x = mg.tensor(MASKED, requires_grad=True)
    with np.errstate(all="raise"):
        y = FINITE[name](x)
        (g,) = mg.grad(y, x)
    assert math.isfinite(y.item()) and np.isfinite(g.array).all()
    far = mg.tensor(np.maximum(MASKED, -800.0), requires_grad=True)  # the limit
    assert y.item() == pytest.approx(FINITE[name](far).item(), rel=1e-12)
    np.testing.assert_allclose(g.array, mg.grad(FINITE[name](far), far)[0].array, atol=1e-12)


@pytest.mark.parametrize("p", [0.5, 1, 1.5, 2, 3, 7, INF])
@pytest.mark.parametrize("scale", [1e-30, 1e-18, 1e18, 1e30])
def test_no_power_overflows_where_the_norm_is_finite(p, scale):
    a = np.array([3.0, -4.0, 0.0])
    x = mg.tensor((a * scale).astype(np.float32), requires_grad=True)
    plain = mg.tensor(a, requires_grad=True)
    with np.errstate(all="raise"):
        assert mg.norm(x, p).item() == pytest.approx(mg.norm(plain, p).item() * scale, rel=1e-5)
        np.testing.assert_allclose(mg.grad(mg.norm(x, p), x)[0].array, mg.grad(mg.norm(plain, p), plain)[0].array, rtol=1e-5)
        if p == 2:
            assert x.std().item() == pytest.approx(plain.std().item() * scale, rel=1e-5)
            assert F.cosine_similarity(x, x, 0, eps=1e-38).item() == pytest.approx(1.0, rel=1e-5)


def test_a_sum_of_gradients_that_overflows_is_written_to_its_end_under_seterr():
    big = np.full((7, 300), 3e38, np.float32)
    with np.errstate(all="raise"):
        for array in (big.copy(), np.asfortranarray(big), big[:, ::2].copy()[:, ::-1]):
            array.reshape(-1)[-1] = 1.0
            t = mg.Tensor.wrap(array.copy(order="K"))
            t.accumulate_(mg.Tensor.wrap(array))
            with np.errstate(all="ignore"):
                np.testing.assert_array_equal(t.array, array + array)
