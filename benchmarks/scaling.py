"""The same training step with 1 and 2 threads, and with batches from 16 to 512.

    python -m benchmarks.scaling [--threads N] [--quick]

DCGAN at 28 pixels, n=64. "speed-up" is what the threads bring, ours and PyTorch's; images a second are ours.
"""

from __future__ import annotations

from benchmarks.common import HEAD, FlopCounter, interleaved, row, set_threads, start, table
from benchmarks.training import dcgan
from minigrad.words import doc

BATCHES = (16, 32, 64, 128, 256, 512)


def main(argv=None):
    options = start(doc(__doc__, __file__), argv)
    rows = []
    for batch in BATCHES[::2] if options.quick else BATCHES:
        duel, single = dcgan(28, 64, batch), None
        with FlopCounter() as counter:
            duel.theirs()
        for threads in sorted({1, options.threads}):
            set_threads(threads)
            timing = interleaved(duel.ours, duel.theirs, options)
            single = single or timing
            line = row(f"B={batch}, {threads} thread{'s' * (threads > 1)}", timing, counter.flops, threads)
            gains = single.ours / timing.ours, single.theirs / timing.theirs
            rows.append((*line, *(f"{gain:.2f}" for gain in gains), f"{1e3 * batch / timing.ours:.0f}"))
    table("Threads and batch size: DCGAN 28 px, n=64", rows, (*HEAD, "speed-up", "PyTorch's", "images/s"))


if __name__ == "__main__":
    main()
