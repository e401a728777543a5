"""The table of cases, fourth part: losses and the similarity of vectors. See tests/cases.py."""

from __future__ import annotations

import numpy as np
import references as ref
from hypothesis import strategies as st
from samplers import Call, Case, distinct, one_axis, sampler, shapes, uniform

import minigrad as mg
import minigrad.functional as F

IMAGE = mg.zeros(1, 3, 8, 8)
REDUCTION = st.sampled_from(["none", "mean", "sum"])
ONES = mg.ones(3)


# ---- losses ----------------------------------------------------------------------------------------------------------


def labels_call(log=False, smoothing=False):
    def build(draw, rng):
        shape = draw(st.sampled_from([(3, 4), (4,), (2, 3, 2), (2, 3, 2, 2)]))
        axis = 1 if len(shape) > 1 else 0
        target = rng.integers(0, shape[axis], shape[:axis] + shape[axis + 1 :])
        ignore = draw(st.sampled_from([-100, 1]))
        target = np.asarray(target)
        target.reshape(-1)[0] = 0  # something is left when label 1 is ignored
        x = uniform(rng, shape)
        options = {
            "target": target,
            "ignore_index": ignore,
            "reduction": draw(REDUCTION),
            "weight": draw(st.sampled_from([None, rng.uniform(0.5, 2, shape[axis])])),
        }
        if smoothing:
            options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1]))
        return Call((ref.log_softmax(x, axis) if log else x,), options)

    return sampler(build)


def probabilities_call(draw, rng):
    shape = draw(st.sampled_from([(3, 4), (4,), (2, 3, 2)]))
    t = rng.dirichlet(np.ones(4), 3) if shape == (3, 4) else uniform(rng, shape, 0.1, 0.9)
    options = {
        "reduction": draw(REDUCTION),
        "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
        "weight": draw(st.sampled_from([None, rng.uniform(0.5, 2, shape[1 if len(shape) > 1 else 0])])),
    }
    return Call((uniform(rng, shape), t), options)


def two(first=(-2.0, 2.0), second=(-2.0, 2.0), kinks=(), **options):
    """Two arrays of one shape whose differences keep away from the kinks and 0."""

    def build(draw, rng):
        shape = draw(shapes(1, 3, 1))
        b = uniform(rng, shape, *second)
        a = (
            b + uniform(rng, shape, -2, 2, (0, *kinks, *(-k for k in kinks)))
            if kinks or kinks is None
            else uniform(rng, shape, *first)
        )
        return Call((a, b), {"reduction": draw(REDUCTION), **{k: draw(s) for k, s in options.items()}})

    return sampler(build)


def logits_call(draw, rng):
    """Logits, targets, and tensors for the weights of elements and of positives, which broadcast."""
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Call(
        (
            uniform(rng, (n, c), -3, 3),
            uniform(rng, (n, c), 0.1, 0.9),
            uniform(rng, (c,), 0.5, 2),
            uniform(rng, (n, 1), 0.5, 2),
        ),
        {"reduction": draw(REDUCTION)},
    )


def bce(x, t):
    return -(t * np.log(x) + (1 - t) * np.log(1 - x))


def bce_logits(x, t, p, w, reduction):
    s = 1 / (1 + np.exp(-x))
    return ref.reduced(-w * (p * t * np.log(s) + (1 - t) * np.log(1 - s)), reduction)


def kl_reference(x, t, reduction, log_target):
    losses = np.exp(t) * (t - x) if log_target else t * (np.log(t) - x)
    return np.asarray(losses.sum() / len(x)) if reduction == "batchmean" else ref.reduced(losses, reduction)


def vectors(count=1, **options):
    def build(draw, rng):
        shape = draw(shapes(1, 3, 1))
        arrays = tuple(distinct(rng, shape, 0.3, 2.0) * rng.choice([-1.0, 1.0], shape) for _ in range(count))
        return Call(arrays, {"dim": one_axis(draw, len(shape)), **{k: draw(s) for k, s in options.items()}})

    return sampler(build)


