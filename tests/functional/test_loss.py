"""Losses, similarity, one_hot, dropout: PyTorch's values for every argument at two orders, formulas, extremes, wrong arguments."""
import functools
import itertools
import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import random, same_as_torch

import minigrad as mg
import minigrad.functional as F
from minigrad.gradcheck import check_grads
from minigrad.random import Stream

REDUCTIONS = ("none", "mean", "sum")


def labels(*shape, classes=4, ignored=None, seed=0):
    t = np.random.default_rng([seed, *shape]).integers(0, classes, shape)
    if ignored is not None:
        t.reshape(-1)[::3] = ignored
    return t


# ---- against PyTorch, every argument ---------------------------------------------------------------------------------


class_shapes = st.sampled_from([(4,), (3, 4), (2, 4, 3), (2, 4, 2, 3)])


@given(class_shapes, st.sampled_from(REDUCTIONS), st.booleans(), st.sampled_from([None, -100, 2, -1]),
       st.sampled_from([0.0, 0.1, 1.0]))
def test_cross_entropy_of_labels_is_pytorchs(shape, reduction, weighted, ignored, smoothing):
    torch = pytest.importorskip("torch")
    x, t = random(*shape), labels(*(shape[:1] + shape[2:] if len(shape) > 1 else ()), ignored=ignored)
    w, tt = random(4, low=0.5, high=2.0) if weighted else None, torch.tensor(t)
    tw = None if w is None else torch.tensor(w)
    keys = {"reduction": reduction, "ignore_index": -100 if ignored is None else ignored}
    same_as_torch(lambda x: F.cross_entropy(x, t, w, **keys, label_smoothing=smoothing),
                  lambda x: torch.nn.functional.cross_entropy(x, tt, tw, **keys, label_smoothing=smoothing),
                  x, order=2)
    same_as_torch(lambda x: F.nll_loss(x, mg.tensor(t), w, **keys),
                  lambda x: torch.nn.functional.nll_loss(x, tt, tw, **keys), x)


@given(class_shapes, st.sampled_from(REDUCTIONS), st.booleans(), st.sampled_from([0.0, 0.1]))
def test_cross_entropy_of_probabilities_is_pytorchs(shape, reduction, weighted, smoothing):
    torch = pytest.importorskip("torch")
    w = random(4, low=0.5, high=2.0) if weighted else None
    same_as_torch(lambda x, t: F.cross_entropy(x, t, w, reduction=reduction, label_smoothing=smoothing),
                  lambda x, t: torch.nn.functional.cross_entropy(x, t, None if w is None else torch.tensor(w),
                                                                 reduction=reduction, label_smoothing=smoothing),
                  random(*shape), random(*shape, low=0.0, high=1.0, seed=1), order=2)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("name, keys", [
    ("mse_loss", {}), ("l1_loss", {}), ("smooth_l1_loss", {}), ("smooth_l1_loss", {"beta": 0.3}),
    ("smooth_l1_loss", {"beta": 0.0}), ("huber_loss", {}), ("huber_loss", {"delta": 0.4}),
])
def test_distances_are_pytorchs(name, keys, reduction):
    torch = pytest.importorskip("torch")
    same_as_torch(lambda x, t: getattr(F, name)(x, t, reduction=reduction, **keys),
                  lambda x, t: getattr(torch.nn.functional, name)(x, t, reduction=reduction, **keys),
                  random(3, 5), random(3, 5, seed=1), order=2)


@pytest.mark.parametrize("weighted, positive", list(itertools.product((False, True), (False, True))))
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_binary_cross_entropies_are_pytorchs(reduction, weighted, positive):
    theirs = pytest.importorskip("torch.nn.functional")
    torch = pytest.importorskip("torch")
    x, t = random(3, 5), random(3, 5, low=0.0, high=1.0, seed=1)
    w = random(3, 1, low=0.5, high=2.0) if weighted else None
    p = random(5, low=0.5, high=3.0, seed=2) if positive else None
    tw, tp = (None if v is None else torch.tensor(v) for v in (w, p))
    same_as_torch(lambda x, t: F.binary_cross_entropy_with_logits(x, t, w, reduction, p),
                  lambda x, t: theirs.binary_cross_entropy_with_logits(x, t, tw, reduction=reduction, pos_weight=tp),
                  x, t, order=2)
    same_as_torch(lambda x, t: F.binary_cross_entropy(x, t, w, reduction),
                  lambda x, t: theirs.binary_cross_entropy(x, t, tw, reduction=reduction),
                  t, random(3, 5, low=0.0, high=1.0, seed=3), order=2, wrt=[0])


