"""minigrad beside PyTorch: `python -m benchmarks` prints every table; README.md says how it is measured."""