LABELS = mg.tensor([0, 3])
SCORES = mg.zeros(2, 3)
LOSSES = [
    Case(
        "cross_entropy",
        F.cross_entropy,
        labels_call(smoothing=True),
        ref.cross_entropy,
        examples=25,
        nan=(),
        errors=(
            (
                lambda: F.cross_entropy(SCORES, LABELS),
                ValueError,
                r"cross_entropy: labels must lie in \[0, 3\) or be ignore_index=-100, got 3",
            ),
            (
                lambda: F.cross_entropy(SCORES, mg.tensor([0])),
                ValueError,
                r"target \(1,\) must hold one label for each sample, shape \(2,\)",
            ),
            (lambda: F.cross_entropy(SCORES, mg.ones(2)), ValueError, "labels must be integers"),
            (
                lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), reduction="max"),
                ValueError,
                "reduction must be one of 'none', 'mean', 'sum', got 'max'",
            ),
            (
                lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), label_smoothing=2),
                ValueError,
                r"label_smoothing must lie in \[0, 1\], got 2",
            ),
            (
                lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), mg.ones(2)),
                ValueError,
                r"weight \(2,\) must be \(3,\)",
            ),
            (lambda: F.cross_entropy(mg.zeros(0, 3), mg.zeros(0, dtype=mg.int64)), ValueError, "nothing to average"),
        ),
    ),
    Case(
        "cross_entropy with probabilities",
        lambda x, t, **o: F.cross_entropy(x, t, **o),
        sampler(probabilities_call),
        ref.cross_entropy_of_probabilities,
        covers=(F.cross_entropy,),
    ),
    Case("nll_loss", F.nll_loss, labels_call(log=True), ref.nll_loss, nan=()),
    Case(
        "mse_loss",
        F.mse_loss,
        two(),
        lambda a, b, reduction: ref.reduced((a - b) ** 2, reduction),
        errors=(
            (
                lambda: F.mse_loss(mg.ones(2), mg.ones(3)),
                ValueError,
                r"mse_loss: target \(3,\) does not broadcast against \(2,\)",
            ),
            (
                lambda: F.mse_loss(mg.ones(0), mg.ones(0)),
                ValueError,
                "mse_loss: reduction='mean' has nothing to average",
            ),
            (lambda: F.mse_loss(mg.ones(2), 1.0), TypeError, "mse_loss: expected a Tensor or an array, got float"),
        ),
    ),
    Case("l1_loss", F.l1_loss, two(kinks=(0,)), lambda a, b, reduction: ref.reduced(np.abs(a - b), reduction)),
    Case(
        "smooth_l1_loss",
        F.smooth_l1_loss,
        two(kinks=(1.0,), beta=st.sampled_from([1.0, 0.0])),
        lambda a, b, reduction, beta: ref.reduced(ref.huber(a - b, beta) / beta if beta else np.abs(a - b), reduction),
        errors=((lambda: F.smooth_l1_loss(ONES, ONES, beta=-1), ValueError, "beta must be at least 0, got -1"),),
    ),
    Case(
        "huber_loss",
        F.huber_loss,
        two(kinks=(0.5, 1.0), delta=st.sampled_from([1.0, 0.5])),
        lambda a, b, reduction, delta: ref.reduced(ref.huber(a - b, delta), reduction),
        errors=((lambda: F.huber_loss(ONES, ONES, delta=0), ValueError, "delta must be positive, got 0"),),
    ),
    Case(
        "binary_cross_entropy",
        F.binary_cross_entropy,
        two((0.1, 0.9), (0.1, 0.9)),
        lambda a, b, reduction: ref.reduced(bce(a, b), reduction),
        errors=(
            (
                lambda: F.binary_cross_entropy(ONES * 2, ONES),
                ValueError,
                r"input must hold probabilities in \[0, 1\], got 2.0..2.0",
            ),
            (lambda: F.binary_cross_entropy(ONES, mg.ones(2)), ValueError, "must have the same shape"),
        ),
    ),
    Case(
        "binary_cross_entropy_with_logits",
        lambda x, t, p, w, reduction: F.binary_cross_entropy_with_logits(x, t, w, reduction, p),
        sampler(logits_call),
        bce_logits,
        covers=(F.binary_cross_entropy_with_logits,),
        errors=(
            (lambda: F.binary_cross_entropy_with_logits(ONES, ONES, pos_weight=mg.ones(2)), ValueError, "pos_weight"),
        ),
    ),
    Case(
        "binary_cross_entropy_with_logits, plain",
        F.binary_cross_entropy_with_logits,
        two((-3, 3), (0.1, 0.9)),
        lambda x, t, reduction: bce_logits(x, t, 1.0, 1.0, reduction),
        order=3,
    ),
    Case(
        "kl_div",
        F.kl_div,
        two((-2, 0), (0.1, 0.9), log_target=st.booleans()),
        kl_reference,
        errors=(
            (
                lambda: F.kl_div(mg.tensor(1.0), mg.tensor(1.0), "batchmean"),
                ValueError,
                "reduction='batchmean' needs a batch",
            ),
        ),
    ),
    Case(
        "normalize",
        F.normalize,
        vectors(p=st.sampled_from([2.0, 1.0, 3.0])),
        lambda x, dim, p: x / (np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p),
    ),
    Case(
        "cosine_similarity",
        F.cosine_similarity,
        vectors(2),
        lambda a, b, dim: (a * b).sum(dim) / np.sqrt((a * a).sum(dim) * (b * b).sum(dim)),
    ),
    Case(
        "one_hot",
        lambda x, labels: F.one_hot(mg.tensor(labels), 4),
        sampler(lambda draw, rng: Call((np.ones(1),), {"labels": rng.integers(0, 4, draw(shapes(0, 2)))})),
        lambda x, labels: np.eye(4, dtype=int)[labels],
        order=0,
        covers=(F.one_hot,),
        errors=(
            (lambda: F.one_hot(LABELS, 3), ValueError, r"one_hot: labels must lie in \[0, 3\), got 0..3"),
            (lambda: F.one_hot(ONES), TypeError, "one_hot: tensor must hold integers, got float32"),
        ),
    ),
]

CASES = LOSSES