@pytest.mark.parametrize("reduction, log_target", list(itertools.product((*REDUCTIONS, "batchmean"), (False, True))))
@pytest.mark.filterwarnings("ignore:reduction")
def test_kl_div_is_pytorchs(reduction, log_target):
    torch = pytest.importorskip("torch")
    t = np.log(random(3, 5, low=0.1, high=1.0)) if log_target else random(3, 5, low=0.1, high=1.0)
    same_as_torch(lambda x, t: F.kl_div(x, t, reduction, log_target),
                  lambda x, t: torch.nn.functional.kl_div(x, t, reduction=reduction, log_target=log_target),
                  random(3, 5), t, order=2)


@pytest.mark.parametrize("shapes", [((3, 4), (3, 4)), ((3, 1, 5), (4, 5)), ((2, 1), (2, 4))])
def test_similarities_are_pytorchs(shapes):
    torch = pytest.importorskip("torch")
    for dim in (-1, 0):
        same_as_torch(functools.partial(F.cosine_similarity, dim=dim),
                      functools.partial(torch.nn.functional.cosine_similarity, dim=dim),
                      random(*shapes[0]), random(*shapes[1], seed=1), order=2)
    for p, dim in itertools.product((1.0, 2.0, 3.0, math.inf), (-1, (0, 1))):
        same_as_torch(functools.partial(F.normalize, p=p, dim=dim),
                      functools.partial(torch.nn.functional.normalize, p=p, dim=dim), random(*shapes[0]), order=2)


def test_one_hot_is_pytorchs():
    torch = pytest.importorskip("torch")
    t = labels(2, 3)
    for n in (-1, 7):
        y = F.one_hot(mg.tensor(t), n)
        np.testing.assert_array_equal(y.array, torch.nn.functional.one_hot(torch.tensor(t), n).numpy())
        assert y.dtype == np.int64
    assert F.one_hot(mg.tensor(np.zeros((0,), np.int64)), 3).shape == (0, 3)


# ---- against formulas and differences --------------------------------------------------------------------------------


def test_formulas():
    x, t = random(3, 4), labels(3)
    p = np.exp(x) / np.exp(x).sum(1, keepdims=True)
    np.testing.assert_allclose(F.cross_entropy(mg.tensor(x), t).item(), -np.log(p[np.arange(3), t]).mean())
    q = random(3, 4, low=0.1, high=1.0)
    np.testing.assert_allclose(F.kl_div(mg.tensor(np.log(p)), q, "batchmean").item(), (q * np.log(q / p)).sum() / 3)
    s = 1 / (1 + np.exp(-x))
    np.testing.assert_allclose(F.binary_cross_entropy_with_logits(mg.tensor(x), q, reduction="none").array,
                               -(q * np.log(s) + (1 - q) * np.log(1 - s)))
    d = np.array([-3.0, -0.5, 0.0, 0.5, 3.0])
    np.testing.assert_allclose(F.huber_loss(mg.tensor(d), np.zeros(5), "none", 2.0).array, [4, 0.125, 0, 0.125, 4])
    y = F.smooth_l1_loss(mg.tensor(d), np.zeros(5), "none", 2.0)
    np.testing.assert_allclose(y.array, [2, 0.0625, 0, 0.0625, 2])


@pytest.mark.parametrize("f", [
    lambda x, t, w: F.cross_entropy(x, t, label_smoothing=0.1),
    lambda x, t, w: F.binary_cross_entropy_with_logits(x, t, weight=w[:1], pos_weight=w),
    lambda x, t, w: F.binary_cross_entropy(t, x * 0.1 + 0.5, weight=w),
    lambda x, t, w: F.kl_div(x, t) + F.kl_div(x, t.log(), "batchmean", log_target=True),
    lambda x, t, w: F.mse_loss(x, t) + F.huber_loss(x, t, delta=0.3) + F.smooth_l1_loss(x * w, t),
    lambda x, t, w: F.cosine_similarity(x, t).sum() + F.normalize(x * w, 3.0),
], ids=["cross_entropy", "bce_logits", "bce", "kl", "distances", "similarity"])
def test_derivatives_of_both_orders(f):
    check_grads(f, [random(3, 4), random(3, 4, low=0.2, high=0.8), random(4, low=0.5, high=2.0)])


