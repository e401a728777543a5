"""Losses, and the similarity of vectors. Names, arguments and values are PyTorch's.

Every loss ends in `reduction`: 'none' keeps one value for each element or sample, 'sum' adds them, 'mean' averages
(weighted where a class weight is given). Targets are Tensors or arrays. Arrays are converted to the input's dtype; a floating-point
Tensor is differentiated too. Labels are checked before anything is computed. Most losses are made of other operations. The others
are primitives, with rules in which no two large terms cancel: logits of +-1e4 give finite values and gradients.

Published subgradients: l1 has 0 at 0; huber and smooth_l1 pass the clamp on the closed interval at order 2; in
binary_cross_entropy the logarithm stops at -100 and the gradient's denominator at 1e-12, as in PyTorch.

Imports: numpy, minigrad.autograd, minigrad.notice, activation, common, door, elementwise, indexing, provenance, reduction,
shape.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from minigrad.autograd import Variable, primitive
from minigrad.functional.activation import log_softmax, softplus
from minigrad.functional.common import axis_index, integer, numpy_names, real, require_float, require_tensor, unbroadcast
from minigrad.functional.door import array_of
from minigrad.functional.elementwise import abs, clamp, exp, log, maximum, sigmoid, weigh, where
from minigrad.functional.indexing import gather
from minigrad.functional.provenance import expect_log_probabilities, expect_logits, expect_logits_of_sigmoid
from minigrad.functional.reduction import norm
from minigrad.functional.reduction import sum as sum_over
from minigrad.functional.shape import reshape, squeeze
from minigrad.notice import warn


def old_arguments(loss):
    """The loss with PyTorch's arguments of old, size_average and reduce, by name or in place: they choose the reduction."""

    @functools.wraps(loss)
    def with_old(*args, size_average=None, reduce=None, **kw):
        if not any(isinstance(a, str) for a in args) and any(isinstance(a, bool) for a in args[2:]):  # a word is the reduction
            size_average, reduce = ([a for a in args if isinstance(a, bool)] + [reduce])[:2]
            args = tuple(a for a in args if not isinstance(a, bool))
        if size_average is not None or reduce is not None:
            kw["reduction"] = "none" if reduce is False else "sum" if size_average is False else "mean"
        return loss(*args, **kw)

    return with_old


# ---- classes ---------------------------------------------------------------------------------------------------------


@old_arguments
def cross_entropy(input, target, weight=None, ignore_index=-100, reduction="mean", label_smoothing=0.0):
    """-log softmax(input)[target], the loss of a classifier.

    input    (C,), (N, C) or (N, C, d1, ...): logits
    target   labels in [0, C), of input's shape without C; or probabilities of the classes, of input's shape
    weight   (C,) factors of the classes, constants; 'mean' divides by the sum of the factors used (labels only)
    ignore_index     a label that counts for nothing; where all are ignored the mean is NaN
    label_smoothing  mixes the target with 1/C for every class (Szegedy et al. 2016, section 7)
    Raises ValueError for shapes that do not fit and labels out of range, TypeError for labels that are not integers.
    """
    name = "cross_entropy"
    axis = _class_axis(name, input, reduction)
    expect_logits(name, input, axis)
    smoothing, classes = real(f"{name}: label_smoothing", label_smoothing), input.shape[axis]
    if not 0 <= smoothing <= 1:
        raise ValueError(f"{name}: label_smoothing must lie in [0, 1], got {smoothing}")
    weight = _class_weight(name, weight, input, axis)
    if array_of(target).dtype.kind == "f":
        target = _probabilities(name, target, input, ignore_index)
        logp = log_softmax(input, axis)
        if smoothing:
            target = target * (1 - smoothing) + smoothing / classes
        losses = -sum_over(weigh(logp, target if weight is None else target * weight), axis)
        return _reduce(name, losses, reduction)
    labels = _labels(name, target, input, axis, ignore_index)
    logp = log_softmax(input, axis)
    if not smoothing:
        return _pick_classes(name, logp, labels, axis, weight, ignore_index, reduction)
    uniform = -sum_over(logp if weight is None else weigh(logp, weight), axis)
    return _pick_classes(name, logp, labels, axis, weight, ignore_index, reduction, (uniform, smoothing / classes))


