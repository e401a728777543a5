"""Compile every kernel ahead of the first run: `python -m minigrad.warmup`. Compiled code is cached on disk, so once is enough.

`compiling()` is for programs. Within the block, the first kernel that has to be compiled prints one line to standard error, and
a second process begins to compile on another core. It begins with what a training step asks for last. Numba compiles on one core
only, but its cache on disk serves both processes: the one that comes second finds the kernel there.

Imports: numpy, tqdm, minigrad.kernels.cpu, minigrad.kernels.geometry, progress, words.
"""
import argparse
import contextlib
import os
import subprocess
import sys
import threading
import time

import numpy as np
from tqdm import tqdm

from minigrad.kernels import cpu
from minigrad.kernels.cpu.machine.compiling import is_cached, on_compile
from minigrad.kernels.cpu.machine.threads import cores, serve
from minigrad.kernels.geometry import window_count
from minigrad.progress import uncounted
from minigrad.words import doc


@contextlib.contextmanager
def compiling(stream=None):
    """Within the block, say once that kernels are being compiled; on a terminal the line counts them."""
    stream, names, helpers = stream or sys.stderr, [], contextlib.ExitStack()

    def announce(name):
        names.append(name)
        uncounted()
        if len(names) == 1:
            print("compiling kernels for this processor: the first time only, about half a minute", file=stream, flush=True)
            helpers.enter_context(helper(LAST))
        if stream.isatty():
            print(f"\r  {'#' * len(names)} {len(names)} {name:<24}", end="", file=stream, flush=True)

    with helpers, on_compile(announce):
        try:
            yield names
        finally:
            if names and stream.isatty():
                print(file=stream)


@contextlib.contextmanager
def helper(jobs):
    """Within the block, a second process compiles `jobs` for the cache. It ends with the block. If this process dies first, the
    pipe between the two closes, and the second one ends as well."""
    jobs, here = list(jobs), sys.executable and not getattr(sys, "frozen", False)
    if not jobs or not here or cores() < 2 or not is_cached(serve) or os.environ.get(CHILD):
        yield
        return
    command = [sys.executable, "-m", "minigrad.warmup", *(word for job in jobs for word in ("--job", job))]
    try:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                   env={**os.environ, CHILD: "1"})
    except OSError:                                             # the system allows no more processes: go on without one
        yield
        return
    try:
        yield
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


CHILD = "MINIGRAD_WARMUP_CHILD"     # set for a helper, which starts none and ends when its standard input does


def end_with_parent():
    """Wait until the pipe from the parent closes, then end this process."""
    os.read(0, 1)
    os._exit(1)


def image(n, c, size):
    return np.ones((n, size, size, c), np.float32).transpose(0, 3, 1, 2)


