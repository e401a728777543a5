"""Numbers that make sense: what a rate, a radius, a weight, a share or a count may be, said once.

A `Domain` is the type of an option, and the check of an argument. Outside of it is an error that names what was given:

    parser.add_argument("--rate", type=POSITIVE)           argument --rate: must be a number above 0 such as 0.3 or 8/255, got 'nan'
    COUNT.check("LeNet: width", 1.5)                       LeNet: width must be an integer of at least 1, got 1.5

NaN and infinity are in no domain, nor is a fraction where things are counted, nor True and False. A number is at most what float32
holds, because everything is computed in it; a count is at most 2**31 - 1.

Imports: the standard library.
"""

from __future__ import annotations

import argparse
import math
import numbers
import operator
import re
from typing import NamedTuple

__all__ = ["COUNT", "FRACTION", "INTEGER", "LEVEL", "NATURAL", "NUMBER", "PART", "POSITIVE", "SHARE", "TWO", "UNIT", "WEIGHT",
           "Domain"]

LARGEST = 3.4028234663852886e38  # float32
MOST = 2**31 - 1


class Domain(NamedTuple):
    """Numbers from `low` to `high`; the ends belong to it unless `above` (low does not) or `below` (high does not).

    words: "a number above 0", as in "must be ...". whole: integers only."""

    words: str
    low: float = -LARGEST
    high: float = LARGEST
    above: bool = False
    below: bool = False
    whole: bool = False

    def __contains__(self, value) -> bool:
        return (self.low < value if self.above else self.low <= value) and (value < self.high if self.below else value <= self.high)

    def __call__(self, text: str) -> int | float:
        """The number that a person typed: "12", "0.3", "8/255". ArgumentTypeError, which argparse tells with the option's name."""
        try:
            value = int(text) if self.whole else _real(text)
        except (ValueError, ZeroDivisionError, OverflowError):
            value = math.nan
        if value not in self:
            shown = text if len(text) <= 40 else f"{text[:40]}..."
            raise argparse.ArgumentTypeError(f"must be {self._rule(value)}, got {shown!r}")
        return value

    def check(self, what: str, value) -> int | float:
        """The value of an argument; `what` names function and argument. TypeError for what is no number, ValueError outside."""
        if isinstance(value, bool) or not isinstance(value, numbers.Real):
            try:
                value = operator.index(value) if self.whole and not isinstance(value, bool) else float(value.item())
            except (AttributeError, TypeError, ValueError):
                raise TypeError(f"{what} must be {self.words}, got {value!r}") from None
        if value not in self or self.whole and not isinstance(value, numbers.Integral):
            raise ValueError(f"{what} must be {self._rule(value)}, got {value!r}")
        return value

    def _rule(self, value) -> str:
        return f"{self.words} and at most {self.high:.4g}" if self.high in (LARGEST, MOST) and value > self.high else self.words


def _real(text: str) -> float:
    top, _, bottom = text.partition("/")
    if re.search(r"nan|inf", text.lower()):
        raise ValueError
    return float(top) / float(bottom or 1)


COUNT = Domain("an integer of at least 1", 1, MOST, whole=True)
TWO = Domain("an integer of at least 2", 2, MOST, whole=True)
NATURAL = Domain("an integer of at least 0", 0, MOST, whole=True)
INTEGER = Domain("an integer", -math.inf, math.inf, whole=True)
NUMBER = Domain("a finite number")
POSITIVE = Domain("a number above 0 such as 0.3 or 8/255", 0, above=True)  # a rate, a radius
WEIGHT = Domain("a finite number of at least 0", 0)                        # a coefficient, a penalty; 0 for none
UNIT = Domain("a number between -1 and 1", -1, 1)
FRACTION = Domain("a number between 0 and 1", 0, 1)
PART = Domain("a number above 0 and at most 1", 0, 1, above=True)          # of what there is, but not nothing
SHARE = Domain("a number of at least 0 and below 1", 0, 1, below=True)     # a probability to drop, a beta of Adam
LEVEL = Domain("a number above 0 and below 1", 0, 1, above=True, below=True)
