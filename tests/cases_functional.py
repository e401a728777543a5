"""The table of cases, second part: activations, products, normalisation, recurrent networks. See tests/cases.py."""

from __future__ import annotations

import math

import numpy as np
import references as ref
from hypothesis import strategies as st
from samplers import Call, Case, distinct, sampler, shapes, unary, uniform

import minigrad as mg
import minigrad.functional as F
from minigrad.functional import fused
from minigrad.functional.conv_norm import conv2d_batch_norm_leaky_relu, conv_transpose2d_batch_norm_leaky_relu
from minigrad.random import Stream

IMAGE = mg.zeros(1, 3, 8, 8)

# ---- activations -----------------------------------------------------------------------------------------------------


def drop(f):
    return lambda x, p, seed, training=True: f(x, p, training, rng=Stream(seed, "drop"))


def dropped(f):
    """The mask does not depend on x: what ones become, times x."""
    return lambda x, p, seed, training=True: x * drop(f)(mg.tensor(np.ones_like(x)), p, seed, training).array


SLOPE = st.sampled_from([0.2, 0.01, 1.0, 0.0, -0.5])
DROP = {"p": st.sampled_from([0.0, 0.3, 0.5, 1.0]), "seed": st.integers(0, 9), "training": st.booleans()}

ACTIVATIONS = [
    Case(
        "leaky_relu",
        F.leaky_relu,
        unary(avoid=(0,), negative_slope=SLOPE),
        lambda x, negative_slope: np.where(x > 0, x, negative_slope * x),
        order=3,
        errors=(
            (lambda: F.leaky_relu(mg.tensor([1])), TypeError, "leaky_relu: input must hold floating-point numbers"),
            (lambda: F.leaky_relu(IMAGE, "a"), TypeError, "leaky_relu: negative_slope must be a number"),
        ),
    ),
    Case(
        "elu",
        F.elu,
        unary(avoid=(0,), alpha=st.sampled_from([1.0, 0.5])),
        lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(x)),
    ),
    Case(
        "gelu",
        F.gelu,
        unary(),
        lambda x: x * 0.5 * (1 + np.vectorize(math.erf, otypes=[float])(x / math.sqrt(2))) if x.size else x,
        errors=(
            (lambda: F.gelu(IMAGE, "exact"), ValueError, "gelu: approximate must be 'none' or 'tanh', got 'exact'"),
        ),
    ),
    Case(
        "gelu tanh",
        lambda x: F.gelu(x, approximate="tanh"),
        unary(),
        lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        covers=(F.gelu,),
    ),
    Case(
        "softplus",
        F.softplus,
        unary(-3, 3, avoid=(1,), beta=st.sampled_from([1.0, 2.0]), threshold=st.sampled_from([20.0, 1e3])),
        lambda x, beta, threshold: np.log1p(np.exp(beta * x)) / beta,
        order=3,
        errors=((lambda: F.softplus(IMAGE, 0), ValueError, "softplus: beta must not be 0"),),
    ),
    Case("logsigmoid", F.logsigmoid, unary(-3, 3), lambda x: -np.log1p(np.exp(-x)), order=3),
    Case(
        "dropout",
        drop(F.dropout),
        unary(**DROP),
        dropped(F.dropout),
        covers=(F.dropout,),
        errors=((lambda: F.dropout(IMAGE, 1.5), ValueError, r"dropout: p must lie in \[0, 1\], got 1.5"),),
    ),
    Case(
        "dropout2d",
        drop(F.dropout2d),
        unary(min_dims=2, **DROP),
        dropped(F.dropout2d),
        covers=(F.dropout2d,),
        errors=((lambda: F.dropout2d(mg.ones(3)), ValueError, r"dropout2d: input must be \(N, C, ...\), got \(3,\)"),),
    ),
]


# ---- products --------------------------------------------------------------------------------------------------------


