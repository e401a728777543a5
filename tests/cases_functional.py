"""The table of cases, second part: what networks are made of. See tests/cases.py; references in tests/references.py."""

from __future__ import annotations

import math

import numpy as np
import references as ref
from hypothesis import strategies as st
from samplers import Call, Case, distinct, one_axis, sampler, shapes, unary, uniform

import minigrad as mg
import minigrad.functional as F
from minigrad.functional import fused
from minigrad.random import Stream

IMAGE = mg.zeros(1, 3, 8, 8)
REDUCTION = st.sampled_from(["none", "mean", "sum"])


def pairs(low, high):
    """An int or a pair of them, as PyTorch takes it."""
    one = st.integers(low, high)
    return st.one_of(one, st.tuples(one, one))


# ---- activations -----------------------------------------------------------------------------------------------------


def drop(f):
    return lambda x, p, seed, training=True: f(x, p, training, rng=Stream(seed, "drop"))


def dropped(f):
    """The mask does not depend on x: what ones become, times x."""
    return lambda x, p, seed, training=True: x * drop(f)(mg.tensor(np.ones_like(x)), p, seed, training).array


SLOPE = st.sampled_from([0.2, 0.01, 1.0, 0.0, -0.5])
DROP = {"p": st.sampled_from([0.0, 0.3, 0.5, 1.0]), "seed": st.integers(0, 9), "training": st.booleans()}

ACTIVATIONS = [
    Case("leaky_relu", F.leaky_relu, unary(avoid=(0,), negative_slope=SLOPE),
         lambda x, negative_slope: np.where(x > 0, x, negative_slope * x), order=3,
         errors=((lambda: F.leaky_relu(mg.tensor([1])), TypeError, "leaky_relu: input must hold floating-point numbers"),
                 (lambda: F.leaky_relu(IMAGE, "a"), TypeError, "leaky_relu: negative_slope must be a number"))),
    Case("elu", F.elu, unary(avoid=(0,), alpha=st.sampled_from([1.0, 0.5])),
         lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x))),
    Case("gelu", F.gelu, unary(), lambda x: x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) if x.size else x,
         errors=((lambda: F.gelu(IMAGE, "exact"), ValueError, "gelu: approximate must be 'none' or 'tanh', got 'exact'"),)),
    Case("gelu tanh", lambda x: F.gelu(x, approximate="tanh"), unary(),
         lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), covers=(F.gelu,)),
    Case("softplus", F.softplus, unary(-3, 3, avoid=(1,), beta=st.sampled_from([1.0, 2.0]), threshold=st.sampled_from([20.0, 1e3])),
         lambda x, beta, threshold: np.log1p(np.exp(beta * x)) / beta, order=3,
         errors=((lambda: F.softplus(IMAGE, 0), ValueError, "softplus: beta must not be 0"),)),
    Case("logsigmoid", F.logsigmoid, unary(-3, 3), lambda x: -np.log1p(np.exp(-x)), order=3),
    Case("dropout", drop(F.dropout), unary(**DROP), dropped(F.dropout), covers=(F.dropout,),
         errors=((lambda: F.dropout(IMAGE, 1.5), ValueError, r"dropout: p must lie in \[0, 1\], got 1.5"),)),
    Case("dropout2d", drop(F.dropout2d), unary(min_dims=2, **DROP), dropped(F.dropout2d), covers=(F.dropout2d,),
         errors=((lambda: F.dropout2d(mg.ones(3)), ValueError, r"dropout2d: input must be \(N, C, ...\), got \(3,\)"),)),
]  # fmt: skip


# ---- products --------------------------------------------------------------------------------------------------------


