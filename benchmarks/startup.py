"""How long a person waits for the first training step of `python -m gan dcgan`.

    python -m benchmarks.startup [--threads N] [--quick]

Seconds from starting the interpreter until the first line of the run's metrics is on the disk. Cold: no kernel has been
compiled yet (an empty cache of Numba's in a folder that vanishes). Warm: the same cache, again. PyTorch compiles nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.common import start, table
from minigrad.words import doc

LIMIT = 600  # seconds


def first_step(folder: Path, number: int, cache: Path, threads: int) -> float:
    """Start a run of one step in `folder`, wait for its metrics, let it end."""
    out = folder / f"runs-{number}"
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache), "MINIGRAD_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "gan", "dcgan", "--steps", "1", "--out", str(out)]
    begin = time.perf_counter()
    with open(folder / f"log-{number}", "wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    try:
        while time.perf_counter() - begin < LIMIT:
            if any(file.stat().st_size for file in out.glob("*/metrics.jsonl")):
                return time.perf_counter() - begin
            if process.poll():
                raise RuntimeError((folder / f"log-{number}").read_text())
            time.sleep(0.005)
        raise TimeoutError(f"no step within {LIMIT} seconds")
    finally:
        process.kill()
        process.wait()


def main(argv=None):
    options = start(doc(__doc__, __file__), argv)
    cold, warm = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for trial in range(1 if options.quick else 3):
            cache = folder / f"cache-{trial}"
            cache.mkdir()
            seconds = [first_step(folder, 4 * trial + i, cache, options.threads) for i in range(4)]
            cold.append(seconds[0])
            warm += seconds[1:]
    rows = [(kind, f"{statistics.median(s):.2f}", f"{min(s):.2f}-{max(s):.2f}", len(s))
            for kind, s in (("cold, kernels compile", cold), ("warm, kernels cached", warm))]
    table("First training step of `python -m gan dcgan`", rows, ("start", "seconds", "range", "runs"))


if __name__ == "__main__":
    main()
