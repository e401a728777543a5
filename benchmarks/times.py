"""How long each benchmark takes on two cores, and so all of them; --help says it.

The minutes follow from what a step takes in README.md's tables: two warm runs of each side, then fifteen blocks of 50 ms or of one
run, whichever is longer, of each; and what starts processes, from the time of their start. `--quick` takes a fifth or less.
"""

from pathlib import Path

# What `python -m benchmarks` runs, in its order.
MINUTES = {"convolution": 3, "training": 3, "attack": 20, "overhead": 1, "memory": 2, "startup": 2, "scaling": 3}


def says(file: str) -> str:
    """The sentence for the --help of a benchmark's file; nothing for one that is not in the list."""
    minutes = MINUTES.get(Path(file).stem)
    return "" if minutes is None else f"\n\nTakes about {minutes} minute{'s' * (minutes > 1)} on two cores, with --quick far less."
