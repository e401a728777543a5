"""All three convolution maps beside PyTorch's.

    python -m benchmarks.convolution [--threads N] [--quick] [--cpu-time] [--only TEXT] [--exact]

One row for each shape and map. GFLOP are those of direct summation. Winograd needs fewer, so its rate may exceed the machine's
peak; --exact turns Winograd off.
"""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.common import check_equal, interleaved, parser_of, row, start, table
from minigrad import kernels
from minigrad.kernels.geometry import window_count
from minigrad.words import doc

# name: n, channels, size, outputs, kernel, stride, padding, groups
SHAPES = {
    "residual 64ch 28px": (64, 64, 28, 64, 3, 1, 1, 1),
    "residual 64ch 56px": (8, 64, 56, 64, 3, 1, 1, 1),
    "residual 128ch 16px": (32, 128, 16, 128, 3, 1, 1, 1),
    "residual 128ch 32px": (16, 128, 32, 128, 3, 1, 1, 1),
    "residual 256ch 16px": (16, 256, 16, 256, 3, 1, 1, 1),
    "residual 256ch 14px": (16, 256, 14, 256, 3, 1, 1, 1),
    "residual first": (64, 3, 32, 64, 3, 1, 1, 1),
    "dcgan28 n32 first": (64, 1, 28, 32, 4, 2, 1, 1),
    "dcgan28 n32 second": (64, 32, 14, 64, 4, 2, 1, 1),
    "dcgan28 n32 last": (64, 64, 7, 1, 7, 1, 0, 1),
    "dcgan28 n64 first": (128, 1, 28, 64, 4, 2, 1, 1),
    "dcgan28 n64 second": (128, 64, 14, 128, 4, 2, 1, 1),
    "dcgan28 n64 latent": (128, 128, 7, 100, 7, 1, 0, 1),
    "dcgan n48 second": (64, 48, 14, 96, 4, 2, 1, 1),
    "dcgan64 first": (64, 3, 64, 64, 4, 2, 1, 1),
    "dcgan64 second": (64, 64, 32, 128, 4, 2, 1, 1),
    "dcgan64 third": (64, 128, 16, 256, 4, 2, 1, 1),
    "dcgan64 fourth": (64, 256, 8, 512, 4, 2, 1, 1),
    "dcgan64 last": (64, 512, 4, 1, 4, 1, 0, 1),
    "dcgan64 latent": (64, 512, 4, 100, 4, 1, 0, 1),
    "lenet first": (128, 1, 28, 6, 5, 1, 2, 1),
    "lenet second": (128, 6, 14, 16, 5, 1, 0, 1),
    "cyclegan first 7x7": (1, 3, 134, 64, 7, 1, 0, 1),
    "cyclegan down 3x3": (1, 64, 128, 128, 3, 2, 1, 1),
    "cyclegan down 3x3 b": (1, 128, 64, 256, 3, 2, 1, 1),
    "cyclegan last 7x7": (1, 64, 134, 3, 7, 1, 0, 1),
    "1x1 64-256": (32, 64, 28, 256, 1, 1, 0, 1),
    "1x1 256-64": (32, 256, 28, 64, 1, 1, 0, 1),
    "1x1 512-512": (32, 512, 7, 512, 1, 1, 0, 1),
    "depthwise": (32, 64, 28, 64, 3, 1, 1, 64),
}


MAPS = ("forward", "dx", "dw")


def pair(which, n, c, size, o, k, s, p, groups):
    """(our call, PyTorch's call, floating-point operations) for one map of one shape, on the same channels-last values."""
    rng = np.random.default_rng(0)
    out = window_count(size, k, s, p)
    x, g = (rng.standard_normal((n, q, q, d), dtype=np.float32).transpose(0, 3, 1, 2) for q, d in ((size, c), (out, o)))
    w = rng.standard_normal((o, c // groups, k, k), dtype=np.float32)
    tx, tg, tw = (torch.from_numpy(a).contiguous(memory_format=torch.channels_last) for a in (x, g, w))
    ours = {
        "forward": lambda: kernels.conv2d(x, w, (s, s), (p, p), (1, 1), groups),
        "dx": lambda: kernels.conv2d_dx(g, w, (s, s), (p, p), (1, 1), groups, (size, size)),
        "dw": lambda: kernels.conv2d_dw(x, g, (s, s), (p, p), (1, 1), groups, (k, k)),
    }[which]

    def theirs():
        if which == "forward":
            return torch.nn.functional.conv2d(tx, tw, None, s, p, 1, groups)
        mask = [which == "dx", which == "dw", False]
        grads = torch.ops.aten.convolution_backward(tg, tx, tw, None, [s, s], [p, p], [1, 1], False, [0, 0], groups, mask)
        return grads[which == "dw"]

    return ours, theirs, 2 * n * out * out * o * (c // groups) * k * k


def main(argv=None):
    parser = parser_of(doc(__doc__, __file__), SHAPES)
    parser.add_argument("--exact", action="store_true", help="direct summation only")
    options = start(parser, argv, SHAPES)
    kernels.set_conv_precision("exact" if options.exact else "fast")
    rows = []
    for name in options.cases:
        for which in MAPS:
            ours, theirs, flops = pair(which, *SHAPES[name])
            a, b = ours(), theirs().numpy()
            check_equal(f"{name}, {which}", a / np.abs(b).max(), b / np.abs(b).max())
            rows.append(row(f"{name}: {which}", interleaved(ours, theirs, options), flops, options.threads))
    table("Convolutions", rows)


if __name__ == "__main__":
    main()