def linear_call(draw, rng):
    lead, i, o = draw(shapes(0, 2, 0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    arrays = (uniform(rng, (*lead, i)), uniform(rng, (o, i)), uniform(rng, (o,)))
    return Call(arrays[: draw(st.integers(2, 3))])


def embedding_call(draw, rng):
    index = rng.integers(0, 4, draw(shapes(0, 2, 0, 3)))
    return Call((uniform(rng, (4, 2)),), {"index": index, "padding_idx": draw(st.sampled_from([None, 1, -1]))})


LINEAR = [
    Case("linear", F.linear, sampler(linear_call), lambda x, w, b=0.0: x @ w.T + b, order=3,
         errors=((lambda: F.linear(mg.ones(2, 3), mg.ones(4, 2)), ValueError, r"linear: input \(2, 3\) and weight \(4, 2\)"),
                 (lambda: F.linear(mg.ones(2, 3), mg.ones(4, 3), mg.ones(3)), ValueError, r"linear: bias \(3,\) must be \(4,\)"))),
    # the derivative of a padding row is 0 by convention: differences see it, so rows other than it are compared below
    Case("embedding", lambda w, index, padding_idx: F.embedding(mg.tensor(np.where(index == (padding_idx or 0) % 4, 2, index)), w, padding_idx),
         sampler(embedding_call), lambda w, index, padding_idx: w[np.where(index == (padding_idx or 0) % 4, 2, index)], covers=(F.embedding,),
         errors=((lambda: F.embedding(mg.tensor([4]), mg.ones(4, 2)), ValueError, r"embedding: indices must lie in \[0, 4\), got 4..4"),
                 (lambda: F.embedding(mg.ones(2), mg.ones(4, 2)), TypeError, "embedding: input must hold integers, got float32"),
                 (lambda: F.embedding(mg.tensor([0]), mg.ones(4, 2), 7), ValueError, "padding_idx 7 lies outside"))),
]  # fmt: skip


# ---- convolution -----------------------------------------------------------------------------------------------------


def conv_call(transposed):
    def build(draw, rng):
        groups, kernel, stride, dilation = draw(st.integers(1, 2)), draw(pairs(1, 3)), draw(pairs(1, 2)), draw(pairs(1, 2))
        options = {"stride": stride, "dilation": dilation, "groups": groups}
        n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
        spans = [d * (k - 1) + 1 for k, d in zip(ref.pair(kernel), ref.pair(dilation), strict=True)]
        padding = draw(pairs(0, 1))
        if transposed:
            options["output_padding"] = tuple(draw(st.integers(0, max(s, d) - 1))
                                              for s, d in zip(ref.pair(stride), ref.pair(dilation), strict=True))  # fmt: skip
            size = [draw(st.integers(2, 3)) for _ in spans]
            if any((m - 1) * s - 2 * p + k < 1 for m, s, p, k in zip(size, ref.pair(stride), ref.pair(padding), spans, strict=True)):
                padding = 0
            weight = (c, o // groups, *ref.pair(kernel))
        else:
            size = [draw(st.integers(max(1, k - 2 * p), max(1, k - 2 * p) + 2)) for k, p in zip(spans, ref.pair(padding), strict=True)]
            weight = (o, c // groups, *ref.pair(kernel))
        arrays = (uniform(rng, (n, c, *size)), uniform(rng, weight), uniform(rng, (o,)))
        return Call(arrays[: draw(st.integers(2, 3))], {**options, "padding": padding})

    return sampler(build)


def same_call(draw, rng):
    return Call((uniform(rng, (2, 4, 5)), uniform(rng, (3, 2, *ref.pair(draw(pairs(1, 3)))))),
                {"padding": draw(st.sampled_from(["same", "valid"])), "dilation": draw(st.integers(1, 2))})  # fmt: skip


def same_reference(x, w, padding, dilation):
    total = [dilation * (k - 1) if padding == "same" else 0 for k in w.shape[2:]]
    x = np.pad(x[None], ((0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)))
    return ref.conv2d(x, w, dilation=dilation)[0]


CONVOLUTIONS = [
    Case("conv2d", F.conv2d, conv_call(False), ref.conv2d, order=3, examples=20, nan=(0,),
         errors=((lambda: F.conv2d(IMAGE, mg.ones(2, 4, 3, 3)), ValueError,
                  r"conv2d: x has 3 channels but weight \(2, 4, 3, 3\) expects 4 \(groups=1\)"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 9, 3)), ValueError, "conv2d: the height 8 with padding 0 is smaller than the kernel's extent 9"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), mg.ones(3)), ValueError, r"conv2d: bias \(3,\) must be \(2,\)"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), stride=0), ValueError, "conv2d: stride must be at least 1, got 0"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding=-1), ValueError, "conv2d: padding must be at least 0, got -1"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding=1.5), TypeError, "conv2d: padding must be an integer, got 1.5"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 1, 3, 3), groups=3), ValueError, "2 output channels do not divide into 3 groups"),
                 (lambda: F.conv2d(IMAGE[0, 0], mg.ones(2, 3, 3, 3)), ValueError, r"input must be \(N, C, H, W\) or \(C, H, W\), got \(8, 8\)"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3, dtype=mg.float64)), TypeError, "input is float32 but weight is float64"),
                 (lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding="same", stride=2), ValueError, "padding='same' needs stride 1"))),
    Case("conv2d of one image, padding by name", F.conv2d, sampler(same_call), same_reference, covers=(F.conv2d,), nan=(0,)),
    Case("conv_transpose2d", F.conv_transpose2d, conv_call(True), ref.conv_transpose2d, order=3, examples=20, nan=(0,),
         errors=((lambda: F.conv_transpose2d(IMAGE, mg.ones(2, 4, 3, 3)), ValueError,
                  r"conv_transpose2d: x has 3 channels but weight \(2, 4, 3, 3\) expects 2"),
                 (lambda: F.conv_transpose2d(IMAGE, mg.ones(3, 4, 3, 3), stride=2, output_padding=2), ValueError,
                  r"output_padding \(2, 2\) must be smaller than stride"),
                 (lambda: F.conv_transpose2d(IMAGE[:, :, :1, :1], mg.ones(3, 4, 1, 1), padding=1), ValueError,
                  r"give the output size \(-1, -1\); it must be at least 1"))),
]  # fmt: skip


