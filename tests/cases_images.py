"""The table of cases, third part: convolution, pooling, and pixels in other places. See tests/cases.py."""

from __future__ import annotations

import numpy as np
import references as ref
from hypothesis import strategies as st
from samplers import Call, Case, distinct, images, pairs, sampler, uniform

import minigrad as mg
import minigrad.functional as F

IMAGE = mg.zeros(1, 3, 8, 8)

# ---- convolution -----------------------------------------------------------------------------------------------------


def conv_call(transposed):
    def build(draw, rng):
        groups, kernel, stride, dilation = (
            draw(st.integers(1, 2)),
            draw(pairs(1, 3)),
            draw(pairs(1, 2)),
            draw(pairs(1, 2)),
        )
        options = {"stride": stride, "dilation": dilation, "groups": groups}
        n, c, o = draw(st.integers(0, 2)), groups * draw(st.integers(1, 2)), groups * draw(st.integers(1, 2))
        spans = [d * (k - 1) + 1 for k, d in zip(ref.pair(kernel), ref.pair(dilation), strict=True)]
        padding = draw(pairs(0, 1))
        if transposed:
            options["output_padding"] = tuple(
                draw(st.integers(0, max(s, d) - 1)) for s, d in zip(ref.pair(stride), ref.pair(dilation), strict=True)
            )
            size = [draw(st.integers(2, 3)) for _ in spans]
            if any(
                (m - 1) * s - 2 * p + k < 1
                for m, s, p, k in zip(size, ref.pair(stride), ref.pair(padding), spans, strict=True)
            ):
                padding = 0
            weight = (c, o // groups, *ref.pair(kernel))
        else:
            size = [
                draw(st.integers(max(1, k - 2 * p), max(1, k - 2 * p) + 2))
                for k, p in zip(spans, ref.pair(padding), strict=True)
            ]
            weight = (o, c // groups, *ref.pair(kernel))
        arrays = (uniform(rng, (n, c, *size)), uniform(rng, weight), uniform(rng, (o,)))
        return Call(arrays[: draw(st.integers(2, 3))], {**options, "padding": padding})

    return sampler(build)


def same_call(draw, rng):
    return Call(
        (uniform(rng, (2, 5, 6)), uniform(rng, (3, 2, *ref.pair(draw(pairs(1, 3)))))),
        {"padding": draw(st.sampled_from(["same", "valid"])), "dilation": draw(st.integers(1, 2))},
    )


def same_reference(x, w, padding, dilation):
    total = [dilation * (k - 1) if padding == "same" else 0 for k in w.shape[2:]]
    x = np.pad(x[None], ((0, 0), (0, 0), *((t // 2, t - t // 2) for t in total)))
    return ref.conv2d(x, w, dilation=dilation)[0]


CONVOLUTIONS = [
    Case(
        "conv2d",
        F.conv2d,
        conv_call(False),
        ref.conv2d,
        order=3,
        examples=20,
        nan=(0,),
        errors=(
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 4, 3, 3)),
                ValueError,
                r"conv2d: x has 3 channels but weight \(2, 4, 3, 3\) expects 4 \(groups=1\)",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 9, 3)),
                ValueError,
                "conv2d: the height 8 with padding 0 is smaller than the kernel's extent 9",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), mg.ones(3)),
                ValueError,
                r"conv2d: bias \(3,\) must be \(2,\)",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), stride=0),
                ValueError,
                "conv2d: stride must be at least 1, got 0",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding=-1),
                ValueError,
                "conv2d: padding must be at least 0, got -1",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding=1.5),
                TypeError,
                "conv2d: padding must be an integer, got 1.5",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 1, 3, 3), groups=3),
                ValueError,
                "2 output channels do not divide into 3 groups",
            ),
            (
                lambda: F.conv2d(IMAGE[0, 0], mg.ones(2, 3, 3, 3)),
                ValueError,
                r"input must be \(N, C, H, W\) or \(C, H, W\), got \(8, 8\)",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3, dtype=mg.float64)),
                TypeError,
                "input is float32 but weight is float64",
            ),
            (
                lambda: F.conv2d(IMAGE, mg.ones(2, 3, 3, 3), padding="same", stride=2),
                ValueError,
                "padding='same' needs stride 1",
            ),
        ),
    ),
    Case(
        "conv2d of one image, padding by name",
        F.conv2d,
        sampler(same_call),
        same_reference,
        covers=(F.conv2d,),
        nan=(0,),
    ),
    Case(
        "conv_transpose2d",
        F.conv_transpose2d,
        conv_call(True),
        ref.conv_transpose2d,
        order=3,
        examples=20,
        nan=(0,),
        errors=(
            (
                lambda: F.conv_transpose2d(IMAGE, mg.ones(2, 4, 3, 3)),
                ValueError,
                r"conv_transpose2d: x has 3 channels but weight \(2, 4, 3, 3\) expects 2",
            ),
            (
                lambda: F.conv_transpose2d(IMAGE, mg.ones(3, 4, 3, 3), stride=2, output_padding=2),
                ValueError,
                r"output_padding \(2, 2\) must be smaller than stride",
            ),
            (
                lambda: F.conv_transpose2d(IMAGE[:, :, :1, :1], mg.ones(3, 4, 1, 1), padding=1),
                ValueError,
                r"give the output size \(-1, -1\); it must be at least 1",
            ),
        ),
    ),
]