def test_extreme_logits_give_finite_values_and_gradients():
    x = mg.tensor([-1e4, -100.0, -20.0, 0.0, 20.0, 100.0, 1e4], requires_grad=True)
    for t, value in ((0.0, np.maximum(x.array, 0)), (1.0, np.maximum(-x.array, 0))):
        t = np.full(7, t, np.float32)
        losses = F.binary_cross_entropy_with_logits(x, t, reduction="none", pos_weight=np.ones(1, np.float32))
        (g,) = mg.grad(losses.sum(), [x], create_graph=True)
        (h,) = mg.grad(g.sum(), [x])
        assert np.isfinite(losses.array).all() and np.isfinite(g.array).all() and np.isfinite(h.array).all()
        np.testing.assert_allclose(losses.array, value + np.log1p(np.exp(-np.abs(x.array))), rtol=1e-6)
        assert losses.dtype == g.dtype == np.float32
    logits = mg.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    for target in range(3):
        loss = F.cross_entropy(logits, np.array([target]))
        (g,) = mg.grad(loss, [logits])
        assert loss.item() == [0.0, 2e4, 1e4][target]
        np.testing.assert_allclose(g.array, np.array([[1.0, 0.0, 0.0]]) - np.eye(3)[[target]])
    for f in (F.huber_loss, F.smooth_l1_loss, F.l1_loss):
        x = mg.tensor([1e30, -1e30], requires_grad=True)
        loss = f(x, np.zeros(2), reduction="sum")
        assert np.isfinite(loss.item())
        np.testing.assert_array_equal(mg.grad(loss, [x])[0].array, [1, -1])


def test_the_gradient_of_a_saturated_logit_keeps_its_digits():
    """sigmoid(-20) = 2.06e-9 in float32, not 0: what the saturating generator loss shows must not be rounding."""
    x = mg.tensor([-20.0, -10.0, 20.0], requires_grad=True)
    t = np.array([0, 0, 1], np.float32)
    losses = F.binary_cross_entropy_with_logits(x, t, reduction="none")
    exact = np.exp([-20.0, -10.0, -20.0])
    np.testing.assert_allclose(losses.array, np.log1p(exact), rtol=1e-6)
    np.testing.assert_allclose(mg.grad(losses.sum(), [x])[0].array, [1, 1, -1] * exact / (1 + exact), rtol=1e-6)
    np.testing.assert_allclose(mg.sigmoid(mg.tensor([-80.0, -1e4, 1e4])).array, [np.exp(-80.0), 0, 1], rtol=1e-5)
    assert np.isnan(mg.sigmoid(mg.tensor([math.nan])).item())


def test_binary_cross_entropy_stops_at_minus_100():
    torch = pytest.importorskip("torch")
    x, t = np.array([0.0, 0.0, 1.0, 1.0, 0.5]), np.array([0.0, 1.0, 0.0, 1.0, 0.5])
    same_as_torch(lambda x: F.binary_cross_entropy(x, t, reduction="none"),
                  lambda x: torch.nn.functional.binary_cross_entropy(x, torch.tensor(t), reduction="none"),
                  x, rtol=1e-7)  # its 1e-12 is a float32
    assert F.binary_cross_entropy(mg.tensor(x), t, reduction="sum").item() == pytest.approx(200 + math.log(2))


def test_published_subgradients():
    x = mg.zeros(1, requires_grad=True)
    t = np.zeros(1)
    for f in (F.l1_loss, F.mse_loss, F.smooth_l1_loss, F.huber_loss):
        assert mg.grad(f(x, t), [x])[0].item() == 0.0
    for d in (1.0, -1.0):  # at the joint both branches have the slope delta
        assert mg.grad(F.huber_loss(x + d, t), [x])[0].item() == d
    zero = mg.zeros((1, 3), requires_grad=True)
    for y in (F.normalize(zero).sum(), F.cosine_similarity(zero, mg.ones((1, 3))).sum()):
        assert y.item() == 0.0 and np.isfinite(mg.grad(y, [zero])[0].array).all()
    target = mg.tensor([0.0, 1.0], requires_grad=True)
    y = F.kl_div(mg.tensor([-1.0, -2.0]), target, "sum")
    assert y.item() == 2.0 and np.isfinite(mg.grad(y, [target])[0].array).all()