# ---- pooling ---------------------------------------------------------------------------------------------------------


def pool_call(average):
    def build(draw, rng):
        kernel = draw(pairs(1, 3))
        padding = tuple(draw(st.integers(0, k // 2)) for k in ref.pair(kernel))
        options = {"kernel_size": kernel, "stride": draw(st.one_of(st.none(), pairs(1, 3))), "padding": padding, "ceil_mode": draw(st.booleans())}
        lead = draw(st.sampled_from([(2, 2), (1, 3), (2,), (0, 1)]))
        if average:
            options |= {"count_include_pad": draw(st.booleans()), "divisor_override": draw(st.sampled_from([None, 3]))}
        else:
            options |= {"return_indices": draw(st.booleans()), "dilation": draw(st.integers(1, 1 if any(padding) else 2))}
        return Call((distinct(rng, (*lead, draw(st.integers(5, 6)), draw(st.integers(5, 7)))),), options)

    return sampler(build)


def images(sides=(3, 6), lead=((2, 2), (3,), (1, 1)), values=uniform, **options):
    """Images with options that are strategies."""
    return sampler(lambda draw, rng: Call((values(rng, (*draw(st.sampled_from(lead)), draw(st.integers(*sides)), draw(st.integers(*sides)))),),
                                          {k: draw(s) for k, s in options.items()}))  # fmt: skip


POOLING = [
    Case("max_pool2d", F.max_pool2d, pool_call(False), ref.max_pool2d,
         errors=((lambda: F.max_pool2d(IMAGE, 2, padding=2), ValueError, r"max_pool2d: padding \(2, 2\) must be at most half of kernel_size \(2, 2\)"),
                 (lambda: F.max_pool2d(IMAGE, 9), ValueError, "it must be at least 1"),
                 (lambda: F.max_pool2d(IMAGE[0, 0], 2), ValueError, r"max_pool2d: input must be \(N, C, H, W\)"),
                 (lambda: F.max_pool2d(IMAGE, 0), ValueError, "max_pool2d: kernel_size must be at least 1, got 0"))),
    Case("avg_pool2d", F.avg_pool2d, pool_call(True), ref.avg_pool2d,
         errors=((lambda: F.avg_pool2d(IMAGE, 2, divisor_override=0), ValueError, "divisor_override must not be 0"),)),
    Case("adaptive_avg_pool2d", F.adaptive_avg_pool2d, images(output_size=st.one_of(pairs(1, 4), st.just((None, 2)))),
         lambda x, output_size: ref.adaptive(x, output_size, np.mean),
         errors=((lambda: F.adaptive_avg_pool2d(IMAGE, 0), ValueError, "output_size must be at least 1, got 0"),)),
    Case("adaptive_max_pool2d", F.adaptive_max_pool2d, images(values=distinct, output_size=pairs(1, 4)),
         lambda x, output_size: ref.adaptive(x, output_size, np.max)),
]  # fmt: skip


# ---- normalisation ---------------------------------------------------------------------------------------------------


def norm_call(draw, rng, lead=(2, 3), dims=(0, 1, 2), channels=2, **options):
    shape = (draw(st.integers(*lead)), channels, *[draw(st.integers(2, 3)) for _ in range(draw(st.sampled_from(dims)))])
    arrays = (distinct(rng, shape), uniform(rng, (channels,), 0.5, 1.5), uniform(rng, (channels,)))
    return Call(arrays, {"eps": draw(st.sampled_from([1e-5, 0.1])), **{k: draw(s) for k, s in options.items()}})


def running_call(draw, rng):
    call = norm_call(draw, rng, lead=(0, 2))
    return Call(call.arrays, {**call.options, "mean": rng.standard_normal(2), "var": rng.uniform(0.5, 2, 2)})


def running_reference(x, w, b, mean, var, eps):
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return ref.affine((x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps), w, b)


def layer_call(draw, rng):
    shape = draw(st.sampled_from([(2, 3), (2, 2, 3), (4,), (2, 3, 2)]))
    last = shape[-draw(st.integers(1, len(shape))) :]
    return Call((distinct(rng, shape), uniform(rng, last, 0.5, 1.5), uniform(rng, last)), {"normalized_shape": last})


def others(x):
    return (0, *range(2, x.ndim))


ONES = mg.ones(3)
NORMALISATION = [
    Case("batch_norm in training", lambda x, w, b, eps: F.batch_norm(x, None, None, w, b, True, eps=eps), sampler(norm_call),
         lambda x, w, b, eps: ref.affine(ref.normalised(x, others(x), eps), w, b), order=3, covers=(F.batch_norm,), rtol32=1e-3,
         errors=((lambda: F.batch_norm(mg.zeros(1, 3), None, None, training=True), ValueError,
                  r"batch_norm: training needs more than one value per channel, got input \(1, 3\)"),
                 (lambda: F.batch_norm(IMAGE, None, None, mg.ones(4), training=True), ValueError, r"batch_norm: weight \(4,\) must be \(3,\)"),
                 (lambda: F.batch_norm(IMAGE, None, None), ValueError, "running_mean and running_var are needed"),
                 (lambda: F.batch_norm(ONES, ONES, ONES), ValueError, r"batch_norm: input must be \(N, C\)"))),
    Case("batch_norm without affine map", lambda x, w, b, eps: F.batch_norm(x, None, None, training=True, eps=eps) * w[0] + b[0], sampler(norm_call),
         lambda x, w, b, eps: ref.normalised(x, others(x), eps) * w[0] + b[0], covers=(F.batch_norm,), rtol32=1e-3),
    Case("batch_norm in evaluation",
         lambda x, w, b, mean, var, eps: F.batch_norm(x, mg.tensor(mean, x.dtype), mg.tensor(var, x.dtype), w, b, eps=eps),
         sampler(running_call), running_reference, covers=(F.batch_norm,)),
    Case("instance_norm", lambda x, w, b, eps: F.instance_norm(x, weight=w, bias=b, eps=eps),
         sampler(lambda draw, rng: norm_call(draw, rng, (1, 2), (1, 2))),
         lambda x, w, b, eps: ref.affine(ref.normalised(x, tuple(range(2, x.ndim)), eps), w, b), order=3, covers=(F.instance_norm,), rtol32=1e-3,
         errors=((lambda: F.instance_norm(mg.ones(2, 3)), ValueError, "instance_norm: input must be"),
                 (lambda: F.instance_norm(mg.ones(2, 3, 1, 1)), ValueError, "needs more than one value per channel and sample"))),
    Case("group_norm", lambda x, w, b, num_groups, eps: F.group_norm(x, num_groups, w, b, eps),
         sampler(lambda draw, rng: norm_call(draw, rng, (1, 2), (1, 2), 4, num_groups=st.sampled_from([1, 2, 4]))),
         lambda x, w, b, num_groups, eps: ref.affine(ref.group_norm(x, num_groups, eps), w, b), order=3, covers=(F.group_norm,), rtol32=1e-3,
         errors=((lambda: F.group_norm(IMAGE, 2), ValueError, r"group_norm: input \(1, 3, 8, 8\) must be .* C divisible by 2 groups"),)),
    Case("layer_norm", lambda x, w, b, normalized_shape: F.layer_norm(x, normalized_shape, w, b), sampler(layer_call),
         lambda x, w, b, normalized_shape: ref.normalised(x, tuple(range(x.ndim - len(normalized_shape), x.ndim))) * w + b, order=3,
         covers=(F.layer_norm,), rtol32=1e-3,
         errors=((lambda: F.layer_norm(mg.ones(2, 3), 2), ValueError, r"layer_norm: input \(2, 3\) must end in normalized_shape \(2,\)"),)),
]  # fmt: skip


# ---- fused passes ----------------------------------------------------------------------------------------------------


def bias_leaky_call(draw, rng):
    shape = (draw(st.integers(0, 2)), 2, *draw(shapes(0, 2, 1, 3)))
    bias = uniform(rng, (2,))
    x = uniform(rng, shape, avoid=(0,)) - bias.reshape(1, -1, *[1] * (len(shape) - 2))
    return Call((x, bias), {"negative_slope": draw(st.sampled_from([0.0, 0.2, 1.0]))})


def norm_leaky_call(draw, rng):
    """The bias is drawn again until no activation lies near its kink."""
    x, w, _ = norm_call(draw, rng, dims=(0, 2)).arrays
    for _ in range(50):
        b = uniform(rng, (2,))
        if np.abs(ref.affine(ref.normalised(x, others(x)), w, b)).min() > 0.02:
            break
    else:
        b = np.full(2, 9.0)
    return Call((x, w, b), {"negative_slope": draw(st.sampled_from([0.0, 0.2, 1.0]))})


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


FUSED = [
    Case("bias_leaky_relu", fused.bias_leaky_relu, sampler(bias_leaky_call),
         lambda x, b, negative_slope: leaky(x + b.reshape(1, -1, *[1] * (x.ndim - 2)), negative_slope),
         errors=((lambda: fused.bias_leaky_relu(IMAGE, ONES, -1), ValueError, "negative_slope must be at least 0, got -1"),)),
    Case("batch_norm_leaky_relu", lambda x, w, b, negative_slope: fused.batch_norm_leaky_relu(x, None, None, w, b, negative_slope=negative_slope),
         sampler(norm_leaky_call), lambda x, w, b, negative_slope: leaky(ref.affine(ref.normalised(x, others(x)), w, b), negative_slope),
         order=3, covers=(fused.batch_norm_leaky_relu,), rtol32=1e-3),
]  # fmt: skip


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
        options = {"target": target, "ignore_index": ignore, "reduction": draw(REDUCTION),
                   "weight": draw(st.sampled_from([None, rng.uniform(0.5, 2, shape[axis])]))}  # fmt: skip
        if smoothing:
            options["label_smoothing"] = draw(st.sampled_from([0.0, 0.1]))
        return Call((ref.log_softmax(x, axis) if log else x,), options)

    return sampler(build)


def probabilities_call(draw, rng):
    shape = draw(st.sampled_from([(3, 4), (4,), (2, 3, 2)]))
    t = rng.dirichlet(np.ones(4), 3) if shape == (3, 4) else uniform(rng, shape, 0.1, 0.9)
    options = {"reduction": draw(REDUCTION), "label_smoothing": draw(st.sampled_from([0.0, 0.1])),
               "weight": draw(st.sampled_from([None, rng.uniform(0.5, 2, shape[1 if len(shape) > 1 else 0])]))}  # fmt: skip
    return Call((uniform(rng, shape), t), options)


def two(first=(-2.0, 2.0), second=(-2.0, 2.0), kinks=(), **options):
    """Two arrays of one shape whose differences keep away from the kinks and 0."""

    def build(draw, rng):
        shape = draw(shapes(1, 3, 1))
        b = uniform(rng, shape, *second)
        a = b + uniform(rng, shape, -2, 2, (0, *kinks, *(-k for k in kinks))) if kinks or kinks is None else uniform(rng, shape, *first)
        return Call((a, b), {"reduction": draw(REDUCTION), **{k: draw(s) for k, s in options.items()}})

    return sampler(build)


def logits_call(draw, rng):
    """Logits, targets, and tensors for the weights of elements and of positives, which broadcast."""
    n, c = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    return Call((uniform(rng, (n, c), -3, 3), uniform(rng, (n, c), 0.1, 0.9), uniform(rng, (c,), 0.5, 2), uniform(rng, (n, 1), 0.5, 2)),
                {"reduction": draw(REDUCTION)})  # fmt: skip


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
    Case("cross_entropy", F.cross_entropy, labels_call(smoothing=True), ref.cross_entropy, examples=25, nan=(),
         errors=((lambda: F.cross_entropy(SCORES, LABELS), ValueError, r"cross_entropy: labels must lie in \[0, 3\) or be ignore_index=-100, got 3"),
                 (lambda: F.cross_entropy(SCORES, mg.tensor([0])), ValueError, r"target \(1,\) must hold one label for each sample, shape \(2,\)"),
                 (lambda: F.cross_entropy(SCORES, mg.ones(2)), ValueError, "labels must be integers"),
                 (lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), reduction="max"), ValueError, "reduction must be one of 'none', 'mean', 'sum', got 'max'"),
                 (lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), label_smoothing=2), ValueError, r"label_smoothing must lie in \[0, 1\], got 2"),
                 (lambda: F.cross_entropy(SCORES, mg.tensor([0, 1]), mg.ones(2)), ValueError, r"weight \(2,\) must be \(3,\)"),
                 (lambda: F.cross_entropy(mg.zeros(0, 3), mg.zeros(0, dtype=mg.int64)), ValueError, "nothing to average"))),
    Case("cross_entropy with probabilities", lambda x, t, **o: F.cross_entropy(x, t, **o), sampler(probabilities_call),
         ref.cross_entropy_of_probabilities, covers=(F.cross_entropy,)),
    Case("nll_loss", F.nll_loss, labels_call(log=True), ref.nll_loss, nan=()),
    Case("mse_loss", F.mse_loss, two(), lambda a, b, reduction: ref.reduced((a - b) ** 2, reduction),
         errors=((lambda: F.mse_loss(mg.ones(2), mg.ones(3)), ValueError, r"mse_loss: target \(3,\) does not broadcast against \(2,\)"),
                 (lambda: F.mse_loss(mg.ones(0), mg.ones(0)), ValueError, "mse_loss: reduction='mean' has nothing to average"),
                 (lambda: F.mse_loss(mg.ones(2), 1.0), TypeError, "mse_loss: expected a Tensor or an array, got float"))),
    Case("l1_loss", F.l1_loss, two(kinks=(0,)), lambda a, b, reduction: ref.reduced(np.abs(a - b), reduction)),
    Case("smooth_l1_loss", F.smooth_l1_loss, two(kinks=(1.0,), beta=st.sampled_from([1.0, 0.0])),
         lambda a, b, reduction, beta: ref.reduced(ref.huber(a - b, beta) / beta if beta else np.abs(a - b), reduction),
         errors=((lambda: F.smooth_l1_loss(ONES, ONES, beta=-1), ValueError, "beta must be at least 0, got -1"),)),
    Case("huber_loss", F.huber_loss, two(kinks=(0.5, 1.0), delta=st.sampled_from([1.0, 0.5])),
         lambda a, b, reduction, delta: ref.reduced(ref.huber(a - b, delta), reduction),
         errors=((lambda: F.huber_loss(ONES, ONES, delta=0), ValueError, "delta must be positive, got 0"),)),
    Case("binary_cross_entropy", F.binary_cross_entropy, two((0.1, 0.9), (0.1, 0.9)), lambda a, b, reduction: ref.reduced(bce(a, b), reduction),
         errors=((lambda: F.binary_cross_entropy(ONES * 2, ONES), ValueError, r"input must hold probabilities in \[0, 1\], got 2.0..2.0"),
                 (lambda: F.binary_cross_entropy(ONES, mg.ones(2)), ValueError, "must have the same shape"))),
    Case("binary_cross_entropy_with_logits", lambda x, t, p, w, reduction: F.binary_cross_entropy_with_logits(x, t, w, reduction, p),
         sampler(logits_call), bce_logits, covers=(F.binary_cross_entropy_with_logits,),
         errors=((lambda: F.binary_cross_entropy_with_logits(ONES, ONES, pos_weight=mg.ones(2)), ValueError, "pos_weight"),)),
    Case("binary_cross_entropy_with_logits, plain", F.binary_cross_entropy_with_logits, two((-3, 3), (0.1, 0.9)),
         lambda x, t, reduction: bce_logits(x, t, 1.0, 1.0, reduction), order=3),
    Case("kl_div", F.kl_div, two((-2, 0), (0.1, 0.9), log_target=st.booleans()), kl_reference,
         errors=((lambda: F.kl_div(mg.tensor(1.0), mg.tensor(1.0), "batchmean"), ValueError, "reduction='batchmean' needs a batch"),)),
    Case("normalize", F.normalize, vectors(p=st.sampled_from([2.0, 1.0, 3.0])),
         lambda x, dim, p: x / (np.abs(x) ** p).sum(dim, keepdims=True) ** (1 / p)),
    Case("cosine_similarity", F.cosine_similarity, vectors(2),
         lambda a, b, dim: (a * b).sum(dim) / np.sqrt((a * a).sum(dim) * (b * b).sum(dim))),
    Case("one_hot", lambda x, labels: F.one_hot(mg.tensor(labels), 4), sampler(lambda draw, rng: Call((np.ones(1),), {"labels": rng.integers(0, 4, draw(shapes(0, 2)))})),
         lambda x, labels: np.eye(4, dtype=int)[labels], order=0, covers=(F.one_hot,),
         errors=((lambda: F.one_hot(LABELS, 3), ValueError, r"one_hot: labels must lie in \[0, 3\), got 0..3"),
                 (lambda: F.one_hot(ONES), TypeError, "one_hot: tensor must hold integers, got float32"))),
]  # fmt: skip