@old_arguments
def nll_loss(input, target, weight=None, ignore_index=-100, reduction="mean"):
    """-input[target]: cross_entropy for an input that already holds log-probabilities, with labels as target."""
    axis = _class_axis("nll_loss", input, reduction)
    expect_log_probabilities("nll_loss", input, axis)
    weight = _class_weight("nll_loss", weight, input, axis)
    labels = _labels("nll_loss", target, input, axis, ignore_index)
    return _pick_classes("nll_loss", input, labels, axis, weight, ignore_index, reduction)


def _pick_classes(name, logp, labels, axis, weight, ignore_index, reduction, smooth=None):
    """-w[label] * logp[label], mixed with smooth = (loss against the uniform distribution, its share * 1/C)."""
    ignored = labels == ignore_index
    labels = np.where(ignored, 0, labels)
    factor = None if weight is None else weight.reshape(-1)[labels]
    losses = -squeeze(gather(logp, axis, np.expand_dims(labels, axis)), axis)
    if factor is not None:
        losses = weigh(losses, factor)
    if smooth is not None:
        uniform, share = smooth
        losses = weigh(losses, 1 - share * logp.shape[axis]) + uniform * share
    if ignored.any():
        losses = where(ignored, 0.0, losses)
    if reduction != "mean":
        return _reduce(name, losses, reduction)
    if labels.size == 0:
        return _reduce(name, losses, reduction)  # raises
    count = float((~ignored).sum() if factor is None else np.where(ignored, 0, factor).sum(dtype=np.float64))
    total = sum_over(losses)
    return total / count if count else total * math.nan


def _class_axis(name, input, reduction):
    require_float(name, input=input)
    _check_reduction(name, reduction)
    if input.ndim == 0 or input.shape[1 if input.ndim > 1 else 0] == 0:
        raise ValueError(f"{name}: input must be (C,), (N, C) or (N, C, ...) with C > 0 classes, got {input.shape}")
    return 1 if input.ndim > 1 else 0


def _class_weight(name, weight, input, axis):
    if weight is None:
        return None
    weight = array_of(weight)
    if weight.shape != (input.shape[axis],):
        raise ValueError(f"{name}: weight {weight.shape} must be ({input.shape[axis]},), one factor for each class")
    return weight.astype(input.dtype).reshape((-1,) + (1,) * (input.ndim - axis - 1))


def _labels(name, target, input, axis, ignore_index):
    labels = array_of(target, f"{name}: the target's labels", "i")
    expected = input.shape[:axis] + input.shape[axis + 1 :]
    if labels.shape != expected:
        raise ValueError(f"{name}: target {labels.shape} must hold one label for each sample, shape {expected}, "
                         f"for input {input.shape}")
    ignore_index = integer(f"{name}: ignore_index", ignore_index)
    labels = labels.astype(np.int64)
    wrong = ((labels < 0) | (labels >= input.shape[axis])) & (labels != ignore_index)
    if wrong.any():
        raise ValueError(f"{name}: labels must lie in [0, {input.shape[axis]}) or be ignore_index={ignore_index}, got "
                         f"{int(labels[wrong][0])}")
    return labels


def _probabilities(name, target, input, ignore_index):
    if array_of(target).shape != input.shape:
        raise ValueError(f"{name}: a floating target holds probabilities and must have input's shape {input.shape}, "
                         f"got {array_of(target).shape}; labels must be integers")
    if ignore_index >= 0:
        raise ValueError(f"{name}: ignore_index={ignore_index} works with labels only, not with probabilities")
    return _like_input(target, input)


# ---- distances -------------------------------------------------------------------------------------------------------


@old_arguments
def mse_loss(input, target, reduction="mean"):
    """(input - target)^2"""
    return _reduce("mse_loss", _difference("mse_loss", input, target, reduction) ** 2, reduction)


