"""The commands `python -m gan NAME`: plain scripts that read top to bottom."""
