"""One network learns: architectures, and training with one loss. `python -m nets --help` lists the commands."""
