"""What an operation costs where there is nothing to compute: the library's own time.

    python -m benchmarks.overhead [--threads N] [--quick] [--cpu-time]

A chain of 1,000 additions of 8 numbers, forward and backward; a step of a small network; and the time to import the
library in a fresh interpreter (less that of an interpreter that imports nothing), alternating.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import torch

from benchmarks.common import OURS, THEIRS, Timing, check_equal, interleaved, peer, row, start, table
from benchmarks.training import classifier_step, draw, labels
from minigrad import nn
from minigrad.words import doc

CHAIN = 1000


def chain(lib, both):
    """y = y + x (both: a gradient for either side), or y = y + constant."""
    x, constant = lib.tensor(draw(8)).requires_grad_(), lib.tensor(draw(8).copy())

    def run():
        y, other = x, x if both else constant
        for _ in range(CHAIN):
            y = y + other
        (g,) = lib.grad(y.sum(), [x])
        return g

    return run


def small_network(batch=32):
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    x, y = draw(batch, 64), labels(10, batch)
    return [classifier_step(lib, n, lib.Adam(n.parameters(), lr=1e-3), lib.tensor(x), lib.tensor(y))
            for lib, n in zip((OURS, THEIRS), (net, peer(net)), strict=True)]


def importing(options) -> Timing:
    """Milliseconds to import each library in a fresh interpreter."""
    def seconds(code):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - begin

    rounds = [[seconds(code) for code in ("import minigrad", "import torch", "pass")]
              for _ in range(3 if options.quick else 9)]
    ours, theirs = ([line[i] - line[2] for line in rounds] for i in (0, 1))
    ratios = statistics.quantiles([b / a for a, b in zip(ours, theirs, strict=True)], n=4, method="inclusive")
    return Timing(1e3 * statistics.median(ours), 1e3 * statistics.median(theirs), (ratios[1], ratios[0], ratios[2]))


def main(argv=None):
    options = start(doc(__doc__, __file__), argv)
    rows = []
    for both, name in ((False, "y + constant"), (True, "y + x")):
        pair = chain(OURS, both), chain(THEIRS, both)
        check_equal(name, *(f().sum().item() for f in pair))
        rows.append(row(f"1,000 additions of 8 numbers, {name}, with backward", interleaved(*pair, options), 0, 1))
    pair = small_network()
    check_equal("network", *(f()[0].item() for f in pair))
    rows.append(row("step of a 64-64-64-10 network, B=32, Adam", interleaved(*pair, options), 0, 1))
    rows.append(row(f"import minigrad / import torch {torch.__version__}", importing(options), 0, 1))
    table("Overhead", [line[:5] for line in rows], ("work", "ours ms", "PyTorch ms", "ratio", "quartiles"))


if __name__ == "__main__":
    main()
