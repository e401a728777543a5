"""Kinds of numbers for add_argument(type=...): each refuses what lies outside of its domain, in one line."""

from __future__ import annotations

import argparse
import math


def number(low: float, high: float = math.inf, *, open_low=False, open_high=False):
    """A function that reads a finite float between low and high; open: the border itself is refused."""
    left = f"{'above' if open_low else 'at least'} {low:g}"
    right = "" if high == math.inf else f" and {'below' if open_high else 'at most'} {high:g}"

    def read(text):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and low <= value <= high and not (open_low and value == low)
                and not (open_high and value == high)):
            raise argparse.ArgumentTypeError(f"must be a number {left}{right}, got {text!r}")
        return value

    return read


rate = number(0, open_low=True)
share = number(0, 1)
not_negative = number(0)
dropout = number(0, 1, open_high=True)


def count(text: str) -> int:
    """An integer of at least 0."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be an integer of at least 0, got {text!r}")
    return value
