"""The commands `python -m nets NAME`."""
