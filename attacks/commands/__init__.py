"""The commands `python -m attacks NAME`: every attack (`attack`), and the exhibits `matrix`, `curve`, `trace`."""