@old_arguments
def l1_loss(input, target, reduction="mean"):
    """|input - target|; the derivative at 0 is 0."""
    return _reduce("l1_loss", abs(_difference("l1_loss", input, target, reduction)), reduction)


@old_arguments
def smooth_l1_loss(input, target, reduction="mean", beta=1.0):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta/2, d = input - target (Girshick 2015); beta 0 is l1_loss."""
    beta = real("smooth_l1_loss: beta", beta)
    if not beta >= 0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, got {beta}")
    d = _difference("smooth_l1_loss", input, target, reduction)
    return _reduce("smooth_l1_loss", _huber(d, delta=beta) * (1 / beta) if beta else abs(d), reduction)


@old_arguments
def huber_loss(input, target, reduction="mean", delta=1.0):
    """d^2 / 2 where |d| <= delta, else delta * (|d| - delta/2), for d = input - target (Huber 1964)."""
    delta = real("huber_loss: delta", delta)
    if not delta > 0:
        raise ValueError(f"huber_loss: delta must be positive, got {delta}")
    return _reduce("huber_loss", _huber(_difference("huber_loss", input, target, reduction), delta=delta), reduction)


@primitive(saves=((0,),))
def _huber(d, delta):
    """d^2 / 2 where |d| <= delta, else delta * (|d| - delta / 2)."""
    if math.isinf(delta):
        return np.square(d) * 0.5
    near = np.minimum(np.abs(d), delta)
    return near * near * 0.5 + (np.abs(d) - near) * delta


@_huber.vjp
def _(node, needs, g, delta):
    return (g * clamp(node.inputs[0], -delta, delta),)


def _difference(name, input, target, reduction):
    require_float(name, input=input)
    _check_reduction(name, reduction)
    target = _like_input(target, input, name)
    if target.shape != input.shape:
        _check_broadcast(name, "target", target, input)
        warn(f"{name}: target {target.shape} is broadcast against input {input.shape}, which is rarely meant; give both the same "
             "shape")
    return input - target


# ---- yes or no -------------------------------------------------------------------------------------------------------


@old_arguments
def binary_cross_entropy(input, target, weight=None, reduction="mean"):
    """-(t log x + (1 - t) log(1 - x)) for probabilities x; the logarithms stop at -100.

    Raises ValueError for an input outside [0, 1] (NaN propagates). Prefer binary_cross_entropy_with_logits: it is exact
    where x rounds to 0 or 1. `weight` broadcasts against the input.
    """
    name = "binary_cross_entropy"
    target = _same_shape(name, input, target, reduction)
    if ((input.array < 0) | (input.array > 1)).any():
        raise ValueError(f"{name}: input must hold probabilities in [0, 1], got {float(np.nanmin(input.array))}.."
                         f"{float(np.nanmax(input.array))}; for logits use {name}_with_logits")
    return _reduce(name, _weighted(name, _bce(input, target), weight), reduction)


@primitive(saves=((0, 1), (0,)))
def _bce(x, t):
    """-(t log x + (1 - t) log(1 - x)), no logarithm below -100."""
    with np.errstate(divide="ignore"):
        return (t - 1) * np.maximum(np.log1p(-x), -100) - t * np.maximum(np.log(x), -100)


@_bce.vjp
def _(node, needs, g):
    x, t = node.inputs
    dx = unbroadcast(g * ((x - t) / maximum((1 - x) * x, 1e-12)), node, 0) if needs[0] else None
    dt = None
    if needs[1]:
        x = x if isinstance(x, Variable) else g.result_type.wrap(x)
        dt = unbroadcast(g * (_log_floor(1 - x) - _log_floor(x)), node, 1)
    return dx, dt


@primitive(saves=((0,),))
def _log_floor(x):
    """max(log x, -100)."""
    with np.errstate(divide="ignore"):
        return np.maximum(np.log(x), -100)


@_log_floor.vjp
def _(node, needs, g):
    return (g / maximum(node.inputs[0], 1e-12),)


@old_arguments
def binary_cross_entropy_with_logits(input, target, weight=None, reduction="mean", pos_weight=None):
    """-(p t log s + (1 - t) log(1 - s)) with s = sigmoid(input) and p = pos_weight (default 1).

    target has input's shape; weight and pos_weight broadcast against it (pos_weight usually (C,), one for each class).
    """
    name = "binary_cross_entropy_with_logits"
    target = _same_shape(name, input, target, reduction)
    expect_logits_of_sigmoid(name, input)
    if pos_weight is None:
        losses = _bce_logits(input, target, 1.0)
    else:
        pos_weight = _like_input(pos_weight, input, name)
        _check_broadcast(name, "pos_weight", pos_weight, input, grow=False)
        losses = _bce_logits(input, target, pos_weight)
    return _reduce(name, _weighted(name, losses, weight), reduction)


@primitive(saves=((0, 1, 2), (0, 2), (0, 1)))
def _bce_logits(x, t, p):
    """-(p t log s + (1 - t) log(1 - s)) with s = sigmoid(x)."""
    # with l = log(1 + e^-|x|):  -log s = l + max(-x, 0),  -log(1 - s) = l + max(x, 0);  no term cancels another
    yes, no = t * p, 1 - t
    below, above = np.maximum(-x, 0), np.maximum(x, 0)
    below, above = np.where(yes == 0, 0 * t, yes * below), np.where(no == 0, 0 * t, no * above)  # a label of 0 leaves its term out
    return (yes + no) * np.log1p(np.exp(-np.abs(x))) + below + above


@_bce_logits.vjp
def _(node, needs, g):
    x, t, p = (g.result_type.wrap(v) if hasattr(v, "dtype") and not isinstance(v, Variable) else v for v in node.inputs)
    dx = dt = dp = None
    if needs[0]:
        dx = unbroadcast(g * ((1 - t) * sigmoid(x) - t * p * sigmoid(-x)), node, 0)
    if needs[1]:  # log((1 - s) / s^p) = (p - 1) softplus(x) - p x
        dt = unbroadcast(g * (weigh(softplus(x, threshold=math.inf), p - 1) - x * p), node, 1)
    if needs[2]:
        dp = unbroadcast(g * (t * softplus(-x, threshold=math.inf)), node, 2)
    return dx, dt, dp


def _same_shape(name, input, target, reduction):
    require_float(name, input=input)
    _check_reduction(name, reduction)
    target = _like_input(target, input, name)
    if target.shape != input.shape:
        raise ValueError(f"{name}: target {target.shape} and input {input.shape} must have the same shape")
    return target


def _weighted(name, losses, weight):
    if weight is None:
        return losses
    weight = _like_input(weight, losses, name)
    _check_broadcast(name, "weight", weight, losses, grow=False)
    return weigh(losses, weight)


# ---- distributions ---------------------------------------------------------------------------------------------------


@old_arguments
def kl_div(input, target, reduction="mean", log_target=False):
    """t (log t - input): the divergence KL(t || e^input), element by element; 0 where t = 0.

    input holds log-probabilities; target probabilities, or their logarithms with log_target. 'batchmean' divides the
    sum by the size of the first axis, which is the definition; 'mean' divides by the number of elements, as PyTorch's.
    """
    require_float("kl_div", input=input)
    _check_reduction("kl_div", reduction, "batchmean")
    target = _like_input(target, input, "kl_div")
    _check_broadcast("kl_div", "target", target, input)
    if log_target:
        target = target if isinstance(target, Variable) else input.result_type.wrap(target)
        losses = weigh(target - input, exp(target))
    else:
        positive = array_of(target) != 0
        safe = where(positive, target if isinstance(target, Variable) else input.result_type.wrap(target), 1.0)
        losses = target * log(safe) - weigh(input, target)
    if reduction != "batchmean":
        return _reduce("kl_div", losses, reduction)
    if input.ndim == 0 or input.shape[0] == 0:
        raise ValueError(f"kl_div: reduction='batchmean' needs a batch, got input {input.shape}")
    return sum_over(losses) / input.shape[0]


# ---- vectors ---------------------------------------------------------------------------------------------------------


@numpy_names
def normalize(input, p=2.0, dim=1, eps=1e-12):
    """x / max(||x||_p, eps) along `dim` (an axis or several)."""
    require_float("normalize", input=input)
    return input / clamp(norm(input, real("normalize: p", p), dim, keepdim=True), min=real("normalize: eps", eps))


@numpy_names
def cosine_similarity(x1, x2, dim=1, eps=1e-8):
    """x1 . x2 / (max(||x1||, eps) * max(||x2||, eps)) along `dim`; x1 and x2 broadcast."""
    require_float("cosine_similarity", x1=x1, x2=x2)
    _check_broadcast("cosine_similarity", "x2", x2, x1)
    ndim, eps = max(x1.ndim, x2.ndim), real("cosine_similarity: eps", eps)
    axis = axis_index("cosine_similarity", dim, ndim)
    unit = []
    for x in (x1, x2):
        x = reshape(x, (1,) * (ndim - x.ndim) + x.shape)
        if x.shape[axis] == 1:  # stands for as many equal entries as the other has
            x = x.expand(*x.shape[:axis], np.broadcast_shapes(x1.shape, x2.shape)[axis], *x.shape[axis + 1 :])
        unit.append(x / clamp(norm(x, 2, axis, keepdim=True), min=eps))
    return sum_over(unit[0] * unit[1], axis)


def one_hot(tensor, num_classes=-1):
    """Labels (...) as rows (..., num_classes) of zeros with a 1, int64; -1 takes the largest label plus 1."""
    require_tensor("one_hot", tensor=tensor)
    labels, classes = array_of(tensor, "one_hot: tensor", "i"), integer("one_hot: num_classes", num_classes)
    if classes < -1 or classes == 0:
        raise ValueError(f"one_hot: num_classes must be positive, or -1 for the largest label plus 1, got {classes}")
    if classes == -1:
        if labels.size == 0:
            raise ValueError(f"one_hot: num_classes cannot be read off the empty shape {labels.shape}; give it")
        classes = int(labels.max()) + 1
    if labels.size and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise ValueError(f"one_hot: labels must lie in [0, {classes}), got {int(labels.min())}..{int(labels.max())}")
    return tensor.result_type.wrap((labels[..., None] == np.arange(classes, like=labels)).astype(np.int64))


# ---- arguments -------------------------------------------------------------------------------------------------------


def _check_reduction(name, reduction, *more):
    allowed = ("none", "mean", "sum", *more)
    if reduction not in allowed:
        raise ValueError(f"{name}: reduction must be one of {', '.join(map(repr, allowed))}, got {reduction!r}")


def _reduce(name, losses, reduction):
    if reduction == "none":
        return losses
    if reduction == "sum":
        return sum_over(losses)
    if losses.array.size == 0:
        raise ValueError(f"{name}: reduction='mean' has nothing to average over shape {losses.shape}; "
                         "use 'sum' or 'none'")
    return sum_over(losses) * (1.0 / losses.array.size)


def _like_input(target, input, name="cross_entropy"):
    """A Tensor as it is (floating), an array or integers in the input's dtype."""
    if not isinstance(target, Variable) and not hasattr(target, "dtype"):
        raise TypeError(f"{name}: expected a Tensor or an array, got {type(target).__name__}")
    if isinstance(target, Variable) and target.array.dtype.kind == "f":
        return target
    array = array_of(target)
    return array if array.dtype == input.array.dtype else array.astype(input.array.dtype)


def _check_broadcast(name, label, value, input, grow=True):
    """Raise ValueError unless value broadcasts with input (and, without `grow`, to the input's own shape)."""
    try:
        shape = np.broadcast_shapes(value.shape, input.shape)
    except ValueError:
        shape = None
    if shape is None or (not grow and shape != input.shape):
        raise ValueError(f"{name}: {label} {value.shape} does not broadcast against {input.shape}")
