"""Two networks learn: the two-player game, its failures, its remedies, its metrics. `python -m gan --help`."""