def test_all_ignored_is_nan_on_average_and_zero_in_sum():
    x, t = mg.tensor(random(2, 3), requires_grad=True), np.full(2, -100)
    for f in (F.cross_entropy, F.nll_loss):
        assert math.isnan(f(x, t).item())
        total = f(x, t, reduction="sum")
        assert total.item() == 0.0
        np.testing.assert_array_equal(mg.grad(total, [x])[0].array, np.zeros((2, 3)))
    assert math.isnan(F.cross_entropy(x, np.zeros(2, int), np.zeros(3)).item())


def test_ignored_samples_may_hold_anything():
    x = np.array([[0.0, 1.0], [np.nan, -np.inf]])
    x = mg.tensor(x, requires_grad=True)
    loss = F.nll_loss(x, np.array([1, -100]), reduction="sum")
    assert loss.item() == -1.0
    np.testing.assert_array_equal(mg.grad(loss, [x])[0].array, [[0, -1], [0, 0]])


def test_nan_propagates():
    x = mg.tensor([[math.nan, 0.5]])
    t = mg.tensor([[0.5, 0.5]])
    for f in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy, F.kl_div, F.cross_entropy,
              F.binary_cross_entropy_with_logits):
        assert math.isnan(f(x, t).item()), f.__name__


def test_arrays_and_integers_are_taken_in_the_inputs_dtype():
    x = mg.tensor([[0.25, 0.5]], requires_grad=True)
    for t in (np.array([[0.0, 1.0]]), np.array([[0, 1]]), mg.tensor([[0, 1]]), np.array([[False, True]])):
        for f in (F.mse_loss, F.l1_loss, F.binary_cross_entropy, F.binary_cross_entropy_with_logits, F.huber_loss):
            y = f(x, t)
            assert y.dtype == np.float32 and mg.grad(y, [x])[0].dtype == np.float32
    for t in (np.array([1], np.uint8), np.array([1], np.int32)):
        assert F.cross_entropy(x, t).dtype == np.float32


def test_empty_batches_work_where_no_mean_is_taken():
    x = mg.zeros((0, 3), requires_grad=True)
    for f, t in ((F.cross_entropy, np.zeros(0, int)), (F.nll_loss, np.zeros(0, int)), (F.mse_loss, np.zeros((0, 3))),
                 (F.binary_cross_entropy, np.zeros((0, 3))), (F.kl_div, np.zeros((0, 3)))):
        assert f(x, t, reduction="sum").item() == 0.0 and f(x, t, reduction="none").shape[0] == 0
        assert mg.grad(f(x, t, reduction="sum"), [x])[0].shape == (0, 3)
        with pytest.raises(ValueError, match="nothing to average"):
            f(x, t)


def test_a_target_of_another_shape_is_broadcast_with_a_warning():
    x = mg.tensor(random(3, 1))
    with pytest.warns(UserWarning, match="rarely meant"):
        assert F.mse_loss(x, np.zeros(3)).shape == ()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        F.mse_loss(x, np.zeros((3, 1)))


X = mg.zeros((2, 3))


