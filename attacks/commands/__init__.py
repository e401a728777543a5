"""The commands `python -m attacks NAME`: `attack` serves every attack, the other files are named as their command is typed."""