# ---- pixels in other places ------------------------------------------------------------------------------------------


def resize_call(draw, rng):
    mode = draw(st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic", "linear"]))
    shape = (2, 1, 4) if mode == "linear" else (1, 2, 3, 4)
    options = {"mode": mode, "align_corners": None if "nearest" in mode else draw(st.sampled_from([None, True, False]))}
    if draw(st.booleans()):
        options["size"] = draw(st.integers(1, 7)) if mode == "linear" else draw(pairs(1, 7))
    else:
        options["scale_factor"] = draw(st.sampled_from([2, 0.5, 1.6, 3] if mode == "linear" else [2, 0.5, 1.6, (2, 0.5), (1, 3)]))
    return Call((uniform(rng, shape),), options)


def grid_call(draw, rng):
    """Points whose pixel coordinate is neither near an integer nor near a half: away from every kink."""
    align = draw(st.booleans())
    h, w, out = draw(st.integers(2, 4)), draw(st.integers(2, 4)), draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    grid = np.empty((2, *out, 2))
    for k, length in ((0, w), (1, h)):
        at = rng.integers(-2, length + 1, (2, *out)) + rng.choice([0.0, 0.5], (2, *out)) + rng.uniform(0.1, 0.4, (2, *out))
        grid[..., k] = 2 * at / (length - 1) - 1 if align else (2 * at + 1) / length - 1
    return Call((uniform(rng, (2, 2, h, w)), grid),
                {"mode": draw(st.sampled_from(["bilinear", "nearest", "bicubic"])), "align_corners": align,
                 "padding_mode": draw(st.sampled_from(["zeros", "border", "reflection"]))})  # fmt: skip


def volume_call(draw, rng):
    at = rng.integers(-1, 2, (1, 2, 1, 2, 3)) + rng.choice([0.0, 0.5], (1, 2, 1, 2, 3)) + rng.uniform(0.1, 0.4, (1, 2, 1, 2, 3))
    return Call((uniform(rng, (1, 2, 3, 3, 3)), at - 1), {"align_corners": True})


def pad_call(draw, rng):
    mode = draw(st.sampled_from(["constant", "reflect", "replicate", "circular"]))
    low, high = (-1, 3) if mode == "constant" else (0, 2)
    widths = [draw(st.integers(low, high)) for _ in range(2 * draw(st.integers(1, 2)))]
    options = {"pad": tuple(widths), "mode": mode}
    if mode == "constant" and draw(st.booleans()):
        options["value"] = 1.5
    return Call((uniform(rng, (2, 1, 3, 4)),), options)


def pad_reference(x, pad, mode, value=0.0):
    pairs_ = [(0, 0)] * (4 - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    cut = tuple(slice(max(0, -a), n - max(0, -b)) for (a, b), n in zip(pairs_, x.shape, strict=True))
    widths = [(max(a, 0), max(b, 0)) for a, b in pairs_]
    kind = {"constant": {"mode": "constant", "constant_values": value}, "reflect": {"mode": "reflect"},
            "replicate": {"mode": "edge"}, "circular": {"mode": "wrap"}}[mode]  # fmt: skip
    return np.pad(x[cut], widths, **kind)


def fold_call(draw, rng):
    options = {"kernel_size": draw(pairs(1, 2)), "dilation": draw(pairs(1, 2)), "padding": draw(pairs(0, 1)), "stride": draw(pairs(1, 2))}
    columns = ref.unfold(np.zeros((2, 2, 3, 4)), **options).shape
    return Call((uniform(rng, columns),), {"output_size": (3, 4), **options})


def unfold_call(draw, rng):
    call = fold_call(draw, rng)
    return Call((uniform(rng, (2, 2, 3, 4)),), {k: v for k, v in call.options.items() if k != "output_size"})


def theta_call(draw, rng):
    n, h, w = (draw(st.integers(1, 3)) for _ in range(3))
    return Call((uniform(rng, (n, 2, 3)),), {"size": (n, 2, h, w), "align_corners": draw(st.booleans())})


PIXELS = [
    Case("interpolate", F.interpolate, sampler(resize_call), ref.interpolate, examples=30, nan=(),
         errors=((lambda: F.interpolate(IMAGE), ValueError, "interpolate: give either size or scale_factor"),
                 (lambda: F.interpolate(IMAGE, 4, mode="cubic"), ValueError, "interpolate: mode must be one of"),
                 (lambda: F.interpolate(IMAGE, 4, align_corners=True), ValueError, "align_corners works with linear and cubic modes only"),
                 (lambda: F.interpolate(IMAGE, scale_factor=0.1), ValueError, "every axis needs a pixel"),
                 (lambda: F.interpolate(IMAGE, (4, 4, 4)), ValueError, "must be one number or 2"))),
    Case("interpolate by area", F.interpolate,
         images((4, 6), ((2, 1),), mode=st.just("area"), size=pairs(1, 5)),
         lambda x, mode, size: ref.adaptive(x, size, np.mean)),
    Case("interpolate with antialias", lambda x, **o: F.interpolate(x, antialias=True, **o),
         images((4, 6), ((2, 1),), mode=st.sampled_from(["bilinear", "bicubic"]), size=pairs(2, 7)), None, covers=(F.interpolate,)),
    Case("affine_grid", F.affine_grid, sampler(theta_call), ref.affine_grid,
         errors=((lambda: F.affine_grid(mg.ones(1, 2, 2), (1, 1, 4, 4)), ValueError, r"affine_grid: theta \(1, 2, 2\) and size"),)),
    Case("grid_sample", F.grid_sample, sampler(grid_call), ref.grid_sample, examples=30, nan=(), rtol32=1e-3,
         errors=((lambda: F.grid_sample(IMAGE, mg.zeros(2, 4, 4, 2)), ValueError, r"grid_sample: input \(1, 3, 8, 8\) and grid \(2, 4, 4, 2\)"),
                 (lambda: F.grid_sample(IMAGE, mg.zeros(1, 4, 4, 2), "linear"), ValueError, "mode must be 'bilinear'"),
                 (lambda: F.grid_sample(IMAGE, mg.zeros(1, 4, 4, 2), padding_mode="same"), ValueError, "padding_mode must be"))),
    Case("grid_sample in 3-D", F.grid_sample, sampler(volume_call), None),
    Case("pad", F.pad, sampler(pad_call), pad_reference, examples=20, covers=(F.pad,),
         errors=((lambda: F.pad(IMAGE, (1, 2, 3)), ValueError, "must hold a pair for each padded axis"),
                 (lambda: F.pad(IMAGE, (8, 0), "reflect"), ValueError, "may add at most 7"),
                 (lambda: F.pad(IMAGE, (-5, -5)), ValueError, "cuts more than"),
                 (lambda: F.pad(IMAGE, (1, 1), "mirror"), ValueError, "pad: mode must be"))),
    Case("unfold", F.unfold, sampler(unfold_call), ref.unfold,
         errors=((lambda: F.unfold(IMAGE, 9), ValueError, r"unfold: no window of kernel \(9, 9\)"),)),
    Case("fold", F.fold, sampler(fold_call), ref.fold, errors=((lambda: F.fold(mg.ones(1, 4, 3), (3, 3), 2), ValueError, "fold: input"),)),
    Case("pixel_shuffle", F.pixel_shuffle, images((2, 3), ((2, 4), (8,), (1, 1, 4)), upscale_factor=st.sampled_from([1, 2])),
         lambda x, upscale_factor: ref.pixel_shuffle(x, upscale_factor),
         errors=((lambda: F.pixel_shuffle(IMAGE, 2), ValueError, r"upscale_factor\^2 = 4"),)),
    Case("pixel_unshuffle", F.pixel_unshuffle,
         sampler(lambda draw, rng: Call((uniform(rng, (2, draw(st.integers(1, 2)), 4, 2)),), {"downscale_factor": draw(st.sampled_from([1, 2]))})),
         lambda x, downscale_factor: ref.pixel_unshuffle(x, downscale_factor),
         errors=((lambda: F.pixel_unshuffle(IMAGE, 3), ValueError, "must divide by downscale_factor 3"),)),
]  # fmt: skip

CASES = ACTIVATIONS + LINEAR + CONVOLUTIONS + POOLING + NORMALISATION + FUSED + LOSSES + PIXELS