def convolution(n, c, size, o, k, stride=1, padding=1, groups=1, maps=("forward", "dx", "dw")):
    """All three maps for one shape."""
    w, rest = np.ones((o, c // groups, k, k), np.float32), ((stride,) * 2, (padding,) * 2, (1, 1), groups)
    y = image(n, o, window_count(size, k, stride, padding))
    if "forward" in maps:
        cpu.conv2d(image(n, c, size), w, *rest)
    if "dx" in maps:
        cpu.conv2d_dx(y, w, *rest, (size, size))
    if "dw" in maps:
        cpu.conv2d_dw(image(n, c, size), y, *rest, (k, k))


def normalisation():
    x, axes = image(4, 16, 4), (0, 2, 3)
    y, istd, mean, _ = cpu.norm_leaky_relu(x, None, None, axes, 1e-5, 0.2)
    cpu.bias_leaky_relu(x, np.ones(16, np.float32), 0.2)


def normalisation_back():
    x, axes, ones = image(4, 16, 4), (0, 2, 3), np.ones((1, 16, 1, 1), np.float32)
    cpu.norm_leaky_relu_dx(x, x, None, None, ones, ones, axes, 0.2)
    cpu.bias_leaky_relu_dx(x, x, 0.2)


def normalisation_by_rows():
    x = image(4, 16, 4)
    xhat, istd, _, _ = cpu.normalise(x, (1, 2, 3), 1e-5)
    cpu.normalise_dx(x, None, xhat, istd, (1, 2, 3))


def pooling():
    x, square = image(2, 16, 4), (2, 2)
    y, indices = cpu.max_pool2d(x, square, square, (0, 0), (1, 1), square)
    cpu.max_pool2d_gather(cpu.max_pool2d_scatter(y, indices, (4, 4)), indices)
    cpu.avg_pool2d_dx(cpu.avg_pool2d(x, square, square, (0, 0), square, True, None), square, square, (0, 0), (4, 4), True, None)


def activation():
    x = image(2, 16, 4)
    cpu.leaky_relu_dx(x, cpu.leaky_relu(x, 0.2), 0.2)
    cpu.leaky_relu(x, 0.0)
    cpu.add_leaky_relu(x, x, 0.0)


def recurrence():
    x, states, w, b = (np.ones(shape, np.float32) for shape in ((2, 15, 16), (2, 15, 16), (64, 16), (64,)))
    h, c, gates = cpu.lstm_scan(x, *states, w, w, b)
    cpu.lstm_scan_dx(h, None, states[1], c, gates, w, w)
    rows = np.ones((1 << 12, 64), np.float32)
    cpu.matmul(rows.T, rows)
    cpu.add_rows(rows, np.zeros(len(rows), np.int64), 2)


def ones():
    return [np.ones(16, np.float32)]


def adam():
    cpu.adam_step(ones(), ones(), ones(), ones(), None, step=1, lr=0.1, beta1=0.9, beta2=0.99, eps=1e-8, weight_decay=0,
                  decoupled=False, maximize=False)


def other_optimisers():
    cpu.sgd_step(ones(), ones(), ones(), lr=0.1, momentum=0.9, dampening=0, weight_decay=0, nesterov=False, maximize=False,
                 first=False)
    cpu.rmsprop_step(ones(), ones(), ones(), None, None, lr=0.1, alpha=0.9, eps=1e-8, weight_decay=0, momentum=0,
                     centered=False, maximize=False)
    cpu.adagrad_step(ones(), ones(), ones(), step=1, lr=0.1, lr_decay=0, eps=1e-8, weight_decay=0, maximize=False)


JOBS = {
    "convolution": lambda: convolution(2, 16, 6, 16, 3),
    "convolution of one channel": lambda: convolution(2, 1, 6, 16, 3),
    "convolution to one channel": lambda: convolution(2, 16, 6, 1, 3),
    "convolution, depthwise": lambda: convolution(2, 16, 6, 16, 3, groups=16),
    "convolution, Winograd": lambda: convolution(8, 32, 16, 32, 3, maps=("forward", "dx")),
    "convolution, Winograd, weight gradient": lambda: convolution(8, 32, 16, 32, 3, maps=("dw",)),
    "convolution, Winograd by panels": lambda: convolution(32, 256, 4, 256, 3),
    "convolution over the whole image": lambda: convolution(64, 32, 6, 32, 6, padding=0),
    "normalisation": normalisation,
    "normalisation, backward": normalisation_back,
    "normalisation by rows": normalisation_by_rows,
    "activation": activation,
    "pooling": pooling,
    "recurrent networks": recurrence,
    "Adam": adam,
    "other optimisers": other_optimisers,
}
LAST = ("convolution of one channel", "convolution, Winograd, weight gradient", "normalisation, backward", "Adam", "activation")


def warmup(progress=True, jobs=tuple(JOBS)):
    """Run every kernel once on small arrays. Returns the names of those that had to be compiled."""
    names = []
    with on_compile(names.append), tqdm(jobs, disable=not progress, file=sys.stderr) as bar:
        for job in bar:
            bar.set_description(job)
            JOBS[job]()
    return names


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m minigrad.warmup", description=doc(__doc__, __file__).split("\n")[0],
                                     allow_abbrev=False)
    parser.add_argument("--job", action="append", choices=JOBS, metavar="NAME",
                        help=f"only this (again for more): {'; '.join(JOBS)}")
    jobs = parser.parse_args(argv).job or list(JOBS)
    if os.environ.get(CHILD):
        threading.Thread(target=end_with_parent, daemon=True).start()
    start = time.perf_counter()
    with helper(reversed(jobs) if len(jobs) > 1 else ()):
        names = warmup(jobs=jobs)
    print(f"all kernels compiled in {time.perf_counter() - start:.1f} s" if names else "all kernels were compiled already")


if __name__ == "__main__":
    main()
