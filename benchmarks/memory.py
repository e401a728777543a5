"""Peak memory of a DCGAN's training step, ours beside PyTorch's.

    python -m benchmarks.memory [--threads N] [--quick]

Each figure comes from a process of its own. It imports both libraries and makes one library's players. It sets the system's
high-water mark of resident memory back, runs three steps and reads the mark. So activations, gradients, Adam's moments and
workspaces count, but not the weights and the code. Our kernels come from the cache, as after a first run. Linux only.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import subprocess
import sys

from benchmarks import networks
from benchmarks.common import OURS, THEIRS, set_threads, start, table
from benchmarks.training import draw, published_step
from minigrad.words import doc

CASES = {"28 px, n=32, B=64": (28, 32, 64, 1), "28 px, n=64, B=128": (28, 64, 128, 1), "64 px, n=64, B=64": (64, 64, 64, 3)}


def resident(field: str) -> int:
    """VmRSS (now) or VmHWM (at most so far) of this process, in bytes."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def reset_mark() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure_here(library: str, case: str, threads: int) -> int:
    """Bytes by which three steps of one library raise this process's resident memory."""
    set_threads(threads)
    size, width, batch, channels = CASES[case]
    players = networks.players(size, channels, 100, width, True)
    lib, players = (OURS, players) if library == "minigrad" else (THEIRS, networks.peers(*players))
    images = draw(batch, channels, size, size)
    gc.collect()
    reset_mark()
    before = resident("VmRSS")
    step = published_step(lib, *players, batch, 100, images)
    for _ in range(3):
        step()
    return resident("VmHWM") - before


def measure(library: str, case: str, options) -> list[float]:
    """Megabytes in fresh processes, after one that fills the cache of kernels."""
    command = [sys.executable, "-m", "benchmarks.memory", "--measure", library, case, "--threads", str(options.threads)]
    runs = [int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            for _ in range(2 if options.quick else 4)]
    return [count / 2**20 for count in runs[1:]]


def main(argv=None):
    if argv is None and "--measure" in sys.argv:
        parser = argparse.ArgumentParser()
        parser.add_argument("--measure", nargs=2)
        parser.add_argument("--threads", type=int)
        options = parser.parse_args()
        print(measure_here(*options.measure, options.threads))
        return
    options = start(doc(__doc__, __file__), argv)
    rows = []
    for case in list(CASES)[: 2 if options.quick else 3]:
        ours, theirs = (statistics.median(measure(name, case, options)) for name in ("minigrad", "PyTorch"))
        rows.append((f"DCGAN {case}", f"{ours:.1f}", f"{theirs:.1f}", f"{theirs / ours:.2f}"))
    table("Peak memory of a training step", rows, ("work", "ours MB", "PyTorch MB", "ratio"))


if __name__ == "__main__":
    main()