def linear_call(draw, rng):
    lead, i, o = draw(shapes(0, 2, 0, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    arrays = (uniform(rng, (*lead, i)), uniform(rng, (o, i)), uniform(rng, (o,)))
    return Call(arrays[: draw(st.integers(2, 3))])


def embedding_call(draw, rng):
    index = rng.integers(0, 4, draw(shapes(0, 2, 0, 3)))
    return Call((uniform(rng, (4, 2)),), {"index": index, "padding_idx": draw(st.sampled_from([None, 1, -1]))})


LINEAR = [
    Case(
        "linear",
        F.linear,
        sampler(linear_call),
        lambda x, w, b=0.0: x @ w.T + b,
        order=3,
        errors=(
            (lambda: F.linear(mg.ones(2, 3), mg.ones(4, 2)), ValueError, r"linear: input \(2, 3\) and weight \(4, 2\)"),
            (
                lambda: F.linear(mg.ones(2, 3), mg.ones(4, 3), mg.ones(3)),
                ValueError,
                r"linear: bias \(3,\) must be \(4,\)",
            ),
        ),
    ),
    # the derivative of a padding row is 0 by convention: differences see it, so rows other than it are compared below
    Case(
        "embedding",
        lambda w, index, padding_idx: F.embedding(
            mg.tensor(np.where(index == (padding_idx or 0) % 4, 2, index)), w, padding_idx
        ),
        sampler(embedding_call),
        lambda w, index, padding_idx: w[np.where(index == (padding_idx or 0) % 4, 2, index)],
        covers=(F.embedding,),
        errors=(
            (
                lambda: F.embedding(mg.tensor([4]), mg.ones(4, 2)),
                ValueError,
                r"embedding: indices must lie in \[0, 4\), got 4..4",
            ),
            (
                lambda: F.embedding(mg.ones(2), mg.ones(4, 2)),
                TypeError,
                "embedding: input must hold integers, got float32",
            ),
            (lambda: F.embedding(mg.tensor([0]), mg.ones(4, 2), 7), ValueError, "padding_idx 7 lies outside"),
        ),
    ),
]


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
    Case(
        "batch_norm in training",
        lambda x, w, b, eps: F.batch_norm(x, None, None, w, b, True, eps=eps),
        sampler(norm_call),
        lambda x, w, b, eps: ref.affine(ref.normalised(x, others(x), eps), w, b),
        order=3,
        covers=(F.batch_norm,),
        rtol32=1e-3,
        errors=(
            (
                lambda: F.batch_norm(mg.zeros(1, 3), None, None, training=True),
                ValueError,
                r"batch_norm: training needs more than one value per channel, got input \(1, 3\)",
            ),
            (
                lambda: F.batch_norm(IMAGE, None, None, mg.ones(4), training=True),
                ValueError,
                r"batch_norm: weight \(4,\) must be \(3,\)",
            ),
            (lambda: F.batch_norm(IMAGE, None, None), ValueError, "running_mean and running_var are needed"),
            (lambda: F.batch_norm(ONES, ONES, ONES), ValueError, r"batch_norm: input must be \(N, C\)"),
        ),
    ),
    Case(
        "batch_norm without affine map",
        lambda x, w, b, eps: F.batch_norm(x, None, None, training=True, eps=eps) * w[0] + b[0],
        sampler(norm_call),
        lambda x, w, b, eps: ref.normalised(x, others(x), eps) * w[0] + b[0],
        covers=(F.batch_norm,),
        rtol32=1e-3,
    ),
    Case(
        "batch_norm in evaluation",
        lambda x, w, b, mean, var, eps: F.batch_norm(
            x, mg.tensor(mean, x.dtype), mg.tensor(var, x.dtype), w, b, eps=eps
        ),
        sampler(running_call),
        running_reference,
        covers=(F.batch_norm,),
    ),
    Case(
        "instance_norm",
        lambda x, w, b, eps: F.instance_norm(x, weight=w, bias=b, eps=eps),
        sampler(lambda draw, rng: norm_call(draw, rng, (1, 2), (1, 2))),
        lambda x, w, b, eps: ref.affine(ref.normalised(x, tuple(range(2, x.ndim)), eps), w, b),
        order=3,
        covers=(F.instance_norm,),
        rtol32=1e-3,
        errors=(
            (lambda: F.instance_norm(mg.ones(2, 3)), ValueError, "instance_norm: input must be"),
            (
                lambda: F.instance_norm(mg.ones(2, 3, 1, 1)),
                ValueError,
                "needs more than one value per channel and sample",
            ),
        ),
    ),
    Case(
        "group_norm",
        lambda x, w, b, num_groups, eps: F.group_norm(x, num_groups, w, b, eps),
        sampler(lambda draw, rng: norm_call(draw, rng, (1, 2), (1, 2), 4, num_groups=st.sampled_from([1, 2, 4]))),
        lambda x, w, b, num_groups, eps: ref.affine(ref.group_norm(x, num_groups, eps), w, b),
        order=3,
        covers=(F.group_norm,),
        rtol32=1e-3,
        errors=(
            (
                lambda: F.group_norm(IMAGE, 2),
                ValueError,
                r"group_norm: input \(1, 3, 8, 8\) must be .* C divisible by 2 groups",
            ),
        ),
    ),
    Case(
        "layer_norm",
        lambda x, w, b, normalized_shape: F.layer_norm(x, normalized_shape, w, b),
        sampler(layer_call),
        lambda x, w, b, normalized_shape: (
            ref.normalised(x, tuple(range(x.ndim - len(normalized_shape), x.ndim))) * w + b
        ),
        order=3,
        covers=(F.layer_norm,),
        rtol32=1e-3,
        errors=(
            (
                lambda: F.layer_norm(mg.ones(2, 3), 2),
                ValueError,
                r"layer_norm: input \(2, 3\) must end in normalized_shape \(2,\)",
            ),
        ),
    ),
]


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


def add_leaky_call(draw, rng):
    """Two images whose sum keeps away from the kink."""
    x = uniform(rng, (2, 2, 3))
    return Call((x, uniform(rng, x.shape, avoid=(0,)) - x), {"negative_slope": draw(st.sampled_from([0.0, 0.2, 1.0]))})


def norm_add_leaky_call(draw, rng):
    """So does the sum of the normalised x, scaled and shifted, and the other."""
    x, w, b = norm_call(draw, rng, dims=(0, 2)).arrays
    y = ref.affine(ref.normalised(x, others(x)), w, b)
    return Call((x, w, b, uniform(rng, x.shape, avoid=(0,)) - y), {"negative_slope": draw(st.sampled_from([0.0, 0.2, 1.0]))})


def conv_normed(x, w, g, b):
    y = ref.conv2d(x, w)
    return ref.affine(ref.normalised(y, others(y)), g, b)


def conv_norm_call(draw, rng):
    x, w, (g, b) = uniform(rng, (2, 2, 3, 4)), uniform(rng, (3, 2, 2, 2)), uniform(rng, (2, 3))
    y = conv_normed(x, w, g, b)
    return Call((x, w, g, b, uniform(rng, y.shape, avoid=(0,)) - y), {"negative_slope": draw(st.sampled_from([0.0, 0.2, 1.0]))})


def leaky(x, slope):
    return np.where(x > 0, x, slope * x)


FUSED = [
    Case(
        "bias_leaky_relu",
        fused.bias_leaky_relu,
        sampler(bias_leaky_call),
        lambda x, b, negative_slope: leaky(x + b.reshape(1, -1, *[1] * (x.ndim - 2)), negative_slope),
        errors=(
            (lambda: fused.bias_leaky_relu(IMAGE, ONES, -1), ValueError, "negative_slope must be at least 0, got -1"),
        ),
    ),
    Case(
        "batch_norm_leaky_relu",
        lambda x, w, b, negative_slope: fused.batch_norm_leaky_relu(x, None, None, w, b, negative_slope=negative_slope),
        sampler(norm_leaky_call),
        lambda x, w, b, negative_slope: leaky(ref.affine(ref.normalised(x, others(x)), w, b), negative_slope),
        order=3,
        covers=(fused.batch_norm_leaky_relu,),
        rtol32=1e-3,
    ),
    Case(
        "batch_norm_leaky_relu of a sum",
        lambda x, w, b, o, negative_slope: fused.batch_norm_leaky_relu(
            x, None, None, w, b, negative_slope=negative_slope, other=o
        ),
        sampler(norm_add_leaky_call),
        lambda x, w, b, o, negative_slope: leaky(ref.affine(ref.normalised(x, others(x)), w, b) + o, negative_slope),
        order=3,
        rtol32=1e-3,
    ),
    Case(
        "convolution, batch norm, leaky_relu",
        lambda x, w, g, b, o, negative_slope: conv2d_batch_norm_leaky_relu(
            x, w, g, b, lambda shape: (None, None, 0.1), negative_slope=negative_slope, other=o
        ),
        sampler(conv_norm_call),
        lambda x, w, g, b, o, negative_slope: leaky(conv_normed(x, w, g, b) + o, negative_slope),
        order=3,
        rtol32=2e-3,
    ),
    Case(
        "transposed convolution, batch norm",
        lambda x, w, g, b: conv_transpose2d_batch_norm_leaky_relu(
            x, w, g, b, lambda shape: (None, None, 0.1), negative_slope=1.0
        ),
        sampler(lambda draw, rng: Call((uniform(rng, (2, 2, 2, 2)), uniform(rng, (2, 3, 2, 2)), *uniform(rng, (2, 3))), {})),
        lambda x, w, g, b: ref.affine(ref.normalised(ref.conv_transpose2d(x, w), (0, 2, 3)), g, b),
        order=3,
        rtol32=2e-3,
    ),
    Case(
        "add_leaky_relu",
        fused.add_leaky_relu,
        sampler(add_leaky_call),
        lambda x, other, negative_slope: leaky(x + other, negative_slope),
    ),
]


# ---- recurrent networks ----------------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def recurrent_step(kind, x, h, c, wi, wh, bi, bh):
    """One step in the words of the definition: (h', c', what goes into the kink of relu)."""
    p, q = x @ wi.T + bi, h @ wh.T + bh
    if kind == "lstm":
        i, f, g, o = np.split(p + q, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return sigmoid(o) * np.tanh(c), c, None
    if kind == "gru":
        (pr, pz, pn), (qr, qz, qn) = np.split(p, 3, -1), np.split(q, 3, -1)
        z = sigmoid(pz + qz)
        return (1 - z) * np.tanh(pn + sigmoid(pr + qr) * qn) + z * h, c, None
    return (np.tanh(p + q) if kind == "rnn_tanh" else np.maximum(p + q, 0)), c, p + q


GATES = {"rnn_tanh": 1, "rnn_relu": 1, "gru": 3, "lstm": 4}


def recurrent_reference(kind, kinks=None):
    """(output, h_n) or (output, (h_n, c_n)) flattened; `kinks` collects what relu sees."""

    def reference(x, *rest, num_layers, bidirectional, batch_first):
        states, weights = rest[: (n := 2 if kind == "lstm" else 1)], rest[n:]
        h0, c0 = states[0], states[-1]
        x = np.swapaxes(x, 0, 1) if batch_first else x
        last_h, last_c, directions = [], [], 2 if bidirectional else 1
        for layer in range(num_layers):
            outputs = []
            for d in range(directions):
                at = layer * directions + d
                h, c, steps = h0[at], c0[at], []
                for t in reversed(range(len(x))) if d else range(len(x)):
                    h, c, pre = recurrent_step(kind, x[t], h, c, *weights[4 * at : 4 * at + 4])
                    steps.append(h)
                    if kinks is not None:
                        kinks.append(pre)
                outputs.append(np.stack(steps[::-1] if d else steps))
                last_h.append(h)
                last_c.append(c)
            x = np.concatenate(outputs, -1)
        out = (np.swapaxes(x, 0, 1) if batch_first else x, np.stack(last_h))
        return (*out, np.stack(last_c)) if kind == "lstm" else out

    return reference


def recurrent_call(kind):
    def build(draw, rng):
        steps, batch, width, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), 2
        options = {
            "num_layers": draw(st.integers(1, 2)),
            "bidirectional": draw(st.booleans()),
            "batch_first": draw(st.booleans()),
        }
        directions, gates = 1 + options["bidirectional"], GATES[kind]
        x = (batch, steps, width) if options["batch_first"] else (steps, batch, width)
        sizes = [x] + [(options["num_layers"] * directions, batch, hidden)] * (2 if kind == "lstm" else 1)
        for k in range(options["num_layers"] * directions):
            inputs = width if k < directions else hidden * directions
            sizes += [(gates * hidden, inputs), (gates * hidden, hidden), (gates * hidden,), (gates * hidden,)]
        while True:  # until relu sees nothing near its kink
            kinks, arrays = [], tuple(uniform(rng, s, -1, 1) for s in sizes)
            recurrent_reference(kind, kinks)(*arrays, **options)
            if kind != "rnn_relu" or min(np.abs(k).min() for k in kinks) > 1e-3:
                return Call(arrays, options)

    return sampler(build)


def recurrent(kind):
    f = getattr(F, kind)

    def call(x, *rest, **options):
        n = 2 if kind == "lstm" else 1
        output, last = f(x, rest[:n] if n == 2 else rest[0], rest[n:], **options)
        return (output, *last) if n == 2 else (output, last)

    return call


def cell_call(kind):
    def build(draw, rng):
        n, width, hidden, gates = draw(st.integers(0, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2)), GATES[kind]
        states = [(n, hidden)] * (2 if kind == "lstm" else 1)
        sizes = [
            (n, width),
            *states,
            (gates * hidden, width),
            (gates * hidden, hidden),
            (gates * hidden,),
            (gates * hidden,),
        ]
        while True:
            arrays = tuple(uniform(rng, s, -1, 1) for s in sizes)
            pre = recurrent_step(kind, arrays[0], arrays[1], arrays[-5], *arrays[-4:])[2]
            if kind != "rnn_relu" or np.abs(pre).min(initial=1.0) > 1e-3:
                return Call(arrays)

    return sampler(build)


def cell(kind):
    f = getattr(F, f"{kind}_cell")
    return lambda x, *rest: f(x, rest[:2] if kind == "lstm" else rest[0], *rest[-4:])


def cell_reference(kind):
    def reference(x, *rest):
        h, c, _ = recurrent_step(kind, x, rest[0], rest[-5], *rest[-4:])
        return (h, c) if kind == "lstm" else h

    return reference


W = [mg.ones(2, 3), mg.ones(2, 2)]
RECURRENT = [
    *(
        Case(
            kind,
            recurrent(kind),
            recurrent_call(kind),
            recurrent_reference(kind),
            covers=(getattr(F, kind),),
            examples=10,
        )
        for kind in GATES
    ),
    *(
        Case(f"{kind}_cell", cell(kind), cell_call(kind), cell_reference(kind), covers=(getattr(F, f"{kind}_cell"),))
        for kind in GATES
    ),
    Case(
        "rnn without biases or states",
        lambda x, wi, wh: F.rnn_tanh(x, None, [wi, wh], has_biases=False),
        sampler(lambda draw, rng: Call((uniform(rng, (3, 2)), uniform(rng, (2, 2)), uniform(rng, (2, 2))))),
        None,
        covers=(F.rnn_tanh,),
        errors=(
            (
                lambda: F.rnn_tanh(mg.ones(3, 1, 4), None, W, has_biases=False),
                ValueError,
                r"rnn_tanh: weight_ih_l0 \(2, 3\) must be \(2, 4\)",
            ),
            (
                lambda: F.rnn_tanh(mg.ones(3, 1, 3), None, W),
                ValueError,
                "2 params, but 1 layers in 1 directions with 4 each are 4",
            ),
            (
                lambda: F.lstm(mg.ones(3, 1, 3), mg.ones(1, 1, 2), [mg.ones(8, 3), mg.ones(8, 2)], False),
                ValueError,
                r"hx must be \(h_0, c_0\)",
            ),
            (
                lambda: F.gru_cell(mg.ones(1, 1, 1), None, *W),
                ValueError,
                r"gru_cell: input must be \(N, in\) or \(in,\)",
            ),
        ),
    ),
]

CASES = ACTIVATIONS + LINEAR + NORMALISATION + FUSED + RECURRENT
