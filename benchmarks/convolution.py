"""All three convolution maps beside PyTorch's: `python -m benchmarks.convolution [WORD ...] [--threads 2]`.

PyTorch runs in its best configuration for a CPU (channels_last tensors, as many threads as ours), interleaved run by run in this
process. One row for each shape and map: milliseconds (median), GFLOP/s counted as for direct summation, their share of the
peak (`peak.py`; above 100 % is Winograd's doing), and the ratio of PyTorch's time to ours: its median and
its 10th and 90th percentile. WORD selects the shapes whose name contains it; --exact turns Winograd off; --cpu-time measures one
thread by the time that it was on a processor, which is what can be measured on a busy machine. Needs `pip install torch`.
"""
import argparse
import os
import platform
import time

import numpy as np

from benchmarks.peak import peak as measured_peak
from minigrad import kernels

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


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.convolution", description=__doc__.split("\n")[0])
    parser.add_argument("words", nargs="*", help="only shapes whose name contains one of these")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--maps", default="forward dx dw", help="default: %(default)s")
    parser.add_argument("--exact", action="store_true", help="direct summation only")
    parser.add_argument("--cpu-time", action="store_true", help="one thread, time on the processor")
    options = parser.parse_args(argv)
    import torch

    clock, threads = (time.thread_time, 1) if options.cpu_time else (time.perf_counter, options.threads)
    torch.set_num_threads(threads)
    kernels.set_num_threads(threads)
    kernels.set_conv_precision("exact" if options.exact else "fast")
    peak = measured_peak(threads) / 1e9
    print(f"{platform.machine()} {processor()}, {threads} threads, NumPy {np.__version__}, PyTorch {torch.__version__}, "
          f"load {os.getloadavg()[0]:.1f}, peak {peak:.0f} GFLOP/s")
    print(f"{'shape':20s} {'map':8s} {'ours ms':>8s} {'torch ms':>8s} {'GFLOP/s':>8s} {'of peak':>8s} {'ratio':>6s}  10-90 %")
    for name, shape in SHAPES.items():
        if not options.words or any(word in name for word in options.words):
            for which in options.maps.split():
                flops, ours, theirs = pair(torch, which, *shape)
                a, b = interleaved(ours, theirs, options.runs, clock)
                low, middle, high = np.percentile(b / a, [10, 50, 90])
                speed = flops / np.median(a) / 1e9
                print(f"{name:20s} {which:8s} {np.median(a) * 1e3:8.3f} {np.median(b) * 1e3:8.3f} {speed:8.0f} {speed / peak:8.0%} "
                      f"{middle:6.2f}  {low:.2f}-{high:.2f}", flush=True)
    print(f"load {os.getloadavg()[0]:.1f}")


def pair(torch, which, n, c, size, o, k, s, p, groups):
    """(floating-point operations, our call, PyTorch's call) for one map of one shape, on the same channels-last values."""
    rng = np.random.default_rng(0)
    out = (size + 2 * p - k) // s + 1
    x, g = (rng.standard_normal((n, q, q, d), dtype=np.float32).transpose(0, 3, 1, 2) for q, d in ((size, c), (out, o)))
    w = rng.standard_normal((o, c // groups, k, k), dtype=np.float32)
    tx, tg, tw = (torch.from_numpy(np.ascontiguousarray(a)).contiguous(memory_format=torch.channels_last) for a in (x, g, w))
    ours = {
        "forward": lambda: kernels.conv2d(x, w, (s, s), (p, p), (1, 1), groups),
        "dx": lambda: kernels.conv2d_dx(g, w, (s, s), (p, p), (1, 1), groups, (size, size)),
        "dw": lambda: kernels.conv2d_dw(x, g, (s, s), (p, p), (1, 1), groups, (k, k)),
    }[which]

    def theirs():
        if which == "forward":
            return torch.nn.functional.conv2d(tx, tw, None, s, p, 1, groups)
        mask = [which == "dx", which == "dw", False]
        return torch.ops.aten.convolution_backward(tg, tx, tw, None, [s, s], [p, p], [1, 1], False, [0, 0], groups, mask)

    return 2 * n * out * out * o * (c // groups) * k * k, ours, theirs


def interleaved(ours, theirs, runs, clock):
    """Seconds of each call, ours and theirs in turn, after two calls of each."""
    times = np.empty((2, runs))
    for call in (ours, theirs, ours, theirs):
        call()
    for run in range(runs):
        for row, call in enumerate((ours, theirs)):
            start = clock()
            call()
            times[row, run] = clock() - start
    return times


def processor():
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


if __name__ == "__main__":
    main()