# ---- pooling ---------------------------------------------------------------------------------------------------------


def pool_call(average):
    def build(draw, rng):
        kernel = draw(pairs(1, 3))
        padding = tuple(draw(st.integers(0, k // 2)) for k in ref.pair(kernel))
        options = {
            "kernel_size": kernel,
            "stride": draw(st.one_of(st.none(), pairs(1, 3))),
            "padding": padding,
            "ceil_mode": draw(st.booleans()),
        }
        lead = draw(st.sampled_from([(2, 2), (1, 3), (2,), (0, 1)]))
        if average:
            options |= {"count_include_pad": draw(st.booleans()), "divisor_override": draw(st.sampled_from([None, 3]))}
        else:
            options |= {
                "return_indices": draw(st.booleans()),
                "dilation": draw(st.integers(1, 1 if any(padding) else 2)),
            }
        return Call((distinct(rng, (*lead, draw(st.integers(5, 6)), draw(st.integers(5, 7)))),), options)

    return sampler(build)


POOLING = [
    Case(
        "max_pool2d",
        F.max_pool2d,
        pool_call(False),
        ref.max_pool2d,
        errors=(
            (
                lambda: F.max_pool2d(IMAGE, 2, padding=2),
                ValueError,
                r"max_pool2d: padding \(2, 2\) must be at most half of kernel_size \(2, 2\)",
            ),
            (lambda: F.max_pool2d(IMAGE, 9), ValueError, "it must be at least 1"),
            (lambda: F.max_pool2d(IMAGE[0, 0], 2), ValueError, r"max_pool2d: input must be \(N, C, H, W\)"),
            (lambda: F.max_pool2d(IMAGE, 0), ValueError, "max_pool2d: kernel_size must be at least 1, got 0"),
        ),
    ),
    Case(
        "avg_pool2d",
        F.avg_pool2d,
        pool_call(True),
        ref.avg_pool2d,
        errors=((lambda: F.avg_pool2d(IMAGE, 2, divisor_override=0), ValueError, "divisor_override must not be 0"),),
    ),
    Case(
        "adaptive_avg_pool2d",
        F.adaptive_avg_pool2d,
        images(output_size=st.one_of(pairs(1, 4), st.just((None, 2)))),
        lambda x, output_size: ref.adaptive(x, output_size, np.mean),
        errors=((lambda: F.adaptive_avg_pool2d(IMAGE, 0), ValueError, "output_size must be at least 1, got 0"),),
    ),
    Case(
        "adaptive_max_pool2d",
        F.adaptive_max_pool2d,
        images(values=distinct, output_size=pairs(1, 4)),
        lambda x, output_size: ref.adaptive(x, output_size, np.max),
    ),
]


# ---- pixels in other places ------------------------------------------------------------------------------------------


def resize_call(draw, rng):
    mode = draw(st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic", "linear"]))
    shape = (2, 1, 4) if mode == "linear" else (1, 2, 3, 4)
    options = {"mode": mode, "align_corners": None if "nearest" in mode else draw(st.sampled_from([None, True, False]))}
    if draw(st.booleans()):
        options["size"] = draw(st.integers(1, 7)) if mode == "linear" else draw(pairs(1, 7))
    else:
        options["scale_factor"] = draw(
            st.sampled_from([2, 0.5, 1.6, 3] if mode == "linear" else [2, 0.5, 1.6, (2, 0.5), (1, 3)])
        )
    return Call((uniform(rng, shape),), options)


def grid_call(draw, rng):
    """Points whose pixel coordinate is neither near an integer nor near a half: away from every kink."""
    align = draw(st.booleans())
    h, w, out = draw(st.integers(2, 4)), draw(st.integers(2, 4)), draw(st.tuples(st.integers(1, 2), st.integers(1, 3)))
    grid = np.empty((2, *out, 2))
    for k, length in ((0, w), (1, h)):
        at = (
            rng.integers(-2, length + 1, (2, *out))
            + rng.choice([0.0, 0.5], (2, *out))
            + rng.uniform(0.1, 0.4, (2, *out))
        )
        grid[..., k] = 2 * at / (length - 1) - 1 if align else (2 * at + 1) / length - 1
    return Call(
        (uniform(rng, (2, 2, h, w)), grid),
        {
            "mode": draw(st.sampled_from(["bilinear", "nearest", "bicubic"])),
            "align_corners": align,
            "padding_mode": draw(st.sampled_from(["zeros", "border", "reflection"])),
        },
    )


def volume_call(draw, rng):
    at = (
        rng.integers(-1, 2, (1, 2, 1, 2, 3))
        + rng.choice([0.0, 0.5], (1, 2, 1, 2, 3))
        + rng.uniform(0.1, 0.4, (1, 2, 1, 2, 3))
    )
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
    kind = {
        "constant": {"mode": "constant", "constant_values": value},
        "reflect": {"mode": "reflect"},
        "replicate": {"mode": "edge"},
        "circular": {"mode": "wrap"},
    }[mode]
    return np.pad(x[cut], widths, **kind)


def fold_call(draw, rng):
    options = {
        "kernel_size": draw(pairs(1, 2)),
        "dilation": draw(pairs(1, 2)),
        "padding": draw(pairs(0, 1)),
        "stride": draw(pairs(1, 2)),
    }
    columns = ref.unfold(np.zeros((2, 2, 3, 4)), **options).shape
    return Call((uniform(rng, columns),), {"output_size": (3, 4), **options})


def unfold_call(draw, rng):
    call = fold_call(draw, rng)
    return Call((uniform(rng, (2, 2, 3, 4)),), {k: v for k, v in call.options.items() if k != "output_size"})


def theta_call(draw, rng):
    n, h, w = (draw(st.integers(1, 3)) for _ in range(3))
    return Call((uniform(rng, (n, 2, 3)),), {"size": (n, 2, h, w), "align_corners": draw(st.booleans())})


PIXELS = [
    Case(
        "interpolate",
        F.interpolate,
        sampler(resize_call),
        ref.interpolate,
        examples=30,
        nan=(),
        errors=(
            (lambda: F.interpolate(IMAGE), ValueError, "interpolate: give either size or scale_factor"),
            (lambda: F.interpolate(IMAGE, 4, mode="cubic"), ValueError, "interpolate: mode must be one of"),
            (
                lambda: F.interpolate(IMAGE, 4, align_corners=True),
                ValueError,
                "align_corners works with linear and cubic modes only",
            ),
            (lambda: F.interpolate(IMAGE, scale_factor=0.1), ValueError, "every axis needs a pixel"),
            (lambda: F.interpolate(IMAGE, (4, 4, 4)), ValueError, "must be one number or 2"),
        ),
    ),
    Case(
        "interpolate by area",
        F.interpolate,
        images((4, 6), ((2, 1),), mode=st.just("area"), size=pairs(1, 5)),
        lambda x, mode, size: ref.adaptive(x, size, np.mean),
    ),
    Case(
        "interpolate with antialias",
        lambda x, **o: F.interpolate(x, antialias=True, **o),
        images((4, 6), ((2, 1),), mode=st.sampled_from(["bilinear", "bicubic"]), size=pairs(2, 7)),
        None,
        covers=(F.interpolate,),
    ),
    Case(
        "affine_grid",
        F.affine_grid,
        sampler(theta_call),
        ref.affine_grid,
        errors=(
            (
                lambda: F.affine_grid(mg.ones(1, 2, 2), (1, 1, 4, 4)),
                ValueError,
                r"affine_grid: theta \(1, 2, 2\) and size",
            ),
        ),
    ),
    Case(
        "grid_sample",
        F.grid_sample,
        sampler(grid_call),
        ref.grid_sample,
        examples=30,
        nan=(),
        rtol32=1e-3,
        errors=(
            (
                lambda: F.grid_sample(IMAGE, mg.zeros(2, 4, 4, 2)),
                ValueError,
                r"grid_sample: input \(1, 3, 8, 8\) and grid \(2, 4, 4, 2\)",
            ),
            (lambda: F.grid_sample(IMAGE, mg.zeros(1, 4, 4, 2), "linear"), ValueError, "mode must be 'bilinear'"),
            (
                lambda: F.grid_sample(IMAGE, mg.zeros(1, 4, 4, 2), padding_mode="same"),
                ValueError,
                "padding_mode must be",
            ),
        ),
    ),
    Case("grid_sample in 3-D", F.grid_sample, sampler(volume_call), None),
    Case(
        "pad",
        F.pad,
        sampler(pad_call),
        pad_reference,
        examples=20,
        covers=(F.pad,),
        errors=(
            (lambda: F.pad(IMAGE, (1, 2, 3)), ValueError, "must hold a pair for each padded axis"),
            (lambda: F.pad(IMAGE, (8, 0), "reflect"), ValueError, "may add at most 7"),
            (lambda: F.pad(IMAGE, (-5, -5)), ValueError, "cuts more than"),
            (lambda: F.pad(IMAGE, (1, 1), "mirror"), ValueError, "pad: mode must be"),
        ),
    ),
    Case(
        "unfold",
        F.unfold,
        sampler(unfold_call),
        ref.unfold,
        errors=((lambda: F.unfold(IMAGE, 9), ValueError, r"unfold: no window of kernel \(9, 9\)"),),
    ),
    Case(
        "fold",
        F.fold,
        sampler(fold_call),
        ref.fold,
        errors=((lambda: F.fold(mg.ones(1, 4, 3), (3, 3), 2), ValueError, "fold: input"),),
    ),
    Case(
        "pixel_shuffle",
        F.pixel_shuffle,
        images((2, 3), ((2, 4), (8,), (1, 1, 4)), upscale_factor=st.sampled_from([1, 2])),
        lambda x, upscale_factor: ref.pixel_shuffle(x, upscale_factor),
        errors=((lambda: F.pixel_shuffle(IMAGE, 2), ValueError, r"upscale_factor\^2 = 4"),),
    ),
    Case(
        "pixel_unshuffle",
        F.pixel_unshuffle,
        sampler(
            lambda draw, rng: Call(
                (uniform(rng, (2, draw(st.integers(1, 2)), 4, 2)),), {"downscale_factor": draw(st.sampled_from([1, 2]))}
            )
        ),
        lambda x, downscale_factor: ref.pixel_unshuffle(x, downscale_factor),
        errors=((lambda: F.pixel_unshuffle(IMAGE, 3), ValueError, "must divide by downscale_factor 3"),),
    ),
]

CASES = CONVOLUTIONS + POOLING + PIXELS