@pytest.mark.parametrize("call, message", [
    (lambda: F.cross_entropy(X, np.array([0, 3])), r"labels must lie in \[0, 3\).* got 3"),
    (lambda: F.cross_entropy(X, np.array([-1, 0])), "got -1"),
    (lambda: F.nll_loss(X, np.array([0, 7])), "nll_loss: labels"),
    (lambda: F.cross_entropy(X, np.array([0, 1, 2])), "one label for each sample"),
    (lambda: F.cross_entropy(X, np.array([0.0, 1.0])), "probabilities"),
    (lambda: F.cross_entropy(X, np.ones((2, 3)), ignore_index=1), "labels only"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), weight=np.ones(2)), "one factor for each class"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), label_smoothing=1.5), "label_smoothing"),
    (lambda: F.cross_entropy(X, np.array([0, 1]), reduction="average"), "reduction must be one of"),
    (lambda: F.mse_loss(X, X, reduction="batchmean"), "reduction"),
    (lambda: F.cross_entropy(mg.zeros((2, 0)), np.array([0, 1])), "C > 0"),
    (lambda: F.mse_loss(X, np.zeros((2, 4))), "does not broadcast"),
    (lambda: F.smooth_l1_loss(X, X, beta=-1.0), "beta"),
    (lambda: F.huber_loss(X, X, delta=0.0), "delta"),
    (lambda: F.binary_cross_entropy(X + 2, X), r"in \[0, 1\], got 2.0..2.0"),
    (lambda: F.binary_cross_entropy(X, np.zeros((2, 1))), "same shape"),
    (lambda: F.binary_cross_entropy_with_logits(X, np.zeros((2, 1))), "same shape"),
    (lambda: F.binary_cross_entropy_with_logits(X, X, pos_weight=np.ones(2)), "pos_weight"),
    (lambda: F.binary_cross_entropy(X, X, weight=np.ones((5, 2, 3))), "weight"),
    (lambda: F.kl_div(X, np.zeros(4)), "does not broadcast"),
    (lambda: F.one_hot(mg.tensor([0, 5]), 3), r"\[0, 3\)"),
    (lambda: F.one_hot(mg.tensor([-1]), 3), r"\[0, 3\)"),
    (lambda: F.one_hot(mg.tensor([0]), 0), "num_classes"),
    (lambda: F.dropout(X, 1.5), r"p must lie in \[0, 1\]"),
    (lambda: F.dropout2d(mg.zeros(3)), r"\(N, C"),
    (lambda: F.cosine_similarity(X, mg.zeros((4, 5))), "does not broadcast"),
])
def test_wrong_arguments_are_value_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("call", [
    lambda: F.cross_entropy(np.zeros((2, 3)), np.array([0, 1])),
    lambda: F.cross_entropy(mg.tensor([[1, 2]]), np.array([0])),
    lambda: F.mse_loss(X, [[0.0]]), lambda: F.huber_loss(X, X, delta="1"),
    lambda: F.one_hot(mg.tensor([0.5])), lambda: F.dropout(X, rng=5),
])
def test_wrong_types_are_type_errors(call):
    with pytest.raises(TypeError):
        call()


# ---- dropout ---------------------------------------------------------------------------------------------------------


def test_dropout_keeps_the_mean_and_scales_what_it_keeps():
    x = mg.ones((100, 100), requires_grad=True)
    y = F.dropout(x, 0.25, rng=Stream(0, "dropout"))
    values, counts = np.unique(y.array, return_counts=True)
    np.testing.assert_allclose(values, [0, 4 / 3], rtol=1e-6)
    assert abs(counts[0] / 1e4 - 0.25) < 0.02 and y.dtype == np.float32
    np.testing.assert_array_equal(mg.grad(y.sum(), [x])[0].array, y.array)  # the mask itself
    check_grads(lambda x: F.dropout(x * x, 0.5, rng=np.random.default_rng(1)), [random(3, 4)])


def test_dropout_outside_training_and_at_the_ends():
    x = mg.tensor(random(3, 4))
    assert F.dropout(x, 0.5, training=False) is x and F.dropout(x, 0.0) is x
    np.testing.assert_array_equal(F.dropout(x, 1.0).array, np.zeros((3, 4)))
    assert F.dropout(x).shape == (3, 4)  # fresh entropy


def test_dropout2d_drops_whole_channels():
    for shape in ((8, 16, 3, 2), (8, 16, 5), (8, 16)):
        y = F.dropout2d(mg.ones(shape), 0.5, rng=Stream(0, "d")).array.reshape(8, 16, -1)
        assert (y == y[:, :, :1]).all() and 20 < (y[:, :, 0] == 0).sum() < 108


def test_the_mask_depends_on_the_stream_and_not_on_the_layout():
    x = random(2, 3, 4, 5, low=1.0, high=2.0)
    a = F.dropout(mg.tensor(x), rng=Stream(3, "a")).array
    laid = mg.tensor(np.ascontiguousarray(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(F.dropout(laid, rng=Stream(3, "a")).array, a)
    assert (F.dropout(mg.tensor(x), rng=Stream(3, "b")).array != a).any()
